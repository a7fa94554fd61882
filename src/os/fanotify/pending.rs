//! One event that is answered exactly once.
//!
//! Whoever holds a [`Pending`] holds a program that waits. It cannot be
//! answered twice, because answering consumes it; and it cannot be forgotten,
//! because its drop denies with `EIO`: no panic and no early return lets a
//! program in or leaves it waiting.
//!
//! Order in the drop: the answer first, then the record of it is given up, then
//! the event's descriptor is closed. The kernel knows an event by the number of
//! its descriptor: from the moment that is closed the number may be the next
//! event's, and an answer, or a record for whoever comes after us, would be for
//! the wrong program.

use super::event::Event;
use super::group::{Answer, Group};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are in this process.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A program that waits for its answer.
pub struct Pending {
    group: Arc<Group>,
    number: i32,
    /// `None` for an event that another process read: only its number is left.
    file: Option<File>,
    pidfd: Option<OwnedFd>,
    pid: i32,
    /// What has to live until the answer is given.
    kept: Option<Box<dyn Send + Sync>>,
    answer: Option<Answer>,
}

impl Pending {
    /// Takes over the descriptors of an event just read from `group`; `None`
    /// for one without a descriptor, which the kernel has denied already.
    ///
    /// # Safety
    /// `event` comes from a read of `group` by this process, and this is the
    /// only value made from it: the descriptors become ours to close.
    unsafe fn adopt(group: &Arc<Group>, event: &Event) -> Option<Self> {
        let owned = |number: i32| {
            // SAFETY: the caller vouches for the descriptor being ours alone.
            (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) })
        };
        let pidfd = event.pidfd.and_then(owned);
        let file = owned(event.number)?;
        WAITING.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            group: Arc::clone(group),
            number: event.number,
            file: Some(file.into()),
            pidfd,
            pid: event.pid,
            kept: None,
            answer: None,
        })
    }

    /// The events of one read, each with the program that waits. Numbers below
    /// zero are what the kernel could not open and has denied: (mask, errno).
    pub fn read(
        group: &Arc<Group>,
        buffer: &mut [u8],
        mut found: impl FnMut(u64, Result<Self, i32>),
    ) -> io::Result<Option<super::event::BadEvent>> {
        let super::group::Events { events, bad } = group.read(buffer)?;
        // All of them become owners before the first is worked on.
        let owned: Vec<_> = events
            .iter()
            // SAFETY: just read from `group`, and each is used once.
            .map(|event| (event.mask, unsafe { Self::adopt(group, event) }.ok_or(-event.number)))
            .collect();
        owned.into_iter().for_each(|(mask, pending)| found(mask, pending));
        Ok(bad)
    }

    /// An event that a process before this one has read, known by its number.
    /// This process must not have read one of that number itself.
    pub fn inherited(group: &Arc<Group>, number: i32, pid: i32) -> Self {
        WAITING.fetch_add(1, Ordering::Relaxed);
        let group = Arc::clone(group);
        Self { group, number, file: None, pidfd: None, pid, kept: None, answer: None }
    }

    /// Programs that this process keeps waiting.
    pub fn count() -> usize {
        WAITING.load(Ordering::Relaxed)
    }

    /// Who waits is known: its descriptor is no longer needed.
    pub fn forget_process(&mut self) {
        self.pidfd = None;
    }

    /// The number by which the kernel knows the event.
    pub fn number(&self) -> i32 {
        self.number
    }

    /// The process that waits.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// The file, read-only and without events of its own.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// `kept` is dropped after the answer was given.
    pub fn keep(&mut self, kept: impl Send + Sync + 'static) {
        self.kept = Some(Box::new(kept));
    }

    /// Lets the program in.
    pub fn allow(mut self) {
        self.answer = Some(Answer::Allow);
    }

    /// The program gets this errno (see [`Answer::Deny`]).
    pub fn deny(mut self, errno: i32) {
        self.answer = Some(Answer::Deny(errno));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let answer = self.answer.unwrap_or(Answer::Deny(libc::EIO));
        // The process may have been killed, then nobody waits any more.
        let _ = self.group.answer(self.number, answer);
        drop(self.kept.take());
        drop(self.file.take());
        drop(self.pidfd.take());
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pending({}, pid {})", self.number, self.pid)
    }
}
