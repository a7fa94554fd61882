//! Packs that other nodes sent to the same store, as their logs describe them.

use super::collections::Heard;
use super::error::{During, Result};
use super::open::StateDb;
use super::packs;
use crate::chunk::ChunkSlot;
use crate::ids::{NodeId, PackId};
use crate::manifest::PackProof;

/// A pack of another node.
#[derive(Debug, Clone)]
pub struct LearnedPack {
    pub id: PackId,
    pub node: NodeId,
    pub kind: String,
    pub class: Option<String>,
    pub size_bytes: u64,
    /// As its writer recorded it.
    pub proof: PackProof,
    pub slots: Vec<ChunkSlot>,
}

/// `<identity of the local catalog>:<number of its last pack>`.
const SETTING: &str = "neighbours.learned";
const LEARNING: &str = "learning packs of other nodes";

impl StateDb {
    /// The last pack of the local catalog copy `mark` that was learned; 0 for
    /// another copy, whose numbers are others.
    pub fn learned_up_to(&self, mark: &str) -> Result<i64> {
        let setting = self.setting(SETTING)?.unwrap_or_default();
        let number = setting.strip_prefix(mark).and_then(|rest| rest.strip_prefix(':'));
        Ok(number.and_then(|number| number.parse().ok()).unwrap_or(0))
    }

    /// Enters packs that are not known yet; how many were new. They have not been
    /// seen in the store by this node.
    ///
    /// `None`, and no change, if more has been heard of collections than `heard`,
    /// which is from before the catalog was brought up to date: the catalog may name
    /// packs that are known here to be no more.
    pub fn learn_packs(
        &mut self,
        learned: &[LearnedPack],
        mark: &str,
        upto: i64,
        heard: Heard,
        now_ns: i64,
    ) -> Result<Option<u64>> {
        self.write(LEARNING, |tx| {
            if Heard::read(tx)? != heard {
                return Ok(None);
            }
            let mut new = 0;
            for pack in learned {
                let added = tx
                    .prepare_cached(
                        "INSERT INTO pack (pack_id, kind, class, size_bytes, status, proof,
                         proven_ns, seen_ns, made_ns, node_id)
                         VALUES (?1, ?2, ?3, ?4, 'durable', ?5, ?6, 0, ?7, ?8)
                         ON CONFLICT (pack_id) DO NOTHING",
                    )
                    .and_then(|mut insert| {
                        insert.execute((
                            pack.id.as_bytes(),
                            &pack.kind,
                            &pack.class,
                            pack.size_bytes as i64,
                            pack.proof.method.as_str(),
                            pack.proof.at_ns,
                            now_ns,
                            pack.node.as_bytes(),
                        ))
                    })
                    .during(LEARNING)?;
                if added == 1 {
                    packs::add_slots(tx, tx.last_insert_rowid(), &pack.slots)?;
                    new += 1;
                }
            }
            tx.execute(
                "INSERT INTO setting (key, value) VALUES (?1, ?2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (SETTING, format!("{mark}:{upto}")),
            )
            .during(LEARNING)?;
            Ok(Some(new))
        })
    }
}
