//! Writing one object so that it is visible whole or not at all, and stays.
//!
//! Order: the directories and their entries durable -> temporary file in the
//! object's own directory -> data synced -> renamed -> directory synced. A crash
//! before the rename leaves a temporary that no listing shows; after it, a whole
//! object whose entry may still be lost, which `put` has not yet promised.
//!
//! `create_new` is decided by the kernel: `renameat2(RENAME_NOREPLACE)`, or
//! `linkat` where the file system (NFS, some FUSE ones) has no such flag. Never
//! a look beforehand, which a second writer could slip behind.

use super::DirectoryStore;
use crate::store::Key;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

/// No [`Key`] has a segment that begins with a dot.
pub(super) const TEMPORARY_PREFIX: &str = ".hsm-tmp-";

const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

impl DirectoryStore {
    pub(super) fn write_object(&self, key: &Key, body: &[u8], create_new: bool) -> io::Result<()> {
        let (parent, name) = key.split();
        let dir = self.durable_dir(parent)?;
        let temporary = temporary_name();
        let written = write_temporary(&dir, &temporary, body)
            .and_then(|()| publish(&dir, &temporary, name, create_new).map_err(io::Error::from));
        if let Err(error) = written {
            // Best effort: what stays is invisible, and `sweep` removes it.
            let _ = rustix::fs::unlinkat(&dir, &temporary, AtFlags::empty());
            return Err(error);
        }
        Ok(rustix::fs::fsync(&dir)?)
    }

    /// Opens the directory `path`, made with its parents where they are
    /// missing, with every entry on the way to it durable.
    fn durable_dir(&self, path: &str) -> io::Result<OwnedFd> {
        if path.is_empty() {
            return Ok(self.open_dir(path)?);
        }
        if self.durable_dirs.lock().expect("no panic while held").contains(path) {
            match self.open_dir(path) {
                Err(Errno::NOENT) => {}
                answer => return Ok(answer?),
            }
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = self.durable_dir(parent)?;
        match rustix::fs::mkdirat(&above, name, Mode::RWXU) {
            // Another writer may have made it and not yet synced its entry.
            Ok(()) | Err(Errno::EXIST) => rustix::fs::fsync(&above)?,
            Err(errno) => return Err(errno.into()),
        }
        let dir = self.open_dir(path)?;
        self.durable_dirs.lock().expect("no panic while held").insert(path.to_owned());
        Ok(dir)
    }
}

fn temporary_name() -> String {
    let random = getrandom::u64().expect("the kernel's random source answers once booted");
    format!("{TEMPORARY_PREFIX}{random:016x}")
}

fn write_temporary(dir: &OwnedFd, name: &str, body: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(dir, name, flags, FILE_MODE)?);
    // One write(2) for up to 2 GiB, unless the kernel takes less.
    file.write_all(body)?;
    file.sync_data()
}

/// Gives the temporary its name.
fn publish(dir: &OwnedFd, from: &str, to: &str, create_new: bool) -> rustix::io::Result<()> {
    if !create_new {
        return rustix::fs::renameat(dir, from, dir, to);
    }
    match rustix::fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(dir, from, dir, to, AtFlags::empty())?;
            rustix::fs::unlinkat(dir, from, AtFlags::empty())
        }
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dir::tests::fresh_store;

    #[test]
    fn the_link_path_never_replaces_either() {
        let (dir, store) = fresh_store();
        let root = store.open_dir("").expect("the root");
        std::fs::write(dir.path().join("new"), b"new").expect("write");
        std::fs::write(dir.path().join("old"), b"old").expect("write");
        let linked = rustix::fs::linkat(&root, "new", &root, "old", AtFlags::empty());
        assert_eq!(linked, Err(Errno::EXIST));
        assert_eq!(publish(&root, "new", "old", true), Err(Errno::EXIST));
        assert_eq!(std::fs::read(dir.path().join("old")).expect("read"), b"old");
    }

    #[test]
    fn a_directory_removed_behind_the_store_is_made_again() {
        let (dir, store) = fresh_store();
        let key = Key::new("packs/aa/one").expect("a key");
        store.write_object(&key, b"1", true).expect("write");
        std::fs::remove_dir_all(dir.path().join("packs")).expect("remove");
        store.write_object(&key, b"2", true).expect("write again");
        assert_eq!(std::fs::read(dir.path().join("packs/aa/one")).expect("read"), b"2");
    }
}
