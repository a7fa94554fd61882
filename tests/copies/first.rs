//! The first store is away, lost or spoilt.

use super::scene::{
    all_recalled, begin_second, doubled, grow, no_stub_without_two_copies, packs, second,
    some_twice,
};
use super::second::make_writable;
use crate::support::Sandbox;
use crate::support::snapshot::{assert_same, snapshot};
use crate::support::trees::noise;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Encrypted, and the second store becomes the first as docs/SECOND-STORE.md says.
#[test]
fn where_the_first_store_is_lost_for_good_the_second_takes_its_place() {
    let sandbox = Sandbox::empty();
    let url = sandbox.store_url();
    sandbox.init_with(&["--store", &url, "--encrypt"]);
    begin_second(&sandbox, &[]);
    sandbox.policy(&some_twice());
    sandbox.write("twice/a", &noise(1, 300_000));
    sandbox.write("once/b", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    fs::remove_dir_all(sandbox.store()).unwrap();
    for told in [["tier"], ["gc"]] {
        assert_eq!(sandbox.hsm(told).code(), 1, "whatever writes is refused");
    }
    assert!(
        Command::new("cp")
            .arg("-a")
            .args([second(&sandbox), sandbox.store()])
            .status()
            .unwrap()
            .success()
    );
    sandbox.hsm(["tier"]).exits(1).complains(&["is a second store"]);
    let descriptor = sandbox.store().join("hsm-store.json");
    let text = fs::read_to_string(&descriptor).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json.as_object_mut().unwrap().remove("copy").expect("a mark");
    make_writable(&descriptor);
    fs::write(&descriptor, json.to_string()).unwrap();
    let told = sandbox.hsm(["verify"]).exits(4).stdout();
    let lost: Vec<_> = told.lines().filter(|line| line.starts_with("LOST")).collect();
    assert!(lost.len() == 1 && lost[0].contains("once/b"), "{told}");
    sandbox.write("twice/c", &noise(3, 50_000));
    sandbox.hsm(["tier"]).succeeds();
    no_stub_without_two_copies(&sandbox, "in its place");
    sandbox.on("recall", &[], &["twice/a", "twice/c"]).succeeds();
    assert_eq!(sandbox.read("twice/a"), noise(1, 300_000));
}

#[test]
fn what_the_first_store_lost_or_spoilt_is_read_from_the_second_and_mended() {
    let sandbox = doubled();
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let good = packs(&sandbox.store());
    let names: Vec<PathBuf> = good.keys().map(|name| sandbox.store().join(name)).collect();
    // Spoilt: told when it is read, and mended.
    let mut rotten = fs::read(&names[0]).unwrap();
    for at in (200..rotten.len()).step_by(5_000) {
        rotten[at] ^= 1;
    }
    make_writable(&names[0]);
    fs::write(&names[0], rotten).unwrap();
    sandbox.on("recall", &["-r"], &[""]).succeeds().complains(&["read from the second store"]);
    assert_same(&before, &snapshot(&sandbox.tree()));
    let told = sandbox.hsm(["verify", "--data", "--repair"]);
    assert!(told.stdout().contains("put again from the second store"), "{}", told.stdout());
    assert_eq!(packs(&sandbox.store()), good);
    sandbox.hsm(["verify", "--data"]).succeeds();
    // Gone, under stubs.
    sandbox.hsm(["tier"]).succeeds();
    fs::remove_file(&names[0]).unwrap();
    let told = sandbox.hsm(["verify"]).exits(4).stdout();
    assert!(!told.contains("LOST"), "{told}");
    let told = sandbox.hsm(["verify", "--repair"]).stdout();
    assert!(told.contains("put again from the second store"), "{told}");
    sandbox.hsm(["verify", "--data"]).succeeds();
    assert_eq!(packs(&sandbox.store()), good);
    all_recalled(&sandbox, &before);
}
