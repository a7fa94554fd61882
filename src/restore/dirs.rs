//! Directories get their owner, mode and times when everything in them is done: a
//! new entry would move the times, and the mode may let nobody in.
//!
//! They are asked of the catalog once more, backwards, so that each comes behind
//! what is in it. Only what a restore has made is described; a directory that was
//! there keeps what it has, but for the time that a restore before had given it.

use super::make::attributes;
use super::{Error, FileError, Run};
use crate::catalog::Version;
use crate::manifest::FileRecord;
use crate::os::plant::{Attributes, Planted};
use crate::os::relpath::RelPath;
use crate::os::stat::FileKind;
use crate::site::{Order, Pick, Walk};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is known of directories that no page of the second pass brings.
#[derive(Default)]
pub struct Directories {
    /// The catalog says nothing of them.
    unrecorded: BTreeSet<RelPath>,
    /// What their mtime was and is to be again.
    kept: HashMap<RelPath, i64>,
}

/// What a directory without a record is like: of the tree its owner's alone, for
/// nobody knows who may see what is in it; above it as `mkdir -p` makes it.
const UNKNOWN_MODE: u32 = 0o700;
const ABOVE_MODE: u32 = 0o755;

impl Run<'_, '_> {
    /// The directory that `path` is in has come up.
    pub(super) fn entered(
        &mut self,
        pick: usize,
        record: &FileRecord,
        path: &RelPath,
        mtime_ns: Option<i64>,
    ) -> Result<(), Error> {
        let (Some(dir), Some(above)) = (path.parent(), parent_of(record.path_bytes())) else {
            return Ok(());
        };
        let found = self.directory_at(pick, above)?;
        match found {
            None => drop(self.directories.unrecorded.insert(dir)),
            Some(found) if mtime_ns == Some(found.record.mtime_ns) => {
                self.judge.keep_mtime(found.record.mtime_ns);
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn directory_at(&mut self, pick: usize, path: &[u8]) -> Result<Option<Version>, Error> {
        let root = &self.picks[pick].root;
        let db = self.catalog.db(self.site)?;
        let found = db.version_at(root, self.options.sight, path)?;
        Ok(found.filter(|version| version.record.kind == 'd'))
    }

    /// An entry came into a directory of which a restore before was done.
    pub(super) fn keep_mtime(&mut self, path: &RelPath) {
        if let (Some(dir), Some(mtime_ns)) = (path.parent(), self.judge.mtime_to_keep()) {
            self.directories.kept.entry(dir).or_insert(mtime_ns);
        }
    }

    pub(super) fn describe_directories(&mut self) -> Result<(), Error> {
        let (picks, sight) = (self.picks, self.options.sight);
        let mut walk = Walk::new(picks, sight, Order::DirectoriesBackwards);
        while let Some((pick, page)) = walk.next(self.catalog.db(self.site)?)? {
            for version in page {
                let root = &picks[pick].root;
                if let Ok(path) = self.target.place(&root.path, version.record.path_bytes()) {
                    self.describe(&path, &version)?;
                }
            }
        }
        self.describe_above()?;
        crate::fault::point("restore.directories-described");
        Ok(())
    }

    /// The directories above the picks, and those without a record.
    fn describe_above(&mut self) -> Result<(), Error> {
        let mut above: BTreeMap<RelPath, Option<Version>> = BTreeMap::new();
        let unrecorded = std::mem::take(&mut self.directories.unrecorded);
        for (at, Pick { root, under }) in self.picks.iter().enumerate() {
            let mut next = parent_of(under);
            while let Some(path) = next {
                if let Ok(place) = self.target.place(&root.path, path) {
                    let version = self.directory_at(at, path)?;
                    above.insert(place, version);
                }
                next = parent_of(path);
            }
            let top = self.target.place(&root.path, b"").ok();
            let mut next = top.and_then(|top| top.parent());
            while let Some(path) = next.filter(|path| !path.is_root()) {
                next = path.parent();
                above.entry(path).or_insert(None);
            }
        }
        for path in &unrecorded {
            above.entry(path.clone()).or_insert(None);
        }
        for (path, version) in above.into_iter().rev() {
            self.judge.clear_away(&mut self.target.plantation, &path);
            match version {
                Some(version) => self.describe(&path, &version)?,
                None => {
                    let known = unrecorded.contains(&path);
                    self.describe_plainly(&path, if known { UNKNOWN_MODE } else { ABOVE_MODE })?;
                }
            }
        }
        self.judge.clear_away(&mut self.target.plantation, &RelPath::root());
        Ok(())
    }

    fn describe(&mut self, path: &RelPath, version: &Version) -> Result<(), Error> {
        match self.options.mirrored.iter().min().copied() {
            Some(since) => self.mirror_dir(path, version, since),
            None => self.describe_as(path, &attributes(&version.record)),
        }
    }

    /// A mirror's directory follows its origin also when it was there before.
    fn mirror_dir(&mut self, path: &RelPath, version: &Version, since: u64) -> Result<(), Error> {
        let wanted = attributes(&version.record);
        self.describe_as(path, &wanted)?;
        let Ok(Some(found)) = self.target.plantation.lookup(path) else { return Ok(()) };
        let is = (found.stat.mode, found.stat.uid, found.stat.gid, found.stat.mtime_ns);
        let same = is == (wanted.mode, wanted.uid, wanted.gid, wanted.mtime_ns);
        if found.stat.kind != FileKind::Dir || (same && version.from_seq <= since) {
            return Ok(());
        }
        match found.set(&wanted) {
            Ok(refusals) => {
                self.refusals.add(&self.target.full(path), refusals);
                Ok(())
            }
            Err(error) => self.fail(path, FileError::Make(error)),
        }
    }

    fn describe_plainly(&mut self, path: &RelPath, mode: u32) -> Result<(), Error> {
        let Ok(Some(found)) = self.target.plantation.lookup(path) else { return Ok(()) };
        let (uid, gid, mtime_ns) = (found.stat.uid, found.stat.gid, self.site.clock.now_ns());
        let plain = Attributes { mode, uid, gid, mtime_ns, atime_ns: None, xattrs: &[] };
        self.describe_as(path, &plain)
    }

    fn describe_as(&mut self, path: &RelPath, wanted: &Attributes<'_>) -> Result<(), Error> {
        // What could not be made was told then.
        if !matches!(self.target.plantation.lookup(path), Ok(Some(_))) {
            return Ok(());
        }
        match self.target.plantation.dir(path, wanted) {
            Ok(Planted::Made(refusals)) => {
                self.refusals.add(&self.target.full(path), refusals);
                Ok(())
            }
            Ok(Planted::Exists) => match self.directories.kept.remove(path) {
                Some(mtime_ns) => {
                    let done = self.target.plantation.set_times_of_dir(path, mtime_ns);
                    done.or_else(|error| self.fail(path, FileError::Make(error)))
                }
                None => Ok(()),
            },
            Err(error) => self.fail(path, FileError::Make(error)),
        }
    }
}

/// Of a path in a root; `None` for the root itself.
fn parent_of(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    Some(path.iter().rposition(|&byte| byte == b'/').map_or(&[], |at| &path[..at]))
}
