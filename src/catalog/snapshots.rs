//! Snapshots: names for points of logs.

use super::error::{During, Result};
use super::nodes::node_from;
use super::open::CatalogDb;
use crate::ids::NodeId;

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
}
