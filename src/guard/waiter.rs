//! A program that waits for a file, and who it is.

use super::admission::Who;
use crate::os::fanotify::Pending;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// One event that is kept until its file is whole.
#[derive(Debug)]
pub struct Waiter {
    pub pending: Pending,
    /// Since the guard's process started.
    pub arrived_ms: u64,
    /// Its process was found to be one that may recall.
    pub vetted: bool,
    /// Who it is; known once it was vetted.
    pub who: Option<Program>,
    /// What the recall took from its budget; 0 if somebody else pays.
    pub spent_bytes: u64,
}

/// The process at the other end, as far as /proc said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    pub pid: i32,
    pub uid: u32,
    pub exe: Option<PathBuf>,
    pub cgroup: Option<String>,
}

impl Program {
    pub fn as_who(&self) -> Who<'_> {
        let (exe, cgroup) = (self.exe.as_deref(), self.cgroup.as_deref());
        Who { pid: self.pid, uid: self.uid, exe, cgroup }
    }
}

impl Waiter {
    pub fn new(pending: Pending, arrived_ms: u64) -> Self {
        Self { pending, arrived_ms, vetted: false, who: None, spent_bytes: 0 }
    }

    /// The file's path in the eyes of the program; empty where only a number is
    /// left of the event.
    pub fn name(&self) -> PathBuf {
        let Some(file) = self.pending.file() else { return PathBuf::new() };
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        std::fs::read_link(link).unwrap_or_default()
    }
}
