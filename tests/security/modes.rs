//! Who may read what `hsm` makes, whatever the umask; and whose files it believes.

use super::ordinary::{USER, as_user, give};
use crate::support::held::Held;
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Ran, Sandbox, needs_root};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// `hsm` under a umask that keeps nothing from anybody.
fn open_handed(sandbox: &Sandbox, args: &[&str]) -> Ran {
    let plain = sandbox.command(args);
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(args);
    command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(&mut command)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn what_hsm_keeps_is_for_its_own_user_whatever_the_umask() {
    let sandbox = Sandbox::empty();
    sandbox.write("private/telling-name", &noise(1, 50_000));
    let (url, key, state) =
        (sandbox.store_url(), sandbox.path("home/keys/store.key"), sandbox.state_dir());
    fs::remove_dir(sandbox.store()).expect("init makes it");
    let tree = sandbox.tree();
    let init = ["init", "--encrypt", "--key-file", text(&key), "--store", &url, "--state-dir"];
    open_handed(&sandbox, &[&init[..], &[text(&state), text(&tree)]].concat()).succeeds();
    sandbox.policy(EAGER_POLICY);
    open_handed(&sandbox, &["tier"]).succeeds();
    open_handed(&sandbox, &["recall", "-r", text(&tree)]).succeeds();
    open_handed(&sandbox, &["snapshot", "create", "one"]).succeeds();
    open_handed(&sandbox, &["history", text(&tree.join("private/telling-name"))]).succeeds();
    open_handed(&sandbox, &["rebuild", "--force"]).succeeds();
    let mut files = 0;
    for dir in [&state, &sandbox.store()] {
        for entry in walkdir::WalkDir::new(dir) {
            let entry = entry.expect("readable");
            let mode = entry.metadata().expect("there").mode();
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.path().display());
            files += u64::from(entry.file_type().is_file());
        }
    }
    assert!(files >= 8, "only {files} files: state DB, catalog, locks, objects");
    assert_eq!(fs::metadata(&key).expect("there").mode() & 0o7777, 0o600);
    // There are no secrets in it, and nobody else may change it.
    assert_eq!(fs::metadata(sandbox.config()).expect("there").mode() & 0o022, 0);
}

#[test]
fn another_user_cannot_read_the_names_that_the_state_db_has() {
    if !needs_root("another_user_cannot_read_the_names_that_the_state_db_has") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("private/telling-name", &noise(1, 50_000));
    sandbox.hsm(["tier"]).succeeds();
    give(&sandbox, "tree");
    for part in ["home", "home/config"] {
        fs::set_permissions(sandbox.path(part), PermissionsExt::from_mode(0o755)).expect("chmod");
    }
    as_user(|| {
        fs::read(sandbox.config()).expect("no secret");
        fs::read(sandbox.state_db()).expect_err("root's");
        fs::read_dir(sandbox.state_dir()).expect_err("root's");
        fs::read_dir(sandbox.store()).expect("the directory was made by the test");
        let packs = sandbox.store().join("packs");
        fs::read_dir(packs).expect_err("root's");
    });
}

#[test]
fn a_key_file_that_others_can_read_or_own_is_refused_by_every_command() {
    if !needs_root("a_key_file_that_others_can_read_or_own_is_refused_by_every_command") {
        return;
    }
    let sandbox = Sandbox::empty();
    sandbox.write("file", &noise(1, 50_000));
    let (url, key) = (sandbox.store_url(), sandbox.path("home/store.key"));
    sandbox.init_with(&["--store", &url, "--encrypt", "--key-file", text(&key)]);
    sandbox.hsm(["tier"]).succeeds();
    let out = sandbox.path("out");
    let refused = |why: &str| {
        for command in [&["tier"][..], &["verify"], &["recall", "-r", text(&sandbox.tree())]] {
            sandbox.hsm(command).exits(1).complains(&[why]);
        }
        let restore = ["restore", "--store", &url, "--key-file", text(&key), "--to", text(&out)];
        sandbox.hsm(restore).exits(1).complains(&[why]);
    };
    for mode in [0o640, 0o604, 0o620, 0o666] {
        fs::set_permissions(&key, PermissionsExt::from_mode(mode)).expect("chmod");
        refused("can be read by others than its owner");
    }
    fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("chmod");
    chown(&key, Some(USER), None).expect("chown");
    refused("belongs to user 65534");
    chown(&key, Some(0), None).expect("chown");
    sandbox.hsm(["verify"]).succeeds();
}

#[test]
fn a_crash_leaves_no_memory_in_a_file() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 50_000));
    let held = Held::at(&sandbox, "tier.scanned", &["tier"]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", held.pid())).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.expect("a limit").split_whitespace().skip(4).take(2).collect();
    assert_eq!(core, ["0", "0"]);
    held.finish().succeeds();
}
