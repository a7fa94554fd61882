//! A regular file before it has its name.
//!
//! `O_TMPFILE` makes an inode that no path leads to: nobody sees it half done,
//! and when the process dies it is gone. A file system without it (NFS, vfat,
//! most of FUSE) gets a temporary name in the same directory, which is what a
//! killed restore leaves there.

use super::place::{self, Placed, Temporary};
use super::{Attributes, Inode, Refusal, attributes};
use crate::fault;
use crate::ids::FileIdent;
use crate::os::stat::{FileKind, Stat};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Gone when it is dropped without a name.
#[derive(Debug)]
pub struct Unnamed {
    file: File,
    dir: Arc<OwnedFd>,
    /// What it will be called.
    name: Vec<u8>,
    /// Where there are no unnamed files.
    temporary: Option<Temporary>,
}

impl Unnamed {
    pub(super) fn begin(dir: Arc<OwnedFd>, name: Vec<u8>) -> io::Result<Self> {
        fault::effect("plant.make")?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir, ".", flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => Ok(Self { file: fd.into(), dir, name, temporary: None }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::begin_named(dir, name),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(super) fn begin_named(dir: Arc<OwnedFd>, name: Vec<u8>) -> io::Result<Self> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
        let (temporary, fd) = Temporary::make(&dir, FileKind::File, |dir, name| {
            rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        Ok(Self { file: fd.into(), dir, name, temporary: Some(temporary) })
    }

    /// Empty at first, for reading and writing, of mode 0600.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What a marker says of it. `Unsupported` as [`crate::os::file_ident`].
    pub fn ident(&self) -> io::Result<FileIdent> {
        crate::os::file_ident(&self.file)
    }

    /// For [`super::Plantation::hard_link`].
    pub fn inode(&self) -> io::Result<Inode> {
        Inode::of(&self.file)
    }

    /// Call it when the data is there: writing changes times and takes set-id
    /// bits and capabilities away.
    pub fn set(&self, attributes: &Attributes<'_>) -> io::Result<Vec<Refusal>> {
        fault::effect("plant.attributes")?;
        Ok(attributes::apply(self.file.as_fd(), FileKind::File, attributes))
    }

    /// Gives it its name unless something has it; then it can still
    /// [`Unnamed::replace`] that. Once placed, drop it.
    pub fn link(&mut self) -> io::Result<Placed> {
        match self.temporary.take() {
            None => place::link(self.file.as_fd(), &self.dir, &self.name),
            Some(temporary) => self.place(temporary, None),
        }
    }

    /// Takes the place of `expected`, which the caller has looked at: `Exists`
    /// if it is another file by now, or was written to since.
    pub fn replace(&mut self, expected: &Stat) -> io::Result<Placed> {
        let temporary = match self.temporary.take() {
            Some(temporary) => temporary,
            None => place::link_temporarily(self.file.as_fd(), &self.dir)?,
        };
        self.place(temporary, Some(expected))
    }

    fn place(&mut self, mut temporary: Temporary, over: Option<&Stat>) -> io::Result<Placed> {
        let placed = temporary.place(self.file.as_fd(), &self.name, over);
        if !matches!(placed, Ok(Placed::Placed)) {
            self.temporary = Some(temporary);
        }
        placed
    }
}
