//! What the policy still wants of a root: for `hsm status`.
//!
//! Three questions an administrator has: what would be lost if this server died
//! now, why are uploaded files not stubs, and why was the rest never uploaded.

use super::plan::{Planner, state_of};
use super::{Error, conditions};
use crate::os::stat::FileKind;
use crate::policy::{Action, FileState, Hindrance, Pin};
use crate::state::EntryRow;
use std::collections::{BTreeMap, HashSet};

/// The standing of one root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Files that a rule wants uploaded and that have no current copy.
    pub unprotected: Amount,
    /// The oldest mtime among them.
    pub oldest_unprotected_ns: Option<i64>,
    /// Since when the one is here that has waited longest: when it was changed,
    /// or first seen if that is later.
    pub unprotected_since_ns: Option<i64>,
    /// Uploaded files with local data, by what keeps them; the ones that nothing
    /// keeps go with the next run (`ready`).
    pub kept: BTreeMap<&'static str, Amount>,
    /// Files without a current copy that no rule wants uploaded, by the reason.
    pub left: BTreeMap<&'static str, Amount>,
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub files: u64,
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// Uploaded files that the next `tier` or `stub` frees.
pub const READY: &str = "ready";
/// A rule would take it, were it older.
pub const OLD_ENOUGH: &str = "old-enough";
/// It changed a moment ago (`defaults.quiet`).
pub const QUIET: &str = "quiet";

/// Evaluates the policy over what the last scan saw. An inode counts once.
pub fn standing(
    planner: &Planner<'_>,
    entries: impl Iterator<Item = Result<EntryRow, Error>>,
) -> Result<Standing, Error> {
    let mut standing = Standing::default();
    let mut linked = HashSet::new();
    crate::fault::point("standing.begun");
    for row in entries {
        let row = row?;
        if row.kind != FileKind::File || (row.nlink > 1 && !linked.insert(row.ino)) {
            continue;
        }
        standing.judge(planner, &row);
    }
    Ok(standing)
}

impl Standing {
    fn judge(&mut self, planner: &Planner<'_>, row: &EntryRow) {
        let step = planner.step(row, false);
        match state_of(row) {
            _ if step.as_ref().is_some_and(|step| step.upload) => {
                self.unprotected.add(row.size_bytes);
                earliest(&mut self.oldest_unprotected_ns, row.mtime_ns);
                let since_ns = row.mtime_ns.max(row.first_seen_ns);
                earliest(&mut self.unprotected_since_ns, since_ns);
            }
            FileState::Uploaded if row.allocated_bytes > 0 => {
                let why = match step {
                    Some(_) => READY,
                    None => why_not(planner, row, Action::Tier),
                };
                self.kept.entry(why).or_default().add(row.allocated_bytes);
            }
            FileState::Resident | FileState::Dirty => {
                let why = why_not(planner, row, Action::Upload);
                self.left.entry(why).or_default().add(row.size_bytes);
            }
            _ => {}
        }
    }
}

fn earliest(known: &mut Option<i64>, time_ns: i64) {
    *known = Some(known.map_or(time_ns, |known| known.min(time_ns)));
}

/// By the names of the conditions of stubbing, where there is one.
fn why_not(planner: &Planner<'_>, row: &EntryRow, wanted: Action) -> &'static str {
    match planner.pin(&row.path) {
        Pin::Pinned if wanted == Action::Tier => return conditions::NOT_PINNED,
        Pin::Excluded => return conditions::NOT_EXCLUDED,
        Pin::Pinned | Pin::None => {}
    }
    match planner.hindrance(row, wanted) {
        Some(Hindrance::Pinned) => conditions::NOT_PINNED,
        Some(Hindrance::Excluded) => conditions::NOT_EXCLUDED,
        Some(Hindrance::TooYoung) => OLD_ENOUGH,
        Some(Hindrance::NotQuiet) => QUIET,
        Some(Hindrance::RecentlyRecalled) => conditions::NOT_RECENTLY_RECALLED,
        Some(Hindrance::TooSmall) => conditions::LARGE_ENOUGH,
        Some(Hindrance::HardLinked) => conditions::ONE_NAME,
        Some(Hindrance::OtherRule | Hindrance::NoRule) | None => conditions::RULE_MATCHES,
    }
}
