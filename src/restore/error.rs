//! What can go wrong with a restore: as a whole, or with one file.

use super::judge::Difference;
use crate::os::relpath::BadPath;
use crate::os::space::RESERVE_BYTES;
use crate::site::{catalog, fetch};
use crate::units::format_size;
use crate::{state, stub};
use std::io;
use std::path::PathBuf;

/// What stops a restore as a whole. What was made before is complete.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error("open the target directory {}", path.display())]
    Target { path: PathBuf, source: io::Error },
    #[error("the target {} is not a plain path", path.display())]
    TargetName { path: PathBuf },
    #[error("read the free space of {}", path.display())]
    Space { path: PathBuf, source: io::Error },
    #[error(
        "{} has {} free, the next files need {} and {} are left to others",
        path.display(),
        format_size(*available_bytes),
        format_size(*needed_bytes),
        format_size(RESERVE_BYTES)
    )]
    NoSpace { path: PathBuf, needed_bytes: u64, available_bytes: u64 },
    #[error("there is no room for {}", path.display())]
    Full { path: PathBuf, source: Box<FileError> },
    #[error("flush {}", path.display())]
    Flush { path: PathBuf, source: io::Error },
}

/// Why one file was not restored.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("it exists and differs: {0}")]
    Differs(Difference),
    #[error("something has come to its place meanwhile")]
    Appeared,
    #[error("look at what is there")]
    Look(#[source] io::Error),
    #[error("its path cannot be made here")]
    Path(#[from] BadPath),
    #[error("make it")]
    Make(#[source] io::Error),
    #[error("remove it")]
    Remove(#[source] io::Error),
    #[error("write it")]
    Write(#[source] io::Error),
    #[error("mark it as a stub")]
    Mark(#[source] stub::Error),
    #[error("it needs an identity to be a stub")]
    Identity(#[source] io::Error),
    #[error(
        "the content of this version has expired; its data may still be there, without --stubs"
    )]
    Expired,
    #[error("the content of this version has expired and is no longer in the store")]
    Deleted,
    #[error("its copy is being collected as garbage; restore its data, without --stubs")]
    Condemned,
    #[error("the catalog does not have its chunk list")]
    NoContent,
    #[error(transparent)]
    Fetch(fetch::FileError),
    #[error("its other name {} was not restored", .0.display())]
    OtherName(PathBuf),
}

impl From<crate::catalog::Error> for Error {
    fn from(error: crate::catalog::Error) -> Self {
        Self::Catalog(catalog::Error::Local(error))
    }
}

impl FileError {
    /// There is no room for any other file either.
    pub(super) fn is_full(&self) -> bool {
        let full = |error: &io::Error| {
            let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem];
            kinds.contains(&error.kind())
        };
        match self {
            Self::Make(error) | Self::Write(error) => full(error),
            Self::Mark(error) => error.io().is_some_and(full),
            Self::Fetch(fetch::FileError::Sink(error)) => {
                error.downcast_ref::<io::Error>().is_some_and(full)
            }
            _ => false,
        }
    }
}
