//! How the guard opens state DB and store.
//!
//! The keeper opens neither: it forks, and neither a database connection nor a
//! store's threads survive that. The guard's process opens them when they are
//! first needed, and the store again when it could not be had: a guard whose
//! store is down keeps watching, and denies.

use super::admission::Admission;
use super::job::Job;
use crate::chunk::Protection;
use crate::clock::{Clock, Stopwatch};
use crate::config::{ColdSection, OfflineBit};
use crate::ids::{NodeId, StoreId};
use crate::monitor::Stop;
use crate::site::second::OpenSecond;
use crate::site::{Custody, Site};
use crate::state::StateDb;
use crate::store::{Capabilities, Store};
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long one of two stores is done without before it is tried again.
const MAKESHIFT: Duration = Duration::from_secs(60);

/// Why something cannot be opened, for the log.
pub type Trouble = Box<dyn Error + Send + Sync>;

/// Opens what the configuration names.
pub trait Access: Send + Sync {
    fn state(&self) -> Result<StateDb, Trouble>;
    fn state_read_only(&self) -> Result<StateDb, Trouble>;
    fn state_path(&self) -> PathBuf;
    fn store(&self) -> Result<OpenStore, Trouble>;
    /// No run holds the lock of a root at this moment: whoever begins from now
    /// on knows of the guard.
    fn runs_ended(&self) -> bool;
    /// Who may recall.
    fn admission(&self) -> Result<Admission, Trouble>;
    /// What archives are asked for, and who is told what meanwhile.
    fn cold(&self) -> ColdSection;
    /// Threads for each recall or batch.
    fn workers(&self) -> usize;
    fn connections(&self) -> usize;
    fn offline(&self) -> OfflineBit;
}

/// A store whose descriptor was read and whose key fits.
pub struct OpenStore {
    pub store: Box<dyn Store>,
    pub second: Option<OpenSecond>,
    /// One of the two stores is only stood in for: to be tried again soon.
    pub is_makeshift: bool,
    pub protection: Protection,
    pub capabilities: Capabilities,
    pub store_id: StoreId,
    pub node_id: NodeId,
}

/// The store, opened once it can be.
pub struct Shared {
    pub access: Box<dyn Access>,
    store: Mutex<Option<(Arc<OpenStore>, Stopwatch)>>,
}

impl Shared {
    pub fn new(access: Box<dyn Access>) -> Self {
        Self { access, store: Mutex::new(None) }
    }

    /// Asks a store that does not answer anew each time; who asks meanwhile
    /// does not wait for the one who is asking.
    pub fn store(&self) -> Result<Arc<OpenStore>, Trouble> {
        if let Some((store, since)) = &*self.known()
            && (!store.is_makeshift || since.elapsed() < MAKESHIFT)
        {
            return Ok(Arc::clone(store));
        }
        let opened = (Arc::new(self.access.store()?), Stopwatch::start());
        Ok(Arc::clone(&self.known().insert(opened).0))
    }

    /// What an operation of the guard works with. Its progress, and what comes
    /// from the store for it, is `job`'s.
    pub fn site<'a>(
        &'a self,
        store: &'a OpenStore,
        state: StateDb,
        job: &'a Job,
        stop: Stop,
        custody: &'a dyn Custody,
        clock: Clock,
    ) -> Site<'a> {
        Site {
            state,
            state_path: self.access.state_path(),
            store: &*store.store,
            second: store.second.as_ref().map(OpenSecond::second),
            capabilities: store.capabilities,
            protection: &store.protection,
            store_id: store.store_id,
            node_id: store.node_id,
            monitor: job,
            errand: job.errand.with_stop(stop.clone()),
            stop,
            clock,
            workers: self.access.workers(),
            memory_bytes: 0,
            connections: self.access.connections(),
            offline: self.access.offline(),
            custody,
            guard: None,
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<(Arc<OpenStore>, Stopwatch)>> {
        self.store.lock().expect("no holder panics")
    }
}
