//! The stubs of a root as they are now: what the state DB knows, each looked at on disk.
//!
//! Nothing is opened for reading where a guard watches, which would recall it: a file is
//! told by its descriptor, its marker and its blocks. Where that does not suffice and no
//! guard is at work, its extents are asked. A file that is not surely the stub is passed
//! over, and so read by the backup.
//!
//! An inode is listed by each of its names: a backup that left out one of two would read
//! the other.

use super::{Error, FileError};
use crate::ids::ContentId;
use crate::monitor::{Monitor, Stop};
use crate::os::file_ident;
use crate::os::relpath::RelPath;
use crate::os::stat::{Stat, statx_fd};
use crate::os::tree::{RootDir, is_gone};
use crate::policy::FileState;
use crate::state::{ManagedRow, RootRow, StateDb};
use crate::stub::{self, Glance, Marker, MarkerSpace, Placement};
use std::ops::ControlFlow;
use std::path::PathBuf;

/// A root, and what of it.
pub struct Ground<'a> {
    pub row: &'a RootRow,
    pub root: &'a RootDir,
    /// Directories or files in it, none inside another; the root's own path is all of it.
    pub unders: &'a [RelPath],
    /// A guard watches, or may: nothing is opened.
    pub guarded: bool,
}

/// One name of a stub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub path: PathBuf,
    pub content: ContentId,
    pub size_bytes: u64,
    /// As it is on disk.
    pub mtime_ns: i64,
    /// The log has its present path and content.
    pub logged: bool,
    /// Why its copy is known to be bad, if it is.
    pub damaged: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListedStats {
    pub names: u64,
    pub bytes: u64,
    pub damaged: u64,
    pub unlogged: u64,
    /// Names that were stubs, and are not, or not surely.
    pub passed_over: u64,
    /// `visit` ended it, or a stop.
    pub stopped: bool,
}

impl ListedStats {
    pub fn add(&mut self, other: &Self) {
        self.names += other.names;
        self.bytes += other.bytes;
        self.damaged += other.damaged;
        self.unlogged += other.unlogged;
        self.passed_over += other.passed_over;
        self.stopped |= other.stopped;
    }
}

/// Visits every name of every stub, by directory and name of its inode's first.
pub fn each_stub(
    state: &StateDb,
    ground: &Ground<'_>,
    stop: &Stop,
    monitor: &dyn Monitor,
    visit: &mut dyn FnMut(Listed) -> ControlFlow<()>,
) -> Result<ListedStats, Error> {
    // A killed run may have left one that is a stub already, or still.
    let states = [FileState::Stub, FileState::Damaged, FileState::Stubbing, FileState::Recalling];
    let mut stats = ListedStats::default();
    let mut ended = Ok(());
    state.for_each_managed(ground.row.id, None, &states, &mut |row| {
        if stop.requested() {
            stats.stopped = true;
            return ControlFlow::Break(());
        }
        match each_name(state, ground, &row, monitor, &mut stats, visit) {
            Ok(flow) => {
                stats.stopped |= flow.is_break();
                flow
            }
            Err(error) => {
                ended = Err(error);
                ControlFlow::Break(())
            }
        }
    })?;
    ended.map(|()| stats)
}

fn each_name(
    state: &StateDb,
    ground: &Ground<'_>,
    row: &ManagedRow,
    monitor: &dyn Monitor,
    stats: &mut ListedStats,
    visit: &mut dyn FnMut(Listed) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let mut names = vec![row.path.clone()];
    // Its only name, and still its own, is the rule; that asks nothing more.
    let is_only = |stat: Stat| stat.nlink == 1 && stat.ino == row.ident.ino;
    if !ground.root.stat(&row.path).is_ok_and(is_only) {
        names.extend(state.names_of(ground.row.id, row.ident.ino)?);
        names.sort();
        names.dedup();
    }
    for name in names.iter().filter(|name| is_asked_for(ground.unders, name)) {
        let path = name.to_path(ground.root.path());
        let (marker, stat) = match look(ground, row, name) {
            Ok(Some(found)) => found,
            // A file in the middle of a recall has its bytes soon, or its blocks.
            Ok(None) => {
                stats.passed_over += u64::from(row.state != FileState::Recalling);
                continue;
            }
            Err(error) => {
                monitor.file_failed(&path, "look at", &error);
                continue;
            }
        };
        let is_damaged = row.state == FileState::Damaged;
        let why = || row.reason.clone().unwrap_or_else(|| "its copy is bad".to_owned());
        let listed = Listed {
            path,
            content: marker.content,
            size_bytes: stat.size_bytes,
            mtime_ns: stat.mtime_ns,
            logged: row.segment_seq.is_some(),
            damaged: is_damaged.then(why),
        };
        stats.names += 1;
        stats.bytes += listed.size_bytes;
        stats.damaged += u64::from(is_damaged);
        stats.unlogged += u64::from(!listed.logged);
        if visit(listed).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn is_asked_for(unders: &[RelPath], name: &RelPath) -> bool {
    unders.iter().any(|under| {
        let rest = name.as_bytes().strip_prefix(under.as_bytes());
        under.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    })
}

/// The stub at this name; `None` where the file is no longer, or not surely, that stub.
fn look(
    ground: &Ground<'_>,
    row: &ManagedRow,
    name: &RelPath,
) -> Result<Option<(Marker, Stat)>, FileError> {
    let fd = match ground.root.open_path(name) {
        Ok(fd) => fd,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if file_ident(&fd)? != row.ident {
        return Ok(None);
    }
    let space = MarkerSpace::for_this_process();
    let stat = statx_fd(&fd)?;
    let marker = match stub::glance(&fd, space)? {
        Glance::Sure(Placement::Stub(marker)) => marker,
        Glance::Sure(_) => return Ok(None),
        Glance::Likely(_) | Glance::Unclear(_) if !ground.guarded => {
            let file = match ground.root.open_read(name) {
                Ok(file) => file,
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            match stub::inspect(&file, space)? {
                Placement::Stub(marker) if file_ident(&file)? == row.ident => marker,
                _ => return Ok(None),
            }
        }
        // The few blocks are those of attributes unless somebody wrote to it, which
        // moves both times.
        Glance::Likely(marker)
            if (stat.mtime_ns, stat.ctime_ns) == (row.mtime_ns, row.ctime_ns) =>
        {
            marker
        }
        Glance::Likely(_) | Glance::Unclear(_) => return Ok(None),
    };
    let same = row.content == Some(marker.content) && stat.size_bytes == marker.size_bytes;
    Ok(same.then_some((marker, stat)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_by_its_components() {
        let path = |text: &str| RelPath::new(text).expect("a path");
        let unders = [path("a/b"), path("c")];
        for inside in ["a/b", "a/b/x", "c", "c/d/e"] {
            assert!(is_asked_for(&unders, &path(inside)), "{inside}");
        }
        for outside in ["a", "a/bc", "a/c/b", "cc", "d/c"] {
            assert!(!is_asked_for(&unders, &path(outside)), "{outside}");
        }
        assert!(is_asked_for(&[RelPath::root()], &path("x")));
    }
}
