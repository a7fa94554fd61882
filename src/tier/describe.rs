//! What the catalog says about one file system object: its metadata as found
//! now, turned into a record from which a restore can rebuild it.

use crate::manifest::{Content, FileRecord, Name};
use crate::os::relpath::RelPath;
use crate::os::stat::{FileKind, Stat, statx_fd};
use crate::os::tree::RootDir;
use crate::os::xattrs;
use crate::state;
use crate::stub::{self, MarkerSpace};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Metadata of one file system object, as the catalog records it.
pub(super) struct Described {
    pub path: RelPath,
    pub stat: Stat,
    pub generation: u32,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub target: Option<Vec<u8>>,
}

impl Described {
    /// A symlink, FIFO or device.
    pub fn special(root: &RootDir, path: &RelPath) -> io::Result<Self> {
        let stat = root.stat(path)?;
        let target = match stat.kind {
            FileKind::Symlink => Some(root.read_link(path)?),
            _ => None,
        };
        Ok(Self { path: path.clone(), stat, generation: 0, xattrs: vec![], target })
    }

    pub fn directory(root: &RootDir, path: &RelPath) -> io::Result<Self> {
        let dir = File::from(root.open_dir(path)?);
        let stat = statx_fd(&dir)?;
        let xattrs = own_left_out(xattrs::list(&dir)?)?;
        Ok(Self { path: path.clone(), stat, generation: 0, xattrs, target: None })
    }

    /// A managed file, without opening it; `None` when it is another one now.
    pub fn file(root: &RootDir, row: &state::ManagedRow) -> Option<Self> {
        let fd = root.open_path(&row.path).ok()?;
        let stat = statx_fd(&fd).ok()?;
        if stat.ino != row.ident.ino || stat.size_bytes != row.size_bytes {
            return None;
        }
        let attributes = xattrs::list_path_fd(&fd).unwrap_or_default();
        let mut xattrs = own_left_out(attributes).ok()?;
        stub::leave_out(&fd, MarkerSpace::for_this_process(), &mut xattrs);
        let (path, generation) = (row.path.clone(), row.ident.generation);
        Some(Self { path, stat, generation, xattrs, target: None })
    }

    /// The record; `content` with the text of its chunking for a regular file.
    pub fn record(&self, root: &RootDir, content: Option<(&Content, &str)>) -> FileRecord {
        let stat = &self.stat;
        FileRecord {
            root: name_of(root),
            path: Name::from_bytes(self.path.as_bytes()),
            kind: stat.kind.code(),
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            ino: stat.ino,
            generation: self.generation,
            nlink: stat.nlink,
            size_bytes: stat.size_bytes,
            xattrs: self.xattrs.clone(),
            target: self.target.as_deref().map(Name::from_bytes),
            link: (stat.nlink > 1 && stat.kind == FileKind::File).then_some(stat.ino),
            rdev: (stat.rdev != 0).then_some(stat.rdev),
            content: content.map(|(content, _)| content.id()),
            pieces: content.map(|(content, _)| content.pieces.clone()).unwrap_or_default(),
            chunking: content.map(|(_, chunking)| chunking.to_owned()),
        }
    }
}

/// A root as records name it.
pub(super) fn name_of(root: &RootDir) -> Name {
    Name::from_bytes(root.path().as_os_str().as_bytes())
}

/// Names and values of attributes that a record carries, together. Some file
/// systems let a user attach gigabytes.
const ATTRIBUTE_BYTES: usize = 4 << 20;

/// Attributes as the catalog has them: all but our own marker.
pub(super) fn own_left_out(
    attributes: Vec<(OsString, Vec<u8>)>,
) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let kept = attributes.into_iter().filter(|(name, _)| !xattrs::is_own(name));
    let kept: Vec<_> = kept.map(|(name, value)| (name.into_vec(), value)).collect();
    if attribute_bytes(&kept) > ATTRIBUTE_BYTES {
        return Err(io::Error::other("more than 4 MiB of extended attributes"));
    }
    Ok(kept)
}

fn attribute_bytes(attributes: &[(Vec<u8>, Vec<u8>)]) -> usize {
    attributes.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Every directory above `path`, the root ("") among them.
pub(super) fn collect_parents(path: &[u8], into: &mut BTreeSet<Vec<u8>>) {
    let mut end = path.len();
    while let Some(slash) = path[..end].iter().rposition(|&byte| byte == b'/') {
        end = slash;
        if !into.insert(path[..end].to_vec()) {
            return;
        }
    }
    into.insert(vec![]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_above_a_file_is_collected_once() {
        let mut parents = BTreeSet::new();
        collect_parents(b"a/b/c.txt", &mut parents);
        collect_parents(b"a/d.txt", &mut parents);
        let expected: Vec<Vec<u8>> = vec![b"".to_vec(), b"a".to_vec(), b"a/b".to_vec()];
        assert_eq!(parents.into_iter().collect::<Vec<_>>(), expected);
    }
}
