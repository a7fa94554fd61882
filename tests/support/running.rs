//! Processes under a time limit.
//!
//! Who touches a stub waits for its guard, and a guard is what these suites
//! doubt: nothing that may wait for one is done by the test's own process, or
//! without a limit. A process here leads a group of its own, is waited for
//! through a pidfd, and is killed with its group when it is dropped. (A process
//! that waits for a guard sleeps killably.)

use super::Ran;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a command of these suites takes at most, on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A started process and its group.
pub struct Running {
    pub what: String,
    pub child: Child,
    pidfd: OwnedFd,
    ended: Option<ExitStatus>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let child = command.process_group(0).spawn().unwrap_or_else(|e| panic!("{what}: {e}"));
        let pid = rustix::process::Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        Self { what, child, pidfd: pidfd.expect("a pidfd of our child"), ended: None }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended; `None` when it still runs after `limit`.
    pub fn ends_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() && readable_within(self.pidfd.as_raw_fd(), limit) {
            self.ended = Some(self.child.wait().expect("our child"));
        }
        self.ended
    }

    /// SIGKILL to the process and all of its group; returns when it is gone.
    pub fn kill(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let pid = rustix::process::Pid::from_child(&self.child);
        // Not reaped yet, so that the number is still its own.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        if self.ends_within(Duration::from_secs(20)).is_none() {
            eprintln!("{} (pid {pid:?}) survives SIGKILL", self.what);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn readable_within(fd: i32, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd; the descriptor belongs to the caller.
        let ready = unsafe { libc::poll(&mut poll, 1, left.as_millis().min(60_000) as i32) };
        if ready > 0 || left.is_zero() {
            return ready > 0;
        }
    }
}

impl Ran {
    /// Runs any command to its end, which must come within `limit`.
    #[track_caller]
    pub fn within(limit: Duration, command: &mut Command) -> Self {
        Self::try_within(limit, command).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same; the error says that it was killed, and what it had said.
    pub fn try_within(limit: Duration, command: &mut Command) -> Result<Self, String> {
        let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let stdout = drain(running.child.stdout.take().expect("a pipe"));
        let stderr = drain(running.child.stderr.take().expect("a pipe"));
        let ended = running.ends_within(limit);
        running.kill();
        let [stdout, stderr] = [stdout, stderr].map(|pipe| pipe.join().expect("a reader"));
        let what = running.what.clone();
        match ended {
            Some(status) => Ok(Self { what, output: Output { status, stdout, stderr } }),
            None => Err(format!(
                "{what}\nstill ran after {limit:?}\n-- stdout\n{}\n-- stderr\n{}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            )),
        }
    }
}

/// Reads a pipe to its end, beside the caller.
pub fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = pipe.read_to_end(&mut text);
        text
    })
}

/// Asks until the answer is there; `None` when it is not within `limit`.
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() >= end {
            return answer;
        }
        // Only the pace of asking.
        std::thread::sleep(Duration::from_millis(2));
    }
}
