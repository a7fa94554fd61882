//! Stubs restored into a tree that `hsm` manages are stubs like any other, at once.

use super::scene::{figure, fresh, linked_policy, no_litter, text, without_sockets};
use crate::guard::Guarded;
use crate::loopfs::FsKind;
use crate::support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use crate::support::trees::{noise, ordinary, traps};
use crate::support::{Ran, Sandbox};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An old server's store, and a new one that has joined it with an empty tree.
fn new_server() -> (Sandbox, Snapshot) {
    let old = Sandbox::empty();
    ordinary(&old.tree());
    traps(&old.tree());
    let before = without_sockets(snapshot(&old.tree()));
    old.init();
    old.policy(&linked_policy());
    old.hsm(["tier"]).succeeds();
    let new = Sandbox::empty();
    fs::remove_dir(new.store()).expect("rmdir");
    fs::rename(old.store(), new.store()).expect("the store stays");
    new.init();
    new.policy(&linked_policy());
    (new, before)
}

fn stubs(sandbox: &Sandbox, options: &[&str]) -> Ran {
    let tree = sandbox.tree();
    let args = [&["restore", "--stubs", "--strip-root", "--to", text(&tree)], options].concat();
    sandbox.hsm(args)
}

/// Names of regular files that have data, and those of them that `ls` calls stubs.
fn known_stubs(sandbox: &Sandbox, before: &Snapshot) -> (usize, usize) {
    let with_data = |entry: &&crate::support::snapshot::Entry| {
        entry.kind == 'f' && entry.size > 0 && entry.data.as_ref().is_none_or(|d| !d.is_empty())
    };
    let listed = sandbox.hsm(["find", text(&sandbox.tree()), "--state", "stub", "-0"]).succeeds();
    let names = listed.output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    (before.values().filter(with_data).count(), names.count())
}

#[test]
fn restored_stubs_are_listed_verified_recalled_and_catalogued() {
    if !crate::support::needs_root("restored_stubs_are_listed_verified_recalled_and_catalogued") {
        return;
    }
    let (sandbox, before) = new_server();
    let ran = stubs(&sandbox, &["--json"]).succeeds();
    let (expected, listed) = known_stubs(&sandbox, &before);
    assert_eq!(expected, listed);
    assert_eq!(figure(&ran, "stubs") + figure(&ran, "links"), expected as u64);
    let status = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(status.contains("stub"), "{status}");
    sandbox.hsm(["verify", "--data"]).succeeds();
    sandbox.hsm(["doctor"]).succeeds();
    // They are in this node's own log, by which they could be restored again.
    let file = sandbox.tree().join("large.bin");
    let told = sandbox.hsm(["history", text(&file)]).succeeds().stdout();
    assert!(told.contains("9 MiB"), "{told}");
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
    // By now that log names them as well; where they came from is where to go on.
    fs::remove_file(sandbox.tree().join("large.bin")).expect("remove");
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(figure(&stubs(&sandbox, &["--json"]).succeeds(), "stubs"), 1);
    assert!(is_stub(&sandbox.tree().join("large.bin")));
    sandbox.hsm(["recall", "-r", text(&sandbox.tree())]).succeeds();
    let mut found = snapshot(&sandbox.tree());
    // It was there before, and not ours to describe.
    found.insert(PathBuf::new(), before[Path::new("")].clone());
    assert_same(&before, &found);
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
}

/// A kill between a stub's name and its row.
#[test]
fn a_second_restore_records_what_a_killed_one_did_not() {
    if !crate::support::needs_root("a_second_restore_records_what_a_killed_one_did_not") {
        return;
    }
    for point in ["restore.named:7", "restore.recorded:1", "restore.directories-described:1"] {
        let (mut sandbox, before) = new_server();
        sandbox.set_env("HSM_FAULT_ABORT", point);
        assert_eq!(stubs(&sandbox, &[]).code(), -1, "{point}");
        sandbox.set_env("HSM_FAULT_ABORT", "");
        stubs(&sandbox, &[]).succeeds();
        let (expected, listed) = known_stubs(&sandbox, &before);
        assert_eq!(expected, listed, "{point}");
        sandbox.hsm(["verify"]).succeeds();
        sandbox.hsm(["recall", "-r", text(&sandbox.tree())]).succeeds();
        let mut found = snapshot(&sandbox.tree());
        found.insert(PathBuf::new(), before[Path::new("")].clone());
        assert_same(&before, &found);
        no_litter(&sandbox.tree());
    }
}

/// Also when another run has the root.
#[test]
fn a_managed_tree_is_locked_meanwhile() {
    let (sandbox, _) = new_server();
    let held = crate::support::held::Held::at(&sandbox, "tier.scanned", &["tier"]);
    let tree = sandbox.tree();
    sandbox.hsm(["restore", "--strip-root", "--to", text(&tree)]).exits(11);
    held.finish().succeeds();
    sandbox.hsm(["restore", "--strip-root", "--to", text(&tree)]).succeeds();
}

#[test]
fn stubs_of_another_store_do_not_come_into_a_managed_tree() {
    let (sandbox, _) = new_server();
    let other = Sandbox::new();
    other.write("file", &noise(1, 10_000));
    other.hsm(["tier"]).succeeds();
    let url = other.store_url();
    stubs(&sandbox, &["--store", &url]).exits(1).complains(&["root of the configured store"]);
    let tree = sandbox.tree();
    let args = ["restore", "--strip-root", "--to", text(&tree), "--store", &url];
    sandbox.hsm(args).succeeds();
    assert_eq!(sandbox.read("file"), noise(1, 10_000));
}

/// A stub must not rely on what is about to be deleted; a file may.
#[test]
fn what_is_being_collected_comes_back_with_its_data_only() {
    if !crate::support::needs_root("what_is_being_collected_comes_back_with_its_data_only") {
        return;
    }
    let (sandbox, before) = new_server();
    super::segments::condemn_everything(&sandbox);
    let ran = stubs(&sandbox, &["--json"]).exits(3);
    ran.complains(&["dir0/copy0.dat", "is being collected as garbage", "without --stubs"]);
    assert!(!sandbox.tree().join("large.bin").exists());
    let tree = sandbox.tree();
    sandbox.hsm(["restore", "--strip-root", "--to", text(&tree)]).succeeds();
    let mut found = snapshot(&sandbox.tree());
    found.insert(PathBuf::new(), before[Path::new("")].clone());
    assert_same(&before, &found);
}

/// A guard watches the tree that a restore works in: nobody waits for anybody, and
/// who reads a new stub gets the file.
#[test]
fn under_a_guard_data_and_stubs_come_back_and_a_reader_gets_the_bytes() {
    let name = "under_a_guard_data_and_stubs_come_back_and_a_reader_gets_the_bytes";
    let old = Sandbox::new();
    ordinary(&old.tree());
    old.hsm(["tier"]).succeeds();
    let url = old.store_url();
    let Some(fs) = crate::loopfs::LoopFs::new(name, FsKind::Ext4) else { return };
    let mut guarded = Guarded::on(fs, Sandbox::empty(), &["--store", &url]);
    guarded.start();
    let before = fresh(
        &old,
        ["restore", "--store", &url, "--strip-root", "--to"]
            .map(str::to_owned)
            .into_iter()
            .chain([text(&old.path("plain")).to_owned()]),
    );
    before.succeeds();
    let before = snapshot(&old.path("plain"));
    for (dir, option) in [("data", "--data"), ("stubs", "--stubs")] {
        let to = guarded.path(dir);
        let args = ["restore", option, "--strip-root", "--to", text(&to)];
        guarded.sandbox.hsm(args).succeeds();
        let is_stub = is_stub(&to.join("large.bin"));
        assert_eq!(is_stub, option == "--stubs");
        let mut cat = Command::new("cat");
        let bytes = Ran::of(cat.arg(to.join("large.bin"))).succeeds().output.stdout;
        assert!(bytes == noise(4711, 9 << 20), "{dir}");
        let found = Command::new("diff").arg("-r").args([&old.path("plain"), &to]).output();
        assert!(found.expect("diff").status.success(), "{dir}");
        assert_same(&before, &snapshot(&to));
        no_litter(&to);
    }
    guarded.sandbox.hsm(["verify"]).succeeds();
}
