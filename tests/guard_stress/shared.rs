//! What the processes of a stress run know together: which version of each file
//! is there, which is being written, who maps it, and who has been at what for
//! how long. A file that all of them map; every field is an atomic.
//!
//! The owner of a file announces a version in `writing` before its first byte
//! and in `current` after its last. So whatever a reader finds must be of a
//! version between the `current` from before its read and the `writing` from
//! after it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// Files that are written to, and processes and threads that use them.
pub const FILES: usize = 96;
pub const PROCESSES: usize = 3;
pub const THREADS: usize = 2;
pub const SLOTS: usize = PROCESSES * THREADS;

/// Which version, and how many words it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub number: u32,
    pub words: u32,
}

impl Version {
    pub fn len(self) -> usize {
        self.words as usize * 8
    }

    fn pack(self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.words)
    }

    fn unpack(packed: u64) -> Self {
        Self { number: (packed >> 32) as u32, words: packed as u32 }
    }
}

pub struct OneFile {
    current: AtomicU64,
    writing: AtomicU64,
    /// Mappings of it; a page of a mapping that is cut off kills its user.
    mappings: AtomicU64,
    shrinking: AtomicBool,
}

impl OneFile {
    pub fn current(&self) -> Version {
        Version::unpack(self.current.load(SeqCst))
    }

    pub fn writing(&self) -> Version {
        Version::unpack(self.writing.load(SeqCst))
    }

    pub fn begin(&self, version: Version) {
        self.writing.store(version.pack(), SeqCst);
    }

    pub fn finish(&self, version: Version) {
        self.current.store(version.pack(), SeqCst);
    }

    /// Announces a mapping; false while the file is being cut.
    pub fn map(&self) -> bool {
        self.mappings.fetch_add(1, SeqCst);
        let may = !self.shrinking.load(SeqCst);
        if !may {
            self.unmap();
        }
        may
    }

    pub fn unmap(&self) {
        self.mappings.fetch_sub(1, SeqCst);
    }

    /// Announces that it will be cut; false while somebody maps it.
    pub fn shrink(&self) -> bool {
        self.shrinking.store(true, SeqCst);
        let may = self.mappings.load(SeqCst) == 0;
        if !may {
            self.grow();
        }
        may
    }

    pub fn grow(&self) {
        self.shrinking.store(false, SeqCst);
    }
}

/// What one thread is at.
pub struct Slot {
    since_ns: AtomicU64,
    what: AtomicU64,
}

pub struct Shared {
    pub files: [OneFile; FILES],
    pub slots: [Slot; SLOTS],
    pub verified: AtomicU64,
    pub refused: AtomicU64,
    pub last_kill_ns: AtomicU64,
    pub stop: AtomicBool,
}

impl Shared {
    /// The table in this file, made if it is not there, for as long as the
    /// process lives.
    pub fn at(path: &Path) -> &'static Self {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let file = file.expect("the shared table");
        file.set_len(size_of::<Self>() as u64).expect("its size");
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new shared mapping of the table's size, page-aligned, never
        // unmapped; atomics may be all zeros and be changed by others.
        unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                size_of::<Self>(),
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            assert_ne!(at, libc::MAP_FAILED, "map the shared table");
            &*at.cast::<Self>()
        }
    }

    pub fn enter(&self, slot: usize, what: usize) -> u64 {
        let now = now_ns();
        self.slots[slot].what.store(what as u64, SeqCst);
        self.slots[slot].since_ns.store(now, SeqCst);
        now
    }

    pub fn leave(&self, slot: usize) {
        self.slots[slot].since_ns.store(0, SeqCst);
    }

    /// The slots that have been at one operation for longer than this.
    pub fn stranded(&self, limit_ns: u64) -> Vec<(usize, usize)> {
        let now = now_ns();
        let late = |slot: &Slot| match slot.since_ns.load(SeqCst) {
            0 => false,
            since => now.saturating_sub(since) > limit_ns,
        };
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| late(slot));
        slots.map(|(nth, slot)| (nth, slot.what.load(SeqCst) as usize)).collect()
    }
}

/// The clock that all processes share.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
