//! Checks the chunks of a whole pack in memory.

use super::{ChunkSlot, Decoder, Error, Protection, open_chunk};
use crate::ids::{ChunkId, PackId, StoreId};

/// Opens every chunk of `slots` in `pack`'s bytes; the ones that are not what
/// their id says, with the reason. Empty means that all are good.
pub fn check_chunks(
    protection: &Protection,
    store: StoreId,
    pack: PackId,
    slots: &[ChunkSlot],
    bytes: &[u8],
    decoder: &mut Decoder,
) -> Vec<(ChunkId, Error)> {
    let mut plain = Vec::new();
    let mut bad = Vec::new();
    for slot in slots {
        let start = usize::try_from(slot.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(slot.stored_len as usize);
        let opened = match bytes.get(start..end) {
            Some(stored) => open_chunk(protection, store, pack, slot, stored, decoder, &mut plain),
            None => Err(Error::Unopenable { id: slot.id, why: "the pack ends before it" }),
        };
        bad.extend(opened.err().map(|error| (slot.id, error)));
    }
    bad
}
