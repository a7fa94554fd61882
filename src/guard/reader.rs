//! The thread that reads events and never waits for anything else.
//!
//! It opens nothing, logs nothing and asks no store: an event on a file without
//! a marker is answered at once, any other goes into the table and from there to
//! the porter. What it has to tell is counted, and told by another thread.
//!
//! Events of the guard's own process are let in unseen: its work on managed
//! files goes through a mount that raises none, so these are its state DB or
//! its log, on a file system that it was told to watch all the same.

use super::inodes::Inodes;
use super::slots::Slots;
use crate::clock::Stopwatch;
use crate::os::fanotify::Pending;
use crate::os::process;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Holds about 80 events; more come with the next read.
const BUFFER_BYTES: usize = 4096;
/// How long it may be before the reader shows that it is alive.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// After an event the next is looked for this long without sleeping: who walks
/// through cold files opens one after the other, and waking up takes longer than
/// answering.
const SPIN: Duration = Duration::from_micros(50);
/// Between two looks whether fewer wait.
const PAUSE: Duration = Duration::from_millis(20);

/// What the reader has to tell.
#[derive(Debug, Default)]
pub struct Told {
    /// Rises at least with each tick.
    pub turns: AtomicU64,
    /// Events that the kernel denied by itself because it could make no
    /// descriptor for them.
    pub refused_by_kernel: AtomicU64,
    /// Reads that brought something which is no event, or failed.
    pub misread: AtomicU64,
    /// Ends the thread.
    pub stop: AtomicBool,
}

/// Runs until [`Told::stop`].
pub fn run(inodes: &Inodes, slots: &Slots, most_waiting: usize, told: &Told) {
    let own_pid = process::pid() as i32;
    let mut buffer = AlignedBuffer([0; BUFFER_BYTES]);
    let mut last: Option<Stopwatch> = None;
    while !told.stop.load(Ordering::Relaxed) {
        told.turns.fetch_add(1, Ordering::Relaxed);
        if Pending::count() >= most_waiting {
            // They wait in the kernel's queue as well as here, where the numbers
            // of descriptors would run out and everybody be denied.
            std::thread::sleep(PAUSE);
            continue;
        }
        let hot = last.is_some_and(|last| last.elapsed() < SPIN);
        if !hot && !wait(inodes) {
            continue;
        }
        let quiet = inodes.reading.lock().expect("no holder of the lock panics");
        let mut read = vec![];
        let done = Pending::read(&inodes.group, &mut buffer.0, |_, pending| read.push(pending));
        drop(quiet);
        if !matches!(done, Ok(None)) {
            told.misread.fetch_add(1, Ordering::Relaxed);
        }
        if !read.is_empty() {
            last = Some(Stopwatch::start());
        } else if hot {
            // Whoever takes a lease needs the lock in between.
            (0..64).for_each(|_| std::hint::spin_loop());
        }
        for pending in read {
            match pending {
                Ok(pending) if pending.pid() == own_pid => pending.allow(),
                Ok(pending) => inodes.admit(pending, |pending, inode, handle| {
                    slots.note(pending, inode, handle);
                }),
                Err(_) => {
                    told.refused_by_kernel.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// Records of the kernel are aligned to eight bytes.
#[repr(align(8))]
struct AlignedBuffer([u8; BUFFER_BYTES]);

fn wait(inodes: &Inodes) -> bool {
    let mut ready = [PollFd::from_borrowed_fd(inodes.group.as_fd(), PollFlags::IN)];
    poll(&mut ready, Some(&TICK)).is_ok_and(|found| found > 0)
}

/// The reader's thread; ends with the value.
pub struct Reader {
    pub told: Arc<Told>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Reader {
    /// Reads no more while `most_waiting` programs wait.
    pub fn start(inodes: Arc<Inodes>, slots: Slots, most_waiting: usize) -> std::io::Result<Self> {
        let told = Arc::new(Told::default());
        let telling = Arc::clone(&told);
        let thread = std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || super::serve::or_die(|| run(&inodes, &slots, most_waiting, &telling)))?;
        Ok(Self { told, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.told.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A reader that panicked has denied what it had in hand.
            let _ = thread.join();
        }
    }
}
