//! The only way to reach a file of a managed root.
//!
//! Guards against a user of the tree who swaps things while we look: every path
//! is resolved by one `openat2` below the root's descriptor, which refuses to
//! leave the root, to follow any symbolic link and to cross a mount. What was
//! opened is then asked, by its descriptor, whether it is a regular file on the
//! root's own device; a FIFO put in its place cannot hang us (`O_NONBLOCK`).
//!
//! A btrfs subvolume below the root is another device without a mount; its
//! inode numbers repeat those of the root, so it is refused like a mount.
//!
//! Where a guard watches the tree, `hsm` itself goes through a mount of the
//! guard's that raises no events ([`RootDir::pass_through`]): a look at a stub
//! must not recall it.
//!
//! Opens only; nothing here creates, writes or removes. Reading leaves the
//! access time alone where we may (`O_NOATIME` is for the owner and root; others
//! get a plain descriptor).

use super::identity::{self, FsIdentity};
use super::owner_write;
use super::relpath::RelPath;
use super::stat::{FileKind, Stat, statx_fd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The guard's own ways into roots, by the root's path. Of the whole process,
/// as its user id is: who it is decides what the kernel asks about it.
static PASSAGES: Mutex<Option<HashMap<PathBuf, Arc<OwnedFd>>>> = Mutex::new(None);

/// An open root directory.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
    path: PathBuf,
    identity: FsIdentity,
    dev: u64,
}

impl RootDir {
    /// The error says which it is when `path` is missing, not a directory, or a
    /// symbolic link. Symbolic links above the last component are the
    /// administrator's and are followed; the identity tells a swap.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let visible = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| explain_root(path, errno))?;
        let fd = passage_to(path, &visible)?.unwrap_or(visible);
        let identity = identity::of_root(&fd)?;
        let dev = statx_fd(&fd)?.dev;
        Ok(Self { fd, path: path.to_owned(), identity, dev })
    }

    /// From here on this process opens the root at `path` through `passage`, a
    /// directory that is the same one seen through another mount. Ignored
    /// whenever another directory is visible there.
    pub fn pass_through(path: &Path, passage: OwnedFd) {
        let mut passages = PASSAGES.lock().unwrap_or_else(PoisonError::into_inner);
        passages.get_or_insert_default().insert(path.to_owned(), Arc::new(passage));
    }

    /// Takes back [`RootDir::pass_through`].
    pub fn pass_no_longer(path: &Path) {
        let mut passages = PASSAGES.lock().unwrap_or_else(PoisonError::into_inner);
        passages.get_or_insert_default().remove(path);
    }

    /// As it was given to [`RootDir::open`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn identity(&self) -> &FsIdentity {
        &self.identity
    }

    /// The device of the root; a file with another one is not part of it.
    pub fn dev(&self) -> u64 {
        self.dev
    }

    /// A regular file, for reading.
    pub fn open_read(&self, path: &RelPath) -> io::Result<File> {
        self.open_regular(path, OFlags::RDONLY)
    }

    /// A regular file, for reading and writing. A file that its owner may not
    /// write (mode 0444) is opened by [`owner_write::reopen`], which gives the
    /// owner the permission for an instant: that changes the file's ctime. Use
    /// [`RootDir::open_free`] where the ctime still has to be compared.
    pub fn open_write(&self, path: &RelPath) -> io::Result<File> {
        let file = self.open_free(path)?;
        if owner_write::is_writable(&file)? { Ok(file) } else { owner_write::reopen(&file) }
    }

    /// A regular file to be freed: for writing where that changes nothing, else
    /// for reading (`stub::arm` compares it first and then makes it writable).
    pub fn open_free(&self, path: &RelPath) -> io::Result<File> {
        match self.open_regular(path, OFlags::RDWR) {
            Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => {
                self.open_regular(path, OFlags::RDONLY)
            }
            opened => opened,
        }
    }

    /// Anything, also a symbolic link itself, only as a name for its inode
    /// (`O_PATH`): raises no event, breaks no lease, hangs on nothing.
    pub fn open_path(&self, path: &RelPath) -> io::Result<OwnedFd> {
        self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW)
    }

    /// A directory, for reading its entries.
    pub fn open_dir(&self, path: &RelPath) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd = self.resolve_quietly(path, flags)?;
        self.require_own_device(&statx_fd(&fd)?)?;
        Ok(fd)
    }

    /// Of the file itself; a symbolic link is described, not followed.
    pub fn stat(&self, path: &RelPath) -> io::Result<Stat> {
        statx_fd(self.open_path(path)?)
    }

    /// Where a symbolic link points, as bytes.
    pub fn read_link(&self, path: &RelPath) -> io::Result<Vec<u8>> {
        let link = self.open_path(path)?;
        Ok(rustix::fs::readlinkat(link, c"", Vec::new())?.into_bytes())
    }

    /// The look before the open spares device nodes the side effects of being
    /// opened (a tape rewinds); the look after it is the one that counts.
    fn open_regular(&self, path: &RelPath, access: OFlags) -> io::Result<File> {
        require_regular(&self.stat(path)?)?;
        let fd = self.resolve_quietly(path, access | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        let stat = statx_fd(&fd)?;
        require_regular(&stat)?;
        self.require_own_device(&stat)?;
        Ok(fd.into())
    }

    fn require_own_device(&self, stat: &Stat) -> io::Result<()> {
        if stat.dev == self.dev { Ok(()) } else { Err(Errno::XDEV.into()) }
    }

    /// Without touching the access time where the kernel lets us.
    fn resolve_quietly(&self, path: &RelPath, flags: OFlags) -> io::Result<OwnedFd> {
        match self.resolve(path, flags | OFlags::NOATIME) {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                self.resolve(path, flags)
            }
            opened => opened,
        }
    }

    fn resolve(&self, path: &RelPath, flags: OFlags) -> io::Result<OwnedFd> {
        let inside = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        let open =
            || rustix::fs::openat2(&self.fd, name, flags | OFlags::CLOEXEC, Mode::empty(), inside);
        Ok(rustix::io::retry_on_intr(open)?)
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn passage_to(path: &Path, visible: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let passage = {
        let passages = PASSAGES.lock().unwrap_or_else(PoisonError::into_inner);
        passages.as_ref().and_then(|passages| passages.get(path).cloned())
    };
    let Some(passage) = passage else { return Ok(None) };
    let (seen, behind) = (statx_fd(visible)?, statx_fd(&*passage)?);
    if (seen.dev, seen.ino) != (behind.dev, behind.ino) {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(Some(rustix::fs::openat(&*passage, ".", flags, Mode::empty())?))
}

/// Why an open failed: somebody else has a lease on the file, such as `smbd` with
/// `kernel oplocks`. To have asked breaks it, so that later it can be opened.
pub fn is_leased(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Nothing is at the path any more, or something else is above it: the file was
/// deleted, or it or a directory was renamed.
pub fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|errno| gone.contains(&errno))
}

fn require_regular(stat: &Stat) -> io::Result<()> {
    if stat.kind == FileKind::File {
        return Ok(());
    }
    let text = format!("not a regular file but a {}", stat.kind.as_str());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// `ENOTDIR` stands for two mistakes with two different mends.
fn explain_root(path: &Path, errno: Errno) -> io::Error {
    let link = || path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    match errno {
        Errno::NOTDIR | Errno::LOOP if link() => io::Error::new(
            io::ErrorKind::InvalidInput,
            "a root may not be a symbolic link: name the directory it points to",
        ),
        Errno::NOTDIR => io::Error::new(io::ErrorKind::NotADirectory, "not a directory"),
        other => other.into(),
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
