//! The contract of [`Store`] as tests: every backend and wrapper passes the same
//! suite, in this crate's tests and against real servers.
//!
//! Each function panics with the broken clause. Objects live below a fresh
//! prefix and are removed at the end, so that a shared bucket can be used.
//! Compiled for tests only (feature `fault-points`).

use super::{
    Capabilities, DESCRIPTOR_KEY, DirectoryStore, ErrorKind, Key, Precaution, PutOptions, Result,
    Store, probe, prove, prove_stored,
};
use crate::ids::PackId;
use bytes::Bytes;

const CREATE_NEW: PutOptions = PutOptions { create_new: true, storage_class: None };
const REPLACE: PutOptions = PutOptions { create_new: false, storage_class: None };

/// More than one and a half parts of a multipart upload, and a bit.
const LARGE_BYTES: usize = (33 << 20) + 5;

/// A key that must be valid.
pub fn key(text: &str) -> Key {
    Key::new(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The keys below a prefix.
pub fn collect_keys(store: &dyn Store, prefix: &str, after: Option<&Key>) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    store.list(prefix, after, &mut |info| keys.push(info.key.to_string()))?;
    Ok(keys)
}

/// A directory store that holds nothing but a descriptor object.
pub fn prepared_directory() -> (tempfile::TempDir, DirectoryStore) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = DirectoryStore::open(dir.path(), false).expect("open");
    store.put(&key(DESCRIPTOR_KEY), Bytes::from_static(b"{}"), &CREATE_NEW).expect("descriptor");
    (dir, store)
}

/// Bytes that differ from block to block and from seed to seed.
pub fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes.into()
}

/// Every clause that holds on every store.
pub fn check(store: &dyn Store) {
    let area = Area { store, prefix: format!("contract/{}/", PackId::fresh(0)) };
    area.objects_come_back_as_they_were();
    area.ranges_are_exact_or_errors();
    area.missing_is_not_found();
    area.creation_never_replaces();
    area.replacing_is_whole();
    area.listing_is_ordered_and_filtered();
    area.deleting_is_idempotent();
    area.large_objects_come_back();
    area.writers_do_not_disturb_each_other();
    area.sweeping_spares_objects();
    area.a_lock_is_kept_or_denied();
    area.remove_everything();
    check_proofs(store);
}

/// More objects than one page of an S3 listing holds.
pub fn check_paging(store: &dyn Store, objects: usize) {
    let area = Area { store, prefix: format!("contract/{}/", PackId::fresh(0)) };
    let wanted: Vec<String> = (0..objects).map(|n| format!("{}{n:05}", area.prefix)).collect();
    for name in &wanted {
        store.put(&key(name), Bytes::from_static(b"x"), &REPLACE).expect("put");
    }
    let listed = collect_keys(store, &area.prefix, None).expect("list");
    assert!(listed == wanted, "a listing of several pages must be complete and ordered");
    let middle = objects / 2;
    let rest = collect_keys(store, &area.prefix, Some(&key(&wanted[middle]))).expect("list");
    assert!(rest == wanted[middle + 1..], "a listing must start after a key");
    area.remove_everything();
}

/// Of several writers that create one name at once, exactly one wins; for
/// stores that honour [`Precaution::CreateNew`].
pub fn check_races(store: &dyn Store) {
    let area = Area { store, prefix: format!("contract/{}/", PackId::fresh(0)) };
    assert!(store.honours(Precaution::CreateNew, &area.key("scratch")).expect("ask"));
    for round in 0..20 {
        let key = area.key(&format!("race/{round}"));
        let bodies: Vec<Bytes> = (0..4).map(|writer| noise(1000 + writer, 7)).collect();
        let winners: Vec<usize> = std::thread::scope(|scope| {
            let writers: Vec<_> = bodies
                .iter()
                .map(|body| scope.spawn(|| store.put(&key, body.clone(), &CREATE_NEW)))
                .collect();
            let answers = writers.into_iter().map(|writer| writer.join().expect("no panic"));
            answers
                .enumerate()
                .filter_map(|(nth, answer)| match answer {
                    Ok(_) => Some(nth),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
                        None
                    }
                })
                .collect()
        });
        assert_eq!(winners.len(), 1, "exactly one writer creates a name");
        assert_eq!(store.get(&key, None).expect("get"), bodies[winners[0]], "and its bytes stay");
    }
    area.remove_everything();
}

/// Small and large packs can be proven with what the store is found to do.
pub fn check_proofs(store: &dyn Store) -> Capabilities {
    let found = probe(store, 1).expect("a store can be probed");
    assert!(found.lists_own_writes && found.exact_ranges, "{found:?}");
    for (pack, len) in [(PackId::fresh(1), 5000), (PackId::fresh(2), LARGE_BYTES)] {
        let key = key(&format!("packs/{:02x}/{pack}", pack.as_bytes()[15]));
        let sent = noise(len, len as u64);
        let receipt = store.put(&key, sent.clone(), &CREATE_NEW).expect("put");
        for trusted in [found, Capabilities::default()] {
            prove(store, &trusted, &receipt, &sent, pack, 5).expect("a true copy can be proven");
        }
        let mut is_same = |bytes: &Bytes| match *bytes == sent {
            true => Ok(()),
            false => Err("other bytes".to_owned()),
        };
        prove_stored(store, &key, pack, 5, &mut is_same).expect("and later, too");
        store.delete(&key).expect("delete");
        prove(store, &Capabilities::default(), &receipt, &sent, pack, 5).expect_err("it is gone");
    }
    found
}

struct Area<'s> {
    store: &'s dyn Store,
    prefix: String,
}

impl Area<'_> {
    fn key(&self, name: &str) -> Key {
        key(&format!("{}{name}", self.prefix))
    }

    fn put(&self, name: &str, body: &Bytes) -> Key {
        let key = self.key(name);
        let receipt = self.store.put(&key, body.clone(), &CREATE_NEW).expect("put");
        assert_eq!((&receipt.key, receipt.size_bytes), (&key, body.len() as u64));
        key
    }

    fn objects_come_back_as_they_were(&self) {
        for (nth, len) in [0, 1, 511, 4096, 100_001].into_iter().enumerate() {
            let body = noise(len, nth as u64);
            let key = self.put(&format!("sizes/{len}"), &body);
            assert_eq!(self.store.get(&key, None).expect("get"), body, "{len} bytes");
            let info = self.store.head(&key).expect("head");
            assert_eq!((info.key, info.size_bytes), (key, len as u64));
            assert!(info.modified_ns > 1_500_000_000_000_000_000, "a time of this century");
        }
        for name in
            ["names/ä ö+%26&=?#~", "names/UPPER lower", "names/it's (a) [name]!", "names/日本"]
        {
            let key = self.put(name, &noise(10, 3));
            assert_eq!(self.store.get(&key, None).expect("get").len(), 10, "{name}");
            let listed = collect_keys(self.store, key.as_str(), None).expect("list");
            assert_eq!(listed, [key.as_str()], "a name survives a listing");
        }
    }

    fn ranges_are_exact_or_errors(&self) {
        let body = noise(10_000, 9);
        let key = self.put("ranges", &body);
        for (from, to) in [(0, 1), (1, 4097), (9_999, 10_000), (0, 10_000)] {
            let got = self.store.get(&key, Some(from..to)).expect("a range");
            assert_eq!(got, body.slice(from as usize..to as usize), "{from}..{to}");
        }
        for range in [9_999..10_001, 10_000..10_001, 20_000..20_001] {
            let error = self.store.get(&key, Some(range.clone())).expect_err("behind the end");
            assert_eq!(error.kind(), ErrorKind::Integrity, "{range:?}: {error}");
        }
        let error = self.store.get(&key, Some(5..5)).expect_err("nothing asked for");
        assert_eq!(error.kind(), ErrorKind::BadRequest);
    }

    fn missing_is_not_found(&self) {
        let missing = self.key("missing/one");
        for error in [
            self.store.get(&missing, None).expect_err("missing"),
            self.store.get(&missing, Some(0..1)).expect_err("missing"),
            self.store.head(&missing).expect_err("missing"),
        ] {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert_eq!(error.key().as_ref(), Some(&missing), "the error names the object");
        }
        assert_eq!(collect_keys(self.store, missing.as_str(), None).expect("list"), [""; 0]);
    }

    fn creation_never_replaces(&self) {
        let key = self.put("new", &noise(100, 1));
        let error = self.store.put(&key, noise(90, 2), &CREATE_NEW).expect_err("it exists");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert_eq!(self.store.get(&key, None).expect("get"), noise(100, 1));
    }

    fn replacing_is_whole(&self) {
        let key = self.put("replaced", &noise(5_000, 1));
        self.store.put(&key, noise(400, 2), &REPLACE).expect("replace");
        assert_eq!(self.store.get(&key, None).expect("get"), noise(400, 2));
        assert_eq!(self.store.head(&key).expect("head").size_bytes, 400);
    }

    fn listing_is_ordered_and_filtered(&self) {
        let names = ["l/a-b", "l/a/b", "l/a/c/d", "l/a0", "l/b", "l/ba/x", "m"];
        for name in names {
            self.put(name, &noise(name.len(), 1));
        }
        let list = |prefix: &str, after: Option<&str>| {
            let after = after.map(|name| self.key(name));
            let full = format!("{}{prefix}", self.prefix);
            let keys = collect_keys(self.store, &full, after.as_ref()).expect("list");
            let names = keys.iter().map(|key| key[self.prefix.len()..].to_owned());
            names.collect::<Vec<_>>()
        };
        assert_eq!(list("l/", None), names[..6], "ascending byte order");
        assert_eq!(list("l/a", None), names[..4], "a prefix need not end a segment");
        assert_eq!(list("l/a/", None), names[1..3]);
        assert_eq!(list("l/a/b", None), names[1..2], "a prefix may be a whole key");
        assert_eq!(list("l", Some("l/a/b")), names[2..6], "starting after a key");
        assert_eq!(list("l", Some("l/a/zz")), names[3..6], "starting after no key");
        assert_eq!(list("l", Some("l/zz")), [""; 0]);
        assert_eq!(list("nothing", None), [""; 0]);
        let mut sizes = Vec::new();
        self.store
            .list(self.key("l/b").as_str(), None, &mut |info| sizes.push(info.size_bytes))
            .expect("list");
        assert_eq!(sizes, [3, 6], "a listing gives sizes");
    }

    fn deleting_is_idempotent(&self) {
        let key = self.put("deleted", &noise(10, 1));
        self.store.delete(&key).expect("delete");
        self.store.delete(&key).expect("delete what is gone");
        self.store.delete(&self.key("never/was")).expect("delete what never was");
        assert!(self.store.head(&key).expect_err("deleted").is_not_found());
        assert_eq!(collect_keys(self.store, key.as_str(), None).expect("list"), [""; 0]);
    }

    fn large_objects_come_back(&self) {
        let body = noise(LARGE_BYTES, 5);
        let key = self.put("large", &body);
        assert!(self.store.get(&key, None).expect("get") == body, "every byte of a large object");
        let (from, to) = ((16 << 20) - 3, (17 << 20) + 3);
        let range = self.store.get(&key, Some(from..to)).expect("a range over a part's edge");
        assert!(range == body.slice(from as usize..to as usize));
        let error = self.store.put(&key, body, &CREATE_NEW).expect_err("it exists");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    }

    fn writers_do_not_disturb_each_other(&self) {
        std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || {
                    for nth in 0..8 {
                        let body = noise(2_000 + nth, writer);
                        let key = self.put(&format!("many/{nth}/{writer}"), &body);
                        assert_eq!(self.store.get(&key, None).expect("get"), body);
                    }
                });
            }
        });
        let many = format!("{}many/", self.prefix);
        assert_eq!(collect_keys(self.store, &many, None).expect("list").len(), 32);
    }

    fn sweeping_spares_objects(&self) {
        let before = collect_keys(self.store, &self.prefix, None).expect("list");
        match self.store.sweep(i64::MAX) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
        }
        assert_eq!(collect_keys(self.store, &self.prefix, None).expect("list"), before);
    }

    /// With a date so near that a shared bucket is rid of the object soon.
    fn a_lock_is_kept_or_denied(&self) {
        let now_ns = crate::clock::Clock::system().now_ns();
        let key = self.put("locked", &noise(10, 9));
        let locked = self.store.lock_until(&key, now_ns + 20_000_000_000).expect("lock");
        let has_locks = self.store.protections().expect("ask").object_lock == Some(true);
        assert_eq!(locked, has_locks, "locks are where the store says they are");
        assert_eq!(self.store.get(&key, None).expect("get"), noise(10, 9), "and it stays readable");
        let again = self.store.lock_until(&key, now_ns + 10_000_000_000).expect("an earlier date");
        assert_eq!(again, locked, "what is locked for longer is locked");
        match self.store.lock_until(&self.key("never/was"), now_ns + 10_000_000_000) {
            Ok(locked) => assert!(!locked, "what is not there cannot be locked"),
            Err(error) => assert!(error.is_not_found(), "{error}"),
        }
    }

    fn remove_everything(&self) {
        for name in collect_keys(self.store, &self.prefix, None).expect("list") {
            self.store.delete(&key(&name)).expect("delete");
        }
        assert_eq!(collect_keys(self.store, &self.prefix, None).expect("list"), [""; 0]);
    }
}
