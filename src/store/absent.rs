//! A store that could not be opened, where work can go on without it.
//!
//! Every method fails with the reason, as unreachable: what it holds is unknown and
//! nothing is ever concluded to be gone from it. It stands in for one of two stores,
//! so that what is in the other can be read.

use super::{
    Error, ErrorKind, Key, ObjectInfo, Precaution, Protections, PutOptions, PutReceipt, Result,
    Store, SweepStats,
};
use bytes::Bytes;
use std::ops::Range;

pub struct AbsentStore {
    location: String,
    why: String,
}

impl AbsentStore {
    /// `why` is told with every error.
    pub fn new(location: impl Into<String>, why: impl Into<String>) -> Self {
        Self { location: location.into(), why: why.into() }
    }

    fn error(&self, operation: &'static str, subject: &str) -> Error {
        Error::new(ErrorKind::Unreachable, operation, subject, self.location.as_str())
            .with_detail(self.why.as_str())
    }
}

impl Store for AbsentStore {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn put(&self, key: &Key, _: Bytes, _: &PutOptions) -> Result<PutReceipt> {
        Err(self.error("put", key.as_str()))
    }

    fn get(&self, key: &Key, _: Option<Range<u64>>) -> Result<Bytes> {
        Err(self.error("get", key.as_str()))
    }

    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        Err(self.error("head", key.as_str()))
    }

    fn list(&self, prefix: &str, _: Option<&Key>, _: &mut dyn FnMut(ObjectInfo)) -> Result<()> {
        Err(self.error("list", prefix))
    }

    fn delete(&self, key: &Key) -> Result<()> {
        Err(self.error("delete", key.as_str()))
    }

    fn sweep(&self, _: i64) -> Result<SweepStats> {
        Err(self.error("sweep", ""))
    }

    fn lock_until(&self, key: &Key, _: i64) -> Result<bool> {
        Err(self.error("lock", key.as_str()))
    }

    fn protections(&self) -> Result<Protections> {
        Err(self.error("look at", ""))
    }

    fn honours(&self, _: Precaution, scratch: &Key) -> Result<bool> {
        Err(self.error("try out", scratch.as_str()))
    }
}
