//! Second names of files that have several.
//!
//! Which name of a file comes first is asked of the catalog, not remembered: a tree
//! may have millions of such files. The first name is looked at again before another
//! is linked to it, and must be what a restore makes of the record: in a directory of
//! somebody else's there may be something else by now.

use super::make::Entry;
use super::{Error, FileError, Run};
use crate::ids::ContentId;
use crate::manifest::FileRecord;
use crate::os::plant::Planted;
use crate::os::relpath::RelPath;
use crate::os::stat::{FileKind, Stat};
use std::collections::HashMap;

/// First names that are remembered at a time.
const REMEMBERED: usize = 1 << 16;

type Group = (usize, u64, u32, ContentId);

/// Which path of a root is the first name of a file.
#[derive(Default)]
pub struct FirstNames(HashMap<Group, Vec<u8>>);

/// A name to be linked to another.
pub struct Link {
    pub entry: Entry,
    first: RelPath,
}

impl Run<'_, '_> {
    /// The entry as a link to the file's first name; else it is the first itself.
    pub(super) fn as_link(&mut self, entry: Entry) -> Result<Result<Link, Entry>, Error> {
        let Some(first) = self.first_name(entry.pick, entry.record())? else {
            return Ok(Err(entry));
        };
        if first == entry.record().path_bytes() {
            return Ok(Err(entry));
        }
        let root = &self.picks[entry.pick].root;
        match self.target.place(&root.path, &first) {
            Ok(first) => Ok(Ok(Link { entry, first })),
            Err(_) => Ok(Err(entry)),
        }
    }

    fn first_name(&mut self, pick: usize, record: &FileRecord) -> Result<Option<Vec<u8>>, Error> {
        let (Some(link), Some(content)) = (record.link, record.content) else { return Ok(None) };
        let root = &self.picks[pick].root;
        let same_root = |other: &&crate::site::Pick| other.root == *root;
        let of_root = self.picks.iter().position(|other| other.root == *root).unwrap_or(pick);
        let group = (of_root, link, record.generation, content);
        if let Some(known) = self.first_names.0.get(&group) {
            return Ok(Some(known.clone()));
        }
        for other in self.picks.iter().filter(same_root) {
            let db = self.catalog.db(self.site)?;
            let found = db.first_name(root, self.options.sight, record, &other.under)?;
            if let Some(version) = found {
                let path = version.record.path_bytes().to_vec();
                if self.first_names.0.len() >= REMEMBERED {
                    self.first_names.0.clear();
                }
                self.first_names.0.insert(group, path.clone());
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    pub(super) fn link(&mut self, links: Vec<Link>) -> Result<(), Error> {
        for Link { entry, first } in links {
            match self.link_one(&entry, &first) {
                Ok(()) => {
                    self.stats.links += 1;
                    self.stats.replaced += u64::from(entry.over.is_some());
                    self.site.monitor.advance(1, 0);
                }
                Err(error) => self.fail(&entry.path, error)?,
            }
        }
        Ok(())
    }

    fn link_one(&mut self, entry: &Entry, first: &RelPath) -> Result<(), FileError> {
        let found = self.target.plantation.lookup(first).map_err(FileError::Look)?;
        let Some(found) = found.filter(|found| is_restored(entry.record(), &found.stat)) else {
            return Err(FileError::OtherName(self.target.full(first)));
        };
        let inode = found.inode().map_err(FileError::Look)?;
        let over = entry.over.as_ref();
        let planted = self.target.plantation.hard_link(first, inode, &entry.path, over);
        match planted.map_err(FileError::Make)? {
            Planted::Made(_) => Ok(()),
            Planted::Exists => Err(FileError::Appeared),
        }
    }
}

/// Whether a file is what a restore makes of the record. Only root can give files
/// away, and only root must not be made to.
fn is_restored(record: &FileRecord, stat: &Stat) -> bool {
    let owned = !crate::os::process::is_root() || (stat.uid, stat.gid) == (record.uid, record.gid);
    stat.kind == FileKind::File
        && (stat.size_bytes, stat.mtime_ns) == (record.size_bytes, record.mtime_ns)
        && owned
}
