//! The logs themselves: how far each has been entered, and who writes it.

use super::error::{During, Error, Result};
use super::open::CatalogDb;
use crate::ids::NodeId;
use rusqlite::{Connection, OptionalExtension};

/// One node's log as far as it has been entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    pub node: NodeId,
    /// The writer's host name as of its last run.
    pub host: Option<String>,
    /// The last segment; 0 before the first.
    pub head_seq: u64,
    pub head_hash: Option<[u8; 32]>,
    /// The last garbage collection plan that the node has acknowledged.
    pub ack_gen: u64,
    /// A run that began and has not ended, or was killed.
    pub open_session: Option<String>,
    /// When the last segment was written, by the node's clock.
    pub written_ns: i64,
    /// Another node ended this log.
    pub fenced: bool,
    /// What the log refers to counts no more.
    pub forgotten: bool,
    /// The last checkpoint that is known, its time and its bytes, and the bytes of
    /// the segments after it.
    pub checkpoint_seq: u64,
    pub checkpoint_ns: i64,
    pub checkpoint_bytes: u64,
    pub tail_bytes: u64,
}

impl NodeRow {
    /// Of a node without a log.
    pub fn unknown(node: NodeId) -> Self {
        Self {
            node,
            host: None,
            head_seq: 0,
            head_hash: None,
            ack_gen: 0,
            open_session: None,
            written_ns: 0,
            fenced: false,
            forgotten: false,
            checkpoint_seq: 0,
            checkpoint_ns: 0,
            checkpoint_bytes: 0,
            tail_bytes: 0,
        }
    }
}

/// A managed tree of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootRef {
    pub(super) id: i64,
    pub node: NodeId,
    /// Absolute.
    pub path: Vec<u8>,
}

const READING: &str = "reading the nodes";

impl CatalogDb {
    /// Every node of which a log is known.
    pub fn nodes(&self) -> Result<Vec<NodeRow>> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT node_id, host, head_seq, head_hash, ack_gen, open_session, written_ns,
                 fenced, forgotten, checkpoint_seq, checkpoint_ns, checkpoint_bytes, tail_bytes
                 FROM node ORDER BY node_id",
            )
            .during(READING)?;
        let mut rows = select.query([]).during(READING)?;
        let mut found = vec![];
        while let Some(row) = rows.next().during(READING)? {
            let unsigned = |index| row.get::<_, i64>(index).map(|value| value as u64);
            let hash: Option<Vec<u8>> = row.get(3).during(READING)?;
            let read = || -> rusqlite::Result<NodeRow> {
                Ok(NodeRow {
                    node: NodeId([0; 16]),
                    host: row.get(1)?,
                    head_seq: unsigned(2)?,
                    head_hash: None,
                    ack_gen: unsigned(4)?,
                    open_session: row.get(5)?,
                    written_ns: row.get(6)?,
                    fenced: row.get(7)?,
                    forgotten: row.get(8)?,
                    checkpoint_seq: unsigned(9)?,
                    checkpoint_ns: row.get(10)?,
                    checkpoint_bytes: unsigned(11)?,
                    tail_bytes: unsigned(12)?,
                })
            };
            let node = node_from(row.get(0).during(READING)?)?;
            let head_hash = hash
                .map(|hash| hash.try_into().map_err(|hash| Error::bad_value("hash", hash)))
                .transpose()?;
            found.push(NodeRow { node, head_hash, ..read().during(READING)? });
        }
        Ok(found)
    }

    pub fn node(&self, node: NodeId) -> Result<Option<NodeRow>> {
        Ok(self.nodes()?.into_iter().find(|row| row.node == node))
    }

    /// The roots that a node's log names; of all nodes without one.
    pub fn roots(&self, node: Option<NodeId>) -> Result<Vec<RootRef>> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT r.id, n.node_id, r.path FROM root r JOIN node n ON n.id = r.node
                 WHERE ?1 IS NULL OR n.node_id = ?1 ORDER BY n.node_id, r.path",
            )
            .during(READING)?;
        let mut rows = select.query([node.map(|node| node.0)]).during(READING)?;
        let mut found = vec![];
        while let Some(row) = rows.next().during(READING)? {
            let id = row.get(0).during(READING)?;
            let node = node_from(row.get(1).during(READING)?)?;
            found.push(RootRef { id, node, path: row.get(2).during(READING)? });
        }
        Ok(found)
    }

    /// How many regular files the logs have at their ends, all nodes together.
    pub fn current_files(&self) -> Result<u64> {
        let count: i64 = self
            .conn
            .query_row(
                "SELECT count(*) FROM version WHERE to_seq IS NULL AND kind = 'f'",
                [],
                |row| row.get(0),
            )
            .during(READING)?;
        Ok(count as u64)
    }

    /// The last segment of the log that was written at or before `at_ns`; `None`
    /// where the log is younger.
    pub fn seq_at(&self, node: NodeId, at_ns: i64) -> Result<Option<u64>> {
        let seq: Option<i64> = self
            .conn
            .query_row(
                "SELECT max(s.seq) FROM segment s JOIN node n ON n.id = s.node
                 WHERE n.node_id = ?1 AND s.written_ns <= ?2",
                (node.as_bytes(), at_ns),
                |row| row.get(0),
            )
            .during(READING)?;
        Ok(seq.map(|seq| seq as u64))
    }

    /// When the segment was written.
    pub fn segment_ns(&self, node: NodeId, seq: u64) -> Result<Option<i64>> {
        self.conn
            .query_row(
                "SELECT s.written_ns FROM segment s JOIN node n ON n.id = s.node
                 WHERE n.node_id = ?1 AND s.seq = ?2",
                (node.as_bytes(), seq as i64),
                |row| row.get(0),
            )
            .optional()
            .during(READING)
    }

    /// A checkpoint of the whole log, as far as it has been entered, is in the store.
    pub fn note_checkpoint(
        &mut self,
        node: NodeId,
        upto: u64,
        written_ns: i64,
        bytes: u64,
    ) -> Result<()> {
        let operation = "noting a checkpoint";
        self.write(operation, |tx| {
            let id = id_of(tx, node)?;
            tx.execute(
                "UPDATE node SET checkpoint_seq = ?2, checkpoint_ns = ?3, checkpoint_bytes = ?4,
                 tail_bytes = 0 WHERE id = ?1",
                (id, upto as i64, written_ns, bytes as i64),
            )
            .during(operation)?;
            Ok(())
        })
    }
}

pub(super) fn node_from(bytes: Vec<u8>) -> Result<NodeId> {
    NodeId::from_slice(&bytes).ok_or_else(|| Error::bad_value("node id", &bytes))
}

/// The row of a node, if there is one.
pub(super) fn known_id(tx: &Connection, node: NodeId) -> Result<Option<i64>> {
    tx.query_row("SELECT id FROM node WHERE node_id = ?1", [node.as_bytes()], |row| row.get(0))
        .optional()
        .during(READING)
}

/// The row of a node; made where there is none.
pub(super) fn id_of(tx: &Connection, node: NodeId) -> Result<i64> {
    let operation = "entering a node";
    if let Some(id) = known_id(tx, node)? {
        return Ok(id);
    }
    tx.execute("INSERT INTO node (node_id) VALUES (?1)", [node.as_bytes()]).during(operation)?;
    Ok(tx.last_insert_rowid())
}

pub(super) fn head_seq(tx: &Connection, node: i64) -> Result<u64> {
    let seq: i64 = tx
        .query_row("SELECT head_seq FROM node WHERE id = ?1", [node], |row| row.get(0))
        .during("reading the end of a log")?;
    Ok(seq as u64)
}
