//! The only way to reach a file of a root (stand-in).

use super::identity::FsIdentity;
use super::relpath::RelPath;
use super::stat::{Stat, statx_at, statx_fd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct RootDir {
    path: PathBuf,
    fd: OwnedFd,
    identity: FsIdentity,
}

impl RootDir {
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = statx_fd(&fd)?;
        let identity = FsIdentity {
            kind: "any".into(),
            uuid: format!("{:x}", stat.dev),
            root_ino: stat.ino,
            root_generation: 0,
        };
        Ok(Self { path: path.to_owned(), fd, identity })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    pub fn open_dir(&self, path: &RelPath) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let name: &[u8] = if path.as_bytes().is_empty() { b"." } else { path.as_bytes() };
        let open = |flags| rustix::fs::openat2(&self.fd, name, flags, Mode::empty(), resolve);
        match open(flags | OFlags::NOATIME) {
            Err(rustix::io::Errno::PERM) => Ok(open(flags)?),
            other => Ok(other?),
        }
    }

    pub fn stat(&self, path: &RelPath) -> io::Result<Stat> {
        if path.as_bytes().is_empty() {
            return statx_fd(&self.fd);
        }
        statx_at(&self.fd, path.as_bytes())
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
