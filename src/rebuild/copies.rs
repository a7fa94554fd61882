//! The packs that logs name, as the store has them; and what no log names.

use super::{Error, Rebuild};
use crate::catalog::CatalogPack;
use crate::ids::{ContentId, PackId};
use crate::manifest::{Content, PackProof, keys};
use crate::site::pack_key;
use crate::state::{PackStatus, RebuiltPack};
use crate::store::ErrorKind;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Packs that are entered at once.
const BATCH: usize = 200;

impl Rebuild<'_, '_> {
    /// Enters every pack that some log names, and keeps the rest of the listing.
    pub(super) fn packs(&mut self) -> Result<(), Error> {
        let mut present: BTreeMap<PackId, u64> = BTreeMap::new();
        self.site.store.list(keys::PACKS, None, &mut |object| {
            if let Some(pack) = keys::parse_pack_key(object.key.as_str()) {
                present.insert(pack, object.size_bytes);
            }
        })?;
        let (catalog, node) = (self.sources.catalog, self.sources.node.node);
        let (mut batch, mut failed) = (vec![], None);
        catalog.packs_for(node, &mut |pack, own_seq| {
            let found = present.remove(&pack.id);
            let entered = self.pack(pack, own_seq, found).map(|pack| batch.push(pack));
            let entered = entered.and_then(|()| match batch.len() >= BATCH {
                true => self.enter(&mut batch),
                false => self.check_stop(),
            });
            match entered {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)?;
        self.enter(&mut batch)?;
        self.unnamed = present;
        Ok(())
    }

    fn enter(&mut self, batch: &mut Vec<RebuiltPack>) -> Result<(), Error> {
        self.site.state.enter_packs(batch, self.site.clock.now_ns())?;
        batch.clear();
        Ok(())
    }

    fn pack(
        &mut self,
        pack: CatalogPack,
        own_seq: Option<u64>,
        listed_bytes: Option<u64>,
    ) -> Result<RebuiltPack, Error> {
        let status = match listed_bytes {
            Some(bytes) if bytes == pack.size_bytes => PackStatus::Durable,
            Some(_) => PackStatus::Damaged,
            None => self.ask(pack.id, pack.size_bytes)?,
        };
        match own_seq {
            Some(_) => self.stats.packs += 1,
            None => self.stats.others_packs += 1,
        }
        self.stats.bad_packs += u64::from(status != PackStatus::Durable);
        let seen = status == PackStatus::Durable;
        Ok(RebuiltPack {
            id: pack.id,
            node: own_seq.is_none().then_some(pack.node),
            kind: pack.kind,
            class: pack.class,
            size_bytes: pack.size_bytes,
            proof: pack.proof,
            status,
            seen_ns: seen.then(|| self.site.clock.now_ns()),
            segment_seq: own_seq,
            slots: self.sources.catalog.pack_slots(pack.id)?,
        })
    }

    /// A listing can lag; only a direct "not found" makes a pack lost.
    fn ask(&self, pack: PackId, size_bytes: u64) -> Result<PackStatus, Error> {
        match self.site.store.head(&pack_key(pack)) {
            Ok(object) if object.size_bytes == size_bytes => Ok(PackStatus::Durable),
            Ok(_) => Ok(PackStatus::Damaged),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(PackStatus::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// A content that the state DB before knows, if all of it is in packs that the
    /// store has; those that no log names are entered as it had them.
    pub(super) fn old_copy(&mut self, id: ContentId) -> Result<Option<(Content, String)>, Error> {
        let Some(old) = self.sources.old else { return Ok(None) };
        let Some((content, chunking)) = old.content(id)? else { return Ok(None) };
        let ids: Vec<_> = content.chunk_ids().collect();
        let known = self.site.state.find_chunks(&ids)?;
        let missing: Vec<_> =
            ids.iter().zip(known).filter(|(_, place)| place.is_none()).map(|(id, _)| *id).collect();
        let mut packs = vec![];
        for place in old.find_chunks(&missing)? {
            let Some(place) = place else { return Ok(None) };
            if !packs.contains(&place.pack) {
                packs.push(place.pack);
            }
        }
        for pack in packs {
            let Some(row) = old.pack(pack)? else { return Ok(None) };
            if self.unnamed.get(&pack) != Some(&row.size_bytes) {
                return Ok(None);
            }
            let now_ns = self.site.clock.now_ns();
            let proof = |evidence: crate::manifest::PackEvidence| PackProof {
                method: evidence.method(),
                at_ns: evidence.proven_ns(),
            };
            let found = RebuiltPack {
                id: pack,
                node: row.node,
                kind: row.kind,
                class: row.class,
                size_bytes: row.size_bytes,
                proof: row.evidence.map(proof),
                status: PackStatus::Durable,
                seen_ns: Some(now_ns),
                segment_seq: None,
                slots: old.pack_slots(pack)?,
            };
            self.site.state.enter_packs(&[found], now_ns)?;
            self.unnamed.remove(&pack);
        }
        Ok(Some((content, chunking)))
    }
}
