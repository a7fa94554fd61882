//! From errno to [`ErrorKind`].
//!
//! The line that matters is between "the object is not there" and "the store is
//! not there": only `ENOENT`, and `ENOTDIR` on the way to it, are the former. A
//! dead NFS or FUSE mount answers with the errors of the latter.

use crate::store::{Error, ErrorKind};
use rustix::io::Errno;
use std::io;

fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => ErrorKind::NotFound,
        Errno::EXIST => ErrorKind::AlreadyExists,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => ErrorKind::Full,
        Errno::ROFS => ErrorKind::ReadOnly,
        Errno::ACCESS | Errno::PERM => ErrorKind::Denied,
        Errno::STALE
        | Errno::NOTCONN
        | Errno::HOSTDOWN
        | Errno::HOSTUNREACH
        | Errno::NETDOWN
        | Errno::NETUNREACH
        | Errno::CONNABORTED
        | Errno::CONNREFUSED
        | Errno::TIMEDOUT
        | Errno::NODEV
        | Errno::NXIO
        | Errno::SHUTDOWN => ErrorKind::Unreachable,
        // A link in the store, or a way out of it: nothing that hsm put there.
        Errno::LOOP | Errno::XDEV | Errno::ISDIR | Errno::NAMETOOLONG | Errno::INVAL => {
            ErrorKind::BadRequest
        }
        _ => ErrorKind::Other,
    }
}

/// The store's error for a failed system call.
pub(super) fn error(errno: Errno, operation: &'static str, subject: &str, location: &str) -> Error {
    from_io(errno.into(), operation, subject, location)
}

/// The same for an error that came as [`io::Error`].
pub(super) fn from_io(
    error: io::Error,
    operation: &'static str,
    subject: &str,
    location: &str,
) -> Error {
    let kind = Errno::from_io_error(&error).map_or(ErrorKind::Other, kind_of);
    let kind = match (operation, kind) {
        // A write meets ENOTDIR when another object has the name of one of its
        // directories, and ENOENT only when they vanish while it runs.
        ("put", ErrorKind::NotFound) if error.kind() == io::ErrorKind::NotADirectory => {
            ErrorKind::BadRequest
        }
        ("put" | "open" | "list" | "sweep", ErrorKind::NotFound) => ErrorKind::Unreachable,
        (_, kind) => kind,
    };
    Error::new(kind, operation, subject, location).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_mount_is_never_a_missing_object() {
        for errno in [Errno::STALE, Errno::NOTCONN, Errno::TIMEDOUT, Errno::IO, Errno::NODEV] {
            let kind = error(errno, "get", "packs/x", "file:///s").kind();
            assert_ne!(kind, ErrorKind::NotFound, "{errno:?}");
        }
    }

    #[test]
    fn each_way_of_not_writing_has_its_kind() {
        let kind = |errno| error(errno, "put", "packs/x", "file:///s").kind();
        assert_eq!(kind(Errno::NOSPC), ErrorKind::Full);
        assert_eq!(kind(Errno::DQUOT), ErrorKind::Full);
        assert_eq!(kind(Errno::ROFS), ErrorKind::ReadOnly);
        assert_eq!(kind(Errno::ACCESS), ErrorKind::Denied);
        assert_eq!(kind(Errno::NOTDIR), ErrorKind::BadRequest);
    }
}
