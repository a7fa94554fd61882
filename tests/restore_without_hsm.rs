//! No lock-in: what `hsm tier` left in a directory store, encrypted or not,
//! tests/restore.py turns back into the tree, without `hsm`, without the state DB
//! and without the stubs; and says what is damaged in it.

#[path = "support/script.rs"]
mod script;
mod support;

use script::{Script, failed_saying, script_runs, succeeded};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};
use support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use support::trees::{noise, ordinary, prose, root_traps, traps};
use support::{EAGER_POLICY, Sandbox};

/// Hard links are tiered too.
fn policy() -> String {
    EAGER_POLICY.replace("action = \"tier\"", "nlink_max = 10\naction = \"tier\"")
}

/// Initialised with a key or without.
fn sandbox(encrypted: bool) -> Sandbox {
    let sandbox = Sandbox::empty();
    let (url, key) = (sandbox.store_url(), sandbox.path("key"));
    let key = key.to_str().expect("temporary paths are UTF-8");
    let options = ["--store", &url, "--encrypt", "--key-file", key];
    sandbox.init_with(if encrypted { &options } else { &options[..2] });
    sandbox.policy(&policy());
    sandbox
}

/// The sandbox's store where it is now.
fn script(sandbox: &Sandbox, store: PathBuf) -> Script {
    let key = sandbox.path("key");
    Script { store, key: key.exists().then_some(key) }
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

/// Loses everything but the store, and compares what the script makes of that.
fn comes_back(sandbox: &Sandbox, before: &Snapshot) -> Output {
    let store = store_alone(sandbox);
    restored(sandbox, &script(sandbox, store), &[], before)
}

fn restored(sandbox: &Sandbox, script: &Script, options: &[&str], expected: &Snapshot) -> Output {
    let out = sandbox.path("restored");
    let output = script.restore(options, &out);
    let told = String::from_utf8_lossy(&output.stderr);
    let tree = restored_tree(&out, &sandbox.tree());
    assert!(tree.exists(), "{told}");
    assert_same(expected, &snapshot(&tree));
    make_removable(&out);
    std::fs::remove_dir_all(&out).expect("what was restored goes");
    output
}

fn now_ns() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    now.as_nanos().to_string()
}

#[test]
fn a_tiered_tree_is_restored_from_its_store_by_a_script() {
    if !script_runs("a_tiered_tree_is_restored_from_its_store_by_a_script") {
        return;
    }
    for encrypted in [false, true] {
        let sandbox = sandbox(encrypted);
        ordinary(&sandbox.tree());
        traps(&sandbox.tree());
        std::fs::remove_file(sandbox.tree().join("traps/socket")).expect("no socket comes back");
        if rustix::process::geteuid().is_root() {
            root_traps(&sandbox.tree());
        }
        std::fs::create_dir_all(sandbox.tree().join("empty/directory")).expect("a directory");
        let before = snapshot(&sandbox.tree());
        sandbox.hsm(["tier"]).succeeds();
        assert!(is_stub(&sandbox.tree().join("large.bin")));
        assert!(is_stub(&sandbox.tree().join("traps/names-a")));
        succeeded(&script(&sandbox, sandbox.store()).check());
        succeeded(&comes_back(&sandbox, &before));
    }
}

#[test]
fn a_tree_with_a_history_is_restored_as_it_was_last_and_as_it_was_before() {
    if !script_runs("a_tree_with_a_history_is_restored_as_it_was_last_and_as_it_was_before") {
        return;
    }
    let sandbox = sandbox(false);
    let nothing_yet = now_ns();
    sandbox.write("kept", &noise(1, 100_000));
    sandbox.write("changed", &noise(2, 100_000));
    sandbox.write("deleted", &noise(3, 100_000));
    sandbox.write("dir/renamed", &prose(4, 100_000));
    sandbox.write("gone dir/file", &prose(5, 100_000));
    let first = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let then = now_ns();
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
    let last = snapshot(&sandbox.tree());
    let store = store_alone(&sandbox);
    let script = script(&sandbox, store);
    succeeded(&restored(&sandbox, &script, &["--as-of", &then], &first));
    succeeded(&restored(&sandbox, &script, &[], &last));
    succeeded(&restored(&sandbox, &script, &["--as-of", "2200-01-01T00:00:00Z"], &last));
    succeeded(&script.restore(&["--as-of", &nothing_yet], &sandbox.path("restored")));
    assert!(!sandbox.path("restored").exists());
}

#[test]
fn a_file_of_several_packs_and_a_versioned_dump_are_restored() {
    if !script_runs("a_file_of_several_packs_and_a_versioned_dump_are_restored") {
        return;
    }
    let sandbox = sandbox(true);
    let dumps = "[[rule]]\nname = \"dumps\"\ninclude = [\"*.sql\"]\nchunking = \"fastcdc\"\n\
                 action = \"tier\"\n\n[[rule]]";
    sandbox.policy(&EAGER_POLICY.replace("[[rule]]", dumps));
    let dump = prose(1, 12 << 20);
    sandbox.write("film.mkv", &noise(2, 40 << 20));
    sandbox.write("monday.sql", &dump);
    sandbox.write("tuesday.sql", &[&noise(3, 1000)[..], &dump].concat());
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    succeeded(&comes_back(&sandbox, &before));
}

#[test]
fn a_damaged_file_is_named_and_all_others_are_restored() {
    if !script_runs("a_damaged_file_is_named_and_all_others_are_restored") {
        return;
    }
    let sandbox = sandbox(false);
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
    failed_saying(&script(&sandbox, sandbox.store()).check(), "is damaged in");
    let output = comes_back(&sandbox, &before);
    failed_saying(&output, "bad");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("good"), "only the other");
}
