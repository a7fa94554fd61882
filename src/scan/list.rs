//! Reads one directory: its names by walkdir, their facts by `statx` relative to
//! its descriptor.
//!
//! A large directory comes in parts of [`PART`] names, so that no more than that
//! many facts are held per thread; of the rest only the names are. Parts are
//! ranges of the sorted names, which lets the sink compare each with what it
//! has.

use super::batch::{DirBatch, Seen, Skip, Skipped};
use crate::os::stat::{statx_at, statx_fd};
use crate::os::{RelPath, RootDir, Stat};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use walkdir::{DirEntryExt, WalkDir};

/// How many names are looked at before they are handed on.
pub const PART: usize = 16_384;

/// What reading one directory needs to know of the scan.
pub struct Lister<'a> {
    pub root: &'a RootDir,
    pub root_dev: u64,
    /// (device, inode) of what is passed over.
    pub skip: &'a [(u64, u64)],
}

/// Hears what a directory holds.
pub trait Hearer {
    /// A part is complete; false ends the listing.
    fn part(&mut self, batch: DirBatch) -> bool;
    /// A name could not be looked at.
    fn failed(&mut self, path: &RelPath, error: io::Error);
    /// A name is not there any more.
    fn vanished(&mut self);
}

impl Lister<'_> {
    /// Reads the directory at `path`; an error means that nothing was heard.
    pub fn list(&self, path: &RelPath, hearer: &mut impl Hearer) -> io::Result<()> {
        let dir = self.root.open_dir(path)?;
        let stat = statx_fd(&dir)?;
        let (names, error) = names(&dir);
        let mut open = Open { lister: self, path, dir, stat, skipped: Vec::new() };
        let mut rest = names.into_iter();
        let mut first = true;
        while rest.len() > PART {
            let here = rest.by_ref().take(PART).collect();
            let entries = open.look(here, hearer);
            if !hearer.part(open.batch(entries, first)) {
                return Ok(());
            }
            first = false;
        }
        let entries = open.look(rest.collect(), hearer);
        let skipped = std::mem::take(&mut open.skipped);
        hearer.part(DirBatch { skipped, error, last: true, ..open.batch(entries, first) });
        Ok(())
    }
}

struct Name {
    bytes: Vec<u8>,
    ino: u64,
}

/// The names in byte order, and what broke the listing off.
fn names(dir: &OwnedFd) -> (Vec<Name>, Option<io::Error>) {
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    let mut names = Vec::new();
    let mut broken = None;
    for entry in WalkDir::new(path).min_depth(1).max_depth(1) {
        match entry {
            Ok(entry) => {
                let bytes = entry.file_name().as_bytes().to_vec();
                names.push(Name { bytes, ino: entry.ino() });
            }
            Err(error) => broken = Some(error.into()),
        }
    }
    names.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
    names.dedup_by(|a, b| a.bytes == b.bytes);
    (names, broken)
}

struct Open<'a> {
    lister: &'a Lister<'a>,
    path: &'a RelPath,
    dir: OwnedFd,
    stat: Stat,
    skipped: Vec<Skipped>,
}

impl Open<'_> {
    fn batch(&self, entries: Vec<Seen>, first: bool) -> DirBatch {
        DirBatch {
            path: self.path.clone(),
            stat: self.stat.clone(),
            entries,
            skipped: Vec::new(),
            error: None,
            first,
            last: false,
        }
    }

    /// Looks at the names in the order of their inodes, which is the order in
    /// which a disk has them; the result is in the order of the names again.
    fn look(&mut self, names: Vec<Name>, hearer: &mut impl Hearer) -> Vec<Seen> {
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_unstable_by_key(|at| names[*at].ino);
        let mut stats: Vec<Option<Stat>> = Vec::new();
        stats.resize_with(names.len(), || None);
        for at in order {
            stats[at] = self.stat(&names[at].bytes, hearer);
        }
        let named = names.into_iter().zip(stats);
        named.filter_map(|(name, stat)| Some(Seen::new(name.bytes, stat?))).collect()
    }

    fn stat(&mut self, name: &[u8], hearer: &mut impl Hearer) -> Option<Stat> {
        let stat = match statx_at(&self.dir, name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                hearer.vanished();
                return None;
            }
            Err(error) => {
                hearer.failed(&self.path.join(name), error);
                return None;
            }
        };
        let why = if self.lister.skip.contains(&(stat.dev, stat.ino)) {
            Skip::Own
        } else if stat.mount_root || stat.dev != self.lister.root_dev {
            Skip::Mount
        } else {
            return Some(stat);
        };
        self.skipped.push(Skipped { name: name.to_vec(), why });
        None
    }
}
