//! What a seal locks, on a store that has locks.

use super::snapshots::{self, Error};
use super::testing::{NODE, Place, directory};
use super::{checkpoint, log, pack_key};
use crate::chunk::{ChunkSlot, Codec};
use crate::ids::{ChunkId, PackId};
use crate::manifest::{Content, FileRecord, Name, PackRecord, Piece, Record};
use crate::store::{
    DirectoryStore, Error as StoreError, ErrorKind, Key, ObjectInfo, Precaution, Protections,
    PutOptions, PutReceipt, Result, Store, SweepStats,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

/// A directory that also keeps dates, and fails once it has locked so many.
struct Locking<'a> {
    inner: &'a DirectoryStore,
    locked: Mutex<BTreeMap<String, i64>>,
    fail_after: usize,
}

impl Store for Locking<'_> {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        self.inner.put(key, body, options)
    }
    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.inner.get(key, range)
    }
    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        self.inner.head(key)
    }
    fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        self.inner.list(prefix, after, visit)
    }
    fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(key)
    }
    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
        self.inner.sweep(older_than_ns)
    }
    fn lock_until(&self, key: &Key, until_ns: i64) -> Result<bool> {
        let mut locked = self.locked.lock().expect("no holder panics");
        if locked.len() == self.fail_after {
            return Err(StoreError::new(ErrorKind::Denied, "lock", key.as_str(), "here"));
        }
        locked.insert(key.to_string(), until_ns);
        Ok(true)
    }
    fn protections(&self) -> Result<Protections> {
        self.inner.protections()
    }
    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        self.inner.honours(precaution, scratch)
    }
}

fn pack(number: u8) -> Record {
    let slot = ChunkSlot {
        id: ChunkId([number; 32]),
        offset: 120,
        stored_len: 9,
        plain_len: 9,
        codec: Codec::Raw,
    };
    Record::Pack(Box::new(PackRecord {
        id: PackId([number; 16]),
        kind: "small".to_owned(),
        class: None,
        bytes: 1000,
        proof: None,
        chunks: vec![slot],
    }))
}

fn file(path: &str, chunk: u8) -> Record {
    let Record::File(record) = directory(path) else { unreachable!() };
    let piece = Piece { len: 9, chunk: Some(ChunkId([chunk; 32])) };
    let content = Content::new([piece]).expect("a content");
    Record::File(Box::new(FileRecord {
        path: Name::from_bytes(path.as_bytes()),
        kind: 'f',
        size_bytes: content.size_bytes,
        content: Some(content.id()),
        pieces: content.pieces,
        ..*record
    }))
}

/// Two packs of which the snapshot needs one, and a checkpoint.
fn place() -> Place {
    let place = Place::new();
    let first = [pack(1), pack(2), file("a", 1), file("later", 1)];
    place.with(1, |site| log::write_records(site, &first)).expect("written");
    place.with(2, |site| snapshots::create(site, "first", false, false)).expect("made");
    let later = [file("later", 2)];
    place.with(3, |site| log::write_records(site, &later)).expect("written");
    place.with(4, checkpoint::write_now).expect("a checkpoint");
    place
}

#[test]
fn a_seal_locks_what_a_restore_needs_and_nothing_else() {
    let place = place();
    let locking = Locking { inner: &place.store, locked: Mutex::default(), fail_after: usize::MAX };
    let stats = place
        .with_store(&locking, 5, |site| snapshots::seal(site, "first", 100, false))
        .expect("sealed");
    let locked = locking.locked.into_inner().expect("no holder panicked");
    assert_eq!((stats.objects, stats.locked), (locked.len(), locked.len() as u64));
    assert_eq!(stats.pack_bytes, 1000);
    assert!(locked.values().all(|until_ns| *until_ns == 100));
    let mut expected = vec!["hsm-store.json".to_owned(), pack_key(PackId([1; 16])).to_string()];
    // Three runs, and that of the seal.
    expected.extend((1..=12).map(|seq| format!("nodes/{NODE}/log/{seq:016x}")));
    expected.push(format!("nodes/{NODE}/checkpoint/{:016x}-00000000", 9));
    expected.sort();
    assert_eq!(locked.into_keys().collect::<Vec<_>>(), expected);
}

#[test]
fn a_seal_that_broke_off_stands_and_is_finished_by_the_same_command() {
    let place = place();
    let seal = |store: &Locking<'_>, until_ns| {
        place.with_store(store, 5, |site| snapshots::seal(site, "first", until_ns, false))
    };
    let broken = Locking { inner: &place.store, locked: Mutex::default(), fail_after: 3 };
    let error = seal(&broken, 100).expect_err("denied");
    assert!(matches!(error, Error::HalfLocked { locked: 3, objects: 15, .. }), "{error}");
    let refused = place.with(6, |site| snapshots::delete(site, "first", false));
    assert!(matches!(refused, Err(Error::Sealed { until_ns: 100, .. })));
    let whole = Locking { inner: &place.store, locked: Mutex::default(), fail_after: usize::MAX };
    assert_eq!(seal(&whole, 100).expect("sealed").locked, 15, "no second record");
    assert!(matches!(seal(&whole, 99), Err(Error::Sealed { until_ns: 100, .. })));
    assert_eq!(seal(&whole, 200).expect("moved on").locked, 18);
    let gone = place.with(200, |site| snapshots::delete(site, "first", false));
    gone.expect("its date has come");
}

#[test]
fn a_snapshot_of_which_parts_are_lost_is_not_sealed() {
    let place = Place::new();
    let records = [pack(1), file("a", 1), file("b", 2)];
    place.with(1, |site| log::write_records(site, &records)).expect("written");
    place.with(2, |site| snapshots::create(site, "first", false, false)).expect("made");
    let sealed = place.with(3, |site| snapshots::seal(site, "first", 100, false));
    assert!(matches!(sealed, Err(Error::Lost { chunks: 1, .. })));
    let deleted = place.with(4, |site| snapshots::delete(site, "first", false));
    deleted.expect("it was never sealed");
}
