//! A server that only writes records, for the tests of this room.

use super::{Leases, Site};
use crate::chunk::Protection;
use crate::clock::Clock;
use crate::errand::Errand;
use crate::ids::{NodeId, StoreId};
use crate::manifest::{FileRecord, Name, Record};
use crate::monitor::{Silent, Stop};
use crate::state::StateDb;
use crate::store::{Capabilities, DESCRIPTOR_KEY, DirectoryStore, Key, PutOptions, Store};

pub const STORE: StoreId = StoreId([1; 16]);
pub const NODE: NodeId = NodeId([2; 16]);

/// A server that only writes records.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub store: DirectoryStore,
    pub protection: Protection,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = DirectoryStore::open(&dir.path().join("store"), true).expect("a store");
        let key = Key::new(DESCRIPTOR_KEY).expect("a key");
        store.put(&key, "{}".into(), &PutOptions::default()).expect("its descriptor");
        drop(StateDb::create(&dir.path().join("state.db"), STORE, NODE, 0).expect("a state DB"));
        Self { dir, store, protection: Protection::Plain }
    }

    pub fn with<T>(&self, now_ns: i64, work: impl FnOnce(&mut Site<'_>) -> T) -> T {
        self.with_store(&self.store, now_ns, work)
    }

    pub fn with_store<T>(
        &self,
        store: &dyn Store,
        now_ns: i64,
        work: impl FnOnce(&mut Site<'_>) -> T,
    ) -> T {
        let state_path = self.dir.path().join("state.db");
        let stop = Stop::new();
        work(&mut Site {
            state: StateDb::open(&state_path).expect("the state DB"),
            state_path,
            store,
            second: None,
            capabilities: Capabilities::default(),
            protection: &self.protection,
            store_id: STORE,
            node_id: NODE,
            monitor: &Silent,
            errand: Errand::new(stop.clone()),
            stop,
            clock: Clock::fixed(now_ns),
            workers: 1,
            memory_bytes: 1,
            connections: 1,
            offline: Default::default(),
            custody: &Leases,
            guard: None,
        })
    }
}

pub fn directory(name: &str) -> Record {
    Record::File(Box::new(FileRecord {
        root: Name::from_bytes(b"/srv"),
        path: Name::from_bytes(name.as_bytes()),
        kind: 'd',
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        ino: 1,
        generation: 1,
        nlink: 2,
        size_bytes: 0,
        xattrs: vec![],
        target: None,
        link: None,
        rdev: None,
        content: None,
        pieces: vec![],
        chunking: None,
    }))
}
