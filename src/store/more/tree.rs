//! An object store in a tree of files on another machine, by SFTP or WebDAV.
//!
//! As in the directory store: an object is written under a temporary name in its
//! own directory and renamed, so that it is seen whole or not at all; names that
//! begin with a dot are no keys, so temporaries are never listed; and a tree
//! without a descriptor is one that is not mounted, from which nothing is gone.

use super::trouble::Trouble;
use crate::errand::Errand;
use crate::fault;
use crate::store::{
    Access, DESCRIPTOR_KEY, Error, ErrorKind, Key, ObjectInfo, PROBE_PREFIX, Precaution,
    Protections, PutOptions, PutReceipt, Result, Store, SweepStats, sockets,
};
use bytes::Bytes;
use std::ops::Range;
use std::time::Duration;
use tokio::runtime::Runtime;

pub(super) const TEMPORARY_PREFIX: &str = ".hsm-tmp-";

/// A body may be sent as slowly as this before its request times out.
const SLOWEST_BYTES_PER_S: u64 = 16 << 10;

/// What lies in a directory.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub name: String,
    pub is_dir: bool,
    pub size_bytes: u64,
    pub modified_ns: i64,
}

pub(super) type Answer<T> = std::result::Result<T, Trouble>;

/// Files by paths relative to the store, which hold no `.` and no `..`. A missing
/// file is [`ErrorKind::NotFound`].
pub(super) trait Tree: Send + Sync {
    /// What `create_new` of [`Tree::publish`] is worth against a racing writer.
    const CREATES_ATOMICALLY: bool;

    async fn stat(&self, path: &str) -> Answer<Node>;

    /// Exactly these bytes, which the file had when it was looked at.
    async fn read(&self, path: &str, range: Range<u64>) -> Answer<Bytes>;

    /// Without `.` and `..`, in any order.
    async fn list(&self, dir: &str) -> Answer<Vec<Node>>;

    /// Writes a new file, with the directories above it, as durably as it can.
    async fn write(&self, path: &str, body: Bytes) -> Answer<()>;

    /// Renames a file within its directory.
    async fn publish(&self, from: &str, to: &str, create_new: bool) -> Answer<()>;

    async fn remove(&self, path: &str) -> Answer<()>;

    /// Only if it is empty.
    async fn remove_dir(&self, path: &str) -> Answer<()>;
}

#[derive(Debug)]
pub(super) struct TreeStore<T> {
    pub runtime: Runtime,
    pub tree: T,
    /// The URL as it was given.
    pub location: String,
    pub read_timeout: Duration,
    /// Whether a store may be made where nothing is.
    pub create: bool,
}

impl<T: Tree> TreeStore<T> {
    fn error(&self, trouble: Trouble, operation: &'static str, subject: &str) -> Error {
        let detail = trouble.to_string();
        Error::new(trouble.kind, operation, subject, &self.location)
            .with_detail(detail)
            .with_source(trouble.source)
    }

    fn plain(&self, kind: ErrorKind, operation: &'static str, subject: &str) -> Error {
        Error::new(kind, operation, subject, &self.location)
    }

    async fn in_time<V>(
        &self,
        moved_bytes: u64,
        request: impl Future<Output = Answer<V>>,
    ) -> Answer<V> {
        let moving = Duration::from_secs(moved_bytes / SLOWEST_BYTES_PER_S);
        let answer = tokio::time::timeout(self.read_timeout + moving, request).await;
        answer.unwrap_or_else(|_| Err(Trouble::silent()))
    }

    fn wait_for<V>(
        &self,
        operation: &'static str,
        subject: &str,
        request: impl Future<Output = Result<V>>,
    ) -> Result<V> {
        sockets::while_wanted(&self.runtime, request)
            .unwrap_or_else(|| Err(self.plain(ErrorKind::Stopped, operation, subject)))
    }

    /// The error of an answer about `subject`: a missing file is only missing
    /// from a tree that holds a store.
    async fn blaming_the_tree(
        &self,
        trouble: Trouble,
        operation: &'static str,
        subject: &str,
    ) -> Error {
        if trouble.kind != ErrorKind::NotFound {
            return self.error(trouble, operation, subject);
        }
        match self.check_is_store(operation, subject).await {
            Ok(()) => self.error(trouble, operation, subject),
            Err(error) => error,
        }
    }

    async fn check_is_store(&self, operation: &'static str, subject: &str) -> Result<()> {
        let makes_it_one = subject == DESCRIPTOR_KEY || subject.starts_with(PROBE_PREFIX);
        // The root must be there all the same, unless it may be made.
        let asked = if makes_it_one { "" } else { DESCRIPTOR_KEY };
        match self.in_time(0, self.tree.stat(asked)).await {
            Ok(_) => Ok(()),
            Err(trouble) if trouble.kind != ErrorKind::NotFound => {
                Err(self.error(trouble, operation, subject))
            }
            Err(_) if makes_it_one && self.create => Ok(()),
            Err(_) => Err(self.plain(ErrorKind::Unreachable, operation, subject).with_detail(
                format!("the directory holds no store (no {DESCRIPTOR_KEY}): is it mounted there?"),
            )),
        }
    }

    async fn put_now(&self, key: &Key, body: Bytes, create_new: bool) -> Result<()> {
        self.check_is_store("put", key.as_str()).await?;
        let (parent, _) = key.split();
        let random = getrandom::u64().expect("the kernel's random source answers once booted");
        let slash = if parent.is_empty() { "" } else { "/" };
        let temporary = format!("{parent}{slash}{TEMPORARY_PREFIX}{random:016x}");
        let length = body.len() as u64;
        let written = async {
            if create_new && !T::CREATES_ATOMICALLY {
                self.check_absent(key).await?;
            }
            self.in_time(length, self.tree.write(&temporary, body)).await?;
            self.in_time(0, self.tree.publish(&temporary, key.as_str(), create_new)).await
        };
        let written = written.await;
        if written.is_err() {
            // Best effort: what stays is invisible, and `sweep` removes it.
            let _ = self.in_time(0, self.tree.remove(&temporary)).await;
        }
        written.map_err(|trouble| match trouble.kind {
            ErrorKind::NotFound => {
                Error::new(ErrorKind::Transient, "put", key.as_str(), &self.location)
                    .with_detail("the store's directory, or the one above it, is not there")
                    .with_source(trouble.source)
            }
            _ => self.error(trouble, "put", key.as_str()),
        })
    }

    async fn check_absent(&self, key: &Key) -> Answer<()> {
        match self.in_time(0, self.tree.stat(key.as_str())).await {
            Ok(_) => Err(Trouble::new(ErrorKind::AlreadyExists, "it was there before")),
            Err(trouble) if trouble.kind == ErrorKind::NotFound => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    async fn head_now(&self, key: &Key, operation: &'static str) -> Result<ObjectInfo> {
        let found = match self.in_time(0, self.tree.stat(key.as_str())).await {
            Ok(node) if node.is_dir => {
                Err(Trouble::new(ErrorKind::NotFound, "what has this name is a directory"))
            }
            found => found,
        };
        match found {
            Ok(node) => Ok(info_of(key.clone(), &node)),
            Err(trouble) => Err(self.blaming_the_tree(trouble, operation, key.as_str()).await),
        }
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
        let length = range.end - range.start;
        let bytes = match self.in_time(length, self.tree.read(key.as_str(), range.clone())).await {
            Ok(bytes) => bytes,
            Err(trouble) => return Err(self.blaming_the_tree(trouble, "get", key.as_str()).await),
        };
        Errand::arrive(bytes.len());
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => wrong(format!("{} bytes came for {range:?}", bytes.len())),
        }
    }

    /// Everything in `dir`, sorted as keys are: a directory as if its name ended
    /// in the slash that follows it there. None if there is no such directory.
    async fn sorted(&self, dir: &str, operation: &'static str) -> Result<Vec<Node>> {
        let mut nodes = match self.in_time(0, self.tree.list(dir)).await {
            Ok(nodes) => nodes,
            Err(trouble) if trouble.kind == ErrorKind::NotFound => Vec::new(),
            Err(trouble) => return Err(self.error(trouble, operation, dir)),
        };
        let as_key = |node: &Node| format!("{}{}", node.name, if node.is_dir { "/" } else { "" });
        nodes.sort_by_cached_key(as_key);
        Ok(nodes)
    }

    /// Visits files depth first; `wanted` says which paths may hold what is
    /// looked for.
    fn walk(
        &self,
        operation: &'static str,
        wanted: &dyn Fn(&str, bool) -> bool,
        visit: &mut dyn FnMut(String, Node) -> Result<()>,
    ) -> Result<()> {
        let mut open =
            vec![(String::new(), self.wait_for(operation, "", self.sorted("", operation))?)];
        // The last of each list is next.
        open[0].1.reverse();
        while let Some((dir, nodes)) = open.last_mut() {
            let Some(node) = nodes.pop() else {
                open.pop();
                continue;
            };
            let path = format!("{dir}{}", node.name);
            if !wanted(&path, node.is_dir) {
                continue;
            }
            if node.is_dir {
                let mut inside = self.wait_for(operation, &path, self.sorted(&path, operation))?;
                inside.reverse();
                open.push((format!("{path}/"), inside));
            } else {
                visit(path, node)?;
            }
        }
        Ok(())
    }
}

fn info_of(key: Key, node: &Node) -> ObjectInfo {
    ObjectInfo {
        key,
        size_bytes: node.size_bytes,
        modified_ns: node.modified_ns,
        etag: None,
        access: Access::Now,
        storage_class: None,
        sha256: None,
    }
}

impl<T: Tree> Store for TreeStore<T> {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        fault::effect("store.put").map_err(|error| {
            self.plain(ErrorKind::Other, "put", key.as_str()).with_source(error)
        })?;
        let size_bytes = body.len() as u64;
        self.runtime.block_on(self.put_now(key, body, options.create_new))?;
        Ok(PutReceipt {
            key: key.clone(),
            size_bytes,
            etag: None,
            server_sha256: None,
            sent_sha256: None,
        })
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
        self.wait_for("list", prefix, self.check_is_store("list", prefix))?;
        let after = start_after.map_or("", Key::as_str);
        let wanted = |path: &str, is_dir: bool| match is_dir {
            false => path.starts_with(prefix) && path > after,
            // All of its keys begin so, or all of them come before `after`.
            true => {
                let inside = format!("{path}/");
                (inside.starts_with(prefix) || prefix.starts_with(&inside))
                    && (inside.as_str() > after || after.starts_with(&inside))
            }
        };
        self.walk("list", &wanted, &mut |path, node| {
            if let Ok(key) = Key::new(path) {
                visit(info_of(key, &node));
            }
            Ok(())
        })
    }

    fn delete(&self, key: &Key) -> Result<()> {
        fault::effect("store.delete").map_err(|error| {
            self.plain(ErrorKind::Other, "delete", key.as_str()).with_source(error)
        })?;
        self.runtime.block_on(async {
            self.check_is_store("delete", key.as_str()).await?;
            // WebDAV would remove a directory with everything in it.
            match self.head_now(key, "delete").await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error),
            }
            match self.in_time(0, self.tree.remove(key.as_str())).await {
                Err(trouble) if trouble.kind != ErrorKind::NotFound => {
                    Err(self.error(trouble, "delete", key.as_str()))
                }
                _ => {
                    let (parent, _) = key.split();
                    if parent.starts_with(PROBE_PREFIX) {
                        let _ = self.in_time(0, self.tree.remove_dir(parent)).await;
                    }
                    Ok(())
                }
            }
        })
    }

    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
        self.wait_for("sweep", "", self.check_is_store("sweep", ""))?;
        let mut stats = SweepStats::default();
        self.walk("sweep", &|_, _| true, &mut |path, node| {
            let is_ours = node.name.starts_with(TEMPORARY_PREFIX);
            if is_ours && node.modified_ns < older_than_ns {
                let removed = self.runtime.block_on(self.in_time(0, self.tree.remove(&path)));
                removed.map_err(|trouble| self.error(trouble, "sweep", &path))?;
                stats.removed += 1;
                stats.freed_bytes += node.size_bytes;
            }
            Ok(())
        })?;
        Ok(stats)
    }

    fn lock_until(&self, _key: &Key, _until_ns: i64) -> Result<bool> {
        Ok(false)
    }

    fn protections(&self) -> Result<Protections> {
        Ok(Protections::default())
    }

    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        if precaution != Precaution::CreateNew || !T::CREATES_ATOMICALLY {
            return Ok(false);
        }
        let body = Bytes::from_static(b"hsm probe");
        self.put(scratch, body.clone(), &PutOptions::default())?;
        let new = PutOptions { create_new: true, ..PutOptions::default() };
        match self.put(scratch, body, &new) {
            Ok(_) => Ok(false),
            Err(error) => match error.kind() {
                ErrorKind::AlreadyExists => Ok(true),
                ErrorKind::Unsupported => Ok(false),
                _ => Err(error),
            },
        }
    }
}
