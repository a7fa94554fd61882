//! The fixed structures of a pack, and finding its chunks twice: through the
//! index at its end (one ranged read), or by walking from header to header
//! when the end is missing.
//!
//! Both work without a key. The index must tile the pack exactly: each chunk
//! begins where the one before ended, so a wrong offset cannot pass.

use super::wire::{array_at, exact, u32_at, u64_at};
use super::{ChunkSlot, Codec, Error, MAX_CHUNK_LEN};
use crate::ids::{ChunkId, PackId, StoreId};

/// Bytes before the first chunk's header.
pub const PACK_HEADER_LEN: usize = 64;
/// Bytes before each chunk's stored bytes.
pub const HEADER_LEN: usize = 56;
/// Bytes at the very end of a pack.
pub const TRAILER_LEN: usize = 40;
const ENTRY_LEN: usize = 52;

const VERSION: u8 = 1;
const PACK_MAGIC: &[u8; 8] = b"HSMPACK\n";
const CHUNK_MAGIC: &[u8; 4] = b"HSMc";
const END_MAGIC: &[u8; 8] = b"HSMPEND\n";

const PACK_HEADER: &str = "pack header";
const CHUNK_HEADER: &str = "chunk header";
const INDEX: &str = "pack index";
const TRAILER: &str = "pack trailer";

/// The longest a chunk can be when stored: no larger than plain, and a GCM tag.
const MAX_OVERHEAD: u32 = super::keys::TAG_LEN as u32;

fn check_version(what: &'static str, found: u8) -> Result<(), Error> {
    if found > VERSION {
        return Err(Error::Newer { what, found: found.into(), known: VERSION.into() });
    }
    Ok(())
}

/// Checks magic, then version, then the CRC-32 in the last four bytes: a newer
/// version is named as such whatever its layout.
fn check_frame(
    bytes: &[u8],
    magic: &[u8],
    version_at: usize,
    what: &'static str,
    offset: u64,
) -> Result<(), Error> {
    if !bytes.starts_with(magic) {
        return Err(Error::Foreign { what, offset });
    }
    check_version(what, bytes[version_at])?;
    let covered = bytes.len() - 4;
    if crc32fast::hash(&bytes[..covered]) != u32_at(bytes, covered) {
        return Err(Error::Checksum { what, offset });
    }
    if bytes[version_at] == 0 {
        return Err(Error::Malformed { what, offset, why: "there is no version 0" });
    }
    Ok(())
}

/// The start of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackHeader {
    pub pack: PackId,
    pub store: StoreId,
    /// Of the key it is encrypted with; `None` for a plain pack.
    pub fingerprint: Option<[u8; 8]>,
}

impl PackHeader {
    pub(super) fn encode(&self) -> [u8; PACK_HEADER_LEN] {
        let mut bytes = [0; PACK_HEADER_LEN];
        bytes[..8].copy_from_slice(PACK_MAGIC);
        bytes[8] = VERSION;
        bytes[9] = u8::from(self.fingerprint.is_some());
        bytes[12..28].copy_from_slice(self.pack.as_bytes());
        bytes[28..44].copy_from_slice(self.store.as_bytes());
        bytes[44..52].copy_from_slice(&self.fingerprint.unwrap_or_default());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the first [`PACK_HEADER_LEN`] of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let bytes = exact(bytes, PACK_HEADER_LEN, PACK_HEADER, 0)?;
        check_frame(bytes, PACK_MAGIC, 8, PACK_HEADER, 0)?;
        let fingerprint = match bytes[9] {
            0 => None,
            1 => Some(array_at(bytes, 44)),
            _ => {
                let why = "its cipher is unknown to this hsm";
                return Err(Error::Malformed { what: PACK_HEADER, offset: 9, why });
            }
        };
        let (pack, store) = (PackId(array_at(bytes, 12)), StoreId(array_at(bytes, 28)));
        Ok(Self { pack, store, fingerprint })
    }
}

/// What stands before each chunk's stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHeader {
    pub id: ChunkId,
    pub stored_len: u32,
    pub plain_len: u32,
    pub codec: Codec,
}

impl ChunkHeader {
    pub(super) fn of(slot: &ChunkSlot) -> Self {
        let ChunkSlot { id, stored_len, plain_len, codec, .. } = *slot;
        Self { id, stored_len, plain_len, codec }
    }

    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(CHUNK_MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.codec.code();
        bytes[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.plain_len.to_le_bytes());
        bytes[16..48].copy_from_slice(self.id.as_bytes());
        let crc = crc32fast::hash(&bytes[..52]);
        bytes[52..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the first [`HEADER_LEN`] of `bytes`; `offset` is where they lie in
    /// the pack, for the message.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Self, Error> {
        let bytes = exact(bytes, HEADER_LEN, CHUNK_HEADER, offset)?;
        check_frame(bytes, CHUNK_MAGIC, 4, CHUNK_HEADER, offset)?;
        let header = Self {
            id: ChunkId(array_at(bytes, 16)),
            stored_len: u32_at(bytes, 8),
            plain_len: u32_at(bytes, 12),
            codec: known_codec(bytes[5], CHUNK_HEADER, offset)?,
        };
        check_lengths(header.stored_len, header.plain_len, CHUNK_HEADER, offset)?;
        Ok(header)
    }
}

fn known_codec(code: u8, what: &'static str, offset: u64) -> Result<Codec, Error> {
    let why = "its codec is unknown to this hsm";
    Codec::from_code(code).ok_or(Error::Malformed { what, offset, why })
}

fn check_lengths(stored: u32, plain: u32, what: &'static str, offset: u64) -> Result<(), Error> {
    if plain > MAX_CHUNK_LEN {
        return Err(Error::Malformed { what, offset, why: "the chunk is longer than 64 MiB" });
    }
    if stored > plain + MAX_OVERHEAD {
        let why = "the chunk is longer stored than plain";
        return Err(Error::Malformed { what, offset, why });
    }
    Ok(())
}

/// The end of a pack: where its index is, and how long the pack must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    pub index_offset: u64,
    pub chunk_count: u32,
    pub index_crc: u32,
    /// Of the whole object; compare it with what the store lists.
    pub pack_len: u64,
}

impl Trailer {
    pub(super) fn encode(&self) -> [u8; TRAILER_LEN] {
        let mut bytes = [0; TRAILER_LEN];
        bytes[..8].copy_from_slice(END_MAGIC);
        bytes[8] = VERSION;
        bytes[12..20].copy_from_slice(&self.index_offset.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.chunk_count.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.index_crc.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.pack_len.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the last [`TRAILER_LEN`] bytes of `tail`, any end of a pack. The
    /// index it announces ends where the trailer begins.
    pub fn parse(tail: &[u8]) -> Result<Self, Error> {
        let start = tail.len().saturating_sub(TRAILER_LEN);
        let bytes = exact(&tail[start..], TRAILER_LEN, TRAILER, 0)?;
        check_frame(bytes, END_MAGIC, 8, TRAILER, start as u64)?;
        let trailer = Self {
            index_offset: u64_at(bytes, 12),
            chunk_count: u32_at(bytes, 20),
            index_crc: u32_at(bytes, 24),
            pack_len: u64_at(bytes, 28),
        };
        let ends = trailer
            .index_offset
            .checked_add(trailer.index_len())
            .and_then(|end| end.checked_add(TRAILER_LEN as u64));
        if ends != Some(trailer.pack_len) || trailer.index_offset < PACK_HEADER_LEN as u64 {
            let (what, offset) = (TRAILER, start as u64);
            let why = "index and pack length contradict each other";
            return Err(Error::Malformed { what, offset, why });
        }
        Ok(trailer)
    }

    /// Bytes of the index alone.
    pub fn index_len(&self) -> u64 {
        u64::from(self.chunk_count) * ENTRY_LEN as u64
    }

    /// Bytes from the start of the index to the end of the pack: the ranged
    /// read that [`parse_index`] needs.
    pub fn footer_len(&self) -> u64 {
        self.index_len() + TRAILER_LEN as u64
    }
}

pub(super) fn put_index(slots: &[ChunkSlot], out: &mut Vec<u8>) {
    out.reserve(slots.len() * ENTRY_LEN + TRAILER_LEN);
    for slot in slots {
        out.extend_from_slice(slot.id.as_bytes());
        out.extend_from_slice(&slot.offset.to_le_bytes());
        out.extend_from_slice(&slot.stored_len.to_le_bytes());
        out.extend_from_slice(&slot.plain_len.to_le_bytes());
        out.extend_from_slice(&[slot.codec.code(), 0, 0, 0]);
    }
}

/// The chunks of a pack from its end. `footer` is any tail of the object that
/// holds the whole index and the trailer (the whole object will do); a shorter
/// one is [`Error::Truncated`], which says how many bytes are needed.
///
/// Offsets in messages are counted from the start of the object.
pub fn parse_index(footer: &[u8]) -> Result<Vec<ChunkSlot>, Error> {
    let trailer = Trailer::parse(footer)?;
    let Some(start) = (footer.len() as u64).checked_sub(trailer.footer_len()) else {
        return Err(Error::Truncated {
            what: INDEX,
            offset: trailer.index_offset,
            needed: trailer.footer_len(),
            have: footer.len() as u64,
        });
    };
    let index = &footer[start as usize..footer.len() - TRAILER_LEN];
    if crc32fast::hash(index) != trailer.index_crc {
        return Err(Error::Checksum { what: INDEX, offset: trailer.index_offset });
    }
    let mut slots = Vec::with_capacity(index.len() / ENTRY_LEN);
    let mut end = PACK_HEADER_LEN as u64;
    for (nth, entry) in index.chunks_exact(ENTRY_LEN).enumerate() {
        let slot = parse_entry(entry, trailer.index_offset + (nth * ENTRY_LEN) as u64, end)?;
        end = slot.offset + u64::from(slot.stored_len);
        slots.push(slot);
    }
    if end != trailer.index_offset {
        let why = "its chunks do not fill the pack";
        return Err(Error::Malformed { what: INDEX, offset: trailer.index_offset, why });
    }
    Ok(slots)
}

/// One entry, which must continue where the chunk before it `ended`.
fn parse_entry(entry: &[u8], at: u64, ended: u64) -> Result<ChunkSlot, Error> {
    let slot = ChunkSlot {
        id: ChunkId(array_at(entry, 0)),
        offset: u64_at(entry, 32),
        stored_len: u32_at(entry, 40),
        plain_len: u32_at(entry, 44),
        codec: known_codec(entry[48], INDEX, at)?,
    };
    check_lengths(slot.stored_len, slot.plain_len, INDEX, at)?;
    if slot.offset != ended + HEADER_LEN as u64 {
        let why = "a chunk does not begin where the one before it ended";
        return Err(Error::Malformed { what: INDEX, offset: at, why });
    }
    Ok(slot)
}

/// The chunks of a whole pack by walking its chunk headers, without its index.
/// An error names the first place where the walk could not go on.
pub fn scan_forward(pack: &[u8]) -> Result<Vec<ChunkSlot>, Error> {
    match salvage(pack) {
        (slots, None) => Ok(slots),
        (_, Some(error)) => Err(error),
    }
}

/// Like [`scan_forward`], but gives what was found before the damage. Only
/// chunks whose stored bytes are wholly there are returned; whether the bytes
/// are right shows when a chunk is opened.
pub fn salvage(pack: &[u8]) -> (Vec<ChunkSlot>, Option<Error>) {
    let mut slots = vec![];
    if let Err(error) = PackHeader::parse(pack) {
        return (slots, Some(error));
    }
    // The walk ends at the index when there is one, else at the last byte.
    let end = match Trailer::parse(pack) {
        Ok(trailer) if trailer.pack_len == pack.len() as u64 => trailer.index_offset as usize,
        _ => pack.len(),
    };
    let mut at = PACK_HEADER_LEN;
    while at < end {
        match next_chunk(&pack[..end], at) {
            Ok(slot) => {
                at = slot.offset as usize + slot.stored_len as usize;
                slots.push(slot);
            }
            Err(error) => return (slots, Some(error)),
        }
    }
    (slots, None)
}

fn next_chunk(pack: &[u8], at: usize) -> Result<ChunkSlot, Error> {
    let header = ChunkHeader::parse(&pack[at..], at as u64)?;
    let offset = at + HEADER_LEN;
    exact(&pack[offset..], header.stored_len as usize, "chunk", offset as u64)?;
    let ChunkHeader { id, stored_len, plain_len, codec } = header;
    Ok(ChunkSlot { id, offset: offset as u64, stored_len, plain_len, codec })
}
