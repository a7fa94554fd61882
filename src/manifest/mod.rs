//! Manifest types (stand-in).

use crate::chunk::{Chunking, MasterKey, Protection};
use crate::ids::StoreId;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a store descriptor")]
    Foreign { what: &'static str },
    #[error("{what} is encrypted and no key was given")]
    KeyMissing { what: &'static str },
    #[error("the key does not fit {what}: it wants {wanted}, this one is {given}")]
    WrongKey { what: &'static str, wanted: String, given: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    None,
    Aes256Gcm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDescriptor {
    pub store_id: StoreId,
    pub created_ns: i64,
    pub chunking: Chunking,
    pub cipher: Cipher,
    pub key_check: Option<[u8; 8]>,
}

impl StoreDescriptor {
    pub fn new(
        store_id: StoreId,
        created_ns: i64,
        chunking: Chunking,
        key: Option<&MasterKey>,
    ) -> Self {
        let cipher = if key.is_some() { Cipher::Aes256Gcm } else { Cipher::None };
        Self { store_id, created_ns, chunking, cipher, key_check: key.map(MasterKey::fingerprint) }
    }

    pub fn encode(&self) -> Vec<u8> {
        todo!("another room")
    }

    pub fn parse(_bytes: &[u8]) -> Result<Self, Error> {
        todo!("another room")
    }

    pub fn protection(&self, _key: Option<&MasterKey>) -> Result<Protection, Error> {
        todo!("another room")
    }
}
