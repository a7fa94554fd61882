//! Making file system objects beneath one directory, for a restore.
//!
//! Two things may be hostile: a user who owns directories beneath the target and
//! swaps their entries while root works there, and the catalog itself. Hence:
//!
//! * Every path is a [`RelPath`] and is resolved by one `openat2` beneath the
//!   target's descriptor that follows no symbolic link. Mounts are crossed: a
//!   restore to `/` puts every root in its place.
//! * What was made is described through a descriptor of it, never by its name
//!   again, and only if it is what we have just made: of the right kind and our
//!   own, which nobody else can make.
//! * A missing directory is made for its owner alone (0700) and stays so until its
//!   own record is applied ([`Plantation::dir`]), which a restore does after
//!   everything in it: until then nobody else gets in there.
//! * Nothing is replaced unless that is asked for, and then only what the asker
//!   has looked at ([`Plantation::lookup`]).
//! * Whatever is not a directory is complete before it gets its name
//!   ([`Unnamed`], `place`), so that a killed restore leaves no half of one. A
//!   directory is marked as unfinished before, and the mark goes with its record:
//!   the restore after a killed one knows its own. Where the file system takes
//!   no mark, only this process remembers.
//!
//! The last parent stays open: files that come directory by directory cost no
//! resolution each. Nothing here is durable on return; sync afterwards.

mod attributes;
mod listing;
mod node;
mod place;
mod remove;
#[cfg(test)]
mod tests;
mod unnamed;

pub use attributes::{Attribute, Attributes, Refusal};
pub use listing::Listing;
pub use node::Over;
pub use place::Placed;
pub use remove::Removed;
pub use unnamed::Unnamed;

use super::blocks::timespec;
use super::handle::generation;
use super::relpath::RelPath;
use super::stat::{FileKind, Stat, statx_fd};
use super::xattrs;
use crate::fault;
use place::Temporary;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timestamps};
use rustix::io::Errno;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A longer path is resolved in steps: the kernel takes 4095 bytes at once.
const MAX_RESOLVED_BYTES: usize = 4000;

/// An open target directory. One per thread, see [`Plantation::another`].
#[derive(Debug)]
pub struct Plantation {
    top: Arc<OwnedFd>,
    /// The parent that was asked for last.
    parent: Option<(RelPath, Arc<OwnedFd>)>,
    /// Unfinished directories that take no mark.
    unmarked: Arc<Mutex<HashSet<Inode>>>,
    #[cfg(test)]
    resolved: u64,
}

/// What became of something to be made.
#[derive(Debug)]
pub enum Planted {
    /// It is there, but for what the system refused.
    Made(Vec<Refusal>),
    /// Something else has the name; nothing was changed.
    Exists,
}

/// What is at a path.
#[derive(Debug)]
pub struct Found {
    pub stat: Stat,
    fd: OwnedFd,
}

/// One inode among all that ever had its number, as far as the file system can
/// tell: a deleted file's number is used again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inode {
    dev: u64,
    ino: u64,
    generation: Option<u32>,
    btime_ns: i64,
}

impl Plantation {
    /// `dir` has to be there; it is the operator's word, so a symbolic link in
    /// it is followed.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(dir, flags, Mode::empty())?;
        Ok(Self::on(Arc::new(top), Arc::default()))
    }

    /// Of a directory that is open, not with `O_PATH`: what is made goes through the
    /// mount that it was opened by, which may be one that raises no events.
    pub fn at(dir: impl AsFd) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
        Ok(Self::on(Arc::new(top), Arc::default()))
    }

    /// The same target for another thread.
    pub fn another(&self) -> Self {
        Self::on(Arc::clone(&self.top), Arc::clone(&self.unmarked))
    }

    fn on(top: Arc<OwnedFd>, unmarked: Arc<Mutex<HashSet<Inode>>>) -> Self {
        Self {
            top,
            parent: None,
            unmarked,
            #[cfg(test)]
            resolved: 0,
        }
    }

    /// `None` if there is nothing, nor a directory that it would be in. A
    /// symbolic link on the way is an error (`ELOOP`), a file `ENOTDIR`.
    pub fn lookup(&mut self, path: &RelPath) -> io::Result<Option<Found>> {
        match self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => Ok(Some(Found { stat: statx_fd(&fd)?, fd })),
            Err(error) if is(&error, Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the directory and those above it where they are missing; what is
    /// made stays unfinished until [`Plantation::dir`]. Those that no record
    /// will come for need one from the caller.
    pub fn make_dirs(&mut self, path: &RelPath) -> io::Result<()> {
        self.open_or_make(path).map(drop)
    }

    /// Describes a directory that [`Plantation::make_dirs`] or an earlier, killed
    /// restore has made, or makes it now. Call it when everything in it is done:
    /// it may become unwritable, and the next entry would change its times.
    /// `Exists` for what others made, directory or not.
    pub fn dir(&mut self, path: &RelPath, attributes: &Attributes<'_>) -> io::Result<Planted> {
        let dir = match self.lookup(path)? {
            Some(found) if found.stat.kind != FileKind::Dir => return Ok(Planted::Exists),
            Some(found) => Arc::new(found.fd),
            None => self.open_or_make(path)?,
        };
        let Some(mark) = self.unfinished(path, &dir)? else { return Ok(Planted::Exists) };
        // An ordinary user needs the write permission that the mode may end.
        let as_root = own_mark() == xattrs::TRUSTED_UNFINISHED;
        if !as_root {
            self.unmark(&dir, &mark)?;
        }
        fault::effect("plant.attributes")?;
        let refusals = attributes::apply(dir.as_fd(), FileKind::Dir, attributes);
        if as_root {
            self.unmark(&dir, &mark)?;
        }
        Ok(Planted::Made(refusals))
    }

    /// For a directory that got an entry after its record was applied.
    pub fn set_times_of_dir(&mut self, path: &RelPath, mtime_ns: i64) -> io::Result<()> {
        let dir = self.resolve(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        let times =
            Timestamps { last_access: timespec(None), last_modification: timespec(Some(mtime_ns)) };
        Ok(rustix::fs::utimensat(dir, c"", &times, AtFlags::EMPTY_PATH)?)
    }

    /// A file to be filled, which will be at `path` when it is complete. Its
    /// directory is made if it is missing.
    pub fn begin_file(&mut self, path: &RelPath) -> io::Result<Unnamed> {
        let (parent, name) = self.place_of(path)?;
        Unnamed::begin(parent, name)
    }

    /// The directory of `path`, made if it is missing, and its name in there.
    fn place_of(&mut self, path: &RelPath) -> io::Result<(Arc<OwnedFd>, Vec<u8>)> {
        let Some(parent) = path.parent() else {
            return Err(Errno::EXIST.into()); // The target itself is there.
        };
        let open = match &self.parent {
            Some((cached, fd)) if *cached == parent => Arc::clone(fd),
            _ => {
                let fd = self.open_or_make(&parent)?;
                self.parent = Some((parent, Arc::clone(&fd)));
                fd
            }
        };
        Ok((open, path.file_name().to_vec()))
    }

    fn open_or_make(&mut self, path: &RelPath) -> io::Result<Arc<OwnedFd>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        match (self.resolve(path, flags), path.parent()) {
            (Err(error), Some(above)) if is(&error, Errno::NOENT) => {
                let above = self.open_or_make(&above)?;
                self.make_dir(&above, path.file_name())
            }
            (opened, _) => opened.map(Arc::new),
        }
    }

    /// Marked before it has its name. If somebody was faster, theirs is taken as
    /// it is: another thread of ours marked it too.
    fn make_dir(&self, above: &Arc<OwnedFd>, name: &[u8]) -> io::Result<Arc<OwnedFd>> {
        let make = |dir: BorrowedFd<'_>, name: &str| rustix::fs::mkdirat(dir, name, Mode::RWXU);
        let (mut temporary, ()) = Temporary::make(above, FileKind::Dir, make)?;
        let dir = temporary.open(0)?;
        self.mark(&dir)?;
        if temporary.place(dir.as_fd(), name, None)? == Placed::Placed {
            return Ok(Arc::new(dir));
        }
        self.unmarked().remove(&Inode::of(&dir)?);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Arc::new(rustix::fs::openat(above, name, flags, Mode::empty())?))
    }

    fn mark(&self, dir: &OwnedFd) -> io::Result<()> {
        match xattrs::set_path_fd(dir, own_mark(), b"") {
            Err(error) if is(&error, Errno::PERM) || is(&error, Errno::OPNOTSUPP) => {
                self.unmarked().insert(Inode::of(dir)?);
                Ok(())
            }
            done => done,
        }
    }

    fn unmark(&self, dir: &OwnedFd, mark: &Mark) -> io::Result<()> {
        match mark {
            Mark::Named => xattrs::remove_path_fd(dir, own_mark()).map(drop),
            Mark::Remembered(inode) => {
                self.unmarked().remove(inode);
                Ok(())
            }
        }
    }

    /// Whether this is a directory that a restore of ours has begun. Root's mark
    /// proves it. Another one, or an inode number that may be used again, counts
    /// only on what is our own.
    fn unfinished(&mut self, path: &RelPath, dir: &OwnedFd) -> io::Result<Option<Mark>> {
        let named = xattrs::get_path_fd(dir, own_mark())?.is_some();
        if named && own_mark() == xattrs::TRUSTED_UNFINISHED {
            return Ok(Some(Mark::Named));
        }
        let inode = Inode::of(dir)?;
        if !named && !self.unmarked().contains(&inode) {
            return Ok(None);
        }
        let mark = if named { Mark::Named } else { Mark::Remembered(inode) };
        let (above, _) = self.place_of(path)?;
        Ok(place::is_ours(&above, &statx_fd(dir)?)?.then_some(mark))
    }

    fn unmarked(&self) -> std::sync::MutexGuard<'_, HashSet<Inode>> {
        self.unmarked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolve(&mut self, path: &RelPath, flags: OFlags) -> io::Result<OwnedFd> {
        #[cfg(test)]
        {
            self.resolved += 1;
        }
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        resolve_beneath(self.top.as_fd(), name, flags)
    }
}

/// How a directory is known to be unfinished.
enum Mark {
    /// It carries [`own_mark`].
    Named,
    Remembered(Inode),
}

/// Ordinary users can neither see nor forge root's.
fn own_mark() -> &'static str {
    let root = rustix::process::geteuid().is_root();
    if root { xattrs::TRUSTED_UNFINISHED } else { xattrs::USER_UNFINISHED }
}

impl Found {
    pub fn inode(&self) -> io::Result<Inode> {
        Inode::of(&self.fd)
    }

    /// Where a symbolic link points, as bytes.
    pub fn target(&self) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, c"", Vec::new())?.into_bytes())
    }

    /// Makes what was found look as recorded, its data aside.
    pub fn set(&self, attributes: &Attributes<'_>) -> io::Result<Vec<Refusal>> {
        fault::effect("plant.attributes")?;
        Ok(attributes::apply(self.fd.as_fd(), self.stat.kind, attributes))
    }
}

/// Opened with `O_PATH`.
impl AsFd for Found {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Inode {
    /// Of anything open, also with `O_PATH`.
    pub fn of(fd: impl AsFd) -> io::Result<Self> {
        let Stat { dev, ino, btime_ns, .. } = statx_fd(&fd)?;
        Ok(Self { dev, ino, generation: generation(&fd).ok(), btime_ns })
    }
}

fn resolve_beneath(top: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let split = || name[..MAX_RESOLVED_BYTES].iter().rposition(|&byte| byte == b'/');
    if name.len() > MAX_RESOLVED_BYTES
        && let Some(end) = split()
    {
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let above = resolve_beneath(top, &name[..end], step)?;
        return resolve_beneath(above.as_fd(), &name[end + 1..], flags);
    }
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let open = || rustix::fs::openat2(top, name, flags | OFlags::CLOEXEC, Mode::empty(), inside);
    Ok(rustix::io::retry_on_intr(open)?)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}
