//! Files of a store as a stream of another form: a tar archive.
//!
//! `hsm export` reads chunks from the store and writes an archive; nothing of
//! it touches the local disk, and memory is bounded. `archive` brings records and
//! data; the rest is the half that needs no store: what the bytes of the archive
//! are (`tar`, with `header`, `pax`, `sparse` and `acl`).
//!
//! The archive is what GNU tar would have made of the files, so that `tar -x`
//! gives back what a restore does: names of any bytes, owners and times of any
//! size, holes, hard links, extended attributes and ACLs.

mod acl;
mod archive;
mod header;
mod pax;
mod sparse;
mod tar;
#[cfg(test)]
mod tests;

pub use archive::{ExportStats, run};
pub use tar::{Member, TarWriter};

use crate::site::{catalog, fetch};
use crate::state;
use std::path::PathBuf;

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("write the archive")]
    Write {
        #[source]
        source: std::io::Error,
    },
    #[error("archive {name}: its record cannot be used: {why}")]
    Record { name: String, why: String },
    /// Of a member's data; the archive is of no use any more.
    #[error("archive {name}: its data is not of {wanted_bytes} bytes")]
    Length { name: String, wanted_bytes: u64 },
    #[error("the archive ends in the middle of {}", path.display())]
    Cut { path: PathBuf, source: Box<fetch::FileError> },
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// A member before was not finished.
    #[error("the archive ends in the middle of a file")]
    Broken,
}

/// Why one file is not in the archive.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Fetch(fetch::FileError),
    #[error(transparent)]
    Record(Error),
    #[error("its other name is not in the archive")]
    OtherName,
}

impl From<crate::catalog::Error> for Error {
    fn from(error: crate::catalog::Error) -> Self {
        Self::Catalog(catalog::Error::Local(error))
    }
}
