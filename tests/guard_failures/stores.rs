//! Stores that fail: whoever reads gets an error within the deadline and never
//! a wrong byte, the stub stays what it was, and all is well when the store is.

use super::reader::{Got, LEN, Reader, content, right};
use super::{Intact, PATIENT, intact};
use crate::guard::{GUARDED_KINDS, Guarded};
use crate::loopfs::{FsKind, LoopFs};
use crate::s3_place::Place;
use crate::s3_server::Misdeed;
use crate::support::actor::blocked;
use crate::support::running::until;
use std::time::Duration;

const DEADLINES: &str = "[guard]\nfirst_byte = \"2s\"\nidle = \"3s\"\nworkers = 4\n";

/// First byte, or idle after some bytes; then what a loaded machine needs.
const DEADLINE: Duration = Duration::from_secs(5 + 5);

/// A guard whose store is a bucket in this process.
fn on_a_bucket(test: &str, files: u64) -> Option<(Place, Guarded)> {
    let place = Place::in_process();
    let fs = LoopFs::new(test, FsKind::Ext4)?;
    let options = ["--store", &place.url, "--endpoint", &place.endpoint, "--path-style"];
    let mut guarded = Guarded::on(fs, place.sandbox(), &options);
    guarded.configure(DEADLINES);
    guarded.start();
    plant(&guarded, files);
    Some((place, guarded))
}

/// Stubs of known content, named by their seeds, each in a pack of its own.
fn plant(guarded: &Guarded, files: u64) {
    for seed in 0..files {
        let name = seed.to_string();
        guarded.write(&name, &content(seed));
        guarded.stub(&[&name]);
    }
}

/// Its packs, not the directory itself, which the guard may hold open.
#[test]
fn a_store_directory_that_is_down_is_an_error_until_it_is_back() {
    for kind in GUARDED_KINDS {
        let test = "a_store_directory_that_is_down_is_an_error_until_it_is_back";
        let Some(mut guarded) = Guarded::idle(test, kind) else { return };
        guarded.configure(DEADLINES);
        guarded.start();
        plant(&guarded, 2);
        let before = Intact::of(&guarded, "0");
        let packs = guarded.sandbox.store().join("packs");
        let elsewhere = guarded.sandbox.path("elsewhere");
        std::fs::rename(&packs, &elsewhere).expect("the store goes");
        let (got, after) = Reader::of(&guarded.path("0")).got_after(PATIENT);
        assert_eq!(got, Got::Errno(libc::EIO), "{kind:?}: {}", guarded.said());
        assert!(after < DEADLINE, "{kind:?}: after {after:?}");
        intact(&guarded, "0", &before);
        std::fs::rename(&elsewhere, &packs).expect("the store comes back");
        for seed in 0..2 {
            let got = Reader::of(&guarded.path(&seed.to_string())).got(PATIENT);
            assert_eq!(got, right(seed), "{kind:?}: {}", guarded.said());
        }
    }
}

#[test]
fn whatever_a_bucket_answers_no_wrong_byte_is_read() {
    let test = "whatever_a_bucket_answers_no_wrong_byte_is_read";
    let Some((place, guarded)) = on_a_bucket(test, 1) else { return };
    let before = Intact::of(&guarded, "0");
    let misdeeds = [
        Misdeed::FlipBody,
        Misdeed::ShortenBody,
        Misdeed::TruncateBody,
        Misdeed::CutBefore,
        Misdeed::SlowDown,
        Misdeed::Forbid,
        Misdeed::Forget,
        Misdeed::Stall,
        Misdeed::Die,
    ];
    for misdeed in misdeeds {
        place.server().misbehave(Some("GET"), u32::MAX, misdeed);
        let (got, after) = Reader::of(&guarded.path("0")).got_after(PATIENT);
        assert_eq!(got, Got::Errno(libc::EIO), "{misdeed:?}: {}", guarded.said());
        assert!(after < DEADLINE, "{misdeed:?}: after {after:?}");
        intact(&guarded, "0", &before);
        place.server().revive();
    }
    assert_eq!(Reader::of(&guarded.path("0")).got(PATIENT), right(0), "{}", guarded.said());
}

/// One bad answer among good ones is asked for again.
#[test]
fn a_passing_failure_is_not_noticed() {
    let Some((place, guarded)) = on_a_bucket("a_passing_failure_is_not_noticed", 3) else { return };
    for (seed, misdeed) in
        [Misdeed::SlowDown, Misdeed::CutBefore, Misdeed::TruncateBody].into_iter().enumerate()
    {
        place.server().misbehave(Some("GET"), 1, misdeed);
        let got = Reader::of(&guarded.path(&seed.to_string())).got(PATIENT);
        assert_eq!(got, right(seed as u64), "{misdeed:?}: {}", guarded.said());
        place.server().behave();
    }
}

/// A megabyte in 64 pieces, a tenth of a second apart: more than any deadline
/// in all, and never idle.
#[test]
fn a_slow_store_that_goes_on_sending_is_waited_for() {
    let test = "a_slow_store_that_goes_on_sending_is_waited_for";
    let Some((place, guarded)) = on_a_bucket(test, 1) else { return };
    place.server().misbehave(Some("GET"), u32::MAX, Misdeed::Drip);
    let (got, after) = Reader::of(&guarded.path("0")).got_after(PATIENT);
    assert_eq!(got, right(0), "after {after:?}: {}", guarded.said());
    assert!(after > Duration::from_secs(5), "the store was not slow: {after:?}");
}

/// More waiting recalls than workers must not keep others from resident files.
#[test]
fn a_store_that_hangs_keeps_nobody_from_resident_files() {
    let test = "a_store_that_hangs_keeps_nobody_from_resident_files";
    let Some((place, guarded)) = on_a_bucket(test, 8) else { return };
    guarded.write("resident", &content(99));
    place.server().misbehave(Some("GET"), u32::MAX, Misdeed::Stall);
    let waiting: Vec<Reader> =
        (0..8).map(|seed: u64| Reader::of(&guarded.path(&seed.to_string()))).collect();
    waiting.iter().for_each(|reader| blocked(reader.actor.pid(), PATIENT));
    let (got, after) = Reader::of(&guarded.path("resident")).got_after(PATIENT);
    assert_eq!(got, right(99));
    assert!(after < Duration::from_secs(2), "after {after:?}");
    for reader in waiting {
        assert_eq!(reader.got(PATIENT), Got::Errno(libc::EIO), "{}", guarded.said());
    }
    place.server().revive();
    for seed in 0..8 {
        let path = guarded.path(&seed.to_string());
        let again = until(PATIENT, || {
            Some(Reader::of(&path).got(PATIENT)).filter(|got| *got == right(seed))
        });
        assert!(again.is_some(), "not recalled after the store is back: {}", guarded.said());
    }
}

#[test]
fn fifty_readers_of_one_stub_make_one_recall() {
    let test = "fifty_readers_of_one_stub_make_one_recall";
    let Some((place, guarded)) = on_a_bucket(test, 2) else { return };
    let mut gets = vec![];
    for (seed, threads) in [(0, 1), (1, 50)] {
        place.server().take_seen();
        let mut readers = Reader::many(&guarded.path(&seed.to_string()), threads);
        for _ in 0..threads {
            assert_eq!(readers.next(PATIENT), right(seed), "{}", guarded.said());
        }
        let seen = place.server().take_seen();
        let of_packs = |seen: &&crate::s3_server::Seen| seen.uri.contains("/packs/");
        gets.push(seen.iter().filter(|seen| seen.method == "GET").filter(of_packs).count());
    }
    assert!(gets[0] > 0 && gets[1] == gets[0], "requests for one and for fifty: {gets:?}");
}

/// A copy that is gone for good is an error for its reader, not for others.
#[test]
fn a_lost_pack_fails_its_own_file_only() {
    let Some(guarded) = Guarded::new("a_lost_pack_fails_its_own_file_only", FsKind::Xfs) else {
        return;
    };
    plant(&guarded, 1);
    let lost = crate::planted::packs(&guarded.sandbox.store());
    guarded.write("1", &content(1));
    guarded.stub(&["1"]);
    lost.iter().for_each(|pack| std::fs::remove_file(pack).expect("a pack"));
    assert_eq!(Reader::of(&guarded.path("0")).got(PATIENT), Got::Errno(libc::EIO));
    assert_eq!(Reader::of(&guarded.path("1")).got(PATIENT), right(1), "{}", guarded.said());
    assert!(guarded.is_stub("0"), "its marker is all that is left of it");
    assert_eq!(std::fs::metadata(guarded.path("0")).expect("stat").len(), LEN as u64);
}
