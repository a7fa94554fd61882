//! What can go wrong with a recall: as a whole, or with one file, and what a
//! program sees that opened the file and was refused.

use crate::ids::{ChunkId, ContentId, FileIdent};
use crate::os::space::RESERVE_BYTES;
use crate::site::{GuardError, archive, catalog, fetch};
use crate::units::format_size;
use crate::{chunk, state, store, stub};
use std::io;
use std::path::PathBuf;

/// What stops a recall as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("read the free space of {}", path.display())]
    Space { path: PathBuf, source: io::Error },
    #[error("flush {}", path.display())]
    Flush { path: PathBuf, source: io::Error },
    #[error(
        "{} has {} free, the recall needs {} and leaves {} to others",
        path.display(),
        format_size(*available_bytes),
        format_size(*needed_bytes),
        format_size(RESERVE_BYTES)
    )]
    NoSpace { path: PathBuf, needed_bytes: u64, available_bytes: u64 },
}

impl From<archive::Error> for Error {
    fn from(error: archive::Error) -> Self {
        match error {
            archive::Error::State(error) => Self::State(error),
            archive::Error::Store(error) => Self::Store(error),
        }
    }
}

/// Why one file stays a stub.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("open the file")]
    Open(#[source] io::Error),
    #[error("keep others off the file")]
    Custody(#[source] io::Error),
    #[error("it was deleted or replaced meanwhile")]
    Replaced,
    #[error("{0}")]
    InUse(&'static str),
    #[error(
        "the file system has {} free, the recall needs {} and leaves {} to others",
        format_size(*available_bytes),
        format_size(*needed_bytes),
        format_size(RESERVE_BYTES)
    )]
    NoSpace { needed_bytes: u64, available_bytes: u64 },
    #[error(
        "its owner has used {} of a quota of {}, the recall needs {}",
        crate::units::format_size(*used_bytes),
        crate::units::format_size(*limit_bytes),
        crate::units::format_size(*needed_bytes)
    )]
    OverQuota { needed_bytes: u64, used_bytes: u64, limit_bytes: u64 },
    #[error(
        "it is a copy of a stub without its data: hsm adopt {} makes it a stub of its own, or \
         recall the original and copy it again",
        name.display()
    )]
    Foreign { name: PathBuf },
    #[error(transparent)]
    Stub(#[from] stub::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    State(#[from] state::Error),
    #[error("a chunk of its copy is bad")]
    Chunk(#[from] chunk::Error),
    #[error("{0}")]
    Conflict(String),
    #[error("its marker names content {0}, which neither the state DB nor the catalog knows")]
    UnknownContent(ContentId),
    #[error("chunk {0} of its copy is in no pack that is known to be good")]
    ChunkLost(ChunkId),
    #[error(
        "its marker is not what hsm recorded of it, neither in the state DB nor in the catalog"
    )]
    Unvouched,
    #[error("the state DB does not say where its copy is")]
    Catalog(#[source] catalog::Error),
    #[error("its copy is in an archive class of the store, which is asked to bring it")]
    Archived(Box<Wanted>),
    #[error("write the file")]
    Write(#[source] io::Error),
    #[error("the recall was stopped")]
    Stopped,
}

/// What the archive is to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub ident: FileIdent,
    pub content: ContentId,
}

impl FileError {
    /// What a program is told whose open of the file is refused: `ENOSPC` and
    /// `EDQUOT` as they are, `EBUSY` for a file in use, `EAGAIN` for a recall
    /// that was stopped and may be tried again or that an archive is to make
    /// possible, `EIO` for all else.
    pub fn errno(&self) -> i32 {
        match self {
            Self::NoSpace { .. } => libc::ENOSPC,
            Self::OverQuota { .. } => libc::EDQUOT,
            Self::InUse(_) | Self::Custody(_) | Self::Stub(stub::Error::InUse) => libc::EBUSY,
            Self::Stopped | Self::Archived(_) => libc::EAGAIN,
            Self::Store(error) if error.kind() == store::ErrorKind::Stopped => libc::EAGAIN,
            Self::Catalog(catalog::Error::Store(error))
                if error.kind() == store::ErrorKind::Stopped =>
            {
                libc::EAGAIN
            }
            Self::Stub(error) => error.io().map_or(libc::EIO, out_of_room),
            Self::Open(error) | Self::Write(error) => out_of_room(error),
            _ => libc::EIO,
        }
    }
}

/// A full disk and a full quota have a meaning to a program; nothing else has.
fn out_of_room(error: &io::Error) -> i32 {
    match error.kind() {
        io::ErrorKind::StorageFull => libc::ENOSPC,
        io::ErrorKind::QuotaExceeded => libc::EDQUOT,
        io::ErrorKind::ResourceBusy => libc::EBUSY,
        _ => libc::EIO,
    }
}

impl From<fetch::FileError> for FileError {
    fn from(error: fetch::FileError) -> Self {
        match error {
            fetch::FileError::ChunkLost(id) => Self::ChunkLost(id),
            fetch::FileError::Store(error) => Self::Store(error),
            fetch::FileError::Chunk(error) => Self::Chunk(error),
            fetch::FileError::Catalog(error) => Self::Catalog(error),
            fetch::FileError::Shared(text) => Self::Conflict(text),
            error @ fetch::FileError::Archived(_) => Self::Conflict(error.to_string()),
            fetch::FileError::Stopped => Self::Stopped,
            fetch::FileError::Sink(error) => match error.downcast::<stub::Error>() {
                Ok(error) => Self::Stub(*error),
                Err(error) => Self::Conflict(error.to_string()),
            },
        }
    }
}

/// For one file, what would stop a batch stops only it.
impl From<Error> for FileError {
    fn from(error: Error) -> Self {
        match error {
            Error::State(error) => Self::State(error),
            Error::Store(error) => Self::Store(error),
            Error::Catalog(error) => Self::Catalog(error),
            Error::Space { source, .. } | Error::Flush { source, .. } => Self::Write(source),
            Error::NoSpace { needed_bytes, available_bytes, .. } => {
                Self::NoSpace { needed_bytes, available_bytes }
            }
            Error::Guard(error) => Self::Conflict(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted =
        Wanted { ident: FileIdent { ino: 1, generation: 1 }, content: ContentId([0; 32]) };

    #[test]
    fn a_program_is_told_what_it_can_understand() {
        let io = |errno| io::Error::from_raw_os_error(errno);
        let allocate =
            |errno| FileError::from(stub::Error::Allocate { bytes: 1, source: io(errno) });
        let stopped = || store::Error::new(store::ErrorKind::Stopped, "get", "packs/x", "file:///");
        let cases = [
            (FileError::NoSpace { needed_bytes: 1, available_bytes: 0 }, libc::ENOSPC),
            (FileError::OverQuota { needed_bytes: 1, used_bytes: 1, limit_bytes: 1 }, libc::EDQUOT),
            (allocate(libc::ENOSPC), libc::ENOSPC),
            (allocate(libc::EDQUOT), libc::EDQUOT),
            (allocate(libc::EPERM), libc::EIO),
            (FileError::Write(io(libc::EDQUOT)), libc::EDQUOT),
            (FileError::Open(io(libc::EACCES)), libc::EIO),
            (FileError::InUse("x"), libc::EBUSY),
            (stub::Error::InUse.into(), libc::EBUSY),
            (FileError::Stopped, libc::EAGAIN),
            (stopped().into(), libc::EAGAIN),
            (FileError::Catalog(stopped().into()), libc::EAGAIN),
            (FileError::Archived(Box::new(WANTED)), libc::EAGAIN),
            (FileError::Unvouched, libc::EIO),
            (FileError::Foreign { name: "a".into() }, libc::EIO),
        ];
        for (error, errno) in cases {
            assert_eq!(error.errno(), errno, "{error:?}");
        }
    }
}
