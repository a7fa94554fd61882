//! Garbage collection keeps both in step.

use super::scene::{
    Away, doubled, grow, no_stub_without_two_copies, objects, packs, second, twice,
};
use crate::support::snapshot::snapshot;
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Sandbox};
use std::fs;

fn at_once(sandbox: &Sandbox) {
    let text = fs::read_to_string(sandbox.config()).unwrap();
    let lines = "grace = \"0s\"\nsettle = \"0s\"\nmax_share = \"100%\"\n";
    fs::write(sandbox.config(), format!("{text}\n[gc]\n{lines}")).unwrap();
}

fn gc_to_the_end(sandbox: &Sandbox) {
    for _ in 0..8 {
        let summary = sandbox.hsm(["gc", "--json"]).succeeds().summary();
        let number = |name: &str| summary[name].as_u64().expect("a number");
        if number("condemned_packs") + number("repacked_packs") == 0 {
            return;
        }
    }
    panic!("it finds something again and again");
}

#[test]
fn collections_keep_both_stores_in_step_and_every_stub_has_two_copies() {
    let sandbox = doubled();
    at_once(&sandbox);
    for generation in 1..4 {
        grow(&sandbox, generation);
        sandbox.hsm(["tier"]).succeeds();
    }
    // Whole packs die, and of another a part.
    fs::remove_dir_all(sandbox.tree().join("gen1")).unwrap();
    fs::remove_file(sandbox.tree().join("gen2/d0/f0")).unwrap();
    fs::remove_file(sandbox.tree().join("gen2/d0/f2")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let before = packs(&sandbox.store()).len();
    let away = Away::of(&second(&sandbox));
    gc_to_the_end(&sandbox);
    let left = packs(&sandbox.store());
    assert!(left.len() < before, "{} of {before}", left.len());
    away.back();
    assert_eq!(packs(&second(&sandbox)).len(), before, "it was away");
    sandbox.hsm(["gc"]).succeeds();
    assert_eq!(packs(&second(&sandbox)), left);
    sandbox.hsm(["tier"]).succeeds();
    no_stub_without_two_copies(&sandbox, "collected");
    // Once more with both there.
    fs::remove_dir_all(sandbox.tree().join("gen2")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    gc_to_the_end(&sandbox);
    assert!(packs(&sandbox.store()).len() < left.len());
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
    assert_eq!(objects(&sandbox.store(), "gc"), objects(&second(&sandbox), "gc"));
    assert_eq!(objects(&sandbox.store(), "nodes"), objects(&second(&sandbox), "nodes"));
    sandbox.hsm(["verify", "--data"]).succeeds();
    let before = snapshot(&sandbox.tree());
    fs::remove_dir_all(sandbox.store()).unwrap();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    let after = snapshot(&sandbox.tree());
    assert_eq!(before.len(), after.len());
}

/// Two nodes have sent the same file, and only one pack has a second copy: that one
/// stays, whichever the collection would have taken.
#[test]
fn of_two_packs_with_the_same_that_with_a_second_copy_stays() {
    for collector_second in [true, false] {
        let sandbox = doubled();
        at_once(&sandbox);
        sandbox.policy(&twice().replace("action = \"tier\"", "action = \"tier\"\ndedup = false"));
        sandbox.write("a", &noise(1, 100_000));
        sandbox.hsm(["tier"]).succeeds();
        let of_a = packs(&second(&sandbox));
        let once = EAGER_POLICY.replace("action = \"tier\"", "action = \"tier\"\ndedup = false");
        sandbox.policy(&(once + "copies = 1\n"));
        sandbox.write("b", &noise(1, 100_000));
        sandbox.hsm(["tier"]).succeeds();
        let all = packs(&sandbox.store());
        assert_eq!(all.len(), 2, "sent twice");
        let away = (!collector_second).then(|| Away::of(&second(&sandbox)));
        gc_to_the_end(&sandbox);
        if let Some(away) = away {
            away.back();
        }
        let left = packs(&sandbox.store());
        assert!(of_a.keys().all(|pack| left.contains_key(pack)));
        assert_eq!(packs(&second(&sandbox)), of_a);
        for name in ["a", "b"] {
            sandbox.on("recall", &[], &[name]).succeeds();
            assert_eq!(sandbox.read(name), noise(1, 100_000));
        }
    }
}
