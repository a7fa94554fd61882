//! shim
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
pub fn notify_ready(_: &str) {}
pub fn notify_watchdog() {}
pub fn store(_: &str, _: &[BorrowedFd]) -> io::Result<()> {
    Ok(())
}
pub fn stored() -> Vec<(String, OwnedFd)> {
    vec![]
}
pub fn keeps_descriptors() -> bool {
    false
}
