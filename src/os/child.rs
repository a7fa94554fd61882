//! A child process, watched through a descriptor.
//!
//! A pidfd names a process and never the next one with its number: signals and
//! waits through it hit the right one or nobody. It polls readable when the
//! process has ended (pidfd_open(2)), so a parent can wait for its child and for
//! other things at once.
//!
//! A process with threads must not fork without `exec`: the child would have
//! one thread and every lock as the others left it. [`fork`] looks and refuses.
//! The child shares all descriptors, also those marked close-on-exec.

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// On which side of the fork we are.
#[derive(Debug)]
pub enum Fork {
    Parent(ChildProcess),
    Child,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A child not yet waited for. Dropping it neither ends it nor waits: it stays
/// a zombie, at the latest until we end.
#[derive(Debug)]
pub struct ChildProcess {
    pid: i32,
    pidfd: OwnedFd,
}

/// Copies this process. Only from a process with a single thread: otherwise
/// `ErrorKind::Unsupported` and nothing happened. The child has to end with
/// `exit` or `exec` and never return into what its parent was doing.
pub fn fork() -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        let why = "a process with more than one thread cannot be forked";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    fork_any()
}

fn fork_any() -> io::Result<Fork> {
    // SAFETY: no memory is handed over; that locks of other threads are not
    // left held in the child is for the callers to see to, which `fork` does.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => Ok(Fork::Child),
        1.. => ChildProcess::watch(pid).map(Fork::Parent),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends this process at once: no destructor runs, nothing buffered is written.
/// The way out for a forked child, which must not clean up what is its parent's.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: the call takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// The kernel kills this process with `signal` when the *thread* that forked it
/// ends (`PR_SET_PDEATHSIG`). A parent that has already ended is not noticed:
/// compare `getppid` afterwards.
pub fn die_with_parent(signal: Signal) -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(signal))?)
}

impl ChildProcess {
    /// `pid` is our own child and not waited for, so its number is its own.
    fn watch(pid: i32) -> io::Result<Self> {
        let named = Pid::from_raw(pid).expect("fork returned a positive number");
        match rustix::process::pidfd_open(named, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self { pid, pidfd }),
            Err(errno) => {
                // A child that nobody can watch must not run on.
                let _ = rustix::process::kill_process(named, Signal::KILL);
                let _ = rustix::process::waitid(WaitId::Pid(named), WaitIdOptions::EXITED);
                Err(errno.into())
            }
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// `ESRCH` when it has been waited for; a signal to a zombie is no error.
    pub fn kill(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Blocks until it has ended, and lets its number be used again. `ECHILD`
    /// when it was waited for before.
    pub fn wait(&self) -> io::Result<ExitKind> {
        let ended = self.wait_id(WaitIdOptions::EXITED)?;
        Ok(ended.expect("without NOHANG the call returns when it has ended"))
    }

    /// As [`ChildProcess::wait`], without blocking: `None` while it runs.
    pub fn try_wait(&self) -> io::Result<Option<ExitKind>> {
        self.wait_id(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn wait_id(&self, options: WaitIdOptions) -> io::Result<Option<ExitKind>> {
        let id = || rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        let Some(status) = rustix::io::retry_on_intr(id)? else { return Ok(None) };
        let code = status.exit_status().map(ExitKind::Code);
        let signal = || status.terminating_signal().map(ExitKind::Signal);
        Ok(code.or_else(signal))
    }
}

impl AsFd for ChildProcess {
    /// The pidfd: readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Runs `act` in a child of the test process, which has other threads: `act`
/// must not print. It is killed when the test ends without it. What it returns,
/// or that it panicked, is the exit code. It keeps the standard descriptors and
/// `keep`, for the leases and unmounts of other tests wait for no copy.
#[cfg(test)]
pub(super) fn in_child(keep: &[BorrowedFd<'_>], act: impl FnOnce() -> i32) -> ChildProcess {
    let mut keep: Vec<i32> = keep.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
    keep.sort_unstable();
    match fork_any().expect("fork") {
        Fork::Parent(child) => child,
        Fork::Child => {
            close_all_but(&keep);
            die_with_parent(Signal::KILL).expect("the signal exists");
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            // SAFETY: ends the process without running anybody's exit handlers.
            unsafe { libc::_exit(code.unwrap_or(101)) }
        }
    }
}

#[cfg(test)]
fn close_all_but(keep: &[i32]) {
    let mut first = 3;
    for next in keep.iter().copied().chain([i32::MAX]) {
        if first < next {
            // SAFETY: in the child, where nobody else uses descriptors.
            unsafe { libc::syscall(libc::SYS_close_range, first, next - 1, 0) };
        }
        first = next.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::wait::readable;
    use std::time::Duration;

    #[test]
    fn the_descriptor_tells_when_the_child_has_ended() {
        let child = in_child(&[], || 7);
        assert_eq!(readable(&[child.as_fd()], None).expect("poll"), [true]);
        assert_eq!(child.wait().expect("wait"), ExitKind::Code(7));
        let again = child.wait().expect_err("there is none any more");
        assert_eq!(again.raw_os_error(), Some(libc::ECHILD));
        let gone = child.kill(Signal::KILL).expect_err("it is gone");
        assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn a_killed_child_names_its_signal() {
        let child = in_child(&[], || {
            loop {
                std::thread::park();
            }
        });
        assert_eq!(readable(&[child.as_fd()], Some(Duration::ZERO)).expect("poll"), [false]);
        assert_eq!(child.try_wait().expect("look"), None);
        child.kill(Signal::KILL).expect("kill");
        assert_eq!(child.wait().expect("wait"), ExitKind::Signal(libc::SIGKILL));
    }

    /// Each test has its own thread beside the one that started it.
    #[test]
    fn a_process_with_threads_is_not_forked() {
        std::thread::scope(|scope| {
            let forked = scope.spawn(fork).join().expect("no panic");
            assert_eq!(forked.expect_err("refused").kind(), io::ErrorKind::Unsupported);
        });
    }

    #[test]
    fn a_process_with_one_thread_forks() {
        let outer = in_child(&[], || match fork() {
            Ok(Fork::Child) => 3,
            Ok(Fork::Parent(child)) => match child.wait() {
                Ok(ExitKind::Code(3)) => 4,
                _ => 5,
            },
            Err(_) => 6,
        });
        let ended = outer.wait().expect("wait");
        // 3 is the grandchild's, 4 its parent's word that it came.
        assert_eq!(ended, ExitKind::Code(4));
    }
}
