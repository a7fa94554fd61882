//! Several nodes on one pair of stores.

use super::scene::{Away, begin_second, objects, packs, second, twice};
use crate::support::Sandbox;
use crate::support::snapshot::is_stub;
use crate::support::trees::noise;

#[test]
fn what_another_node_has_sent_once_is_copied_before_a_stub_relies_on_it() {
    let other = Sandbox::new();
    other.write("theirs", &noise(1, 100_000));
    other.hsm(["tier"]).succeeds();
    let sandbox = Sandbox::empty();
    sandbox.init_with(&["--store", &other.store_url()]);
    begin_second(&sandbox, &[]);
    sandbox.policy(&twice());
    sandbox.write("ours", &noise(1, 100_000));
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
    assert!(is_stub(&sandbox.tree().join("ours")));
    assert_eq!(packs(&other.store()), packs(&second(&sandbox)));
    assert_eq!(objects(&other.store(), "nodes"), objects(&second(&sandbox), "nodes"));
    // The other one takes part with the same second store.
    let url = format!("file://{}", second(&sandbox).display());
    other.hsm(["init", "--second-store", &url]).succeeds();
    other.policy(&twice());
    other.write("more", &noise(2, 100_000));
    other.hsm(["tier"]).succeeds();
    assert_eq!(packs(&other.store()), packs(&second(&sandbox)));
    let first = Away::of(&other.store());
    for (node, name, seed) in [(&sandbox, "ours", 1), (&other, "theirs", 1), (&other, "more", 2)] {
        node.on("recall", &[], &[name]).succeeds();
        assert_eq!(node.read(name), noise(seed, 100_000));
    }
    first.back();
}
