//! What the guard owes an answer for, in memory that survives its crash.
//!
//! A waiter whose event was read can only be answered by the number that the
//! event had. So the guard writes each event here before it works on it, and
//! whoever holds the descriptor afterwards (the process that restarts it, the
//! service manager) gives it to the successor, which settles the rest.
//!
//! The table is a memfd, sealed so that nobody can make an access fail by
//! shrinking it. `layout` says where what is; `mapping` holds its address.
//!
//! Order: a slot's state becomes "being written", then the fields are written,
//! then it becomes "in use" (release). A process that dies in between leaves a
//! slot that is nobody's.

mod layout;
mod mapping;

use layout::{
    BEING_WRITTEN, FREE, Header, IN_USE, MAGIC, MAX_SLOTS, Slot, VERSION, bytes_for, load_bytes,
    store_bytes,
};
use mapping::Mapping;
use rustix::fs::{MemfdFlags, SealFlags};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use layout::{Entry, NOTES_BYTES};

/// A place in the table, the same in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotId(u32);

/// Shared by all threads of one process. Only one process at a time takes and
/// releases; others may look.
#[derive(Debug)]
pub struct SlotTable {
    memory: OwnedFd,
    mapping: Mapping,
    /// Of this process. Made anew by whoever adopts.
    free: Mutex<Vec<u32>>,
}

impl SlotTable {
    /// An empty table with room for `slots` events (1 to 65536).
    pub fn create(slots: usize) -> io::Result<Self> {
        if !(1..=MAX_SLOTS).contains(&slots) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "1 to 65536 slots"));
        }
        let memory = sealable_memory()?;
        // Also allocates: writing an event down later cannot lack memory.
        let whole = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&memory, whole, 0, bytes_for(slots) as u64)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        let mapping = Mapping::new(&memory, slots)?;
        let header = mapping.header();
        header.version.store(VERSION, Relaxed);
        header.slots.store(slots as u32, Relaxed);
        header.slot_bytes.store(size_of::<Slot>() as u32, Relaxed);
        header.magic.store(MAGIC, Release);
        Ok(Self::with(memory, mapping))
    }

    /// The table behind a descriptor that another process made. `InvalidData`
    /// if it is none, or of another version. Whoever used it before must be
    /// dead before something is taken or released.
    pub fn adopt(memory: OwnedFd) -> io::Result<Self> {
        let foreign = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let sealed = rustix::fs::fcntl_get_seals(&memory)
            .is_ok_and(|seals| seals.contains(SealFlags::SHRINK | SealFlags::GROW));
        if !sealed {
            return Err(foreign("this descriptor is no sealed memory"));
        }
        let size_bytes = rustix::fs::fstat(&memory)?.st_size as usize;
        let slots = size_bytes.saturating_sub(size_of::<Header>()) / size_of::<Slot>();
        if !(1..=MAX_SLOTS).contains(&slots) || size_bytes != bytes_for(slots) {
            return Err(foreign("this memory has not the size of a slot table"));
        }
        let mapping = Mapping::new(&memory, slots)?;
        let header = mapping.header();
        if header.magic.load(Acquire) != MAGIC || header.version.load(Relaxed) != VERSION {
            return Err(foreign("this memory is no slot table of this version"));
        }
        let sizes = (header.slots.load(Relaxed) as usize, header.slot_bytes.load(Relaxed) as usize);
        if sizes != (slots, size_of::<Slot>()) {
            return Err(foreign("this slot table contradicts its own size"));
        }
        Ok(Self::with(memory, mapping))
    }

    fn with(memory: OwnedFd, mapping: Mapping) -> Self {
        let slots = mapping.slots().iter().zip(0..);
        let unused = slots.filter(|(slot, _)| slot.state.load(Acquire) != IN_USE);
        let mut free: Vec<u32> = unused.map(|(_, index)| index).collect();
        free.reverse();
        Self { memory, mapping, free: Mutex::new(free) }
    }

    /// To be kept by another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// How many events fit.
    pub fn capacity(&self) -> usize {
        self.mapping.slots().len()
    }

    /// Counts this process in and returns its number, 1 for the first.
    pub fn begin_generation(&self) -> u32 {
        self.mapping.header().generation.fetch_add(1, Relaxed) + 1
    }

    /// Finds out anew which slots are free: for a process that was forked, and
    /// whose parent has not seen what others took since. Before the first take.
    pub fn reclaim(&self) {
        let slots = self.mapping.slots().iter().enumerate().rev();
        let free = slots.filter(|(_, slot)| slot.state.load(Acquire) != IN_USE);
        *self.free_list() = free.map(|(index, _)| index as u32).collect();
    }

    /// 0 before the first has begun.
    pub fn generation(&self) -> u32 {
        self.mapping.header().generation.load(Relaxed)
    }

    /// Writes the event down; `None` when the table is full. On return a
    /// successor would find it.
    pub fn take(&self, entry: &Entry) -> Option<SlotId> {
        let index = self.free_list().pop()?;
        let slot = &self.mapping.slots()[index as usize];
        slot.state.store(BEING_WRITTEN, Relaxed);
        // The fields do not overtake the state that disowns them.
        fence(Release);
        slot.write(entry);
        slot.state.store(IN_USE, Release);
        Some(SlotId(index))
    }

    /// The event is answered. A slot that is not in use is left alone.
    pub fn release(&self, id: SlotId) {
        let Some(slot) = self.mapping.slots().get(id.0 as usize) else { return };
        if slot.state.compare_exchange(IN_USE, FREE, Release, Relaxed).is_ok() {
            self.free_list().push(id.0);
        }
    }

    /// Everything that is owed an answer, in the order of the slots. While
    /// another process takes and releases, an entry may be a mixture of two.
    pub fn in_use(&self) -> Vec<(SlotId, Entry)> {
        let slots = self.mapping.slots().iter().zip(0..);
        slots.filter_map(|(slot, index)| Some((SlotId(index), slot.read()?))).collect()
    }

    /// What was last noted; empty at first.
    pub fn notes(&self) -> Vec<u8> {
        let header = self.mapping.header();
        let valid = header.notes.load(Acquire);
        let length = (valid as usize / 2).min(NOTES_BYTES);
        let mut bytes = load_bytes(&header.notes_copies[valid as usize % 2]);
        bytes.truncate(length);
        bytes
    }

    /// Replaces the notes as a whole: who dies in between leaves the old ones.
    /// One thread at a time. `InvalidInput` if longer than [`NOTES_BYTES`].
    pub fn set_notes(&self, notes: &[u8]) -> io::Result<()> {
        if notes.len() > NOTES_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "notes are too long"));
        }
        let header = self.mapping.header();
        let other = 1 - header.notes.load(Relaxed) % 2;
        store_bytes(&header.notes_copies[other as usize], notes);
        header.notes.store(notes.len() as u32 * 2 + other, Release);
        Ok(())
    }

    fn free_list(&self) -> MutexGuard<'_, Vec<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not executable where the kernel knows that wish (Linux 6.3).
fn sealable_memory() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = rustix::fs::memfd_create(c"hsm-slots", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| rustix::fs::memfd_create(c"hsm-slots", flags));
    Ok(made?)
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
