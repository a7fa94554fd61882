//! Owner, attributes, mode, times: in this order, for each undoes or hinders
//! what comes later in another.
//!
//! A change of owner strips set-id bits and capabilities. A set ACL rewrites the
//! mode, and an ordinary owner can set `user.*` only while the mode lets them
//! write. The times are last because a later step might be a change.
//!
//! What the system refuses is told and never makes the object more open than
//! recorded: without its owner a file gets no set-id bit, and without its ACL no
//! group permission that the ACL did not give the group.
//!
//! An object inherits an ACL from the directory that it is made in, whoever set
//! that; it goes before the mode comes.

use super::super::blocks::timespec;
use super::super::stat::{FileKind, statx_fd};
use super::super::xattrs;
use rustix::fs::{AtFlags, Gid, Mode, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

const ACCESS_ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";

/// How something is to look. Names of attributes that are `hsm`'s own are passed
/// over wherever they come from.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// 07777; a symbolic link has none.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime_ns: i64,
    /// `None` leaves it as it is.
    pub atime_ns: Option<i64>,
    /// Names and raw values, ACLs and capabilities among them.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// A part of [`Attributes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    Owner,
    Mode,
    Xattr(Vec<u8>),
    Times,
}

/// What could not be set, and why.
#[derive(Debug)]
pub struct Refusal {
    pub what: Attribute,
    pub error: io::Error,
}

impl fmt::Display for Attribute {
    /// Printable on any terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("owner"),
            Self::Mode => f.write_str("mode"),
            Self::Xattr(name) => write!(f, "attribute {}", name.escape_ascii()),
            Self::Times => f.write_str("times"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

/// Of anything open, also with `O_PATH`; raises no event.
pub(super) fn apply(fd: BorrowedFd<'_>, kind: FileKind, wanted: &Attributes<'_>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut note = |what: Attribute, error: io::Error| refusals.push(Refusal { what, error });
    let mut mode = wanted.mode & 0o7777;
    if let Err(error) = give(fd, wanted.uid, wanted.gid) {
        mode &= !foreign_set_ids(fd, kind, wanted);
        note(Attribute::Owner, error);
    }
    for (name, error) in inherited_acls_left(fd, kind, wanted.xattrs) {
        note(Attribute::Xattr(name.into()), error);
    }
    for (name, value) in wanted.xattrs {
        let own = xattrs::is_own(OsStr::from_bytes(name));
        if own {
            continue;
        }
        if let Err(error) = xattrs::set_path_fd(fd, OsStr::from_bytes(name), value) {
            if name == ACCESS_ACL.as_bytes() {
                mode = narrowed(mode, value);
            }
            note(Attribute::Xattr(name.clone()), error);
        }
    }
    if kind != FileKind::Symlink {
        let lead = format!("/proc/self/fd/{}", fd.as_raw_fd());
        match rustix::fs::chmod(lead, Mode::from_raw_mode(mode)) {
            Err(errno) => note(Attribute::Mode, errno.into()),
            Ok(()) if mode & 0o6000 != wanted.mode & 0o6000 => {
                let why = "a set-id bit is for the owner that it was given by";
                note(Attribute::Mode, io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
            Ok(()) => {}
        }
    }
    let times = Timestamps {
        last_access: timespec(wanted.atime_ns),
        last_modification: timespec(Some(wanted.mtime_ns)),
    };
    if let Err(errno) = rustix::fs::utimensat(fd, c"", &times, AtFlags::EMPTY_PATH) {
        note(Attribute::Times, errno.into());
    }
    refusals
}

/// An ordinary user can at least choose among their groups.
fn give(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL.into()); // To the kernel: "leave it".
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let chown = |uid| rustix::fs::chownat(fd, c"", uid, Some(gid), AtFlags::EMPTY_PATH);
    match chown(Some(uid)) {
        Err(errno) => {
            let _ = chown(None);
            Err(errno.into())
        }
        Ok(()) => Ok(()),
    }
}

/// The set-id bits that would lend somebody else's rights. A directory's lend
/// none.
fn foreign_set_ids(fd: BorrowedFd<'_>, kind: FileKind, wanted: &Attributes<'_>) -> u32 {
    let Ok(stat) = statx_fd(fd) else { return 0o6000 };
    if kind == FileKind::Dir {
        return 0;
    }
    let of_user = if stat.uid == wanted.uid { 0 } else { 0o4000 };
    let of_group = if stat.gid == wanted.gid { 0 } else { 0o2000 };
    of_user | of_group
}

/// Takes off the ACLs that are not to be there; those that stay, with the reason.
fn inherited_acls_left(
    fd: BorrowedFd<'_>,
    kind: FileKind,
    wanted: &[(Vec<u8>, Vec<u8>)],
) -> Vec<(&'static str, io::Error)> {
    let possible: &[&str] = match kind {
        FileKind::Symlink => &[],
        FileKind::Dir => &[ACCESS_ACL, DEFAULT_ACL],
        _ => &[ACCESS_ACL],
    };
    let unwanted =
        possible.iter().filter(|acl| !wanted.iter().any(|(name, _)| name == acl.as_bytes()));
    let take_off = |acl: &str| match xattrs::get_path_fd(fd, acl)? {
        Some(_) => xattrs::remove_path_fd(fd, acl).map(drop),
        None => Ok(()),
    };
    unwanted.filter_map(|acl| take_off(acl).err().map(|error| (*acl, error))).collect()
}

/// Where there is an ACL, the mode shows its mask for the group; without it that
/// would be the group's permission. The layout is `struct posix_acl_xattr_header`
/// of Linux' `include/uapi/linux/posix_acl_xattr.h`: a version, then entries of
/// tag, permissions and id.
fn narrowed(mode: u32, acl: &[u8]) -> u32 {
    const GROUP_OBJ: u16 = 0x04;
    let entries = acl.get(4..).unwrap_or_default().chunks_exact(8);
    let of_group = entries
        .filter(|entry| u16::from_le_bytes([entry[0], entry[1]]) == GROUP_OBJ)
        .map(|entry| u32::from(u16::from_le_bytes([entry[2], entry[3]])) & 0o7)
        .fold(0o7, |all, permissions| all & permissions);
    mode & !(0o070 & !(of_group << 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_without_its_acl_gives_the_group_no_more() {
        let mut acl = 2u32.to_le_bytes().to_vec();
        for (tag, permissions) in [(1u16, 6u16), (2, 7), (4, 4), (16, 7), (32, 0)] {
            acl.extend(tag.to_le_bytes());
            acl.extend(permissions.to_le_bytes());
            acl.extend(1234u32.to_le_bytes());
        }
        assert_eq!(narrowed(0o674, &acl), 0o644);
        assert_eq!(narrowed(0o4624, &acl), 0o4604);
        assert_eq!(narrowed(0o640, b"no ACL"), 0o640);
    }

    #[test]
    fn a_refusal_is_one_printable_line() {
        let what = Attribute::Xattr(b"user.\x1b[31m".to_vec());
        let refusal = Refusal { what, error: Errno::PERM.into() };
        assert!(refusal.to_string().starts_with(r"attribute user.\x1b[31m: Operation not"));
    }
}
