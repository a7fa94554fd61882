//! Evidence that a pack's bytes are in the store: the only code that attests.
//!
//! The method follows from what the store was probed to do, best first, and
//! every doubt leads to the last one:
//!
//! 1. the server refuses wrong sums and returns the ones it holds: a fresh HEAD
//!    must show the sum of exactly these bytes;
//! 2. the ETag is the MD5: a fresh HEAD must show ours (single-part objects);
//! 3. otherwise, and always for a directory, the object is read through a new
//!    request or descriptor and every byte is compared.
//!
//! A copy in an archive class cannot be read: there only the first two count, and a
//! store that gives neither gets no packs in such a class ([`can_prove_unread`]).
//!
//! An answer to the upload itself is never evidence: a server can echo what it
//! was told. Blocks are freed on the strength of this.

use super::sums::md5_hex;
use super::{Capabilities, Error, ErrorKind, Key, PutReceipt, Result, Sha256Sum, Store};
use crate::ids::PackId;
use crate::manifest::{PackEvidence, ProofMethod};
use bytes::Bytes;

/// Proves that the object of `receipt`, which holds `pack`, has the bytes
/// `sent`. Blocks for a HEAD, or for reading the object.
pub fn prove(
    store: &dyn Store,
    capabilities: &Capabilities,
    receipt: &PutReceipt,
    sent: &Bytes,
    pack: PackId,
    now_ns: i64,
) -> Result<PackEvidence> {
    check_names_pack(store, &receipt.key, pack)?;
    if receipt.size_bytes != sent.len() as u64 {
        let detail = format!("the receipt is for {} bytes, not {}", receipt.size_bytes, sent.len());
        return Err(refusal(store, &receipt.key, ErrorKind::BadRequest, detail));
    }
    let method = if proven_by_head(store, capabilities, receipt, sent)? {
        match receipt.sent_sha256 {
            Some(sum) if trusts_sum(capabilities, &sum) => ProofMethod::ServerChecksum,
            _ => ProofMethod::Etag,
        }
    } else {
        read_back(store, &receipt.key, sent)?;
        ProofMethod::ReadBack
    };
    Ok(PackEvidence::attest(pack, method, now_ns))
}

/// Proves a pack that is in the store already by reading all of it and handing
/// the bytes to `check`, which says what is wrong with them.
pub fn prove_stored(
    store: &dyn Store,
    key: &Key,
    pack: PackId,
    now_ns: i64,
    check: &mut dyn FnMut(&Bytes) -> std::result::Result<(), String>,
) -> Result<PackEvidence> {
    check_names_pack(store, key, pack)?;
    let bytes = store.get(key, None)?;
    check(&bytes).map_err(|detail| refusal(store, key, ErrorKind::Integrity, detail))?;
    Ok(PackEvidence::attest(pack, ProofMethod::ReadBack, now_ns))
}

/// Whether the store was found to describe an object of one piece so well that it
/// need not be read.
pub fn can_prove_unread(capabilities: &Capabilities) -> bool {
    let by_sum = capabilities.refuses_wrong_checksum && capabilities.returns_checksum;
    by_sum || capabilities.etag_is_md5
}

fn trusts_sum(capabilities: &Capabilities, sum: &Sha256Sum) -> bool {
    let refuses_wrong = match sum {
        Sha256Sum::Whole(_) => capabilities.refuses_wrong_checksum,
        Sha256Sum::Composite { .. } => capabilities.refuses_wrong_part_checksum,
    };
    refuses_wrong && capabilities.returns_checksum
}

/// Whether a fresh HEAD proves the bytes; `false` means that it says too
/// little, an error that it contradicts.
fn proven_by_head(
    store: &dyn Store,
    capabilities: &Capabilities,
    receipt: &PutReceipt,
    sent: &Bytes,
) -> Result<bool> {
    let by_sum = receipt.sent_sha256.filter(|sum| trusts_sum(capabilities, sum));
    let etag_proves = || capabilities.etag_is_md5 && has_md5_etag(receipt, sent);
    if by_sum.is_none() && !etag_proves() {
        return Ok(false);
    }
    let info = store.head(&receipt.key)?;
    if info.size_bytes != receipt.size_bytes {
        let detail = format!("{} bytes are stored, {} sent", info.size_bytes, receipt.size_bytes);
        return Err(refusal(store, &receipt.key, ErrorKind::Integrity, detail));
    }
    match (by_sum, info.sha256) {
        (Some(ours), Some(theirs)) if ours == theirs => Ok(true),
        (Some(ours), Some(theirs)) if is_same_form(&ours, &theirs) => {
            let detail = "the store holds another sum than was sent".to_owned();
            Err(refusal(store, &receipt.key, ErrorKind::Integrity, detail))
        }
        (Some(_), _) => Ok(false),
        // Another ETag need not be another object: encryption changes it.
        (None, _) => Ok(info.etag.is_some_and(|etag| etag == md5_hex(sent))),
    }
}

/// Whether the object is one whose ETag can be the MD5 of its bytes: of several
/// parts it cannot. Where no sum was declared, the answer to the PUT tells.
fn has_md5_etag(receipt: &PutReceipt, sent: &Bytes) -> bool {
    match receipt.sent_sha256 {
        Some(sum) => matches!(sum, Sha256Sum::Whole(_)),
        None => receipt.etag.as_ref().is_some_and(|etag| *etag == md5_hex(sent)),
    }
}

fn is_same_form(a: &Sha256Sum, b: &Sha256Sum) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn read_back(store: &dyn Store, key: &Key, sent: &Bytes) -> Result<()> {
    let stored = store.get(key, None).map_err(|error| match error.kind() {
        ErrorKind::Archived => {
            let detail = "it is in an archive class and the store gave no sum to prove it by";
            refusal(store, key, ErrorKind::Archived, detail.to_owned()).with_source(error)
        }
        _ => error,
    })?;
    if stored == *sent {
        return Ok(());
    }
    let at = stored.iter().zip(sent).position(|(a, b)| a != b);
    let detail = match at {
        Some(at) => format!("byte {at} differs from what was sent"),
        None => format!("{} bytes are stored, {} sent", stored.len(), sent.len()),
    };
    Err(refusal(store, key, ErrorKind::Integrity, detail))
}

/// Evidence for one pack must not come from another's object.
fn check_names_pack(store: &dyn Store, key: &Key, pack: PackId) -> Result<()> {
    let plain = |text: &str| text.replace('-', "");
    if plain(key.split().1) == plain(&pack.to_string()) {
        return Ok(());
    }
    Err(refusal(
        store,
        key,
        ErrorKind::BadRequest,
        format!("this is not the object of pack {pack}"),
    ))
}

fn refusal(store: &dyn Store, key: &Key, kind: ErrorKind, detail: String) -> Error {
    Error::new(kind, "prove", key.as_str(), store.location()).with_detail(detail)
}

#[cfg(test)]
#[path = "prove_tests.rs"]
mod tests;
