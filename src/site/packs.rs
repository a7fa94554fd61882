//! Proving a pack that is in the store already.
//!
//! For a pack whose record is missing or no longer trusted: one that a killed
//! run had sent, or one that was called lost or damaged and is there again.

use super::{Site, pack_key};
use crate::chunk::{self, ChunkSlot, Decoder, check_chunks};
use crate::ids::PackId;
use crate::manifest::PackEvidence;
use crate::store;
use bytes::Bytes;

/// A pack that was read whole, every chunk of its own index good.
pub struct ProvenPack {
    pub evidence: PackEvidence,
    pub size_bytes: u64,
    pub slots: Vec<ChunkSlot>,
}

impl Site<'_> {
    /// Reads a whole pack back and checks every chunk in it; what is not right
    /// with it is an error of kind `Integrity`.
    pub fn prove_by_reading(&self, pack: PackId) -> Result<ProvenPack, store::Error> {
        let (mut slots, mut size_bytes) = (vec![], 0);
        let check = &mut |bytes: &Bytes| {
            size_bytes = bytes.len() as u64;
            slots = chunk::parse_index(bytes).map_err(|error| error.to_string())?;
            let decoder = &mut Decoder::new();
            let bad = check_chunks(self.protection, self.store_id, pack, &slots, bytes, decoder);
            bad.first().map_or(Ok(()), |(_, error)| Err(error.to_string()))
        };
        let now_ns = self.clock.now_ns();
        let evidence = store::prove_stored(self.store, &pack_key(pack), pack, now_ns, check)?;
        Ok(ProvenPack { evidence, size_bytes, slots })
    }
}
