//! Chunks that other nodes have sent are not sent again.
//!
//! At the start of an upload the packs that other nodes' logs name are entered into
//! the state DB, with the proof that their writer recorded; a pack without one is
//! left out. They are as good as our own from then on: presence and size are asked
//! for before anything relies on one (`sightings`), and a collection that deletes one
//! is heard of before the next segment is written.
//!
//! It saves room and nothing more: when another node's log cannot be read, the
//! upload goes on without it.

use super::Error;
use crate::catalog::CatalogPack;
use crate::site::{Catalog, Site, logs};
use crate::state::LearnedPack;
use std::ops::ControlFlow;

/// Packs entered in one transaction.
const BATCH: usize = 256;

/// Enters what is new; how many packs.
pub fn learn(site: &mut Site<'_>) -> Result<u64, Error> {
    let heard = site.state.heard()?;
    let mut catalog = Catalog::default();
    let db = catalog.db(site)?;
    let mark = format!("{:x}", db.identity().map_err(logs::Error::from)?);
    let last = site.state.learned_up_to(&mark)?;
    let mut found: Vec<CatalogPack> = vec![];
    db.packs_of_others(site.node_id, last, &mut |pack| {
        found.push(pack);
        ControlFlow::Continue(())
    })
    .map_err(logs::Error::from)?;
    let mut learned = 0;
    for some in found.chunks(BATCH) {
        let mut packs = vec![];
        for pack in some {
            let Some(proof) = pack.proof else { continue };
            let slots = db.pack_slots(pack.id).map_err(logs::Error::from)?;
            packs.push(LearnedPack {
                id: pack.id,
                node: pack.node,
                kind: pack.kind.clone(),
                class: pack.class.clone(),
                size_bytes: pack.size_bytes,
                proof,
                slots,
            });
        }
        let upto = some.last().map_or(last, |pack| pack.number);
        let now_ns = site.clock.now_ns();
        match site.state.learn_packs(&packs, &mark, upto, heard, now_ns)? {
            Some(new) => learned += new,
            // Another process of this node heard of a collection: the next run learns.
            None => break,
        }
    }
    Ok(learned)
}
