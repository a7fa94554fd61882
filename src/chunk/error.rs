//! What can be wrong with a chunk, a pack or a key. Messages name the thing,
//! the byte offset inside the object, and what was expected there.

use crate::ids::ChunkId;

/// A failure of this room. Nothing here is worth a retry by itself: the bytes
/// are what they are, another copy of them may be better.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {what} at offset {offset}: these bytes are no {what}")]
    Foreign { what: &'static str, offset: u64 },

    #[error("read {what}: format version {found} is newer than version {known} known to this hsm")]
    Newer { what: &'static str, found: u32, known: u32 },

    #[error("read {what} at offset {offset}: {needed} bytes are needed, {have} are there")]
    Truncated { what: &'static str, offset: u64, needed: u64, have: u64 },

    #[error("read {what} at offset {offset}: its checksum is wrong")]
    Checksum { what: &'static str, offset: u64 },

    #[error("read {what} at offset {offset}: {why}")]
    Malformed { what: &'static str, offset: u64, why: &'static str },

    #[error("open chunk {id}: {why}")]
    Unopenable { id: ChunkId, why: &'static str },

    #[error("open chunk {id}: its bytes are not the bytes it is named after")]
    WrongContent { id: ChunkId },

    #[error("decompress {stored_len} bytes into {plain_len}: {why}")]
    Decompress { stored_len: usize, plain_len: u32, why: String },

    #[error("decrypt {what}: wrong key, or the bytes were changed")]
    Undecipherable { what: &'static str },

    #[error("read the key file: {why}")]
    BadKey { why: &'static str },

    #[error("not a chunking: {text:?}: {why}")]
    BadChunking { text: String, why: &'static str },
}
