//! Catalog segments and checkpoints.
//!
//! A node appends segments to its own log and nobody else does: one writer per
//! log, numbered without gaps, each carrying the SHA-256 of the object before
//! it. A checkpoint is the whole catalog as of one segment; a restore may begin
//! there and follow the log from the next one.

use super::Error;
use super::lines::Kind;
use super::record::Record;
use crate::chunk::Protection;
use crate::ids::{NodeId, StoreId};
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

const SEGMENT: Kind = Kind { what: "catalog segment", magic: b"HSMSEG1\n", tag: "segment" };
const CHECKPOINT: Kind =
    Kind { what: "catalog checkpoint", magic: b"HSMCKP1\n", tag: "checkpoint" };

/// The first line of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHeader {
    pub store: StoreId,
    pub node: NodeId,
    pub seq: u64,
    /// [`segment_hash`] of the segment `seq - 1`; `None` for a log's first.
    #[serde(with = "hash_text")]
    pub prev: Option<[u8; 32]>,
    /// The last garbage collection plan this writer has seen.
    pub ack_gen: u64,
    /// One run of one writer.
    pub session: String,
    pub written_ns: i64,
}

/// The first line of one part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointHeader {
    pub store: StoreId,
    pub node: NodeId,
    /// The last segment whose records it contains.
    pub upto: u64,
    /// [`segment_hash`] of that segment.
    #[serde(with = "hash_text")]
    pub upto_hash: Option<[u8; 32]>,
    /// Counted from 0; a checkpoint counts only when all `parts` are there.
    pub part: u32,
    pub parts: u32,
    /// Of that segment's header.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ack_gen: u64,
    pub written_ns: i64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A hash as hexadecimal digits or null.
mod hash_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(hash: &Option<[u8; 32]>, to: S) -> Result<S::Ok, S::Error> {
        hash.map(hex::encode).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[u8; 32]>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(D::Error::custom)?;
        Ok(Some(hash))
    }
}

/// The whole object of a segment. Fails when a record could not be read back
/// or all of them exceed [`super::MAX_PLAIN_LEN`]: nothing unreadable is made.
pub fn encode_segment(
    header: &SegmentHeader,
    records: &[Record],
    protection: &Protection,
) -> Result<Vec<u8>, Error> {
    SEGMENT.encode(header, records, protection)
}

/// Reads a segment and checks each record; that it is the right segment of the
/// right log is for [`Chain`].
pub fn decode_segment(
    object: &[u8],
    protection: &Protection,
) -> Result<(SegmentHeader, Vec<Record>), Error> {
    let (header, records): (_, Vec<Record>) = SEGMENT.decode(object, protection)?;
    if records.iter().any(|record| matches!(record, Record::At { .. })) {
        let why = "a record of type \"at\" belongs into a checkpoint".to_owned();
        return Err(Error::Malformed { what: SEGMENT.what, why });
    }
    Ok((header, records))
}

/// SHA-256 of the whole object, as it lies in the store.
pub fn segment_hash(object: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, object).as_ref().try_into().expect("SHA-256 is 32 bytes")
}

/// Like [`encode_segment`] for one part of a checkpoint.
pub fn encode_checkpoint(
    header: &CheckpointHeader,
    records: &[Record],
    protection: &Protection,
) -> Result<Vec<u8>, Error> {
    CHECKPOINT.encode(header, records, protection)
}

/// Like [`decode_segment`] for one part of a checkpoint.
pub fn decode_checkpoint(
    object: &[u8],
    protection: &Protection,
) -> Result<(CheckpointHeader, Vec<Record>), Error> {
    let (header, records): (CheckpointHeader, _) = CHECKPOINT.decode(object, protection)?;
    if header.part >= header.parts {
        let why = format!("part {} of {} parts", header.part, header.parts);
        return Err(Error::Malformed { what: CHECKPOINT.what, why });
    }
    Ok((header, records))
}

/// Follows one node's log and notices a missing, repeated, reordered or foreign
/// segment.
#[derive(Debug, Clone)]
pub struct Chain {
    store: StoreId,
    node: NodeId,
    last: Option<(u64, [u8; 32])>,
}

impl Chain {
    /// From the start of the log.
    pub fn new(store: StoreId, node: NodeId) -> Self {
        Self { store, node, last: None }
    }

    /// From after a segment that is known (of a checkpoint, or the last one
    /// that was followed).
    pub fn after(store: StoreId, node: NodeId, seq: u64, hash: [u8; 32]) -> Self {
        Self { store, node, last: Some((seq, hash)) }
    }

    /// The last segment accepted.
    pub fn last(&self) -> Option<(u64, [u8; 32])> {
        self.last
    }

    /// Accepts the next segment, whose object hashes to `hash`, or says why it
    /// is not the next one (and stays where it was).
    pub fn accept(&mut self, header: &SegmentHeader, hash: [u8; 32]) -> Result<(), Error> {
        let seq = header.seq;
        let broken = |why: String| Err(Error::BrokenChain { seq, why });
        if header.store != self.store {
            return broken(format!("it belongs to store {}", header.store));
        }
        if header.node != self.node {
            return broken(format!("it belongs to node {}", header.node));
        }
        match (self.last, header.prev) {
            (None, None) => {}
            (None, Some(_)) => return broken("the segments before it are missing".to_owned()),
            (Some((last, _)), _) if last.checked_add(1) != Some(seq) => {
                return broken(format!("the one before it is {last}"));
            }
            (Some((_, known)), prev) if prev != Some(known) => {
                return broken("it follows another segment than the one in the log".to_owned());
            }
            _ => {}
        }
        self.last = Some((seq, hash));
        Ok(())
    }
}
