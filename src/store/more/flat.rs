//! Azure Blob and Google Cloud Storage: an object is sent in one request, appears
//! whole, and is created only if it is new by the service's own condition.

use super::trouble::Trouble;
use crate::errand::Errand;
use crate::fault;
use crate::store::{
    Access, Error, ErrorKind, Key, ObjectInfo, Precaution, Protections, PutOptions, PutReceipt,
    Result, Store, SweepStats, sockets,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use opendal::options::{ListOptions, ReadOptions, WriteOptions};
use opendal::{Metadata, Operator};
use std::ops::Range;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A body may be sent as slowly as this before its request times out.
const SLOWEST_BYTES_PER_S: u64 = 16 << 10;

#[derive(Debug)]
pub(super) struct FlatStore {
    pub runtime: Runtime,
    pub operator: Operator,
    /// The URL as it was given.
    pub location: String,
    /// What holds the objects, for messages: a container or a bucket.
    pub holder: &'static str,
    pub read_timeout: Duration,
    /// Whether a listing can begin after a key.
    pub starts_after: bool,
}

impl FlatStore {
    fn error(&self, trouble: Trouble, operation: &'static str, subject: &str) -> Error {
        let detail = trouble.to_string();
        Error::new(trouble.kind, operation, subject, &self.location)
            .with_detail(detail)
            .with_source(trouble.source)
    }

    fn plain(&self, kind: ErrorKind, operation: &'static str, subject: &str) -> Error {
        Error::new(kind, operation, subject, &self.location)
    }

    async fn in_time<T>(
        &self,
        sending_bytes: usize,
        request: impl Future<Output = opendal::Result<T>>,
    ) -> std::result::Result<T, Trouble> {
        let sending = Duration::from_secs(sending_bytes as u64 / SLOWEST_BYTES_PER_S);
        match tokio::time::timeout(self.read_timeout + sending, request).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Trouble::silent()),
        }
    }

    fn wait_for<T>(
        &self,
        operation: &'static str,
        subject: &str,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        sockets::while_wanted(&self.runtime, request)
            .unwrap_or_else(|| Err(self.plain(ErrorKind::Stopped, operation, subject)))
    }

    /// An object is missing only where a listing of its container is answered.
    async fn blaming_the_holder(
        &self,
        trouble: Trouble,
        operation: &'static str,
        subject: &str,
    ) -> Error {
        if trouble.kind != ErrorKind::NotFound {
            return self.error(trouble, operation, subject);
        }
        let options = ListOptions { limit: Some(1), ..ListOptions::default() };
        let listed = self.in_time(0, async {
            match self.operator.lister_options("", options).await?.next().await {
                Some(entry) => entry.map(drop),
                None => Ok(()),
            }
        });
        match listed.await {
            Ok(()) => self.error(trouble, operation, subject),
            Err(about) if about.kind == ErrorKind::NotFound => self.no_holder(operation, subject),
            Err(about) => self.error(about, operation, subject),
        }
    }

    fn no_holder(&self, operation: &'static str, subject: &str) -> Error {
        self.plain(ErrorKind::Unreachable, operation, subject).with_detail(format!(
            "there is no such {} (create it, or correct the store's URL)",
            self.holder
        ))
    }

    fn put_now(&self, key: &Key, body: &Bytes, create_new: bool) -> Result<PutReceipt> {
        let options = WriteOptions { if_not_exists: create_new, ..WriteOptions::default() };
        let write = self.operator.write_options(key.as_str(), body.clone(), options);
        let sent = self.runtime.block_on(self.in_time(body.len(), write));
        sent.map_err(|trouble| match trouble.kind {
            // What is missing when one writes is the container.
            ErrorKind::NotFound => self.no_holder("put", key.as_str()),
            _ => self.error(trouble, "put", key.as_str()),
        })?;
        Ok(PutReceipt {
            key: key.clone(),
            size_bytes: body.len() as u64,
            etag: None,
            server_sha256: None,
            sent_sha256: None,
        })
    }

    async fn get_now(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return Err(self
                .plain(ErrorKind::BadRequest, "get", key.as_str())
                .with_detail(format!("range {range:?} is empty")));
        }
        let info = self.head_now(key, "get").await?;
        let range = range.unwrap_or(0..info.size_bytes);
        let wrong = |detail: String| {
            Err(self.plain(ErrorKind::Integrity, "get", key.as_str()).with_detail(detail))
        };
        if range.end > info.size_bytes {
            return wrong(format!("{range:?} wanted of {} bytes", info.size_bytes));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let options = ReadOptions { range: range.clone().into(), ..ReadOptions::default() };
        let read = self.operator.read_options(key.as_str(), options);
        let length = usize::try_from(range.end - range.start).expect("objects fit into memory");
        let bytes = match self.in_time(length, read).await {
            Ok(buffer) => buffer.to_bytes(),
            Err(trouble) => {
                return Err(self.blaming_the_holder(trouble, "get", key.as_str()).await);
            }
        };
        Errand::arrive(bytes.len());
        match bytes.len() == length {
            true => Ok(bytes),
            false => wrong(format!("{} bytes came for {range:?}", bytes.len())),
        }
    }

    async fn head_now(&self, key: &Key, operation: &'static str) -> Result<ObjectInfo> {
        match self.in_time(0, self.operator.stat(key.as_str())).await {
            Ok(found) => Ok(info_of(key.clone(), &found)),
            Err(trouble) => Err(self.blaming_the_holder(trouble, operation, key.as_str()).await),
        }
    }
}

/// Times are the service's; sums are left out, since not every one is the body's.
pub(super) fn info_of(key: Key, found: &Metadata) -> ObjectInfo {
    let modified = found.last_modified().map(|time| time.into_inner().as_nanosecond());
    ObjectInfo {
        key,
        size_bytes: found.content_length(),
        modified_ns: modified.and_then(|ns| i64::try_from(ns).ok()).unwrap_or(0),
        etag: None,
        access: Access::Now,
        storage_class: None,
        sha256: None,
    }
}

impl Store for FlatStore {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        fault::effect("store.put").map_err(|error| {
            self.plain(ErrorKind::Other, "put", key.as_str()).with_source(error)
        })?;
        self.put_now(key, &body, options.create_new)
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.wait_for("get", key.as_str(), self.get_now(key, range))
    }

    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        self.wait_for("head", key.as_str(), self.head_now(key, "head"))
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        let from = start_after.filter(|_| self.starts_after).map(Key::to_string);
        let options = ListOptions { recursive: true, start_after: from, ..ListOptions::default() };
        let mut lister = {
            let begun = self.in_time(0, self.operator.lister_options(prefix, options));
            let begun =
                async { begun.await.map_err(|trouble| self.error(trouble, "list", prefix)) };
            self.wait_for("list", prefix, begun)?
        };
        let mut last: Option<String> = None;
        loop {
            let next = async {
                match tokio::time::timeout(self.read_timeout, lister.next()).await {
                    Ok(next) => next.transpose().map_err(Trouble::from),
                    Err(_) => Err(Trouble::silent()),
                }
                .map_err(|trouble| match trouble.kind {
                    // A container lists nothing rather than answering 404.
                    ErrorKind::NotFound => self.no_holder("list", prefix),
                    _ => self.error(trouble, "list", prefix),
                })
            };
            let Some(entry) = self.wait_for("list", prefix, next)? else { return Ok(()) };
            if last.as_deref().is_some_and(|last| entry.path() <= last) {
                return Err(self
                    .plain(ErrorKind::Integrity, "list", prefix)
                    .with_detail("an unusable listing: the names do not ascend"));
            }
            last = Some(entry.path().to_owned());
            let key = Key::new(entry.path()).ok().filter(|_| entry.metadata().is_file());
            if let Some(key) = key.filter(|key| {
                key.as_str().starts_with(prefix) && start_after.is_none_or(|after| key > after)
            }) {
                visit(info_of(key, entry.metadata()));
            }
        }
    }

    fn delete(&self, key: &Key) -> Result<()> {
        fault::effect("store.delete").map_err(|error| {
            self.plain(ErrorKind::Other, "delete", key.as_str()).with_source(error)
        })?;
        let deleted = self.in_time(0, self.operator.delete(key.as_str()));
        self.runtime
            .block_on(deleted)
            .map_err(|trouble| self.error(trouble, "delete", key.as_str()))
    }

    /// What was sent in one request leaves nothing behind.
    fn sweep(&self, _older_than_ns: i64) -> Result<SweepStats> {
        Ok(SweepStats::default())
    }

    fn lock_until(&self, _key: &Key, _until_ns: i64) -> Result<bool> {
        Ok(false)
    }

    fn protections(&self) -> Result<Protections> {
        Ok(Protections::default())
    }

    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        if precaution != Precaution::CreateNew {
            return Ok(false);
        }
        self.put_now(scratch, &Bytes::from_static(b"hsm probe: first"), false)?;
        match self.put_now(scratch, &Bytes::from_static(b"hsm probe: second"), true) {
            Ok(_) => Ok(false),
            Err(error) => match error.kind() {
                ErrorKind::AlreadyExists => Ok(true),
                ErrorKind::Unsupported => Ok(false),
                _ => Err(error),
            },
        }
    }
}
