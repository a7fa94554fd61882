//! Brings the local copy of the catalog up to date with the logs of all nodes.
//!
//! Only what is not there yet is read: the segments after the last one entered, or,
//! of a log that is not known at all, its newest whole checkpoint and what follows.
//! Each segment must follow the one before by number and hash. Anything else (one is
//! missing, truncated, of another node, or the log is shorter than it was) is an
//! error that names the object; nothing is guessed and nothing is skipped.
//!
//! The order matters to whoever collects garbage: the logs are listed once, and what
//! is read is at least what that listing showed.

mod faults;
mod start;

pub use faults::{Fault, faults, missing};

use crate::catalog::{self, CatalogDb};
use crate::chunk::Protection;
use crate::ids::{NodeId, StoreId};
use crate::manifest::{self, Chain, Collected, Record, decode_segment, keys, segment_hash};
use crate::monitor::Stop;
use crate::store::{self, Key, Store};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Objects that are fetched at the same time.
const FETCH: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Local(#[from] catalog::Error),
    #[error("read the catalog segment {key}")]
    Segment { key: String, source: manifest::Error },
    #[error("read the catalog checkpoint {key}")]
    Checkpoint { key: String, source: manifest::Error },
    #[error("read the end of the garbage collection {key}")]
    Collected { key: String, source: manifest::Error },
    #[error("the log of node {node} has no segment {seq}, although later ones are there")]
    Missing { node: NodeId, seq: u64 },
    #[error(
        "the log of node {node} ends with segment {found}, but segment {known} was there before: \
         the store has lost segments"
    )]
    Shrunk { node: NodeId, known: u64, found: u64 },
    #[error("reading the catalog was stopped")]
    Stopped,
}

impl Error {
    /// The log itself is not whole; to ask again does not help.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Segment { .. } | Self::Checkpoint { .. } => true,
            Self::Missing { .. } | Self::Shrunk { .. } => true,
            Self::Store(error) => error.is_not_found(),
            _ => false,
        }
    }

    /// The last segment before what is damaged, where the error names a place.
    pub fn good_until(&self) -> Option<u64> {
        match self {
            Self::Segment { key, .. } => Some(keys::parse_segment_key(key)?.1.saturating_sub(1)),
            Self::Missing { seq, .. } => Some(seq.saturating_sub(1)),
            _ => None,
        }
    }
}

/// What was entered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Synced {
    pub nodes: u64,
    pub segments: u64,
}

/// What is needed to read logs.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub store: &'a dyn Store,
    pub protection: &'a Protection,
    pub store_id: StoreId,
    pub stop: &'a Stop,
}

/// What the store holds of one node.
#[derive(Debug, Default)]
struct Listed {
    /// Number and bytes of each segment.
    segments: Vec<(u64, u64)>,
    /// Last segment and part of each part of a checkpoint.
    checkpoints: Vec<(u64, u32)>,
}

/// Enters everything that is in the store and not in `db`.
pub fn sync(reader: &Reader<'_>, db: &mut CatalogDb) -> Result<Synced, Error> {
    collections(reader, db)?;
    let mut synced = Synced::default();
    for (node, listed) in list(reader.store)? {
        synced.nodes += 1;
        synced.segments += match log(reader, db, node, &listed, None) {
            // Put while a directory was being read, a segment may be passed over and
            // a later one seen: a new listing has both.
            Err(Error::Missing { .. }) => sync_node(reader, db, node, None)?,
            done => done?,
        };
    }
    Ok(synced)
}

/// As [`sync`], but a log that is damaged is entered as far as it can be read, and
/// keeps no other from being entered. Returns what is wrong with which.
pub fn sync_what_can_be_read(
    reader: &Reader<'_>,
    db: &mut CatalogDb,
) -> Result<Vec<(NodeId, Error)>, Error> {
    collections(reader, db)?;
    let mut damaged = vec![];
    for (node, listed) in list(reader.store)? {
        match log(reader, db, node, &listed, None) {
            Ok(_) => {}
            Err(error) if error.is_damage() => damaged.push((node, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(damaged)
}

/// Enters one node's log up to and with the segment `until` (all without one).
pub fn sync_node(
    reader: &Reader<'_>,
    db: &mut CatalogDb,
    node: NodeId,
    until: Option<u64>,
) -> Result<u64, Error> {
    match list_below(reader.store, &keys::node_prefix(node))?.remove(&node) {
        Some(listed) => log(reader, db, node, &listed, until),
        None => Ok(0),
    }
}

/// The nodes whose logs are in the store.
pub fn nodes(store: &dyn Store) -> Result<Vec<NodeId>, Error> {
    Ok(list(store)?.into_keys().collect())
}

fn list(store: &dyn Store) -> Result<BTreeMap<NodeId, Listed>, Error> {
    list_below(store, keys::NODES)
}

fn list_below(store: &dyn Store, prefix: &str) -> Result<BTreeMap<NodeId, Listed>, Error> {
    let mut found: BTreeMap<NodeId, Listed> = BTreeMap::new();
    store.list(prefix, None, &mut |object| {
        let key = object.key.as_str();
        if let Some((node, seq)) = keys::parse_segment_key(key) {
            found.entry(node).or_default().segments.push((seq, object.size_bytes));
        } else if let Some((node, upto, part)) = keys::parse_checkpoint_key(key) {
            found.entry(node).or_default().checkpoints.push((upto, part));
        }
    })?;
    Ok(found)
}

fn collections(reader: &Reader<'_>, db: &mut CatalogDb) -> Result<(), Error> {
    let known = db.last_collected()?;
    let mut ends = vec![];
    reader.store.list(keys::COLLECTIONS, None, &mut |object| {
        if let Some((generation, true)) = keys::parse_collection_key(object.key.as_str())
            && generation > known
        {
            ends.push(object.key);
        }
    })?;
    for key in ends {
        let end = Collected::decode(&reader.store.get(&key, None)?)
            .map_err(|source| Error::Collected { key: key.to_string(), source })?;
        db.apply_collected(&end)?;
    }
    Ok(())
}

/// Enters one log. Other processes enter it, too, perhaps by a newer listing, and a
/// checkpoint may take the place of segments that were listed: where that shows, it
/// goes on from where the copy is then, by a listing of its own. And a log may have
/// lost its end and been continued by its owner, or ended by a fence: what the copy
/// knows of the end that is lost is given up, if the log is whole as it is.
fn log(
    reader: &Reader<'_>,
    db: &mut CatalogDb,
    node: NodeId,
    listed: &Listed,
    until: Option<u64>,
) -> Result<u64, Error> {
    let mut known = head_of(db, node)?;
    let mut fresh: Option<Listed> = None;
    let mut read_anew = false;
    loop {
        let listed = fresh.as_ref().unwrap_or(listed);
        let error = match log_as_listed(reader, db, node, listed, until) {
            Err(error) if !read_anew && is_other_history(reader, node, listed, known, &error)? => {
                tracing::warn!("{error}: the log is read anew");
                read_anew = true;
                db.forget_node(node)?;
                error
            }
            Err(error) if may_be_overtaken(&error) => error,
            entered_or_failed => return entered_or_failed,
        };
        let now = head_of(db, node)?;
        if fresh.is_some() && now == known {
            return Err(error);
        }
        known = now;
        let mut found = list_below(reader.store, &keys::node_prefix(node))?;
        fresh = Some(found.remove(&node).unwrap_or_default());
    }
}

fn head_of(db: &CatalogDb, node: NodeId) -> Result<Option<(u64, [u8; 32])>, Error> {
    Ok(db.node(node)?.and_then(|row| Some((row.head_seq, row.head_hash?))))
}

/// Whether the log went on from before what the copy has of it.
fn is_other_history(
    reader: &Reader<'_>,
    node: NodeId,
    listed: &Listed,
    known: Option<(u64, [u8; 32])>,
    error: &Error,
) -> Result<bool, Error> {
    let Some((head, _)) = known else { return Ok(false) };
    match error {
        Error::Segment { source: manifest::Error::BrokenChain { seq, .. }, .. } => {
            Ok(*seq == head + 1)
        }
        Error::Shrunk { .. } => ends_with_fence(reader, node, listed),
        _ => Ok(false),
    }
}

fn ends_with_fence(reader: &Reader<'_>, node: NodeId, listed: &Listed) -> Result<bool, Error> {
    let Some((last, _)) = listed.segments.last() else { return Ok(false) };
    let bytes = match reader.store.get(&super::segment_key(node, *last), None) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let Ok((_, records)) = decode_segment(&bytes, reader.protection) else { return Ok(false) };
    Ok(records.iter().any(|record| matches!(record, Record::Fence { .. })))
}

/// What a listing shows that is older than the copy, or than the store.
fn may_be_overtaken(error: &Error) -> bool {
    match error {
        Error::Local(catalog::Error::NotNext { .. }) => true,
        Error::Missing { .. } | Error::Shrunk { .. } => true,
        Error::Store(error) => error.is_not_found(),
        _ => false,
    }
}

fn log_as_listed(
    reader: &Reader<'_>,
    db: &mut CatalogDb,
    node: NodeId,
    listed: &Listed,
    until: Option<u64>,
) -> Result<u64, Error> {
    let mut head = head_of(db, node)?;
    let start = start::Start { reader, node, listed, until };
    if let Some((seq, _)) = head
        && start.is_cut_off(seq)
        && start.stands_for_the_rest(seq)?
    {
        db.forget_node(node)?;
        head = None;
    }
    let from_checkpoint = head.is_none();
    if from_checkpoint {
        head = start.newest_checkpoint(db)?;
    }
    let found = listed.segments.last().map_or(0, |(seq, _)| *seq);
    let known = head.map_or(0, |(seq, _)| seq);
    if found < known && until.is_none() && !from_checkpoint {
        return Err(Error::Shrunk { node, known, found });
    }
    let wanted = listed.segments.iter().filter(|(seq, _)| *seq > known);
    let wanted: Vec<(u64, u64)> =
        wanted.filter(|(seq, _)| until.is_none_or(|until| *seq <= until)).copied().collect();
    let gap = (known + 1..).zip(&wanted).find(|(expected, (seq, _))| expected != seq);
    if let Some((seq, _)) = gap {
        return Err(Error::Missing { node, seq });
    }
    let mut chain = match head {
        Some((seq, hash)) => Chain::after(reader.store_id, node, seq, hash),
        None => Chain::new(reader.store_id, node),
    };
    for few in wanted.chunks(FETCH) {
        let keys = keys_of(node, few);
        for (key, bytes) in keys.iter().zip(fetch(reader, &keys)) {
            enter(reader, db, &mut chain, key, &bytes?)?;
        }
    }
    Ok(wanted.len() as u64)
}

fn keys_of(node: NodeId, segments: &[(u64, u64)]) -> Vec<Key> {
    segments.iter().map(|(seq, _)| super::segment_key(node, *seq)).collect()
}

fn enter(
    reader: &Reader<'_>,
    db: &mut CatalogDb,
    chain: &mut Chain,
    key: &Key,
    bytes: &Bytes,
) -> Result<(), Error> {
    if reader.stop.requested() {
        return Err(Error::Stopped);
    }
    let named = |source| Error::Segment { key: key.to_string(), source };
    let (header, records) = decode_segment(bytes, reader.protection).map_err(named)?;
    let hash = segment_hash(bytes);
    chain.accept(&header, hash).map_err(named)?;
    db.apply_segment(&header, hash, bytes.len() as u64, records)?;
    Ok(())
}

fn fetch(reader: &Reader<'_>, keys: &[Key]) -> Vec<Result<Bytes, store::Error>> {
    let store = reader.store;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            keys.iter().map(|key| scope.spawn(move || store.get(key, None))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a fetch does not panic")).collect()
    })
}
