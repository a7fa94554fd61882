//! The object store (stand-in).

use crate::monitor::Stop;
use bytes::Bytes;
use std::ops::Range;

pub const DESCRIPTOR_KEY: &str = "hsm-store.json";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(String);

#[derive(Debug, thiserror::Error)]
#[error("bad key")]
pub struct BadKey;

impl Key {
    pub fn new(text: impl Into<String>) -> std::result::Result<Self, BadKey> {
        Ok(Self(text.into()))
    }
}

#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    pub create_new: bool,
    pub storage_class: Option<String>,
}

#[derive(Debug)]
pub struct PutReceipt {
    pub key: Key,
    pub size_bytes: u64,
}

#[derive(Debug)]
pub struct ObjectInfo {
    pub key: Key,
    pub size_bytes: u64,
    pub modified_ns: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    AlreadyExists,
    Denied,
    Throttled,
    Transient,
    Unreachable,
    Full,
    ReadOnly,
    Integrity,
    Archived,
    BadRequest,
    Unsupported,
    Stopped,
    Other,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {key}")]
pub struct Error {
    kind: ErrorKind,
    operation: &'static str,
    key: String,
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

pub type Result<T> = std::result::Result<T, Error>;

pub trait Store: Send + Sync {
    fn location(&self) -> String;
    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt>;
    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes>;
    fn head(&self, key: &Key) -> Result<ObjectInfo>;
    fn delete(&self, key: &Key) -> Result<()>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksums {
    #[default]
    Always,
    WhenRequired,
}

#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub url: String,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub path_style: Option<bool>,
    pub storage_class: Option<String>,
    pub sse: Option<String>,
    pub checksums: Checksums,
    pub conditional_create: Option<bool>,
    pub bandwidth_bytes_per_s: Option<u64>,
    pub concurrency: usize,
    pub create: bool,
    pub stop: Stop,
}

impl StoreOptions {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: None,
            region: None,
            path_style: None,
            storage_class: None,
            sse: None,
            checksums: Checksums::Always,
            conditional_create: None,
            bandwidth_bytes_per_s: None,
            concurrency: 4,
            create: false,
            stop: Stop::new(),
        }
    }
}

pub fn open(_options: &StoreOptions) -> Result<Box<dyn Store>> {
    todo!("another room")
}

#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Capabilities {
    pub refuses_wrong_checksum: bool,
    pub refuses_wrong_part_checksum: bool,
    pub returns_checksum: bool,
    pub etag_is_md5: bool,
    pub conditional_create: bool,
    pub lists_own_writes: bool,
    pub exact_ranges: bool,
}

pub fn probe(_store: &dyn Store, _now_ns: i64) -> Result<Capabilities> {
    todo!("another room")
}
