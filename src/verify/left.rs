//! What a root still needs hsm for: files whose bytes may be in the store only. Asked
//! before hsm is taken away, so whatever cannot be told counts as needed.

use super::Error;
use super::strays::why_stray;
use crate::os::tree::RootDir;
use crate::os::{file_ident, process};
use crate::policy::FileState;
use crate::state::{EntryRow, RootRow, StateDb};
use crate::stub::{self, Glance, MarkerSpace, Placement};
use std::ops::ControlFlow;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    pub files: u64,
    pub bytes: u64,
    /// Stubs that the state DB knows no copy of.
    pub strays: u64,
}

impl Left {
    /// By the state DB, and by a look at each file that it names: a guard that died
    /// may not have told it what programs had recalled. Without `root` (not mounted
    /// now) by the state DB alone. None is opened.
    pub fn of(state: &StateDb, row: &RootRow, root: Option<&RootDir>) -> Result<Self, Error> {
        let mut left = Self::default();
        for (found, files, bytes) in state.counts(row.id)?.states {
            if FileState::NOT_ALL_HERE.contains(&found) {
                left.files += files;
                left.bytes += bytes;
            }
        }
        let Some(root) = root else { return Ok(left) };
        state.for_each_entry(row.id, None, &mut |entry| {
            left.strays += u64::from(why_stray(root, &entry).is_some());
            if is_back(root, &entry) {
                left.files = left.files.saturating_sub(1);
                left.bytes = left.bytes.saturating_sub(entry.size_bytes);
            }
            ControlFlow::Continue(())
        })?;
        Ok(left)
    }
}

/// Whether a file that is recorded as a stub is none any more. One that is not where
/// it was may be a stub elsewhere; of several names one cannot tell which was counted.
fn is_back(root: &RootDir, entry: &EntryRow) -> bool {
    let recorded = entry.file.as_ref().filter(|file| FileState::NOT_ALL_HERE.contains(&file.state));
    let (Some(file), 1, true) = (recorded, entry.nlink, process::can_use_trusted_xattrs()) else {
        return false;
    };
    let Ok(fd) = root.open_path(&entry.path) else { return false };
    file_ident(&fd).is_ok_and(|ident| ident == file.ident)
        && matches!(
            stub::glance(&fd, MarkerSpace::for_this_process()),
            Ok(Glance::Sure(Placement::Resident))
        )
}
