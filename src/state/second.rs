//! What the second store has, and which contents it is to have.
//!
//! A row of `second_copy` is a proof of the second store, as a pack's own columns are
//! of the first; without it nothing that wants two copies is freed. `wanted_twice`
//! only says what to look at: a content is `held` once all its packs were found to
//! have their second copy, and no content is held any more as soon as one such copy is
//! gone (the schema's triggers see to that).

use super::error::{During, Error, Result};
use super::open::StateDb;
use super::packs::{SLOT_COLUMNS, read_slot};
use super::rows::Columns;
use crate::chunk::ChunkSlot;
use crate::ids::{ChunkId, ContentId, PackId};
use crate::manifest::SecondEvidence;
use crate::units::Copies;
use rusqlite::OptionalExtension;

/// Files that wait for their second copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub files: u64,
    pub bytes: u64,
}

/// A pack that the second store is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondRow {
    pub pack: PackId,
    pub size_bytes: u64,
}

const RECORDING: &str = "recording a second copy";
const READING: &str = "reading second copies";

impl StateDb {
    /// The second store has the pack, proven.
    pub fn record_second(&mut self, evidence: &SecondEvidence) -> Result<()> {
        let proof = evidence.evidence();
        self.write(RECORDING, |tx| {
            let done = tx
                .execute(
                    "INSERT OR REPLACE INTO second_copy (pack, proof, proven_ns, seen_ns)
                     SELECT id, ?2, ?3, ?3 FROM pack WHERE pack_id = ?1",
                    (proof.pack().as_bytes(), proof.method().as_str(), proof.proven_ns()),
                )
                .during(RECORDING)?;
            if done == 1 { Ok(()) } else { Err(Error::UnknownPack { pack: proof.pack() }) }
        })
    }

    /// The second store said that it has the pack in its right size.
    pub fn set_second_seen(&mut self, pack: PackId, now_ns: i64) -> Result<()> {
        self.write(RECORDING, |tx| {
            tx.execute(
                "UPDATE second_copy SET seen_ns = ?2
                 WHERE pack = (SELECT id FROM pack WHERE pack_id = ?1)",
                (pack.as_bytes(), now_ns),
            )
            .during(RECORDING)?;
            Ok(())
        })
    }

    /// The second copy of the pack is gone or damaged.
    pub fn forget_second(&mut self, pack: PackId) -> Result<()> {
        self.write(RECORDING, |tx| {
            tx.execute(
                "DELETE FROM second_copy WHERE pack = (SELECT id FROM pack WHERE pack_id = ?1)",
                [pack.as_bytes()],
            )
            .during(RECORDING)?;
            Ok(())
        })
    }

    /// Another second store than before: nothing is proven in it.
    pub fn forget_all_seconds(&mut self) -> Result<()> {
        self.write(RECORDING, |tx| {
            tx.execute("DELETE FROM second_copy", []).during(RECORDING)?;
            tx.execute("UPDATE wanted_twice SET held = 0", []).during(RECORDING)?;
            Ok(())
        })
    }

    pub fn has_second(&self, pack: PackId) -> Result<bool> {
        let sql = "SELECT 1 FROM second_copy s JOIN pack p ON p.id = s.pack WHERE p.pack_id = ?1";
        let mut select = self.conn.prepare_cached(sql).during(READING)?;
        select.exists([pack.as_bytes()]).during(READING)
    }

    /// Every pack that the second store is known to have.
    pub fn seconds(&self) -> Result<Vec<SecondRow>> {
        let sql = "SELECT p.pack_id, p.size_bytes FROM second_copy s JOIN pack p ON p.id = s.pack
             ORDER BY p.id";
        let mut select = self.conn.prepare_cached(sql).during(READING)?;
        let mut rows = select.query([]).during(READING)?;
        let mut found = vec![];
        while let Some(row) = rows.next().during(READING)? {
            let mut columns = Columns::new(row, 0, READING);
            let id = columns.bytes()?;
            let pack = PackId::from_slice(id).ok_or_else(|| Error::bad_value("pack id", id))?;
            found.push(SecondRow { pack, size_bytes: columns.unsigned()? });
        }
        Ok(found)
    }

    /// Where the second store has a chunk, whatever became of the first copy.
    pub fn find_second_chunk(&self, chunk: &ChunkId) -> Result<Option<(PackId, ChunkSlot)>> {
        let sql = format!(
            "SELECT p.pack_id, {SLOT_COLUMNS} FROM chunk c JOIN pack p ON p.id = c.pack
             JOIN second_copy s ON s.pack = p.id WHERE c.id = ?1
             ORDER BY p.status <> 'durable', s.seen_ns DESC LIMIT 1"
        );
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query([chunk.as_bytes()]).during(READING)?;
        let Some(row) = rows.next().during(READING)? else { return Ok(None) };
        let mut columns = Columns::new(row, 0, READING);
        let id = columns.bytes()?;
        let pack = PackId::from_slice(id).ok_or_else(|| Error::bad_value("pack id", id))?;
        Ok(Some((pack, read_slot(&mut columns)?)))
    }

    /// From now on these contents are to be in both stores.
    pub fn want_twice(&mut self, contents: &[ContentId]) -> Result<()> {
        if contents.is_empty() {
            return Ok(());
        }
        self.write(RECORDING, |tx| {
            let mut insert = tx
                .prepare_cached(
                    "INSERT OR IGNORE INTO wanted_twice (content)
                     SELECT id FROM content WHERE id = ?1",
                )
                .during(RECORDING)?;
            for content in contents {
                insert.execute([content.as_bytes()]).during(RECORDING)?;
            }
            Ok(())
        })
    }

    /// No rule wants a second copy of anything any more; what is there stays.
    pub fn want_none_twice(&mut self) -> Result<()> {
        let any = self
            .conn
            .prepare_cached("SELECT 1 FROM wanted_twice LIMIT 1")
            .and_then(|mut select| select.exists([]))
            .during(READING)?;
        if !any {
            return Ok(());
        }
        self.write(RECORDING, |tx| {
            tx.execute("DELETE FROM wanted_twice", []).during(RECORDING)?;
            Ok(())
        })
    }

    /// In how many stores a content is to be.
    pub fn copies_wanted(&self, content: ContentId) -> Result<Copies> {
        let sql = "SELECT 1 FROM wanted_twice WHERE content = ?1";
        let mut select = self.conn.prepare_cached(sql).during(READING)?;
        let twice = select.exists([content.as_bytes()]).during(READING)?;
        Ok(if twice { Copies::Two } else { Copies::One })
    }

    /// Up to `limit` contents behind `after` of which not every second copy is known.
    pub fn waiting_contents(
        &self,
        after: Option<ContentId>,
        limit: usize,
    ) -> Result<Vec<ContentId>> {
        let sql = "SELECT content FROM wanted_twice WHERE held = 0 AND content > ?1
             ORDER BY content LIMIT ?2";
        let mut select = self.conn.prepare_cached(sql).during(READING)?;
        let after = after.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
        let mut rows = select.query((after, limit as i64)).during(READING)?;
        let mut found = vec![];
        while let Some(row) = rows.next().during(READING)? {
            let content = Columns::new(row, 0, READING).content()?;
            found.extend(content);
        }
        Ok(found)
    }

    /// Whether every second copy of these contents is known.
    pub fn set_held(&mut self, contents: &[ContentId], held: bool) -> Result<()> {
        if contents.is_empty() {
            return Ok(());
        }
        self.write(RECORDING, |tx| {
            let mut update = tx
                .prepare_cached("UPDATE wanted_twice SET held = ?2 WHERE content = ?1")
                .during(RECORDING)?;
            for content in contents {
                update.execute((content.as_bytes(), held)).during(RECORDING)?;
            }
            Ok(())
        })
    }

    /// Forgets what no file has as its content any more.
    pub fn drop_unwanted(&mut self) -> Result<()> {
        self.write(RECORDING, |tx| {
            tx.execute(
                "DELETE FROM wanted_twice WHERE held = 0
                 AND content NOT IN (SELECT content FROM file WHERE content IS NOT NULL)",
                [],
            )
            .during(RECORDING)?;
            Ok(())
        })
    }

    /// Files whose content waits for its second copy.
    pub fn waiting_for_second(&self) -> Result<Waiting> {
        self.conn
            .query_row(
                "SELECT count(*), coalesce(sum(f.size_bytes), 0) FROM file f
                 WHERE f.content IN (SELECT content FROM wanted_twice WHERE held = 0)",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()
            .during(READING)
            .map(|found| found.unwrap_or_default())
            .map(|(files, bytes)| Waiting {
                files: files.unsigned_abs(),
                bytes: bytes.unsigned_abs(),
            })
    }
}
