//! The guard and an archive: a program is denied at once, and gets its file when it
//! asks again after the archive has brought it.

use super::scene::content;
use crate::guard::Guarded;
use crate::loopfs::{FsKind, LoopFs};
use crate::reader::{Got, Reader};
use crate::s3_place::Place;
use crate::s3_server::Misdeed;
use crate::support::running::{PATIENCE, until};
use std::time::Duration;

fn on_an_archive(test: &str, config: &str) -> Option<(Place, Guarded)> {
    let place = Place::cold();
    let fs = LoopFs::new(test, FsKind::Ext4)?;
    let options = ["--store", &place.url, "--endpoint", &place.endpoint, "--path-style"];
    let mut guarded = Guarded::on(fs, place.sandbox(), &options);
    guarded.configure(config);
    let policy = crate::guard::GUARDED_POLICY;
    guarded.sandbox.policy(&policy.replace("action =", "storage_class = \"GLACIER\"\naction ="));
    guarded.start();
    guarded.write("a", &content(1));
    guarded.stub(&["a"]);
    Some((place, guarded))
}

fn waiting(guarded: &Guarded) -> Vec<serde_json::Value> {
    let text = guarded.sandbox.hsm(["status", "--json"]).succeeds().stdout();
    let records = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    records.filter(|record: &serde_json::Value| record["type"] == "thaw").collect()
}

#[test]
fn a_program_is_denied_at_once_and_let_in_when_the_copy_is_there() {
    let test = "a_program_is_denied_at_once_and_let_in_when_the_copy_is_there";
    let Some((place, mut guarded)) = on_an_archive(test, "") else { return };
    let path = guarded.path("a");
    // A store that hangs holds nobody: it is not asked before the answer.
    place.server().misbehave_at(None, "/packs/", 0, u32::MAX, Misdeed::Stall);
    let (got, after) = Reader::of(&path).got_after(PATIENCE);
    assert_eq!(got, Got::Errno(libc::EAGAIN), "{}", guarded.said());
    assert!(after < Duration::from_secs(5), "after {after:?}");
    guarded.restart();
    place.server().behave();
    assert_eq!(Reader::of(&path).got(PATIENCE), Got::Errno(libc::EAGAIN));
    let ordered = until(PATIENCE, || (!place.server().vault().orders().is_empty()).then_some(()));
    assert!(ordered.is_some(), "{}", guarded.said());
    for _ in 0..10 {
        assert_eq!(Reader::of(&path).got(PATIENCE), Got::Errno(libc::EAGAIN));
    }
    assert_eq!(place.server().vault().orders().len(), 1, "many opens make one order");
    let thaws = until(PATIENCE, || {
        Some(waiting(&guarded)).filter(|thaws| thaws.iter().any(|t| t["waiting_files"] == 1))
    });
    let thaws = thaws.expect("the file waits");
    assert!(thaws[0]["asked_by"].as_str().expect("text").starts_with("guard: /"), "{thaws:?}");
    assert!(guarded.is_stub("a"));

    place.server().vault().release(9);
    let all = Got::all_of(&content(1));
    let read = until(PATIENCE, || Some(Reader::of(&path).got(PATIENCE)).filter(|got| *got == all));
    assert!(read.is_some(), "{}", guarded.said());
    assert_eq!(place.server().vault().orders().len(), 1);
    let settled = until(PATIENCE, || {
        waiting(&guarded).iter().all(|thaw| thaw["waiting_files"] == 0).then_some(())
    });
    assert!(settled.is_some(), "nobody waits any more");
}

#[test]
fn what_a_program_asked_for_is_recalled_by_the_timer_through_the_guard() {
    let test = "what_a_program_asked_for_is_recalled_by_the_timer_through_the_guard";
    let config = "[cold]\nerrno = \"EBUSY\"\ntier = \"Expedited\"\n";
    let Some((place, guarded)) = on_an_archive(test, config) else { return };
    assert_eq!(Reader::of(&guarded.path("a")).got(PATIENCE), Got::Errno(libc::EBUSY));
    let waits = || waiting(&guarded).iter().any(|thaw| thaw["waiting_files"] == 1).then_some(());
    until(PATIENCE, waits).expect("the file waits");
    assert_eq!(place.server().vault().orders()[0].tier, "Expedited");
    guarded.on_names("recall", &["--pending"], &[]).exits(3);
    place.server().vault().release(9);
    guarded.on_names("recall", &["--pending"], &[]).succeeds();
    assert!(!guarded.is_stub("a"));
    assert_eq!(Reader::of(&guarded.path("a")).got(PATIENCE), Got::all_of(&content(1)));
    guarded.stub(&["a"]);
    place.server().vault().expire();
    // By hand, with the guard at work.
    guarded.on_names("recall", &[], &["a"]).exits(3).complains(&["1 files wait for 1 packs"]);
    assert_eq!(place.server().vault().orders().len(), 2);
}
