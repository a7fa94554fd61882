//! Who is at the other end of an event.
//!
//! A process number says nothing for long: when its process has ended it may be
//! given to another. So everything is read from `/proc` first, and afterwards
//! the pidfd, which never changes its meaning, is asked whether that process
//! still lives. If it does, what was read was about it.

use super::wait::readable;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What policies ask about a process. A process can choose `comm` freely, and
/// `exe` says what it runs, not what it was told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFacts {
    pub pid: i32,
    /// The effective one.
    pub uid: u32,
    /// `None` for a kernel thread. The name the file had last, if it is
    /// deleted: package updates replace running programs.
    pub exe: Option<PathBuf>,
    /// The path in the unified hierarchy (cgroups(7)), `/system.slice/x.service`.
    pub cgroup: Option<String>,
    /// At most 15 bytes; lossy where it is not UTF-8.
    pub comm: String,
}

impl ProcessFacts {
    /// `pidfd` and `pid` are of the same process. `NotFound` if it has ended,
    /// also while we looked.
    pub fn of(pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<Self> {
        let found = read(pid);
        // Asked after the reading, whatever came of it.
        if readable(&[pidfd], Some(Duration::ZERO))? == [true] {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"));
        }
        found
    }

    /// Of whatever process has this number now.
    pub fn by_number(pid: i32) -> io::Result<Self> {
        let ended = || io::Error::new(io::ErrorKind::NotFound, "the process has ended");
        let named = Pid::from_raw(pid).ok_or_else(ended)?;
        match pidfd_open(named, PidfdFlags::empty()) {
            Ok(pidfd) => Self::of(pid, pidfd.as_fd()),
            Err(Errno::SRCH) => Err(ended()),
            Err(error) => Err(error.into()),
        }
    }
}

fn read(pid: i32) -> io::Result<ProcessFacts> {
    let file = |name: &str| std::fs::read(format!("/proc/{pid}/{name}"));
    let uid = effective_uid(&file("status")?)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Uid line in status"))?;
    Ok(ProcessFacts {
        pid,
        uid,
        exe: executable(pid)?,
        cgroup: unified_cgroup(&file("cgroup")?),
        comm: String::from_utf8_lossy(file("comm")?.trim_ascii_end()).into_owned(),
    })
}

/// What a process runs; `None` for a kernel thread, or if it is just ending.
pub(super) fn executable(pid: i32) -> io::Result<Option<PathBuf>> {
    match std::fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(path) => Ok(Some(without_deleted(&path))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file whose name really ends so is mistaken for a deleted one.
fn without_deleted(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let plain = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    PathBuf::from(std::ffi::OsString::from_vec(plain.to_vec()))
}

/// `Uid:` has the real, effective, saved and file system one
/// (proc_pid_status(5)).
fn effective_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The line `0::/path`; the others are of version 1.
fn unified_cgroup(lines: &[u8]) -> Option<String> {
    let line = lines.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    Some(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::child::in_child;
    use rustix::process::Signal;
    use std::os::fd::AsFd;

    #[test]
    fn a_living_process_is_described_and_a_dead_one_is_not() {
        let child = in_child(&[], || {
            loop {
                std::thread::park();
            }
        });
        let facts = ProcessFacts::of(child.pid(), child.as_fd()).expect("it lives");
        assert_eq!(facts.pid, child.pid());
        assert_eq!(facts.uid, rustix::process::geteuid().as_raw());
        assert_eq!(facts.exe, std::env::current_exe().ok());
        assert!(facts.cgroup.is_none_or(|path| path.starts_with('/')));
        assert!(!facts.comm.is_empty() && !facts.comm.ends_with('\n'));
        child.kill(Signal::KILL).expect("kill");
        readable(&[child.as_fd()], None).expect("its end");
        // Not waited for: its number and its status are still there.
        let error = ProcessFacts::of(child.pid(), child.as_fd()).expect_err("a zombie");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        child.wait().expect("wait");
        // As if the number had been given to us.
        let ours = std::process::id() as i32;
        let error = ProcessFacts::of(ours, child.as_fd()).expect_err("it is not us");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn lines_of_proc_are_read() {
        let status = b"Name:\tUid:\nUmask:\t0022\nUid:\t1000\t7\t1000\t1000\nGid:\t1\t2\t3\t4\n";
        assert_eq!(effective_uid(status), Some(7));
        assert_eq!(effective_uid(b"Uid:\t1000\n"), None);
        let hybrid = b"4:cpu:/legacy\n0::/system.slice/backup.service\n";
        assert_eq!(unified_cgroup(hybrid).as_deref(), Some("/system.slice/backup.service"));
        assert_eq!(unified_cgroup(b"4:cpu:/legacy\n"), None);
        assert_eq!(without_deleted(Path::new("/bin/x (deleted)")), Path::new("/bin/x"));
        assert_eq!(without_deleted(Path::new("/bin/x")), Path::new("/bin/x"));
    }
}
