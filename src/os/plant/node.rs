//! Everything but files and directories, and second names.
//!
//! Each is made under a temporary name, described through its descriptor and
//! renamed, so that it has its name only when it is complete. Sockets are not
//! made: a socket comes back when its program binds it.

use super::place::{self, Placed, Temporary};
use super::{Attributes, Inode, Plantation, Planted, attributes};
use crate::fault;
use crate::os::relpath::RelPath;
use crate::os::stat::{FileKind, Stat};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What these operations do with something that has the name already: nothing,
/// or, where the caller has looked at it, take its place. Never a directory's.
pub type Over<'a> = Option<&'a Stat>;

impl Plantation {
    /// `target` is not resolved and may be anything that is not empty.
    pub fn symlink(
        &mut self,
        path: &RelPath,
        target: &[u8],
        attributes: &Attributes<'_>,
        over: Over<'_>,
    ) -> io::Result<Planted> {
        self.node(path, (FileKind::Symlink, 0), attributes, over, |dir, name| {
            rustix::fs::symlinkat(target, dir, name)
        })
    }

    pub fn fifo(
        &mut self,
        path: &RelPath,
        attributes: &Attributes<'_>,
        over: Over<'_>,
    ) -> io::Result<Planted> {
        self.node(path, (FileKind::Fifo, 0), attributes, over, |dir, name| {
            rustix::fs::mknodat(dir, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        })
    }

    /// `kind` is one of the two kinds of devices. `EPERM` for whoever may not
    /// make devices.
    pub fn device(
        &mut self,
        path: &RelPath,
        (kind, rdev): (FileKind, u64),
        attributes: &Attributes<'_>,
        over: Over<'_>,
    ) -> io::Result<Planted> {
        let file_type = match kind {
            FileKind::CharDevice => FileType::CharacterDevice,
            FileKind::BlockDevice => FileType::BlockDevice,
            _ => return Err(Errno::INVAL.into()),
        };
        self.node(path, (kind, rdev), attributes, over, |dir, name| {
            rustix::fs::mknodat(dir, name, file_type, Mode::RUSR | Mode::WUSR, rdev)
        })
    }

    /// Another name for what is at `existing`, if that still is `inode`: it may be
    /// in a directory of somebody who would have root link something of theirs
    /// to a place of another's.
    pub fn hard_link(
        &mut self,
        existing: &RelPath,
        inode: Inode,
        path: &RelPath,
        over: Over<'_>,
    ) -> io::Result<Planted> {
        let Some(found) = self.lookup(existing)? else { return Err(Errno::NOENT.into()) };
        if found.inode()? != inode {
            return Err(place::replaced());
        }
        let (dir, name) = self.place_of(path)?;
        let placed = match over {
            None => place::link(found.as_fd(), &dir, &name)?,
            Some(_) => {
                let mut temporary = place::link_temporarily(found.as_fd(), &dir)?;
                temporary.place(found.as_fd(), &name, over)?
            }
        };
        Ok(planted(placed, Vec::new()))
    }

    fn node(
        &mut self,
        path: &RelPath,
        (kind, rdev): (FileKind, u64),
        attributes: &Attributes<'_>,
        over: Over<'_>,
        make: impl FnOnce(BorrowedFd<'_>, &str) -> rustix::io::Result<()>,
    ) -> io::Result<Planted> {
        let (dir, name) = self.place_of(path)?;
        let (mut temporary, ()) = Temporary::make(&dir, kind, make)?;
        let fd = temporary.open(rdev)?;
        fault::effect("plant.attributes")?;
        let refusals = attributes::apply(fd.as_fd(), kind, attributes);
        Ok(planted(temporary.place(fd.as_fd(), &name, over)?, refusals))
    }
}

fn planted(placed: Placed, refusals: Vec<super::Refusal>) -> Planted {
    match placed {
        Placed::Placed => Planted::Made(refusals),
        Placed::Exists => Planted::Exists,
    }
}
