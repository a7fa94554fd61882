//! Deaths, refusals, copies that expire, and what every other command does with a
//! pack that cannot be read.

use super::scene::{Scene, content, policy};
use crate::s3_place::Place;
use crate::s3_server::{Clerk, Misdeed};
use crate::support::{EAGER_POLICY, Ran};

#[test]
fn a_death_around_the_order_asks_neither_twice_nor_never() {
    for (point, orders_before) in [("thaw.intended", 0), ("thaw.ordered", 1)] {
        let scene = Scene::tiered("GLACIER");
        let mut command = scene.sandbox.command(["recall"]);
        command.arg(scene.sandbox.tree().join("a")).env("HSM_FAULT_ABORT", point);
        let died = Ran::of(&mut command);
        assert_eq!(died.code(), -1, "{point}: {}", died.stderr());
        assert_eq!(scene.vault().orders().len(), orders_before, "{point}");
        assert!(scene.is_stub("a"), "{point}");
        let thaws = scene.status("thaw");
        assert_eq!(thaws[0]["taken_by_store"], false, "{point}: {thaws:?}");
        let text = scene.sandbox.hsm(["status"]).succeeds().stdout();
        assert!(text.contains("not known to have been taken"), "{point}: {text}");
        scene.recall(&[], &["a"]).exits(3);
        assert_eq!(scene.vault().orders().len(), 1, "{point}");
        assert_eq!(scene.status("thaw")[0]["taken_by_store"], true, "{point}");
        scene.vault().release(9);
        scene.sandbox.hsm(["recall", "--pending"]).succeeds();
        assert_eq!(scene.sandbox.read("a"), content(1), "{point}");
    }
}

#[test]
fn a_copy_that_expired_before_the_recall_is_asked_for_again() {
    let scene = Scene::tiered("GLACIER");
    scene.recall(&["--tier", "Bulk"], &["a"]).exits(3);
    scene.vault().release(9);
    scene.sandbox.hsm(["recall", "--pending", "--dry-run"]).succeeds();
    scene.vault().expire();
    scene.sandbox.hsm(["recall", "--pending"]).exits(3);
    assert!(scene.is_stub("a"));
    let orders = scene.vault().orders();
    assert_eq!(orders.len(), 2);
    assert_eq!(orders[1].tier, "Bulk", "as it was asked for");
    scene.vault().release(9);
    scene.sandbox.hsm(["recall", "--pending"]).succeeds();
    assert_eq!(scene.sandbox.read("a"), content(1));
}

#[test]
fn what_is_under_way_already_is_waited_for_like_an_order_of_ones_own() {
    let scene = Scene::tiered("GLACIER");
    scene.vault().behave(Clerk::Elsewhere);
    scene.recall(&[], &["a"]).exits(3);
    assert_eq!(scene.status("thaw")[0]["taken_by_store"], true);
    scene.vault().release(9);
    scene.sandbox.hsm(["recall", "--pending"]).succeeds();
    assert_eq!(scene.sandbox.read("a"), content(1));
}

#[test]
fn a_missing_permission_is_named_and_nobody_waits_for_what_will_not_come() {
    let scene = Scene::tiered("GLACIER");
    scene.vault().behave(Clerk::Forbidding);
    let said = scene.recall(&[], &["a"]).exits(3);
    said.complains(&["s3:RestoreObject", "access denied"]);
    assert!(scene.is_stub("a"));
    assert_eq!(scene.status("thaw"), [] as [serde_json::Value; 0]);
    scene.sandbox.hsm(["recall", "--pending"]).succeeds();
    scene.vault().behave(Clerk::Obliging);
    scene.recall(&[], &["a"]).exits(3);
    scene.vault().release(9);
    scene.recall(&[], &["a"]).succeeds();
}

#[test]
fn a_pack_that_a_lifecycle_rule_moved_away_is_noticed_when_it_is_read() {
    let scene = Scene::of_class("STANDARD");
    scene.sandbox.write("a", &content(1));
    scene.sandbox.hsm(["tier"]).succeeds();
    for pack in scene.place.objects("packs/") {
        let path = format!("{}/{}", &scene.place.url["s3:/".len()..], pack.key);
        scene.vault().keep(&path, Some("GLACIER"));
    }
    scene.recall(&[], &["a"]).exits(3).complains(&["1 files wait for 1 packs"]);
    assert!(scene.is_stub("a"), "the fill was undone");
    scene.vault().release(9);
    scene.sandbox.hsm(["recall", "--pending"]).succeeds();
    assert_eq!(scene.sandbox.read("a"), content(1));
}

#[test]
fn an_archived_pack_is_neither_gone_nor_damaged() {
    let scene = Scene::tiered("GLACIER");
    let said = scene.sandbox.hsm(["verify", "--data", "--json"]).succeeds().summary();
    assert_eq!((&said["archived_packs"], &said["packs_read"]), (&2.into(), &0.into()), "{said}");
    assert_eq!((&said["problems"], &said["lost_files"]), (&0.into(), &0.into()));
    let alone = ["verify", "--store", &scene.place.url, "--data", "--json"];
    let said = scene.sandbox.hsm(alone).succeeds().summary();
    assert_eq!((&said["archived_packs"], &said["problems"]), (&2.into(), &0.into()), "{said}");

    let into = scene.sandbox.path("into");
    std::fs::create_dir(&into).expect("a directory");
    let to = into.to_str().expect("a path");
    let asks = ["archive class", "hsm recall --wait"];
    let path = scene.sandbox.tree().join("a");
    let path = path.to_str().expect("a path");
    let cat = scene.sandbox.hsm(["cat", path]);
    assert_ne!(cat.code(), 0);
    cat.complains(&asks);
    let export = scene.sandbox.hsm(["export", path]);
    assert_ne!(export.code(), 0);
    export.complains(&asks);
    scene.sandbox.hsm(["restore", "--to", to, path]).exits(3).complains(&asks);

    // A new state DB from stubs and store: the stubs stay what they are.
    std::fs::remove_file(scene.sandbox.state_db()).expect("the state DB is lost");
    scene.sandbox.hsm(["rebuild"]).succeeds();
    assert_eq!(scene.vault().orders().len(), 0, "none of these asks for anything");
    scene.recall(&[], &["a"]).exits(3);
    scene.vault().release(9);
    scene.sandbox.hsm(["recall", "--pending"]).succeeds();
    assert_eq!(scene.sandbox.read("a"), content(1));
    let said = scene.sandbox.hsm(["verify", "--data", "--json"]).succeeds().summary();
    assert_eq!((&said["archived_packs"], &said["packs_read"]), (&1.into(), &1.into()), "{said}");
}

#[test]
fn an_upload_that_dies_over_an_archived_pack_does_not_stop_the_next() {
    for point in ["upload.pack-put", "upload.pack-proven", "upload.pack-recorded"] {
        let scene = Scene::of_class("DEEP_ARCHIVE");
        scene.sandbox.write("a", &content(1));
        let died = Ran::of(scene.sandbox.command(["tier"]).env("HSM_FAULT_ABORT", point));
        assert_eq!(died.code(), -1, "{point}: {}", died.stderr());
        scene.sandbox.hsm(["tier"]).succeeds();
        assert!(scene.is_stub("a"), "{point}");
        scene.recall(&[], &["a"]).exits(3);
        scene.vault().release(9);
        scene.recall(&[], &["a"]).succeeds();
        assert_eq!(scene.sandbox.read("a"), content(1), "{point}");
    }
}

#[test]
fn an_answer_lost_on_the_way_is_made_good_without_reading_the_copy() {
    let scene = Scene::of_class("GLACIER");
    scene.sandbox.write("a", &content(1));
    scene.place.server().misbehave_at(Some("PUT"), "/packs/", 0, 1, Misdeed::CutAfter);
    scene.sandbox.hsm(["tier"]).succeeds();
    assert!(scene.is_stub("a"));
}

#[test]
fn a_collection_leaves_archived_packs_alone() {
    let place = Place::cold();
    let sandbox = place.sandbox();
    place.init(&sandbox, &[]);
    let config = std::fs::read_to_string(sandbox.config()).expect("the configuration");
    let section = "\n[gc]\ngrace = \"0s\"\nsettle = \"0s\"\nmax_share = \"100%\"\n\
                   repack_cold = true\nrepack_below = \"100%\"\nonly_here = true\n";
    std::fs::write(sandbox.config(), format!("{config}{section}")).expect("written");
    sandbox.policy(&policy("GLACIER"));
    sandbox.write("goes", &content(1));
    sandbox.write("stays", &content(2));
    sandbox.hsm(["tier"]).succeeds();
    std::fs::remove_file(sandbox.tree().join("goes")).expect("deleted");
    sandbox.hsm(["tier"]).succeeds();
    for _ in 0..3 {
        let said = sandbox.hsm(["gc"]);
        assert!(matches!(said.code(), 0 | 3), "{}", said.stderr());
    }
    assert_eq!(place.objects("packs/").len(), 1, "it holds what is needed");
    sandbox.hsm(["verify"]).succeeds();
    assert_eq!(place.server().vault().orders().len(), 0);
    sandbox.policy(EAGER_POLICY);
}
