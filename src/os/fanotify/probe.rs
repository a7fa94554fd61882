//! Can this kernel, on this file system, tell us before a file is read?
//!
//! The answer is probed, never concluded from a version: a group of the
//! pre-content class is opened and a mark for the pre-access event is set on an
//! unnamed temporary file, whose events nobody but we could cause. Closing the
//! group removes it. No mount and no file system is ever marked here; that the
//! events really come is tried by the guard itself when it starts.

use super::PRE_ACCESS;
use fanotify::low_level;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// What the probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreContent {
    Supported,
    /// Needs `CAP_SYS_ADMIN`.
    NotPermitted,
    /// The kernel has no such class or event.
    NotInKernel,
    /// The kernel has it, but not for this file system.
    NotOnThisFileSystem,
}

/// Of the file system that the directory `dir` is on; `dir` must be writable
/// for the caller. Leaves nothing behind.
pub fn pre_content_supported(dir: &Path) -> io::Result<PreContent> {
    let flags = low_level::FAN_CLASS_PRE_CONTENT | low_level::FAN_CLOEXEC;
    let group = match low_level::fanotify_init(flags, libc::O_RDONLY as u32) {
        // SAFETY: the call has just returned this descriptor to us alone.
        Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
        Err(error) => return refusal(error),
    };
    let unnamed = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(dir, unnamed, Mode::RUSR | Mode::WUSR)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let marked = low_level::fanotify_mark(
        group.as_raw_fd(),
        low_level::FAN_MARK_ADD,
        PRE_ACCESS,
        libc::AT_FDCWD,
        path.as_str(),
    );
    match marked {
        Ok(()) => Ok(PreContent::Supported),
        Err(error) => refusal(error),
    }
}

fn refusal(error: io::Error) -> io::Result<PreContent> {
    match error.raw_os_error() {
        Some(libc::EPERM) => Ok(PreContent::NotPermitted),
        Some(libc::EOPNOTSUPP) => Ok(PreContent::NotOnThisFileSystem),
        Some(libc::EINVAL | libc::ENOSYS) => Ok(PreContent::NotInKernel),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::loopfs::{FsKind, LoopFs};

    #[test]
    fn without_privilege_the_probe_says_so() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let found = pre_content_supported(dir.path()).expect("an answer");
        let permitted = found != PreContent::NotPermitted;
        assert_eq!(permitted, crate::os::process::can_use_trusted_xattrs(), "{found:?}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 0);
    }

    /// The three file systems agree: it is the kernel that has it or not.
    #[test]
    fn the_probe_answers_for_each_file_system_and_leaves_nothing() {
        let mut found = Vec::new();
        for kind in FsKind::ALL {
            let Some(fs) = LoopFs::new("the_probe_answers_for_each_file_system", kind) else {
                continue;
            };
            let before = std::fs::read_dir(fs.path()).expect("list").count();
            found.push(pre_content_supported(fs.path()).expect("an answer"));
            assert_eq!(std::fs::read_dir(fs.path()).expect("list").count(), before);
        }
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{found:?}");
    }
}
