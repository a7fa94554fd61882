//! Facts about mounts, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
//!
//! For `doctor` and for decisions that depend on how a file system is mounted:
//! whether access times mean anything, whether a journal orders the marker
//! before the punch, and by which other mounts the same files can be reached.

use super::stat::statx_fd;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// How a mount keeps access times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtimeMode {
    /// Never updated: rules on access times see only writes and recalls.
    Never,
    /// Updated at most once a day, or after a change.
    Relative,
    Always,
}

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub id: u64,
    pub major: u32,
    pub minor: u32,
    /// Which directory of the file system is seen here; `/` unless this is a
    /// bind mount or a subvolume.
    pub fs_root: PathBuf,
    pub mount_point: PathBuf,
    /// Of this mount: `rw`, `noatime`, `nosuid` ...
    pub options: Vec<String>,
    pub fs_type: String,
    pub source: OsString,
    /// Of the file system, whichever mount it is seen through.
    pub super_options: Vec<String>,
}

/// A mounted file system, whichever mount or subvolume it is seen through: the
/// device that mountinfo shows. `st_dev` is the same number except on btrfs,
/// where every subvolume has one of its own. A name for as long as the file
/// system stays mounted; [`super::FsIdentity`] is for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Superblock {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for Superblock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What matters about the mount a path is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFacts {
    pub mount: Mount,
    /// `None` where it cannot be told.
    pub has_journal: Option<bool>,
    /// Other places where files of the same file system can be reached.
    pub also_at: Vec<PathBuf>,
}

impl Mount {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }

    pub fn superblock(&self) -> Superblock {
        Superblock { major: self.major, minor: self.minor }
    }

    pub fn read_only(&self) -> bool {
        self.has("ro") || self.super_options.iter().any(|own| own == "ro")
    }

    pub fn atime(&self) -> AtimeMode {
        if self.has("noatime") {
            AtimeMode::Never
        } else if self.has("relatime") {
            AtimeMode::Relative
        } else {
            AtimeMode::Always
        }
    }
}

/// Of the mount that `path` is on.
pub fn facts(path: &Path) -> io::Result<MountFacts> {
    let id = statx_fd(File::open(path)?)?.mount_id;
    let (mut own, others) = all()?.into_iter().partition::<Vec<_>, _>(|mount| mount.id == id);
    let mount = own.pop().ok_or_else(not_listed)?;
    let same_fs = |other: &Mount| other.superblock() == mount.superblock();
    let also_at = others.into_iter().filter(same_fs).map(|other| other.mount_point).collect();
    Ok(MountFacts { has_journal: has_journal(&mount), also_at, mount })
}

/// The mount that `path` is on, found without opening it: no event is raised.
/// The last component is followed if it is a link, also one of `/proc`.
pub fn of(path: &Path) -> io::Result<Mount> {
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let id = statx_fd(fd)?.mount_id;
    all()?.into_iter().find(|mount| mount.id == id).ok_or_else(not_listed)
}

fn not_listed() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the mount is not in /proc/self/mountinfo")
}

/// Every mount of this mount namespace.
pub fn all() -> io::Result<Vec<Mount>> {
    let text = std::fs::read("/proc/self/mountinfo")?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse_line).collect())
}

/// The type name of the mount with this id.
pub(super) fn fs_type_of(mount_id: u64) -> io::Result<Option<String>> {
    Ok(all()?.into_iter().find(|mount| mount.id == mount_id).map(|mount| mount.fs_type))
}

/// ext4 shows a data mode in `/proc/fs/ext4` only when there is a journal to
/// give it meaning; xfs always has a log, btrfs needs none.
fn has_journal(mount: &Mount) -> Option<bool> {
    match mount.fs_type.as_str() {
        "xfs" | "btrfs" => Some(true),
        "ext2" | "vfat" | "exfat" => Some(false),
        "ext3" | "ext4" => {
            let device = format!("/sys/dev/block/{}:{}", mount.major, mount.minor);
            let device = std::fs::canonicalize(device).ok()?;
            let name = device.file_name()?.to_str()?.replace('!', "/");
            let options = std::fs::read_to_string(format!("/proc/fs/ext4/{name}/options")).ok()?;
            Some(options.lines().any(|line| line.starts_with("data=")))
        }
        _ => None,
    }
}

/// `None` for a line that does not have the fields of proc_pid_mountinfo(5).
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut text = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let id = text()?.parse().ok()?;
    let _parent = text()?;
    let (major, minor) = text()?.split_once(':')?;
    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
    let fs_root = unescape(fields.next()?).into();
    let mount_point = unescape(fields.next()?).into();
    let options = options(fields.next()?);
    fields.find(|field| *field == b"-")?;
    let fs_type = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescape(fields.next()?);
    let super_options = self::options(fields.next()?);
    Some(Mount { id, major, minor, fs_root, mount_point, options, fs_type, source, super_options })
}

fn options(field: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(field).split(',').map(str::to_owned).collect()
}

/// Space, tab, newline and backslash are written as three octal digits, by the
/// kernel and in fstab(5).
pub fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::loopfs::{FsKind, LoopFs};

    #[test]
    fn a_line_with_optional_fields_and_escapes_is_read() {
        let line = b"36 35 98:0 /a\\040b /mnt\\011x rw,noatime master:1 shared:2 - ext4 /dev/x ro,errors=continue";
        let mount = parse_line(line).expect("a good line");
        assert_eq!(mount.id, 36);
        assert_eq!((mount.major, mount.minor), (98, 0));
        assert_eq!(mount.fs_root, Path::new("/a b"));
        assert_eq!(mount.mount_point, Path::new("/mnt\tx"));
        assert_eq!(mount.fs_type, "ext4");
        assert_eq!(mount.source, "/dev/x");
        assert_eq!(mount.atime(), AtimeMode::Never);
        assert!(mount.read_only());
        assert_eq!(parse_line(b"36 35 98:0 /"), None);
        assert_eq!(parse_line(b""), None);
    }

    #[test]
    fn the_root_directory_is_on_a_mount_of_a_type() {
        let facts = facts(Path::new("/")).expect("mountinfo");
        assert_eq!(facts.mount.mount_point, Path::new("/"));
        assert!(!facts.mount.fs_type.is_empty());
    }

    #[test]
    fn a_journal_is_told_from_none() {
        for kind in FsKind::ALL {
            let Some(fs) = LoopFs::new("a_journal_is_told_from_none", kind) else { continue };
            let facts = facts(fs.path()).expect("mountinfo");
            assert_eq!(facts.has_journal, Some(kind != FsKind::Ext4NoJournal), "{kind:?}");
            assert_eq!(facts.mount.fs_type, kind.fs_type());
            assert_eq!(facts.also_at, Vec::<PathBuf>::new());
        }
    }
}
