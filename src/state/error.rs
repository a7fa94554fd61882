//! What can go wrong with the state DB, told apart by what the user must do:
//! a damaged or newer DB is moved aside or left to a newer `hsm`, a full disk
//! is emptied, a busy DB is waited for; anything else is reported as it is.

use crate::ids::{FileIdent, PackId};
use crate::policy::FileState;
use std::path::{Path, PathBuf};

pub type Result<T> = std::result::Result<T, Error>;

/// Every failure of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no state database at {}", path.display())]
    Missing { path: PathBuf },
    #[error("cannot create the state database {}: it exists already", path.display())]
    Exists { path: PathBuf },
    #[error("cannot create the state database {}", path.display())]
    Create { path: PathBuf, source: std::io::Error },
    #[error("cannot open the state database {}", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the state database {} was written by a newer hsm (schema {found}, this one knows {known})",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    /// Damaged, or no state DB of `hsm` at all. It is disposable: nothing in it
    /// is the only record of a file's bytes.
    #[error("the state database is damaged ({detail})")]
    Corrupted { detail: String },
    #[error("no space left for the state database, {operation}")]
    Full { operation: &'static str, source: rusqlite::Error },
    #[error("the state database is in use by another process, {operation}")]
    Busy { operation: &'static str, source: rusqlite::Error },
    #[error("the state database failed, {operation}")]
    Query { operation: &'static str, source: rusqlite::Error },
    #[error("cannot commit to the state database, {operation}")]
    Commit { operation: &'static str, source: std::io::Error },
    #[error(
        "inode {} (generation {}) is {found}, not {}, {operation}",
        ident.ino, ident.generation, expected.as_str()
    )]
    WrongState { operation: &'static str, ident: FileIdent, expected: FileState, found: String },
    #[error("pack {pack} is not known")]
    UnknownPack { pack: PackId },
    /// Two writers of one log, or a segment committed twice.
    #[error("catalog segment {given} is not the next one, which is {next}")]
    WrongSegment { given: u64, next: u64 },
}

impl Error {
    /// A value in a row that no version of `hsm` writes.
    pub(super) fn bad_value(what: &'static str, value: impl std::fmt::Debug) -> Self {
        Self::Corrupted { detail: format!("{what} {value:?}") }
    }

    /// Names the file in an error that says what is wrong, but not with which.
    pub(super) fn located(self, path: &Path) -> Self {
        match self {
            Self::Corrupted { detail } if !detail.contains(&*path.to_string_lossy()) => {
                Self::Corrupted { detail: format!("{}: {detail}", path.display()) }
            }
            Self::Query { source, .. } => Self::Open { path: path.to_owned(), source },
            other => other,
        }
    }

    /// Tells the kinds apart by SQLite's primary result code.
    pub(super) fn query(operation: &'static str, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupted { detail: format!("{source}, {operation}") }
            }
            Some(ErrorCode::DiskFull) => Self::Full { operation, source },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy { operation, source }
            }
            _ => match source {
                // A column holds another type than the STRICT schema allows.
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..) => {
                    Self::Corrupted { detail: format!("{source}, {operation}") }
                }
                source => Self::Query { operation, source },
            },
        }
    }
}

/// Names the operation of a failed call: `statement.execute(..).during("adding a root")?`.
pub(super) trait During<T> {
    fn during(self, operation: &'static str) -> Result<T>;
}

impl<T> During<T> for rusqlite::Result<T> {
    fn during(self, operation: &'static str) -> Result<T> {
        self.map_err(|source| Error::query(operation, source))
    }
}
