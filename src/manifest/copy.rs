//! Evidence that a pack's bytes are in the store (stand-in).

use crate::ids::PackId;

/// How the store's copy of a pack was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofMethod {
    ServerChecksum,
    Etag,
    ReadBack,
}

/// A pack was proven to be in the store, by this method, at this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackEvidence {
    pack: PackId,
    method: ProofMethod,
    proven_ns: i64,
}

impl PackEvidence {
    /// Only the store room may call this.
    pub fn attest(pack: PackId, method: ProofMethod, proven_ns: i64) -> Self {
        Self { pack, method, proven_ns }
    }

    pub fn pack(&self) -> PackId {
        self.pack
    }

    pub fn method(&self) -> ProofMethod {
        self.method
    }

    pub fn proven_ns(&self) -> i64 {
        self.proven_ns
    }
}
