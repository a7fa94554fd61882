//! Writes checkpoints of this node's log, so that a reader who begins with nothing
//! need not replay it from its first segment.
//!
//! One is due when the log has grown by more than the last one's size, which bounds
//! what a reader reads to about twice what there is; and daily when there is
//! anything new at all. It is no commit: everything it says is in the log, so a run
//! whose checkpoint fails has done its work.
//!
//! Parts are written under new names and read back, and a checkpoint counts when all
//! of them are there. Only then are those before the last two deleted: a reader that
//! is half-way through one finds the rest of it.

use super::{Site, checkpoint_key, logs};
use crate::catalog::{self, CatalogDb, Checkpoint};
use crate::manifest::{self, CheckpointHeader, Record, decode_checkpoint, encode_checkpoint, keys};
use crate::site::weight::{LARGEST_SEGMENT_BYTES, weight};
use crate::store::{self, Key, PutOptions};
use crate::{fault, state};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// A log that grew by less needs none but the daily one.
const LEAST_TAIL_BYTES: u64 = 256 << 10;
/// How long what is new may stay in the log alone.
const DAY_NS: i64 = 24 * 3_600 * 1_000_000_000;
/// Whole checkpoints that stay.
const KEPT: usize = 2;

/// Why no checkpoint was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Logs(#[from] logs::Error),
    #[error(transparent)]
    Local(#[from] catalog::Error),
    #[error(transparent)]
    Format(#[from] manifest::Error),
    #[error("the log in the store ends with segment {found}, and this server wrote {written}")]
    OtherEnd { found: u64, written: u64 },
    #[error("the store returned other bytes for {key} than were written")]
    Differs { key: Key },
    #[error("the local copy of the catalog changed meanwhile")]
    Changed,
}

/// A checkpoint that is durable in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub upto: u64,
    pub parts: u32,
    pub bytes: u64,
}

/// When the last one was written, as the state DB remembers it: a run that wrote
/// nothing need not ask the store.
#[derive(Serialize, Deserialize)]
struct Noted {
    upto: u64,
    written_ns: i64,
}

const SETTING: &str = "catalog.checkpoint";

/// Writes one if it is due. Whoever calls holds the lock of the catalog and has
/// ended its session; `wrote`: that session was not empty.
pub fn write_if_due(site: &mut Site<'_>, wrote: bool) -> Result<Option<Written>, Error> {
    let now_ns = site.clock.now_ns();
    if !wrote && !day_is_over(site, now_ns)? {
        return Ok(None);
    }
    write(site, &|db, row| {
        let since_ns = match row.checkpoint_seq {
            0 => db.segment_ns(row.node, 1)?.unwrap_or(row.written_ns),
            _ => row.checkpoint_ns,
        };
        let grown = row.tail_bytes > row.checkpoint_bytes.max(LEAST_TAIL_BYTES);
        Ok(grown || now_ns.saturating_sub(since_ns) >= DAY_NS)
    })
}

/// Writes one where anything is new since the last.
pub fn write_now(site: &mut Site<'_>) -> Result<Option<Written>, Error> {
    write(site, &|_, _| Ok(true))
}

/// There is something new, and the last checkpoint is a day old.
fn day_is_over(site: &Site<'_>, now_ns: i64) -> Result<bool, Error> {
    let text = site.state.setting(SETTING)?;
    let noted: Option<Noted> = text.and_then(|text| serde_json::from_str(&text).ok());
    let Some(noted) = noted else { return Ok(false) };
    let is_new = site.state.log_head()?.next_seq > noted.upto + 1;
    Ok(is_new && now_ns.saturating_sub(noted.written_ns) >= DAY_NS)
}

type Due<'a> = dyn Fn(&CatalogDb, &catalog::NodeRow) -> Result<bool, catalog::Error> + 'a;

fn write(site: &mut Site<'_>, due: &Due<'_>) -> Result<Option<Written>, Error> {
    let written = site.state.log_head()?.next_seq - 1;
    if written == 0 {
        return Ok(None);
    }
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    logs::sync_node(&site.log_reader(), &mut db, site.node_id, None)?;
    let now_ns = site.clock.now_ns();
    let made = {
        let Some(log) = db.checkpoint(site.node_id)? else {
            return Err(Error::OtherEnd { found: 0, written });
        };
        let row = log.node();
        if row.head_seq != written {
            return Err(Error::OtherEnd { found: row.head_seq, written });
        }
        if row.checkpoint_seq >= row.head_seq || row.fenced || !due(&db, row)? {
            return Ok(None);
        }
        let mut there = in_store(site)?;
        let part_bytes = LARGEST_SEGMENT_BYTES;
        Writer { site, log: &log, now_ns, part_bytes }.put(there.remove(&written))?
    };
    db.note_checkpoint(site.node_id, made.upto, now_ns, made.bytes)?;
    let noted = Noted { upto: made.upto, written_ns: now_ns };
    let noted = serde_json::to_string(&noted).expect("numbers make JSON");
    site.state.set_setting(SETTING, &noted)?;
    for key in in_store(site)?.into_values().rev().skip(KEPT).flatten() {
        // One that a sealed snapshot has locked stays.
        if let Err(error) = site.store.delete(&key) {
            tracing::debug!("an older checkpoint stays: {error}");
        }
    }
    Ok(Some(made))
}

/// The parts that are there of each checkpoint, by its last segment.
fn in_store(site: &Site<'_>) -> Result<BTreeMap<u64, Vec<Key>>, Error> {
    let mut parts: BTreeMap<u64, Vec<Key>> = BTreeMap::new();
    site.store.list(&keys::checkpoint_prefix(site.node_id), None, &mut |object| {
        if let Some((_, upto, _)) = keys::parse_checkpoint_key(object.key.as_str()) {
            parts.entry(upto).or_default().push(object.key);
        }
    })?;
    Ok(parts)
}

pub(super) struct Writer<'a, 's> {
    pub site: &'a Site<'s>,
    pub log: &'a Checkpoint<'a>,
    pub now_ns: i64,
    pub part_bytes: usize,
}

impl Writer<'_, '_> {
    /// `left`: what a killed run left of this very checkpoint.
    pub fn put(&self, left: Option<Vec<Key>>) -> Result<Written, Error> {
        let upto = self.log.node().head_seq;
        if let Some(left) = left {
            if let Some(whole) = self.left_whole(upto, &left)? {
                return Ok(whole);
            }
            left.iter().try_for_each(|key| self.site.store.delete(key))?;
        }
        let mut parts = 0;
        self.each_part(&mut |_| {
            parts += 1;
            Ok(())
        })?;
        let (mut part, mut bytes) = (0, 0);
        self.each_part(&mut |records| {
            bytes += self.put_part(part, parts, &records)?;
            part += 1;
            Ok(())
        })?;
        if part != parts {
            return Err(Error::Changed);
        }
        Ok(Written { upto, parts, bytes })
    }

    /// All of it, by a run that was killed before it could note that.
    fn left_whole(&self, upto: u64, left: &[Key]) -> Result<Option<Written>, Error> {
        let mut bytes = 0;
        for key in left {
            let object = self.site.store.get(key, None)?;
            let Ok((header, _)) = decode_checkpoint(&object, self.site.protection) else {
                return Ok(None);
            };
            let is = (header.parts as usize, header.upto_hash);
            if is != (left.len(), self.log.node().head_hash) {
                return Ok(None);
            }
            bytes += object.len() as u64;
        }
        Ok(Some(Written { upto, parts: left.len() as u32, bytes }))
    }

    /// Hands over the records of one part after the other.
    fn each_part(
        &self,
        take: &mut dyn FnMut(Vec<Record>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut part, mut bytes, mut ended) = (vec![], 0, Ok(()));
        self.log.for_each(&mut |record| {
            let more = weight(&record);
            if !part.is_empty() && bytes + more > self.part_bytes {
                ended = take(std::mem::take(&mut part));
                bytes = 0;
            }
            part.push(record);
            bytes += more;
            if ended.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        ended?;
        take(part)
    }

    /// Durable and read back on return.
    fn put_part(&self, part: u32, parts: u32, records: &[Record]) -> Result<u64, Error> {
        let (site, node) = (self.site, self.log.node());
        let header = CheckpointHeader {
            store: site.store_id,
            node: site.node_id,
            upto: node.head_seq,
            upto_hash: node.head_hash,
            part,
            parts,
            ack_gen: node.ack_gen,
            written_ns: self.now_ns,
        };
        let object = Bytes::from(encode_checkpoint(&header, records, site.protection)?);
        let key = checkpoint_key(site.node_id, node.head_seq, part);
        let options = PutOptions { create_new: true, storage_class: None };
        site.store.put(&key, object.clone(), &options)?;
        fault::point("checkpoint.part-put");
        if site.store.get(&key, None)? != object {
            return Err(Error::Differs { key });
        }
        Ok(object.len() as u64)
    }
}
