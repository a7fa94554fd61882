//! A bucket as the second store.

use super::scene::{all_recalled, grow, packs, stubs, twice};
use crate::s3_place::Place;
use crate::s3_server::{ACCESS_KEY_ID, Misdeed, SECRET_ACCESS_KEY};
use crate::support::Sandbox;
use crate::support::snapshot::{is_stub, snapshot};
use crate::support::trees::noise;
use std::fs;

/// A directory first, a bucket second, with credentials of its own.
fn with_bucket() -> (Place, Sandbox) {
    let place = Place::in_process();
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_SECOND_AWS_ACCESS_KEY_ID", ACCESS_KEY_ID);
    sandbox.set_env("HSM_SECOND_AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    sandbox.set_env("AWS_EC2_METADATA_DISABLED", "true");
    let config = fs::read_to_string(sandbox.config()).unwrap();
    let (url, endpoint) = (&place.url, &place.endpoint);
    let section = format!(
        "\n[second_store]\nurl = \"{url}\"\nendpoint = \"{endpoint}\"\npath_style = true\n"
    );
    fs::write(sandbox.config(), config + &section).unwrap();
    sandbox.policy(&twice());
    sandbox.write("before", &noise(8, 40_000));
    let ran = sandbox.hsm(["tier"]).exits(3).complains(&["was never begun", "hsm init"]);
    drop(ran);
    assert!(!is_stub(&sandbox.tree().join("before")));
    sandbox.hsm(["init", "--second-store", url]).succeeds();
    (place, sandbox)
}

#[test]
fn a_bucket_is_a_second_store_and_what_it_says_is_not_believed() {
    let (place, sandbox) = with_bucket();
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    // Full, dead, denied, and one that stores other bytes.
    for misdeed in [Misdeed::Full, Misdeed::Forbid, Misdeed::StoreOther] {
        place.server().misbehave_at(Some("PUT"), "packs/", 0, u32::MAX, misdeed);
        sandbox.hsm(["tier"]).exits(3);
        assert!(stubs(&sandbox).is_empty(), "{misdeed:?}");
        place.server().behave();
    }
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(&sandbox).len(), 8);
    assert_eq!(place.objects("packs/").len(), packs(&sandbox.store()).len());
    sandbox.hsm(["verify", "--data"]).succeeds();
    fs::remove_dir_all(sandbox.store()).unwrap();
    all_recalled(&sandbox, &before);
}
