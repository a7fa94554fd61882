//! What needs its second copy only later.

use super::scene::{Away, all_recalled, doubled, grow, packs, second, some_twice, stubs, twice};
use crate::support::snapshot::{Snapshot, is_stub, snapshot};
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Sandbox};
use std::fs;
use std::path::Path;

#[test]
fn a_file_that_relies_on_a_pack_of_one_copy_has_it_copied_first() {
    let sandbox = doubled();
    sandbox.policy(&some_twice());
    sandbox.write("once/a", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    assert!(packs(&second(&sandbox)).is_empty());
    sandbox.write("twice/a", &noise(1, 100_000));
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
    assert!(is_stub(&sandbox.tree().join("twice/a")));
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
}

#[test]
fn a_raised_rule_makes_second_copies_of_stubs_and_a_lowered_one_lets_go() {
    let sandbox = doubled();
    sandbox.policy(EAGER_POLICY);
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let all = stubs(&sandbox);
    assert!(packs(&second(&sandbox)).is_empty() && all.len() == 7);
    sandbox.policy(&twice());
    let away = Away::of(&second(&sandbox));
    sandbox.hsm(["tier"]).exits(3).complains(&["wait for their second copy: 7"]);
    assert_eq!(stubs(&sandbox), all, "they stay stubs");
    away.back();
    sandbox.hsm(["upload"]).succeeds();
    assert_eq!(stubs(&sandbox), all);
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
    let away = Away::of(&second(&sandbox));
    sandbox.policy(EAGER_POLICY);
    sandbox.write("new", &noise(7, 10_000));
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("new")));
    away.back();
    all_recalled(&sandbox, &before_with(&sandbox, before));
}

fn before_with(sandbox: &Sandbox, before: Snapshot) -> Snapshot {
    sandbox.on("recall", &[], &["new"]).succeeds();
    fs::remove_file(sandbox.tree().join("new")).unwrap();
    fs::File::open(sandbox.tree()).unwrap();
    let mut before = before;
    if let (Some(root), Some(now)) =
        (before.get_mut(Path::new("")), snapshot(&sandbox.tree()).remove(Path::new("")))
    {
        *root = now;
    }
    before
}
