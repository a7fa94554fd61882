//! Packs and the chunks in them.
//!
//! A pack is `sending` from before its first byte leaves until its proof is
//! recorded; only then do its chunks count, so a run that dies half-way leaves a
//! name to be looked up in the store and nothing that anyone relies on. A lost
//! or damaged pack keeps its rows, because files still name its chunks, but
//! loses its proof and offers nothing any more.

use super::error::{During, Error, Result};
use super::open::StateDb;
use super::rows::{Columns, signed};
use crate::chunk::{ChunkSlot, Codec};
use crate::classes;
use crate::ids::{ChunkId, NodeId, PackId};
use crate::manifest::{PackEvidence, ProofMethod, SecondEvidence};
use rusqlite::{Connection, OptionalExtension, Params};
use std::ops::ControlFlow;

/// Where a pack is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PackStatus {
    /// Intent only: it may be in the store or not.
    Sending,
    /// In the store, proven.
    Durable,
    /// The store says that it does not exist.
    Lost,
    /// In the store with other bytes than were sent.
    Damaged,
}

/// One pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRow {
    pub id: PackId,
    /// `small` or `large`: what it was packed for.
    pub kind: String,
    /// The store's storage class, where one was asked for.
    pub class: Option<String>,
    /// 0 while sending.
    pub size_bytes: u64,
    pub status: PackStatus,
    pub evidence: Option<PackEvidence>,
    /// Last proven or seen in the store.
    pub seen_ns: Option<i64>,
    /// When its bytes were last read back and compared.
    pub verified_ns: Option<i64>,
    /// The catalog segment that has it.
    pub segment_seq: Option<u64>,
    pub made_ns: i64,
    /// The node that sent it, if another.
    pub node: Option<NodeId>,
}

/// A chunk's place in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkPlace {
    pub pack: PackId,
    pub slot: ChunkSlot,
    pub evidence: Option<PackEvidence>,
    /// When the pack was last proven or seen in the store.
    pub seen_ns: i64,
    /// The same of the second store.
    pub second: Option<SecondEvidence>,
    pub second_seen_ns: i64,
    /// Whether a catalog segment has the pack.
    pub catalogued: bool,
    /// The pack's storage class, where one was asked for.
    pub class: Option<String>,
}

impl ChunkPlace {
    /// It was put where it must be thawed before it can be read.
    pub fn is_archived(&self) -> bool {
        self.class.as_deref().is_some_and(classes::is_archive)
    }
}

const PACK_COLUMNS: &str = "p.pack_id, p.kind, p.class, p.size_bytes, p.status, p.proof,
     p.proven_ns, p.seen_ns, p.verified_ns, p.segment_seq, p.made_ns, p.node_id";

pub(super) const SLOT_COLUMNS: &str = "c.id, c.offset, c.stored_len, c.plain_len, c.codec";

/// The archive classes as SQL.
fn archives() -> String {
    let archives = classes::CLASSES.iter().filter(|class| class.is_archive);
    archives.map(|class| format!("'{}'", class.name)).collect::<Vec<_>>().join(", ")
}

const RECORDING: &str = "recording a pack";
const READING: &str = "reading packs";

impl StateDb {
    /// The place of each chunk, in the order asked; `None` where no durable
    /// pack has it. One in an archive only where there is no other; packs with a
    /// second copy are preferred.
    pub fn find_chunks(&self, chunks: &[ChunkId]) -> Result<Vec<Option<ChunkPlace>>> {
        self.places(chunks, "")
    }

    /// As [`Self::find_chunks`], in packs on which something new may rely: none that
    /// a garbage collection has condemned.
    pub fn find_lasting_chunks(&self, chunks: &[ChunkId]) -> Result<Vec<Option<ChunkPlace>>> {
        let lasting = "AND NOT EXISTS (SELECT 1 FROM condemned d WHERE d.pack_id = p.pack_id)";
        self.places(chunks, lasting)
    }

    fn places(&self, chunks: &[ChunkId], and: &str) -> Result<Vec<Option<ChunkPlace>>> {
        let operation = "looking up chunks";
        let archives = archives();
        let sql = format!(
            "SELECT {PACK_COLUMNS}, {SLOT_COLUMNS}, s.proof, s.proven_ns, s.seen_ns
             FROM chunk c JOIN pack p ON p.id = c.pack LEFT JOIN second_copy s ON s.pack = p.id
             WHERE c.id = ?1 AND p.status = 'durable' {and}
             ORDER BY coalesce(p.class IN ({archives}), 0), p.proof IS NULL, s.pack IS NULL,
             p.seen_ns DESC, p.id LIMIT 1"
        );
        let mut select = self.conn.prepare_cached(&sql).during(operation)?;
        let mut places = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let mut rows = select.query([chunk.as_bytes()]).during(operation)?;
            let Some(row) = rows.next().during(operation)? else {
                places.push(None);
                continue;
            };
            let mut columns = Columns::new(row, 0, operation);
            let pack = PackRow::read(&mut columns)?;
            places.push(Some(ChunkPlace {
                pack: pack.id,
                slot: read_slot(&mut columns)?,
                evidence: pack.evidence,
                seen_ns: pack.seen_ns.unwrap_or(0),
                second: read_proof(pack.id, &mut columns)?.map(SecondEvidence::of_second),
                second_seen_ns: columns.get::<Option<i64>>()?.unwrap_or(0),
                catalogued: pack.segment_seq.is_some() || pack.node.is_some(),
                class: pack.class,
            }));
        }
        Ok(places)
    }

    /// A pack is about to be sent under this name.
    pub fn intend_pack(
        &mut self,
        id: PackId,
        kind: &str,
        class: Option<&str>,
        now_ns: i64,
    ) -> Result<()> {
        self.write(RECORDING, |tx| {
            tx.execute(
                "INSERT INTO pack (pack_id, kind, class, status, made_ns)
                 VALUES (?1, ?2, ?3, 'sending', ?4)",
                (id.as_bytes(), kind, class, now_ns),
            )
            .during(RECORDING)?;
            Ok(())
        })
    }

    /// An intended pack is in the store and proven: its chunks count from now.
    pub fn record_pack(
        &mut self,
        id: PackId,
        size_bytes: u64,
        slots: &[ChunkSlot],
        evidence: &PackEvidence,
    ) -> Result<()> {
        self.write(RECORDING, |tx| {
            let row = prove(tx, id, evidence)?;
            tx.execute("UPDATE pack SET size_bytes = ?2 WHERE id = ?1", (row, signed(size_bytes)))
                .during(RECORDING)?;
            add_slots(tx, row, slots)
        })
    }

    /// A pack was proven anew, whatever was thought of it: it is durable.
    pub fn prove_pack(&mut self, id: PackId, evidence: &PackEvidence) -> Result<()> {
        self.write(RECORDING, |tx| prove(tx, id, evidence).map(|_| ()))
    }

    /// These chunks of the pack are not what their ids say: nothing is offered
    /// from there any more; the pack's other chunks stay.
    pub fn forget_chunks(&mut self, id: PackId, chunks: &[ChunkId]) -> Result<()> {
        let operation = "recording damaged chunks";
        self.write(operation, |tx| {
            let mut forget = tx
                .prepare_cached(
                    "DELETE FROM chunk WHERE id = ?2
                     AND pack = (SELECT id FROM pack WHERE pack_id = ?1)",
                )
                .during(operation)?;
            for chunk in chunks {
                forget.execute((id.as_bytes(), chunk.as_bytes())).during(operation)?;
            }
            Ok(())
        })
    }

    /// Removes a pack and its chunks from the DB; nothing in the store changes.
    pub fn forget_pack(&mut self, id: PackId) -> Result<()> {
        self.write("forgetting a pack", |tx| {
            tx.execute("DELETE FROM pack WHERE pack_id = ?1", [id.as_bytes()])
                .during("forgetting a pack")?;
            Ok(())
        })
    }

    /// Says what became of a pack. A lost or damaged one loses its proof; one
    /// that is `Durable` again needs [`StateDb::prove_pack`] to get one.
    pub fn mark_pack(&mut self, id: PackId, status: PackStatus, now_ns: i64) -> Result<()> {
        self.write(RECORDING, |tx| {
            let seen = (status == PackStatus::Durable).then_some(now_ns);
            let keeps = matches!(status, PackStatus::Durable | PackStatus::Sending);
            tx.execute(
                "UPDATE pack SET status = ?2, seen_ns = coalesce(?3, seen_ns),
                 proof = iif(?4, proof, NULL), proven_ns = iif(?4, proven_ns, NULL)
                 WHERE pack_id = ?1",
                (id.as_bytes(), status.as_str(), seen, keeps),
            )
            .during(RECORDING)?;
            Ok(())
        })
    }

    /// The store has the pack in this class, whatever it was put in.
    pub fn note_pack_class(&mut self, id: PackId, class: Option<&str>) -> Result<()> {
        self.write(RECORDING, |tx| {
            tx.execute(
                "UPDATE pack SET class = ?2 WHERE pack_id = ?1 AND class IS NOT ?2",
                (id.as_bytes(), class),
            )
            .during(RECORDING)?;
            Ok(())
        })
    }

    /// The pack's bytes were read back and are right.
    pub fn set_pack_verified(&mut self, id: PackId, now_ns: i64) -> Result<()> {
        self.write(RECORDING, |tx| {
            tx.execute(
                "UPDATE pack SET verified_ns = ?2, seen_ns = ?2 WHERE pack_id = ?1",
                (id.as_bytes(), now_ns),
            )
            .during(RECORDING)?;
            Ok(())
        })
    }

    /// The store listed these packs with their right sizes.
    pub fn set_packs_seen(&mut self, ids: &[PackId], now_ns: i64) -> Result<()> {
        self.write(RECORDING, |tx| {
            let mut update = tx
                .prepare_cached("UPDATE pack SET seen_ns = ?2 WHERE pack_id = ?1")
                .during(RECORDING)?;
            for id in ids {
                update.execute((id.as_bytes(), now_ns)).during(RECORDING)?;
            }
            Ok(())
        })
    }

    pub fn pack(&self, id: PackId) -> Result<Option<PackRow>> {
        Ok(self.packs("WHERE p.pack_id = ?1", [id.as_bytes()])?.pop())
    }

    /// Packs that were being sent when a run ended.
    pub fn intended_packs(&self) -> Result<Vec<PackId>> {
        let found = self.packs("WHERE p.status = 'sending' ORDER BY p.id", [])?;
        Ok(found.into_iter().map(|pack| pack.id).collect())
    }

    /// Durable packs that no catalog segment has yet, oldest first.
    pub fn uncatalogued_packs(&self) -> Result<Vec<PackRow>> {
        let rest = "WHERE p.segment_seq IS NULL AND p.status = 'durable' AND p.node_id IS NULL
             AND NOT EXISTS (SELECT 1 FROM condemned d WHERE d.pack_id = p.pack_id)
             ORDER BY p.id";
        self.packs(rest, [])
    }

    /// Durable packs, those first whose bytes were verified longest ago.
    pub fn packs_by_age(&self, limit: usize) -> Result<Vec<PackRow>> {
        let rest = "WHERE p.status = 'durable'
             ORDER BY coalesce(p.verified_ns, p.proven_ns, p.made_ns), p.id LIMIT ?1";
        self.packs(rest, [limit as i64])
    }

    /// Visits every pack in the order they were made.
    pub fn for_each_pack(&self, visit: &mut dyn FnMut(PackRow) -> ControlFlow<()>) -> Result<()> {
        let sql = format!("SELECT {PACK_COLUMNS} FROM pack p ORDER BY p.id");
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query([]).during(READING)?;
        while let Some(row) = rows.next().during(READING)? {
            let pack = PackRow::read(&mut Columns::new(row, 0, READING))?;
            if visit(pack).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The chunks of one pack in the order they lie in it.
    pub fn pack_slots(&self, id: PackId) -> Result<Vec<ChunkSlot>> {
        let sql = format!(
            "SELECT {SLOT_COLUMNS} FROM pack p JOIN chunk c ON c.pack = p.id
             WHERE p.pack_id = ?1 ORDER BY c.offset"
        );
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query([id.as_bytes()]).during(READING)?;
        let mut slots = Vec::new();
        while let Some(row) = rows.next().during(READING)? {
            slots.push(read_slot(&mut Columns::new(row, 0, READING))?);
        }
        Ok(slots)
    }

    fn packs(&self, rest: &str, params: impl Params) -> Result<Vec<PackRow>> {
        let sql = format!("SELECT {PACK_COLUMNS} FROM pack p {rest}");
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query(params).during(READING)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(READING)? {
            found.push(PackRow::read(&mut Columns::new(row, 0, READING))?);
        }
        Ok(found)
    }
}

impl PackStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Durable => "durable",
            Self::Lost => "lost",
            Self::Damaged => "damaged",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Sending, Self::Durable, Self::Lost, Self::Damaged]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Error::bad_value("pack status", text))
    }
}

impl PackRow {
    fn read(columns: &mut Columns<'_, '_>) -> Result<Self> {
        let id = columns.bytes()?;
        let id = PackId::from_slice(id).ok_or_else(|| Error::bad_value("pack id", id))?;
        Ok(Self {
            id,
            kind: columns.get()?,
            class: columns.get()?,
            size_bytes: columns.unsigned()?,
            status: PackStatus::parse(&columns.get::<String>()?)?,
            evidence: read_proof(id, columns)?,
            seen_ns: columns.get()?,
            verified_ns: columns.get()?,
            segment_seq: columns.get::<Option<i64>>()?.map(|seq| seq as u64),
            made_ns: columns.get()?,
            node: {
                let bytes: Option<Vec<u8>> = columns.get()?;
                let node = |bytes: Vec<u8>| {
                    NodeId::from_slice(&bytes).ok_or_else(|| Error::bad_value("node", &bytes))
                };
                bytes.map(node).transpose()?
            },
        })
    }
}

/// The chunks of the pack with this row.
pub(super) fn add_slots(tx: &Connection, row: i64, slots: &[ChunkSlot]) -> Result<()> {
    let mut insert = tx
        .prepare_cached(
            "INSERT OR REPLACE INTO chunk (id, pack, offset, stored_len, plain_len, codec)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .during(RECORDING)?;
    // In the order of the ids: neighbours in the tree.
    let mut sorted: Vec<&ChunkSlot> = slots.iter().collect();
    sorted.sort_unstable_by_key(|slot| slot.id);
    for slot in sorted {
        insert
            .execute((
                slot.id.as_bytes(),
                row,
                signed(slot.offset),
                slot.stored_len,
                slot.plain_len,
                slot.codec as u8,
            ))
            .during(RECORDING)?;
    }
    Ok(())
}

/// Records a proof and returns the pack's row.
fn prove(tx: &Connection, id: PackId, evidence: &PackEvidence) -> Result<i64> {
    let proof = evidence.method().as_str();
    tx.query_row(
        "UPDATE pack SET status = 'durable', proof = ?2, proven_ns = ?3, seen_ns = ?3
         WHERE pack_id = ?1 RETURNING id",
        (id.as_bytes(), proof, evidence.proven_ns()),
        |row| row.get(0),
    )
    .optional()
    .during(RECORDING)?
    .ok_or(Error::UnknownPack { pack: id })
}

/// The columns `proof` and `proven_ns` of a pack.
fn read_proof(id: PackId, columns: &mut Columns<'_, '_>) -> Result<Option<PackEvidence>> {
    let (proof, proven_ns): (Option<String>, Option<i64>) = (columns.get()?, columns.get()?);
    Ok(match (proof, proven_ns) {
        (Some(proof), Some(proven_ns)) => {
            Some(PackEvidence::recorded(id, proof_from(&proof)?, proven_ns))
        }
        _ => None,
    })
}

fn proof_from(text: &str) -> Result<ProofMethod> {
    text.parse().map_err(|_| Error::bad_value("proof", text))
}

pub(super) fn read_slot(columns: &mut Columns<'_, '_>) -> Result<ChunkSlot> {
    let id = columns.bytes()?;
    Ok(ChunkSlot {
        id: ChunkId::from_slice(id).ok_or_else(|| Error::bad_value("chunk id", id))?,
        offset: columns.unsigned()?,
        stored_len: columns.u32()?,
        plain_len: columns.u32()?,
        codec: match columns.u32()? {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            other => return Err(Error::bad_value("codec", other)),
        },
    })
}
