//! Taking away what was looked at, and nothing else.

use super::place::{LITTER, same};
use super::{Plantation, is};
use crate::fault;
use crate::os::relpath::RelPath;
use crate::os::stat::{FileKind, Stat, statx_at};
use rustix::fs::{AtFlags, OFlags, RenameFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;

/// What became of something to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    Removed,
    /// It is another by now, or a directory with something in it; nothing was
    /// changed.
    Kept,
}

impl Plantation {
    /// Removes what the caller has looked at ([`Plantation::lookup`]). A file that
    /// was written to since stays.
    pub fn remove(&mut self, path: &RelPath, expected: &Stat) -> io::Result<Removed> {
        let Some(parent) = path.parent() else { return Ok(Removed::Kept) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let dir = match self.resolve(&parent, flags) {
            Err(error) if is(&error, Errno::NOENT) => return Ok(Removed::Removed),
            resolved => resolved?,
        };
        fault::effect("plant.remove")?;
        match expected.kind {
            FileKind::Dir => remove_dir(&dir, path.file_name()),
            _ => remove_file(&dir, path.file_name(), expected),
        }
    }
}

/// The kernel removes an empty directory only.
fn remove_dir(dir: &OwnedFd, name: &[u8]) -> io::Result<Removed> {
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(Removed::Removed),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(Removed::Kept),
        Err(errno) => Err(errno.into()),
    }
}

/// Under another name it is looked at once more, where nobody looks for it; what is
/// not the same goes back.
fn remove_file(dir: &OwnedFd, name: &[u8], expected: &Stat) -> io::Result<Removed> {
    let random = getrandom::u64().expect("the kernel's random source answers once booted");
    let aside = format!("{LITTER}{random:016x}");
    match rustix::fs::renameat_with(dir, name, dir, aside.as_str(), RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Removed::Removed),
        // No such renames here (NFS): a look just before has to do.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if !same(&statx_at(dir, name)?, expected) {
                return Ok(Removed::Kept);
            }
            rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
            return Ok(Removed::Removed);
        }
        Err(errno) => return Err(errno.into()),
    }
    if same(&statx_at(dir, aside.as_bytes())?, expected) {
        rustix::fs::unlinkat(dir, aside.as_str(), AtFlags::empty())?;
        return Ok(Removed::Removed);
    }
    rustix::fs::renameat_with(dir, aside.as_str(), dir, name, RenameFlags::NOREPLACE)?;
    Ok(Removed::Kept)
}

impl Plantation {
    /// The names in a directory, for tests and messages.
    #[cfg(test)]
    pub(super) fn names(&mut self, path: &RelPath) -> Vec<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = self.resolve(path, flags).expect("a directory");
        let listed =
            rustix::fs::openat(&dir, ".", flags, rustix::fs::Mode::empty()).expect("readable");
        let names = rustix::fs::Dir::new(listed).expect("readable");
        let names = names.map(|entry| entry.expect("an entry").file_name().to_bytes().to_vec());
        names.filter(|name| name != b"." && name != b"..").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> RelPath {
        RelPath::new(path).expect("a path")
    }

    #[test]
    fn only_what_was_looked_at_is_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut plantation = Plantation::open(dir.path()).expect("open");
        std::fs::create_dir(dir.path().join("d")).expect("mkdir");
        std::fs::write(dir.path().join("d/f"), "one").expect("write");
        let seen = plantation.lookup(&at("d/f")).expect("look").expect("there").stat;
        std::fs::write(dir.path().join("d/f"), "other").expect("somebody writes");
        assert_eq!(plantation.remove(&at("d/f"), &seen).expect("asked"), Removed::Kept);
        assert_eq!(std::fs::read(dir.path().join("d/f")).expect("it is back"), b"other");
        let seen = plantation.lookup(&at("d/f")).expect("look").expect("there").stat;
        let above = plantation.lookup(&at("d")).expect("look").expect("there").stat;
        assert_eq!(plantation.remove(&at("d"), &above).expect("asked"), Removed::Kept);
        assert_eq!(plantation.remove(&at("d/f"), &seen).expect("asked"), Removed::Removed);
        assert!(plantation.names(&at("d")).is_empty(), "nothing is left beside it");
        assert_eq!(plantation.remove(&at("d/f"), &seen).expect("asked"), Removed::Removed);
        assert_eq!(plantation.remove(&at("d"), &above).expect("asked"), Removed::Removed);
        assert!(!dir.path().join("d").exists());
    }
}
