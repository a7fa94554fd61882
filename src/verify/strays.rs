//! Stubs that nobody manages: copies that came back from a backup, or were moved
//! here with their marker from another file system. Until `hsm adopt` has proven
//! their content and bound them to their own inodes they read as zeros or not at all.

use super::{Error, Problem, Verifier};
use crate::os::FileKind;
use crate::os::tree::RootDir;
use crate::state::{EntryRow, RootRow, StateDb};
use crate::stub::{self, Glance, MarkerSpace, Placement};
use std::ops::ControlFlow;

/// What an attribute in a block of its own takes.
const ATTRIBUTE_BYTES: u64 = 8192;

impl Verifier<'_, '_> {
    /// Looks at the files of one root that no copy is known of and that have next to
    /// no blocks. None is opened: a guard would have it recalled.
    pub(super) fn strays(&mut self, row: &RootRow, root: &RootDir) -> Result<(), Error> {
        let under = match &self.options.under {
            Some((id, under)) if *id == row.id => Some(under.clone()),
            Some(_) => return Ok(()),
            None => None,
        };
        let state = StateDb::open_read_only(&self.site.state_path)?;
        state.for_each_entry(row.id, under.as_ref(), &mut |entry| {
            if self.site.stop.requested() {
                return ControlFlow::Break(());
            }
            self.stray(root, &entry);
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    fn stray(&mut self, root: &RootDir, entry: &EntryRow) {
        let Some(why) = why_stray(root, entry) else { return };
        self.stats.stray_stubs += 1;
        let path = entry.path.to_path(root.path());
        self.problem(Problem::Stray { path, why: why.to_owned() });
    }
}

/// What a file that no copy is known of is, if it is a stub all the same.
pub(super) fn why_stray(root: &RootDir, entry: &EntryRow) -> Option<&'static str> {
    if !is_suspect(entry) {
        return None;
    }
    // What vanished or cannot be looked at is a scan's to tell.
    let fd = root.open_path(&entry.path).ok()?;
    match stub::glance(&fd, MarkerSpace::for_this_process()) {
        Ok(Glance::Sure(Placement::Foreign(_))) => Some("it is a copy of a stub, without its data"),
        Ok(Glance::Sure(Placement::Stub(_)) | Glance::Likely(_)) => {
            Some("it is a stub that the state DB does not know")
        }
        _ => None,
    }
}

fn is_suspect(entry: &EntryRow) -> bool {
    let nearly_empty = entry.allocated_bytes == 0
        || entry.allocated_bytes.saturating_add(ATTRIBUTE_BYTES) < entry.size_bytes;
    entry.kind == FileKind::File && entry.file.is_none() && entry.size_bytes > 0 && nearly_empty
}
