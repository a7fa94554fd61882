//! What the store knows about files: a file's content as a list of chunks, the
//! proof that a content has a verified copy, and the catalog that makes a tree
//! restorable from the bucket alone.
//!
//! Pure: bytes in, bytes out. The formats are written down in docs/FORMATS.md,
//! held by golden files, and readable without hsm (tests/restore.py).
//!
//! A catalog may have been written by anybody who can write to the bucket, so a
//! record is checked before it is believed: paths stay beneath their root,
//! lists add up, a content has the id it claims. The same checks run before a
//! record is written: a segment that could not be read back is never made.

pub mod collection;
mod content;
mod copy;
mod descriptor;
mod error;
pub mod keys;
mod lines;
mod name;
mod record;
mod segment;

#[cfg(test)]
mod tests;

pub use collection::{Collected, Collection};
pub use content::{Content, Piece};
pub use copy::{MissingProof, PackEvidence, ProofMethod, Proofs, SecondEvidence, VerifiedCopy};
pub use descriptor::{Cipher, StoreDescriptor};
pub use error::Error;
pub use lines::MAX_PLAIN_LEN;
pub use name::Name;
pub use record::{FileRecord, PackProof, PackRecord, Record, snapshot_fault};
pub use segment::{
    Chain, CheckpointHeader, SegmentHeader, decode_checkpoint, decode_segment, encode_checkpoint,
    encode_segment, segment_hash,
};
