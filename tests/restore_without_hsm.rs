//! No lock-in: what `hsm tier` left in a directory store, tests/restore.py (the
//! standard library and zstd) turns back into the tree, without `hsm`, without
//! the state DB and without the stubs.
//!
//! Needs `python3` and a way to read zstd; without them the tests say loudly
//! that they skip, and fail under `HSM_TEST_NO_SKIP=1`.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use support::trees::{noise, ordinary, prose, root_traps, traps};
use support::{EAGER_POLICY, Sandbox, skip};

fn python(test: &str) -> bool {
    let zstd = "import importlib.util as u, shutil, sys\n\
                found = u.find_spec('zstandard') or shutil.which('zstd') or sys.version_info >= (3, 14)\n\
                sys.exit(not found)";
    let found = Command::new("python3").args(["-c", zstd]).status().is_ok_and(|s| s.success());
    if !found {
        skip(test, "needs python3 with zstandard or the zstd program");
    }
    found
}

/// Hard links are tiered too.
fn policy() -> String {
    EAGER_POLICY.replace("action = \"tier\"", "nlink_max = 10\naction = \"tier\"")
}

/// Restores the only tree of the only node; `out` is empty.
fn restore(store: &Path, out: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/restore.py");
    Command::new("python3").arg(script).arg(store).arg(out).output().expect("python3 runs")
}

fn restored_tree(out: &Path, tree: &Path) -> PathBuf {
    let mut nodes = std::fs::read_dir(out).expect("what was restored");
    let node = nodes.next().expect("one node").expect("its name").path();
    assert!(nodes.next().is_none(), "one node wrote to the store");
    node.join(tree.strip_prefix("/").expect("an absolute path"))
}

/// Takes away everything but a copy of the store.
fn store_alone(sandbox: &Sandbox) -> PathBuf {
    let moved = sandbox.path("all that is left");
    std::fs::rename(sandbox.store(), &moved).expect("the store moves");
    for part in ["home", "tree"] {
        make_removable(&sandbox.path(part));
        std::fs::remove_dir_all(sandbox.path(part)).expect("it goes");
    }
    moved
}

/// An ordinary user cannot empty a directory that they may not write.
fn make_removable(tree: &Path) {
    for entry in walkdir::WalkDir::new(tree).into_iter().map(|entry| entry.expect("a tree")) {
        if entry.file_type().is_dir() {
            let _ = std::fs::set_permissions(entry.path(), PermissionsExt::from_mode(0o700));
        }
    }
}

/// Tiers the tree, loses everything but the store, and compares what the script
/// makes of that.
fn comes_back(sandbox: &Sandbox, before: &Snapshot) -> Output {
    let tree = sandbox.tree();
    let store = store_alone(sandbox);
    let out = sandbox.path("restored");
    std::fs::create_dir(&out).expect("a directory");
    let output = restore(&store, &out);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(restored_tree(&out, &tree).exists(), "{told}");
    let after = snapshot(&restored_tree(&out, &tree));
    make_removable(&out);
    assert_same(before, &after);
    output
}

#[test]
fn a_tiered_tree_is_restored_from_its_store_by_a_script() {
    if !python("a_tiered_tree_is_restored_from_its_store_by_a_script") {
        return;
    }
    let sandbox = Sandbox::empty();
    ordinary(&sandbox.tree());
    traps(&sandbox.tree());
    std::fs::remove_file(sandbox.tree().join("traps/socket")).expect("sockets do not come back");
    if rustix::process::geteuid().is_root() {
        root_traps(&sandbox.tree());
    }
    std::fs::create_dir_all(sandbox.tree().join("empty/directory")).expect("a directory");
    let before = snapshot(&sandbox.tree());
    sandbox.init();
    sandbox.policy(&policy());
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("large.bin")));
    assert!(is_stub(&sandbox.tree().join("traps/names-a")));
    let output = comes_back(&sandbox, &before);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_tree_with_a_history_is_restored_as_it_was_last() {
    if !python("a_tree_with_a_history_is_restored_as_it_was_last") {
        return;
    }
    let sandbox = Sandbox::empty();
    sandbox.init();
    sandbox.policy(&policy());
    sandbox.write("kept", &noise(1, 100_000));
    sandbox.write("changed", &noise(2, 100_000));
    sandbox.write("deleted", &noise(3, 100_000));
    sandbox.write("dir/renamed", &prose(4, 100_000));
    sandbox.write("gone dir/file", &prose(5, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let at = |name: &str| sandbox.tree().join(name);
    sandbox.on("recall", &[], &["changed"]).succeeds();
    sandbox.write("changed", &noise(6, 120_000));
    std::fs::remove_file(at("deleted")).expect("deleted");
    std::fs::rename(at("dir/renamed"), at("dir/new name")).expect("renamed");
    std::fs::rename(at("gone dir"), at("moved dir")).expect("moved");
    std::fs::set_permissions(at("kept"), PermissionsExt::from_mode(0o600)).expect("chmod");
    sandbox.hsm(["tier"]).succeeds();
    // What the tree is by its stubs, compared with their data.
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    let before = snapshot(&sandbox.tree());
    let output = comes_back(&sandbox, &before);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_file_of_several_packs_and_a_versioned_dump_are_restored() {
    if !python("a_file_of_several_packs_and_a_versioned_dump_are_restored") {
        return;
    }
    let sandbox = Sandbox::empty();
    sandbox.init();
    let dumps = "[[rule]]\nname = \"dumps\"\ninclude = [\"*.sql\"]\nchunking = \"fastcdc\"\n\
                 action = \"tier\"\n\n[[rule]]";
    sandbox.policy(&EAGER_POLICY.replace("[[rule]]", dumps));
    let dump = prose(1, 12 << 20);
    sandbox.write("film.mkv", &noise(2, 40 << 20));
    sandbox.write("monday.sql", &dump);
    sandbox.write("tuesday.sql", &[&noise(3, 1000)[..], &dump].concat());
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let output = comes_back(&sandbox, &before);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_damaged_file_is_named_and_all_others_are_restored() {
    if !python("a_damaged_file_is_named_and_all_others_are_restored") {
        return;
    }
    let sandbox = Sandbox::empty();
    sandbox.init();
    sandbox.write("bad", &noise(1, 100_000));
    sandbox.write("good", &noise(2, 100_000));
    let mut before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let packs = walkdir::WalkDir::new(sandbox.store().join("packs")).into_iter();
    for pack in packs.map(|entry| entry.expect("a store").into_path()).filter(|p| p.is_file()) {
        let mut bytes = std::fs::read(&pack).expect("a pack");
        let plain = &noise(1, 100_000)[5000..5064];
        if let Some(at) = bytes.windows(64).position(|window| window == plain) {
            bytes[at] ^= 1;
            std::fs::write(&pack, bytes).expect("a pack");
        }
    }
    before.remove(Path::new("bad"));
    let output = comes_back(&sandbox, &before);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("bad") && !told.contains("good"), "{told}");
}
