//! Recalls from an archive: asked for, waited for, completed.

use super::scene::{Scene, content};
use crate::support::running::{PATIENCE, Running, until};
use crate::support::snapshot::allocated;
use std::process::Stdio;

#[test]
fn a_recall_asks_once_says_so_and_completes_when_it_is_brought() {
    let scene = Scene::tiered("DEEP_ARCHIVE");
    let marker = |name: &str| {
        let path = scene.sandbox.tree().join(name);
        (std::fs::metadata(&path).expect("stat").modified().expect("mtime"), allocated(&path))
    };
    let before = marker("a");
    let said = scene.recall(&["--json"], &["a"]).exits(3);
    let summary = said.summary();
    assert_eq!((&summary["waiting_files"], &summary["waiting_packs"]), (&1.into(), &1.into()));
    assert_eq!((&summary["failed_files"], &summary["exit"]), (&0.into(), &3.into()), "{summary}");
    said.complains(&["1 files wait for 1 packs", "about 12 hours", "hsm recall --pending"]);
    assert!(scene.is_stub("a"));
    assert_eq!(marker("a"), before, "the stub is as it was");
    let orders = scene.vault().orders();
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].tier.as_str(), orders[0].days.as_str()), ("Standard", "3"));

    let thaws = scene.status("thaw");
    assert_eq!(thaws.len(), 1, "{thaws:?}");
    assert_eq!(thaws[0]["class"], "DEEP_ARCHIVE");
    assert_eq!(thaws[0]["waiting_files"], 1);
    assert_eq!((&thaws[0]["ready"], &thaws[0]["taken_by_store"]), (&false.into(), &true.into()));
    let text = scene.sandbox.hsm(["status"]).succeeds().stdout();
    for said in ["asked of the archive", "1 packs on their way", "1 files wait", "by recall"] {
        assert!(text.contains(said), "no {said:?} in:\n{text}");
    }
    let metrics = scene.sandbox.path("metrics.prom");
    scene.sandbox.hsm(["status", "--metrics", metrics.to_str().expect("a path")]).succeeds();
    let metrics = std::fs::read_to_string(metrics).expect("metrics");
    assert!(metrics.contains("\nhsm_thaws_pending 1\n"), "{metrics}");
    assert!(metrics.contains("\nhsm_thaws_waiting_files 1\n"), "{metrics}");

    // Asked again, by whatever way, nothing is ordered twice.
    scene.recall(&[], &["a"]).exits(3);
    scene.sandbox.hsm(["recall", "--pending"]).exits(3);
    assert_eq!(scene.vault().orders().len(), 1);

    scene.vault().release(9);
    let summary = scene.sandbox.hsm(["recall", "--pending", "--json"]).succeeds().summary();
    assert_eq!((&summary["recalled_files"], &summary["waiting_files"]), (&1.into(), &0.into()));
    assert_eq!(scene.sandbox.read("a"), content(1));
    assert!(scene.is_stub("b"), "nobody asked for it");
    assert_eq!(scene.vault().orders().len(), 1);
    assert_eq!(scene.pending(), 0);
    let metrics = scene.sandbox.hsm(["recall", "--pending", "--json"]).succeeds().summary();
    assert_eq!(metrics["recalled_files"], 0, "there is nothing left to do");
}

#[test]
fn tier_and_days_are_as_the_command_line_or_else_the_configuration_says() {
    let scene = Scene::tiered("GLACIER");
    let config = std::fs::read_to_string(scene.sandbox.config()).expect("the configuration");
    let config = format!("{config}\n[cold]\ntier = \"Bulk\"\ndays = 9\n");
    std::fs::write(scene.sandbox.config(), config).expect("written");
    scene.recall(&[], &["a"]).exits(3).complains(&["5 to 12 hours"]);
    let said = scene.recall(&["--tier", "expedited", "--days", "1"], &["b"]).exits(3);
    said.complains(&["1 to 5 minutes"]);
    let orders = scene.vault().orders();
    let asked: Vec<_> = orders.iter().map(|o| (o.tier.as_str(), o.days.as_str())).collect();
    assert_eq!(asked, [("Bulk", "9"), ("Expedited", "1")]);
}

#[test]
fn files_that_share_a_pack_are_asked_for_with_one_order() {
    let scene = Scene::of_class("GLACIER");
    for seed in 0..20 {
        scene.sandbox.write(&format!("d/{seed}"), &content(seed));
    }
    scene.sandbox.hsm(["tier"]).succeeds();
    let summary = scene.recall(&["-r", "--json"], &["d"]).exits(3).summary();
    assert_eq!((&summary["waiting_files"], &summary["waiting_packs"]), (&20.into(), &1.into()));
    assert_eq!(scene.vault().orders().len(), 1);
    scene.vault().release(9);
    // What came is also found by a recall that names the files.
    scene.recall(&["-r"], &["d"]).succeeds();
    assert!((0..20).all(|seed| scene.sandbox.read(&format!("d/{seed}")) == content(seed)));
    assert_eq!(scene.status("thaw")[0]["waiting_files"], 0, "nobody waits any more");
}

#[test]
fn a_wait_ends_when_all_is_brought_and_each_file_comes_as_soon_as_it_can() {
    let scene = Scene::tiered("GLACIER");
    let tree = scene.sandbox.tree();
    let mut command = scene.sandbox.command(["recall", "--wait"]);
    command.args([tree.join("a"), tree.join("b")]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut waiting = Running::start(&mut command);
    let ordered = until(PATIENCE, || (scene.vault().orders().len() == 2).then_some(()));
    assert!(ordered.is_some(), "both are asked for");
    // Nothing is locked meanwhile.
    let free = until(PATIENCE, || (scene.sandbox.hsm(["tier"]).code() == 0).then_some(()));
    assert!(free.is_some(), "the wait keeps other runs out");
    scene.vault().release(1);
    let one = || (!scene.is_stub("a") || !scene.is_stub("b")).then_some(());
    assert!(until(PATIENCE, one).is_some(), "the one that is ready comes first");
    assert!(waiting.ends_within(std::time::Duration::ZERO).is_none(), "the other is awaited");
    scene.vault().release(1);
    let ended = waiting.ends_within(PATIENCE).expect("it ends");
    assert_eq!(ended.code(), Some(0));
    assert_eq!((scene.sandbox.read("a"), scene.sandbox.read("b")), (content(1), content(2)));
    assert_eq!(scene.vault().orders().len(), 2);
}

#[test]
fn whoever_ends_the_wait_takes_nothing_back() {
    let scene = Scene::tiered("GLACIER");
    let mut command = scene.sandbox.command(["recall", "--wait"]);
    command.arg(scene.sandbox.tree().join("a")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut waiting = Running::start(&mut command);
    until(PATIENCE, || (!scene.vault().orders().is_empty()).then_some(())).expect("an order");
    crate::guard::signal(waiting.pid(), rustix::process::Signal::INT);
    let ended = waiting.ends_within(PATIENCE).expect("it ends");
    assert_eq!(ended.code(), Some(130));
    assert!(scene.is_stub("a"));
    scene.vault().release(1);
    scene.sandbox.hsm(["recall", "--pending"]).succeeds();
    assert_eq!((scene.sandbox.read("a"), scene.vault().orders().len()), (content(1), 1));
}

#[test]
fn what_was_deleted_or_came_back_another_way_is_waited_for_no_more() {
    let scene = Scene::tiered("GLACIER");
    scene.recall(&[], &["a", "b"]).exits(3);
    std::fs::remove_file(scene.sandbox.tree().join("a")).expect("deleted");
    scene.vault().release(9);
    let said = scene.sandbox.hsm(["recall", "--pending", "--json"]).succeeds().summary();
    assert_eq!((&said["recalled_files"], &said["failed_files"]), (&1.into(), &0.into()), "{said}");
    assert!(scene.status("thaw").iter().all(|thaw| thaw["waiting_files"] == 0));
    scene.sandbox.hsm(["recall", "--pending"]).succeeds();
}
