//! Packs that are being filled.
//!
//! Small files share a pack in directory order (they live and are recalled
//! together); a file of a whole pack or more gets packs of its own, so that a
//! recall reads long runs and deleting the file frees whole packs. Storage
//! classes never mix, nor do files that are to be in one store and in two.

use super::sender::SealedPack;
use super::{PACK_BUFFER_BYTES, PACK_BYTES, Shared};
use crate::chunk::{Codec, PackBuilder, Protection};
use crate::ids::{ChunkId, PackId, StoreId};
use crate::units::Copies;
use bytes::Bytes;

/// What may share a pack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Shelf {
    pub class: Option<String>,
    /// In how many stores the pack is to be.
    pub copies: Copies,
    /// The large file that has this pack for itself.
    pub large: Option<u64>,
}

/// More open packs than this and the oldest is sent half full: memory is
/// bounded even when a policy names many storage classes.
const OPEN_PACKS: usize = 3;

pub(super) struct Builders<'a> {
    shared: &'a Shared<'a>,
    protection: &'a Protection,
    store_id: StoreId,
    open: Vec<(Shelf, PackBuilder)>,
}

impl<'a> Builders<'a> {
    pub fn new(shared: &'a Shared<'a>, protection: &'a Protection, store_id: StoreId) -> Self {
        Self { shared, protection, store_id, open: vec![] }
    }

    /// Adds a chunk; returns the packs that are finished by that.
    pub fn push(
        &mut self,
        shelf: &Shelf,
        now_ns: i64,
        id: ChunkId,
        codec: Codec,
        plain_len: u32,
        stored: &[u8],
    ) -> Vec<SealedPack> {
        let mut finished = vec![];
        let at = match self.open.iter().position(|(s, _)| s == shelf) {
            Some(at) => at,
            None => {
                if self.open.len() == OPEN_PACKS {
                    let (shelf, oldest) = self.open.remove(0);
                    finished.push(seal(shelf, oldest));
                }
                self.open.push((shelf.clone(), self.fresh(now_ns)));
                self.open.len() - 1
            }
        };
        self.open[at].1.push(id, codec, plain_len, stored);
        if self.open[at].1.len_bytes() >= PACK_BYTES {
            let (shelf, full) = self.open.remove(at);
            finished.push(seal(shelf, full));
        }
        finished
    }

    fn fresh(&self, now_ns: i64) -> PackBuilder {
        let mut buffer = self.shared.pack_buffers.take();
        buffer.clear();
        // Room for the last chunk and the index, so that filling moves nothing.
        buffer.reserve(PACK_BUFFER_BYTES as usize + (64 << 10));
        PackBuilder::in_buffer(PackId::fresh(now_ns), self.protection, self.store_id, buffer)
    }

    /// Closes the packs of one large file, or every pack.
    pub fn close(&mut self, large: Option<u64>) -> Vec<SealedPack> {
        let closes = |shelf: &Shelf| large.is_none() || shelf.large == large;
        let (closing, open) =
            std::mem::take(&mut self.open).into_iter().partition(|(shelf, _)| closes(shelf));
        self.open = open;
        let closing: Vec<(Shelf, PackBuilder)> = closing;
        closing.into_iter().map(|(shelf, builder)| seal(shelf, builder)).collect()
    }
}

fn seal(shelf: Shelf, builder: PackBuilder) -> SealedPack {
    let id = builder.id();
    let (bytes, slots) = builder.finish();
    SealedPack { id, class: shelf.class, copies: shelf.copies, bytes: Bytes::from(bytes), slots }
}
