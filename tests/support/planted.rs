//! A small tree on a store that is about to fail, and what must be true before,
//! during and after.

#![allow(dead_code)] // each suite uses its part

use super::s3_place::Place;
use super::support::Sandbox;
use super::support::snapshot::{Snapshot, allocated, assert_same, is_stub, snapshot};
use super::support::trees::{noise, prose};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn plant(sandbox: &Sandbox) -> Snapshot {
    sandbox.write("a/one", &noise(1, 100_000));
    sandbox.write("a/two", &prose(2, 200_000));
    sandbox.write("b/big", &noise(3, 5 << 20));
    snapshot(&sandbox.tree())
}

/// A bucket with a sandbox on it, its tree planted, nothing uploaded.
pub fn bucket() -> (Place, Sandbox, Snapshot) {
    let place = Place::in_process();
    let sandbox = place.sandbox();
    place.init(&sandbox, &[]);
    let before = plant(&sandbox);
    (place, sandbox, before)
}

/// The same on a directory.
pub fn directory() -> (Sandbox, Snapshot) {
    let sandbox = Sandbox::new();
    let before = plant(&sandbox);
    (sandbox, before)
}

/// The store is well again: the next run finishes the job and all comes back.
#[track_caller]
pub fn all_is_well(sandbox: &Sandbox, before: &Snapshot) {
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("b/big")));
    sandbox.hsm(["verify", "--data"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(before, &snapshot(&sandbox.tree()));
}

#[track_caller]
pub fn nothing_is_stubbed(sandbox: &Sandbox, before: &Snapshot) {
    assert_same(before, &snapshot(&sandbox.tree()));
    for path in before.keys() {
        let path = sandbox.tree().join(path);
        assert!(!is_stub(&path), "{} is a stub", path.display());
    }
}

#[track_caller]
pub fn all_are_stubs(sandbox: &Sandbox, before: &Snapshot) {
    for (path, entry) in before.iter().filter(|(_, entry)| entry.kind == 'f') {
        let full = sandbox.tree().join(path);
        assert!(is_stub(&full), "{} is no stub", path.display());
        assert_eq!(allocated(&full), 0, "{}", path.display());
        assert_eq!(std::fs::metadata(&full).unwrap().len(), entry.size);
    }
}

pub fn edit_config(sandbox: &Sandbox, from: &str, to: &str) {
    let text = std::fs::read_to_string(sandbox.config()).unwrap();
    assert!(text.contains(from), "no {from:?} in\n{text}");
    std::fs::write(sandbox.config(), text.replace(from, to)).unwrap();
}

pub fn packs(store: &Path) -> BTreeSet<PathBuf> {
    walkdir::WalkDir::new(store)
        .into_iter()
        .map(|entry| entry.expect("a readable store"))
        .filter(|entry| {
            entry.file_type().is_file() && entry.path().starts_with(store.join("packs"))
        })
        .map(|entry| entry.into_path())
        .collect()
}

/// Tiers what is there and returns the packs that this made.
pub fn tier_and_tell_packs(sandbox: &Sandbox) -> BTreeSet<PathBuf> {
    let before = packs(&sandbox.store());
    sandbox.hsm(["tier"]).succeeds();
    &packs(&sandbox.store()) - &before
}

/// A file that came and went moved the mtime of the tree's own directory.
pub fn without_root_mtime(sandbox: &Sandbox, mut before: Snapshot) -> Snapshot {
    let now = snapshot(&sandbox.tree());
    let root = Path::new("");
    before.get_mut(root).expect("the root").mtime = now[root].mtime;
    before
}
