//! Appends segments to this node's log in the store.
//!
//! A segment is written after its packs are durable and before the state DB says
//! so. The log has one writer; each segment carries the hash of the one before, so
//! a missing or foreign segment shows. The segment is read back before it counts:
//! it is the only record that makes packs findable.
//!
//! A run that writes is a session. Its first segment says so, and only then does it
//! look for garbage collection plans ([`CatalogLog::look`]), so that a collector
//! which does not see the session has written its plan where the session sees it. A
//! segment acknowledges the plans seen before it was put together; whoever refers to
//! chunks asks for lasting ones after the look. What a plan condemns and this node
//! alone knows that it needs is carried into new packs before the plan is
//! acknowledged. docs/FORMATS.md has the protocol.

use super::plans::Plans;
use super::weight::overflow;
use super::{Site, carry, segment_key};
use crate::chunk::Protection;
use crate::fault;
use crate::ids::{NodeId, PackId, StoreId};
use crate::manifest::{
    self, Collected, Collection, Record, SegmentHeader, encode_segment, keys, segment_hash,
};
use crate::os::process;
use crate::state;
use crate::store::{self, ErrorKind, Key, PutOptions, Store};
use bytes::Bytes;

/// Why nothing could be written to the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Format(#[from] manifest::Error),
    #[error(
        "another writer has written {key}: this node's log was continued elsewhere or its state DB is an old copy"
    )]
    Fenced { key: String },
    #[error("the store returned other bytes for {key} than were written")]
    SegmentDiffers { key: String },
    #[error("read the garbage collection plan {key}")]
    Plan { key: String, source: manifest::Error },
}

/// This node's log, open for one run.
pub struct CatalogLog {
    store_id: StoreId,
    node_id: NodeId,
    session: String,
    begun: bool,
    next_seq: u64,
    prev: Option<[u8; 32]>,
    ack_gen: u64,
}

/// A segment that is durable in the store.
#[derive(Debug, Clone, Copy)]
pub struct Appended {
    pub seq: u64,
    pub hash: [u8; 32],
}

impl CatalogLog {
    /// Continues the log where the state DB says it ends.
    pub fn open(site: &Site<'_>) -> Result<Self, Error> {
        let head = site.state.log_head()?;
        Ok(Self {
            store_id: site.store_id,
            node_id: site.node_id,
            session: new_session(),
            begun: false,
            next_seq: head.next_seq,
            prev: head.prev,
            ack_gen: site.state.last_acknowledged()?,
        })
    }

    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Tells other users of the store, before the first pack of a run, that this
    /// node is about to write. The caller records the segment, and looks.
    pub fn begin(&mut self, site: &mut Site<'_>) -> Result<Appended, Error> {
        site.state.begin_session(&self.session, site.clock.now_ns())?;
        self.begun = true;
        let open = Record::Open { session: self.session.clone(), host: Some(process::hostname()) };
        self.append(site, &[open])
    }

    /// The last segment of the run.
    pub fn close(&mut self, site: &mut Site<'_>) -> Result<Appended, Error> {
        self.begun = false;
        let closed = self.append(site, &[Record::Close { session: self.session.clone() }])?;
        site.state.end_session()?;
        Ok(closed)
    }

    /// Looks for plans and ends of garbage collections. What is condemned is so in
    /// the state DB on return. True if there is a plan that the log has not
    /// acknowledged: the caller writes what it has to say against it, if anything,
    /// and then calls [`Self::acknowledge`]. What the log does not have yet and lies
    /// in condemned packs alone is in packs of this node then, which
    /// [`StateDb::uncatalogued_packs`](state::StateDb::uncatalogued_packs) tells.
    pub fn look(&mut self, site: &mut Site<'_>) -> Result<bool, Error> {
        look(site)?;
        if site.state.last_collection()? <= self.ack_gen {
            return Ok(false);
        }
        if site.state.any_condemned()? {
            let pending = site.state.pending_contents()?;
            carry::rescue(site, &pending)?;
        }
        Ok(true)
    }

    /// From the next segment on the log acknowledges every plan that was seen.
    pub fn acknowledge(&mut self, site: &mut Site<'_>) -> Result<(), Error> {
        self.ack_gen = site.state.last_collection()?;
        site.state.acknowledge(self.ack_gen)?;
        Ok(())
    }

    /// Writes the next segment; durable and read back on return. The records fit
    /// into one ([`overflow`]).
    pub fn append(&mut self, site: &Site<'_>, records: &[Record]) -> Result<Appended, Error> {
        let header = SegmentHeader {
            store: self.store_id,
            node: self.node_id,
            seq: self.next_seq,
            prev: self.prev,
            ack_gen: self.ack_gen,
            session: self.session.clone(),
            written_ns: site.clock.now_ns(),
        };
        // A store that cannot refuse by itself is asked before: a log that another
        // node has ended must not be written on.
        let hash = put_segment(site.store, site.protection, &header, records, true)?;
        fault::point("upload.segment-put");
        let appended = Appended { seq: self.next_seq, hash };
        self.next_seq += 1;
        self.prev = Some(appended.hash);
        Ok(appended)
    }
}

/// Unlike any other: clones of a machine share its boot and its process numbers.
fn new_session() -> String {
    let drawn = getrandom::u64().expect("the kernel's random source answers once booted");
    format!("{}-{}-{drawn:016x}", process::boot_id(), process::pid())
}

/// Puts one segment and reads it back. [`Error::Fenced`] where there is one already.
pub fn put_segment(
    store: &dyn Store,
    protection: &Protection,
    header: &SegmentHeader,
    records: &[Record],
    create_new: bool,
) -> Result<[u8; 32], Error> {
    let bytes = Bytes::from(encode_segment(header, records, protection)?);
    let key = segment_key(header.node, header.seq);
    let options = PutOptions { create_new, storage_class: None };
    store.put(&key, bytes.clone(), &options).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => Error::Fenced { key: key.to_string() },
        _ => Error::Store(source),
    })?;
    if store.get(&key, None)? != bytes {
        return Err(Error::SegmentDiffers { key: key.to_string() });
    }
    Ok(segment_hash(&bytes))
}

/// Writes records that refer to no chunk in a session of their own: snapshots and
/// the like. Recover the log before (`tier::recover` does).
pub fn write_records(site: &mut Site<'_>, records: &[Record]) -> Result<(), Error> {
    let mut log = CatalogLog::open(site)?;
    let begun = log.begin(site)?;
    note(site, begun)?;
    log.look(site)?;
    log.acknowledge(site)?;
    append_all(site, &mut log, records)?;
    name_packs(site, &mut log)?;
    let closed = log.close(site)?;
    note(site, closed)
}

/// Names in the log what this node has put and no segment names yet; returns how
/// many packs.
pub fn name_packs(site: &mut Site<'_>, log: &mut CatalogLog) -> Result<usize, Error> {
    let rows = site.state.uncatalogued_packs()?;
    let packs: Vec<PackId> = rows.into_iter().map(|row| row.id).collect();
    let records = site.pack_records(&packs)?;
    let mut rest = &records[..];
    while !rest.is_empty() {
        let (first, later) = rest.split_at(overflow(rest).unwrap_or(rest.len()));
        let appended = log.append(site, first)?;
        // All of them with the last: one that is named twice is named once.
        let named = if later.is_empty() { &packs[..] } else { &[] };
        site.state.note_packs(appended.seq, appended.hash, named, site.clock.now_ns())?;
        rest = later;
    }
    Ok(packs.len())
}

/// Appends records that refer to no chunk, in as many segments as they need.
pub fn append_all(
    site: &mut Site<'_>,
    log: &mut CatalogLog,
    records: &[Record],
) -> Result<(), Error> {
    let mut rest = records;
    while !rest.is_empty() {
        let (first, later) = rest.split_at(overflow(rest).unwrap_or(rest.len()));
        let appended = log.append(site, first)?;
        note(site, appended)?;
        rest = later;
    }
    Ok(())
}

/// A segment that makes nothing else true in the state DB is durable.
pub fn note(site: &mut Site<'_>, appended: Appended) -> Result<(), Error> {
    site.state.note_segment(appended.seq, appended.hash, site.clock.now_ns())?;
    Ok(())
}

/// Takes note of every plan, and of every end of a collection, that this node has
/// not seen.
pub fn look(site: &mut Site<'_>) -> Result<(), Error> {
    let plans = Plans::list(site.store)?;
    let news = plans.news(&mut |generation| site.state.collection_ended(generation))?;
    for generation in news.condemn {
        let plan = read_plan(site, generation)?;
        site.state.condemn(generation, &plan.packs)?;
    }
    for generation in news.end {
        let end = read_end(site, generation)?;
        site.state.end_collection(generation, &end.deleted)?;
    }
    Ok(())
}

/// The plan of a collection.
pub fn read_plan(site: &Site<'_>, generation: u64) -> Result<Collection, Error> {
    let key = collection_key(generation);
    let plan = Collection::decode(&site.store.get(&key, None)?);
    plan.and_then(|plan| match (plan.store, plan.generation) == (site.store_id, generation) {
        true => Ok(plan),
        false => Err(foreign()),
    })
    .map_err(|source| Error::Plan { key: key.to_string(), source })
}

/// What a collection deleted.
pub fn read_end(site: &Site<'_>, generation: u64) -> Result<Collected, Error> {
    let key = collected_key(generation);
    let end = Collected::decode(&site.store.get(&key, None)?);
    end.and_then(|end| match (end.store, end.generation) == (site.store_id, generation) {
        true => Ok(end),
        false => Err(foreign()),
    })
    .map_err(|source| Error::Plan { key: key.to_string(), source })
}

fn foreign() -> manifest::Error {
    let why = "it is not what its name says".to_owned();
    manifest::Error::Malformed { what: "garbage collection", why }
}

/// The object that holds a plan.
pub fn collection_key(generation: u64) -> Key {
    Key::new(keys::collection_key(generation)).expect("the layout's own keys are valid")
}

/// The object that holds the end of a plan.
pub fn collected_key(generation: u64) -> Key {
    Key::new(keys::collected_key(generation)).expect("the layout's own keys are valid")
}
