//! docs/BACKUP.md from end to end: a nightly run, a machine that is lost, and everything
//! back as it was.

use super::programs::{program, restic, run, there};
use crate::support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use crate::support::trees::{self, noise};
use crate::support::{Sandbox, needs_root};
use std::fs;
use std::path::{Path, PathBuf};

/// Some go to the store, some are only copied there, most are never.
const POLICY: &str = r#"
unguarded = true

[defaults]
min_stub_size = "4KiB"
quiet = "0s"
min_age_after_recall = "0s"

[[rule]]
name = "cold"
include = "cold/**"
nlink_max = 9
action = "tier"

[[rule]]
name = "copied"
include = "dir1/**"
action = "upload"
"#;

fn scene() -> (Sandbox, Snapshot) {
    let sandbox = Sandbox::new();
    sandbox.policy(POLICY);
    let tree = sandbox.tree();
    trees::ordinary(&tree);
    trees::traps(&tree);
    fs::create_dir(tree.join("cold")).expect("a directory");
    trees::traps(&tree.join("cold"));
    sandbox.write("cold/large", &noise(99, 5 << 20));
    sandbox.write("cold/deep/er/and", &noise(98, 50_000));
    for name in ["traps/socket", "cold/traps/socket"] {
        fs::remove_file(tree.join(name)).expect("no backup has sockets");
    }
    let before = snapshot(&tree);
    (sandbox, before)
}

/// By itself rsync takes times within the same second for the same.
const RSYNC: [&str; 3] = ["-aHAXS", "--numeric-ids", "--modify-window=-1"];

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Tree, state DB and locks are gone; the configuration is in the backup too.
fn lose_the_machine(sandbox: &Sandbox) {
    fs::remove_dir_all(sandbox.tree()).expect("the tree");
    fs::remove_dir_all(sandbox.state_dir()).expect("the state");
}

/// What restic restores of a hole are zeros.
fn dig_holes(sandbox: &Sandbox) {
    let odd = sandbox.tree().join("cold/traps/with\nnewline");
    if odd.exists() {
        let modified = odd.metadata().and_then(|metadata| metadata.modified()).expect("its time");
        run(program("fallocate", &sandbox.path("home")).arg("--dig-holes").arg(&odd));
        let file = fs::File::options().write(true).open(&odd).expect("open");
        file.set_modified(modified).expect("as it was");
    }
}

/// What is behind a restored backup: a state DB, then the stubs.
#[track_caller]
fn bring_back_the_rest(sandbox: &Sandbox, name: &str, rows: &Path) {
    sandbox.hsm(["manifest", "--check", text(rows)]).succeeds();
    let rebuilt = sandbox.hsm(["rebuild"]);
    assert!([0, 4].contains(&rebuilt.code()), "{}{}", rebuilt.stdout(), rebuilt.stderr());
    // What the program could not be told to leave out it has copied, marker and all.
    dig_holes(sandbox);
    sandbox.on("adopt", &["-r"], &[""]).succeeds();
    sandbox.hsm(["restore", "--stubs", "--snapshot", name, "--to", "/"]).succeeds();
}

/// Every stub of before is one again, and every byte is there.
#[track_caller]
fn all_is_as_it_was(sandbox: &Sandbox, before: &Snapshot) {
    assert_same(before, &everything_back(sandbox));
}

#[track_caller]
fn everything_back(sandbox: &Sandbox) -> Snapshot {
    assert!(is_stub(&sandbox.tree().join("cold/large")));
    assert!(!is_stub(&sandbox.tree().join("large.bin")));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["verify"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    snapshot(&sandbox.tree())
}

/// Old restics write the zeros of a hole.
fn without_holes(mut tree: Snapshot) -> Snapshot {
    tree.values_mut().for_each(|entry| entry.data = None);
    tree
}

#[test]
fn a_backup_by_restic_the_manifest_and_the_store_are_everything() {
    if !needs_root("restic recipe") || !there("restic recipe", &["restic"]) {
        return;
    }
    let (sandbox, before) = scene();
    let home = sandbox.path("home");
    let (rows, list) = (home.join("stubs.jsonl"), home.join("stubs.exclude"));
    sandbox.hsm(["tier"]).succeeds();
    let args = ["--snapshot", "night", "--exclude-for", "restic", "--exclude-to", text(&list)];
    let mut manifest = sandbox.command(["manifest", "-o", text(&rows)]);
    run(manifest.args(args));
    let tree = sandbox.tree();
    run(restic(&home, ["backup", "--exclude-file"]).arg(&list).arg(&tree).arg(&rows));
    lose_the_machine(&sandbox);
    fs::remove_file(&rows).expect("the manifest");
    run(restic(&home, ["restore", "latest", "--target", "/"]).arg("--include").arg(&rows));
    run(restic(&home, ["restore", "latest", "--target", "/"]).arg("--include").arg(&tree));
    bring_back_the_rest(&sandbox, "night", &rows);
    assert_same(&without_holes(before), &without_holes(everything_back(&sandbox)));
}

#[test]
fn a_copy_by_rsync_and_one_by_tar_are_too() {
    if !needs_root("rsync and tar recipe") || !there("recipe", &["rsync", "tar"]) {
        return;
    }
    for tool in ["rsync", "tar"] {
        let (sandbox, before) = scene();
        let (home, tree) = (sandbox.path("home"), sandbox.tree());
        let (rows, list) = (home.join("stubs.jsonl"), home.join("stubs.exclude"));
        sandbox.hsm(["tier"]).succeeds();
        let mut manifest = sandbox.command(["manifest", "--snapshot", "night", "-o", text(&rows)]);
        manifest.args(["--exclude-for", tool, "--base", text(&tree), "--exclude-to", text(&list)]);
        run(&mut manifest);
        let copy: PathBuf = sandbox.path("copy");
        fs::create_dir(&copy).expect("a directory");
        let back = |from: &Path, to: &Path, list: Option<&Path>| {
            let mut command = program(tool, &home);
            match (tool, list) {
                ("rsync", list) => {
                    // In this order: rsync reads the list when it comes to it.
                    command.args(RSYNC).arg("--from0");
                    command.args(list.map(|list| format!("--exclude-from={}", list.display())));
                    run(command.arg(from.join("")).arg(to))
                }
                (_, Some(list)) => {
                    command.args(["--xattrs", "--xattrs-include=*", "--acls", "-S", "--anchored"]);
                    command.args(["--no-wildcards", "-X"]).arg(list);
                    run(command.arg("-cf").arg(to.join("tar")).arg("-C").arg(from).arg("."))
                }
                (_, None) => {
                    command.args(["--xattrs", "--xattrs-include=*", "--acls", "-xpf"]);
                    run(command.arg(from.join("tar")).arg("-C").arg(to))
                }
            }
        };
        back(&tree, &copy, Some(&list));
        lose_the_machine(&sandbox);
        fs::create_dir(&tree).expect("the root");
        back(&copy, &tree, None);
        bring_back_the_rest(&sandbox, "night", &rows);
        all_is_as_it_was(&sandbox, &before);
    }
}

/// A copy with all attributes has the markers too, each bound to an inode that is no
/// more.
#[test]
fn copied_markers_are_bound_anew() {
    if !needs_root("copied markers") || !there("copied markers", &["rsync", "tar"]) {
        return;
    }
    for tool in ["rsync", "tar"] {
        let (sandbox, before) = scene();
        let (home, tree, copy) = (sandbox.path("home"), sandbox.tree(), sandbox.path("copy"));
        sandbox.hsm(["tier"]).succeeds();
        fs::create_dir(&copy).expect("a directory");
        let carry = |from: &Path, to: &Path| {
            let mut first = program(tool, &home);
            if tool == "rsync" {
                run(first.args(RSYNC).arg(from.join("")).arg(to));
                return;
            }
            let archive = home.join("archive.tar");
            first.args(["--xattrs", "--xattrs-include=*", "--acls", "-S", "-cf"]).arg(&archive);
            run(first.arg("-C").arg(from).arg("."));
            let mut second = program(tool, &home);
            second.args(["--xattrs", "--xattrs-include=*", "--acls", "-xpf"]).arg(&archive);
            run(second.arg("-C").arg(to));
        };
        carry(&tree, &copy);
        lose_the_machine(&sandbox);
        fs::create_dir(&tree).expect("the root");
        carry(&copy, &tree);
        // Nobody believes them until then.
        let rebuilt = sandbox.hsm(["rebuild"]);
        assert!([0, 4].contains(&rebuilt.code()), "{}{}", rebuilt.stdout(), rebuilt.stderr());
        sandbox.on("recall", &[], &["cold/large"]).exits(3).complains(&["hsm adopt"]);
        sandbox.on("adopt", &["-r"], &[""]).succeeds();
        sandbox.hsm(["restore", "--stubs", "--to", "/"]).succeeds();
        all_is_as_it_was(&sandbox, &before);
    }
}
