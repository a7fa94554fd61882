//! Reads one pack and says which of its chunks are bad.
//!
//! A spoilt transfer is likelier than a spoilt object, and what is called bad
//! here is called lost to a person: so a pack with a bad chunk is read a second
//! time, and only what was bad both times counts.

use crate::chunk::{self, ChunkSlot, Decoder, Protection};
use crate::ids::{ChunkId, PackId, StoreId};
use crate::site::pack_key;
use crate::store::{self, Store};
use std::collections::HashSet;

pub(super) struct PackCheck {
    pub bytes: u64,
    pub damaged: Vec<(ChunkId, String)>,
    /// By its own index the pack holds chunks beside those that were asked for,
    /// and every one is good.
    pub more_than_known: bool,
}

/// Reads a pack and checks each chunk where it is known to be.
pub(super) fn check(
    store: &dyn Store,
    protection: &Protection,
    store_id: StoreId,
    pack: PackId,
    slots: &[ChunkSlot],
) -> Result<PackCheck, store::Error> {
    let first = read(store, protection, store_id, pack, slots)?;
    if first.damaged.is_empty() {
        return Ok(first);
    }
    let mut again = read(store, protection, store_id, pack, slots)?;
    again.damaged.retain(|(id, _)| first.damaged.iter().any(|(bad, _)| bad == id));
    Ok(again)
}

fn read(
    store: &dyn Store,
    protection: &Protection,
    store_id: StoreId,
    pack: PackId,
    slots: &[ChunkSlot],
) -> Result<PackCheck, store::Error> {
    let bytes = store.get(&pack_key(pack), None)?;
    let mut decoder = Decoder::new();
    let mut bad = |slots: &[ChunkSlot]| {
        chunk::check_chunks(protection, store_id, pack, slots, &bytes, &mut decoder)
    };
    let damaged: Vec<_> =
        bad(slots).into_iter().map(|(id, error)| (id, error.to_string())).collect();
    let known: HashSet<&ChunkSlot> = slots.iter().collect();
    let mut others = chunk::parse_index(&bytes).unwrap_or_default();
    others.retain(|slot| !known.contains(slot));
    let more_than_known = !others.is_empty() && damaged.is_empty() && bad(&others).is_empty();
    Ok(PackCheck { bytes: bytes.len() as u64, damaged, more_than_known })
}
