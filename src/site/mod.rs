//! The truths that an operation works with, opened together: the state DB, the
//! store and its key material, and whom to tell.
//!
//! Every operation (`tier`, `recall`, `verify`) takes a [`Site`], so that the
//! command line opens things once and a test can hand in its own store.

pub mod archive;
pub mod carry;
pub mod catalog;
pub mod checkpoint;
#[cfg(test)]
mod checkpoint_tests;
pub mod custody;
pub mod fetch;
pub mod guard;
mod layout;
pub mod log;
pub mod logs;
pub mod mirror;
pub mod nodes;
mod packs;
pub mod plans;
pub mod second;
pub mod selection;
pub mod snapshots;
#[cfg(test)]
mod snapshots_tests;
pub mod stream;
#[cfg(test)]
mod testing;
mod told;
mod walk;
pub mod weight;

pub use catalog::Catalog;
pub use custody::{Custody, Held, Leases, Secluded};
pub use guard::{Guard, GuardError};
pub use log::CatalogLog;
pub use packs::{ProvenPack, put_and_prove};
pub use plans::Plans;
pub use second::Second;
pub use selection::{Pick, Selection};
pub use told::Told;
pub use walk::{Order, Walk};

use crate::chunk::Protection;
use crate::clock::Clock;
use crate::config::OfflineBit;
use crate::errand::Errand;
use crate::ids::{NodeId, PackId, StoreId};
use crate::manifest::keys;
use crate::monitor::{Monitor, Stop};
use crate::state::StateDb;
use crate::store::{Capabilities, Key, Store};
use std::path::PathBuf;

/// One configured `hsm`: its state, its store, its keys.
pub struct Site<'a> {
    pub state: StateDb,
    /// Where `state` lives, so that worker threads can open it for reading.
    pub state_path: PathBuf,
    pub store: &'a dyn Store,
    /// Where the packs go of which two copies are wanted.
    pub second: Option<Second<'a>>,
    /// What the store was probed to do; decides how a copy is proven.
    pub capabilities: Capabilities,
    pub protection: &'a Protection,
    pub store_id: StoreId,
    pub node_id: NodeId,
    pub monitor: &'a dyn Monitor,
    pub stop: Stop,
    /// What threads that fetch do it as; it ends by `stop`.
    pub errand: Errand,
    pub clock: Clock,
    /// Threads that read, hash and compress.
    pub workers: usize,
    /// Upper bound of an upload's buffers.
    pub memory_bytes: u64,
    /// Packs being sent, or ranges being fetched, at the same time.
    pub connections: usize,
    /// Which stubs are shown to Windows clients as offline.
    pub offline: OfflineBit,
    /// How others are kept off an inode.
    pub custody: &'a dyn Custody,
    /// The guard that does the work on inodes, where one watches the roots and
    /// this process is not it.
    pub guard: Option<&'a mut dyn Guard>,
}

/// The part of a site that needs no store: enough to scan and to recover.
pub struct Ground<'a> {
    pub state: &'a mut StateDb,
    pub monitor: &'a dyn Monitor,
    pub stop: &'a Stop,
    pub clock: Clock,
    pub custody: &'a dyn Custody,
    pub guard: Option<&'a mut dyn Guard>,
}

impl<'s> Site<'s> {
    pub fn ground(&mut self) -> Ground<'_> {
        Ground {
            state: &mut self.state,
            monitor: self.monitor,
            stop: &self.stop,
            clock: self.clock,
            custody: self.custody,
            guard: self.guard.as_deref_mut().map(|guard| guard as &mut dyn Guard),
        }
    }

    /// The local copy of the catalog lives beside the state DB.
    pub fn catalog_path(&self) -> PathBuf {
        self.state_path.with_file_name("catalog.db")
    }

    pub fn log_reader(&self) -> logs::Reader<'_> {
        logs::Reader {
            store: self.store,
            protection: self.protection,
            store_id: self.store_id,
            stop: &self.stop,
        }
    }
}

/// The object that holds a pack.
pub fn pack_key(pack: PackId) -> Key {
    Key::new(keys::pack_key(pack)).expect("the layout's own keys are valid")
}

/// The object that holds one part of a checkpoint of a node's log.
pub fn checkpoint_key(node: NodeId, upto: u64, part: u32) -> Key {
    Key::new(keys::checkpoint_key(node, upto, part)).expect("the layout's own keys are valid")
}

/// The object that holds a segment of a node's log.
pub fn segment_key(node: NodeId, seq: u64) -> Key {
    Key::new(keys::segment_key(node, seq)).expect("the layout's own keys are valid")
}
