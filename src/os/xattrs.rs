//! Extended attributes of open files, over the `xattr` crate.
//!
//! "There is no such attribute" and "this file system has none at all" are
//! both `None` when reading and no error when removing. Some names belong to
//! `hsm` ([`is_own`]) and never go into a catalog: they describe the local copy,
//! not the file.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use xattr::FileExt;

/// The marker, set by root: ordinary users can neither see nor forge it.
pub const TRUSTED_MARKER: &str = "trusted.hsm";
/// The marker in an ordinary user's own tree.
pub const USER_MARKER: &str = "user.hsm";
/// What has to be put back after the blocks changed; exists only meanwhile.
pub const TRUSTED_UNDO: &str = "trusted.hsm.undo";
pub const USER_UNDO: &str = "user.hsm.undo";
/// A directory that a restore has made and not yet described ([`super::plant`]).
pub const TRUSTED_UNFINISHED: &str = "trusted.hsm.restoring";
pub const USER_UNFINISHED: &str = "user.hsm.restoring";
/// File capabilities (capabilities(7)), which any write strips.
pub const CAPABILITY: &str = "security.capability";

const OWN: [&str; 6] =
    [TRUSTED_MARKER, USER_MARKER, TRUSTED_UNDO, USER_UNDO, TRUSTED_UNFINISHED, USER_UNFINISHED];

/// Whether an attribute is one of `hsm`'s own.
pub fn is_own(name: &OsStr) -> bool {
    OWN.iter().any(|own| name == *own)
}

/// `None` if the file has no such attribute.
pub fn get(file: &File, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
    match file.get_xattr(name) {
        Err(error) if is_unsupported(&error) => Ok(None),
        found => found,
    }
}

/// As [`get`], of anything that can be opened with `O_PATH`: raises no event.
pub fn get_path_fd(fd: impl AsFd, name: impl AsRef<OsStr>) -> io::Result<Option<Vec<u8>>> {
    match xattr::get_deref(path_of(&fd), name) {
        Err(error) if is_unsupported(&error) => Ok(None),
        found => found,
    }
}

/// Creates or replaces. Visible on return, durable after an fsync.
pub fn set(file: &File, name: impl AsRef<OsStr>, value: &[u8]) -> io::Result<()> {
    file.set_xattr(name, value)
}

/// Whether there was one to remove.
pub fn remove(file: &File, name: impl AsRef<OsStr>) -> io::Result<bool> {
    match file.remove_xattr(name) {
        Ok(()) => Ok(true),
        Err(error) if is_unsupported(&error) || is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// As [`set`], of anything that can be opened with `O_PATH`: raises no event.
pub fn set_path_fd(fd: impl AsFd, name: impl AsRef<OsStr>, value: &[u8]) -> io::Result<()> {
    xattr::set_deref(path_of(&fd), name, value)
}

/// As [`remove`], likewise.
pub fn remove_path_fd(fd: impl AsFd, name: impl AsRef<OsStr>) -> io::Result<bool> {
    match xattr::remove_deref(path_of(&fd), name) {
        Ok(()) => Ok(true),
        Err(error) if is_unsupported(&error) || is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// All attributes that can be read, `hsm`'s own left out, sorted by name. One
/// that cannot be read is skipped with a log line; see [`list_noting`].
pub fn list(file: &File) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    list_noting(file, &mut log_skipped)
}

/// As [`list`]; `skipped` is called for each attribute that cannot be read.
pub fn list_noting(
    file: &File,
    skipped: &mut dyn FnMut(&OsStr, &io::Error),
) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    collect(file.list_xattr(), &|name| file.get_xattr(name), skipped)
}

/// As [`list`], of anything that can be opened with `O_PATH`: a symbolic link
/// or a device has attributes too.
pub fn list_path_fd(fd: impl AsFd) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let path = path_of(&fd);
    collect(xattr::list_deref(&path), &|name| xattr::get_deref(&path, name), &mut log_skipped)
}

/// Leads to the inode itself; a symbolic link reached so is not followed.
fn path_of(fd: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

fn collect(
    names: io::Result<xattr::XAttrs>,
    value_of: &dyn Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
    skipped: &mut dyn FnMut(&OsStr, &io::Error),
) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let names = match names {
        Err(error) if is_unsupported(&error) => return Ok(Vec::new()),
        names => names?,
    };
    let mut pairs = Vec::new();
    for name in names.filter(|name| !is_own(name)) {
        match value_of(&name) {
            Ok(Some(value)) => pairs.push((name, value)),
            Ok(None) => {} // Removed between the two calls.
            Err(error) => skipped(&name, &error),
        }
    }
    pairs.sort();
    Ok(pairs)
}

fn log_skipped(name: &OsStr, error: &io::Error) {
    tracing::warn!(name = %name.to_string_lossy(), %error, "cannot read an extended attribute");
}

fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

fn is_absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENODATA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn an_attribute_is_set_listed_and_removed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = File::create(dir.path().join("f")).expect("create");
        assert_eq!(get(&file, "user.colour").expect("get"), None);
        set(&file, "user.colour", b"\x00blue\xff").expect("set");
        set(&file, "user.empty", b"").expect("set");
        set(&file, USER_MARKER, b"ours").expect("set");
        let expected = vec![
            (OsString::from("user.colour"), b"\x00blue\xff".to_vec()),
            (OsString::from("user.empty"), Vec::new()),
        ];
        let visible = |pairs: Vec<(OsString, Vec<u8>)>| -> Vec<_> {
            let user = |pair: &(OsString, Vec<u8>)| pair.0.to_string_lossy().starts_with("user.");
            pairs.into_iter().filter(user).collect()
        };
        assert_eq!(visible(list(&file).expect("list")), expected);
        assert_eq!(visible(list_path_fd(&file).expect("list")), expected);
        assert!(remove(&file, "user.colour").expect("remove"));
        assert!(!remove(&file, "user.colour").expect("remove"));
    }

    #[test]
    fn a_file_system_without_attributes_has_none() {
        let proc = File::open("/proc/self/status").expect("open");
        assert_eq!(get(&proc, "user.colour").expect("get"), None);
        assert_eq!(list(&proc).expect("list"), Vec::new());
    }

    /// Were the link followed, its target's attribute would show.
    #[test]
    fn a_symbolic_link_has_its_own_attributes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let target = File::create(dir.path().join("target")).expect("create");
        set(&target, "user.colour", b"blue").expect("set");
        symlink("target", dir.path().join("link")).expect("symlink");
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW;
        let link = rustix::fs::open(dir.path().join("link"), flags, rustix::fs::Mode::empty());
        let names = list_path_fd(link.expect("open")).expect("list");
        assert!(!names.iter().any(|(name, _)| name == "user.colour"), "{names:?}");
    }
}
