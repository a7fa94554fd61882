//! Each program leaves out exactly the stubs, whatever their names are.

use super::programs::{files, program, restic, run, there};
use crate::support::Sandbox;
use crate::support::snapshot::is_stub;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names that mean something to one of the programs, and what they would take with
/// them if they were understood.
const STUBS: [&[u8]; 28] = [
    b"plain",
    b"star*",
    b"q?",
    b"class[ab]",
    b"open[",
    b"close]",
    b"back\\slash",
    b"esc\\*",
    b"$STUB",
    b"${STUB}",
    b"$$",
    b"{a,b}",
    b"#hash",
    b";semi",
    b"- minus",
    b"+ plus",
    b"!bang",
    b" lead",
    b"trail ",
    b"tab\t",
    b"cr\r",
    b"mid\rcr",
    b"new\nline",
    b"\xff\xfe",
    b"pf:x",
    b"nbsp\xc2\xa0",
    b"\xc3\xbc",
    b"us\x1f",
];
const RESIDENT: [&[u8]; 20] = [
    b"plainer",
    b"starry",
    b"qq",
    b"classa",
    b"openx",
    b"backslash",
    b"esc*",
    b"resident",
    b"$",
    b"a",
    b"hash",
    b"semi",
    b"minus",
    b"lead",
    b"trail",
    b"tab",
    b"cr",
    b"new",
    b"line",
    b"u",
];

struct Scene {
    sandbox: Sandbox,
    stubs: BTreeSet<PathBuf>,
    all: BTreeSet<PathBuf>,
}

/// In directories whose names are no better.
fn scene() -> Scene {
    let sandbox = Sandbox::new();
    for dir in ["", "d*r/", "d[i]r\\/", "dir/"] {
        for name in STUBS.iter().chain(&RESIDENT) {
            let path = sandbox.tree().join(dir).join(OsStr::from_bytes(name));
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            std::fs::write(&path, [b"bytes of ", *name, dir.as_bytes()].concat()).expect("written");
        }
    }
    sandbox.hsm(["tier"]).succeeds();
    // Back: those that a pattern could take, and all of one directory.
    let mut recall = sandbox.command(["recall", "-r"]);
    recall.arg(sandbox.tree().join("dir"));
    for dir in ["", "d*r/", "d[i]r\\/"] {
        recall.args(RESIDENT.map(|name| sandbox.tree().join(dir).join(OsStr::from_bytes(name))));
    }
    run(&mut recall);
    let all = files(&sandbox.tree());
    let stubs: BTreeSet<_> =
        all.iter().filter(|path| is_stub(&sandbox.tree().join(path))).cloned().collect();
    assert_eq!((stubs.len(), all.len()), (3 * STUBS.len(), 4 * (STUBS.len() + RESIDENT.len())));
    Scene { sandbox, stubs, all }
}

impl Scene {
    /// The list for this program; how many names it cannot be told.
    fn list(&self, tool: &str, options: &[&Path]) -> (PathBuf, u64) {
        let file = self.sandbox.path("home/excludes");
        let mut command = self.sandbox.command(["manifest", "--json", "--exclude-for", tool, "-o"]);
        let ran = run(command.arg(&file).args(options));
        let summary = ran.summary();
        assert_eq!(summary["stubs"], self.stubs.len());
        let number = |name: &str| summary[name].as_u64().expect("a number");
        assert_eq!(number("excluded") + number("unsayable"), self.stubs.len() as u64);
        (file, number("unsayable"))
    }

    /// What is in the backup is all but the stubs, of which those are there that have
    /// one of these names.
    #[track_caller]
    fn holds(&self, backup: &Path, unsayable: &[&[u8]], counted: u64) {
        let said = |path: &PathBuf| {
            let name = path.file_name().expect("a name").as_bytes();
            !self.stubs.contains(path) || unsayable.contains(&name)
        };
        let want: BTreeSet<_> = self.all.iter().filter(|path| said(path)).cloned().collect();
        let found = files(backup);
        let missing: Vec<_> = want.difference(&found).collect();
        let more: Vec<_> = found.difference(&want).collect();
        assert!(missing.is_empty() && more.is_empty(), "missing {missing:?}, too many {more:?}");
        assert_eq!(counted, 3 * unsayable.len() as u64);
    }
}

#[test]
fn every_program_leaves_out_exactly_the_stubs() {
    if !there("excludes", &["restic", "borg", "rsync", "tar"]) {
        return;
    }
    let scene = scene();
    let (tree, home) = (scene.sandbox.tree(), scene.sandbox.path("home"));
    let out = |name: &str| {
        let dir = scene.sandbox.path(name);
        std::fs::create_dir(&dir).expect("a directory");
        dir
    };
    let inside = tree.strip_prefix("/").expect("absolute");

    let (list, unsayable) = scene.list("restic", &[]);
    run(restic(&home, ["backup", "--exclude-file"]).arg(&list).arg(&tree));
    let dir = out("from-restic");
    run(restic(&home, ["restore", "latest", "--target"]).arg(&dir));
    scene.holds(&dir.join(inside), &[b"new\nline"], unsayable);

    let (list, unsayable) = scene.list("borg", &[]);
    let (repo, dir) = (home.join("borg"), out("from-borg"));
    run(program("borg", &home).args(["init", "-e", "none"]).arg(&repo));
    let archive = format!("{}::one", repo.display());
    let mut create = program("borg", &home);
    run(create.args(["create", "--exclude-from"]).arg(&list).arg(&archive).arg(&tree));
    run(program("borg", &home).current_dir(&dir).args(["extract", &archive]));
    let odd: [&[u8]; 8] = [
        b"new\nline",
        b"mid\rcr",
        b"cr\r",
        b"\xff\xfe",
        b"trail ",
        b"tab\t",
        b"nbsp\xc2\xa0",
        b"us\x1f",
    ];
    scene.holds(&dir.join(inside), &odd, unsayable);

    let (list, unsayable) = scene.list("rsync", &["--base".as_ref(), &tree]);
    let dir = out("from-rsync");
    let mut rsync = program("rsync", &home);
    rsync.args(["-a", "--from0", "--exclude-from"]).arg(&list);
    run(rsync.arg(tree.join("")).arg(&dir));
    scene.holds(&dir, &[], unsayable);

    let (list, unsayable) = scene.list("rsync", &[]);
    let dir = out("from-rsync-whole-paths");
    let mut rsync = program("rsync", &home);
    rsync.args(["-aR", "--from0", "--exclude-from"]).arg(&list);
    run(rsync.arg(&tree).arg(&dir));
    scene.holds(&dir.join(inside), &[], unsayable);

    let odd: [&[u8]; 4] = [b"new\nline", b"trail ", b"tab\t", b"cr\r"];
    for (name, base) in [("from-tar", true), ("from-tar-whole-paths", false)] {
        let base_args: &[&Path] = if base { &["--base".as_ref(), &tree] } else { &[] };
        let (list, unsayable) = scene.list("tar", base_args);
        let (dir, archive) = (out(name), home.join("archive.tar"));
        let mut tar = program("tar", &home);
        tar.args(["--anchored", "--no-wildcards", "-X"]).arg(&list).arg("-cf").arg(&archive);
        run(if base { tar.arg("-C").arg(&tree).arg(".") } else { tar.arg(&tree) });
        run(program("tar", &home).arg("-xf").arg(&archive).arg("-C").arg(&dir));
        let found = if base { dir } else { dir.join(inside) };
        scene.holds(&found, &odd, unsayable);
    }
}

#[test]
fn manifest_and_list_are_of_one_moment_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    sandbox.write("in/a", b"a file");
    sandbox.write("out/b", b"another");
    sandbox.hsm(["tier"]).succeeds();
    let (rows, list) = (sandbox.path("home/rows"), sandbox.path("home/list"));
    let mut both = sandbox.command(["manifest", "--exclude-for", "rsync", "--base"]);
    both.arg(sandbox.tree().join("in")).arg("-o").arg(&rows).arg("--exclude-to").arg(&list);
    run(&mut both);
    assert_eq!(std::fs::read(&list).expect("the list"), b"/a\0", "only what lies below the base");
    assert_eq!(std::fs::read_to_string(&rows).expect("the manifest").lines().count(), 4);
    for file in [&rows, &list] {
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    }
    let same = ["manifest", "--exclude-for", "tar", "-o", "x", "--exclude-to", "x"];
    sandbox.hsm(same).exits(2).complains(&["one file"]);
    let whole = ["manifest", "--exclude-for", "borg", "--base", "/"];
    sandbox.hsm(whole).exits(2).complains(&["whole paths"]);
    // On standard output the list alone.
    let printed = sandbox.hsm(["manifest", "--exclude-for", "borg"]).succeeds();
    let paths =
        ["in/a", "out/b"].map(|name| format!("pf:{}\n", sandbox.tree().join(name).display()));
    assert_eq!(printed.stdout(), paths.concat());
}
