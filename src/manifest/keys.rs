//! The keys of a store's objects.
//!
//! ```text
//! hsm-store.json
//! packs/<2 hex>/<pack id>                     the last two digits of the id
//! nodes/<node id>/log/<sequence, 16 hex>
//! nodes/<node id>/checkpoint/<up to, 16 hex>-<part, 8 hex>
//! nodes/<node id>/damaged/<sequence, 16 hex>      out of the log's way
//! ```
//!
//! Numbers are padded, so that a listing in key order is a listing in sequence.
//! A pack's fan-out is taken from the end of its id, because the start is the
//! time: all packs of a day would share it.

use crate::ids::{NodeId, PackId};

/// Prefix of all packs.
pub const PACKS: &str = "packs/";
/// Prefix of all nodes.
pub const NODES: &str = "nodes/";

/// Prefix of what collectors and writers tell each other.
pub const COLLECTIONS: &str = "gc/";

/// The plan of a garbage collection: what it condemned.
pub fn collection_key(generation: u64) -> String {
    format!("{COLLECTIONS}{generation:016x}.plan")
}

/// What the collection deleted in the end.
pub fn collected_key(generation: u64) -> String {
    format!("{COLLECTIONS}{generation:016x}.done")
}

/// The generation that `key` names, and whether it is that of a collection
/// which has ended; `None` for any other object.
pub fn parse_collection_key(key: &str) -> Option<(u64, bool)> {
    let (digits, suffix) = key.strip_prefix(COLLECTIONS)?.split_once('.')?;
    let generation = u64::from_str_radix(digits, 16).ok()?;
    let ended = suffix == "done";
    let same = if ended { collected_key(generation) } else { collection_key(generation) };
    (same == key).then_some((generation, ended))
}

pub fn store_descriptor() -> String {
    "hsm-store.json".to_owned()
}

pub fn pack_key(pack: PackId) -> String {
    format!("{PACKS}{:02x}/{pack}", pack.as_bytes()[15])
}

/// The pack that `key` names; `None` for any other object.
pub fn parse_pack_key(key: &str) -> Option<PackId> {
    let (_, id) = key.strip_prefix(PACKS)?.split_once('/')?;
    let pack = id.parse().ok()?;
    (pack_key(pack) == key).then_some(pack)
}

/// Prefix of all that is of one node.
pub fn node_prefix(node: NodeId) -> String {
    format!("{NODES}{node}/")
}

/// Prefix of a node's segments.
pub fn log_prefix(node: NodeId) -> String {
    format!("{NODES}{node}/log/")
}

pub fn segment_key(node: NodeId, seq: u64) -> String {
    format!("{NODES}{node}/log/{seq:016x}")
}

/// Where a segment is kept that was damaged when its log was ended.
pub fn damaged_key(node: NodeId, seq: u64) -> String {
    format!("{NODES}{node}/damaged/{seq:016x}")
}

/// The node and sequence number that `key` names; `None` for any other object.
pub fn parse_segment_key(key: &str) -> Option<(NodeId, u64)> {
    let (node, seq) = key.strip_prefix(NODES)?.split_once("/log/")?;
    let (node, seq) = (node.parse().ok()?, u64::from_str_radix(seq, 16).ok()?);
    (segment_key(node, seq) == key).then_some((node, seq))
}

/// Prefix of a node's checkpoints.
pub fn checkpoint_prefix(node: NodeId) -> String {
    format!("{NODES}{node}/checkpoint/")
}

/// One part of the checkpoint that replaces a node's segments up to `upto`.
pub fn checkpoint_key(node: NodeId, upto: u64, part: u32) -> String {
    format!("{NODES}{node}/checkpoint/{upto:016x}-{part:08x}")
}

/// Node, last segment and part that `key` names; `None` for any other object.
pub fn parse_checkpoint_key(key: &str) -> Option<(NodeId, u64, u32)> {
    let (node, name) = key.strip_prefix(NODES)?.split_once("/checkpoint/")?;
    let (upto, part) = name.split_once('-')?;
    let upto = u64::from_str_radix(upto, 16).ok()?;
    let (node, part) = (node.parse().ok()?, u32::from_str_radix(part, 16).ok()?);
    (checkpoint_key(node, upto, part) == key).then_some((node, upto, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([0x4e; 16]);

    #[test]
    fn keys_are_fixed_and_parse_back() {
        let pack = PackId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(pack_key(pack), "packs/0f/00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(parse_pack_key(&pack_key(pack)), Some(pack));
        let segment = segment_key(NODE, 0x1a);
        assert_eq!(segment, "nodes/4e4e4e4e-4e4e-4e4e-4e4e-4e4e4e4e4e4e/log/000000000000001a");
        assert!(segment.starts_with(&log_prefix(NODE)));
        assert_eq!(parse_segment_key(&segment), Some((NODE, 0x1a)));
        let checkpoint = checkpoint_key(NODE, 26, 1);
        assert!(checkpoint.ends_with("/checkpoint/000000000000001a-00000001"));
        assert_eq!(parse_checkpoint_key(&checkpoint), Some((NODE, 26, 1)));
        assert_eq!(collection_key(26), "gc/000000000000001a.plan");
        assert_eq!(parse_collection_key(&collection_key(26)), Some((26, false)));
        assert_eq!(parse_collection_key(&collected_key(26)), Some((26, true)));
    }

    #[test]
    fn other_keys_name_nothing() {
        let pack = pack_key(PackId([9; 16]));
        for key in [
            "",
            "packs/",
            "packs/00/x",
            "hsm-store.json",
            "gc/1.plan",
            "gc/0000000000000001.plan.done",
            "gc/0000000000000001.other",
            "nodes//log/0",
            &pack.replace("packs/09", "packs/0a"),
            &format!("{pack}x"),
            &pack.to_uppercase(),
            &segment_key(NODE, 1).replace("0001", "001"),
            &segment_key(NODE, 1).replace("0001", "+001"),
        ] {
            assert_eq!(parse_pack_key(key), None, "{key}");
            assert_eq!(parse_segment_key(key), None, "{key}");
            assert_eq!(parse_checkpoint_key(key), None, "{key}");
            assert_eq!(parse_collection_key(key), None, "{key}");
        }
    }
}
