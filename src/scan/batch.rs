//! What a scan hands to its sink.

use crate::os::{FileKind, RelPath, Stat};
use std::io;

/// A directory with what is in it, or a part of a large one.
#[derive(Debug)]
pub struct DirBatch {
    pub path: RelPath,
    /// Of the directory itself.
    pub stat: Stat,
    /// In byte order of their names, each name once.
    pub entries: Vec<Seen>,
    /// What is here and was passed over; in the last part.
    pub skipped: Vec<Skipped>,
    /// The listing broke off: there may be more names. The scan is incomplete.
    pub error: Option<io::Error>,
    /// Whether this begins the directory, and whether it ends it. A part in
    /// between covers all names from the end of the part before to its own last.
    pub first: bool,
    pub last: bool,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub name: Vec<u8>,
    pub stat: Stat,
    /// So few blocks for its size that it may be a stub: worth asking for the
    /// marker.
    pub marker_hint: bool,
}

/// Why a name was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// A mount point, or another device.
    Mount,
    /// On the caller's list.
    Own,
}

/// A name that was passed over with all beneath it. Nothing is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub name: Vec<u8>,
    pub why: Skip,
}

/// Beyond this many allocated bytes a file has data: a stub's only blocks are
/// those of its extended attributes.
const MOST_ALLOCATED_OF_A_STUB_BYTES: u64 = 64 << 10;

impl Seen {
    pub fn new(name: Vec<u8>, stat: Stat) -> Self {
        let marker_hint = stat.kind == FileKind::File
            && stat.allocated_bytes < stat.size_bytes
            && stat.allocated_bytes <= MOST_ALLOCATED_OF_A_STUB_BYTES;
        Self { name, stat, marker_hint }
    }
}
