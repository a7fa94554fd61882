//! Facts for the tests, and the tests that cross the room's files.

use super::*;

pub(super) const DAY: i64 = 86_400_000_000_000;
/// 2026-01-31T14:00:00Z.
pub(super) const NOW: i64 = 1_769_868_000_000_000_000;

/// A regular 1 MiB file of user 1000 in `/srv/data`, a year old, never touched.
pub(super) fn facts(path: &str) -> Facts<'_> {
    let old_ns = NOW - 365 * DAY;
    Facts {
        root: b"/srv/data",
        path: path.as_bytes(),
        name: path.rsplit('/').next().unwrap_or("").as_bytes(),
        kind: 'f',
        size_bytes: 1 << 20,
        allocated_bytes: 1 << 20,
        uid: 1000,
        gid: 100,
        mode: 0o644,
        nlink: 1,
        atime_ns: old_ns,
        mtime_ns: old_ns,
        ctime_ns: old_ns,
        first_seen_ns: old_ns,
        last_recall_ns: None,
        state: FileState::Resident,
        xattr: &|_| None,
    }
}

mod errors;
mod language;
mod laws;
mod retention;
mod shipped;
