//! Proof values: evidence that a pack is in the store as it was sent, and the
//! verified copy of a content that is assembled from such evidence.
//!
//! Blocks can only be freed by giving up a [`VerifiedCopy`]. It cannot be made
//! but from evidence for every chunk of the content; it cannot be kept for a
//! second use; and evidence is made in two places only: by `attest` in `store`,
//! right after the proof, and by `recorded` in `state`, from the row it was
//! written to. tests/architecture.rs holds that.

use super::Content;
use crate::ids::{ChunkId, ContentId, PackId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How a pack was proven to be in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProofMethod {
    /// The store, seen to refuse a wrong SHA-256, returned the right one.
    ServerChecksum,
    /// The store, seen to use MD5 as ETag, returned the right one.
    Etag,
    /// Every byte was fetched again and compared.
    ReadBack,
}

impl ProofMethod {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServerChecksum => "server-checksum",
            Self::Etag => "etag",
            Self::ReadBack => "read-back",
        }
    }
}

/// A text that names no proof method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a proof method: {0:?}")]
pub struct UnknownProof(String);

impl FromStr for ProofMethod {
    type Err = UnknownProof;

    fn from_str(text: &str) -> Result<Self, UnknownProof> {
        [Self::ServerChecksum, Self::Etag, Self::ReadBack]
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or_else(|| UnknownProof(text.to_owned()))
    }
}

/// A pack was in the store, byte for byte as it was sent, at `proven_ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackEvidence {
    pack: PackId,
    method: ProofMethod,
    proven_ns: i64,
}

impl PackEvidence {
    /// Only for `store`, right after the proof succeeded.
    pub fn attest(pack: PackId, method: ProofMethod, proven_ns: i64) -> Self {
        Self { pack, method, proven_ns }
    }

    /// Only for `state`, from a row that an attested value was written to.
    pub fn recorded(pack: PackId, method: ProofMethod, proven_ns: i64) -> Self {
        Self { pack, method, proven_ns }
    }

    pub fn pack(&self) -> PackId {
        self.pack
    }

    pub fn method(&self) -> ProofMethod {
        self.method
    }

    /// Nanoseconds since the Unix epoch.
    pub fn proven_ns(&self) -> i64 {
        self.proven_ns
    }
}

/// A chunk without evidence: the content has no verified copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no proven pack holds chunk {chunk}")]
pub struct MissingProof {
    pub chunk: ChunkId,
}

/// Every chunk of a content lies in a pack that was proven. Not `Clone`: one
/// value frees the blocks of one file.
#[derive(Debug, PartialEq, Eq)]
pub struct VerifiedCopy {
    content: ContentId,
    size_bytes: u64,
    oldest_proof_ns: i64,
}

impl VerifiedCopy {
    /// Asks `where_is` for the evidence of each chunk; the first chunk without
    /// is the error.
    pub fn assemble(
        content: &Content,
        where_is: &dyn Fn(&ChunkId) -> Option<PackEvidence>,
    ) -> Result<Self, MissingProof> {
        let mut oldest_proof_ns = i64::MAX;
        for chunk in content.chunk_ids() {
            let evidence = where_is(&chunk).ok_or(MissingProof { chunk })?;
            oldest_proof_ns = oldest_proof_ns.min(evidence.proven_ns);
        }
        Ok(Self { content: content.id(), size_bytes: content.size_bytes, oldest_proof_ns })
    }

    pub fn content(&self) -> ContentId {
        self.content
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// When the weakest of its packs was proven, nanoseconds since the Unix
    /// epoch; `i64::MAX` for a content without chunks, which needs no proof.
    pub fn oldest_proof_ns(&self) -> i64 {
        self.oldest_proof_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Piece;

    fn content(chunks: &[u8]) -> Content {
        let piece = |byte: &u8| Piece { len: 5, chunk: Some(ChunkId([*byte; 32])) };
        Content::new(chunks.iter().map(piece)).expect("a sound content")
    }

    fn evidence(proven_ns: i64) -> PackEvidence {
        PackEvidence { pack: PackId([1; 16]), method: ProofMethod::ReadBack, proven_ns }
    }

    #[test]
    fn a_copy_needs_evidence_for_every_chunk() {
        let content = content(&[1, 2, 3]);
        let all = |chunk: &ChunkId| Some(evidence(100 - i64::from(chunk.0[0])));
        let copy = VerifiedCopy::assemble(&content, &all).expect("all proven");
        assert_eq!(copy.content(), content.id());
        assert_eq!((copy.size_bytes(), copy.oldest_proof_ns()), (15, 97));
        for missing in [1, 2, 3] {
            let most = |chunk: &ChunkId| (chunk.0[0] != missing).then(|| evidence(1));
            let error = VerifiedCopy::assemble(&content, &most).expect_err("one is missing");
            assert_eq!(error, MissingProof { chunk: ChunkId([missing; 32]) });
        }
    }

    #[test]
    fn a_content_without_chunks_needs_no_proof() {
        let hole = Content::new([Piece { len: 9, chunk: None }]).expect("a hole");
        let copy = VerifiedCopy::assemble(&hole, &|_| None).expect("nothing to prove");
        assert_eq!((copy.size_bytes(), copy.oldest_proof_ns()), (9, i64::MAX));
    }

    #[test]
    fn methods_survive_their_text_form() {
        for method in [ProofMethod::ServerChecksum, ProofMethod::Etag, ProofMethod::ReadBack] {
            assert_eq!(method.as_str().parse(), Ok(method));
        }
        assert!("hearsay".parse::<ProofMethod>().is_err());
    }
}
