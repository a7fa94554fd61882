//! Where the marker is kept, and writing it.
//!
//! `trusted.hsm` whenever the kernel lets us: ordinary users can neither see
//! nor forge it, and root must never believe anything else, or an owner could
//! have root write another's content into a file of theirs. Without
//! `CAP_SYS_ADMIN` it is `user.hsm`, in the user's own trees and only together
//! with that user's own state DB.
//!
//! A `user.*` attribute needs write permission on the file itself, whatever the
//! descriptor may do, so a read-only file of an ordinary user is made writable
//! for that instant (`os::owner_write`).

use super::error::Error;
use super::marker::Marker;
use crate::fault;
use crate::os::owner_write::OwnerWrite;
use crate::os::{process, xattrs};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// Which attribute holds the marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MarkerSpace {
    /// `trusted.hsm`
    Trusted,
    /// `user.hsm`
    User,
}

impl MarkerSpace {
    pub fn for_this_process() -> Self {
        if process::can_use_trusted_xattrs() { Self::Trusted } else { Self::User }
    }

    /// The attribute's full name.
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Trusted => xattrs::TRUSTED_MARKER,
            Self::User => xattrs::USER_MARKER,
        }
    }

    pub(super) fn undo_attribute(self) -> &'static str {
        match self {
            Self::Trusted => xattrs::TRUSTED_UNDO,
            Self::User => xattrs::USER_UNDO,
        }
    }

    /// The marker's bytes, not yet decoded.
    pub(super) fn load(self, file: &File) -> Result<Option<Vec<u8>>, Error> {
        xattrs::get(file, self.attribute()).map_err(Error::ReadMarker)
    }

    /// The same by an `O_PATH` descriptor.
    pub(super) fn peek(self, fd: impl AsFd) -> Result<Option<Vec<u8>>, Error> {
        xattrs::get_path_fd(fd, self.attribute()).map_err(Error::ReadMarker)
    }

    /// Visible on return, not durable.
    pub(super) fn store(self, file: &File, marker: &Marker, intact: bool) -> Result<(), Error> {
        self.set(file, self.attribute(), &marker.encode_with(intact)).map_err(Error::WriteMarker)
    }

    /// Whether there was one.
    pub(super) fn remove(self, file: &File) -> Result<bool, Error> {
        self.unset(file, self.attribute()).map_err(Error::RemoveMarker)
    }

    pub(super) fn set(self, file: &File, name: &str, value: &[u8]) -> io::Result<()> {
        fault::effect("stub.setxattr")?;
        with_permission(file, || xattrs::set(file, name, value))
    }

    pub(super) fn unset(self, file: &File, name: &str) -> io::Result<bool> {
        fault::effect("stub.removexattr")?;
        with_permission(file, || xattrs::remove(file, name))
    }
}

fn with_permission<T>(file: &File, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match act() {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            fault::effect("stub.fchmod")?;
            let _granted = OwnerWrite::grant(file)?;
            act()
        }
        done => done,
    }
}
