//! What the guard has in hand, where its successor finds it.
//!
//! Each event that is kept is noted in a table in shared memory before it is
//! kept, and struck out after it was answered. A guard that dies leaves the
//! table to the next one, which completes or denies what stands in it
//! ([`super::survivors`]). A full table keeps nobody out: an event without a
//! note waits like any other and is denied only if the guard dies.

use super::inodes::Inode;
use crate::os::fanotify::Pending;
use crate::os::handle::Handle;
use crate::os::slots::{Entry, SlotId, SlotTable};
use std::sync::Arc;

/// The table.
#[derive(Clone)]
pub struct Slots(pub Arc<SlotTable>);

impl Slots {
    /// Notes the event until it is answered.
    pub fn note(&self, pending: &mut Pending, inode: Inode, handle: &Handle) {
        // Device numbers have 32 bits (makedev(3) spreads them over more only
        // for majors that do not exist).
        let Ok(file_system) = u32::try_from(inode.dev) else { return };
        let entry = Entry {
            event: pending.number(),
            mask: 0,
            pid: pending.pid(),
            fs_index: file_system,
            handle: *handle,
            arrived_ms: 0,
        };
        if let Some(slot) = self.0.take(&entry) {
            pending.keep(Note { slots: self.clone(), slot: Some(slot) });
        }
    }

    /// Strikes the note out when the value is dropped.
    pub fn inherit(&self, pending: &mut Pending, slot: SlotId) {
        pending.keep(Note { slots: self.clone(), slot: Some(slot) });
    }
}

struct Note {
    slots: Slots,
    slot: Option<SlotId>,
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.slots.0.release(slot);
        }
    }
}
