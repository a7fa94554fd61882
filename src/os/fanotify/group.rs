//! The group: marks, events in, answers out.
//!
//! Class pre-content, with an unlimited queue (a full one would let programs
//! in unanswered) and descriptors that are read-only: a writable one could not
//! be made for a running program or on a read-only mount, and the kernel would
//! deny the access. Non-blocking, also the descriptors of events, so that
//! another process's lease on a file cannot stall everybody's events.
//!
//! Errors of the kernel about one file's descriptor come as events with a
//! negative number and are no errors here.

use super::event::{BadEvent, Event, parse};
use super::{
    MARK_EVICTABLE, MARK_IGNORE_SURV, OPEN_PERM, PRE_ACCESS, REPORT_FD_ERROR, REPORT_PIDFD,
};
use fanotify::low_level;
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// An answer to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Allow,
    /// The program sees this errno. The kernel takes `EPERM`, `EIO`, `EAGAIN`,
    /// `EBUSY`, `ETXTBSY`, `ENOSPC` and `EDQUOT`; any other is sent as `EIO`.
    Deny(i32),
}

const DENIALS: [i32; 7] =
    [libc::EPERM, libc::EIO, libc::EAGAIN, libc::EBUSY, libc::ETXTBSY, libc::ENOSPC, libc::EDQUOT];

impl Answer {
    /// `FAN_ALLOW`, or `FAN_DENY_ERRNO(errno)`: the errno in the highest byte.
    fn code(self) -> u32 {
        match self {
            Self::Allow => libc::FAN_ALLOW,
            Self::Deny(errno) => {
                let errno = if DENIALS.contains(&errno) { errno } else { libc::EIO };
                libc::FAN_DENY | (errno as u32) << 24
            }
        }
    }
}

/// A fanotify group. Whoever holds its descriptor keeps waiting programs
/// waiting; whoever closes the last one lets them in.
#[derive(Debug)]
pub struct Group(OwnedFd);

/// What one read brought.
#[derive(Debug, Default)]
pub struct Events {
    pub events: Vec<Event>,
    /// What came after them and could not be understood.
    pub bad: Option<BadEvent>,
}

impl Group {
    /// Needs `CAP_SYS_ADMIN`; `EINVAL` where the kernel lacks one of the flags
    /// (before Linux 6.13).
    pub fn new() -> io::Result<Self> {
        let flags = low_level::FAN_CLASS_PRE_CONTENT
            | low_level::FAN_CLOEXEC
            | low_level::FAN_NONBLOCK
            | low_level::FAN_UNLIMITED_QUEUE
            | low_level::FAN_UNLIMITED_MARKS
            | REPORT_FD_ERROR
            | REPORT_PIDFD;
        let event_flags = libc::O_RDONLY
            | libc::O_LARGEFILE
            | libc::O_CLOEXEC
            | libc::O_NOATIME
            | libc::O_NONBLOCK;
        let fd = low_level::fanotify_init(flags, event_flags as u32)?;
        // SAFETY: the call has just returned this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// A group that another process made or kept.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Marks the whole file system that `dir` is on, through whichever mount
    /// and namespace it is reached. `EINVAL` or `EOPNOTSUPP` where `pre_access`
    /// is not to be had; without it only opens are seen.
    pub fn mark_file_system(&self, dir: impl AsFd, pre_access: bool) -> io::Result<()> {
        let flags = low_level::FAN_MARK_ADD | low_level::FAN_MARK_FILESYSTEM;
        let mask = if pre_access { OPEN_PERM | PRE_ACCESS } else { OPEN_PERM };
        self.mark_dir(flags, mask, dir)
    }

    /// From here on the file system is not watched.
    pub fn unmark_file_system(&self, dir: impl AsFd) -> io::Result<()> {
        let flags = low_level::FAN_MARK_REMOVE | low_level::FAN_MARK_FILESYSTEM;
        for mask in [OPEN_PERM, PRE_ACCESS] {
            not_found_is_ok(self.mark_dir(flags, mask, &dir))?;
        }
        Ok(())
    }

    /// What is opened through the mount of `dir` raises no events: for a mount
    /// that only `hsm` has.
    pub fn ignore_mount(&self, dir: impl AsFd) -> io::Result<()> {
        let flags = low_level::FAN_MARK_ADD | low_level::FAN_MARK_MOUNT | MARK_IGNORE_SURV;
        self.mark_dir(flags, OPEN_PERM | PRE_ACCESS, dir)
    }

    fn mark_dir(&self, flags: u32, mask: u64, dir: impl AsFd) -> io::Result<()> {
        let (group, dir) = (self.0.as_raw_fd(), dir.as_fd().as_raw_fd());
        low_level::fanotify_mark(group, flags, mask, dir, ".")
    }

    /// No more events for this file, until the mark is removed or its inode
    /// leaves memory. Only for files without a marker, and only by who can also
    /// keep the file from becoming a stub meanwhile.
    pub fn ignore_file(&self, file: impl AsFd) -> io::Result<()> {
        let flags = low_level::FAN_MARK_ADD | MARK_IGNORE_SURV | MARK_EVICTABLE;
        self.mark_file(flags, file)
    }

    /// Events for this file again, also on descriptors that were opened
    /// meanwhile.
    pub fn heed_file(&self, file: impl AsFd) -> io::Result<()> {
        let flags = low_level::FAN_MARK_REMOVE | MARK_IGNORE_SURV;
        not_found_is_ok(self.mark_file(flags, file))
    }

    /// By descriptor: the crate's call always needs a path, which for a file
    /// would have to be looked up again.
    fn mark_file(&self, flags: u32, file: impl AsFd) -> io::Result<()> {
        let mask = OPEN_PERM | PRE_ACCESS;
        let (group, file) = (self.0.as_raw_fd(), file.as_fd().as_raw_fd());
        // SAFETY: a null path means the descriptor itself; both descriptors
        // live through the call.
        let result = unsafe { libc::fanotify_mark(group, flags, mask, file, std::ptr::null()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// What is waiting, at most as much as fits `buffer`; nothing if nothing
    /// is. Who calls this owns the descriptors it returns.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Events> {
        match rustix::io::read(&self.0, &mut *buffer) {
            Ok(len) => {
                let (events, bad) = parse(&buffer[..len]);
                Ok(Events { events, bad })
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Events::default()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Answers the event with this number. `ENOENT` if there is none: it was
    /// answered, or its process was killed.
    pub fn answer(&self, number: i32, answer: Answer) -> io::Result<()> {
        match (self.respond(number, answer.code()), answer) {
            // A kernel that takes no errno: the program then sees EPERM.
            (Err(error), Answer::Deny(_)) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.respond(number, libc::FAN_DENY)
            }
            (responded, _) => responded,
        }
    }

    fn respond(&self, number: i32, code: u32) -> io::Result<()> {
        let mut response = [0; 8];
        response[..4].copy_from_slice(&number.to_ne_bytes());
        response[4..].copy_from_slice(&code.to_ne_bytes());
        rustix::io::retry_on_intr(|| rustix::io::write(&self.0, &response))?;
        Ok(())
    }

    /// Removes the ignore marks of all files: each raises events again.
    pub fn heed_every_file(&self) -> io::Result<()> {
        let group = self.0.as_raw_fd();
        low_level::fanotify_mark(group, low_level::FAN_MARK_FLUSH, 0, libc::AT_FDCWD, "/")
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn not_found_is_ok(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_goes_into_the_highest_byte_and_strange_ones_become_eio() {
        assert_eq!(Answer::Allow.code(), 1);
        assert_eq!(Answer::Deny(libc::EPERM).code(), 0x0100_0002);
        assert_eq!(Answer::Deny(libc::ENOSPC).code(), 0x1c00_0002);
        assert_eq!(Answer::Deny(libc::ENOENT).code(), 0x0500_0002);
        assert_eq!(Answer::Deny(-3).code(), 0x0500_0002);
    }
}
