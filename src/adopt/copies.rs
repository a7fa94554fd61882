//! Finding the copies of stubs beneath a directory, such as a restored backup has them.

use super::Error;
use crate::os::FileKind;
use crate::os::relpath::RelPath;
use crate::os::tree::RootDir;
use crate::state::{RootId, StateDb};
use crate::stub::{self, Glance, MarkerSpace, Placement};
use std::ops::ControlFlow;

/// The files at and beneath `under` that the last scan saw and that carry the marker of
/// another inode, in path order. None is opened. What cannot be looked at is none of
/// them: whoever reads it says why.
pub fn copies(
    state: &StateDb,
    root_id: RootId,
    root: &RootDir,
    under: &RelPath,
) -> Result<Vec<RelPath>, Error> {
    let space = MarkerSpace::for_this_process();
    let mut found = vec![];
    state.for_each_entry(root_id, Some(under), &mut |entry| {
        if entry.kind == FileKind::File
            && let Ok(fd) = root.open_path(&entry.path)
            && let Ok(Glance::Sure(Placement::Foreign(_))) = stub::glance(&fd, space)
        {
            found.push(entry.path);
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}
