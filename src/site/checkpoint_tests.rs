//! Checkpoints on a real directory store: when one is written, what stays of the
//! older ones, and what a reader makes of a log that is not whole any more.

use super::checkpoint::{self, Writer, Written};
use super::testing::{NODE, Place, STORE, directory};
use super::{checkpoint_key, log, logs, segment_key};
use crate::catalog::CatalogDb;
use crate::manifest::Record;
use crate::monitor::Stop;
use crate::store::{Key, PutOptions, Store};
use std::ops::ControlFlow;

const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;

impl Place {
    /// Three segments: the run begins, the records, it ends.
    fn write(&self, now_ns: i64, names: &[&str]) {
        let records: Vec<Record> = names.iter().map(|name| directory(name)).collect();
        self.with(now_ns, |site| log::write_records(site, &records)).expect("written");
    }

    fn checkpoint(&self, now_ns: i64) -> Option<Written> {
        self.with(now_ns, checkpoint::write_now).expect("a checkpoint")
    }

    fn delete(&self, segments: impl IntoIterator<Item = u64>) {
        for seq in segments {
            self.store.delete(&segment_key(NODE, seq)).expect("deleted");
        }
    }

    fn damage(&self, key: &Key) {
        let path = self.dir.path().join("store").join(key.as_str());
        let bytes = std::fs::read(&path).expect("an object");
        std::fs::write(&path, &bytes[..bytes.len() - 3]).expect("truncated");
    }

    fn sync(&self, db: &mut CatalogDb) -> Result<logs::Synced, logs::Error> {
        let stop = Stop::new();
        let reader = logs::Reader {
            store: &self.store,
            protection: &self.protection,
            store_id: STORE,
            stop: &stop,
        };
        logs::sync(&reader, db)
    }

    fn fresh_reader(&self) -> Result<CatalogDb, logs::Error> {
        let mut db = CatalogDb::temporary(STORE).expect("a copy");
        self.sync(&mut db).map(|_| db)
    }

    fn checkpoints(&self) -> Vec<String> {
        let mut found = vec![];
        let visit = &mut |object: crate::store::ObjectInfo| {
            if object.key.as_str().contains("/checkpoint/") {
                found.push(object.key.as_str().rsplit_once('/').expect("a key").1.to_owned());
            }
        };
        self.store.list("nodes/", None, visit).expect("a listing");
        found
    }
}

fn names(db: &CatalogDb) -> Vec<String> {
    let mut found = vec![];
    for root in db.roots(None).expect("roots") {
        let visit = &mut |version: crate::catalog::Version| {
            found.push(String::from_utf8(version.record.path_bytes().to_vec()).expect("text"));
            ControlFlow::Continue(())
        };
        db.tree(&root, crate::catalog::Point::Now, b"", visit).expect("a tree");
    }
    found
}

#[test]
fn one_is_written_when_the_log_has_grown_or_a_day_has_passed() {
    let place = Place::new();
    let due = |now_ns, wrote| {
        place.with(now_ns, |site| checkpoint::write_if_due(site, wrote)).expect("asked")
    };
    assert_eq!(due(0, true), None, "there is no log");
    place.write(1, &["a"]);
    assert_eq!(due(DAY_NS, true), None, "a short log, and no day has passed");
    assert_eq!(due(DAY_NS + 1, true).map(|made| made.upto), Some(3));
    assert_eq!(due(9 * DAY_NS, true), None, "nothing is new");
    place.write(DAY_NS + 2, &["b"]);
    assert_eq!(due(DAY_NS + 3, true), None);
    assert_eq!(due(2 * DAY_NS, false), None);
    assert_eq!(due(2 * DAY_NS + 1, false).map(|made| made.upto), Some(6));
    let random = |n: u64| crate::manifest::segment_hash(&n.to_le_bytes()).map(|b| b % 26 + b'a');
    let many: Vec<String> =
        (0..20_000).map(|n| String::from_utf8(random(n).to_vec()).expect("letters")).collect();
    place.write(2 * DAY_NS + 1, &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(due(2 * DAY_NS + 1, true).map(|made| made.upto), Some(9));
}

#[test]
fn the_newest_two_stay_and_what_a_killed_run_left_does_not_count() {
    let place = Place::new();
    for (nth, name) in ["a", "b", "c"].into_iter().enumerate() {
        place.write(nth as i64, &[name]);
        place.checkpoint(nth as i64).expect("something is new");
    }
    assert_eq!(place.checkpoints(), ["0000000000000006-00000000", "0000000000000009-00000000"]);
    assert_eq!(place.checkpoint(9), None, "nothing is new");
    place.write(9, &["d"]);
    // Two parts, of which a killed run leaves the first.
    let made = place.with(9, |site| {
        let mut db = CatalogDb::open(&site.catalog_path(), STORE).expect("a copy");
        logs::sync_node(&site.log_reader(), &mut db, NODE, None).expect("read");
        let log = db.checkpoint(NODE).expect("read").expect("a log");
        Writer { site, log: &log, now_ns: 9, part_bytes: 2500 }.put(None).expect("written")
    });
    assert!(made.parts > 1, "{made:?}");
    assert_eq!(names(&place.fresh_reader().expect("read")), ["a", "b", "c", "d"]);
    place.store.delete(&checkpoint_key(NODE, 12, 1)).expect("deleted");
    assert_eq!(names(&place.fresh_reader().expect("read")), ["a", "b", "c", "d"]);
    let again = place.checkpoint(10).expect("it was never finished");
    assert_eq!((again.upto, again.parts), (12, 1));
    assert_eq!(place.checkpoints(), ["0000000000000009-00000000", "000000000000000c-00000000"]);
}

#[test]
fn a_whole_one_that_a_killed_run_could_not_note_is_taken() {
    let place = Place::new();
    place.write(1, &["a"]);
    place.checkpoint(1).expect("something is new");
    std::fs::remove_file(place.dir.path().join("catalog.db")).expect("disposable");
    assert_eq!(place.checkpoint(2), None, "it is in the store");
    let object = checkpoint_key(NODE, 3, 0);
    let before = place.store.get(&object, None).expect("there");
    // The local copy was filled from the log before the checkpoint was there.
    let made = place.with(3, |site| {
        let mut db = CatalogDb::temporary(STORE).expect("a copy");
        place.store.delete(&object).expect("deleted");
        logs::sync_node(&site.log_reader(), &mut db, NODE, None).expect("read");
        place.store.put(&object, before.clone(), &PutOptions::default()).expect("put back");
        let log = db.checkpoint(NODE).expect("read").expect("a log");
        let writer = Writer { site, log: &log, now_ns: 3, part_bytes: 9000 };
        writer.put(Some(vec![object.clone()])).expect("taken")
    });
    assert_eq!((made.upto, made.parts), (3, 1));
    assert_eq!(place.store.get(&object, None).expect("there"), before);
}

#[test]
fn a_log_without_its_first_segments_is_read_from_its_checkpoint() {
    let place = Place::new();
    place.write(1, &["a"]);
    let mut late = place.fresh_reader().expect("read");
    place.write(2, &["b"]);
    place.checkpoint(2).expect("something is new");
    place.write(3, &["c"]);
    place.delete(1..=5);
    assert_eq!(names(&place.fresh_reader().expect("read")), ["a", "b", "c"]);
    place.sync(&mut late).expect("a reader that was in the middle begins anew");
    assert_eq!(names(&late), ["a", "b", "c"]);
    place.delete(6..=9);
    assert_eq!(names(&place.fresh_reader().expect("read")), ["a", "b"]);
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_named_unless_the_log_is_whole() {
    let place = Place::new();
    place.write(1, &["a"]);
    place.checkpoint(1).expect("something is new");
    place.write(2, &["b"]);
    place.checkpoint(2).expect("something is new");
    place.damage(&checkpoint_key(NODE, 6, 0));
    assert_eq!(names(&place.fresh_reader().expect("the log is whole")), ["a", "b"]);
    place.delete(1..=2);
    assert_eq!(names(&place.fresh_reader().expect("from the older one")), ["a", "b"]);
    place.damage(&checkpoint_key(NODE, 3, 0));
    let error = place.fresh_reader().expect_err("nothing to begin with");
    assert!(error.to_string().contains("0000000000000006-00000000"), "{error}");
}

#[test]
fn segments_that_were_there_before_are_missed() {
    let place = Place::new();
    place.write(1, &["a"]);
    place.checkpoint(1).expect("something is new");
    place.write(2, &["b"]);
    let mut known = place.fresh_reader().expect("read");
    place.delete([5, 6]);
    let error = place.sync(&mut known).expect_err("two are lost");
    assert!(matches!(error, logs::Error::Shrunk { known: 6, found: 4, .. }), "{error}");
    place.delete([4]);
    let error = place.sync(&mut known).expect_err("the checkpoint does not reach as far");
    assert!(matches!(error, logs::Error::Shrunk { known: 6, found: 3, .. }), "{error}");
    place.write(3, &["c"]);
    place.delete([7]);
    let error = place.fresh_reader().expect_err("there is a gap");
    assert!(matches!(error, logs::Error::Missing { seq: 4, .. }), "{error}");
}

#[test]
fn a_writer_whose_log_is_not_what_it_wrote_makes_none() {
    let place = Place::new();
    place.write(1, &["a"]);
    place.delete([3]);
    let error = place.with(2, checkpoint::write_now).expect_err("one is lost");
    assert!(matches!(error, checkpoint::Error::OtherEnd { found: 2, written: 3 }), "{error}");
    assert!(place.checkpoints().is_empty());
}

#[test]
fn several_processes_enter_one_log_while_it_grows() {
    let place = Place::new();
    place.write(1, &["a"]);
    let copy = place.dir.path().join("catalog.db");
    let written = std::sync::atomic::AtomicBool::new(false);
    let read = || {
        let mut db = CatalogDb::open(&copy, STORE).expect("a copy");
        while !written.load(std::sync::atomic::Ordering::SeqCst) {
            place.sync(&mut db).expect("read beside others");
        }
        place.sync(&mut db).expect("read");
        assert_eq!(db.node(NODE).expect("a row").expect("a node").head_seq, 3 * 41);
    };
    drop(CatalogDb::open(&copy, STORE).expect("a copy"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(read);
        }
        for nth in 0..40 {
            place.write(2 + nth, &["a"]);
        }
        written.store(true, std::sync::atomic::Ordering::SeqCst);
    });
}
