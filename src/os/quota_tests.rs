//! Limits of made-up users on real file systems.

use super::*;
use crate::os::loopfs::{FsKind, LoopFs};
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

const Q_QUOTAON: u32 = 0x80_0002;
const Q_SETQUOTA: u32 = 0x80_0008;
/// `QIF_BLIMITS`.
const BLOCK_LIMITS: u32 = 1;
const UID: u32 = 54321;
const GID: u32 = 54322;
const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// The image of a [`LoopFs`] that is not mounted, mounted with quotas.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// `None`, loudly, if the kernel is built without quotas for this file
    /// system (`CONFIG_QFMT_V2`, `CONFIG_XFS_QUOTA`): no privilege would help.
    fn new(test: &str, at: &'a Path, options: &str) -> Option<Self> {
        let image = at.with_file_name("image");
        let output = Command::new("mount").args(["-o", options]).args([&image, at]).output();
        let output = output.expect("it starts");
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            eprintln!("SKIPPED {test}: this kernel mounts no quotas: {error}");
            return None;
        }
        Some(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let unmounted = || Command::new("umount").arg(self.0).status().expect("it starts");
        let _ = (0..100).any(|_| unmounted().success());
    }
}

fn set_limits(file: &File, kind: u32, id: u32, hard_kib: u64, soft_kib: u64) {
    let mut quota = no_limits();
    quota.dqb_bhardlimit = hard_kib;
    quota.dqb_bsoftlimit = soft_kib;
    quota.dqb_valid = BLOCK_LIMITS;
    // SAFETY: the kernel reads a `struct if_dqblk`.
    assert!(unsafe { quotactl(file, Q_SETQUOTA, kind, id, &raw mut quota) }.expect("set limits"));
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_nanos()).expect("before 2262")
}

/// A file of 1 MiB of the made-up user.
fn owned_file(dir: &Path) -> File {
    let path = dir.join("f");
    let file = File::create(&path).expect("create");
    std::os::unix::fs::chown(&path, Some(UID), Some(GID)).expect("chown");
    std::fs::write(&path, vec![7; 1 << 20]).expect("write");
    file.sync_all().expect("sync");
    file
}

fn limits_bind(file: &File) {
    let now = now_ns();
    let room = |bytes| room_for(file, UID, GID, bytes, now).expect("an answer");
    assert_eq!(room(1 << 40), Room::Enough, "no limit is set");

    set_limits(file, USER, UID, 2048, 0);
    assert_eq!(room(1 << 20), Room::Enough);
    let Room::Exceeded { account, used_bytes, limit_bytes } = room((1 << 20) + 1) else {
        panic!("the hard limit does not bind")
    };
    assert_eq!((account, limit_bytes), (Account::User(UID), 2 << 20));
    assert_eq!(used_bytes, 1 << 20);
    assert_eq!(room_for(file, 0, GID, 1 << 40, now).expect("an answer"), Room::NoQuota);
    assert_eq!(room_for(file, UID + 9, GID, 1 << 30, now).expect("an answer"), Room::Enough);

    set_limits(file, USER, UID, 0, 512);
    assert_eq!(room(1 << 20), Room::Enough, "the grace has just begun");
    let later = room_for(file, UID, GID, 1, now + 30 * DAY_NS).expect("an answer");
    assert!(matches!(later, Room::Exceeded { limit_bytes: 0x8_0000, .. }), "{later:?}");

    set_limits(file, USER, UID, 0, 0);
    set_limits(file, GROUP, GID, 1024, 0);
    let room = room(1);
    assert!(matches!(room, Room::Exceeded { account: Account::Group(GID), .. }), "{room:?}");
}

#[test]
fn limits_bind_on_ext4_once_they_are_enforced() {
    let test = "limits_bind_on_ext4_once_they_are_enforced";
    let Some(mut fs) = LoopFs::new(test, FsKind::Ext4) else { return };
    let plain = owned_file(fs.path());
    let room = room_for(&plain, UID, GID, 1 << 40, now_ns()).expect("an answer");
    assert_eq!(room, Room::NoQuota, "without the feature");
    drop(plain);
    fs.unmount();
    let image = fs.path().with_file_name("image");
    let mut tune = Command::new("tune2fs");
    tune.args(["-O", "quota", "-Q", "usrquota,grpquota"]).arg(image);
    assert!(tune.output().expect("it starts").status.success());
    let Some(_mounted) = Mounted::new(test, fs.path(), "loop") else { return };
    let file = File::open(fs.path().join("f")).expect("open");
    set_limits(&file, USER, UID, 1, 0);
    let room = room_for(&file, UID, GID, 1 << 40, now_ns()).expect("an answer");
    assert_eq!(room, Room::NoQuota, "the books are kept, nothing more");
    set_limits(&file, USER, UID, 0, 0);
    for kind in [USER, GROUP] {
        // SAFETY: with its own quota inodes the file system reads nothing.
        let on = unsafe { quotactl(&file, Q_QUOTAON, kind, 0, std::ptr::null_mut::<u8>()) };
        assert!(on.expect("turn it on"));
    }
    limits_bind(&file);
}

#[test]
fn limits_bind_on_xfs() {
    let test = "limits_bind_on_xfs";
    let Some(mut fs) = LoopFs::new(test, FsKind::Xfs) else { return };
    let room = room_for(owned_file(fs.path()), UID, GID, 1 << 40, now_ns()).expect("an answer");
    assert_eq!(room, Room::NoQuota, "mounted without");
    fs.unmount();
    let Some(_mounted) = Mounted::new(test, fs.path(), "loop,uquota,gquota") else { return };
    let file = File::open(fs.path().join("f")).expect("open");
    limits_bind(&file);
}

#[test]
fn where_there_are_no_quotas_nothing_is_refused() {
    let Some(fs) = LoopFs::new("where_there_are_no_quotas", FsKind::Btrfs) else { return };
    let room = room_for(owned_file(fs.path()), UID, GID, 1 << 40, now_ns()).expect("an answer");
    assert_eq!(room, Room::NoQuota);
    let proc = File::open("/proc/self/status").expect("open");
    assert_eq!(room_for(proc, UID, GID, 1, now_ns()).expect("an answer"), Room::NoQuota);
}

#[test]
fn the_kernels_rule_is_ours() {
    let mut quota = no_limits();
    assert_eq!(limit_in_the_way(&quota, u64::MAX, 0), None, "0 is no limit");
    quota.dqb_curspace = 1000;
    quota.dqb_bhardlimit = 1;
    assert_eq!(limit_in_the_way(&quota, 24, 0), None);
    assert_eq!(limit_in_the_way(&quota, 25, 0), Some(1024));
    quota.dqb_bhardlimit = 2;
    quota.dqb_bsoftlimit = 1;
    quota.dqb_btime = 100;
    assert_eq!(limit_in_the_way(&quota, 25, 99_999_999_999), None);
    assert_eq!(limit_in_the_way(&quota, 25, 100_000_000_000), Some(1024));
    assert_eq!(limit_in_the_way(&quota, 24, 100_000_000_000), None);
}
