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
use std::collections::{BTreeMap, BTreeSet};

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

/// What is wrong with an object of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub key: Key,
    /// `None`: it is not there.
    pub why: Option<String>,
}

/// The segments up to `written` that are not there, and for which no checkpoint
/// stands.
pub fn missing(reader: &Reader<'_>, node: NodeId, written: u64) -> Result<Vec<u64>, Error> {
    let listed = list_below(reader.store, &keys::node_prefix(node))?.remove(&node);
    let listed = listed.unwrap_or_default();
    let covered = Start { reader, node, listed: &listed, until: Some(written) }.covered()?;
    let there: BTreeSet<u64> = listed.segments.iter().map(|(seq, _)| *seq).collect();
    Ok((covered + 1..=written).filter(|seq| !there.contains(seq)).collect())
}

/// Reads every object of a log and says which is not what it must be.
pub fn faults(reader: &Reader<'_>, node: NodeId, written: u64) -> Result<Vec<Fault>, Error> {
    let mut faults: Vec<Fault> = missing(reader, node, written)?
        .into_iter()
        .map(|seq| Fault { key: super::segment_key(node, seq), why: None })
        .collect();
    let listed = list_below(reader.store, &keys::node_prefix(node))?.remove(&node);
    let listed = listed.unwrap_or_default();
    let mut chain: Option<Chain> = None;
    for few in listed.segments.chunks(FETCH) {
        if reader.stop.requested() {
            return Err(Error::Stopped);
        }
        let keys = keys_of(node, few);
        let fetched = fetch(reader, &keys);
        for (key, bytes) in keys.into_iter().zip(fetched) {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            if let Err(error) = follow(reader, node, &mut chain, &bytes) {
                faults.push(Fault { key, why: Some(error.to_string()) });
                chain = None;
            }
        }
    }
    let start = Start { reader, node, listed: &listed, until: None };
    for (upto, part) in &listed.checkpoints {
        match start.part(*upto, *part) {
            Err(Error::Checkpoint { source, .. }) => {
                let key = super::checkpoint_key(node, *upto, *part);
                faults.push(Fault { key, why: Some(source.to_string()) });
            }
            Err(Error::Store(error)) if error.is_not_found() => {}
            other => drop(other?),
        }
    }
    Ok(faults)
}

fn keys_of(node: NodeId, segments: &[(u64, u64)]) -> Vec<Key> {
    segments.iter().map(|(seq, _)| super::segment_key(node, *seq)).collect()
}

/// The first segment behind a gap is taken at its word about the one before it.
fn follow(
    reader: &Reader<'_>,
    node: NodeId,
    chain: &mut Option<Chain>,
    bytes: &[u8],
) -> Result<(), manifest::Error> {
    let (header, _) = decode_segment(bytes, reader.protection)?;
    let before = |prev| Chain::after(reader.store_id, node, header.seq.saturating_sub(1), prev);
    let is_next = |chain: &Chain| chain.last().is_none_or(|(seq, _)| seq + 1 == header.seq);
    let mut next = match chain.take().filter(is_next) {
        Some(chain) => chain,
        None => header.prev.map_or_else(|| Chain::new(reader.store_id, node), before),
    };
    next.accept(&header, segment_hash(bytes))?;
    *chain = Some(next);
    Ok(())
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
/// goes on from where the copy is then, by a listing of its own.
fn log(
    reader: &Reader<'_>,
    db: &mut CatalogDb,
    node: NodeId,
    listed: &Listed,
    until: Option<u64>,
) -> Result<u64, Error> {
    let mut known = head_of(db, node)?;
    let mut fresh: Option<Listed> = None;
    loop {
        let error = match log_as_listed(reader, db, node, fresh.as_ref().unwrap_or(listed), until) {
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
    let start = Start { reader, node, listed, until };
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

/// Where reading a log that is not known yet, or not from where it is known, can
/// begin.
struct Start<'a> {
    reader: &'a Reader<'a>,
    node: NodeId,
    listed: &'a Listed,
    until: Option<u64>,
}

impl Start<'_> {
    /// Last segment and number of parts that are there, the newest first.
    fn checkpoints(&self) -> Vec<(u64, u32)> {
        let mut parts: BTreeMap<u64, u32> = BTreeMap::new();
        for (upto, _) in &self.listed.checkpoints {
            *parts.entry(*upto).or_default() += 1;
        }
        let wanted = |(upto, _): &(u64, u32)| self.until.is_none_or(|until| *upto <= until);
        parts.into_iter().rev().filter(wanted).collect()
    }

    /// The segment after `known`, or that one itself where it was the last, is not
    /// there.
    fn is_cut_off(&self, known: u64) -> bool {
        let mut segments = self.listed.segments.iter().map(|(seq, _)| *seq);
        match segments.find(|seq| *seq > known) {
            Some(next) => next != known + 1,
            None => self.listed.segments.last().map_or(0, |(seq, _)| *seq) < known,
        }
    }

    /// Up to where a whole checkpoint stands for the segments; 0 without one.
    fn covered(&self) -> Result<u64, Error> {
        for (upto, there) in self.checkpoints() {
            match self.part(upto, 0) {
                Ok((header, _, _)) if header.parts == there => return Ok(upto),
                Ok(_) | Err(Error::Checkpoint { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    }

    /// There is a whole checkpoint from which the log can be read to its end, which
    /// is not before `known`.
    fn stands_for_the_rest(&self, known: u64) -> Result<bool, Error> {
        let Some((upto, there)) = self.checkpoints().first().copied() else { return Ok(false) };
        let mut segments = self.listed.segments.iter().map(|(seq, _)| *seq).rev();
        let found = segments.next().unwrap_or(0);
        let first = segments.zip((1..found).rev()).take_while(|(seq, next)| seq == next).last();
        let first = first.map_or(found, |(seq, _)| seq);
        if upto + 1 < first || upto.max(found) < known {
            return Ok(false);
        }
        let (header, _, _) = self.part(upto, 0)?;
        Ok(header.parts == there)
    }

    /// Enters the newest checkpoint of which every part is there. One that cannot be
    /// read is passed over where an older one or the log itself says the same.
    fn newest_checkpoint(&self, db: &mut CatalogDb) -> Result<Option<(u64, [u8; 32])>, Error> {
        let mut unreadable = None;
        for (upto, there) in self.checkpoints() {
            match self.checkpoint(db, upto, there) {
                Ok(Some(head)) => return Ok(Some(head)),
                Ok(None) => {}
                // Its writer has made a newer one.
                Err(Error::Store(error)) if error.is_not_found() => {}
                Err(error @ Error::Checkpoint { .. }) => {
                    unreadable.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let is_whole = self.listed.segments.first().is_some_and(|(seq, _)| *seq == 1);
        match unreadable {
            Some(error) if !is_whole => Err(error),
            Some(error) => {
                tracing::warn!("{error}: the log is read from its beginning");
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// `None` when parts of it are missing: it was never finished.
    fn checkpoint(
        &self,
        db: &mut CatalogDb,
        upto: u64,
        there: u32,
    ) -> Result<Option<(u64, [u8; 32])>, Error> {
        let (first, records, bytes) = self.part(upto, 0)?;
        let Some(hash) = first.upto_hash.filter(|_| first.parts == there) else { return Ok(None) };
        let later = (1..first.parts).map(|part| {
            let (header, records, bytes) = self.part(upto, part)?;
            if (header.parts, header.upto_hash) != (first.parts, first.upto_hash) {
                return Err(self.malformed(upto, part, "it is part of another one"));
            }
            Ok((records, bytes))
        });
        db.apply_checkpoint(&first, std::iter::once(Ok((records, bytes))).chain(later))?;
        Ok(Some((upto, hash)))
    }

    fn part(&self, upto: u64, part: u32) -> Result<(CheckpointHeader, Vec<Record>, u64), Error> {
        if self.reader.stop.requested() {
            return Err(Error::Stopped);
        }
        let key = super::checkpoint_key(self.node, upto, part);
        let bytes = self.reader.store.get(&key, None)?;
        let (header, records) = decode_checkpoint(&bytes, self.reader.protection)
            .map_err(|source| Error::Checkpoint { key: key.to_string(), source })?;
        let is = (header.store, header.node, header.upto, header.part);
        if is != (self.reader.store_id, self.node, upto, part) {
            return Err(self.malformed(upto, part, "it is not what its name says"));
        }
        Ok((header, records, bytes.len() as u64))
    }

    fn malformed(&self, upto: u64, part: u32, why: &str) -> Error {
        let key = super::checkpoint_key(self.node, upto, part).to_string();
        let source = manifest::Error::Malformed { what: "catalog checkpoint", why: why.to_owned() };
        Error::Checkpoint { key, source }
    }
}
