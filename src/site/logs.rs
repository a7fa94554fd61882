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

use crate::catalog::{self, CatalogDb};
use crate::chunk::Protection;
use crate::ids::{NodeId, StoreId};
use crate::manifest::{
    self, Chain, CheckpointHeader, Collected, Record, decode_checkpoint, decode_segment, keys,
    segment_hash,
};
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
        synced.segments += log(reader, db, node, &listed, None)?;
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
    match list(reader.store)?.remove(&node) {
        Some(listed) => log(reader, db, node, &listed, until),
        None => Ok(0),
    }
}

/// The nodes whose logs are in the store.
pub fn nodes(store: &dyn Store) -> Result<Vec<NodeId>, Error> {
    Ok(list(store)?.into_keys().collect())
}

fn list(store: &dyn Store) -> Result<BTreeMap<NodeId, Listed>, Error> {
    let mut found: BTreeMap<NodeId, Listed> = BTreeMap::new();
    store.list(keys::NODES, None, &mut |object| {
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

fn log(
    reader: &Reader<'_>,
    db: &mut CatalogDb,
    node: NodeId,
    listed: &Listed,
    until: Option<u64>,
) -> Result<u64, Error> {
    let known = db.node(node)?;
    let mut head = known.as_ref().and_then(|row| Some((row.head_seq, row.head_hash?)));
    if head.is_none() {
        head = newest_checkpoint(reader, db, node, listed, until)?;
    }
    let found = listed.segments.last().map_or(0, |(seq, _)| *seq);
    let known = head.map_or(0, |(seq, _)| seq);
    if found < known && until.is_none() {
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
        let keys: Vec<Key> = few.iter().map(|(seq, _)| super::segment_key(node, *seq)).collect();
        for (key, bytes) in keys.iter().zip(fetch(reader, &keys)) {
            enter(reader, db, &mut chain, key, &bytes?)?;
        }
    }
    Ok(wanted.len() as u64)
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

/// Enters the newest checkpoint of which every part is there.
fn newest_checkpoint(
    reader: &Reader<'_>,
    db: &mut CatalogDb,
    node: NodeId,
    listed: &Listed,
    until: Option<u64>,
) -> Result<Option<(u64, [u8; 32])>, Error> {
    let mut parts: BTreeMap<u64, u32> = BTreeMap::new();
    for (upto, _) in &listed.checkpoints {
        *parts.entry(*upto).or_default() += 1;
    }
    for (upto, there) in parts.into_iter().rev() {
        if until.is_some_and(|until| upto > until) {
            continue;
        }
        if let Some(head) = checkpoint(reader, db, node, upto, there)? {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// `None` when parts of it are missing: it was never finished.
fn checkpoint(
    reader: &Reader<'_>,
    db: &mut CatalogDb,
    node: NodeId,
    upto: u64,
    there: u32,
) -> Result<Option<(u64, [u8; 32])>, Error> {
    let (first, records, bytes) = checkpoint_part(reader, node, upto, 0)?;
    if first.parts != there {
        return Ok(None);
    }
    let Some(hash) = first.upto_hash else { return Ok(None) };
    let mut total_bytes = bytes;
    let mut later = vec![];
    for part in 1..first.parts {
        let (header, records, bytes) = checkpoint_part(reader, node, upto, part)?;
        if (header.parts, header.upto_hash) != (first.parts, first.upto_hash) {
            return Ok(None);
        }
        total_bytes += bytes;
        later.push(records);
    }
    let records = records.into_iter().chain(later.into_iter().flatten());
    db.apply_checkpoint(&first, total_bytes, records)?;
    Ok(Some((upto, hash)))
}

fn checkpoint_part(
    reader: &Reader<'_>,
    node: NodeId,
    upto: u64,
    part: u32,
) -> Result<(CheckpointHeader, Vec<Record>, u64), Error> {
    let key = super::checkpoint_key(node, upto, part);
    let bytes = reader.store.get(&key, None)?;
    let named = |source| Error::Checkpoint { key: key.to_string(), source };
    let (header, records) = decode_checkpoint(&bytes, reader.protection).map_err(named)?;
    let is = (header.store, header.node, header.upto, header.part);
    if is != (reader.store_id, node, upto, part) {
        let why = "it is not what its name says".to_owned();
        return Err(named(manifest::Error::Malformed { what: "catalog checkpoint", why }));
    }
    Ok((header, records, bytes.len() as u64))
}
