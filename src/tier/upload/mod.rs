//! The upload pipeline: files in, verified copies and catalog segments out.
//!
//! ```text
//! feeder -> workers (read, hash, dedup, compress) -> assembler (order, pack)
//!        -> senders (put, prove) -> assembler (record, catalog, commit)
//! ```
//!
//! Order of effects, each a crash point with a test: intent in the state DB ->
//! pack durable -> pack proven -> pack recorded -> catalog segment durable ->
//! state committed. A kill anywhere leaves at most packs that nothing refers to
//! yet; the next run finds them through their recorded intent and sends none of
//! their bytes again.
//!
//! Memory is bounded by [`budget::Budget`] for chunks on their way and by the
//! number of senders for packs, whatever the size of a file or the tree.

mod assembler;
mod budget;
mod builders;
mod claims;
mod feeder;
mod files;
mod ledger;
mod sender;
mod spare;
mod worker;

pub use files::{FileError, How, Request, Stamp};

use super::Error;
use crate::os::tree::RootDir;
use crate::site::Site;
use crate::state::{Heard, RootId};
use crate::store::Store;
use budget::Budget;
use claims::Claims;
use spare::Spare;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A pack is closed once it holds this much. About 32 MiB keeps requests few
/// and a single restore cheap (a PUT costs the same for 1 MiB and for 32).
pub const PACK_BYTES: usize = 32 << 20;

/// A pack with room for its last chunk and index.
const PACK_BUFFER_BYTES: u64 = PACK_BYTES as u64 / 8 * 9;

/// Bytes of file content on their way between the feeder and a pack: a quarter
/// of the memory (the plain and the compressed form of a chunk exist at once).
fn in_flight_bytes(memory_bytes: u64) -> u64 {
    (memory_bytes / 4).max(16 << 20)
}

/// Packs being sent at once. The rest of the memory holds packs: those being
/// filled, one waiting, and these.
fn senders(memory_bytes: u64, connections: usize) -> usize {
    let packs = (memory_bytes / 2) / PACK_BUFFER_BYTES;
    let sending = usize::try_from(packs.saturating_sub(2)).unwrap_or(1);
    sending.clamp(1, 16).min(connections.max(1))
}

/// What an upload did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadStats {
    /// Files that now have a verified, catalogued copy.
    pub files: u64,
    /// Their bytes (holes not counted).
    pub bytes: u64,
    /// Bytes sent to the store in packs.
    pub sent_bytes: u64,
    pub packs: u64,
    /// Bytes that the store already had.
    pub deduplicated_bytes: u64,
    /// Files that changed while they were read: not uploaded, tried next time.
    pub changed: u64,
    /// Files that could not be read or whose pack could not be sent.
    pub failed: u64,
    pub segments: u64,
}

/// The pipeline's threads share this.
struct Shared<'a> {
    root: &'a RootDir,
    /// Of collections, before any worker asks for a chunk.
    heard: Heard,
    budget: Budget,
    claims: Claims,
    chunk_buffers: Spare,
    pack_buffers: Spare,
    store: &'a dyn Store,
    /// Set when going on is pointless (store gone, too many errors): the
    /// feeder stops, what is under way is finished.
    abandon: AtomicBool,
}

/// Ends the feeder when the thread that holds it ends, however it does: the
/// feeder would wait for ever for bytes that nobody gives back.
struct EndFeeder<'a>(&'a Shared<'a>);

impl Drop for EndFeeder<'_> {
    fn drop(&mut self) {
        self.0.abandon.store(true, Ordering::Relaxed);
        self.0.budget.close();
    }
}

/// Uploads what `requests` yields and returns when every copy is catalogued.
///
/// One file's failure is reported to the monitor and counted; an error means
/// that the run as a whole could not go on (store unreachable, state DB
/// broken). Files committed before that stay committed.
pub fn run<I>(
    site: &mut Site<'_>,
    root_id: RootId,
    root: &RootDir,
    requests: I,
    give_up: &dyn Fn(u64, u64) -> bool,
) -> Result<UploadStats, Error>
where
    I: Iterator<Item = Result<Request, Error>> + Send,
{
    let shared = Shared {
        root,
        heard: site.state.heard()?,
        budget: Budget::new(in_flight_bytes(site.memory_bytes)),
        claims: Claims::default(),
        chunk_buffers: Spare::new(site.workers.max(1) * 2),
        pack_buffers: Spare::new(1),
        store: site.store,
        abandon: AtomicBool::new(false),
    };
    let shared = &shared;
    let workers = site.workers.max(1);
    let senders = senders(site.memory_bytes, site.connections);
    let (jobs_in, jobs) = crossbeam_channel::bounded(workers * 2);
    let (done_in, done) = crossbeam_channel::unbounded();
    let (packs_in, packs) = crossbeam_channel::bounded(1);
    let (sent_in, sent) = crossbeam_channel::unbounded();
    let (store, capabilities, clock) = (site.store, site.capabilities, site.clock);
    let second = site.second_here().cloned();
    let (protection, stop) = (site.protection, site.stop.clone());
    let state_path = site.state_path.clone();
    thread::scope(|scope| {
        let feeder_done = done_in.clone();
        scope.spawn(move || feeder::feed(shared, requests, &jobs_in, &feeder_done, &stop));
        for _ in 0..workers {
            let (jobs, done, state_path) = (jobs.clone(), done_in.clone(), state_path.clone());
            scope.spawn(move || worker::work(shared, protection, &state_path, &jobs, &done));
        }
        for _ in 0..senders {
            let (packs, sent, capabilities) = (packs.clone(), sent_in.clone(), &capabilities);
            let second = second.clone();
            scope.spawn(move || {
                sender::send(shared, store, capabilities, second, clock, &packs, &sent);
            });
        }
        let _end = EndFeeder(shared);
        // The assembler must see the channels close when the threads end.
        drop((jobs, done_in, packs, sent_in));
        assembler::assemble(site, root_id, shared, &done, packs_in, &sent, give_up)
    })
}
