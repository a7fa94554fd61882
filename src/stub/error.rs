//! What can go wrong with a placeholder. The file is known to the caller, who
//! adds its path.

use super::expected::Changed;
use super::marker::MarkerError;
use crate::ids::ContentId;
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("read the marker")]
    ReadMarker(#[source] io::Error),
    #[error("write the marker")]
    WriteMarker(#[source] io::Error),
    #[error("remove the marker")]
    RemoveMarker(#[source] io::Error),
    #[error("the marker is not readable")]
    BadMarker(#[source] MarkerError),
    #[error("inspect the file")]
    Inspect(#[source] io::Error),
    #[error("the file changed since its upload")]
    Changed(#[from] Changed),
    #[error("the verified copy has {proven_bytes} bytes, the file {found_bytes}")]
    WrongCopy { proven_bytes: u64, found_bytes: u64 },
    #[error("the verified copy is of content {proven}, the marker names {expected}")]
    OtherCopy { proven: ContentId, expected: ContentId },
    #[error("cannot be stubbed: {why}")]
    Unsuitable { why: &'static str },
    #[error("already marked: the file is {found}")]
    AlreadyMarked { found: &'static str },
    #[error("not a stub of this content: the file is {found}")]
    NotAStub { found: &'static str },
    #[error("in use by another program")]
    InUse,
    #[error("ask whether anyone uses the file")]
    Lease(#[source] io::Error),
    #[error("open for writing")]
    MakeWritable(#[source] io::Error),
    #[error("free the blocks")]
    Punch(#[source] io::Error),
    #[error("reserve {bytes} bytes")]
    Allocate { bytes: u64, source: io::Error },
    #[error("write {length} bytes at {offset}")]
    Write { offset: u64, length: usize, source: io::Error },
    #[error("make the file durable")]
    Sync(#[source] io::Error),
    #[error("save what a write strips")]
    Save(#[source] io::Error),
    #[error("put back times and mode")]
    Restore(#[source] io::Error),
    #[error("the data are content {found}, the marker names {expected}")]
    WrongContent { found: ContentId, expected: ContentId },
}

impl Error {
    /// The kernel's error behind it, if that is what it was: `ENOSPC` means
    /// something else to a caller than `EIO`.
    pub fn io(&self) -> Option<&io::Error> {
        match self {
            Self::ReadMarker(source)
            | Self::WriteMarker(source)
            | Self::RemoveMarker(source)
            | Self::Inspect(source)
            | Self::MakeWritable(source)
            | Self::Lease(source)
            | Self::Punch(source)
            | Self::Allocate { source, .. }
            | Self::Write { source, .. }
            | Self::Sync(source)
            | Self::Save(source)
            | Self::Restore(source) => Some(source),
            _ => None,
        }
    }

    /// There was no room for the data: on the disk, or in the user's quota.
    pub fn is_out_of_space(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        self.io().is_some_and(|error| full.contains(&error.kind()))
    }
}
