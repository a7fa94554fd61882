//! What a service says to systemd, and what systemd keeps for it.
//!
//! Messages go to the socket in `$NOTIFY_SOCKET` (sd_notify(3)); without one
//! they are no errors, so the guard runs the same by hand. The manager takes
//! them from other processes of the service only with `NotifyAccess=all`.
//!
//! Descriptors that must outlive a crash are given to the manager's store
//! (`FileDescriptorStoreMax=`, `FileDescriptorStorePreserve=`) and come back to
//! the next start as numbers 3, 4, ... (sd_listen_fds(3)). They are stored with
//! `FDPOLL=0`: the manager must not drop one because it reports a hang-up.
//!
//! The variables speak to one process: `LISTEN_PID` and `WATCHDOG_PID` say
//! which, and a forked child does not take its parent's.

use sd_notify::NotifyState;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// `FDNAME=` of sd_pid_notify_with_fds(3): ASCII without controls and colons.
const MAX_NAME_BYTES: usize = 255;

/// The service is up (`Type=notify`).
pub fn notify_ready(status: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&one_line(status))])
}

/// Still alive, and getting on with its work.
pub fn notify_watchdog() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Watchdog])
}

/// One line for `systemctl status`.
pub fn notify_status(status: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Status(&one_line(status))])
}

pub fn notify_stopping() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Stopping])
}

/// Leaves duplicates of `fds` with the manager under `name`. It adds them to
/// what it has under that name, except those that it already has. That it took
/// them is not confirmed; see [`keeps_descriptors`]. `InvalidInput` for a name
/// that it would not take.
pub fn store(name: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    check_name(name)?;
    let state = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
    sd_notify::notify_with_fds(&state, fds)
}

/// The manager closes everything it keeps under `name`.
pub fn forget(name: &str) -> io::Result<()> {
    check_name(name)?;
    sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
}

/// What was stored by an earlier start, with its names, in the order of the
/// numbers; all close-on-exec. Only the first call in a process gets them. Call
/// it before anything else opens or closes descriptors. `InvalidInput` if the
/// variables contradict each other, `EBADF` if a descriptor is not there.
pub fn stored() -> io::Result<Vec<(String, OwnedFd)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let passed = sd_notify::listen_fds_with_names()?;
    // SAFETY: LISTEN_PID says that whoever started this process opened these
    // numbers for it; each was just found open, and nobody else takes them,
    // because only one call gets here.
    Ok(passed.map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) })).collect())
}

/// Whether the manager has passed something to this process that [`stored`] will
/// give.
pub fn holds_something() -> bool {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    number("LISTEN_PID") == Some(std::process::id()) && number("LISTEN_FDS").unwrap_or(0) > 0
}

/// How long the manager waits between two [`notify_watchdog`] before it takes
/// the service for hung; say so at half of it. `None` if it does not watch, or
/// watches another process.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Whether the manager has a store for this service (`$FDSTORE`, systemd 254).
/// Older ones have one and do not say so.
pub fn keeps_descriptors() -> bool {
    let room = std::env::var("FDSTORE").ok().and_then(|room| room.parse::<u64>().ok());
    room.is_some_and(|room| room > 0)
}

fn check_name(name: &str) -> io::Result<()> {
    let plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b':');
    if plain && (1..=MAX_NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "no name for a stored descriptor"))
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
#[path = "service_manager_tests.rs"]
mod tests;
