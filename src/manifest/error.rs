//! What can be wrong with a manifest, a catalog object or a store descriptor.

use crate::chunk;

/// A failure of this room. `what` names the thing ("catalog segment"); lines of
/// a catalog object are counted from 1, the header being line 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read {what}: these bytes are no {what}")]
    Foreign { what: &'static str },

    #[error("read {what}: format version {found} is newer than version {known} known to this hsm")]
    Newer { what: &'static str, found: String, known: u32 },

    #[error("read {what}: {why}")]
    Malformed { what: &'static str, why: String },

    #[error("read {what}, line {line}")]
    Json { what: &'static str, line: usize, source: serde_json::Error },

    #[error("read {what}, line {line}: {why}")]
    BadRecord { what: &'static str, line: usize, why: String },

    #[error("write {what}, record {record}: {why}")]
    Unwritable { what: &'static str, record: usize, why: String },

    #[error("{what} has more than {max} bytes before compression")]
    TooLarge { what: &'static str, max: usize },

    #[error("decompress {what}")]
    Decompress { what: &'static str, source: std::io::Error },

    #[error("read {what}: it is encrypted and no key was given")]
    KeyMissing { what: &'static str },

    #[error("read {what}: it is not encrypted, though this store is")]
    NotEncrypted { what: &'static str },

    #[error(
        "read {what}: it says that it is not encrypted, but there is a key for it; whoever can write \
         to a store can make it say so"
    )]
    KeyUnused { what: &'static str },

    #[error("read {what}: it needs the key with fingerprint {wanted}, this one has {given}")]
    WrongKey { what: &'static str, wanted: String, given: String },

    #[error("open {what}")]
    Sealed { what: &'static str, source: chunk::Error },

    #[error("follow the catalog log at segment {seq}: {why}")]
    BrokenChain { seq: u64, why: String },
}
