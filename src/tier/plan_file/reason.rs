//! Why a file is in a plan, for the person who reviews it.

use crate::policy::FileState;
use crate::state::EntryRow;
use crate::tier::plan::{Step, state_of};
use crate::units::format_duration;
use std::time::Duration;

/// In words: what it lacks, and how cold it is. `for_space`: its file system is
/// above the high watermark.
pub fn reason(step: &Step, row: &EntryRow, for_space: bool, now_ns: i64) -> String {
    let copy = match state_of(row) {
        FileState::Dirty => "changed since its upload",
        FileState::Damaged => "its copy is damaged",
        _ if step.upload => "no copy yet",
        _ => "uploaded",
    };
    if !step.stub {
        return copy.to_owned();
    }
    let recalled_ns = row.file.as_ref().and_then(|file| file.recalled_ns).unwrap_or(i64::MIN);
    let touched_ns = row.atime_ns.max(row.mtime_ns).max(recalled_ns);
    let idle_ns = u64::try_from(now_ns.saturating_sub(touched_ns)).unwrap_or(0);
    let idle = format_duration(Duration::from_nanos(idle_ns));
    let space = if for_space { ", space is short" } else { "" };
    format!("{copy}, idle {idle}{space}")
}
