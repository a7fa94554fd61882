//! The end of a plan: what it condemned is looked at again, what is needed after all
//! is spared, the end is put, and then the packs go.
//!
//! The end comes before the first delete. Whoever is first puts it for all: a second
//! collector, however slow, deletes what the end says and never what it found itself,
//! since what the end spares may be relied on from then on. A run that dies after it
//! leaves objects that every later collection knows as given up, and deletes.

use super::protocol::spare;
use super::{Error, Waiting, facts, pending};
use crate::catalog::{CatalogDb, LoosePack};
use crate::fault;
use crate::ids::PackId;
use crate::manifest::{Collected, Collection};
use crate::monitor::Phase;
use crate::site::{Site, log, pack_key};
use crate::store::{self, ErrorKind, PutOptions};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    pub generation: u64,
    pub deleted_packs: u64,
    /// Of those that were still there.
    pub deleted_bytes: u64,
    /// Needed after all.
    pub spared_packs: u64,
    /// Chunks that are needed and in no pack, condemned or not.
    pub lost_chunks: u64,
}

/// Ends the plan, unless it must wait for a node.
pub fn sweep(
    site: &mut Site<'_>,
    db: &mut CatalogDb,
    plan: &Collection,
) -> Result<Result<Swept, Waiting>, Error> {
    facts::note(site, db)?;
    db.note(|notes| plan.packs.iter().try_for_each(|pack| notes.condemned(*pack)))?;
    let heads = facts::read_logs(site, db)?;
    let (spared, lost_chunks) = {
        let marking = facts::moment(db, &heads)?;
        facts::check_own_end(site, &marking)?;
        if let Some(waiting) = pending::held_up(&marking, plan.generation)? {
            return Ok(Err(waiting));
        }
        let (mut needed, mut lost_chunks) = (vec![], 0);
        marking.mark()?.unheld(&mut |_, packs| {
            lost_chunks += u64::from(packs.is_empty());
            needed.push(packs);
            ControlFlow::Continue(())
        })?;
        (spare(needed), lost_chunks)
    };
    fault::point("gc.before-end");
    let end = put_end(site, plan, &spared)?;
    fault::point("gc.end-put");
    site.state.end_collection(end.generation, &end.deleted)?;
    db.apply_collected(&end)?;
    let deleted_bytes = delete(site, db)?;
    Ok(Ok(Swept {
        generation: plan.generation,
        deleted_packs: end.deleted.len() as u64,
        deleted_bytes,
        spared_packs: (plan.packs.len() - end.deleted.len().min(plan.packs.len())) as u64,
        lost_chunks,
    }))
}

/// Puts the end, or finds the one that another collector has put.
fn put_end(
    site: &Site<'_>,
    plan: &Collection,
    spared: &BTreeSet<PackId>,
) -> Result<Collected, Error> {
    let end = Collected {
        store: site.store_id,
        node: site.node_id,
        generation: plan.generation,
        written_ns: site.clock.now_ns(),
        deleted: plan.packs.iter().filter(|pack| !spared.contains(pack)).copied().collect(),
    };
    match put_new(site, &log::collected_key(plan.generation), end.encode())? {
        true => Ok(end),
        false => Ok(log::read_end(site, plan.generation)?),
    }
}

/// Puts an object that nobody may have put before; false where somebody has.
pub fn put_new(site: &Site<'_>, key: &store::Key, object: Vec<u8>) -> Result<bool, Error> {
    let options = PutOptions { create_new: true, storage_class: None };
    match site.store.put(key, Bytes::from(object), &options) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Deletes what collections have given up and what the last listing showed to be
/// there; returns the bytes.
pub fn delete(site: &Site<'_>, db: &mut CatalogDb) -> Result<u64, Error> {
    let mut given_up = vec![];
    db.given_up(&mut |loose| {
        given_up.push(loose);
        ControlFlow::Continue(())
    })?;
    delete_all(site, &given_up)
}

/// Deletes objects side by side; what is gone already counts as deleted.
fn delete_all(site: &Site<'_>, packs: &[LoosePack]) -> Result<u64, Error> {
    if packs.is_empty() {
        return Ok(0);
    }
    let total: u64 = packs.iter().map(|pack| pack.size_bytes).sum();
    site.monitor.begin(Phase::Collecting, packs.len() as u64, total);
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<store::Error>> = Mutex::new(None);
    let threads = site.connections.clamp(1, packs.len());
    let (store, monitor, stop) = (site.store, site.monitor, &site.stop);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.requested() || failed.lock().expect("no holder panics").is_some() {
                        return;
                    }
                    match store.delete(&pack_key(pack.id)) {
                        Ok(()) => monitor.advance(1, pack.size_bytes),
                        Err(error) => {
                            failed.lock().expect("no holder panics").get_or_insert(error);
                        }
                    }
                    fault::point("gc.pack-deleted");
                }
            });
        }
    });
    monitor.end();
    match failed.into_inner().expect("no holder panicked") {
        Some(error) => Err(error.into()),
        None => Ok(total),
    }
}
