//! statx, no follow (stand-in).

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use std::io;
use std::os::fd::AsFd;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub kind: FileKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub size_bytes: u64,
    pub allocated_bytes: u64,
    pub ino: u64,
    pub dev: u64,
    pub mount_id: u64,
    pub rdev: u64,
    pub atime_ns: i64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub btime_ns: i64,
    pub immutable: bool,
    pub append_only: bool,
    pub mount_root: bool,
}

pub fn statx_fd(fd: impl AsFd) -> io::Result<Stat> {
    statx(fd, b"", AtFlags::EMPTY_PATH)
}

pub fn statx_at(dir: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    statx(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn statx(fd: impl AsFd, name: &[u8], flags: AtFlags) -> io::Result<Stat> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    let s = rustix::fs::statx(fd, name, flags | AtFlags::NO_AUTOMOUNT, mask)?;
    let ns = |t: rustix::fs::StatxTimestamp| t.tv_sec * 1_000_000_000 + i64::from(t.tv_nsec);
    let has_btime = s.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(Stat {
        kind: kind(s.stx_mode),
        mode: u32::from(s.stx_mode) & 0o7777,
        uid: s.stx_uid,
        gid: s.stx_gid,
        nlink: s.stx_nlink,
        size_bytes: s.stx_size,
        allocated_bytes: s.stx_blocks * 512,
        ino: s.stx_ino,
        dev: rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor),
        mount_id: s.stx_mnt_id,
        rdev: rustix::fs::makedev(s.stx_rdev_major, s.stx_rdev_minor),
        atime_ns: ns(s.stx_atime),
        mtime_ns: ns(s.stx_mtime),
        ctime_ns: ns(s.stx_ctime),
        btime_ns: if has_btime { ns(s.stx_btime) } else { 0 },
        immutable: s.stx_attributes.contains(StatxAttributes::IMMUTABLE),
        append_only: s.stx_attributes.contains(StatxAttributes::APPEND),
        mount_root: s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
    })
}

fn kind(mode: u16) -> FileKind {
    match u32::from(mode) & libc::S_IFMT {
        libc::S_IFREG => FileKind::File,
        libc::S_IFDIR => FileKind::Dir,
        libc::S_IFLNK => FileKind::Symlink,
        libc::S_IFIFO => FileKind::Fifo,
        libc::S_IFSOCK => FileKind::Socket,
        libc::S_IFCHR => FileKind::CharDevice,
        _ => FileKind::BlockDevice,
    }
}
