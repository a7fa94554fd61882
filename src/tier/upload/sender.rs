//! Puts a finished pack into the store and proves that it is there.
//!
//! Several senders run at once so that a slow store is kept busy. A pack that
//! was put but could not be proven is not a copy: it is reported as failed and
//! nothing will refer to it. Where two copies are wanted the second store gets it
//! next; whatever becomes of that, the first copy counts.

use super::Shared;
use crate::chunk::ChunkSlot;
use crate::clock::Clock;
use crate::ids::PackId;
use crate::manifest::{PackEvidence, SecondEvidence};
use crate::site::{Second, put_and_prove, second};
use crate::store::{self, Capabilities, Store};
use crate::units::Copies;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};

/// A pack ready to be sent.
pub(super) struct SealedPack {
    pub id: PackId,
    pub class: Option<String>,
    pub copies: Copies,
    pub bytes: Bytes,
    pub slots: Vec<ChunkSlot>,
}

/// What became of it.
pub(super) struct Sent {
    pub id: PackId,
    pub size_bytes: u64,
    pub slots: Vec<ChunkSlot>,
    pub result: Result<PackEvidence, store::Error>,
    /// Of the second store, where it was to be there too and the first has it.
    pub second: Option<Result<SecondEvidence, store::Error>>,
}

pub(super) fn send(
    shared: &Shared<'_>,
    store: &dyn Store,
    capabilities: &Capabilities,
    mut second: Option<Second<'_>>,
    clock: Clock,
    packs: &Receiver<SealedPack>,
    sent: &Sender<Sent>,
) {
    for pack in packs {
        let size_bytes = pack.bytes.len() as u64;
        let SealedPack { id, class, bytes, .. } = &pack;
        let result = put_and_prove(store, capabilities, clock, *id, class.clone(), bytes);
        let wanted = second.as_ref().filter(|_| pack.copies == Copies::Two && result.is_ok());
        let copied = wanted.map(|second| second.put(clock, *id, bytes));
        if let Some(Err(error)) = &copied
            && second::is_of_store(error)
        {
            // The packs behind this one need not find out for themselves.
            second = None;
        }
        // Unless the store still holds on to it.
        if let Ok(buffer) = pack.bytes.try_into_mut() {
            shared.pack_buffers.give_back(buffer.into());
        }
        let report = Sent { id: pack.id, size_bytes, slots: pack.slots, result, second: copied };
        if sent.send(report).is_err() {
            return;
        }
    }
}
