//! What a log must have and does not have: for whoever wrote it, and for a check of it.

use super::start::Start;
use super::{Error, FETCH, Reader, fetch, keys_of, list_below};
use crate::ids::NodeId;
use crate::manifest::{self, Chain, decode_segment, keys, segment_hash};
use crate::site::{checkpoint_key, segment_key};
use crate::store::Key;
use std::collections::BTreeSet;

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
        .map(|seq| Fault { key: segment_key(node, seq), why: None })
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
                let key = checkpoint_key(node, *upto, *part);
                faults.push(Fault { key, why: Some(source.to_string()) });
            }
            Err(Error::Store(error)) if error.is_not_found() => {}
            other => drop(other?),
        }
    }
    Ok(faults)
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
