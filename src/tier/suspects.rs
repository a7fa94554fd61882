//! Files that are stubs by the state DB but looked different to a scan.
//!
//! Without a guard they are opened and told apart by their blocks. Where a guard
//! watches, to open a stub would have it recalled, and only the guard may take a
//! marker off: such a file is looked at from outside, and what that does not
//! tell is the guard's to find out. A file that is whole there was recalled for
//! some program, which the guard records a moment later.

use super::Error;
use super::rescan::open_managed;
use crate::ids::FileIdent;
use crate::os::file_ident;
use crate::os::stat::{Stat, statx_fd};
use crate::os::tree::{RootDir, is_gone};
use crate::policy::FileState;
use crate::site::guard::ToRecall;
use crate::site::{Ground, Guard};
use crate::state::{ManagedRow, RootId};
use crate::stub::{self, Glance, MarkerSpace, Placement};
use std::fs::File;
use std::os::fd::AsFd;

/// How long the guard's record of a recall may be on its way.
const RECORD_NS: i64 = 60 * 1_000_000_000;

/// What a suspect turned out to be.
enum Suspect {
    /// Only its metadata changed (chmod, chown, rename, touch).
    StillStub { mtime_ns: i64, ctime_ns: i64 },
    /// Somebody truncated it and wrote new content: that is the file now.
    Rewritten,
    /// Local data stands over a hole; nobody but a person can merge that.
    Conflict(String),
    /// Gone, replaced, or recalled at this moment: a later scan tells.
    Leave,
}

pub(super) fn examine(
    ground: &mut Ground<'_>,
    root_id: RootId,
    root: &RootDir,
    suspects: &[FileIdent],
) -> Result<(), Error> {
    for ident in suspects {
        let row = ground.state.managed_by_ident(root_id, *ident)?;
        // A guard may have recorded a recall since the scan looked.
        let Some(row) = row.filter(|row| row.state == FileState::Stub) else { continue };
        let path = row.path.to_path(root.path());
        let found = match ground.guard.as_deref_mut() {
            Some(guard) => look(root, guard, &row, ground.clock.now_ns()),
            None => open(root, &row),
        };
        match found {
            Ok(Suspect::StillStub { mtime_ns, ctime_ns }) => {
                ground.state.settle(root_id, &[(*ident, mtime_ns, ctime_ns)])?;
            }
            Ok(Suspect::Rewritten) => {
                ground.state.set_state(root_id, *ident, FileState::Dirty, None)?;
            }
            Ok(Suspect::Conflict(why)) => {
                ground.monitor.notice(&format!("{}: {why}", path.display()));
                ground.state.set_state(root_id, *ident, FileState::Stub, Some(&why))?;
            }
            Ok(Suspect::Leave) => {}
            Err(error) => ground.monitor.file_failed(&path, "examine", &error),
        }
    }
    Ok(())
}

/// Without a guard.
fn open(root: &RootDir, row: &ManagedRow) -> Result<Suspect, Error> {
    match open_managed(root, row) {
        Ok(Some(file)) => by_blocks(&file),
        Ok(None) => Ok(Suspect::Leave),
        Err(source) => Err(Error::ReadTree { path: row.path.to_path(root.path()), source }),
    }
}

fn by_blocks(file: &File) -> Result<Suspect, Error> {
    let space = MarkerSpace::for_this_process();
    match stub::inspect(file, space)? {
        Placement::Stub(_) => still_a_stub(file),
        Placement::Resident => Ok(Suspect::Rewritten),
        // All its bytes are local although it was a hole: whoever truncated it
        // gave up the old content and wrote this.
        Placement::Rewritten(_) | Placement::Marked(_) => {
            stub::drop_marker(file, space)?;
            Ok(Suspect::Rewritten)
        }
        other => Ok(conflict(&other)),
    }
}

/// Whoever changed its metadata may have been Samba, which then drops what Windows
/// clients are told of the stub.
fn still_a_stub(fd: impl AsFd) -> Result<Suspect, Error> {
    stub::renew_unopened(&fd, MarkerSpace::for_this_process())?;
    let Stat { mtime_ns, ctime_ns, .. } = statx_fd(&fd).map_err(stub::Error::Inspect)?;
    Ok(Suspect::StillStub { mtime_ns, ctime_ns })
}

fn conflict(found: &Placement) -> Suspect {
    Suspect::Conflict(format!("it is {}", found.describe()))
}

/// With a guard: from outside.
fn look(
    root: &RootDir,
    guard: &mut (dyn Guard + '_),
    row: &ManagedRow,
    now_ns: i64,
) -> Result<Suspect, Error> {
    let fd = match root.open_path(&row.path) {
        Ok(fd) => fd,
        Err(error) if is_gone(&error) => return Ok(Suspect::Leave),
        Err(source) => {
            return Err(Error::ReadTree { path: row.path.to_path(root.path()), source });
        }
    };
    let stat = statx_fd(&fd).map_err(stub::Error::Inspect)?;
    if file_ident(&fd).map_err(stub::Error::Inspect)? != row.ident {
        return Ok(Suspect::Leave);
    }
    match stub::glance(&fd, MarkerSpace::for_this_process())? {
        Glance::Sure(Placement::Stub(_)) | Glance::Likely(_) => still_a_stub(&fd),
        Glance::Sure(Placement::Filling(_)) => Ok(Suspect::Leave),
        Glance::Sure(Placement::Resident) if is_being_recorded(&stat, row, now_ns) => {
            Ok(Suspect::Leave)
        }
        Glance::Sure(Placement::Resident) => Ok(Suspect::Rewritten),
        Glance::Sure(Placement::Marked(_)) | Glance::Unclear(_) => ask(guard, row),
        Glance::Sure(other) => Ok(conflict(&other)),
    }
}

/// A recall left it as it was, not long ago.
fn is_being_recorded(stat: &Stat, row: &ManagedRow, now_ns: i64) -> bool {
    let unchanged = (stat.size_bytes, stat.mtime_ns) == (row.size_bytes, row.mtime_ns);
    unchanged && now_ns.saturating_sub(stat.ctime_ns) < RECORD_NS
}

/// The guard makes it whole and records what it is then, or says what is wrong.
fn ask(guard: &mut (dyn Guard + '_), row: &ManagedRow) -> Result<Suspect, Error> {
    let work = ToRecall { paths: vec![row.path.clone()], ..ToRecall::default() };
    let done = guard.recall(row.root, &work)?;
    Ok(match done.failures.first() {
        Some(failure) => Suspect::Conflict(failure.error().to_string()),
        None => Suspect::Leave,
    })
}
