//! Proofs of copies, also against stores that lie.

use super::super::contract::{key, noise, prepared_directory};
use super::super::{DirectoryStore, Fault, Faulty, Operation, PutOptions};
use super::*;
use crate::store::sums::sha256;
use crate::store::{ObjectInfo, Precaution, Protections, SweepStats};
use std::ops::Range;

/// A directory that claims whatever it is told to about its objects.
struct Claiming {
    inner: DirectoryStore,
    sha256: Option<Sha256Sum>,
    etag: Option<String>,
    _dir: tempfile::TempDir,
}

impl Claiming {
    fn new(sha256: Option<Sha256Sum>, etag: Option<String>) -> Self {
        let (dir, inner) = prepared_directory();
        Self { inner, sha256, etag, _dir: dir }
    }
}

impl Store for Claiming {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        let sum = Sha256Sum::Whole(sha256(&body));
        let receipt = self.inner.put(key, body, options)?;
        Ok(PutReceipt { sent_sha256: Some(sum), ..receipt })
    }
    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.inner.get(key, range)
    }
    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        let info = self.inner.head(key)?;
        Ok(ObjectInfo { sha256: self.sha256, etag: self.etag.clone(), ..info })
    }
    fn list(&self, _: &str, _: Option<&Key>, _: &mut dyn FnMut(ObjectInfo)) -> Result<()> {
        unreachable!("a proof lists nothing")
    }
    fn delete(&self, _: &Key) -> Result<()> {
        unreachable!("a proof deletes nothing")
    }
    fn sweep(&self, _: i64) -> Result<SweepStats> {
        unreachable!("a proof sweeps nothing")
    }
    fn lock_until(&self, _: &Key, _: i64) -> Result<bool> {
        unreachable!("a proof locks nothing")
    }
    fn protections(&self) -> Result<Protections> {
        unreachable!("a proof asks nothing")
    }
    fn honours(&self, _: Precaution, _: &Key) -> Result<bool> {
        unreachable!("a proof asks nothing")
    }
}

const SUMS: Capabilities = Capabilities {
    refuses_wrong_checksum: true,
    refuses_wrong_part_checksum: true,
    returns_checksum: true,
    etag_is_md5: false,
    conditional_create: false,
    lists_own_writes: true,
    exact_ranges: true,
};

const ETAG: Capabilities =
    Capabilities { refuses_wrong_checksum: false, etag_is_md5: true, ..SUMS };

fn pack_and_key() -> (PackId, Key) {
    let pack = PackId::fresh(1);
    (pack, key(&format!("packs/aa/{pack}")))
}

/// Puts `sent` and proves it.
fn put_and_prove(
    store: &dyn Store,
    capabilities: &Capabilities,
    sent: &Bytes,
) -> Result<PackEvidence> {
    let (pack, key) = pack_and_key();
    let receipt = store.put(&key, sent.clone(), &PutOptions::default())?;
    prove(store, capabilities, &receipt, sent, pack, 7)
}

#[test]
fn the_method_follows_from_what_the_store_was_found_to_do() {
    let sent = noise(1000, 1);
    let sum = Some(Sha256Sum::Whole(sha256(&sent)));
    let etag = Some(md5_hex(&sent));
    for (store, capabilities, method) in [
        (Claiming::new(sum, None), SUMS, ProofMethod::ServerChecksum),
        (Claiming::new(None, etag.clone()), ETAG, ProofMethod::Etag),
        // The sum is returned, but a wrong one would have been too.
        (Claiming::new(sum, etag.clone()), ETAG, ProofMethod::Etag),
        // Capable once, silent now.
        (Claiming::new(None, etag), SUMS, ProofMethod::ReadBack),
        (Claiming::new(None, Some("kms".to_owned())), ETAG, ProofMethod::ReadBack),
        (Claiming::new(sum, None), Capabilities::default(), ProofMethod::ReadBack),
    ] {
        let evidence = put_and_prove(&store, &capabilities, &sent).expect("a true copy");
        assert_eq!(evidence.method(), method);
    }
}

#[test]
fn a_sum_that_contradicts_is_an_error_whatever_the_bytes() {
    let sent = noise(1000, 1);
    let store = Claiming::new(Some(Sha256Sum::Whole([7; 32])), None);
    let error = put_and_prove(&store, &SUMS, &sent).expect_err("another sum");
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

#[test]
fn a_lying_put_never_yields_evidence() {
    for fault in [Fault::Lose, Fault::FlipBit, Fault::CutShort] {
        let (_dir, store) = prepared_directory();
        let store = Faulty::new(store);
        store.on(Operation::Put, 1, fault);
        let error = put_and_prove(&store, &SUMS, &noise(1000, 1)).expect_err("a lie");
        let wanted = if fault == Fault::Lose { ErrorKind::NotFound } else { ErrorKind::Integrity };
        assert_eq!(error.kind(), wanted, "{fault:?}");
    }
}

#[test]
fn evidence_for_one_pack_never_comes_from_anothers_object() {
    let (_dir, store) = prepared_directory();
    let sent = noise(10, 1);
    let (_, key) = pack_and_key();
    let receipt = store.put(&key, sent.clone(), &PutOptions::default()).expect("put");
    let error = prove(&store, &SUMS, &receipt, &sent, PackId::fresh(2), 7).expect_err("another");
    assert_eq!(error.kind(), ErrorKind::BadRequest);
}

#[test]
fn bytes_that_the_caller_rejects_are_no_evidence() {
    let (_dir, store) = prepared_directory();
    let (pack, key) = pack_and_key();
    store.put(&key, noise(10, 1), &PutOptions::default()).expect("put");
    let mut reject = |_: &Bytes| Err("chunk 3 has another id".to_owned());
    let error = prove_stored(&store, &key, pack, 7, &mut reject).expect_err("rejected");
    assert!(error.to_string().ends_with("wrong bytes: chunk 3 has another id"), "{error}");
}
