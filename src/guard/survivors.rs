//! Programs that wait since the guard before this one died.
//!
//! The kernel knows an event by the number that its descriptor had in the dead
//! process, and matches an answer to the oldest event of that number. So the
//! descriptors of successive guards are kept in disjoint ranges ([`Range`]); a
//! range comes round again only after [`RANGES`] deaths, and whatever still
//! waits in it then is denied before the first read.
//!
//! What the dead guard had noted is taken over: the file is looked at by its
//! handle, recalled if it is a stub, and its programs are let in. What it had
//! read but not yet noted is known to nobody; every number of its range that is
//! not in the table is denied with `EIO`.

use super::inodes::{Inode, Inodes};
use super::slots::Slots;
use super::watched::Watched;
use crate::os::fanotify::{Answer, Group, Pending};
use crate::os::slots::{Entry, SlotId};
use std::collections::HashSet;
use std::sync::Arc;

/// How many guards have descriptors of their own before numbers are used again.
const RANGES: u32 = 4;
/// The keeper's own descriptors, which each guard inherits, are below.
const FIRST: u32 = 1024;
/// Numbers of one guard, where the limit of open files allows.
const MOST: u32 = 16_384;

/// The descriptor numbers of one guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub first: u32,
    pub end: u32,
}

impl Range {
    /// Of the `generation`-th guard under a limit of `nofile` descriptors.
    pub fn of(generation: u32, nofile: u64) -> Self {
        let room = u32::try_from(nofile).unwrap_or(u32::MAX);
        let first = if room > FIRST * 8 { FIRST } else { room / 8 };
        let length = ((room - first) / RANGES).min(MOST);
        let first = first + (generation % RANGES) * length;
        Self { first, end: first + length }
    }

    /// Programs that may wait at once: each takes up to two descriptors, and the
    /// guard needs some for itself.
    pub fn most_waiting(self) -> usize {
        ((self.end - self.first) as usize * 3 / 8).max(16)
    }

    fn holds(self, number: i32) -> bool {
        u32::try_from(number).is_ok_and(|number| (self.first..self.end).contains(&number))
    }
}

/// Denies what nobody knows; returns what dead guards had noted, each event
/// once. Called before the first read of `generation`. Swept are the numbers of
/// all ranges: also a guard that died before it had swept left some behind, and
/// under another limit of open files the ranges were others.
pub fn gather(group: &Group, slots: &Slots, generation: u32, nofile: u64) -> Vec<(SlotId, Entry)> {
    let own = Range::of(generation, nofile);
    let mut known = HashSet::new();
    let mut noted = slots.0.in_use();
    noted.retain(|(slot, entry)| {
        let kept = !own.holds(entry.event) && known.insert(entry.event);
        if !kept {
            slots.0.release(*slot);
        }
        kept
    });
    slots.0.reclaim();
    let last = (0..RANGES).map(|generation| Range::of(generation, nofile).end).max().unwrap_or(0);
    for number in 0..last.cast_signed() {
        if !known.contains(&number) {
            // Mostly there is no such event.
            let _ = group.answer(number, Answer::Deny(libc::EIO));
        }
    }
    noted
}

/// Puts those who wait into the table of this guard.
pub fn take_over(
    group: &Arc<Group>,
    slots: &Slots,
    inodes: &Inodes,
    watched: &Watched,
    noted: Vec<(SlotId, Entry)>,
) {
    for (slot, entry) in noted {
        let mut pending = Pending::inherited(group, entry.event, entry.pid);
        slots.inherit(&mut pending, slot);
        let dev = u64::from(entry.fs_index);
        match watched.open_file(&entry.handle, dev).and_then(|file| Inode::of(&file)) {
            Ok(inode) => inodes.admit_inherited(inode, entry.handle, pending),
            Err(error) => {
                tracing::warn!(%error, pid = entry.pid, "a program that waited is denied");
                pending.deny(libc::EIO);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successive_guards_share_no_number() {
        for nofile in [256, 1024, 4096, 20_000, 1 << 20, u64::MAX] {
            for generation in 1..20 {
                let ranges: Vec<_> =
                    (0..RANGES).map(|later| Range::of(generation + later, nofile)).collect();
                for (at, one) in ranges.iter().enumerate() {
                    assert!(one.first < one.end && u64::from(one.end) <= nofile, "{nofile}");
                    for other in &ranges[at + 1..] {
                        assert!(one.end <= other.first || other.end <= one.first, "{nofile}");
                    }
                }
            }
        }
    }
}
