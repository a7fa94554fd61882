//! `hsm-store.json`: what a store is, written once when it is initialised.
//!
//! It decides how every other object is read, so it is checked strictly and
//! first. It is JSON of a few lines, because a person will look at it one day
//! when nothing else is left.

use super::Error;
use crate::chunk::{Chunking, MasterKey, Protection};
use crate::ids::{CopyId, StoreId};
use serde::{Deserialize, Serialize};

const MAGIC: &str = "hsm-store";
const FORMAT: u32 = 1;
const COMPRESSION: &str = "zstd";
const WHAT: &str = "store descriptor";
/// A descriptor is a few hundred bytes; anything much larger is something else.
const MAX_LEN: usize = 64 << 10;

/// How the objects of a store are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cipher {
    #[serde(rename = "none")]
    None,
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
}

/// The contents of `hsm-store.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDescriptor {
    pub store_id: StoreId,
    /// Nanoseconds since the Unix epoch.
    pub created_ns: i64,
    /// What files are cut by unless a policy says otherwise. Each file's record
    /// carries its own.
    pub chunking: Chunking,
    pub cipher: Cipher,
    /// [`MasterKey::fingerprint`] of an encrypted store.
    pub key_check: Option<[u8; 8]>,
    /// Of a second store: which one it is. A first store has none.
    pub copy: Option<CopyId>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    magic: String,
    format: u32,
    store_id: StoreId,
    created_ns: i64,
    chunking: Chunking,
    cipher: Cipher,
    key_check: Option<String>,
    compression: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copy: Option<CopyId>,
}

/// The two fields whose meaning no version changes.
#[derive(Deserialize)]
struct Probe {
    magic: String,
    format: serde_json::Value,
}

impl StoreDescriptor {
    /// A new store, encrypted when a key is given.
    pub fn new(
        store_id: StoreId,
        created_ns: i64,
        chunking: Chunking,
        key: Option<&MasterKey>,
    ) -> Self {
        let cipher = if key.is_some() { Cipher::Aes256Gcm } else { Cipher::None };
        let key_check = key.map(MasterKey::fingerprint);
        Self { store_id, created_ns, chunking, cipher, key_check, copy: None }
    }

    /// The descriptor of a second store beside this one.
    pub fn copied(&self, copy: CopyId) -> Self {
        Self { copy: Some(copy), ..self.clone() }
    }

    pub fn encode(&self) -> Vec<u8> {
        let json = Json {
            magic: MAGIC.to_owned(),
            format: FORMAT,
            store_id: self.store_id,
            created_ns: self.created_ns,
            chunking: self.chunking,
            cipher: self.cipher,
            key_check: self.key_check.map(hex::encode),
            compression: COMPRESSION.to_owned(),
            copy: self.copy,
        };
        let mut bytes = serde_json::to_vec_pretty(&json).expect("strings and numbers make JSON");
        bytes.push(b'\n');
        bytes
    }

    /// Refuses another magic, a newer format, and anything it would not act on.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |why: &str| Error::Malformed { what: WHAT, why: why.to_owned() };
        let no_json = |source| Error::Json { what: WHAT, line: 1, source };
        if bytes.len() > MAX_LEN {
            return Err(Error::TooLarge { what: WHAT, max: MAX_LEN });
        }
        let probe: Probe = serde_json::from_slice(bytes).map_err(no_json)?;
        if probe.magic != MAGIC {
            return Err(Error::Foreign { what: WHAT });
        }
        if probe.format != FORMAT {
            let found = probe.format.to_string();
            return Err(Error::Newer { what: WHAT, found, known: FORMAT });
        }
        let json: Json = serde_json::from_slice(bytes).map_err(no_json)?;
        if json.compression != COMPRESSION {
            return Err(malformed("its compression is unknown to this hsm"));
        }
        let key_check = match (json.cipher, json.key_check) {
            (Cipher::None, None) => None,
            (Cipher::Aes256Gcm, Some(text)) => {
                let mut key_check = [0; 8];
                hex::decode_to_slice(&text, &mut key_check)
                    .map_err(|_| malformed("key_check is not 16 hexadecimal digits"))?;
                Some(key_check)
            }
            _ => return Err(malformed("cipher and key_check contradict each other")),
        };
        let Json { store_id, created_ns, chunking, cipher, copy, .. } = json;
        Ok(Self { store_id, created_ns, chunking, cipher, key_check, copy })
    }

    /// The protection this store wants, from the key file if it needs one. A
    /// missing or wrong key is refused. So is a key without a use: the descriptor is
    /// the only object that nothing seals, and a store that is said to be plain would be
    /// sent plain bytes and believed whatever its catalog says.
    pub fn protection(&self, key: Option<&MasterKey>) -> Result<Protection, Error> {
        let Some(wanted) = self.key_check else {
            let unused = Err(Error::KeyUnused { what: "the store" });
            return if key.is_some() { unused } else { Ok(Protection::Plain) };
        };
        let key = key.ok_or(Error::KeyMissing { what: "the store" })?;
        let given = key.fingerprint();
        if given != wanted {
            let (wanted, given) = (hex::encode(wanted), hex::encode(given));
            return Err(Error::WrongKey { what: "the store", wanted, given });
        }
        Ok(Protection::encrypted(key, self.store_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(key: Option<&MasterKey>) -> StoreDescriptor {
        StoreDescriptor::new(
            StoreId([0x51; 16]),
            1_700_000_000_000_000_000,
            Chunking::default(),
            key,
        )
    }

    #[test]
    fn it_survives_and_picks_the_protection() {
        let key = MasterKey::generate([7; 32]);
        let plain = descriptor(None);
        assert_eq!(StoreDescriptor::parse(&plain.encode()).expect("reads"), plain);
        assert!(!plain.protection(None).expect("plain").is_encrypted());
        let secret = descriptor(Some(&key));
        assert_eq!(StoreDescriptor::parse(&secret.encode()).expect("reads"), secret);
        let protection = secret.protection(Some(&key)).expect("the key");
        assert_eq!(protection.fingerprint(), Some(key.fingerprint()));
    }

    #[test]
    fn a_second_store_is_marked_and_a_first_one_is_as_it_always_was() {
        let first = descriptor(None);
        assert!(!String::from_utf8(first.encode()).expect("text").contains("copy"));
        let second = first.copied(CopyId([7; 16]));
        let read = StoreDescriptor::parse(&second.encode()).expect("reads");
        assert_eq!((read.copy, read.store_id), (Some(CopyId([7; 16])), first.store_id));
        assert_eq!(StoreDescriptor { copy: None, ..read }, first);
    }

    #[test]
    fn a_missing_or_wrong_key_is_named() {
        let secret = descriptor(Some(&MasterKey::generate([7; 32])));
        assert!(matches!(secret.protection(None), Err(Error::KeyMissing { .. })));
        let other = MasterKey::generate([8; 32]);
        let error = secret.protection(Some(&other)).expect_err("wrong");
        assert!(error.to_string().contains(&hex::encode(other.fingerprint())));
    }

    #[test]
    fn a_store_that_says_it_is_plain_is_refused_where_there_is_a_key() {
        let refused = descriptor(None).protection(Some(&MasterKey::generate([7; 32])));
        assert!(matches!(refused, Err(Error::KeyUnused { .. })));
    }

    #[test]
    fn what_it_does_not_know_it_refuses() {
        let good = String::from_utf8(descriptor(None).encode()).expect("text");
        let refusal = |from: &str, to: &str| {
            let text = good.replace(from, to);
            assert_ne!(text, good);
            StoreDescriptor::parse(text.as_bytes()).expect_err(to).to_string()
        };
        assert!(refusal("hsm-store\"", "other\"").contains("no store descriptor"));
        assert!(refusal("\"format\": 1", "\"format\": 2").contains("version 2 is newer"));
        assert!(refusal("zstd", "lzma").contains("compression"));
        assert!(refusal("\"none\"", "\"aes-256-gcm\"").contains("contradict"));
        refusal("\"none\"", "\"rot13\"");
        refusal("fixed:4194304", "fixed:3");
        refusal("{", "");
        let huge = vec![b' '; MAX_LEN + 1];
        assert!(matches!(StoreDescriptor::parse(&huge), Err(Error::TooLarge { .. })));
    }
}
