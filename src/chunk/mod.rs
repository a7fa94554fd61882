//! Chunks: how a file is cut, how a chunk is named, compressed and encrypted,
//! and how chunks lie together in a pack.
//!
//! Pure: bytes in, bytes out; ids, keys and times are handed in. The formats
//! are written down byte by byte in docs/FORMATS.md and held by golden files.
//!
//! Everything that parses treats its input as hostile: lengths are checked
//! before they are believed, no length read from an object decides an
//! allocation beyond [`MAX_CHUNK_LEN`], and a newer version is refused by name.

mod check;
mod codec;
mod cut;
mod error;
mod index;
mod keys;
mod pack;
mod wire;

#[cfg(test)]
mod tests;

pub use check::check_chunks;
pub use codec::{Codec, DEFAULT_LEVEL, Decoder, Encoder};
pub use cut::{CdcCutter, Chunking, fixed_cuts};
pub use error::Error;
pub use index::{
    ChunkHeader, HEADER_LEN, PACK_HEADER_LEN, PackHeader, TRAILER_LEN, Trailer, parse_index,
    salvage, scan_forward,
};
pub use keys::{Keys, MasterKey, Protection};
pub use pack::{ChunkSlot, PackBuilder, open_chunk, take_chunk};
pub(crate) use wire::{put_varint, take_varint};

/// The most plain bytes a chunk may have; also the largest chunk size that can
/// be configured. Bounds what opening a hostile chunk can allocate.
pub const MAX_CHUNK_LEN: u32 = 64 << 20;
