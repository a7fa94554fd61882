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
use crate::units::Copies;
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

/// The same of the second store. A type of its own, so that one store's proof never
/// counts for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondEvidence(PackEvidence);

impl SecondEvidence {
    /// `evidence` is of the second store.
    pub fn of_second(evidence: PackEvidence) -> Self {
        Self(evidence)
    }

    pub fn evidence(&self) -> &PackEvidence {
        &self.0
    }
}

/// What is proven of the pack that holds a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proofs {
    pub first: PackEvidence,
    pub second: Option<SecondEvidence>,
}

impl From<PackEvidence> for Proofs {
    fn from(first: PackEvidence) -> Self {
        Self { first, second: None }
    }
}

/// A chunk without evidence: the content has no verified copy, or one where two are
/// asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MissingProof {
    #[error("no proven pack holds chunk {chunk}")]
    First { chunk: ChunkId },
    #[error("the pack of chunk {chunk} has no proven copy in the second store")]
    Second { chunk: ChunkId },
}

/// Every chunk of a content lies in a pack that was proven, in as many stores as
/// were asked for. Not `Clone`: one value frees the blocks of one file.
#[derive(Debug, PartialEq, Eq)]
pub struct VerifiedCopy {
    content: ContentId,
    size_bytes: u64,
    oldest_proof_ns: i64,
    copies: Copies,
}

impl VerifiedCopy {
    /// Asks `where_is` for the evidence of each chunk; the first chunk without
    /// is the error. A missing first copy is found before a missing second one.
    pub fn assemble(
        content: &Content,
        copies: Copies,
        where_is: &dyn Fn(&ChunkId) -> Option<Proofs>,
    ) -> Result<Self, MissingProof> {
        let mut oldest_proof_ns = i64::MAX;
        let mut without_second = None;
        for chunk in content.chunk_ids() {
            let Proofs { first, second } = where_is(&chunk).ok_or(MissingProof::First { chunk })?;
            oldest_proof_ns = oldest_proof_ns.min(first.proven_ns);
            // Of the same pack: other proofs are of other bytes.
            match second.filter(|SecondEvidence(proof)| proof.pack == first.pack) {
                Some(SecondEvidence(proof)) if copies == Copies::Two => {
                    oldest_proof_ns = oldest_proof_ns.min(proof.proven_ns);
                }
                None if copies == Copies::Two => {
                    without_second.get_or_insert(chunk);
                }
                _ => {}
            }
        }
        match without_second {
            Some(chunk) => Err(MissingProof::Second { chunk }),
            None => Ok(Self {
                content: content.id(),
                size_bytes: content.size_bytes,
                oldest_proof_ns,
                copies,
            }),
        }
    }

    /// In how many stores every chunk is proven.
    pub fn copies(&self) -> Copies {
        self.copies
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
        let all = |chunk: &ChunkId| Some(evidence(100 - i64::from(chunk.0[0])).into());
        let copy = VerifiedCopy::assemble(&content, Copies::One, &all).expect("all proven");
        assert_eq!(copy.content(), content.id());
        assert_eq!((copy.size_bytes(), copy.oldest_proof_ns()), (15, 97));
        for missing in [1, 2, 3] {
            let most = |chunk: &ChunkId| (chunk.0[0] != missing).then(|| evidence(1).into());
            let error =
                VerifiedCopy::assemble(&content, Copies::One, &most).expect_err("one is missing");
            assert_eq!(error, MissingProof::First { chunk: ChunkId([missing; 32]) });
        }
    }

    #[test]
    fn two_copies_need_the_evidence_of_both_stores_for_the_same_pack() {
        let content = content(&[1, 2]);
        let in_pack = |pack, proven_ns| PackEvidence {
            pack: PackId([pack; 16]),
            method: ProofMethod::ReadBack,
            proven_ns,
        };
        let second = |pack| Some(SecondEvidence::of_second(in_pack(pack, 3)));
        let both = |_: &ChunkId| Some(Proofs { first: in_pack(1, 5), second: second(1) });
        let copy = VerifiedCopy::assemble(&content, Copies::Two, &both).expect("both");
        assert_eq!((copy.copies(), copy.oldest_proof_ns()), (Copies::Two, 3));
        for other in [None, second(9)] {
            let some = |chunk: &ChunkId| {
                let second = if chunk.0[0] == 2 { other } else { second(1) };
                Some(Proofs { first: in_pack(1, 5), second })
            };
            let error = VerifiedCopy::assemble(&content, Copies::Two, &some).expect_err("one");
            assert_eq!(error, MissingProof::Second { chunk: ChunkId([2; 32]) });
            let copy = VerifiedCopy::assemble(&content, Copies::One, &some).expect("one is enough");
            assert_eq!(copy.copies(), Copies::One);
        }
    }

    #[test]
    fn a_content_without_chunks_needs_no_proof() {
        let hole = Content::new([Piece { len: 9, chunk: None }]).expect("a hole");
        let copy = VerifiedCopy::assemble(&hole, Copies::Two, &|_| None).expect("nothing to prove");
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
