//! Waiting for several things at once: descriptors and signals.
//!
//! A process that waits in `poll(2)` takes its signals as reads of a descriptor
//! (signalfd(2)) instead of in a handler, which could run between any two
//! instructions. For that the signals are blocked in the thread that asks, and
//! threads started later inherit the block. A signal is delivered to any thread
//! that does not block it, so a [`SignalFd`] is for a process with one thread,
//! or made before the others.

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::fs::File;
use std::io::{self, Read};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::time::Duration;

/// Which of `fds` can be read, or have an end or an error to tell, in their
/// order. Waits for the first, at most `timeout`, without one for ever. All
/// `false` when the time is over, or when a signal handler ran.
pub fn readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    let timeout = timeout.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    match rustix::event::poll(&mut polled, timeout.as_ref()) {
        Ok(_) => Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
        Err(Errno::INTR) => Ok(vec![false; fds.len()]),
        Err(errno) => Err(errno.into()),
    }
}

/// Blocked signals that are read like a file. Dropping it unblocks them again
/// in the thread that drops it; one that is pending then acts as it would have.
/// A forked child inherits the block and drops its copy to be rid of it.
#[derive(Debug)]
pub struct SignalFd {
    file: File,
    before: SignalSet,
}

/// Takes `signals` (`libc::SIGTERM` ...) out of their handlers' hands.
pub fn signal_fd(signals: &[i32]) -> io::Result<SignalFd> {
    let set = SignalSet::of(signals)?;
    let before = set.change(libc::SIG_BLOCK)?;
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is initialised and outlives the call.
    let fd = unsafe { libc::signalfd(-1, &set.0, flags) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        before.change(libc::SIG_SETMASK)?;
        return Err(error);
    }
    // SAFETY: the call has just returned this descriptor to us alone.
    Ok(SignalFd { file: unsafe { File::from_raw_fd(fd) }, before })
}

impl SignalFd {
    /// The next signal that came, `None` if there is none now. Several of the
    /// same number may come as one (signal(7)).
    pub fn next(&self) -> io::Result<Option<i32>> {
        // `struct signalfd_siginfo` begins with `ssi_signo`, a u32.
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        match (&self.file).read_exact(&mut info) {
            Ok(()) => Ok(Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SignalFd {
    fn drop(&mut self) {
        // Cannot fail: the operation is known and the set is the kernel's own.
        let _ = self.before.change(libc::SIG_SETMASK);
    }
}

#[derive(Clone, Copy)]
struct SignalSet(libc::sigset_t);

impl SignalSet {
    fn of(signals: &[i32]) -> io::Result<Self> {
        let mut set = Self::empty();
        for signal in signals {
            // SAFETY: the set is initialised; a number that is none is refused.
            if unsafe { libc::sigaddset(&mut set.0, *signal) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(set)
    }

    fn empty() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set and cannot fail.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    /// Of this thread; returns what it was.
    fn change(&self, how: i32) -> io::Result<Self> {
        let mut before = Self::empty();
        // SAFETY: both sets are initialised and outlive the call.
        match unsafe { libc::pthread_sigmask(how, &self.0, &mut before.0) } {
            0 => Ok(before),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

impl std::fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SignalSet")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::child::{ExitKind, in_child};
    use rustix::process::Signal;

    #[test]
    fn each_descriptor_answers_for_itself() {
        let (mut written, quiet) =
            (std::io::pipe().expect("a pipe"), std::io::pipe().expect("a pipe"));
        let both = |time| readable(&[written.0.as_fd(), quiet.0.as_fd()], time);
        assert_eq!(both(Some(Duration::ZERO)).expect("poll"), [false, false]);
        std::io::Write::write_all(&mut written.1, b"x").expect("write");
        let both = |time| readable(&[written.0.as_fd(), quiet.0.as_fd()], time);
        assert_eq!(both(None).expect("poll"), [true, false]);
        drop(quiet.1);
        let end = readable(&[quiet.0.as_fd()], None).expect("poll");
        assert_eq!(end, [true], "an end is news");
    }

    /// In a child of its own: a signal to a process reaches any thread. One
    /// for which no other test has installed a handler.
    #[test]
    fn a_signal_is_read_and_does_not_kill() {
        let child = in_child(&[], || {
            let signals = signal_fd(&[libc::SIGUSR1, libc::SIGHUP]).expect("signalfd");
            assert_eq!(signals.next().expect("read"), None);
            let ourselves = rustix::process::getpid();
            rustix::process::kill_process(ourselves, Signal::USR1).expect("kill");
            assert_eq!(readable(&[signals.as_fd()], None).expect("poll"), [true]);
            assert_eq!(signals.next().expect("read"), Some(libc::SIGUSR1));
            assert_eq!(signals.next().expect("read"), None);
            drop(signals);
            rustix::process::kill_process(ourselves, Signal::USR1).expect("kill");
            0
        });
        assert_eq!(child.wait().expect("wait"), ExitKind::Signal(libc::SIGUSR1));
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        let error = signal_fd(&[0]).expect_err("no signal");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
