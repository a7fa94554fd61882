//! What in the store is needed, and which pack has it: the marking of a garbage
//! collection.
//!
//! First facts are noted that the logs do not tell (what the store has, what this
//! node itself needs, which copies are bad), in temporary tables of this connection.
//! Then one transaction sees the logs as of one moment, however much other processes
//! enter beside it: who is at work ([`Marking::nodes`]), which versions end
//! ([`Marking::end`]), and what all others need ([`Marking::mark`]).
//!
//! Needed is every chunk of a version that is not expired, of a node that is not
//! forgotten, or that a snapshot has; and what was noted as needed. Of the packs that
//! have a chunk one *holds* it: of those that the store really has the one with the
//! largest part in use, so that a rewritten pack takes over from the one before. Any
//! choice is safe; this one leaves the least behind.

use super::error::{During, Error, Result};
use super::nodes::{NodeRow, RootRef, node_from};
use super::open::CatalogDb;
use super::packs::{pack_id, read_slot};
use super::snapshots::SnapshotRow;
use crate::chunk::ChunkSlot;
use crate::ids::{ChunkId, ContentId, NodeId, PackId};
use crate::manifest::Content;
use rusqlite::{Connection, Row, Transaction};
use std::ops::ControlFlow;

/// Noted facts; they stay until [`CatalogDb::forget_marks`].
const NOTED: &str = "
CREATE TEMP TABLE IF NOT EXISTS mark_seen (
    pack_id BLOB PRIMARY KEY, size_bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS mark_needed (content_id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS mark_also (chunk BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS mark_condemned (pack_id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS mark_bad (
    pack_id BLOB NOT NULL, chunk BLOB NOT NULL, PRIMARY KEY (pack_id, chunk)
) WITHOUT ROWID;
DELETE FROM temp.mark_seen;
DELETE FROM temp.mark_needed;
DELETE FROM temp.mark_also;
DELETE FROM temp.mark_condemned;
DELETE FROM temp.mark_bad;
";

/// What follows from them; rolled back with the moment it is of. Rows of packs and
/// places are named by number here, and a number can be given anew later.
const DERIVED: &str = "
CREATE TEMP TABLE IF NOT EXISTS mark_ending (
    place INTEGER NOT NULL, from_seq INTEGER NOT NULL, PRIMARY KEY (place, from_seq)
) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS mark_live (chunk BLOB PRIMARY KEY, pack INTEGER) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS mark_pack (
    pack INTEGER PRIMARY KEY, has INTEGER NOT NULL, holds INTEGER NOT NULL, score TEXT,
    live_bytes INTEGER NOT NULL DEFAULT 0, live_chunks INTEGER NOT NULL DEFAULT 0,
    held_bytes INTEGER NOT NULL DEFAULT 0, held_chunks INTEGER NOT NULL DEFAULT 0
);
CREATE TEMP TABLE IF NOT EXISTS mark_spoilt (
    pack INTEGER NOT NULL, chunk BLOB NOT NULL, PRIMARY KEY (pack, chunk)
) WITHOUT ROWID;
DELETE FROM temp.mark_ending;
DELETE FROM temp.mark_live;
DELETE FROM temp.mark_pack;
DELETE FROM temp.mark_spoilt;
";

const NOTING: &str = "noting what a collection must know";
const MARKING: &str = "marking what is needed";

impl CatalogDb {
    /// Nothing is noted any more.
    pub fn forget_marks(&mut self) -> Result<()> {
        self.conn.execute_batch(NOTED).during(NOTING)
    }

    /// Notes facts, after [`Self::forget_marks`].
    pub fn note<T, E: From<Error>>(
        &mut self,
        body: impl FnOnce(&Notes<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let tx = self.conn.unchecked_transaction().during(NOTING)?;
        let noted = body(&Notes { conn: &tx })?;
        tx.commit().during(NOTING)?;
        Ok(noted)
    }

    /// Visits the objects seen that a collection has given up.
    pub fn given_up(&self, visit: &mut dyn FnMut(LoosePack) -> ControlFlow<()>) -> Result<()> {
        let rest = "EXISTS (SELECT 1 FROM deleted_pack d WHERE d.pack_id = s.pack_id)";
        loose(&self.conn, rest, visit)
    }

    /// Whether a collection has given the pack up.
    pub fn is_given_up(&self, pack: PackId) -> Result<bool> {
        let sql = "SELECT 1 FROM deleted_pack WHERE pack_id = ?1";
        let mut select = self.conn.prepare_cached(sql).during(MARKING)?;
        select.exists([pack.as_bytes()]).during(MARKING)
    }

    /// Sees the logs as they have been entered now, until the value is dropped.
    pub fn marking(&mut self) -> Result<Marking<'_>> {
        let moment = self.conn.unchecked_transaction().during(MARKING)?;
        moment.execute_batch(DERIVED).during(MARKING)?;
        // The first look at the logs themselves is what fixes the moment.
        self.nodes()?;
        Ok(Marking { db: self, _moment: moment })
    }
}

/// Where facts are noted.
pub struct Notes<'t> {
    conn: &'t Connection,
}

impl Notes<'_> {
    /// The store has this object, last written then by its own clock.
    pub fn seen(&self, pack: PackId, size_bytes: u64, modified_ns: i64) -> Result<()> {
        self.run(
            "INSERT OR REPLACE INTO temp.mark_seen VALUES (?1, ?2, ?3)",
            (pack.as_bytes(), size_bytes as i64, modified_ns),
        )
    }

    /// Somebody needs the content whatever the logs say. False where no log has it:
    /// then its chunks are to be noted ([`Self::needs_chunk`]).
    pub fn needs(&self, content: ContentId) -> Result<bool> {
        self.run("INSERT OR IGNORE INTO temp.mark_needed VALUES (?1)", [content.as_bytes()])?;
        self.conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM content WHERE content_id = ?1)")
            .and_then(|mut select| select.query_row([content.as_bytes()], |row| row.get(0)))
            .during(NOTING)
    }

    pub fn needs_chunk(&self, chunk: ChunkId) -> Result<()> {
        self.run("INSERT OR IGNORE INTO temp.mark_also VALUES (?1)", [chunk.as_bytes()])
    }

    /// The pack, or one chunk in it, is known to be bad: it holds nothing.
    pub fn bad(&self, pack: PackId, chunk: Option<ChunkId>) -> Result<()> {
        let chunk = chunk.map_or(vec![], |chunk| chunk.as_bytes().to_vec());
        self.run("INSERT OR IGNORE INTO temp.mark_bad VALUES (?1, ?2)", (pack.as_bytes(), chunk))
    }

    /// The pack holds nothing if any other has it.
    pub fn condemned(&self, pack: PackId) -> Result<()> {
        self.run("INSERT OR IGNORE INTO temp.mark_condemned VALUES (?1)", [pack.as_bytes()])
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<()> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .during(NOTING)
            .map(drop)
    }
}

/// The logs as of one moment.
pub struct Marking<'db> {
    pub(super) db: &'db CatalogDb,
    _moment: Transaction<'db>,
}

impl<'db> Marking<'db> {
    pub fn nodes(&self) -> Result<Vec<NodeRow>> {
        self.db.nodes()
    }

    pub fn roots(&self, node: NodeId) -> Result<Vec<RootRef>> {
        self.db.roots(Some(node))
    }

    pub fn snapshots(&self, node: NodeId) -> Result<Vec<SnapshotRow>> {
        self.db.snapshots(Some(node))
    }

    /// This version counts as expired, although no log says so yet.
    pub fn end(&self, place: i64, from_seq: u64) -> Result<()> {
        self.db
            .conn
            .prepare_cached("INSERT OR IGNORE INTO temp.mark_ending VALUES (?1, ?2)")
            .and_then(|mut insert| insert.execute((place, from_seq as i64)))
            .during(MARKING)
            .map(drop)
    }

    /// Finds out what is needed and which pack holds it.
    pub fn mark(self) -> Result<Marked<'db>> {
        self.needed_chunks()?;
        self.weigh_packs()?;
        self.choose_holders()?;
        Ok(Marked { marking: self })
    }

    fn needed_chunks(&self) -> Result<()> {
        let conn = &self.db.conn;
        let mut select = conn
            .prepare(
                "SELECT c.pieces FROM content c WHERE EXISTS
                 (SELECT 1 FROM temp.mark_needed m WHERE m.content_id = c.content_id)
                 OR EXISTS (SELECT 1 FROM version v JOIN place p ON p.id = v.place
                 JOIN root r ON r.id = p.root JOIN node n ON n.id = r.node
                 WHERE v.content = c.id AND n.forgotten = 0
                 AND (v.expired = 0 AND NOT EXISTS (SELECT 1 FROM temp.mark_ending e
                 WHERE e.place = v.place AND e.from_seq = v.from_seq)
                 OR EXISTS (SELECT 1 FROM snapshot s WHERE s.node = n.id
                 AND s.seq >= v.from_seq AND (v.to_seq IS NULL OR s.seq < v.to_seq))))",
            )
            .during(MARKING)?;
        let mut insert = conn
            .prepare("INSERT OR IGNORE INTO temp.mark_live (chunk) VALUES (?1)")
            .during(MARKING)?;
        let mut rows = select.query([]).during(MARKING)?;
        while let Some(row) = rows.next().during(MARKING)? {
            let pieces: Vec<u8> = row.get(0).during(MARKING)?;
            for chunk in Content::decode(&pieces)?.chunk_ids() {
                insert.execute([chunk.as_bytes()]).during(MARKING)?;
            }
        }
        self.run("INSERT OR IGNORE INTO temp.mark_live (chunk) SELECT chunk FROM temp.mark_also")
    }

    fn weigh_packs(&self) -> Result<()> {
        self.run(
            "INSERT INTO temp.mark_spoilt SELECT k.id, b.chunk FROM temp.mark_bad b
             JOIN pack k ON k.pack_id = b.pack_id WHERE length(b.chunk) > 0",
        )?;
        self.run(
            "INSERT INTO temp.mark_pack (pack, has, holds) SELECT k.id,
             EXISTS (SELECT 1 FROM temp.mark_seen s WHERE s.pack_id = k.pack_id
             AND s.size_bytes = k.size_bytes) AND NOT EXISTS
             (SELECT 1 FROM temp.mark_bad b WHERE b.pack_id = k.pack_id AND length(b.chunk) = 0),
             0 FROM pack k",
        )?;
        self.run(
            "UPDATE temp.mark_pack SET holds = has AND NOT EXISTS
             (SELECT 1 FROM temp.mark_condemned d JOIN pack k ON k.pack_id = d.pack_id
             WHERE k.id = mark_pack.pack)",
        )?;
        self.run(
            "UPDATE temp.mark_pack SET live_bytes = t.bytes, live_chunks = t.chunks
             FROM (SELECT c.pack AS pack, sum(c.stored_len) AS bytes, count(*) AS chunks
             FROM temp.mark_live l CROSS JOIN chunk c ON c.id = l.chunk GROUP BY c.pack) t
             WHERE t.pack = mark_pack.pack",
        )?;
        // The part in use, in billionths; then the newest name.
        self.run(
            "UPDATE temp.mark_pack SET score = (SELECT printf('%010d',
             live_bytes * 1000000000 / max(k.size_bytes, 1)) || hex(k.pack_id)
             FROM pack k WHERE k.id = mark_pack.pack)",
        )
    }

    fn choose_holders(&self) -> Result<()> {
        self.run(
            "UPDATE temp.mark_live SET pack = (SELECT c.pack FROM chunk c
             JOIN temp.mark_pack m ON m.pack = c.pack AND m.holds = 1
             WHERE c.id = mark_live.chunk AND NOT EXISTS (SELECT 1 FROM temp.mark_spoilt b
             WHERE b.pack = c.pack AND b.chunk = c.id) ORDER BY m.score DESC LIMIT 1)",
        )?;
        self.run(
            "UPDATE temp.mark_pack SET held_bytes = t.bytes, held_chunks = t.chunks
             FROM (SELECT c.pack AS pack, sum(c.stored_len) AS bytes, count(*) AS chunks
             FROM temp.mark_live l CROSS JOIN chunk c ON c.id = l.chunk AND c.pack = l.pack
             GROUP BY c.pack) t WHERE t.pack = mark_pack.pack",
        )
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.db.conn.execute(sql, []).during(MARKING).map(drop)
    }
}

/// A pack that some log names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedPack {
    pub id: PackId,
    /// Whose log named it first, and whether another node has ended that log.
    pub node: NodeId,
    pub node_fenced: bool,
    pub class: Option<String>,
    /// As the log has it.
    pub size_bytes: u64,
    /// As the store has it; `None` where it has no such object.
    pub stored_bytes: Option<u64>,
    /// Chunks in it that are needed, whichever pack holds them.
    pub live_chunks: u64,
    /// Those that it holds, and their bytes.
    pub held_chunks: u64,
    pub held_bytes: u64,
    /// Named by a run that has not ended.
    pub in_session: bool,
}

/// An object of the store that no log names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoosePack {
    pub id: PackId,
    pub size_bytes: u64,
    pub modified_ns: i64,
}

/// What is needed as of one moment of the logs.
pub struct Marked<'db> {
    marking: Marking<'db>,
}

impl Marked<'_> {
    fn conn(&self) -> &Connection {
        &self.marking.db.conn
    }

    /// Visits every pack that some log names, by name.
    pub fn packs(&self, visit: &mut dyn FnMut(MarkedPack) -> ControlFlow<()>) -> Result<()> {
        let sql = "SELECT k.pack_id, n.node_id, n.fenced, k.class, k.size_bytes, s.size_bytes,
             m.live_chunks, m.held_chunks, m.held_bytes,
             n.open_session IS NOT NULL AND k.seq >= n.open_seq
             FROM pack k JOIN node n ON n.id = k.node JOIN temp.mark_pack m ON m.pack = k.id
             LEFT JOIN temp.mark_seen s ON s.pack_id = k.pack_id ORDER BY k.pack_id";
        rows(self.conn(), sql, [], &mut |row| Ok(visit(read_marked(row)?)))
    }

    /// Visits the chunks that are needed and that no pack holds, each with the
    /// condemned packs that have it, the best first.
    pub fn unheld(
        &self,
        visit: &mut dyn FnMut(ChunkId, Vec<PackId>) -> ControlFlow<()>,
    ) -> Result<()> {
        let sql = "SELECT chunk FROM temp.mark_live WHERE pack IS NULL ORDER BY chunk";
        rows(self.conn(), sql, [], &mut |row| {
            let chunk: Vec<u8> = row.get(0).during(MARKING)?;
            let chunk =
                ChunkId::from_slice(&chunk).ok_or_else(|| Error::bad_value("chunk", &chunk))?;
            let mut packs = vec![];
            let sql = "SELECT k.pack_id FROM chunk c JOIN temp.mark_pack m ON m.pack = c.pack
                 JOIN pack k ON k.id = c.pack WHERE c.id = ?1 AND m.has = 1
                 AND NOT EXISTS (SELECT 1 FROM temp.mark_spoilt b
                 WHERE b.pack = c.pack AND b.chunk = c.id) ORDER BY m.score DESC";
            rows(self.conn(), sql, [chunk.as_bytes()], &mut |row| {
                packs.push(pack_id(row.get(0).during(MARKING)?)?);
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(visit(chunk, packs))
        })
    }

    /// What the pack holds, in the order in which it lies there.
    pub fn held(&self, pack: PackId) -> Result<Vec<ChunkSlot>> {
        let sql = "SELECT c.id, c.offset, c.stored_len, c.plain_len, c.codec FROM pack k
             JOIN chunk c ON c.pack = k.id JOIN temp.mark_live l ON l.chunk = c.id
             AND l.pack = c.pack WHERE k.pack_id = ?1 ORDER BY c.offset";
        let mut slots = vec![];
        rows(self.conn(), sql, [pack.as_bytes()], &mut |row| {
            slots.push(read_slot(row)?);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(slots)
    }

    /// What is needed of the pack and held by others: where it lies there.
    pub fn doubles(&self, pack: PackId) -> Result<Vec<(PackId, ChunkSlot)>> {
        let sql = "SELECT c.id, c.offset, c.stored_len, c.plain_len, c.codec, h.pack_id
             FROM pack k JOIN chunk d ON d.pack = k.id JOIN temp.mark_live l ON l.chunk = d.id
             AND l.pack <> k.id JOIN chunk c ON c.id = l.chunk AND c.pack = l.pack
             JOIN pack h ON h.id = l.pack WHERE k.pack_id = ?1 ORDER BY h.pack_id, c.offset";
        let mut found = vec![];
        rows(self.conn(), sql, [pack.as_bytes()], &mut |row| {
            found.push((pack_id(row.get(5).during(MARKING)?)?, read_slot(row)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Visits the objects that no log names and no collection has deleted.
    pub fn unnamed(&self, visit: &mut dyn FnMut(LoosePack) -> ControlFlow<()>) -> Result<()> {
        let rest = "NOT EXISTS (SELECT 1 FROM pack k WHERE k.pack_id = s.pack_id)
             AND NOT EXISTS (SELECT 1 FROM deleted_pack d WHERE d.pack_id = s.pack_id)";
        loose(self.conn(), rest, visit)
    }
}

/// Those of the objects seen that `rest` says of `temp.mark_seen s`.
fn loose(
    conn: &Connection,
    rest: &str,
    visit: &mut dyn FnMut(LoosePack) -> ControlFlow<()>,
) -> Result<()> {
    let sql = format!(
        "SELECT s.pack_id, s.size_bytes, s.modified_ns FROM temp.mark_seen s WHERE {rest}
         ORDER BY s.pack_id"
    );
    rows(conn, &sql, [], &mut |row| {
        Ok(visit(LoosePack {
            id: pack_id(row.get(0).during(MARKING)?)?,
            size_bytes: row.get::<_, i64>(1).during(MARKING)? as u64,
            modified_ns: row.get(2).during(MARKING)?,
        }))
    })
}

fn rows(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    each: &mut dyn FnMut(&Row<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut select = conn.prepare_cached(sql).during(MARKING)?;
    let mut rows = select.query(params).during(MARKING)?;
    while let Some(row) = rows.next().during(MARKING)? {
        if each(row)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn read_marked(row: &Row<'_>) -> Result<MarkedPack> {
    let unsigned = |index| row.get::<_, i64>(index).map(|value| value as u64).during(MARKING);
    Ok(MarkedPack {
        id: pack_id(row.get(0).during(MARKING)?)?,
        node: node_from(row.get(1).during(MARKING)?)?,
        node_fenced: row.get(2).during(MARKING)?,
        class: row.get(3).during(MARKING)?,
        size_bytes: unsigned(4)?,
        stored_bytes: row.get::<_, Option<i64>>(5).during(MARKING)?.map(|bytes| bytes as u64),
        live_chunks: unsigned(6)?,
        held_chunks: unsigned(7)?,
        held_bytes: unsigned(8)?,
        in_session: row.get(9).during(MARKING)?,
    })
}
