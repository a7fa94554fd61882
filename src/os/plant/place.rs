//! Giving a finished object its name.
//!
//! It waits under a temporary name beside its place (or has none, see
//! `unnamed`) and is renamed when it is complete. Never over something else:
//! either the kernel refuses a name that is taken (`RENAME_NOREPLACE`), or the
//! two are exchanged and exchanged back if what came out is not what the caller
//! had looked at. Without these flags (NFS): a link, which never replaces, or a
//! look just before the rename.

use super::super::stat::{FileKind, Stat, statx_at, statx_fd};
use super::Unnamed;
use crate::fault;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// How a temporary name begins; 16 hexadecimal digits follow.
pub(super) const LITTER: &str = ".hsm-restore-";

/// Whether a finished object got its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    Placed,
    /// Something else has it, or has come there since the caller looked.
    Exists,
}

/// A name that is not to stay: the entry is removed in `Drop`.
#[derive(Debug)]
pub(super) struct Temporary {
    dir: Arc<OwnedFd>,
    kind: FileKind,
    name: String,
}

impl Temporary {
    /// Makes an entry with `make`, which gets a name that nobody else uses and
    /// must fail with `EEXIST` rather than replace.
    pub(super) fn make<T>(
        dir: &Arc<OwnedFd>,
        kind: FileKind,
        make: impl FnOnce(BorrowedFd<'_>, &str) -> rustix::io::Result<T>,
    ) -> io::Result<(Self, T)> {
        let random = getrandom::u64().expect("the kernel's random source answers once booted");
        let name = format!("{LITTER}{random:016x}");
        fault::effect("plant.make")?;
        let made = make(dir.as_fd(), &name)?;
        Ok((Self { dir: Arc::clone(dir), kind, name }, made))
    }

    /// The entry as it is now, if it is the one that was made: of its kind, our
    /// own, with no other name, or with nothing in it.
    pub(super) fn open(&self, rdev: u64) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.dir, self.name.as_str(), flags, Mode::empty())?;
        let stat = statx_fd(&fd)?;
        let new = match self.kind {
            FileKind::Dir => stat.kind == FileKind::Dir && is_empty(&fd)?,
            kind => stat.kind == kind && stat.rdev == rdev && stat.nlink == 1,
        };
        if new && is_ours(&self.dir, &stat)? { Ok(fd) } else { Err(replaced()) }
    }

    /// Renames the entry, whose inode is `fd`'s, to `name`; over something else
    /// only if that is `expected`. After `Exists` it can be tried again.
    pub(super) fn place(
        &mut self,
        fd: BorrowedFd<'_>,
        name: &[u8],
        expected: Option<&Stat>,
    ) -> io::Result<Placed> {
        fault::effect("plant.rename")?;
        match expected {
            Some(expected) => self.place_over(fd, name, expected),
            None => self.place_beside(fd, name),
        }
    }

    fn place_beside(&mut self, fd: BorrowedFd<'_>, name: &[u8]) -> io::Result<Placed> {
        match self.rename(name, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.gone();
                Ok(Placed::Placed)
            }
            Err(Errno::EXIST) => Ok(Placed::Exists),
            Err(Errno::INVAL | Errno::NOSYS) if self.kind == FileKind::Dir => {
                self.place_dir_after_a_look(name)
            }
            Err(Errno::INVAL | Errno::NOSYS) => link(fd, &self.dir, name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// A directory has no second name, and a rename replaces an empty one.
    fn place_dir_after_a_look(&mut self, name: &[u8]) -> io::Result<Placed> {
        match statx_at(&self.dir, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.rename(name, RenameFlags::empty())?;
                self.gone();
                Ok(Placed::Placed)
            }
            looked => looked.map(|_| Placed::Exists),
        }
    }

    fn place_over(
        &mut self,
        fd: BorrowedFd<'_>,
        name: &[u8],
        expected: &Stat,
    ) -> io::Result<Placed> {
        if expected.kind == FileKind::Dir {
            return Err(Errno::ISDIR.into());
        }
        match self.rename(name, RenameFlags::EXCHANGE) {
            // What it was to replace lies under our name, and goes with it.
            Ok(()) if same(&statx_at(&self.dir, self.name.as_bytes())?, expected) => {
                Ok(Placed::Placed)
            }
            Ok(()) => {
                self.rename(name, RenameFlags::EXCHANGE)?;
                Ok(Placed::Exists)
            }
            Err(Errno::NOENT) => self.place_beside(fd, name),
            Err(Errno::INVAL | Errno::NOSYS) => {
                match statx_at(&self.dir, name) {
                    Ok(now) if same(&now, expected) => {}
                    Ok(_) => return Ok(Placed::Exists),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
                // Between two names of one inode it does nothing; `Drop` does.
                self.rename(name, RenameFlags::empty())?;
                Ok(Placed::Placed)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn rename(&self, name: &[u8], flags: RenameFlags) -> rustix::io::Result<()> {
        #[cfg(test)]
        if !flags.is_empty() && super::tests::as_on_nfs() {
            return Err(Errno::INVAL);
        }
        rustix::fs::renameat_with(&self.dir, self.name.as_str(), &self.dir, name, flags)
    }

    /// Nothing is left to remove.
    fn gone(&mut self) {
        self.name.clear();
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            let dir = self.kind == FileKind::Dir;
            let flags = if dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            let _ = rustix::fs::unlinkat(&self.dir, self.name.as_str(), flags);
        }
    }
}

/// Another name for the inode of `fd`, whether it has one already or not.
/// Replaces nothing.
pub(super) fn link(fd: BorrowedFd<'_>, dir: &OwnedFd, name: &[u8]) -> io::Result<Placed> {
    fault::effect("plant.link")?;
    match link_as(fd, dir.as_fd(), name) {
        Ok(()) => Ok(Placed::Placed),
        Err(Errno::EXIST) => Ok(Placed::Exists),
        Err(errno) => Err(errno.into()),
    }
}

/// Another name that is not to stay.
pub(super) fn link_temporarily(fd: BorrowedFd<'_>, dir: &Arc<OwnedFd>) -> io::Result<Temporary> {
    let make = |dir: BorrowedFd<'_>, name: &str| link_as(fd, dir, name);
    Temporary::make(dir, FileKind::File, make).map(|(temporary, ())| temporary)
}

/// By the descriptor: `AT_EMPTY_PATH` would need `CAP_DAC_READ_SEARCH`.
fn link_as(
    fd: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
) -> rustix::io::Result<()> {
    let lead = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::linkat(rustix::fs::CWD, lead, dir, name, AtFlags::SYMLINK_FOLLOW)
}

/// Whether an object belongs to whoever makes things in `dir` as we do. That is
/// us, but on a server that takes root for nobody, or a file system without
/// owners: a file made there tells.
pub(super) fn is_ours(dir: &Arc<OwnedFd>, stat: &Stat) -> io::Result<bool> {
    if stat.uid == rustix::process::geteuid().as_raw() {
        return Ok(true);
    }
    let probe = Unnamed::begin(Arc::clone(dir), Vec::new())?;
    Ok(statx_fd(probe.file())?.uid == stat.uid)
}

fn is_empty(dir: &OwnedFd) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listed = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
    for entry in rustix::fs::Dir::new(listed)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The same file and nothing written to it since. A rename changes the ctime.
pub(super) fn same(now: &Stat, then: &Stat) -> bool {
    let identity = |stat: &Stat| (stat.dev, stat.ino, stat.btime_ns, stat.kind);
    identity(now) == identity(then)
        && (now.mtime_ns, now.size_bytes) == (then.mtime_ns, then.size_bytes)
}

pub(super) fn replaced() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "somebody put something else in its place")
}
