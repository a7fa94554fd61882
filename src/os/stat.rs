//! What the kernel says about a file: one `statx`, no guesses.
//!
//! Times are nanoseconds since the epoch in an `i64` (to the year 2262). ext4
//! can hold later ones; they saturate, and [`Stat::times_exact`] says so, so
//! that nobody stubs a file whose time could not be put back.

use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp};
use std::io;
use std::os::fd::AsFd;

/// The type of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

impl FileKind {
    const CODES: [(Self, char); 7] = [
        (Self::File, 'f'),
        (Self::Dir, 'd'),
        (Self::Symlink, 'l'),
        (Self::Fifo, 'p'),
        (Self::Socket, 's'),
        (Self::CharDevice, 'c'),
        (Self::BlockDevice, 'b'),
    ];

    /// The letter of `find -type`.
    pub fn code(self) -> char {
        Self::CODES[self as usize].1
    }

    pub fn from_code(code: char) -> Option<Self> {
        Self::CODES.iter().find(|(_, letter)| *letter == code).map(|(kind, _)| *kind)
    }

    /// How a person calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "regular file",
            Self::Dir => "directory",
            Self::Symlink => "symbolic link",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
        }
    }

    fn from_raw_mode(mode: u16) -> io::Result<Self> {
        match FileType::from_raw_mode(mode.into()) {
            FileType::RegularFile => Ok(Self::File),
            FileType::Directory => Ok(Self::Dir),
            FileType::Symlink => Ok(Self::Symlink),
            FileType::Fifo => Ok(Self::Fifo),
            FileType::Socket => Ok(Self::Socket),
            FileType::CharacterDevice => Ok(Self::CharDevice),
            FileType::BlockDevice => Ok(Self::BlockDevice),
            FileType::Unknown => {
                Err(io::Error::other(format!("unknown file type in mode {mode:o}")))
            }
        }
    }
}

/// One `statx(2)` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub kind: FileKind,
    /// Permission bits with set-id and sticky: mode & 07777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub size_bytes: u64,
    /// 512 times `st_blocks`; may count extended attribute blocks and
    /// preallocation beyond the end.
    pub allocated_bytes: u64,
    pub ino: u64,
    pub dev: u64,
    /// The id in `/proc/self/mountinfo`; 0 where the kernel does not say.
    pub mount_id: u64,
    /// Of a device node; 0 otherwise.
    pub rdev: u64,
    pub atime_ns: i64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    /// Birth; 0 where the file system does not keep it.
    pub btime_ns: i64,
    /// `chattr +i`: not even root may write.
    pub immutable: bool,
    /// `chattr +a`.
    pub append_only: bool,
    /// The root of a mount: another file system, or a bind mount.
    pub mount_root: bool,
}

impl Stat {
    /// Whether the modification time is exact, not a value saturated at the
    /// end of what an `i64` of nanoseconds can hold.
    pub fn times_exact(&self) -> bool {
        self.mtime_ns != i64::MAX && self.mtime_ns != i64::MIN
    }
}

/// Of an open descriptor, also one opened with `O_PATH`.
pub fn statx_fd(fd: impl AsFd) -> io::Result<Stat> {
    read(fd, c"", AtFlags::EMPTY_PATH)
}

/// Of the entry `name` of the directory `dir`; a symbolic link is not followed
/// and nothing is auto-mounted.
pub fn statx_at(dir: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    read(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
}

fn read(fd: impl AsFd, path: impl rustix::path::Arg, flags: AtFlags) -> io::Result<Stat> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    let raw = rustix::fs::statx(fd, path, flags, wanted)?;
    let granted = StatxFlags::from_bits_retain(raw.stx_mask);
    let attribute = |bit| raw.stx_attributes.contains(bit);
    Ok(Stat {
        kind: FileKind::from_raw_mode(raw.stx_mode)?,
        mode: u32::from(raw.stx_mode) & 0o7777,
        uid: raw.stx_uid,
        gid: raw.stx_gid,
        nlink: raw.stx_nlink,
        size_bytes: raw.stx_size,
        allocated_bytes: raw.stx_blocks * 512,
        ino: raw.stx_ino,
        dev: device_of(&raw),
        mount_id: if granted.contains(StatxFlags::MNT_ID) { raw.stx_mnt_id } else { 0 },
        rdev: rustix::fs::makedev(raw.stx_rdev_major, raw.stx_rdev_minor),
        atime_ns: nanoseconds(&raw.stx_atime),
        mtime_ns: nanoseconds(&raw.stx_mtime),
        ctime_ns: nanoseconds(&raw.stx_ctime),
        btime_ns: if granted.contains(StatxFlags::BTIME) { nanoseconds(&raw.stx_btime) } else { 0 },
        immutable: attribute(StatxAttributes::IMMUTABLE),
        append_only: attribute(StatxAttributes::APPEND),
        mount_root: attribute(StatxAttributes::MOUNT_ROOT),
    })
}

fn device_of(raw: &Statx) -> u64 {
    rustix::fs::makedev(raw.stx_dev_major, raw.stx_dev_minor)
}

fn nanoseconds(time: &StatxTimestamp) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn statx_agrees_with_the_standard_library() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("f");
        std::fs::write(&path, vec![1; 5000]).expect("write");
        let file = File::open(&path).expect("open");
        let ours = statx_fd(&file).expect("statx");
        let std = file.metadata().expect("fstat");
        assert_eq!(ours.kind, FileKind::File);
        assert_eq!(ours.ino, std.ino());
        assert_eq!(ours.dev, std.dev());
        assert_eq!(ours.size_bytes, 5000);
        assert_eq!(ours.allocated_bytes, std.blocks() * 512);
        assert_eq!(ours.mtime_ns, std.mtime() * 1_000_000_000 + std.mtime_nsec());
        assert_eq!(ours.mode, std.mode() & 0o7777);
        assert_eq!(ours.nlink, 1);
        assert!(!ours.mount_root && !ours.immutable && !ours.append_only);
        assert!(ours.times_exact());
    }

    #[test]
    fn a_link_is_described_and_not_followed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        symlink("/", dir.path().join("l")).expect("symlink");
        let fd = File::open(dir.path()).expect("open");
        assert_eq!(statx_at(&fd, b"l").expect("statx").kind, FileKind::Symlink);
        assert_eq!(statx_at(&fd, b"absent").expect_err("absent").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn kinds_survive_their_code() {
        for (kind, code) in FileKind::CODES {
            assert_eq!(kind.code(), code);
            assert_eq!(FileKind::from_code(code), Some(kind));
        }
        assert_eq!(FileKind::from_code('x'), None);
    }
}
