//! The end of another node's log: its server is lost and will not come back.
//!
//! The fence is a segment of the lost node's own log, in its next place, put with
//! create-new. Either the node writes that segment or the fence is there: a node that
//! was only away finds it, and can never add to a log that others have given up. So
//! the log must have been read to its end first.
//!
//! A log that is damaged has no end that can be read, and keeps every collection from
//! its work. It can be ended behind its last good segment; what came after it, good or
//! not, is moved out of the way and kept.

use super::{Site, log, logs, segment_key};
use crate::catalog::{self, CatalogDb, NodeRow};
use crate::ids::NodeId;
use crate::manifest::{Record, SegmentHeader, keys};
use crate::store::{self, Key, PutOptions};
use crate::units::format_time;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Logs(#[from] logs::Error),
    #[error(transparent)]
    Local(#[from] catalog::Error),
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error("node {0} is this server")]
    Own(NodeId),
    #[error("the store has no log of node {0}")]
    Unknown(NodeId),
    #[error("node {0} was retired already")]
    Retired(NodeId),
    #[error(
        "the store does not refuse to replace an object that must be new: if node {0} is at work, \
         its next segment and the fence could both be written"
    )]
    NoFence(NodeId),
    #[error("node {node} was at work until {}: it does not look lost", format_time(*written_ns))]
    Alive { node: NodeId, written_ns: i64 },
    #[error("node {0} has written to its log in this moment: it is not lost")]
    AtWork(NodeId),
    #[error("the log of node {node} is good up to segment {good}, not {until}")]
    NotDamaged { node: NodeId, good: u64, until: u64 },
}

/// A node that has written within this time is not lost.
const LOST_AFTER_NS: i64 = 3_600 * 1_000_000_000;

/// How a node is to be retired.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// What its log refers to is needed no more.
    pub forget: bool,
    /// Also if it has been at work lately, or the store cannot fence.
    pub force: bool,
    /// The last good segment of a log that is damaged.
    pub until: Option<u64>,
    pub dry_run: bool,
}

/// Ends the log of `node`. Returns what it was.
pub fn retire(site: &Site<'_>, node: NodeId, options: Options) -> Result<NodeRow, Error> {
    if node == site.node_id {
        return Err(Error::Own(node));
    }
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    let damage = match logs::sync_node(&site.log_reader(), &mut db, node, None) {
        Err(error) if options.until.is_some() && error.is_damage() => Some(error),
        entered => entered.map(|_| None)?,
    };
    if let Some(until) = options.until {
        let good = match &damage {
            Some(error) => error.good_until(),
            None => db.node(node)?.map(|row| row.head_seq),
        };
        if damage.is_none() || good != Some(until) {
            return Err(Error::NotDamaged { node, good: good.unwrap_or(0), until });
        }
    }
    let row = db.node(node)?.filter(|row| row.head_seq > 0).ok_or(Error::Unknown(node))?;
    if row.fenced && (row.forgotten || !options.forget) {
        return Err(Error::Retired(node));
    }
    let now_ns = site.clock.now_ns();
    let is_recent = !row.fenced && now_ns.saturating_sub(row.written_ns) < LOST_AFTER_NS;
    if is_recent && !options.force {
        return Err(Error::Alive { node, written_ns: row.written_ns });
    }
    let can_fence = site.capabilities.conditional_create;
    if !can_fence && !options.force {
        return Err(Error::NoFence(node));
    }
    if !options.dry_run {
        if damage.is_some() {
            move_aside(site, node, row.head_seq)?;
        }
        put_fence(site, &row, options.forget, now_ns)?;
    }
    Ok(row)
}

/// What comes after the last good segment, the last one first: until the first of
/// them is gone the log is as damaged as it was.
fn move_aside(site: &Site<'_>, node: NodeId, good: u64) -> Result<(), Error> {
    let mut after = vec![];
    site.store.list(&keys::log_prefix(node), None, &mut |object| {
        after.extend(keys::parse_segment_key(object.key.as_str()).filter(|(_, seq)| *seq > good));
    })?;
    for (_, seq) in after.into_iter().rev() {
        let (key, kept) = (segment_key(node, seq), keys::damaged_key(node, seq));
        let kept = Key::new(kept).expect("the layout's own keys are valid");
        let bytes = site.store.get(&key, None)?;
        site.store.put(&kept, bytes, &PutOptions::default())?;
        site.store.delete(&key)?;
    }
    Ok(())
}

fn put_fence(site: &Site<'_>, row: &NodeRow, forget: bool, now_ns: i64) -> Result<(), Error> {
    let header = SegmentHeader {
        store: site.store_id,
        node: row.node,
        seq: row.head_seq + 1,
        prev: row.head_hash,
        ack_gen: row.ack_gen,
        session: format!("retired-by-{}", site.node_id),
        written_ns: now_ns,
    };
    // Where the store cannot, this is all that can be asked.
    if site.store.head(&segment_key(row.node, header.seq)).is_ok() {
        return Err(Error::AtWork(row.node));
    }
    let fence = Record::Fence { by: site.node_id, forget };
    let create_new = site.capabilities.conditional_create;
    match log::put_segment(site.store, site.protection, &header, &[fence], create_new) {
        Ok(_) => Ok(()),
        Err(log::Error::Fenced { .. }) => Err(Error::AtWork(row.node)),
        Err(error) => Err(error.into()),
    }
}
