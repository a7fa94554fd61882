//! Packs into the store, with their proof, and their records for the log.
//!
//! A pack that is in the store already is proven by reading it: one whose record is
//! missing or no longer trusted, which a killed run had sent, or which was called
//! lost or damaged and is there again.

use super::{Site, pack_key};
use crate::chunk::{self, ChunkSlot, Decoder, check_chunks};
use crate::classes;
use crate::clock::Clock;
use crate::fault;
use crate::ids::PackId;
use crate::manifest::{PackEvidence, PackProof, PackRecord, Record};
use crate::state;
use crate::store::{self, Capabilities, ErrorKind, PutOptions, Store};
use bytes::Bytes;

/// Puts a finished pack and proves that it is there. One that was put but could not
/// be proven is not a copy, and nothing may refer to it.
pub fn put_and_prove(
    store: &dyn Store,
    capabilities: &Capabilities,
    clock: Clock,
    pack: PackId,
    class: Option<String>,
    bytes: &Bytes,
) -> Result<PackEvidence, store::Error> {
    let class = store.pack_class(class.as_deref());
    check_provable(store, capabilities, pack, class.as_deref())?;
    // The name is unique, so plain create is enough where the store cannot do
    // a conditional one.
    let options = PutOptions { create_new: capabilities.conditional_create, storage_class: class };
    let receipt = store.put(&pack_key(pack), bytes.clone(), &options)?;
    fault::point("upload.pack-put");
    let evidence = store::prove(store, capabilities, &receipt, bytes, pack, clock.now_ns())?;
    fault::point("upload.pack-proven");
    Ok(evidence)
}

/// A copy in an archive class cannot be read back, so a store that does not say what
/// it holds cannot keep one: told before a byte leaves.
fn check_provable(
    store: &dyn Store,
    capabilities: &Capabilities,
    pack: PackId,
    class: Option<&str>,
) -> Result<(), store::Error> {
    let Some(class) = class.filter(|class| classes::is_archive(class)) else { return Ok(()) };
    if store::can_prove_unread(capabilities) {
        return Ok(());
    }
    let key = pack_key(pack);
    let kind = ErrorKind::Unsupported;
    Err(store::Error::new(kind, "put", key.as_str(), store.location()).with_detail(format!(
        "a copy in {class} cannot be read back, and this store was not found to tell the sum of \
         what it holds (hsm doctor tries again): use a class that can be read at once"
    )))
}

/// A pack that was read whole, every chunk of its own index good.
pub struct ProvenPack {
    pub evidence: PackEvidence,
    pub size_bytes: u64,
    pub slots: Vec<ChunkSlot>,
}

impl Site<'_> {
    /// The records of packs with everything in them; those that the state DB has
    /// forgotten are passed over.
    pub fn pack_records(&self, packs: &[PackId]) -> Result<Vec<Record>, state::Error> {
        let mut records = Vec::with_capacity(packs.len());
        for id in packs {
            let Some(row) = self.state.pack(*id)? else { continue };
            let proof = |evidence: PackEvidence| PackProof {
                method: evidence.method(),
                at_ns: evidence.proven_ns(),
            };
            records.push(Record::Pack(Box::new(PackRecord {
                id: *id,
                kind: row.kind,
                class: row.class,
                bytes: row.size_bytes,
                proof: row.evidence.map(proof),
                chunks: self.state.pack_slots(*id)?,
            })));
        }
        Ok(records)
    }

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
