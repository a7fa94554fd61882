//! Where a slot table keeps what, byte by byte.
//!
//! In native byte order, because it never leaves the boot:
//!
//! | at | bytes | |
//! | --- | --- | --- |
//! | 0 | 8 | magic, `hsmslots` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | generation: how many guards have begun to use the table |
//! | 16 | 4 | number of slots |
//! | 20 | 4 | size of a slot, 128 |
//! | 24 | 4 | notes: length * 2 + which of the two copies is valid |
//! | 28 | 36 | zero |
//! | 64 | 2 * 256 | notes, two copies |
//! | 576 | 128 each | slots |
//!
//! A slot: 0 state (u32: 0 free, 1 being written, 2 in use), 4 event number
//! (i32), 8 mask (u64), 16 process (i32), 20 file system (u32), 24 file handle
//! (72 bytes, `os::handle`), 96 arrival (u64, ms of `CLOCK_BOOTTIME`), 104 zero.
//!
//! Everything is an atomic, so that any bytes are valid and a second process
//! that looks on is no data race.

use crate::os::handle::Handle;
use std::mem::size_of;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64};

pub(super) const MAGIC: u64 = u64::from_ne_bytes(*b"hsmslots");
pub(super) const VERSION: u32 = 1;
pub(super) const MAX_SLOTS: usize = 1 << 16;
/// Room for the caller's own notes.
pub const NOTES_BYTES: usize = 256;

pub(super) const FREE: u32 = 0;
pub(super) const BEING_WRITTEN: u32 = 1;
pub(super) const IN_USE: u32 = 2;

#[repr(C)]
pub(super) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) version: AtomicU32,
    pub(super) generation: AtomicU32,
    pub(super) slots: AtomicU32,
    pub(super) slot_bytes: AtomicU32,
    pub(super) notes: AtomicU32,
    _zero: [AtomicU32; 9],
    pub(super) notes_copies: [[AtomicU64; NOTES_BYTES / 8]; 2],
}

#[repr(C)]
pub(super) struct Slot {
    pub(super) state: AtomicU32,
    event: AtomicI32,
    mask: AtomicU64,
    pid: AtomicI32,
    fs_index: AtomicU32,
    handle: [AtomicU64; Handle::BYTES / 8],
    arrived_ms: AtomicU64,
    _zero: [AtomicU64; 3],
}

const _: () = assert!(size_of::<Header>() == 576 && size_of::<Slot>() == 128);

/// One event that is owed an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The number that the answer has to name.
    pub event: i32,
    pub mask: u64,
    pub pid: i32,
    /// The caller's own numbering of file systems.
    pub fs_index: u32,
    pub handle: Handle,
    /// Milliseconds of `CLOCK_BOOTTIME`.
    pub arrived_ms: u64,
}

impl Slot {
    pub(super) fn write(&self, entry: &Entry) {
        self.event.store(entry.event, Relaxed);
        self.mask.store(entry.mask, Relaxed);
        self.pid.store(entry.pid, Relaxed);
        self.fs_index.store(entry.fs_index, Relaxed);
        store_bytes(&self.handle, &entry.handle.to_bytes());
        self.arrived_ms.store(entry.arrived_ms, Relaxed);
    }

    pub(super) fn read(&self) -> Option<Entry> {
        if self.state.load(Acquire) != IN_USE {
            return None;
        }
        let handle = load_bytes(&self.handle);
        Some(Entry {
            event: self.event.load(Relaxed),
            mask: self.mask.load(Relaxed),
            pid: self.pid.load(Relaxed),
            fs_index: self.fs_index.load(Relaxed),
            handle: Handle::from_bytes(handle.as_slice().try_into().ok()?)?,
            arrived_ms: self.arrived_ms.load(Relaxed),
        })
    }
}

/// Zero behind the end of `bytes`.
pub(super) fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let mut chunks = bytes.chunks(8);
    for word in words {
        let mut value = [0; 8];
        if let Some(chunk) = chunks.next() {
            value[..chunk.len()].copy_from_slice(chunk);
        }
        word.store(u64::from_ne_bytes(value), Relaxed);
    }
}

pub(super) fn load_bytes(words: &[AtomicU64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect()
}

pub(super) fn bytes_for(slots: usize) -> usize {
    size_of::<Header>() + slots * size_of::<Slot>()
}
