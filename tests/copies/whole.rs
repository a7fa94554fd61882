//! Both stores are there.

use super::scene::{
    Away, all_recalled, doubled, grow, no_stub_without_two_copies, objects, packs, second,
    some_twice, stubs, twice,
};
use crate::support::Sandbox;
use crate::support::snapshot::{assert_same, is_stub, snapshot};
use crate::support::trees::noise;
use std::fs;

#[test]
fn stubs_have_both_copies_and_either_store_alone_gives_the_tree_back() {
    let sandbox = doubled();
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(&sandbox).len(), 7);
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
    assert_eq!(objects(&sandbox.store(), "nodes"), objects(&second(&sandbox), "nodes"));
    no_stub_without_two_copies(&sandbox, "both");
    sandbox.hsm(["verify", "--data"]).succeeds();
    // The first store is gone altogether.
    let first = Away::of(&sandbox.store());
    let url = format!("file://{}", second(&sandbox).display());
    let target = sandbox.path("restored");
    fs::create_dir(&target).unwrap();
    let target = target.to_str().unwrap();
    sandbox.hsm(["restore", "--store", &url, "--to", target, "--data"]).succeeds();
    let restored = walkdir::WalkDir::new(target).into_iter().filter_map(Result::ok);
    let big = restored.into_iter().find(|e| e.file_name() == "big").expect("it is there");
    assert!(fs::read(big.path()).unwrap() == noise(1, 5 << 20));
    sandbox.on("recall", &["-r"], &[""]).succeeds().complains(&["only the second store is read"]);
    assert_same(&before, &snapshot(&sandbox.tree()));
    first.back();
    sandbox.hsm(["tier"]).succeeds();
    // And the second one.
    fs::remove_dir_all(second(&sandbox)).unwrap();
    all_recalled(&sandbox, &before);
}

#[test]
fn a_rule_with_two_copies_and_no_second_store_is_refused_by_file_and_line() {
    let sandbox = Sandbox::new();
    sandbox.write("a", b"a");
    sandbox.policy(&twice());
    let ran = sandbox.hsm(["tier"]);
    assert_ne!(ran.code(), 0);
    ran.complains(&["test.toml:", "wants two copies", "[second_store]"]);
    assert!(!is_stub(&sandbox.tree().join("a")));
    sandbox.policy(&twice().replace("copies = 2", "copies = 3"));
    let ran = sandbox.hsm(["policy", "check"]);
    assert_ne!(ran.code(), 0);
}

#[test]
fn what_other_rules_say_stays_in_one_store() {
    let sandbox = doubled();
    sandbox.policy(&some_twice());
    sandbox.write("twice/a", &noise(1, 100_000));
    sandbox.write("once/b", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(&sandbox).len(), 2);
    assert_eq!((packs(&sandbox.store()).len(), packs(&second(&sandbox)).len()), (2, 1));
    let told = sandbox.on("explain", &[], &["twice/a"]).stdout();
    assert!(told.contains("second-copy-proven"), "{told}");
    let first = Away::of(&sandbox.store());
    sandbox.on("recall", &[], &["once/b"]).exits(3);
    sandbox.on("recall", &[], &["twice/a"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("once/b")));
    first.back();
    sandbox.on("recall", &[], &["once/b"]).succeeds();
}
