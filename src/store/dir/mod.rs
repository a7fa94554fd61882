//! A store in a directory: local, NFS, sshfs.
//!
//! Everything is reached through one descriptor of the store's directory with
//! `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`, so that neither a key nor
//! a link planted in the store leads out of it, and a file system mounted over
//! or taken away from the path later is never mistaken for the store.
//!
//! An empty mount point looks like an empty store. So nothing is written,
//! listed or said to be missing unless the store's descriptor object
//! ([`DESCRIPTOR_KEY`]) is in the directory at that moment: without it,
//! everything but that object and the probe's scratch objects is
//! [`ErrorKind::Unreachable`], and a write cannot land on the disk below a
//! missing mount.
//!
//! Writes (`write`): temporary name in the same directory, data synced, renamed,
//! directory synced. Listing and sweeping (`list`) skip and remove what a
//! writer that died left behind.

mod errno;
mod list;
#[cfg(test)]
mod tests;
mod write;

use super::{
    Access, DESCRIPTOR_KEY, Error, ErrorKind, Key, MAX_READ_BYTES, ObjectInfo, PROBE_PREFIX,
    Precaution, Protections, PutOptions, PutReceipt, Result, Store, SweepStats,
};
use crate::fault;
use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A directory as a store.
#[derive(Debug)]
pub struct DirectoryStore {
    path: PathBuf,
    root: OwnedFd,
    /// Directories whose own entries are known to be durable.
    durable_dirs: Mutex<HashSet<String>>,
}

impl DirectoryStore {
    /// Opens the directory at `path`; with `create`, makes it first (not its
    /// parents: a missing parent is most likely a missing mount).
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        let location = format!("file://{}", path.display());
        let fail = |errno: Errno| errno::error(errno, "open", "", &location);
        if create {
            match rustix::fs::mkdir(path, Mode::RWXU) {
                Ok(()) => sync_parent_of(path).map_err(fail)?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(fail(errno)),
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => {
                Error::new(ErrorKind::Unreachable, "open", "", &location)
                    .with_detail("there is no such directory: is its file system mounted?")
                    .with_source(std::io::Error::from(errno))
            }
            _ => fail(errno),
        })?;
        Ok(Self { path: path.to_owned(), root, durable_dirs: Mutex::default() })
    }

    fn error(&self, errno: Errno, operation: &'static str, subject: &str) -> Error {
        errno::error(errno, operation, subject, &self.location())
    }

    /// Opens a path below the root; never follows a link, never leaves.
    fn open_beneath(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        loop {
            // EAGAIN: a rename elsewhere made the kernel unsure (openat2(2)).
            match rustix::fs::openat2(
                &self.root,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                answer => return answer,
            }
        }
    }

    fn open_dir(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        self.open_beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    /// Fails unless this directory is a store, or `subject` is what makes it
    /// one.
    fn check_is_store(&self, operation: &'static str, subject: &str) -> Result<()> {
        if subject == DESCRIPTOR_KEY || subject.starts_with(PROBE_PREFIX) {
            return Ok(());
        }
        match rustix::fs::statat(&self.root, DESCRIPTOR_KEY, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(()),
            Err(Errno::NOENT) => Err(Error::new(
                ErrorKind::Unreachable,
                operation,
                subject,
                self.location(),
            )
            .with_detail(format!(
                "the directory holds no store (no {DESCRIPTOR_KEY}): is its file system mounted?"
            ))),
            Err(errno) => Err(self.error(errno, operation, subject)),
        }
    }

    /// An object's file and its size.
    fn open_object(&self, operation: &'static str, key: &Key) -> Result<(OwnedFd, Stat)> {
        let fail = |errno| self.error(errno, operation, key.as_str());
        let file = match self.open_beneath(key.as_str(), OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => file,
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                self.check_is_store(operation, key.as_str())?;
                return Err(fail(errno));
            }
            Err(errno) => return Err(fail(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(fail)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(ErrorKind::NotFound, operation, key.as_str(), self.location())
                .with_detail("what has this name is not a regular file"));
        }
        Ok((file, stat))
    }
}

impl DirectoryStore {
    /// The directory of a probe goes with the last of its scratch objects; the kernel
    /// removes only empty ones.
    fn remove_scratch_dir(&self, parent: &str) {
        if let Some(name) = parent.strip_prefix(PROBE_PREFIX).filter(|name| !name.contains('/'))
            && let Ok(dir) = self.open_dir(PROBE_PREFIX.trim_end_matches('/'))
        {
            let _ = rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR);
        }
    }
}

impl Store for DirectoryStore {
    fn location(&self) -> String {
        format!("file://{}", self.path.display())
    }

    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        self.check_is_store("put", key.as_str())?;
        fault::effect("store.put")
            .and_then(|()| self.write_object(key, &body, options.create_new))
            .map_err(|error| errno::from_io(error, "put", key.as_str(), &self.location()))?;
        Ok(PutReceipt {
            key: key.clone(),
            size_bytes: body.len() as u64,
            etag: None,
            server_sha256: None,
            sent_sha256: None,
        })
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let (file, stat) = self.open_object("get", key)?;
        let size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let fault = |kind, detail: String| {
            Err(Error::new(kind, "get", key.as_str(), self.location()).with_detail(detail))
        };
        if let Some(range) = &range
            && range.is_empty()
        {
            return fault(ErrorKind::BadRequest, format!("range {range:?} is empty"));
        }
        let range = range.unwrap_or(0..size_bytes);
        if range.end > size_bytes {
            let detail = format!("bytes {range:?} wanted of an object of {size_bytes} bytes");
            return fault(ErrorKind::Integrity, detail);
        }
        if range.end - range.start > MAX_READ_BYTES {
            let detail = format!("it has {size_bytes} bytes: nothing of hsm's is that large");
            return fault(ErrorKind::Integrity, detail);
        }
        let len = usize::try_from(range.end - range.start).expect("it is bounded");
        let bytes = read_exactly(&file, range.start, len)
            .map_err(|errno| self.error(errno, "get", key.as_str()))?;
        if bytes.len() != len {
            let detail = format!("{} of {len} bytes read: the file shrank", bytes.len());
            return fault(ErrorKind::Integrity, detail);
        }
        Ok(bytes.into())
    }

    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        let (_, stat) = self.open_object("head", key)?;
        Ok(info_of(key.clone(), &stat))
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        self.check_is_store("list", prefix)?;
        self.walk(prefix, start_after.map(Key::as_str), visit)
    }

    fn delete(&self, key: &Key) -> Result<()> {
        self.check_is_store("delete", key.as_str())?;
        fault::effect("store.delete")
            .map_err(|error| errno::from_io(error, "delete", key.as_str(), &self.location()))?;
        let (parent, name) = key.split();
        let deleted = self
            .open_dir(parent)
            .and_then(|dir| rustix::fs::unlinkat(&dir, name, AtFlags::empty()));
        match deleted {
            // EISDIR and ENOTDIR: another key has this one as a segment prefix
            // or the other way round, so there is no such object.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR) => {
                self.remove_scratch_dir(parent);
                Ok(())
            }
            Err(errno) => Err(self.error(errno, "delete", key.as_str())),
        }
    }

    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
        self.check_is_store("sweep", "")?;
        self.sweep_temporaries(older_than_ns)
    }

    /// A directory's owner can remove any file of it.
    fn lock_until(&self, _key: &Key, _until_ns: i64) -> Result<bool> {
        Ok(false)
    }

    fn protections(&self) -> Result<Protections> {
        Ok(Protections::default())
    }

    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        match precaution {
            Precaution::DeclaredSum | Precaution::DeclaredPartSum => Ok(false),
            Precaution::CreateNew => {
                let new = PutOptions { create_new: true, storage_class: None };
                self.put(scratch, Bytes::from_static(b"first"), &PutOptions::default())?;
                match self.put(scratch, Bytes::from_static(b"second"), &new) {
                    Ok(_) => Ok(false),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(true),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

fn info_of(key: Key, stat: &Stat) -> ObjectInfo {
    ObjectInfo {
        key,
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified_ns: modified_ns(stat),
        etag: None,
        storage_class: None,
        sha256: None,
        access: Access::Now,
    }
}

fn modified_ns(stat: &Stat) -> i64 {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Reads into one buffer of the right size, never zeroed first; fewer bytes
/// only at the file's end.
fn read_exactly(file: &OwnedFd, mut offset: u64, len: usize) -> rustix::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        // `with_capacity` may give more than was asked for; what is read
        // beyond `len` is cut off below.
        let spare = rustix::buffer::spare_capacity(&mut bytes);
        match rustix::io::pread(file, spare, offset) {
            Ok(0) => break,
            Ok(read) => offset += read as u64,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

fn sync_parent_of(path: &Path) -> rustix::io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::fsync(rustix::fs::open(parent, flags, Mode::empty())?)
}
