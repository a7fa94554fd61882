//! Keys: one master key in a file, everything else derived from it.
//!
//! ```text
//! HKDF-SHA-256 (RFC 5869), salt = store id, input = master key, info =
//!   "hsm v1 chunk id"            -> HMAC key that names chunks
//!   "hsm v1 pack"    | pack id   -> AES-256-GCM key of one pack
//!   "hsm v1 seal id"             -> HMAC key that salts catalog objects
//!   "hsm v1 sealed"  | salt      -> AES-256-GCM key of one catalog object
//! ```
//!
//! No nonce is ever used twice under one key, without any randomness here: a
//! pack's name is unique and a chunk's offset in it is its nonce; a catalog
//! object's key is salted with a MAC over its own bytes, so that two attempts at
//! the same segment with different contents have different keys (and equal
//! contents give equal bytes).
//!
//! Chunk ids are keyed, so that nobody without the key can tell from the bucket
//! whether a known file is stored. Losing the master key loses the store.

use super::Error;
use crate::ids::{ChunkId, PackId, StoreId};
use aws_lc_rs::{aead, digest, hkdf, hmac};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

const KEY_FILE_TAG: &str = "hsm-key-v1";
const CHUNK_ID_INFO: &[u8] = b"hsm v1 chunk id";
const PACK_INFO: &[u8] = b"hsm v1 pack";
const SEAL_ID_INFO: &[u8] = b"hsm v1 seal id";
const SEALED_INFO: &[u8] = b"hsm v1 sealed";
const FINGERPRINT_INFO: &[u8] = b"hsm v1 fingerprint";

/// Bytes that GCM adds.
pub(super) const TAG_LEN: usize = 16;
const SALT_LEN: usize = 32;

/// The secret that opens an encrypted store. Not `Clone`, never logged, wiped
/// when dropped (on a best-effort basis: the compiler may have copied it).
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// A new key from 32 random bytes of the kernel.
    pub fn generate(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Reads a key file: one line `hsm-key-v1 ` and 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::BadKey { why };
        let mut words = text.split_ascii_whitespace();
        match words.next() {
            Some(KEY_FILE_TAG) => {}
            Some(tag) if tag.starts_with("hsm-key-v") => {
                return Err(bad("it was written by a newer hsm"));
            }
            _ => return Err(bad("it does not begin with hsm-key-v1")),
        }
        let mut key = Self([0; 32]);
        let digits = words.next().ok_or(bad("the key is missing"))?;
        hex::decode_to_slice(digits, &mut key.0)
            .map_err(|_| bad("the key is not 64 hexadecimal digits"))?;
        match words.next() {
            None => Ok(key),
            Some(_) => Err(bad("something follows the key")),
        }
    }

    /// The text of a key file.
    pub fn encode(&self) -> String {
        format!("{KEY_FILE_TAG} {}\n", hex::encode(self.0))
    }

    /// Names the key without telling it; stands in the store descriptor and in
    /// packs, so that a wrong key is told from damage.
    pub fn fingerprint(&self) -> [u8; 8] {
        let prk = hkdf::Salt::none(hkdf::HKDF_SHA256).extract(&self.0);
        let mut full = [0; 32];
        prk.expand(&[FINGERPRINT_INFO], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut full))
            .expect("HKDF yields one hash length");
        full[..8].try_into().expect("eight of thirty-two bytes")
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// The keys of one store; cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Derived>);

struct Derived {
    root: hkdf::Prk,
    chunk_ids: hmac::Key,
    seal_ids: hmac::Key,
    fingerprint: [u8; 8],
}

impl Keys {
    pub fn derive(master: &MasterKey, store: StoreId) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, store.as_bytes()).extract(&master.0);
        let hmac_key = |info| {
            let algorithm = hkdf::HKDF_SHA256.hmac_algorithm();
            hmac::Key::from(root.expand(&[info], algorithm).expect("HKDF yields one hash length"))
        };
        let (chunk_ids, seal_ids) = (hmac_key(CHUNK_ID_INFO), hmac_key(SEAL_ID_INFO));
        let fingerprint = master.fingerprint();
        Self(Arc::new(Derived { root, chunk_ids, seal_ids, fingerprint }))
    }

    fn cipher(&self, info: &[u8], unique: &[u8]) -> aead::LessSafeKey {
        let info = [info, unique];
        let okm = self.0.root.expand(&info, &aead::AES_256_GCM).expect("HKDF yields 32 bytes");
        aead::LessSafeKey::new(aead::UnboundKey::from(okm))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", hex::encode(self.0.fingerprint))
    }
}

/// How a store protects what it holds.
#[derive(Debug, Clone)]
pub enum Protection {
    Plain,
    Encrypted(Keys),
}

impl Protection {
    pub fn encrypted(master: &MasterKey, store: StoreId) -> Self {
        Self::Encrypted(Keys::derive(master, store))
    }

    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }

    /// The fingerprint of the key in use; `None` without encryption.
    pub fn fingerprint(&self) -> Option<[u8; 8]> {
        match self {
            Self::Plain => None,
            Self::Encrypted(keys) => Some(keys.0.fingerprint),
        }
    }

    /// SHA-256 of the plain bytes, or HMAC-SHA-256 of them under the id key.
    pub fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        let id = match self {
            Self::Plain => digest::digest(&digest::SHA256, plain).as_ref().try_into(),
            Self::Encrypted(keys) => hmac::sign(&keys.0.chunk_ids, plain).as_ref().try_into(),
        };
        ChunkId(id.expect("SHA-256 is 32 bytes"))
    }

    /// Encrypts a catalog object's body; unchanged in a plain store. The sealed
    /// form is salt (32 bytes), ciphertext, tag (16). `context` is authenticated
    /// with it and must be given again to open it.
    pub fn seal(&self, context: &[u8], plain: Vec<u8>) -> Vec<u8> {
        let Self::Encrypted(keys) = self else { return plain };
        let mut mac = hmac::Context::with_key(&keys.0.seal_ids);
        mac.update(&(context.len() as u64).to_le_bytes());
        mac.update(context);
        mac.update(&plain);
        let salt = mac.sign();
        let mut sealed = Vec::with_capacity(SALT_LEN + plain.len() + TAG_LEN);
        sealed.extend_from_slice(salt.as_ref());
        sealed.extend_from_slice(&plain);
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        let tag = keys
            .cipher(SEALED_INFO, salt.as_ref())
            .seal_in_place_separate_tag(nonce, aead::Aad::from(context), &mut sealed[SALT_LEN..])
            .expect("GCM seals up to 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// The inverse of [`Protection::seal`].
    pub fn open<'a>(&self, context: &[u8], sealed: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
        let what = "a catalog object";
        let Self::Encrypted(keys) = self else { return Ok(Cow::Borrowed(sealed)) };
        let (salt, body) = sealed
            .split_first_chunk::<SALT_LEN>()
            .filter(|(_, body)| body.len() >= TAG_LEN)
            .ok_or(Error::Undecipherable { what })?;
        let mut plain = body.to_vec();
        let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
        let len = keys
            .cipher(SEALED_INFO, salt)
            .open_in_place(nonce, aead::Aad::from(context), &mut plain)
            .map_err(|_| Error::Undecipherable { what })?
            .len();
        plain.truncate(len);
        Ok(Cow::Owned(plain))
    }

    /// The cipher of one pack; `None` in a plain store.
    pub(super) fn pack_cipher(&self, store: StoreId, pack: PackId) -> Option<PackCipher> {
        let Self::Encrypted(keys) = self else { return None };
        let mut aad = [0; 64];
        aad[..16].copy_from_slice(store.as_bytes());
        aad[16..32].copy_from_slice(pack.as_bytes());
        Some(PackCipher { key: keys.cipher(PACK_INFO, pack.as_bytes()), aad })
    }
}

/// AES-256-GCM under one pack's key. The nonce of a chunk is the offset of its
/// stored bytes in the pack (8 bytes little endian, then 4 zero bytes): unique
/// because chunks do not overlap and a pack is built once. Authenticated with
/// it: store id, pack id, chunk id.
pub(super) struct PackCipher {
    key: aead::LessSafeKey,
    aad: [u8; 64],
}

impl PackCipher {
    /// Encrypts in place; returns the tag to append.
    pub fn seal(&self, offset: u64, id: &ChunkId, bytes: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(offset), aead::Aad::from(self.aad_of(id)), bytes)
            .expect("GCM seals up to 64 GiB");
        tag.as_ref().try_into().expect("a GCM tag is 16 bytes")
    }

    /// Decrypts `bytes` (ciphertext and tag) in place and cuts the tag off.
    pub fn open(&self, offset: u64, id: &ChunkId, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let len = self
            .key
            .open_in_place(nonce(offset), aead::Aad::from(self.aad_of(id)), bytes)
            .map_err(|_| Error::Unopenable {
                id: *id,
                why: "wrong key, or its bytes were changed",
            })?
            .len();
        bytes.truncate(len);
        Ok(())
    }

    fn aad_of(&self, id: &ChunkId) -> [u8; 64] {
        let mut aad = self.aad;
        aad[32..].copy_from_slice(id.as_bytes());
        aad
    }
}

fn nonce(offset: u64) -> aead::Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    aead::Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StoreId;

    fn key(byte: u8) -> MasterKey {
        MasterKey::generate([byte; 32])
    }

    const STORE: StoreId = StoreId([5; 16]);

    #[test]
    fn a_key_file_survives_and_wrong_ones_are_named() {
        let text = key(0xab).encode();
        assert_eq!(text, format!("hsm-key-v1 {}\n", "ab".repeat(32)));
        assert_eq!(MasterKey::parse(&text).expect("a key").fingerprint(), key(0xab).fingerprint());
        let refusal = |text: &str| MasterKey::parse(text).expect_err("a bad key").to_string();
        assert!(refusal("").contains("hsm-key-v1"));
        assert!(refusal("hsm-key-v2 00").contains("newer"));
        assert!(refusal("hsm-key-v1").contains("missing"));
        assert!(refusal("hsm-key-v1 abc").contains("64"));
        assert!(refusal(&format!("{text} x")).contains("follows"));
    }

    #[test]
    fn debug_tells_no_secret() {
        assert_eq!(format!("{:?}", key(0xab)), "MasterKey(..)");
        let shown = format!("{:?}", Protection::encrypted(&key(0xab), STORE));
        assert_eq!(shown, format!("Encrypted(Keys({}))", hex::encode(key(0xab).fingerprint())));
    }

    #[test]
    fn plain_chunk_ids_are_sha256() {
        // FIPS 180-4, the hash of "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Protection::Plain.chunk_id(b"abc").to_string(), abc);
    }

    #[test]
    fn keyed_ids_differ_by_key_and_by_store() {
        let id = |protection: Protection| protection.chunk_id(b"abc");
        let mine = id(Protection::encrypted(&key(1), STORE));
        assert_eq!(mine, id(Protection::encrypted(&key(1), STORE)));
        assert_ne!(mine, id(Protection::Plain));
        assert_ne!(mine, id(Protection::encrypted(&key(2), STORE)));
        assert_ne!(mine, id(Protection::encrypted(&key(1), StoreId([6; 16]))));
    }

    #[test]
    fn a_sealed_object_opens_only_whole_under_its_key_and_context() {
        let mine = Protection::encrypted(&key(1), STORE);
        let sealed = mine.seal(b"context", b"body".to_vec());
        assert_eq!(sealed.len(), SALT_LEN + 4 + TAG_LEN);
        assert_eq!(mine.open(b"context", &sealed).expect("opens").as_ref(), b"body");
        assert!(mine.open(b"contexT", &sealed).is_err());
        assert!(Protection::encrypted(&key(2), STORE).open(b"context", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(mine.open(b"context", &flipped).is_err(), "byte {at}");
            assert!(mine.open(b"context", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn different_bodies_never_share_a_key() {
        let mine = Protection::encrypted(&key(1), STORE);
        let (one, two) = (mine.seal(b"", b"body".to_vec()), mine.seal(b"", b"bodY".to_vec()));
        assert_ne!(one[..SALT_LEN], two[..SALT_LEN]);
        assert_eq!(one, mine.seal(b"", b"body".to_vec()));
    }
}
