//! Building a pack, and opening one chunk of it.
//!
//! ```text
//! pack header (64) | chunk header (56) stored bytes | ... | index | trailer (40)
//! ```
//!
//! A pack is built in one buffer that becomes the object's body as it is. Its
//! name must be fresh: in an encrypted store the name decides the key and the
//! offset of a chunk its nonce, so a name used twice would break GCM.
//!
//! A chunk opens from its slot and its stored bytes alone: one ranged read,
//! without the header before it (that one serves the forward scan).

use super::index::{
    ChunkHeader, HEADER_LEN, PACK_HEADER_LEN, PackHeader, TRAILER_LEN, Trailer, put_index,
};
use super::keys::{PackCipher, TAG_LEN};
use super::{Codec, Decoder, Error, MAX_CHUNK_LEN, Protection};
use crate::ids::{ChunkId, PackId, StoreId};
use serde::{Deserialize, Serialize};

/// Where a chunk lies in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "SlotTuple", from = "SlotTuple")]
pub struct ChunkSlot {
    pub id: ChunkId,
    /// Of the stored bytes, counted from the start of the object; the chunk's
    /// header lies [`HEADER_LEN`] bytes before.
    pub offset: u64,
    /// In the object, a GCM tag included.
    pub stored_len: u32,
    pub plain_len: u32,
    pub codec: Codec,
}

impl ChunkSlot {
    /// Whether its lengths are such as a writer makes; what is not would only have
    /// memory reserved for its word.
    pub fn is_possible(&self) -> bool {
        self.plain_len <= MAX_CHUNK_LEN && self.stored_len <= self.plain_len + TAG_LEN as u32
    }
}

/// The form of a slot in a catalog record.
type SlotTuple = (ChunkId, u64, u32, u32, Codec);

impl From<ChunkSlot> for SlotTuple {
    fn from(slot: ChunkSlot) -> Self {
        (slot.id, slot.offset, slot.stored_len, slot.plain_len, slot.codec)
    }
}

impl From<SlotTuple> for ChunkSlot {
    fn from((id, offset, stored_len, plain_len, codec): SlotTuple) -> Self {
        Self { id, offset, stored_len, plain_len, codec }
    }
}

/// A pack that is being filled.
pub struct PackBuilder {
    id: PackId,
    cipher: Option<PackCipher>,
    bytes: Vec<u8>,
    slots: Vec<ChunkSlot>,
}

impl PackBuilder {
    /// `capacity_bytes` is what the caller means to fill before it finishes the
    /// pack; an eighth more is reserved for the last chunk and the index, so
    /// that filling does not move bytes. `id` must never have been used before.
    pub fn new(id: PackId, protection: &Protection, store: StoreId, capacity_bytes: usize) -> Self {
        let reserve = capacity_bytes + capacity_bytes / 8 + (64 << 10);
        Self::in_buffer(id, protection, store, Vec::with_capacity(reserve))
    }

    /// Like [`PackBuilder::new`], reusing the memory of an old buffer.
    pub fn in_buffer(
        id: PackId,
        protection: &Protection,
        store: StoreId,
        mut buffer: Vec<u8>,
    ) -> Self {
        buffer.clear();
        let header = PackHeader { pack: id, store, fingerprint: protection.fingerprint() };
        buffer.extend_from_slice(&header.encode());
        Self { id, cipher: protection.pack_cipher(store, id), bytes: buffer, slots: vec![] }
    }

    pub fn id(&self) -> PackId {
        self.id
    }

    /// Bytes so far, index and trailer not counted.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn chunk_count(&self) -> usize {
        self.slots.len()
    }

    /// Appends a chunk as the encoder left it and encrypts it where the store
    /// is encrypted; returns its place.
    ///
    /// Panics when `stored` contradicts `codec` and `plain_len`: such a pack
    /// could be written but never read.
    pub fn push(&mut self, id: ChunkId, codec: Codec, plain_len: u32, stored: &[u8]) -> ChunkSlot {
        let fits = match codec {
            Codec::Raw => stored.len() == plain_len as usize,
            Codec::Zstd => stored.len() < plain_len as usize,
        };
        assert!(fits && plain_len <= MAX_CHUNK_LEN, "a chunk is stored as its encoder made it");
        let tag_len = if self.cipher.is_some() { TAG_LEN } else { 0 };
        let slot = ChunkSlot {
            id,
            offset: (self.bytes.len() + HEADER_LEN) as u64,
            stored_len: (stored.len() + tag_len) as u32,
            plain_len,
            codec,
        };
        self.bytes.extend_from_slice(&ChunkHeader::of(&slot).encode());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(stored);
        if let Some(cipher) = &self.cipher {
            let tag = cipher.seal(slot.offset, &id, &mut self.bytes[start..]);
            self.bytes.extend_from_slice(&tag);
        }
        self.slots.push(slot);
        slot
    }

    /// Appends the index; returns the object's bytes and its chunks in order.
    pub fn finish(mut self) -> (Vec<u8>, Vec<ChunkSlot>) {
        let index_offset = self.bytes.len();
        put_index(&self.slots, &mut self.bytes);
        let trailer = Trailer {
            index_offset: index_offset as u64,
            chunk_count: u32::try_from(self.slots.len()).expect("a pack is far below 4 G chunks"),
            index_crc: crc32fast::hash(&self.bytes[index_offset..]),
            pack_len: (self.bytes.len() + TRAILER_LEN) as u64,
        };
        self.bytes.extend_from_slice(&trailer.encode());
        debug_assert!(index_offset >= PACK_HEADER_LEN);
        (self.bytes, self.slots)
    }
}

/// Replaces `out` by the plain bytes of one chunk: decrypts and decompresses
/// `stored` (exactly the slot's range of the object), then checks length and
/// chunk id. On an error `out` holds nothing of meaning.
///
/// The slot may come from anywhere; nothing beyond [`MAX_CHUNK_LEN`] is
/// allocated on its word.
pub fn open_chunk(
    protection: &Protection,
    store: StoreId,
    pack: PackId,
    slot: &ChunkSlot,
    stored: &[u8],
    decoder: &mut Decoder,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    if stored.len() != slot.stored_len as usize {
        let why = "fewer or more bytes were fetched than it has";
        return Err(Error::Unopenable { id: slot.id, why });
    }
    match protection.pack_cipher(store, pack) {
        None => decoder.decode(slot.codec, stored, slot.plain_len, out)?,
        Some(cipher) => open_sealed(&cipher, slot, stored, decoder, out)?,
    }
    if protection.chunk_id(out) != slot.id {
        return Err(Error::WrongContent { id: slot.id });
    }
    Ok(())
}

/// Replaces `encoded` by one chunk as its encoder left it, which is what
/// [`PackBuilder::push`] takes, once its plain bytes (left in `plain`) are found
/// to be what its id says. For a chunk that goes into another pack.
#[expect(clippy::too_many_arguments, reason = "open_chunk's, and where the other form goes")]
pub fn take_chunk(
    protection: &Protection,
    store: StoreId,
    pack: PackId,
    slot: &ChunkSlot,
    stored: &[u8],
    decoder: &mut Decoder,
    plain: &mut Vec<u8>,
    encoded: &mut Vec<u8>,
) -> Result<(), Error> {
    open_chunk(protection, store, pack, slot, stored, decoder, plain)?;
    encoded.clear();
    encoded.extend_from_slice(stored);
    match protection.pack_cipher(store, pack) {
        None => Ok(()),
        Some(cipher) => cipher.open(slot.offset, &slot.id, encoded),
    }
}

fn open_sealed(
    cipher: &PackCipher,
    slot: &ChunkSlot,
    stored: &[u8],
    decoder: &mut Decoder,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    // A raw chunk is decrypted where it is wanted, a compressed one beside it.
    if slot.codec == Codec::Raw {
        out.clear();
        out.extend_from_slice(stored);
        cipher.open(slot.offset, &slot.id, out)?;
        if out.len() != slot.plain_len as usize {
            return Err(Error::Unopenable {
                id: slot.id,
                why: "its length is not the recorded one",
            });
        }
        return Ok(());
    }
    let mut opened = std::mem::take(&mut decoder.opened);
    opened.clear();
    opened.extend_from_slice(stored);
    let result = cipher
        .open(slot.offset, &slot.id, &mut opened)
        .and_then(|()| decoder.decode(slot.codec, &opened, slot.plain_len, out));
    decoder.opened = opened;
    result
}
