//! Puts a finished pack into the store and proves that it is there.
//!
//! Several senders run at once so that a slow store is kept busy. A pack that
//! was put but could not be proven is not a copy: it is reported as failed and
//! nothing will refer to it.

use super::Shared;
use crate::chunk::ChunkSlot;
use crate::clock::Clock;
use crate::ids::PackId;
use crate::manifest::PackEvidence;
use crate::site::put_and_prove;
use crate::store::{self, Capabilities, Store};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};

/// A pack ready to be sent.
pub(super) struct SealedPack {
    pub id: PackId,
    pub class: Option<String>,
    pub bytes: Bytes,
    pub slots: Vec<ChunkSlot>,
}

/// What became of it.
pub(super) struct Sent {
    pub id: PackId,
    pub size_bytes: u64,
    pub slots: Vec<ChunkSlot>,
    pub result: Result<PackEvidence, store::Error>,
}

pub(super) fn send(
    shared: &Shared<'_>,
    store: &dyn Store,
    capabilities: &Capabilities,
    clock: Clock,
    packs: &Receiver<SealedPack>,
    sent: &Sender<Sent>,
) {
    for pack in packs {
        let size_bytes = pack.bytes.len() as u64;
        let SealedPack { id, class, bytes, .. } = &pack;
        let result = put_and_prove(store, capabilities, clock, *id, class.clone(), bytes);
        // Unless the store still holds on to it.
        if let Ok(buffer) = pack.bytes.try_into_mut() {
            shared.pack_buffers.give_back(buffer.into());
        }
        let report = Sent { id: pack.id, size_bytes, slots: pack.slots, result };
        if sent.send(report).is_err() {
            return;
        }
    }
}
