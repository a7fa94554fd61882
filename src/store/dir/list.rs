//! Listing a directory store in key order, and sweeping its temporaries.
//!
//! A key is a path, but key order is not directory order: `a-b` sorts before
//! `a/b`, although `a` sorts before `a-b`. Directories are therefore sorted with
//! their slash. One level of names is held in memory at a time per depth, and no
//! descriptor is kept open on the way down.
//!
//! Any error but an entry that vanished (a delete beside us) ends the walk: a
//! partial listing must never look complete.

use super::write::TEMPORARY_PREFIX;
use super::{DirectoryStore, info_of, modified_ns};
use crate::store::{Key, ObjectInfo, Result, SweepStats};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// What `mkfs.ext4` puts at the root of a file system; not ours, and closed to
/// ordinary users.
const LOST_AND_FOUND: &str = "lost+found/";

impl DirectoryStore {
    pub(super) fn walk(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        let fail = |errno| self.error(errno, "list", prefix);
        // Start in the deepest directory that the prefix names.
        let start = prefix.rsplit_once('/').map_or("", |(dir, _)| dir);
        if !start.is_empty() && Key::new(start).is_err() {
            return Ok(());
        }
        self.walk_dir(start, prefix, start_after.unwrap_or(""), visit).map_err(fail)
    }

    fn walk_dir(
        &self,
        path: &str,
        prefix: &str,
        after: &str,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> rustix::io::Result<()> {
        let dir = match self.open_dir(path) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let mut names = Vec::new();
        each_entry(&dir, |name, is_dir| {
            let slash = if is_dir { "/" } else { "" };
            names.push(if path.is_empty() {
                format!("{name}{slash}")
            } else {
                format!("{path}/{name}{slash}")
            });
            Ok(())
        })?;
        names.sort_unstable();
        for name in names {
            if let Some(below) = name.strip_suffix('/') {
                let leads_to_prefix = name.starts_with(prefix) || prefix.starts_with(&name);
                // Everything below sorts after `name` and shares its start.
                let is_past = after < name.as_str() || after.starts_with(&name);
                if leads_to_prefix && is_past && name != LOST_AND_FOUND && !is_hidden(below) {
                    self.walk_dir(below, prefix, after, visit)?;
                }
            } else if name.starts_with(prefix) && name.as_str() > after {
                self.visit_file(&dir, name, visit)?;
            }
        }
        Ok(())
    }

    fn visit_file(
        &self,
        dir: &OwnedFd,
        path: String,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> rustix::io::Result<()> {
        let Ok(key) = Key::new(path) else { return Ok(()) };
        match rustix::fs::statat(dir, key.split().1, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                    visit(info_of(key, &stat));
                }
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Removes temporaries last written before `older_than_ns`.
    pub(super) fn sweep_temporaries(&self, older_than_ns: i64) -> Result<SweepStats> {
        let mut stats = SweepStats::default();
        self.sweep_dir("", older_than_ns, &mut stats)
            .map_err(|errno| self.error(errno, "sweep", ""))?;
        Ok(stats)
    }

    fn sweep_dir(
        &self,
        path: &str,
        older_than_ns: i64,
        stats: &mut SweepStats,
    ) -> rustix::io::Result<()> {
        let dir = match self.open_dir(path) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let mut below = Vec::new();
        each_entry(&dir, |name, is_dir| {
            if is_dir {
                let is_foreign = path.is_empty() && format!("{name}/") == LOST_AND_FOUND;
                if !name.starts_with('.') && !is_foreign {
                    below.push(name.to_owned());
                }
            } else if name.starts_with(TEMPORARY_PREFIX) {
                let gone = remove_if_older(&dir, name, older_than_ns)?;
                stats.removed += u64::from(gone.is_some());
                stats.freed_bytes += gone.unwrap_or(0);
            }
            Ok(())
        })?;
        drop(dir);
        for name in below {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            self.sweep_dir(&path, older_than_ns, stats)?;
        }
        Ok(())
    }
}

/// The size of the file removed, `None` if it was too young or gone.
fn remove_if_older(
    dir: &OwnedFd,
    name: &str,
    older_than_ns: i64,
) -> rustix::io::Result<Option<u64>> {
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    if modified_ns(&stat) >= older_than_ns {
        return Ok(None);
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Calls `visit` with each UTF-8 name and whether it is a directory. Other
/// names are nobody's key.
fn each_entry(
    dir: &OwnedFd,
    mut visit: impl FnMut(&str, bool) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." {
            continue;
        }
        let file_type = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            },
            known => known,
        };
        visit(name, file_type == FileType::Directory)?;
    }
    Ok(())
}

/// Whether the last segment of a path begins with a dot.
fn is_hidden(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with('.'))
}
