//! What can go wrong with the local copy of the catalog. It is disposable: none of
//! these loses anything.

use crate::ids::NodeId;
use crate::manifest;
use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open the local copy of the catalog {}", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("replace the local copy of the catalog {}", path.display())]
    Replace { path: PathBuf, source: std::io::Error },
    #[error("{operation} in the local copy of the catalog")]
    Sql { operation: &'static str, source: rusqlite::Error },
    #[error("the local copy of the catalog holds {0}")]
    Corrupted(String),
    #[error("the log of node {node} ends with segment {head}, and segment {seq} came")]
    NotNext { node: NodeId, head: u64, seq: u64 },
    #[error(transparent)]
    Format(#[from] manifest::Error),
}

/// Names the operation during which SQLite failed.
pub(super) trait During<T> {
    fn during(self, operation: &'static str) -> Result<T>;
}

impl<T> During<T> for rusqlite::Result<T> {
    fn during(self, operation: &'static str) -> Result<T> {
        self.map_err(|source| Error::Sql { operation, source })
    }
}

impl Error {
    /// The file itself is not what was written; made anew it is.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Open { source, .. } | Self::Sql { source, .. } => {
                matches!(source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            }
            Self::Corrupted(_) => true,
            _ => false,
        }
    }

    pub(super) fn bad_value(what: &str, value: impl std::fmt::Debug) -> Self {
        Self::Corrupted(format!("the {what} {value:?}"))
    }
}
