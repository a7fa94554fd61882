//! Snapshots: names for points of logs, and what such a point needs.

use super::error::{During, Result};
use super::nodes::{RootRef, node_from};
use super::open::CatalogDb;
use crate::ids::{ChunkId, NodeId, PackId};
use crate::manifest::Content;
use std::collections::BTreeSet;

/// A name for a point of one node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    pub node: NodeId,
    pub name: String,
    /// The last segment that it includes.
    pub seq: u64,
    /// When it was made.
    pub at_ns: i64,
    /// It may not be deleted before.
    pub sealed_until_ns: Option<i64>,
}

const READING: &str = "reading snapshots";

impl CatalogDb {
    /// The snapshots of a node, of all nodes without one, oldest first.
    pub fn snapshots(&self, node: Option<NodeId>) -> Result<Vec<SnapshotRow>> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT n.node_id, s.name, s.seq, s.at_ns, s.sealed_until_ns
                 FROM snapshot s JOIN node n ON n.id = s.node
                 WHERE ?1 IS NULL OR n.node_id = ?1 ORDER BY s.at_ns, s.name",
            )
            .during(READING)?;
        let mut rows = select.query([node.map(|node| node.0)]).during(READING)?;
        let mut found = vec![];
        while let Some(row) = rows.next().during(READING)? {
            found.push(SnapshotRow {
                node: node_from(row.get(0).during(READING)?)?,
                name: row.get(1).during(READING)?,
                seq: row.get::<_, i64>(2).during(READING)? as u64,
                at_ns: row.get(3).during(READING)?,
                sealed_until_ns: row.get(4).during(READING)?,
            });
        }
        Ok(found)
    }

    /// Regular files of a node as of the segment `seq`, and their bytes.
    pub fn figures(&self, node: NodeId, seq: u64) -> Result<Figures> {
        let sql = format!(
            "SELECT count(*), coalesce(sum(v.size_bytes), 0) FROM node n
             JOIN root r ON r.node = n.id JOIN place p ON p.root = r.id
             JOIN version v ON v.place = p.id
             WHERE n.node_id = ?1 AND v.kind = 'f' AND {HELD}"
        );
        self.conn
            .prepare_cached(&sql)
            .and_then(|mut select| {
                select.query_row((node.as_bytes(), seq as i64), |row| {
                    let (files, bytes): (i64, i64) = (row.get(0)?, row.get(1)?);
                    Ok(Figures { files: files as u64, bytes: bytes as u64 })
                })
            })
            .during(READING)
    }

    /// Regular files of a root now, and their bytes.
    pub fn figures_of(&self, root: &RootRef) -> Result<Figures> {
        self.conn
            .query_row(
                "SELECT count(*), coalesce(sum(v.size_bytes), 0) FROM place p
                 JOIN version v ON v.place = p.id
                 WHERE p.root = ?1 AND v.kind = 'f' AND v.to_seq IS NULL",
                [root.id],
                |row| {
                    let (files, bytes): (i64, i64) = (row.get(0)?, row.get(1)?);
                    Ok(Figures { files: files as u64, bytes: bytes as u64 })
                },
            )
            .during(READING)
    }

    /// Whether the node's log has said anything about a path after the segment `seq`.
    pub fn is_changed_after(&self, node: NodeId, seq: u64) -> Result<bool> {
        let of_node = "EXISTS (SELECT 1 FROM place p JOIN root r ON r.id = p.root
             JOIN node n ON n.id = r.node WHERE p.id = v.place AND n.node_id = ?1)";
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM version v INDEXED BY version_begun
             WHERE v.from_seq > ?2 AND {of_node})
             OR EXISTS (SELECT 1 FROM version v INDEXED BY version_ended
             WHERE v.to_seq > ?2 AND {of_node})"
        );
        self.conn.query_row(&sql, (node.as_bytes(), seq as i64), |row| row.get(0)).during(READING)
    }

    /// The packs that hold the files of a node as of the segment `seq`. Of a chunk that
    /// lies in several packs, one counts.
    pub fn needs(&self, node: NodeId, seq: u64) -> Result<Needs> {
        let sql = format!(
            "SELECT c.pieces FROM content c WHERE EXISTS (SELECT 1 FROM version v
             INDEXED BY version_of_content JOIN place p ON p.id = v.place
             JOIN root r ON r.id = p.root JOIN node n ON n.id = r.node
             WHERE v.content = c.id AND n.node_id = ?1 AND {HELD})"
        );
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query((node.as_bytes(), seq as i64)).during(READING)?;
        let mut needs = Needs::default();
        while let Some(row) = rows.next().during(READING)? {
            let pieces: Vec<u8> = row.get(0).during(READING)?;
            for id in Content::decode(&pieces)?.chunk_ids() {
                match self.chunk(&id, &|_| false)? {
                    Some((pack, _)) => drop(needs.packs.insert(pack)),
                    None => drop(needs.lost.insert(id)),
                }
            }
        }
        Ok(needs)
    }

    /// Their bytes in the store, by the logs that name them.
    pub fn pack_bytes(&self, packs: &BTreeSet<PackId>) -> Result<u64> {
        let mut bytes = 0;
        for pack in packs {
            bytes += self.pack(*pack)?.map_or(0, |pack| pack.size_bytes);
        }
        Ok(bytes)
    }
}

/// A version that held as of the segment `?2`.
const HELD: &str = "v.from_seq <= ?2 AND (v.to_seq IS NULL OR v.to_seq > ?2)";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub files: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    pub packs: BTreeSet<PackId>,
    /// Chunks that no pack has.
    pub lost: BTreeSet<ChunkId>,
}
