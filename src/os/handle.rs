//! A file's generation: what tells a reused inode number from the file that
//! had it before.
//!
//! The kernel gives it inside the opaque handle of `name_to_handle_at(2)`,
//! which needs no privilege. The layouts are each file system's own and part of
//! what NFS clients hold on to, so they do not change: `FILEID_*` in Linux'
//! `include/linux/exportfs.h`, `xfs_fid64` in `fs/xfs/xfs_export.h`, `btrfs_fid`
//! in `fs/btrfs/export.h`, `shmem_encode_fh` in `mm/shmem.c`. Elsewhere
//! `FS_IOC_GETVERSION` is asked. A file system that answers neither (overlay,
//! network file systems) cannot be managed: its inode numbers prove nothing.

use super::stat::statx_fd;
use crate::ids::FileIdent;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

const MAX_HANDLE_BYTES: usize = 128;

/// `struct file_handle` with room for the largest handle.
#[repr(C)]
struct FileHandle {
    handle_bytes: libc::c_uint,
    handle_type: libc::c_int,
    handle: [u8; MAX_HANDLE_BYTES],
}

/// The inode generation of any open file, also of an `O_PATH` descriptor of a
/// file system that makes handles. `Unsupported` where there is none.
pub fn generation(fd: impl AsFd) -> io::Result<u32> {
    if let Some(generation) = from_handle(&fd)? {
        return Ok(generation);
    }
    from_version_ioctl(&fd).map_err(|_| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            "this file system has no inode generations, a file could not be told from its successor",
        )
    })
}

/// Inode number and generation of an open file.
pub fn file_ident(fd: impl AsFd) -> io::Result<FileIdent> {
    Ok(FileIdent { ino: statx_fd(&fd)?.ino, generation: generation(&fd)? })
}

/// `None` if the file system makes no handles, or none that we can read.
fn from_handle(fd: &impl AsFd) -> io::Result<Option<u32>> {
    let mut handle = FileHandle {
        handle_bytes: MAX_HANDLE_BYTES as libc::c_uint,
        handle_type: 0,
        handle: [0; MAX_HANDLE_BYTES],
    };
    let mut mount_id: libc::c_int = 0;
    // SAFETY: the path is a NUL-terminated literal; `handle` is laid out as
    // `struct file_handle` with `handle_bytes` bytes behind its header, and the
    // kernel writes no more than that; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount_id,
            libc::AT_EMPTY_PATH,
        )
    };
    if result == 0 {
        let length = (handle.handle_bytes as usize).min(MAX_HANDLE_BYTES);
        return Ok(parse_handle(handle.handle_type, &handle.handle[..length]));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::EOVERFLOW | libc::ENOSYS) => Ok(None),
        _ => Err(error),
    }
}

/// The generation's place by handle type and length; words are native-endian.
fn parse_handle(handle_type: i32, handle: &[u8]) -> Option<u32> {
    let word = match (handle_type, handle.len()) {
        (0x01, 8) => 1,  // FILEID_INO32_GEN: ino, generation (ext4, f2fs, xfs inode32)
        (0x01, 12) => 0, // tmpfs: generation, ino low, ino high
        (0x81, 12) => 2, // FILEID_INO64_GEN: ino (2 words), generation (xfs, fuse)
        (0x4d, 20) => 4, // btrfs: objectid (2), root (2), generation
        _ => return None,
    };
    let bytes = handle.get(word * 4..word * 4 + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// `FS_IOC_GETVERSION`, defined with a `long` of which the kernel writes an
/// `int`.
fn from_version_ioctl(fd: &impl AsFd) -> io::Result<u32> {
    let mut version: libc::c_long = 0;
    // SAFETY: the request writes at most a long through the pointer, which is
    // to a live long.
    let result =
        unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FS_IOC_GETVERSION, &raw mut version) };
    if result == 0 { Ok(version as u32) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::loopfs::{FsKind, LoopFs};
    use std::fs::File;

    #[test]
    fn each_layout_yields_its_generation() {
        let words = |words: &[u32]| words.iter().flat_map(|w| w.to_ne_bytes()).collect::<Vec<_>>();
        assert_eq!(parse_handle(0x01, &words(&[12, 77])), Some(77));
        assert_eq!(parse_handle(0x01, &words(&[77, 12, 0])), Some(77));
        assert_eq!(parse_handle(0x81, &words(&[12, 0, 77])), Some(77));
        assert_eq!(parse_handle(0x4d, &words(&[257, 0, 5, 0, 77])), Some(77));
        assert_eq!(parse_handle(0xfb, &words(&[1, 2, 3])), None);
        assert_eq!(parse_handle(0x01, &[]), None);
    }

    /// On every file system: a stable answer per file, and another one for the
    /// file that gets the inode number next.
    #[test]
    fn a_reused_inode_number_has_another_generation() {
        for kind in FsKind::ALL {
            let Some(fs) = LoopFs::new("a_reused_inode_number_has_another_generation", kind) else {
                continue;
            };
            let path = fs.path().join("f");
            let mut seen = std::collections::HashSet::new();
            for round in 0..20 {
                std::fs::write(&path, b"x").expect("write");
                let file = File::open(&path).expect("open");
                let ident = file_ident(&file).expect("identity");
                assert_eq!(file_ident(&file).expect("identity"), ident, "{kind:?}");
                assert!(seen.insert(ident), "{kind:?}: {ident:?} again in round {round}");
                drop(file);
                std::fs::remove_file(&path).expect("remove");
            }
        }
    }

    #[test]
    fn a_path_descriptor_has_the_same_identity() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = File::create(dir.path().join("f")).expect("create");
        let flags = rustix::fs::OFlags::PATH;
        let named = rustix::fs::open(dir.path().join("f"), flags, rustix::fs::Mode::empty());
        let named = named.expect("open");
        assert_eq!(file_ident(&named).expect("identity"), file_ident(&file).expect("identity"));
    }
}
