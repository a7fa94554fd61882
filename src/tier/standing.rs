//! What the policy still wants of a root: for `hsm status`.
//!
//! Two questions an administrator has: what would be lost if this server died
//! now, and why are uploaded files not stubs.

use super::candidates::Entries;
use super::plan::{Planner, state_of};
use super::{Error, conditions};
use crate::os::stat::FileKind;
use crate::policy::{FileState, Pin};
use std::collections::BTreeMap;

/// The standing of one root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Files that a rule wants uploaded and that have no current copy.
    pub unprotected_files: u64,
    pub unprotected_bytes: u64,
    /// The oldest change among them that is not in the store.
    pub oldest_unprotected_ns: Option<i64>,
    /// Uploaded files with local data, by the condition that keeps them; the
    /// ones that nothing keeps go with the next run (`ready`).
    pub kept: BTreeMap<&'static str, u64>,
}

/// Uploaded files that the next `tier` or `stub` frees.
pub const READY: &str = "ready";

/// Evaluates the policy over what the last scan saw.
pub fn standing(planner: &Planner<'_>, entries: Entries) -> Result<Standing, Error> {
    let mut standing = Standing::default();
    for row in entries {
        let row = row?;
        if row.kind != FileKind::File {
            continue;
        }
        let step = planner.step(&row, false);
        if step.as_ref().is_some_and(|step| step.upload) {
            standing.unprotected_files += 1;
            standing.unprotected_bytes += row.size_bytes;
            let oldest = standing.oldest_unprotected_ns.get_or_insert(row.mtime_ns);
            *oldest = row.mtime_ns.min(*oldest);
        } else if state_of(&row) == FileState::Uploaded && row.allocated_bytes > 0 {
            let why = match planner.pin(&row.path) {
                Pin::Pinned => conditions::NOT_PINNED,
                Pin::Excluded => conditions::NOT_EXCLUDED,
                Pin::None if step.is_some() => READY,
                Pin::None if row.nlink > 1 => conditions::ONE_NAME,
                Pin::None => conditions::RULE_MATCHES,
            };
            *standing.kept.entry(why).or_default() += 1;
        }
    }
    Ok(standing)
}
