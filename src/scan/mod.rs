//! Walks a root and hands what it saw, directory by directory, to a sink.
//!
//! Several threads take directories from one queue; the sink runs on the
//! caller's thread and hears of a directory before it hears of what is beneath
//! it. Each directory is opened beneath the root without following symlinks or
//! crossing mounts (`os::tree`), its names are listed by walkdir through
//! `/proc/self/fd`, and each name is looked at relative to the descriptor, so
//! that a rename or a planted symlink cannot lead the scan out of the root.
//!
//! What a scan did not see is not known to be gone. Everything that could not
//! be read is reported and makes the scan incomplete, and so does a stop;
//! mount points and directories of our own are passed over and named in the
//! batch. The root must be the same directory of the same file system before
//! and after. A name that disappears between its listing and the look at it is
//! simply not there.
//!
//! No file is opened: no atime of a file changes. A directory's own atime may
//! move, as with any listing, because walkdir opens it by path and so without
//! `O_NOATIME`.

mod batch;
mod error;
mod list;
mod queue;
mod walk;

pub use batch::{DirBatch, Seen, Skip, Skipped};
pub use error::{Error, SinkError};
pub use walk::run;

use crate::os::RelPath;
use std::path::PathBuf;

/// Receives what a scan sees, on the thread that called [`run`].
pub trait Sink {
    /// One directory, or a part of a large one. The parts of one directory come
    /// in the order of their names; other directories may come between them.
    fn directory(&mut self, dir: DirBatch) -> Result<(), SinkError>;
}

/// How to scan.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Threads that read directories; 0 for twice the cores, at most 16.
    pub threads: usize,
    /// Only this directory and what is beneath it.
    pub under: Option<RelPath>,
    /// Not even what is in the directories beneath it. Never complete.
    pub alone: bool,
    /// Files and directories to pass over wherever they are met, such as the
    /// state directory and a store inside the root.
    pub skip: Vec<PathBuf>,
}

/// What a scan saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Directories read, the first one included.
    pub directories: u64,
    /// Regular files; a file of several names counts by name.
    pub files: u64,
    /// Symlinks, FIFOs, sockets and devices.
    pub others: u64,
    /// Sizes of the regular files.
    pub bytes: u64,
    /// Directories and names that could not be read.
    pub errors: u64,
    /// Mount points and directories on other devices.
    pub skipped_mounts: u64,
    /// Met on the caller's skip list.
    pub skipped_own: u64,
    /// Names that were listed and then not there.
    pub vanished: u64,
    /// Nothing failed and nothing stopped it: what was not seen is not there.
    pub complete: bool,
    /// Ended early because it was asked to.
    pub stopped: bool,
}

#[cfg(test)]
mod tests;
