//! A store in an S3 bucket: the only room with SDK types and async code.
//!
//! One private tokio runtime drives the sockets; every method blocks its caller
//! on it. Servers differ (docs/ARCHITECTURE.md): so a body is sent in one piece
//! with its SHA-256 computed beforehand (never as an aws-chunked trailer, which
//! one server stores as content), headers that only some understand are left
//! out where they say nothing, and nothing a server merely claims is relied on.
//!
//! The SDK's retries are off: [`Retrying`](super::Retrying) does that for every
//! backend alike.

mod connect;
mod errors;
mod get;
mod list;
mod lock;
mod put;
mod sweep;
#[cfg(test)]
mod tests;
mod thaw;
mod trial;

use super::{
    Checksums, Error, ErrorKind, Key, ObjectInfo, Precaution, Protections, PutOptions, PutReceipt,
    Result, Store, StoreOptions, SweepStats, Thawing, sockets,
};
use crate::classes::{self, Thaw};
use crate::fault;
use crate::manifest::keys;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use bytes::Bytes;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// A bucket, or the part of it below a prefix, as a store.
#[derive(Debug)]
pub struct S3Store {
    runtime: Runtime,
    client: Client,
    bucket: String,
    /// Empty, or ending in `/`.
    prefix: String,
    /// For messages: the endpoint, or AWS with the region.
    server: String,
    storage_class: Option<StorageClass>,
    sse: Option<(ServerSideEncryption, Option<String>)>,
    checksums: Checksums,
    concurrency: usize,
    read_timeout: Duration,
    connect_timeout: Duration,
    /// Whether conditional creation was found honoured: no look beforehand.
    condition_proven: bool,
    /// Whether to send the condition at all; cleared by a server that answers
    /// that it does not know it.
    sends_condition: AtomicBool,
    /// The bucket has answered, so that a missing object is a missing object.
    bucket_seen: AtomicBool,
}

impl S3Store {
    /// A store for `bucket` below `prefix` (no slash at its end). Nothing is
    /// asked of the server yet.
    pub fn connect(bucket: &str, prefix: &str, options: &StoreOptions) -> Result<Self> {
        connect::connect(bucket, prefix, options)
    }

    fn full_key(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    fn error(&self, kind: ErrorKind, operation: &'static str, subject: &str) -> Error {
        Error::new(kind, operation, subject, self.location())
    }

    /// The default is for packs; everything else must be readable at once, so an
    /// archive is no default for it.
    fn class_of(&self, key: &Key, options: &PutOptions) -> Option<StorageClass> {
        let is_pack = || keys::parse_pack_key(key.as_str()).is_some();
        let fits = |class: &&StorageClass| !classes::is_archive(class.as_str()) || is_pack();
        match options.storage_class.as_deref() {
            None => self.storage_class.as_ref().filter(fits).cloned(),
            Some("STANDARD") => None,
            Some(class) => Some(StorageClass::from(class)),
        }
    }

    /// Blocks on a request that changes nothing, as long as somebody wants it.
    fn wait_for<T>(
        &self,
        operation: &'static str,
        subject: &str,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        sockets::while_wanted(&self.runtime, request)
            .unwrap_or_else(|| Err(self.error(ErrorKind::Stopped, operation, subject)))
    }

    /// Fails with [`ErrorKind::AlreadyExists`] if the object is there.
    fn check_absent(&self, key: &Key) -> Result<()> {
        match self.head(key) {
            Ok(_) => Err(self.error(ErrorKind::AlreadyExists, "put", key.as_str())),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Store for S3Store {
    fn location(&self) -> String {
        let prefix = self.prefix.trim_end_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{prefix}", self.bucket)
    }

    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        if options.create_new && !self.condition_proven {
            self.check_absent(key)?;
        }
        fault::effect("store.put").map_err(|error| {
            self.error(ErrorKind::Other, "put", key.as_str()).with_source(error)
        })?;
        let class = self.class_of(key, options);
        let condition = options.create_new && self.sends_condition.load(Ordering::Relaxed);
        match self.put_object(key, &body, class.clone(), condition) {
            Err(error) if condition && error.kind() == ErrorKind::Unsupported => {
                self.sends_condition.store(false, Ordering::Relaxed);
                self.check_absent(key)?;
                self.put_object(key, &body, class, false)
            }
            answer => answer,
        }
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.wait_for("get", key.as_str(), self.get_object(key, range))
    }

    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        self.wait_for("head", key.as_str(), self.head_object(key))
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        self.list_objects(prefix, start_after, visit)
    }

    fn delete(&self, key: &Key) -> Result<()> {
        fault::effect("store.delete").map_err(|error| {
            self.error(ErrorKind::Other, "delete", key.as_str()).with_source(error)
        })?;
        let request =
            self.client.delete_object().bucket(&self.bucket).key(self.full_key(key)).send();
        match self.runtime.block_on(request) {
            Ok(_) => Ok(()),
            Err(error) => match self.sdk_error(error, "delete", key.as_str()) {
                // AWS answers 204 for a missing key; some servers answer 404.
                error if error.is_not_found() => Ok(()),
                error => Err(error),
            },
        }
    }

    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
        self.runtime.block_on(self.abort_stale_uploads(older_than_ns))
    }

    fn lock_until(&self, key: &Key, until_ns: i64) -> Result<bool> {
        fault::effect("store.lock").map_err(|error| {
            self.error(ErrorKind::Other, "lock", key.as_str()).with_source(error)
        })?;
        self.runtime.block_on(self.lock_object(key, until_ns))
    }

    fn protections(&self) -> Result<Protections> {
        self.wait_for("ask about protections", "", self.ask_protections())
    }

    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        self.try_out(precaution, scratch)
    }

    fn pack_class(&self, wanted: Option<&str>) -> Option<String> {
        let default = || self.storage_class.as_ref().map(StorageClass::as_str);
        wanted.or_else(default).map(str::to_owned)
    }

    fn thaw(&self, key: &Key, order: Thaw) -> Result<Thawing> {
        fault::effect("store.thaw").map_err(|error| {
            self.error(ErrorKind::Other, "thaw", key.as_str()).with_source(error)
        })?;
        self.wait_for("thaw", key.as_str(), self.thaw_object(key, order))
    }
}

/// An ETag without the quotes around it.
fn bare_etag(etag: Option<&str>) -> Option<String> {
    etag.map(|etag| etag.trim_matches('"').to_owned())
}

fn nanos_of(time: Option<&aws_sdk_s3::primitives::DateTime>) -> i64 {
    time.and_then(|time| i64::try_from(time.as_nanos()).ok()).unwrap_or(0)
}
