//! What a run asks of the guard that watches its root.
//!
//! Where a guard is at work it alone frees, fills and mends inodes, because only
//! it can make openers wait; a run decides what is to be done and hands the work
//! over in batches. The guard records the outcome in the state DB itself, before
//! it answers. An implementation that speaks to the guard's socket is in
//! `guard::client`; the values here are what goes over it.

use crate::classes::Thaw;
use crate::ids::FileIdent;
use crate::os::relpath::RelPath;
use crate::state::{RootId, RootRow};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A guard, as a run sees it. It works on one request of a root at a time, also
/// when the run that made the one before has died: a recovery would take the
/// files of a batch that is still at work for left behind.
pub trait Guard: Send {
    /// Why the stubs of this root would not be safe, if they would not.
    fn watches(&mut self, root: &RootRow) -> Result<(), String>;

    /// Frees the blocks of uploaded files; each was judged by the policy as it
    /// was with exactly these stamps and is left alone if one of them differs.
    fn stub(&mut self, root: RootId, files: &[ToStub]) -> Result<Stubbed, GuardError>;

    /// Makes stubs resident.
    fn recall(&mut self, root: RootId, work: &ToRecall) -> Result<Recalled, GuardError>;

    /// Ends what killed runs left half-way; how many files were looked at.
    fn recover(&mut self, root: RootId) -> Result<u64, GuardError>;
}

/// A file to free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToStub {
    pub ident: FileIdent,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

/// What became of a batch of [`ToStub`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stubbed {
    pub files: u64,
    pub freed_bytes: u64,
    /// Files left as they are, by the name of the condition that failed.
    pub refused: BTreeMap<String, u64>,
    pub failures: Vec<Failure>,
}

/// Files to fill.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToRecall {
    pub paths: Vec<RelPath>,
    pub discard_local: bool,
    /// What an archive is asked for.
    pub thaw: Thaw,
}

/// What became of a batch of [`ToRecall`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recalled {
    pub files: u64,
    pub bytes: u64,
    pub already_resident: u64,
    /// Stubs that wait for an archive.
    pub waiting: Vec<RelPath>,
    pub failures: Vec<Failure>,
}

/// One file that could not be worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub path: RelPath,
    pub doing: String,
    /// The error with its causes, outermost first.
    pub causes: Vec<String>,
}

/// Why the guard did not do a batch at all.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("the guard does not answer")]
    Unreachable(#[source] std::io::Error),
    #[error("the guard could not do it: {0}")]
    Failed(String),
}

/// An error and what caused it, outermost first.
pub fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // A transparent error says the same as its source.
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}
