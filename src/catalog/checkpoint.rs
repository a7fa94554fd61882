//! What a checkpoint of one node's log holds: its records in order, without those
//! that are of no use any more.
//!
//! Left out are records that a later one of the same segment undid, packs that a
//! collection deleted, ends of runs, and the oldest versions of a path once they are
//! expired. An expired version that follows one which is kept stays, with its mark:
//! without it the kept one would seem to have lasted longer. So a replay answers
//! every question as the whole log does, but for versions that are expired.
//!
//! `at` stands before the records of each segment, and every segment has one, so that
//! a time finds its segment. The log of a node that was retired has no new checkpoint:
//! only its owner writes one.

use super::error::{During, Error, Result};
use super::nodes::{self, NodeRow};
use super::open::CatalogDb;
use super::packs::{PACK_COLUMNS, read_pack};
use super::versions::{COLUMNS, Raw};
use crate::ids::NodeId;
use crate::manifest::{Name, PackRecord, Record};
use rusqlite::{Params, Row, Transaction};
use std::ops::ControlFlow;

const READING: &str = "reading the records of a checkpoint";

/// A version counts in a checkpoint unless it and all before it at its path are
/// expired.
const KEPT: &str = "(v.expired = 0 OR EXISTS (SELECT 1 FROM version u WHERE u.place = v.place
     AND u.from_seq < v.from_seq AND u.expired = 0))";

/// A node's log as one moment saw it; another process may enter more meanwhile.
pub struct Checkpoint<'db> {
    db: &'db CatalogDb,
    /// Holds that moment.
    _read: Transaction<'db>,
    id: i64,
    row: NodeRow,
}

impl CatalogDb {
    /// `None` where no segment of the node is known.
    pub fn checkpoint(&self, node: NodeId) -> Result<Option<Checkpoint<'_>>> {
        let read = self.conn.unchecked_transaction().during(READING)?;
        let Some(row) = self.node(node)?.filter(|row| row.head_seq > 0) else { return Ok(None) };
        let id = nodes::known_id(&read, node)?;
        Ok(id.map(|id| Checkpoint { db: self, _read: read, id, row }))
    }
}

impl Checkpoint<'_> {
    /// How far the log has been entered: the checkpoint's own place.
    pub fn node(&self) -> &NodeRow {
        &self.row
    }

    /// Visits the records in order; the same ones each time.
    pub fn for_each(&self, visit: &mut dyn FnMut(Record) -> ControlFlow<()>) -> Result<()> {
        let mut each = |record| match visit(record) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Ended::Asked),
        };
        match self.records(&mut each) {
            Ok(()) | Err(Ended::Asked) => Ok(()),
            Err(Ended::Failed(error)) => Err(error),
        }
    }

    fn records(&self, visit: &mut Visit<'_>) -> std::result::Result<(), Ended> {
        let sql = "SELECT seq, written_ns FROM segment WHERE node = ?1 AND seq <= ?2 ORDER BY seq";
        self.rows(sql, (self.id, self.row.head_seq as i64), &mut |row| {
            let seq: i64 = row.get(0).during(READING)?;
            visit(Record::At { seq: seq as u64, written_ns: row.get(1).during(READING)? })?;
            self.segment(seq, visit)
        })?;
        self.snapshots(visit)?;
        self.run(visit)
    }

    /// What the log says in one segment. The order matters for one path only.
    fn segment(&self, seq: i64, visit: &mut Visit<'_>) -> std::result::Result<(), Ended> {
        self.packs(seq, visit)?;
        let ended = "v.to_seq = ?1 AND v.gone = 1";
        self.versions(seq, &format!("{ended} AND v.from_seq < ?1"), "version_ended", visit, gone)?;
        self.versions(seq, "v.from_seq = ?1", "version_begun", visit, |raw, root| {
            Ok(Record::File(Box::new(raw.version(&root)?.record)))
        })?;
        self.versions(seq, &format!("{ended} AND v.from_seq = ?1"), "version_ended", visit, gone)?;
        let expired = "v.to_seq = ?1 AND v.expired = 1";
        self.versions(seq, expired, "version_ended", visit, |raw, root| {
            let version = raw.version(&root)?;
            Ok(Record::Expired { root, path: version.record.path, from_seq: version.from_seq })
        })
    }

    fn packs(&self, seq: i64, visit: &mut Visit<'_>) -> std::result::Result<(), Ended> {
        let sql = format!(
            "SELECT {PACK_COLUMNS} FROM pack k JOIN node n ON n.id = k.node
             WHERE k.node = ?1 AND k.seq = ?2
             UNION ALL SELECT {PACK_COLUMNS} FROM pack_also a JOIN pack k ON k.id = a.pack
             JOIN node n ON n.id = k.node WHERE a.node = ?1 AND a.seq = ?2 ORDER BY 2"
        );
        self.rows(&sql, (self.id, seq), &mut |row| {
            let pack = read_pack(row)?;
            let chunks = self.db.pack_slots(pack.id)?;
            visit(Record::Pack(Box::new(PackRecord {
                id: pack.id,
                kind: pack.kind,
                class: pack.class,
                bytes: pack.size_bytes,
                proof: pack.proof,
                chunks,
            })))
        })
    }

    fn versions(
        &self,
        seq: i64,
        which: &str,
        index: &str,
        visit: &mut Visit<'_>,
        record: impl Fn(Raw, Name) -> Result<Record>,
    ) -> std::result::Result<(), Ended> {
        let sql = format!(
            "SELECT {COLUMNS}, r.path AS root_path FROM version v INDEXED BY {index}
             CROSS JOIN place p ON p.id = v.place CROSS JOIN root r ON r.id = p.root
             LEFT JOIN content c ON c.id = v.content
             WHERE {which} AND r.node = ?2 AND {KEPT} ORDER BY r.path, p.path"
        );
        self.rows(&sql, (seq, self.id), &mut |row| {
            let root: Vec<u8> = row.get("root_path").during(READING)?;
            let raw = Raw::read(row).during(READING)?;
            visit(record(raw, Name::from_bytes(&root))?)
        })
    }

    fn snapshots(&self, visit: &mut Visit<'_>) -> std::result::Result<(), Ended> {
        for row in self.db.snapshots(Some(self.row.node)).map_err(Ended::Failed)? {
            let name = row.name.clone();
            visit(Record::Snapshot { name: row.name, seq: row.seq, at_ns: row.at_ns })?;
            if let Some(until_ns) = row.sealed_until_ns {
                visit(Record::Sealed { name, until_ns })?;
            }
        }
        Ok(())
    }

    /// A run that has not ended, and the name of the host; a run that has ended
    /// stands for it where there is none.
    fn run(&self, visit: &mut Visit<'_>) -> std::result::Result<(), Ended> {
        let (host, open) = (self.row.host.clone(), self.row.open_session.clone());
        if host.is_none() && open.is_none() {
            return Ok(());
        }
        let session = open.clone().unwrap_or_else(|| "checkpoint".to_owned());
        visit(Record::Open { session: session.clone(), host })?;
        if open.is_none() { visit(Record::Close { session }) } else { Ok(()) }
    }

    fn rows(
        &self,
        sql: &str,
        params: impl Params,
        each: &mut dyn FnMut(&Row<'_>) -> std::result::Result<(), Ended>,
    ) -> std::result::Result<(), Ended> {
        let mut select = self.db.conn.prepare_cached(sql).during(READING)?;
        let mut rows = select.query(params).during(READING)?;
        while let Some(row) = rows.next().during(READING)? {
            each(row)?;
        }
        Ok(())
    }
}

type Visit<'a> = dyn FnMut(Record) -> std::result::Result<(), Ended> + 'a;

/// Why the visit ended early.
enum Ended {
    Asked,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn gone(raw: Raw, root: Name) -> Result<Record> {
    let version = raw.version(&root)?;
    let when_ns = version.to_ns.unwrap_or(version.from_ns);
    let (path, content) = (version.record.path, version.record.content);
    Ok(Record::Gone { root, path, content, when_ns })
}
