//! The `[gc]` section: what `hsm gc` keeps however little a policy asks for,
//! and when it stops to ask.
//!
//! None of these numbers is what makes a collection safe beside a running
//! upload; the protocol of the logs does that without a clock. They are the
//! margin for people: time to notice a mistake, and a stop at an unusual one.

use crate::document::Section;
use crate::units::format_duration_exact;
use std::time::Duration;

const KEYS: [&str; 8] = [
    "grace",
    "backup_retention",
    "settle",
    "min_age",
    "max_share",
    "repack_below",
    "repack_cold",
    "only_here",
];
/// Objects that a running upload has put and not yet named in its log are told
/// from left-over ones by their age alone.
const LEAST_AGE: Duration = Duration::from_secs(3600);

/// What `hsm gc` goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct GcSection {
    /// Every version is kept for so long after it was replaced or deleted.
    pub grace: Duration,
    /// The longest time that a backup of a root is kept: a stub that comes back
    /// from one must find its content.
    pub backup_retention: Duration,
    /// Between the plan and the deletion, which is never in the same run.
    pub settle: Duration,
    /// An object that no log names and that is younger is left alone.
    pub min_age: Duration,
    /// Of the store's bytes; a plan that would delete more waits for a person.
    pub max_share_pct: f64,
    /// A pack of which less is live is rewritten; 0 rewrites none.
    pub repack_below_pct: f64,
    /// Whether packs in storage classes with a minimum duration are rewritten,
    /// too: their old bytes are paid for to the end of it.
    pub repack_cold: bool,
    /// No other server of this store collects. Asked for where the store cannot tell
    /// two collectors apart.
    pub only_here: bool,
}

impl Default for GcSection {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            grace: 30 * DAY,
            backup_retention: Duration::ZERO,
            settle: DAY,
            min_age: DAY,
            max_share_pct: 30.0,
            repack_below_pct: 40.0,
            repack_cold: false,
            only_here: false,
        }
    }
}

impl GcSection {
    /// The grace that binds: never shorter than a backup is kept.
    pub fn grace_in_force(&self) -> Duration {
        self.grace.max(self.backup_retention)
    }
}

/// The section, with the defaults for all that it does not say.
pub(super) fn read(top: &Section<'_, '_>) -> GcSection {
    let default = GcSection::default();
    let Some(section) = top.item("gc").and_then(|item| item.section("[gc]", &KEYS)) else {
        return default;
    };
    GcSection {
        grace: section.duration("grace").unwrap_or(default.grace),
        backup_retention: section.duration("backup_retention").unwrap_or(default.backup_retention),
        settle: section.duration("settle").unwrap_or(default.settle),
        min_age: read_min_age(&section).unwrap_or(default.min_age),
        max_share_pct: section.percent("max_share").unwrap_or(default.max_share_pct),
        repack_below_pct: section.percent("repack_below").unwrap_or(default.repack_below_pct),
        repack_cold: section.flag("repack_cold").unwrap_or(default.repack_cold),
        only_here: section.flag("only_here").unwrap_or(default.only_here),
    }
}

fn read_min_age(section: &Section<'_, '_>) -> Option<Duration> {
    let age = section.duration("min_age")?;
    if age < LEAST_AGE {
        let item = section.item("min_age").expect("it has been read");
        let what = format!("a min_age of {} is too short", format_duration_exact(age));
        item.problem(what, "write 1h or more: a running upload has objects that no log names yet");
    }
    Some(age)
}
