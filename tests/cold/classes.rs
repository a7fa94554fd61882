//! What goes into an archive, and what never does.

use super::scene::{Scene, content, policy};
use crate::s3_place::Place;
use crate::s3_server::Misdeed;
use crate::support::trees::noise;

#[test]
fn only_packs_are_archived_also_where_the_archive_is_the_default() {
    let place = Place::cold();
    let sandbox = place.sandbox();
    place.init(&sandbox, &[]);
    let config = std::fs::read_to_string(sandbox.config()).expect("the configuration");
    let config = config.replace("[store]\n", "[store]\nstorage_class = \"DEEP_ARCHIVE\"\n");
    std::fs::write(sandbox.config(), config).expect("written");
    sandbox.write("large", &noise(1, 26 << 20));
    sandbox.write("small", &content(2));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["doctor"]);
    let classes = place.server().vault().classes();
    let packs = place.objects("packs/").len();
    assert!(packs >= 1, "{packs}");
    assert_eq!(classes.len(), packs, "{classes:?}");
    assert!(classes.keys().all(|key| key.contains("/packs/")), "{classes:?}");
    assert!(classes.values().all(|class| class == "DEEP_ARCHIVE"));
    // Its proof is the sum of the whole.
    let seen = place.server().take_seen();
    let of_packs = || seen.iter().filter(|seen| seen.uri.contains("/packs/"));
    assert!(!of_packs().any(|seen| seen.uri.contains("uploadId=")), "none in parts");
    assert!(!of_packs().any(|seen| seen.method == "GET"), "no copy was read back");
    sandbox.on("recall", &[], &["small"]).exits(3);
}

#[test]
fn a_file_that_must_be_readable_shares_nothing_with_an_archived_one() {
    let scene = Scene::of_class("GLACIER");
    let rules = policy("GLACIER").replace(
        "[[rule]]",
        "[[rule]]\nname = \"hot\"\ninclude = \"hot*\"\naction = \"tier\"\n\n[[rule]]",
    );
    scene.sandbox.policy(&rules);
    scene.sandbox.write("cold1", &content(1));
    scene.sandbox.write("hot1", &content(1));
    scene.sandbox.hsm(["tier"]).succeeds();
    scene.sandbox.write("hot2", &content(1));
    scene.sandbox.write("cold2", &content(1));
    let sent = scene.sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(sent["sent_bytes"], 0, "both kinds have it by now: {sent}");
    for name in ["hot1", "hot2", "cold1", "cold2"] {
        assert!(scene.is_stub(name));
        scene.recall(&[], &[name]).succeeds();
        assert_eq!(scene.sandbox.read(name), content(1));
    }
    assert_eq!(scene.vault().orders().len(), 0, "a copy that can be read is preferred");
    let archived = scene.vault().classes().len();
    assert_eq!((archived, scene.place.objects("packs/").len()), (1, 2));
}

#[test]
fn a_store_that_cannot_prove_a_copy_unread_gets_none_in_an_archive() {
    let place = Place::cold();
    let sandbox = place.sandbox();
    place.server().misbehave(None, u32::MAX, Misdeed::IgnoreSums);
    place.server().misbehave(Some("HEAD"), u32::MAX, Misdeed::HideEtag);
    place.init(&sandbox, &[]);
    sandbox.policy(&policy("GLACIER"));
    sandbox.write("a", &content(1));
    let before = place.objects("packs/").len();
    let said = sandbox.hsm(["tier"]);
    assert_ne!(said.code(), 0);
    said.complains(&["cannot be read back", "a class that can be read at once"]);
    assert_eq!(place.objects("packs/").len(), before, "not a byte was sent");
    assert_eq!(sandbox.read("a"), content(1));
}

/// A directory has no classes: a rule that names one costs nothing there.
#[test]
fn a_directory_keeps_no_archive() {
    let sandbox = crate::support::Sandbox::new();
    sandbox.policy(&policy("DEEP_ARCHIVE"));
    sandbox.write("a", &content(1));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.on("recall", &[], &["a"]).succeeds();
    assert_eq!(sandbox.read("a"), content(1));
}

/// Moto brings a copy at once.
#[test]
fn a_real_server_archives_and_thaws() {
    let Some(place) = Place::real("a_real_server_archives_and_thaws") else { return };
    let sandbox = place.sandbox();
    place.init(&sandbox, &[]);
    sandbox.policy(&policy("GLACIER"));
    sandbox.write("a", &content(1));
    let tiered = sandbox.hsm(["tier"]);
    if tiered.code() != 0 {
        eprintln!("SKIPPED a_real_server_archives_and_thaws: no such class: {}", tiered.stderr());
        return;
    }
    let packs = place.objects("packs/");
    let of_pack = place.store().head(&packs[0].key).expect("a pack");
    assert_eq!(of_pack.storage_class.as_deref(), Some("GLACIER"));
    assert_eq!(of_pack.access, hsm::store::Access::Archived);
    sandbox.on("recall", &["--wait"], &["a"]).succeeds();
    assert_eq!(sandbox.read("a"), content(1));
    sandbox.hsm(["verify"]).succeeds();
}
