//! How the library speaks to whoever runs it: progress and single failures go
//! to a [`Monitor`], and a [`Stop`] asks long work to end between two files.
//!
//! The library never prints and never decides an exit code. One file's failure
//! is reported here, counted, and the run goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a long operation is doing now; the unit of its progress figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Scanning,
    Planning,
    Uploading,
    Stubbing,
    Recalling,
    /// Waiting for an archive; counted in packs.
    Thawing,
    Restoring,
    Exporting,
    Collecting,
    Repacking,
    Verifying,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scanning => "scanning",
            Self::Planning => "planning",
            Self::Uploading => "uploading",
            Self::Stubbing => "stubbing",
            Self::Recalling => "recalling",
            Self::Thawing => "thawing",
            Self::Restoring => "restoring",
            Self::Exporting => "exporting",
            Self::Collecting => "collecting",
            Self::Repacking => "repacking",
            Self::Verifying => "verifying",
        }
    }

    /// What its figures count.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Thawing => "packs",
            _ => "files",
        }
    }
}

/// Receives progress and failures. Called from several threads.
pub trait Monitor: Send + Sync {
    /// Whether somebody watches who would like to see how much is left; finding
    /// that out costs a pass over the state DB.
    fn wants_totals(&self) -> bool {
        false
    }

    /// A phase begins; totals are 0 where they are not known.
    fn begin(&self, phase: Phase, total_files: u64, total_bytes: u64);

    /// `files` and `bytes` more are done in the current phase.
    fn advance(&self, files: u64, bytes: u64);

    /// The current phase is over.
    fn end(&self);

    /// One file could not be worked on; the run goes on without it.
    fn file_failed(&self, path: &Path, doing: &str, error: &dyn std::error::Error);

    /// One file was left as it is, for a reason that is no failure.
    fn file_left(&self, _path: &Path, _doing: &str, _why: &dyn std::fmt::Display) {}

    /// Something a person should know that is no failure.
    fn notice(&self, text: &str);
}

/// Swallows everything; for tests and for callers that only want the result.
#[derive(Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn begin(&self, _: Phase, _: u64, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
    fn end(&self) {}
    fn file_failed(&self, _: &Path, _: &str, _: &dyn std::error::Error) {}
    fn notice(&self, _: &str) {}
}

/// A request to end, set once by a signal handler and read between files.
/// Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// The shared flag itself, for a signal handler that can only store.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}
