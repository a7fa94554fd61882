//! Entering what a log says, one segment in one transaction.

use super::error::{During, Error, Result};
use super::nodes;
use super::open::CatalogDb;
use crate::ids::{ContentId, NodeId, PackId};
use crate::manifest::{
    CheckpointHeader, Collected, Content, FileRecord, PackRecord, Record, SegmentHeader,
};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;

const APPLYING: &str = "entering a segment";

/// What a segment brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    pub files: u64,
    pub packs: u64,
}

impl CatalogDb {
    /// Enters the next segment of a node's log. The caller has checked the chain;
    /// `object_bytes` is the segment's size in the store.
    ///
    /// [`Error::NotNext`], and no change, unless it follows what is there.
    pub fn apply_segment(
        &mut self,
        header: &SegmentHeader,
        hash: [u8; 32],
        object_bytes: u64,
        records: Vec<Record>,
    ) -> Result<Applied> {
        self.write(APPLYING, |tx| {
            let node = nodes::id_of(tx, header.node)?;
            let head = nodes::head_seq(tx, node)?;
            if header.seq != head + 1 {
                return Err(Error::NotNext { node: header.node, head, seq: header.seq });
            }
            let mut entry = Entry::new(tx, node);
            entry.at(header.seq, header.written_ns)?;
            for record in records {
                entry.record(record)?;
            }
            tx.execute(
                "UPDATE node SET head_seq = ?2, head_hash = ?3, written_ns = ?4,
                 ack_gen = max(ack_gen, ?5), tail_bytes = tail_bytes + ?6 WHERE id = ?1",
                (
                    node,
                    header.seq as i64,
                    hash,
                    header.written_ns,
                    header.ack_gen as i64,
                    object_bytes as i64,
                ),
            )
            .during(APPLYING)?;
            Ok(entry.applied)
        })
    }

    /// Enters a whole checkpoint in place of the segments up to and with its own.
    /// `parts` yields the records of each part in order, with the bytes of its
    /// object; the first failure among them leaves nothing of it here. Nothing of
    /// the node may be there yet.
    pub fn apply_checkpoint<E: From<Error>>(
        &mut self,
        header: &CheckpointHeader,
        parts: impl Iterator<Item = std::result::Result<(Vec<Record>, u64), E>>,
    ) -> std::result::Result<Applied, E> {
        self.write("entering a checkpoint", |tx| {
            let node = nodes::id_of(tx, header.node)?;
            let head = nodes::head_seq(tx, node)?;
            if head != 0 {
                let seq = header.upto;
                return Err(Error::NotNext { node: header.node, head, seq }.into());
            }
            let mut entry = Entry::new(tx, node);
            let mut object_bytes = 0;
            for part in parts {
                let (records, bytes) = part?;
                object_bytes += bytes;
                for record in records {
                    entry.record(record)?;
                }
            }
            tx.execute(
                "UPDATE node SET head_seq = ?2, head_hash = ?3, written_ns =
                 coalesce((SELECT written_ns FROM segment WHERE node = ?1 AND seq = ?2), ?4),
                 ack_gen = max(ack_gen, ?5), checkpoint_seq = ?2, checkpoint_ns = ?4,
                 checkpoint_bytes = ?6, tail_bytes = 0 WHERE id = ?1",
                (
                    node,
                    header.upto as i64,
                    header.upto_hash,
                    header.written_ns,
                    header.ack_gen as i64,
                    object_bytes as i64,
                ),
            )
            .during(APPLYING)?;
            Ok(entry.applied)
        })
    }

    /// The packs that a collection deleted are no more, whatever a log says.
    pub fn apply_collected(&mut self, collected: &Collected) -> Result<()> {
        self.write("entering a collection", |tx| {
            let operation = "entering a collection";
            tx.execute(
                "INSERT INTO collected (generation, written_ns) VALUES (?1, ?2)
                 ON CONFLICT DO NOTHING",
                (collected.generation as i64, collected.written_ns),
            )
            .during(operation)?;
            for pack in &collected.deleted {
                forget_pack(tx, *pack)?;
                tx.execute(
                    "INSERT INTO deleted_pack (pack_id) VALUES (?1) ON CONFLICT DO NOTHING",
                    [pack.as_bytes()],
                )
                .during(operation)?;
            }
            Ok(())
        })
    }

    /// The last collection that was entered; 0 before the first.
    pub fn last_collected(&self) -> Result<u64> {
        let last: Option<i64> = self
            .conn
            .query_row("SELECT max(generation) FROM collected", [], |row| row.get(0))
            .during("reading collections")?;
        Ok(last.unwrap_or(0) as u64)
    }
}

fn forget_pack(tx: &Connection, pack: PackId) -> Result<()> {
    let operation = "forgetting a pack";
    let row: Option<i64> = tx
        .prepare_cached("SELECT id FROM pack WHERE pack_id = ?1")
        .and_then(|mut select| select.query_row([pack.as_bytes()], |row| row.get(0)).optional())
        .during(operation)?;
    let Some(row) = row else { return Ok(()) };
    for sql in [
        "DELETE FROM chunk WHERE pack = ?1",
        "DELETE FROM pack_also WHERE pack = ?1",
        "DELETE FROM pack WHERE id = ?1",
    ] {
        tx.execute(sql, [row]).during(operation)?;
    }
    Ok(())
}

/// One run of records, with what neighbours share.
struct Entry<'t> {
    tx: &'t Connection,
    node: i64,
    seq: u64,
    now_ns: i64,
    roots: HashMap<Vec<u8>, i64>,
    applied: Applied,
}

impl<'t> Entry<'t> {
    fn new(tx: &'t Connection, node: i64) -> Self {
        Self { tx, node, seq: 0, now_ns: 0, roots: HashMap::new(), applied: Applied::default() }
    }

    fn at(&mut self, seq: u64, written_ns: i64) -> Result<()> {
        (self.seq, self.now_ns) = (seq, written_ns);
        self.run(
            "INSERT INTO segment (node, seq, written_ns) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
            (self.node, seq as i64, written_ns),
        )
        .map(drop)
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize> {
        self.tx
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .during(APPLYING)
    }

    fn record(&mut self, record: Record) -> Result<()> {
        let node = self.node;
        match record {
            Record::At { seq, written_ns } => self.at(seq, written_ns)?,
            Record::Open { session, host } => {
                self.run(
                    "UPDATE node SET open_session = ?2, open_seq = ?4, host = coalesce(?3, host)
                     WHERE id = ?1",
                    (node, session, host, self.seq as i64),
                )?;
            }
            Record::Close { session } => {
                self.run(
                    "UPDATE node SET open_session = NULL WHERE id = ?1 AND open_session = ?2",
                    (node, session),
                )?;
            }
            Record::Fence { forget, .. } => {
                self.run(
                    "UPDATE node SET fenced = 1, open_session = NULL,
                     forgotten = max(forgotten, ?2) WHERE id = ?1",
                    (node, forget),
                )?;
            }
            Record::Pack(pack) => self.pack(&pack)?,
            Record::File(file) => self.file(&file)?,
            Record::Gone { root, path, when_ns, .. } => {
                let place = self.place(root.as_bytes(), path.as_bytes())?;
                self.end_place(place, true, self.now_ns.max(when_ns))?;
            }
            Record::Expired { root, path, from_seq } => {
                let place = self.place(root.as_bytes(), path.as_bytes())?;
                self.run(
                    "UPDATE version SET expired = 1 WHERE place = ?1 AND from_seq = ?2
                     AND to_seq IS NOT NULL",
                    (place, from_seq as i64),
                )?;
            }
            Record::Snapshot { name, seq, at_ns } => {
                self.run(
                    "INSERT INTO snapshot (node, name, seq, at_ns) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO NOTHING",
                    (node, name, seq as i64, at_ns),
                )?;
            }
            Record::Sealed { name, until_ns } => {
                self.run(
                    "UPDATE snapshot SET sealed_until_ns = max(coalesce(sealed_until_ns, ?3), ?3)
                     WHERE node = ?1 AND name = ?2",
                    (node, name, until_ns),
                )?;
            }
            Record::Unsnapshot { name } => {
                self.run("DELETE FROM snapshot WHERE node = ?1 AND name = ?2", (node, name))?;
            }
        }
        Ok(())
    }

    fn pack(&mut self, pack: &PackRecord) -> Result<()> {
        let added = self.run(
            "INSERT INTO pack (pack_id, node, seq, kind, class, size_bytes, proof, proven_ns)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
             WHERE NOT EXISTS (SELECT 1 FROM deleted_pack WHERE pack_id = ?1)
             ON CONFLICT DO NOTHING",
            (
                pack.id.as_bytes(),
                self.node,
                self.seq as i64,
                &pack.kind,
                &pack.class,
                pack.bytes as i64,
                pack.proof.map(|proof| proof.method.as_str()),
                pack.proof.map(|proof| proof.at_ns),
            ),
        )?;
        // Named before, by this log or another, or deleted since.
        if added == 0 {
            return self.pack_again(pack.id);
        }
        let row = self.tx.last_insert_rowid();
        let mut slots: Vec<_> = pack.chunks.iter().collect();
        slots.sort_unstable_by_key(|slot| slot.id);
        let mut insert = self
            .tx
            .prepare_cached(
                "INSERT OR REPLACE INTO chunk (id, pack, offset, stored_len, plain_len, codec)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .during(APPLYING)?;
        for slot in slots {
            insert
                .execute((
                    slot.id.as_bytes(),
                    row,
                    slot.offset as i64,
                    slot.stored_len,
                    slot.plain_len,
                    slot.codec as u8,
                ))
                .during(APPLYING)?;
        }
        self.applied.packs += 1;
        Ok(())
    }

    /// This log names a pack that another named before: it is not lost with that.
    fn pack_again(&self, pack: PackId) -> Result<()> {
        self.run(
            "INSERT INTO pack_also (node, seq, pack)
             SELECT ?1, ?2, id FROM pack WHERE pack_id = ?3 AND node <> ?1
             ON CONFLICT DO NOTHING",
            (self.node, self.seq as i64, pack.as_bytes()),
        )
        .map(drop)
    }

    fn file(&mut self, file: &FileRecord) -> Result<()> {
        let place = self.place(file.root.as_bytes(), file.path_bytes())?;
        let content = match (file.content, file.content_list()) {
            (Some(id), Some(list)) => Some(self.content(id, &list)?),
            _ => None,
        };
        self.end_place(place, false, self.now_ns)?;
        let xattrs = super::versions::encode_xattrs(&file.xattrs);
        self.tx
            .prepare_cached(
                "INSERT OR REPLACE INTO version (place, from_seq, from_ns, kind, mode, uid, gid,
                 mtime_ns, ctime_ns, ino, generation, nlink, size_bytes, xattrs, target, link,
                 rdev, content, chunking)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                 ?17, ?18, ?19)",
            )
            .and_then(|mut insert| {
                insert.execute(rusqlite::params![
                    place,
                    self.seq as i64,
                    self.now_ns,
                    file.kind.to_string(),
                    file.mode,
                    file.uid,
                    file.gid,
                    file.mtime_ns,
                    file.ctime_ns,
                    file.ino as i64,
                    file.generation,
                    file.nlink,
                    file.size_bytes as i64,
                    xattrs,
                    file.target.as_ref().map(|target| target.as_bytes()),
                    file.link.map(|link| link as i64),
                    file.rdev.map(|rdev| rdev as i64),
                    content,
                    file.chunking,
                ])
            })
            .during(APPLYING)?;
        self.applied.files += 1;
        Ok(())
    }

    /// What is at the path ends with this segment.
    fn end_place(&self, place: i64, gone: bool, when_ns: i64) -> Result<()> {
        self.run(
            "UPDATE version SET to_seq = ?2, to_ns = max(from_ns, ?3), gone = ?4
             WHERE place = ?1 AND to_seq IS NULL",
            (place, self.seq as i64, when_ns, gone),
        )
        .map(drop)
    }

    fn place(&mut self, root: &[u8], path: &[u8]) -> Result<i64> {
        let root = self.root(root)?;
        self.id_or_new(
            "SELECT id FROM place WHERE root = ?1 AND path = ?2",
            "INSERT INTO place (root, path) VALUES (?1, ?2)",
            (root, path),
        )
    }

    fn root(&mut self, path: &[u8]) -> Result<i64> {
        if let Some(id) = self.roots.get(path) {
            return Ok(*id);
        }
        let id = self.id_or_new(
            "SELECT id FROM root WHERE node = ?1 AND path = ?2",
            "INSERT INTO root (node, path) VALUES (?1, ?2)",
            (self.node, path),
        )?;
        self.roots.insert(path.to_vec(), id);
        Ok(id)
    }

    fn content(&self, id: ContentId, list: &Content) -> Result<i64> {
        let found: Option<i64> = self
            .tx
            .prepare_cached("SELECT id FROM content WHERE content_id = ?1")
            .and_then(|mut select| select.query_row([id.as_bytes()], |row| row.get(0)).optional())
            .during(APPLYING)?;
        if let Some(row) = found {
            return Ok(row);
        }
        self.run(
            "INSERT INTO content (content_id, size_bytes, pieces) VALUES (?1, ?2, ?3)",
            (id.as_bytes(), list.size_bytes as i64, list.encode()),
        )?;
        Ok(self.tx.last_insert_rowid())
    }

    fn id_or_new(
        &self,
        select: &str,
        insert: &str,
        params: impl rusqlite::Params + Copy,
    ) -> Result<i64> {
        let found: Option<i64> = self
            .tx
            .prepare_cached(select)
            .and_then(|mut select| select.query_row(params, |row| row.get(0)).optional())
            .during(APPLYING)?;
        match found {
            Some(id) => Ok(id),
            None => self.run(insert, params).map(|_| self.tx.last_insert_rowid()),
        }
    }
}

impl CatalogDb {
    /// Forgets a node's log, to read it anew. Contents stay known, and packs that
    /// another log names too.
    pub fn forget_node(&mut self, node: NodeId) -> Result<()> {
        let operation = "forgetting a log";
        self.write(operation, |tx| {
            let id = nodes::id_of(tx, node)?;
            for sql in [
                "DELETE FROM version WHERE place IN (SELECT p.id FROM place p JOIN root r
                 ON r.id = p.root WHERE r.node = ?1)",
                "DELETE FROM place WHERE root IN (SELECT id FROM root WHERE node = ?1)",
                "DELETE FROM root WHERE node = ?1",
                "DELETE FROM segment WHERE node = ?1",
                "DELETE FROM snapshot WHERE node = ?1",
                "DELETE FROM pack_also WHERE node = ?1",
                "UPDATE pack SET (node, seq) = (SELECT a.node, a.seq FROM pack_also a
                 WHERE a.pack = pack.id ORDER BY a.node LIMIT 1)
                 WHERE node = ?1 AND id IN (SELECT pack FROM pack_also)",
                "DELETE FROM pack_also WHERE EXISTS (SELECT 1 FROM pack k
                 WHERE k.id = pack_also.pack AND k.node = pack_also.node)",
                "DELETE FROM chunk WHERE pack IN (SELECT id FROM pack WHERE node = ?1)",
                "DELETE FROM pack WHERE node = ?1",
                "DELETE FROM node WHERE id = ?1",
            ] {
                let params = if sql.contains("?1") { &[id][..] } else { &[] };
                tx.execute(sql, rusqlite::params_from_iter(params)).during(operation)?;
            }
            Ok(())
        })
    }
}
