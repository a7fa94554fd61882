//! Presets of guard rules on a real kernel, with the programs that they are for.

use super::programs::{program, there};
use crate::guard::Guarded;
use crate::loopfs::FsKind;
use crate::support::Ran;
use crate::support::running::PATIENCE;
use crate::support::trees::noise;
use std::fs;
use std::path::Path;
use std::process::Command;

const RULES: &str = r#"
[[guard.rule]]
preset = ["restic", "borg", "updatedb", "clamd"]
action = "deny"

[[guard.rule]]
preset = "rsync"
user = "nobody"
action = "deny"
errno = "EIO"
"#;

/// Runs it where a stub would make it wait; what it said, whatever that is.
fn ran(command: &mut Command) -> Ran {
    Ran::within(PATIENCE, command)
}

#[test]
fn a_program_of_a_preset_is_denied_and_others_have_their_files() {
    if !there("presets", &["restic", "borg", "clamscan", "rsync"]) {
        return;
    }
    let Some(mut guarded) = Guarded::idle("presets", FsKind::Ext4) else { return };
    guarded.configure(RULES);
    guarded.start();
    let doctor = guarded.sandbox.hsm(["doctor"]).stdout();
    assert!(doctor.contains("guard-preset") && doctor.contains("restic is exe restic"), "{doctor}");
    assert!(doctor.contains("rsync is exe rsync below cgroup /system.slice/**"), "{doctor}");
    let names: Vec<String> = (0..6).map(|n| format!("dir/file{n}")).collect();
    for (seed, name) in names.iter().enumerate() {
        guarded.write(name, &noise(seed as u64, 100_000));
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    guarded.stub(&all);
    let stubs = |guarded: &Guarded| all.iter().filter(|name| guarded.is_stub(name)).count();
    let (home, away) = (guarded.sandbox.path("home"), guarded.away("bin"));

    // By its name, whatever it really is.
    let named = |name: &str| {
        let path = away.join(name);
        fs::copy("/bin/cat", &path).expect("a copy of cat");
        path
    };
    for (name, denied) in [("restic", true), ("borg", true), ("clamd", true), ("resticly", false)] {
        let ran = ran(Command::new(named(name)).arg(guarded.path("dir/file0")));
        assert_eq!(ran.code() != 0, denied, "{name}: {}", ran.stderr());
        assert_eq!(guarded.is_stub("dir/file0"), denied, "{name}");
        if name == "restic" {
            assert!(ran.stderr().contains("Device or resource busy"), "{}", ran.stderr());
        }
    }
    assert_eq!(fs::read(guarded.path("dir/file0")).expect("resident"), noise(0, 100_000));

    // The real ones: what is resident is backed up and scanned, stubs are left alone.
    let repo = home.join("restic");
    let restic = |args: &[&str]| {
        let mut command = program("restic", &home);
        ran(command.args(["--no-cache", "-r"]).arg(&repo).args(args))
    };
    restic(&["init"]).succeeds();
    let root = guarded.root();
    let saved = restic(&["backup", root.to_str().expect("text")]).exits(3);
    assert!(saved.stderr().contains("file1"), "{}", saved.stderr());
    assert!(restic(&["ls", "latest"]).stdout().contains("/dir/file0"));
    let signatures = home.join("test.ndb");
    fs::write(&signatures, "Hsm.Test:0:*:6e6f2073756368206279746573\n").expect("a signature");
    let mut clamscan = program("clamscan", &home);
    ran(clamscan.arg("-r").arg("-d").arg(&signatures).arg(&root));
    if Path::new("/usr/bin/updatedb").exists() {
        let mut updatedb = program("updatedb", &home);
        updatedb.args(["--prune-bind-mounts", "no", "-l", "no", "-U"]).arg(&root);
        ran(updatedb.arg("-o").arg(home.join("names.db"))).succeeds();
    }
    assert_eq!(stubs(&guarded), 5, "{}", guarded.said());

    // No rule of these is for rsync by hand, nor for borg where it is a script.
    let copy = guarded.away("copy");
    ran(program("rsync", &home).arg(guarded.path("dir/file1")).arg(&copy)).succeeds();
    assert_eq!(fs::read(copy.join("file1")).expect("copied"), noise(1, 100_000));
    // What is told to leave the stubs out meets none, and ends well.
    let list = home.join("excludes");
    let mut manifest = guarded.sandbox.command(["manifest", "--exclude-for", "restic", "-o"]);
    ran(manifest.arg(&list)).succeeds();
    assert_eq!(stubs(&guarded), 4, "looking at a stub recalls none");
    restic(&[
        "backup",
        "--exclude-file",
        list.to_str().expect("text"),
        root.to_str().expect("text"),
    ])
    .succeeds();
    assert_eq!(stubs(&guarded), 4);
    let denied = guarded.said();
    assert!(denied.contains("restic"), "{denied}");
}
