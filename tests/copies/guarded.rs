//! The guard.

use super::scene::{Away, begin_second, twice};
use crate::guard::Guarded;
use crate::loopfs::FsKind;
use crate::support::trees::noise;
use std::fs;

#[test]
fn a_guard_stubs_only_with_both_copies_and_recalls_from_the_second_store() {
    let test = "a_guard_stubs_only_with_both_copies_and_recalls_from_the_second_store";
    let Some(mut guarded) = Guarded::idle(test, FsKind::Ext4) else { return };
    let second = guarded.sandbox.path("second");
    begin_second(&guarded.sandbox, &[]);
    guarded.sandbox.policy(&twice().replace("unguarded = true", ""));
    guarded.start();
    guarded.write("a", &noise(1, 300_000));
    let away = Away::of(&second);
    guarded.sandbox.hsm(["tier"]).exits(3);
    assert!(!guarded.is_stub("a"), "{}", guarded.said());
    away.back();
    guarded.restart();
    guarded.sandbox.hsm(["tier"]).succeeds();
    assert!(guarded.is_stub("a"), "{}", guarded.said());
    // The packs of the first store are gone, while the guard runs.
    let gone = guarded.sandbox.path("gone");
    fs::rename(guarded.sandbox.store().join("packs"), &gone).unwrap();
    assert!(fs::read(guarded.path("a")).expect("recalled") == noise(1, 300_000));
    fs::rename(&gone, guarded.sandbox.store().join("packs")).unwrap();
    // And a guard that finds no first store at all.
    guarded.sandbox.hsm(["verify", "--repair"]);
    guarded.sandbox.hsm(["tier"]).succeeds();
    assert!(guarded.is_stub("a"), "{}", guarded.said());
    let first = Away::of(&guarded.sandbox.store());
    guarded.restart();
    assert!(fs::read(guarded.path("a")).expect("recalled") == noise(1, 300_000));
    first.back();
}
