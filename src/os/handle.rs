//! Opaque file handles: a name for an inode that outlives every path and every
//! descriptor, and the inode's generation, which tells a reused inode number
//! from the file that had it before.
//!
//! `name_to_handle_at(2)` makes a handle and needs no privilege; opening one
//! does (`CAP_DAC_READ_SEARCH`). An open by handle goes through the mount whose
//! descriptor is given, so that mount decides whether writing is allowed and
//! whether the open raises events. A handle never leads to the next file that
//! gets the inode number: the open fails with `ESTALE`.
//!
//! The generation is inside the handle. The layouts are each file system's own
//! and part of what NFS clients hold on to, so they do not change: `FILEID_*` in
//! Linux' `include/linux/exportfs.h`, `xfs_fid64` in `fs/xfs/xfs_export.h`,
//! `btrfs_fid` in `fs/btrfs/export.h`, `shmem_encode_fh` in `mm/shmem.c`.
//! Elsewhere `FS_IOC_GETVERSION` is asked. A file system that answers neither
//! (overlay, network file systems) cannot be managed: its inode numbers prove
//! nothing.

use super::stat::statx_fd;
use crate::ids::FileIdent;
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};

/// More than any file system needs today (btrfs: 40); the kernel's own limit,
/// `MAX_HANDLE_SZ`, is 128.
const MAX_HANDLE_BYTES: usize = 64;

/// `struct file_handle` of open_by_handle_at(2) with room for its bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    length: libc::c_uint,
    kind: libc::c_int,
    /// Zero behind `length`, so that equal handles are equal bytes.
    bytes: [u8; MAX_HANDLE_BYTES],
}

impl Handle {
    /// The size of [`Handle::to_bytes`].
    pub const BYTES: usize = MAX_HANDLE_BYTES + 8;

    /// Of any open file, also of an `O_PATH` descriptor. `EOPNOTSUPP` where the
    /// file system makes none, `EOVERFLOW` if it is longer than 64 bytes.
    pub fn of(fd: impl AsFd) -> io::Result<Self> {
        let room = MAX_HANDLE_BYTES as libc::c_uint;
        let mut handle = Self { length: room, kind: 0, bytes: [0; MAX_HANDLE_BYTES] };
        let mut mount_id: libc::c_int = 0;
        // SAFETY: the path is a NUL-terminated literal; `handle` is laid out as
        // `struct file_handle` with `length` bytes behind its header, and the
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
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let length = handle.meaningful().len();
        handle.bytes[length..].fill(0);
        Ok(handle)
    }

    /// Opens the inode through the mount that `mount` is on: any descriptor on
    /// that file system except one of `O_PATH`. The descriptor is close-on-exec
    /// whatever `flags` say. `ESTALE` when the inode is gone, or the handle
    /// belongs to another file system.
    pub fn open(&self, mount: impl AsFd, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::LARGEFILE;
        // SAFETY: `self` is laid out as `struct file_handle` with at least
        // `length` bytes behind its header, and is only read.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                mount.as_fd().as_raw_fd(),
                std::ptr::from_ref(self),
                flags.bits() as libc::c_int,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just returned this descriptor to us alone.
        Ok(unsafe { File::from_raw_fd(fd as libc::c_int) })
    }

    /// Length, type, bytes; numbers little-endian. For memory that processes of
    /// one boot share, not for disks.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut all = [0; Self::BYTES];
        all[..4].copy_from_slice(&self.length.to_le_bytes());
        all[4..8].copy_from_slice(&self.kind.to_le_bytes());
        all[8..].copy_from_slice(&self.bytes);
        all
    }

    /// `None` if no [`Handle::to_bytes`] wrote this.
    pub fn from_bytes(all: &[u8; Self::BYTES]) -> Option<Self> {
        let (head, bytes) = all.split_first_chunk::<8>()?;
        let [a, b, c, d, kind @ ..] = *head;
        let length = libc::c_uint::from_le_bytes([a, b, c, d]);
        let handle =
            Self { length, kind: libc::c_int::from_le_bytes(kind), bytes: bytes.try_into().ok()? };
        let fits = (1..=MAX_HANDLE_BYTES).contains(&(length as usize));
        let clean = fits && handle.bytes[length as usize..].iter().all(|byte| *byte == 0);
        clean.then_some(handle)
    }

    fn meaningful(&self) -> &[u8] {
        &self.bytes[..(self.length as usize).min(MAX_HANDLE_BYTES)]
    }
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
    match Handle::of(fd) {
        Ok(handle) => Ok(parse_handle(handle.kind, handle.meaningful())),
        Err(error) => match error.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::EOVERFLOW | libc::ENOSYS) => Ok(None),
            _ => Err(error),
        },
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

    #[test]
    fn a_handle_survives_its_bytes() {
        let file = tempfile::tempfile().expect("a temporary file");
        let handle = Handle::of(&file).expect("handle");
        let bytes = handle.to_bytes();
        assert_eq!(Handle::from_bytes(&bytes), Some(handle));
        assert_eq!(Handle::from_bytes(&[0; Handle::BYTES]), None);
        let mut dirty = bytes;
        dirty[Handle::BYTES - 1] = 1;
        assert_eq!(Handle::from_bytes(&dirty), None, "bytes behind the end");
        let mut long = bytes;
        long[0] = 65;
        assert_eq!(Handle::from_bytes(&long), None, "longer than there is room");
    }

    /// Through a rename, and never to the file that comes after it.
    #[test]
    fn a_handle_opens_its_inode_and_no_other() {
        for kind in FsKind::ALL {
            let Some(fs) = LoopFs::new("a_handle_opens_its_inode_and_no_other", kind) else {
                continue;
            };
            let path = fs.path().join("f");
            std::fs::write(&path, b"first").expect("write");
            let handle = Handle::of(File::open(&path).expect("open")).expect("handle");
            std::fs::rename(&path, fs.path().join("g")).expect("rename");
            let root = File::open(fs.path()).expect("open");
            let opened = handle.open(&root, OFlags::RDWR).expect("open by handle");
            assert_eq!(std::io::read_to_string(&opened).expect("read"), "first");
            assert_eq!(Handle::of(&opened).expect("handle"), handle);
            let flags = rustix::io::fcntl_getfd(&opened).expect("flags");
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
            drop(opened);
            std::fs::remove_file(fs.path().join("g")).expect("remove");
            std::fs::write(&path, b"second").expect("write");
            // A process that another test is just starting holds a copy of what
            // was open, and with it the inode.
            let gone = (0..1_000_000).find_map(|_| handle.open(&root, OFlags::RDONLY).err());
            let error = gone.expect("the inode is gone");
            assert_eq!(error.raw_os_error(), Some(libc::ESTALE), "{kind:?}");
        }
    }
}
