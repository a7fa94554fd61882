//! Would the owner of a file be allowed the blocks that we are about to fill?
//!
//! Root is not bound by disk quotas, so on ext4 an allocation by root never
//! fails with `EDQUOT` however far the owner is beyond his limit: a recall would
//! be a way round the quota. So the kernel is asked first, by quotactl_fd(2)
//! (Linux 5.14) on the file itself. Only limits that are enforced count; ext4
//! may keep the books without enforcing anything.
//!
//! An answer, not a reservation: the room may be gone a moment later, as with
//! free space. Project quotas are not asked for. Structures and units are those
//! of Linux' `include/uapi/linux/quota.h` and `dqblk_xfs.h`, the decision that
//! of `dquot_add_space` in `fs/quota/dquot.c`.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

const USER: u32 = 0;
const GROUP: u32 = 1;
const Q_GETQUOTA: u32 = 0x80_0007;
/// `XQM_CMD(8)`: answered by every file system with quotas, not only by XFS.
const Q_XGETQSTATV: u32 = 0x5808;
const STATV_VERSION: i8 = 1;
/// `FS_QUOTA_UDQ_ENFD` and `FS_QUOTA_GDQ_ENFD`.
const ENFORCED: [(u32, u16); 2] = [(USER, 1 << 1), (GROUP, 1 << 3)];
/// Limits are counted in these, use is in bytes.
const LIMIT_UNIT_BYTES: u64 = 1024;

/// Whose quota it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    User(u32),
    Group(u32),
}

/// What the quotas say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Enough,
    /// Nothing limits this owner here, or nobody can say.
    NoQuota,
    /// The hard limit, or the soft one when its grace has run out.
    Exceeded {
        account: Account,
        used_bytes: u64,
        limit_bytes: u64,
    },
}

/// `struct fs_quota_statv`; only its flags are of interest.
#[repr(C)]
struct Statv {
    version: i8,
    _pad: u8,
    flags: u16,
    _rest: [u32; 39],
}

const _: () = assert!(size_of::<Statv>() == 160);

/// May `uid` and `gid` take `bytes` more on the file system that `file` is on?
/// Root's own files are not limited. `EPERM` for an ordinary user who asks
/// about somebody else.
pub fn room_for(file: impl AsFd, uid: u32, gid: u32, bytes: u64, now_ns: i64) -> io::Result<Room> {
    if uid == 0 {
        return Ok(Room::NoQuota);
    }
    let mut room = Room::NoQuota;
    for kind in enforced(&file)? {
        let (account, id) = match kind {
            USER => (Account::User(uid), uid),
            _ => (Account::Group(gid), gid),
        };
        let Some(quota) = quota_of(&file, kind, id)? else { continue };
        if let Some(limit_bytes) = limit_in_the_way(&quota, bytes, now_ns) {
            let used_bytes = quota.dqb_curspace;
            return Ok(Room::Exceeded { account, used_bytes, limit_bytes });
        }
        room = Room::Enough;
    }
    Ok(room)
}

/// The kinds of quota whose limits bind, of this file system.
fn enforced(file: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut state = Statv { version: STATV_VERSION, _pad: 0, flags: 0, _rest: [0; 39] };
    // SAFETY: the kernel writes a `struct fs_quota_statv`, which is as long as
    // `Statv` and made of integers.
    let known = unsafe { quotactl(file, Q_XGETQSTATV, USER, 0, &raw mut state) }?;
    let bound = |flag: u16| known && state.flags & flag != 0;
    Ok(ENFORCED.into_iter().filter(|(_, flag)| bound(*flag)).map(|(kind, _)| kind).collect())
}

/// `None` if there is none for this id.
fn quota_of(file: &impl AsFd, kind: u32, id: u32) -> io::Result<Option<libc::dqblk>> {
    let mut quota = no_limits();
    // SAFETY: the kernel writes a `struct if_dqblk`, which libc calls `dqblk`.
    let known = unsafe { quotactl(file, Q_GETQUOTA, kind, id, &raw mut quota) }?;
    Ok(known.then_some(quota))
}

fn no_limits() -> libc::dqblk {
    libc::dqblk {
        dqb_bhardlimit: 0,
        dqb_bsoftlimit: 0,
        dqb_curspace: 0,
        dqb_ihardlimit: 0,
        dqb_isoftlimit: 0,
        dqb_curinodes: 0,
        dqb_btime: 0,
        dqb_itime: 0,
        dqb_valid: 0,
    }
}

/// The limit, in bytes, that `bytes` more would go beyond. A limit of 0 is none.
fn limit_in_the_way(quota: &libc::dqblk, bytes: u64, now_ns: i64) -> Option<u64> {
    let wanted = quota.dqb_curspace.saturating_add(bytes);
    let beyond = |limit: u64| {
        let limit_bytes = limit.saturating_mul(LIMIT_UNIT_BYTES);
        (limit != 0 && wanted > limit_bytes).then_some(limit_bytes)
    };
    // Seconds since the epoch; 0 while the use is below the soft limit.
    let now_s = u64::try_from(now_ns / 1_000_000_000).unwrap_or(0);
    let grace_over = quota.dqb_btime != 0 && now_s >= quota.dqb_btime;
    let soft = if grace_over { beyond(quota.dqb_bsoftlimit) } else { None };
    beyond(quota.dqb_bhardlimit).or(soft)
}

/// Whether there was an answer: `false` where the kernel, the file system or
/// this id has no quotas (XFS: `ENOENT`).
///
/// # Safety
/// `data` must be what `command` reads or writes.
unsafe fn quotactl<T>(
    file: &impl AsFd,
    command: u32,
    kind: u32,
    id: u32,
    data: *mut T,
) -> io::Result<bool> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: the caller's promise; the descriptor lives as long as `file`.
    let result = unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, command << 8 | kind, id, data) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::ESRCH | libc::ENOENT | libc::EOPNOTSUPP | libc::EINVAL) => {
            Ok(false)
        }
        _ => Err(error),
    }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
