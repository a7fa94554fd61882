//! Snapshots of this server's log: names for points of it, which keep what was there
//! from being collected.
//!
//! To make one moves no data. What is in it is what the store had then: a file that
//! had no copy yet is not. A sealed one may not be deleted before its date, and where
//! the store can lock objects, everything that a restore of it needs is locked: packs,
//! this server's log, its newest checkpoint, the store's descriptor. The seal is
//! recorded before the first lock is set, so that a seal which broke off is finished
//! by the same command.
//!
//! Whoever calls holds the lock of the catalog and has recovered the log
//! (`tier::recover`).

use super::{Site, checkpoint_key, log, logs, pack_key, segment_key};
use crate::catalog::{self, CatalogDb, Figures, SnapshotRow};
use crate::manifest::{Record, keys, snapshot_fault};
use crate::state;
use crate::store::{self, DESCRIPTOR_KEY, Key};
use crate::units::format_time;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error(transparent)]
    Logs(#[from] logs::Error),
    #[error(transparent)]
    Local(#[from] catalog::Error),
    #[error("{name:?} is no name for a snapshot: {why}")]
    BadName { name: String, why: &'static str },
    #[error("nothing has been uploaded yet, so there is nothing to name")]
    Empty,
    #[error("there is a snapshot {name:?} already, of {}", format_time(*at_ns))]
    Taken { name: String, at_ns: i64 },
    #[error("this server has no snapshot {name:?}")]
    Unknown { name: String },
    #[error("the snapshot {name:?} is sealed until {}", format_time(*until_ns))]
    Sealed { name: String, until_ns: i64 },
    #[error("{} is not in the future", format_time(*until_ns))]
    Past { until_ns: i64 },
    #[error("{chunks} chunks of the snapshot {name:?} are in no pack: parts of it are lost")]
    Lost { name: String, chunks: usize },
    #[error("the seal is recorded, but only {locked} of {objects} objects are locked")]
    HalfLocked { locked: u64, objects: usize, source: store::Error },
}

/// What came of [`create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The last segment that it includes.
    pub seq: u64,
    pub figures: Figures,
    /// Nothing has changed since this one, so none was made.
    pub unchanged_since: Option<String>,
}

/// Names what the store has of this server's files now.
pub fn create(
    site: &mut Site<'_>,
    name: &str,
    if_changed: bool,
    dry_run: bool,
) -> Result<Created, Error> {
    if let Some(why) = snapshot_fault(name) {
        return Err(Error::BadName { name: name.to_owned(), why });
    }
    let (db, node) = (catalog(site)?, site.node_id);
    let seq = db.node(node)?.map_or(0, |row| row.head_seq);
    let known = db.snapshots(Some(node))?;
    if let Some(taken) = known.iter().find(|snapshot| snapshot.name == name) {
        return Err(Error::Taken { name: name.to_owned(), at_ns: taken.at_ns });
    }
    let figures = db.figures(node, seq)?;
    if db.roots(Some(node))?.is_empty() {
        return Err(Error::Empty);
    }
    let newest = known.into_iter().max_by_key(|snapshot| snapshot.seq);
    if let Some(newest) = newest.filter(|_| if_changed)
        && !db.is_changed_after(node, newest.seq)?
    {
        return Ok(Created { seq: newest.seq, figures, unchanged_since: Some(newest.name) });
    }
    if !dry_run {
        let at_ns = site.clock.now_ns();
        log::write_records(site, &[Record::Snapshot { name: name.to_owned(), seq, at_ns }])?;
    }
    Ok(Created { seq, figures, unchanged_since: None })
}

/// Forgets the name; what only the snapshot kept is for the next collection.
pub fn delete(site: &mut Site<'_>, name: &str, dry_run: bool) -> Result<(), Error> {
    let snapshot = find(&catalog(site)?, site, name)?;
    match snapshot.sealed_until_ns {
        Some(until_ns) if until_ns > site.clock.now_ns() => {
            Err(Error::Sealed { name: name.to_owned(), until_ns })
        }
        _ if dry_run => Ok(()),
        _ => Ok(log::write_records(site, &[Record::Unsnapshot { name: name.to_owned() }])?),
    }
}

/// What came of [`seal`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SealStats {
    /// Objects that a restore of the snapshot needs.
    pub objects: usize,
    pub pack_bytes: u64,
    /// Of these, locked in the store; none where it has no locks.
    pub locked: u64,
}

/// Seals the snapshot until then. A date that has been set can only be moved on.
pub fn seal(
    site: &mut Site<'_>,
    name: &str,
    until_ns: i64,
    dry_run: bool,
) -> Result<SealStats, Error> {
    if until_ns <= site.clock.now_ns() {
        return Err(Error::Past { until_ns });
    }
    let db = catalog(site)?;
    let snapshot = find(&db, site, name)?;
    if let Some(sealed_ns) = snapshot.sealed_until_ns.filter(|sealed_ns| *sealed_ns > until_ns) {
        return Err(Error::Sealed { name: name.to_owned(), until_ns: sealed_ns });
    }
    let needs = db.needs(site.node_id, snapshot.seq)?;
    if !needs.lost.is_empty() {
        return Err(Error::Lost { name: name.to_owned(), chunks: needs.lost.len() });
    }
    if !dry_run && snapshot.sealed_until_ns != Some(until_ns) {
        let name = name.to_owned();
        log::write_records(site, &[Record::Sealed { name, until_ns }])?;
    }
    let pack_bytes = db.pack_bytes(&needs.packs)?;
    let mut objects: Vec<Key> = vec![Key::new(DESCRIPTOR_KEY).expect("the descriptor's key")];
    objects.extend(log_objects(site)?);
    objects.extend(needs.packs.into_iter().map(pack_key));
    let mut stats = SealStats { objects: objects.len(), pack_bytes, locked: 0 };
    if !dry_run {
        stats.locked = lock(site, &objects, until_ns)?;
    }
    Ok(stats)
}

/// The catalog as it is now. Another server's log that is damaged is no matter.
fn catalog(site: &Site<'_>) -> Result<CatalogDb, Error> {
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    let damaged = logs::sync_what_can_be_read(&site.log_reader(), &mut db)?;
    match damaged.into_iter().find(|(node, _)| *node == site.node_id) {
        Some((_, error)) => Err(error.into()),
        None => Ok(db),
    }
}

fn find(db: &CatalogDb, site: &Site<'_>, name: &str) -> Result<SnapshotRow, Error> {
    let known = db.snapshots(Some(site.node_id))?;
    let found = known.into_iter().find(|snapshot| snapshot.name == name);
    found.ok_or_else(|| Error::Unknown { name: name.to_owned() })
}

/// Every segment of this server's log, and its newest checkpoint.
fn log_objects(site: &Site<'_>) -> Result<Vec<Key>, Error> {
    let (mut segments, mut parts) = (vec![], vec![]);
    site.store.list(&keys::node_prefix(site.node_id), None, &mut |object| {
        let key = object.key.as_str();
        if let Some((node, seq)) = keys::parse_segment_key(key) {
            segments.push(segment_key(node, seq));
        } else if let Some((node, upto, part)) = keys::parse_checkpoint_key(key) {
            parts.push((upto, checkpoint_key(node, upto, part)));
        }
    })?;
    let newest = parts.iter().map(|(upto, _)| *upto).max();
    parts.retain(|(upto, _)| Some(*upto) == newest);
    segments.extend(parts.into_iter().map(|(_, key)| key));
    Ok(segments)
}

/// Locks the objects; asks no second one where the store has no locks.
fn lock(site: &Site<'_>, objects: &[Key], until_ns: i64) -> Result<u64, Error> {
    let Some((first, rest)) = objects.split_first() else { return Ok(0) };
    if !site.store.lock_until(first, until_ns)? {
        return Ok(0);
    }
    let (locked, next, failed) = (AtomicU64::new(1), AtomicUsize::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..site.connections.clamp(1, rest.len().max(1)) {
            scope.spawn(|| {
                while let Some(key) = rest.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match site.store.lock_until(key, until_ns) {
                        Ok(true) => drop(locked.fetch_add(1, Ordering::Relaxed)),
                        Ok(false) => {}
                        Err(error) => {
                            next.store(rest.len(), Ordering::Relaxed);
                            failed.lock().expect("no holder panics").get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    let locked = locked.into_inner();
    match failed.into_inner().expect("no thread panicked") {
        Some(source) => Err(Error::HalfLocked { locked, objects: objects.len(), source }),
        None => Ok(locked),
    }
}
