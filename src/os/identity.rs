//! Which file system, and which directory of it, a root is.
//!
//! Guards against an empty mount point, a vanished disk or another file system
//! in its place: from the wrong tree one would conclude that every file was
//! deleted. The identity is the file system's own UUID and the root directory's
//! inode with its generation. All of them are stored on the disk, so they stay
//! the same over a remount, a reboot and another device name; a device number
//! would not, and is not part of it. A tmpfs gets a new one with each mount, as
//! it should: its files are gone.
//!
//! The UUID comes from `FS_IOC_GETFSUUID` (Linux 6.9); before that from the
//! file system's own call; at last `f_fsid` of `statfs`, marked `fsid-`, which
//! ext4 derives from its UUID too.

use super::handle::generation;
use super::mounts;
use super::stat::statx_fd;
use rustix::ioctl::{Opcode, opcode};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::str::FromStr;

/// A file system and one directory of it. Its text form is one line without
/// spaces: `ext4:UUID:INODE:GENERATION`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FsIdentity {
    /// As in the third field of fstab: `ext4`.
    pub kind: String,
    /// The file system's UUID; for btrfs followed by `+` and the subvolume's
    /// `f_fsid`, because every subvolume has the same root inode.
    pub uuid: String,
    pub root_ino: u64,
    pub root_generation: u32,
}

/// A text that is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a file system identity: {0:?}")]
pub struct BadIdentity(String);

impl fmt::Display for FsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.kind, self.uuid, self.root_ino, self.root_generation)
    }
}

impl FromStr for FsIdentity {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        let bad = || BadIdentity(text.to_owned());
        let mut fields = text.split(':');
        let mut next = || fields.next().filter(|field| !field.is_empty()).ok_or_else(bad);
        let identity = Self {
            kind: next()?.to_owned(),
            uuid: next()?.to_owned(),
            root_ino: next()?.parse().map_err(|_| bad())?,
            root_generation: next()?.parse().map_err(|_| bad())?,
        };
        if fields.next().is_some() { Err(bad()) } else { Ok(identity) }
    }
}

/// Of an open directory, not opened with `O_PATH`. `Unsupported` on a file
/// system without inode generations.
pub fn of_root(dir: impl AsFd) -> io::Result<FsIdentity> {
    let stat = statx_fd(&dir)?;
    let kind = fs_kind(&dir, stat.mount_id)?;
    Ok(FsIdentity {
        uuid: fs_uuid(&dir, &kind)?,
        kind,
        root_ino: stat.ino,
        root_generation: generation(&dir)?,
    })
}

/// By magic number, so that ext4 is `ext4` however it was mounted.
fn fs_kind(dir: &impl AsFd, mount_id: u64) -> io::Result<String> {
    let magic = rustix::fs::fstatfs(dir)?.f_type as u32;
    let known = match magic {
        0x0000_ef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0xf2f5_2010 => "f2fs",
        0xca45_1a4e => "bcachefs",
        0x2fc1_2fc1 => "zfs",
        _ => return Ok(mounts::fs_type_of(mount_id)?.unwrap_or_else(|| format!("{magic:#x}"))),
    };
    Ok(known.to_owned())
}

fn fs_uuid(dir: &impl AsFd, kind: &str) -> io::Result<String> {
    let fsid = rustix::fs::fstatvfs(dir)?.f_fsid;
    let uuid = generic_uuid(dir).or_else(|| match kind {
        "ext4" => ext4_uuid(dir),
        "xfs" => xfs_uuid(dir),
        "btrfs" => btrfs_uuid(dir),
        _ => None,
    });
    Ok(match uuid {
        Some(uuid) if kind == "btrfs" => format!("{}+{fsid:016x}", uuid::Uuid::from_bytes(uuid)),
        Some(uuid) => uuid::Uuid::from_bytes(uuid).to_string(),
        None => format!("fsid-{fsid:016x}"),
    })
}

/// `FS_IOC_GETFSUUID`, `struct fsuuid2` of `include/uapi/linux/fs.h`.
fn generic_uuid(dir: &impl AsFd) -> Option<[u8; 16]> {
    let mut answer = [0u8; 17];
    answer_of(dir, opcode::read::<[u8; 17]>(0x15, 0), &mut answer)?;
    if answer[0] == 16 { uuid_at(&answer, 1) } else { None }
}

/// `EXT4_IOC_GETFSUUID` (Linux 6.0): length, flags, then the UUID.
fn ext4_uuid(dir: &impl AsFd) -> Option<[u8; 16]> {
    let mut answer = [0u8; 24];
    answer[0..4].copy_from_slice(&16u32.to_ne_bytes());
    answer_of(dir, opcode::read::<[u8; 8]>(b'f', 44), &mut answer)?;
    uuid_at(&answer, 8)
}

/// `XFS_IOC_FSGEOMETRY_V1` of xfsprogs' `xfs_fs.h`: the UUID follows eight
/// 32-bit and four 64-bit fields.
fn xfs_uuid(dir: &impl AsFd) -> Option<[u8; 16]> {
    let mut answer = [0u8; 112];
    answer_of(dir, opcode::read::<[u8; 112]>(b'X', 100), &mut answer)?;
    uuid_at(&answer, 64)
}

/// `BTRFS_IOC_FS_INFO` of `include/uapi/linux/btrfs.h`: the UUID follows two
/// 64-bit fields.
fn btrfs_uuid(dir: &impl AsFd) -> Option<[u8; 16]> {
    let mut answer = [0u8; 1024];
    answer_of(dir, opcode::read::<[u8; 1024]>(0x94, 31), &mut answer)?;
    uuid_at(&answer, 16)
}

/// `None` also for the all-zero UUID of a file system that has none.
fn uuid_at(answer: &[u8], start: usize) -> Option<[u8; 16]> {
    let uuid: [u8; 16] = answer.get(start..start + 16)?.try_into().ok()?;
    (uuid != [0; 16]).then_some(uuid)
}

/// `None` where the file system does not know the request.
fn answer_of(dir: &impl AsFd, request: Opcode, answer: &mut [u8]) -> Option<()> {
    // SAFETY: each caller passes a buffer at least as long as the structure of
    // its request, and none of those structures holds a pointer.
    let result = unsafe {
        libc::ioctl(dir.as_fd().as_raw_fd(), request as libc::Ioctl, answer.as_mut_ptr())
    };
    (result == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::loopfs::{FsKind, LoopFs};
    use std::fs::File;
    use std::path::Path;

    fn of(path: &Path) -> FsIdentity {
        of_root(File::open(path).expect("open")).expect("an identity")
    }

    #[test]
    fn the_text_form_is_read_back_and_a_bad_one_refused() {
        let identity = FsIdentity {
            kind: "ext4".into(),
            uuid: "0a0b0c0d-0000-4000-8000-000000000001".into(),
            root_ino: 2,
            root_generation: 9,
        };
        assert_eq!(identity.to_string().parse(), Ok(identity.clone()));
        for bad in ["", "ext4", "ext4:u:2", "ext4:u:x:1", "ext4::2:1", "ext4:u:2:1:5"] {
            assert!(bad.parse::<FsIdentity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn two_directories_of_one_file_system_differ_only_in_the_root() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("a")).expect("mkdir");
        let (outer, inner) = (of(dir.path()), of(&dir.path().join("a")));
        assert_eq!((&outer.kind, &outer.uuid), (&inner.kind, &inner.uuid));
        assert_ne!(outer, inner);
    }

    #[test]
    fn the_identity_outlives_a_remount_on_another_device_and_differs_between_two() {
        let test = "the_identity_outlives_a_remount";
        for kind in FsKind::ALL {
            let (Some(mut one), Some(two)) = (LoopFs::new(test, kind), LoopFs::new(test, kind))
            else {
                continue;
            };
            let before = of(one.path());
            assert_ne!(before.uuid, of(two.path()).uuid, "{kind:?}");
            one.remount();
            assert_eq!(of(one.path()), before, "{kind:?}");
            assert_eq!(before.kind, kind.fs_type());
        }
    }

    /// A kernel older than `FS_IOC_GETFSUUID` gives the same identity, so that
    /// its successor does not find another file system.
    #[test]
    fn the_older_calls_give_the_same_uuid() {
        for kind in FsKind::ALL {
            let Some(fs) = LoopFs::new("the_older_calls_give_the_same_uuid", kind) else {
                continue;
            };
            let dir = File::open(fs.path()).expect("open");
            let old = match kind.fs_type() {
                "ext4" => ext4_uuid(&dir),
                "xfs" => xfs_uuid(&dir),
                _ => btrfs_uuid(&dir),
            };
            let old = old.expect("a uuid");
            let told = of(fs.path()).uuid;
            assert!(told.starts_with(&uuid::Uuid::from_bytes(old).to_string()), "{kind:?}: {told}");
            if let Some(new) = generic_uuid(&dir) {
                assert_eq!(new, old, "{kind:?}");
            }
        }
    }
}
