//! Packs that some log names, and where each chunk lies.

use super::error::{During, Error, Result};
use super::nodes::node_from;
use super::open::CatalogDb;
use crate::chunk::{ChunkSlot, Codec};
use crate::ids::{ChunkId, NodeId, PackId};
use crate::manifest::PackProof;
use rusqlite::{Params, Row};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// A pack as its writer's log describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogPack {
    /// In this local copy, in the order in which packs were entered.
    pub number: i64,
    pub id: PackId,
    /// Whose log named it first.
    pub node: NodeId,
    pub kind: String,
    pub class: Option<String>,
    pub size_bytes: u64,
    pub proof: Option<PackProof>,
}

const READING: &str = "reading packs";
pub(super) const PACK_COLUMNS: &str =
    "k.id, k.pack_id, n.node_id, k.kind, k.class, k.size_bytes, k.proof, k.proven_ns";
const SLOT_COLUMNS: &str = "c.id, c.offset, c.stored_len, c.plain_len, c.codec";

impl CatalogDb {
    /// Where a chunk is: in the newest pack that has it, but in none of `except`.
    pub fn chunk(
        &self,
        id: &ChunkId,
        except: &dyn Fn(PackId) -> bool,
    ) -> Result<Option<(PackId, ChunkSlot)>> {
        let sql = format!(
            "SELECT {SLOT_COLUMNS}, k.pack_id FROM chunk c JOIN pack k ON k.id = c.pack
             WHERE c.id = ?1 ORDER BY k.pack_id DESC"
        );
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query([id.as_bytes()]).during(READING)?;
        while let Some(row) = rows.next().during(READING)? {
            let pack = pack_id(row.get(5).during(READING)?)?;
            if !except(pack) {
                return Ok(Some((pack, read_slot(row)?)));
            }
        }
        Ok(None)
    }

    pub fn pack(&self, id: PackId) -> Result<Option<CatalogPack>> {
        let mut found = None;
        let visit = &mut |pack| {
            found = Some(pack);
            ControlFlow::Break(())
        };
        self.packs("WHERE k.pack_id = ?1", [id.as_bytes()], visit)?;
        Ok(found)
    }

    /// Visits every pack, oldest name first.
    pub fn for_each_pack(
        &self,
        visit: &mut dyn FnMut(CatalogPack) -> ControlFlow<()>,
    ) -> Result<()> {
        self.packs("ORDER BY k.pack_id", [], visit)
    }

    /// Visits the packs that logs of other nodes than `node` named first and that
    /// were entered after the pack with the number `after`.
    pub fn packs_of_others(
        &self,
        node: NodeId,
        after: i64,
        visit: &mut dyn FnMut(CatalogPack) -> ControlFlow<()>,
    ) -> Result<()> {
        let rest = "WHERE n.node_id <> ?1 AND k.id > ?2 ORDER BY k.id";
        self.packs(rest, (node.as_bytes(), after), visit)
    }

    /// Visits every pack, and for those that the log of `node` names the segment that
    /// does.
    pub fn packs_for(
        &self,
        node: NodeId,
        visit: &mut dyn FnMut(CatalogPack, Option<u64>) -> ControlFlow<()>,
    ) -> Result<()> {
        let sql = format!(
            "SELECT {PACK_COLUMNS}, CASE WHEN n.node_id = ?1 THEN k.seq ELSE
             (SELECT a.seq FROM pack_also a JOIN node o ON o.id = a.node
             WHERE a.pack = k.id AND o.node_id = ?1 ORDER BY a.seq LIMIT 1) END AS own_seq
             FROM pack k JOIN node n ON n.id = k.node ORDER BY k.id"
        );
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query([node.as_bytes()]).during(READING)?;
        while let Some(row) = rows.next().during(READING)? {
            let seq: Option<i64> = row.get("own_seq").during(READING)?;
            if visit(read_pack(row)?, seq.map(|seq| seq as u64)).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Visits each chunk whose plain length is one of these, more than once where it
    /// lies in several packs. Reads all chunks.
    pub fn chunks_of_lengths(
        &self,
        lengths: &HashSet<u32>,
        visit: &mut dyn FnMut(ChunkId, u32),
    ) -> Result<()> {
        let mut select =
            self.conn.prepare_cached("SELECT id, plain_len FROM chunk").during(READING)?;
        let mut rows = select.query([]).during(READING)?;
        while let Some(row) = rows.next().during(READING)? {
            let len: u32 = row.get(1).during(READING)?;
            if lengths.contains(&len) {
                let id: Vec<u8> = row.get(0).during(READING)?;
                let chunk = ChunkId::from_slice(&id);
                visit(chunk.ok_or_else(|| Error::bad_value("chunk id", &id))?, len);
            }
        }
        Ok(())
    }

    /// The chunks of a pack in the order they lie in it.
    pub fn pack_slots(&self, id: PackId) -> Result<Vec<ChunkSlot>> {
        let sql = format!(
            "SELECT {SLOT_COLUMNS} FROM pack k JOIN chunk c ON c.pack = k.id
             WHERE k.pack_id = ?1 ORDER BY c.offset"
        );
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query([id.as_bytes()]).during(READING)?;
        let mut slots = vec![];
        while let Some(row) = rows.next().during(READING)? {
            slots.push(read_slot(row)?);
        }
        Ok(slots)
    }

    fn packs(
        &self,
        rest: &str,
        params: impl Params,
        visit: &mut dyn FnMut(CatalogPack) -> ControlFlow<()>,
    ) -> Result<()> {
        let sql = format!("SELECT {PACK_COLUMNS} FROM pack k JOIN node n ON n.id = k.node {rest}");
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query(params).during(READING)?;
        while let Some(row) = rows.next().during(READING)? {
            if visit(read_pack(row)?).is_break() {
                break;
            }
        }
        Ok(())
    }
}

pub(super) fn pack_id(bytes: Vec<u8>) -> Result<PackId> {
    PackId::from_slice(&bytes).ok_or_else(|| Error::bad_value("pack id", &bytes))
}

pub(super) fn read_pack(row: &Row<'_>) -> Result<CatalogPack> {
    let method: Option<String> = row.get(6).during(READING)?;
    let at_ns: Option<i64> = row.get(7).during(READING)?;
    let proof = match (method, at_ns) {
        (Some(method), Some(at_ns)) => {
            let method = method.parse().map_err(|_| Error::bad_value("proof", &method))?;
            Some(PackProof { method, at_ns })
        }
        _ => None,
    };
    Ok(CatalogPack {
        number: row.get(0).during(READING)?,
        id: pack_id(row.get(1).during(READING)?)?,
        node: node_from(row.get(2).during(READING)?)?,
        kind: row.get(3).during(READING)?,
        class: row.get(4).during(READING)?,
        size_bytes: row.get::<_, i64>(5).during(READING)? as u64,
        proof,
    })
}

pub(super) fn read_slot(row: &Row<'_>) -> Result<ChunkSlot> {
    let id: Vec<u8> = row.get(0).during(READING)?;
    Ok(ChunkSlot {
        id: ChunkId::from_slice(&id).ok_or_else(|| Error::bad_value("chunk id", &id))?,
        offset: row.get::<_, i64>(1).during(READING)? as u64,
        stored_len: row.get(2).during(READING)?,
        plain_len: row.get(3).during(READING)?,
        codec: match row.get::<_, u8>(4).during(READING)? {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            other => return Err(Error::bad_value("codec", other)),
        },
    })
}
