//! Writing to a file that its owner has made read-only.
//!
//! Root writes to a mode 0444 file without asking. An ordinary owner may not,
//! though it could change the mode; so for the instant of one call the owner's
//! write bit is set, and [`OwnerWrite`] clears it again in `Drop`. A descriptor
//! stays writable after that, so the window is two system calls long.
//!
//! What a crash inside the window leaves is a file with mode 0644 in place of
//! 0444, writable by its own owner and nobody else; the catalog has the true
//! mode. The ctime changes, which is why callers compare it before.

use super::stat::statx_fd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// While it lives the owner may write to the file.
#[derive(Debug)]
pub struct OwnerWrite<'f> {
    file: &'f File,
    mode: u32,
}

impl<'f> OwnerWrite<'f> {
    /// `EACCES`, the error of the write that made us ask, if the bit is set
    /// already or the file is not ours to change.
    pub fn grant(file: &'f File) -> io::Result<Self> {
        let mode = statx_fd(file)?.mode;
        if mode & 0o200 != 0 {
            return Err(Errno::ACCESS.into());
        }
        set_mode(file, mode | 0o200).map_err(|_| io::Error::from(Errno::ACCESS))?;
        Ok(Self { file, mode })
    }
}

impl Drop for OwnerWrite<'_> {
    fn drop(&mut self) {
        if let Err(error) = set_mode(self.file, self.mode) {
            tracing::warn!(%error, mode = self.mode, "cannot make a file read-only again");
        }
    }
}

/// Sets the permission bits, 07777.
pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// Whether this descriptor was opened for writing.
pub fn is_writable(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fcntl_getfl(file)? & OFlags::RWMODE == OFlags::RDWR)
}

/// A second descriptor of the very same inode, for reading and writing,
/// whatever its path is by now. `EACCES` if the caller is neither allowed to
/// write nor the owner.
pub fn reopen(file: &File) -> io::Result<File> {
    match open_again(file) {
        Err(Errno::ACCESS) => {
            let _granted = OwnerWrite::grant(file)?;
            Ok(open_again(file)?)
        }
        opened => Ok(opened?),
    }
}

/// `/proc/self/fd/N` leads to the inode itself, not to a path.
fn open_again(file: &File) -> Result<File, Errno> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let open = |flags| rustix::fs::open(path.as_str(), flags, Mode::empty());
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags).map(File::from),
        opened => opened.map(File::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, PermissionsExt};

    fn read_only_file() -> (tempfile::TempDir, File) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("f");
        std::fs::write(&path, b"old").expect("write");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).expect("chmod");
        let file = File::open(&path).expect("open");
        (dir, file)
    }

    #[test]
    fn a_read_only_file_is_reopened_for_writing_and_stays_read_only() {
        let (dir, file) = read_only_file();
        assert!(!is_writable(&file).expect("flags"));
        let writable = reopen(&file).expect("its owner or root");
        assert!(is_writable(&writable).expect("flags"));
        writable.write_all_at(b"new", 0).expect("write");
        assert_eq!(std::fs::read(dir.path().join("f")).expect("read"), b"new");
        assert_eq!(statx_fd(&file).expect("stat").mode, 0o444);
    }

    #[test]
    fn the_permission_lasts_as_long_as_the_guard() {
        let (_dir, file) = read_only_file();
        let granted = OwnerWrite::grant(&file).expect("its owner or root");
        assert_eq!(statx_fd(&file).expect("stat").mode, 0o644);
        let twice = OwnerWrite::grant(&file).expect_err("the bit is set already");
        assert_eq!(twice.kind(), io::ErrorKind::PermissionDenied);
        drop(granted);
        assert_eq!(statx_fd(&file).expect("stat").mode, 0o444);
    }
}
