//! The local side: every managed file against its copy and its marker.

use super::{Error, Problem, Verifier, describe};
use crate::ids::ChunkId;
use crate::os::file_ident;
use crate::os::stat::statx_fd;
use crate::os::tree::{RootDir, is_gone};
use crate::policy::FileState;
use crate::state::{ManagedRow, RootRow, StateDb};
use crate::stub::{self, Glance, MarkerSpace, Placement};
use std::ops::ControlFlow;

impl Verifier<'_, '_> {
    /// Checks the managed files of one root.
    pub(super) fn files(&mut self, row: &RootRow, root: &RootDir) -> Result<(), Error> {
        let under = match &self.options.under {
            Some((id, under)) if *id == row.id => Some(under.clone()),
            Some(_) => return Ok(()),
            None => None,
        };
        let states = [FileState::Uploaded, FileState::Stub, FileState::Damaged];
        // A connection of its own: the rows of a whole root would not fit in
        // memory, and findings are recorded meanwhile.
        let state = StateDb::open_read_only(&self.site.state_path)?;
        let mut ended = Ok(());
        state.for_each_managed(row.id, under.as_ref(), &states, &mut |managed| {
            if self.site.stop.requested() {
                return ControlFlow::Break(());
            }
            ended = self.file(row, root, &managed);
            if ended.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        ended
    }

    fn file(&mut self, row: &RootRow, root: &RootDir, managed: &ManagedRow) -> Result<(), Error> {
        self.stats.files += 1;
        let path = managed.path.to_path(root.path());
        let found = match self.site.guard {
            Some(_) => placement_from_outside(root, managed),
            None => placement(root, managed),
        };
        let placement = match found {
            Ok(Some(placement)) => placement,
            // Deleted, replaced or unreadable: a scan tells which.
            Ok(None) => {
                self.stats.unchecked += 1;
                return Ok(());
            }
            Err(error) => {
                self.stats.unchecked += 1;
                self.site.monitor.file_failed(&path, "verify", &error);
                return Ok(());
            }
        };
        let bad_copy = self.bad_copy(managed)?;
        let size_bytes = managed.size_bytes;
        match (&placement, bad_copy) {
            (Placement::Stub(_) | Placement::Filling(_), Some(why)) => {
                self.stats.stubs += 1;
                self.record(row, managed, FileState::Damaged, Some(&why))?;
                self.problem(Problem::Lost { path, size_bytes, content: managed.content, why });
            }
            (Placement::Resident | Placement::Marked(_), Some(why)) => {
                self.record(row, managed, FileState::Damaged, Some(&why))?;
                let (root, inside) = (row.id, managed.path.clone());
                self.problem(Problem::Repairable { root, path, inside, size_bytes, why });
            }
            (Placement::Stub(marker), None) => {
                self.stats.stubs += 1;
                self.sound_stub(row, managed, path, marker)?;
            }
            (Placement::Resident, None) if managed.state == FileState::Stub => {
                let why = "its marker is missing although the state DB calls it a stub".to_owned();
                self.problem(Problem::NotTheStub { path, why });
            }
            (Placement::Resident, None) if managed.state == FileState::Damaged => {
                self.record(row, managed, FileState::Uploaded, None)?;
            }
            (
                Placement::Resident
                | Placement::Marked(_)
                | Placement::Rewritten(_)
                | Placement::Filling(_),
                None,
            ) => {}
            (other, _) => self.problem(Problem::NotTheStub { path, why: describe(other) }),
        }
        Ok(())
    }

    fn sound_stub(
        &mut self,
        row: &RootRow,
        managed: &ManagedRow,
        path: std::path::PathBuf,
        marker: &stub::Marker,
    ) -> Result<(), Error> {
        if managed.content != Some(marker.content) {
            let why = "its marker names other content than the state DB".to_owned();
            self.problem(Problem::NotTheStub { path, why });
        } else if managed.state == FileState::Damaged {
            self.record(row, managed, FileState::Stub, None)?;
        }
        Ok(())
    }

    /// What is wrong with the file's copy, by the state DB after the packs were
    /// checked, or by what other servers have; `None` when every chunk is in a good
    /// pack.
    fn bad_copy(&mut self, managed: &ManagedRow) -> Result<Option<String>, Error> {
        let Some(id) = managed.content else {
            return Ok(Some("no copy is recorded".to_owned()));
        };
        let Some((content, _)) = self.site.state.content(id)? else {
            return Ok(Some("its chunk list is missing".to_owned()));
        };
        let ids: Vec<ChunkId> = content.chunk_ids().collect();
        let places = self.site.state.find_chunks(&ids)?;
        for (id, place) in ids.iter().zip(places) {
            let in_second = || match self.site.second_here() {
                Some(_) => self.site.state.find_second_chunk(id),
                None => Ok(None),
            };
            if place.is_none() && in_second()?.is_none() && !self.elsewhere.has(self.site, id)? {
                return Ok(Some(format!("chunk {id} is in no good pack")));
            }
        }
        Ok(None)
    }

    fn record(
        &mut self,
        row: &RootRow,
        managed: &ManagedRow,
        state: FileState,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        if !self.options.dry_run {
            self.site.state.set_state(row.id, managed.ident, state, reason)?;
        }
        Ok(())
    }
}

/// As [`placement`], where to open the file would have the guard recall it.
/// `None` also for one that was recalled for a program just now: the guard's
/// record of it may still be on its way.
fn placement_from_outside(
    root: &RootDir,
    managed: &ManagedRow,
) -> Result<Option<Placement>, stub::Error> {
    let io = |source| stub::Error::Inspect(source);
    let fd = match root.open_path(&managed.path) {
        Ok(fd) => fd,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let stat = statx_fd(&fd).map_err(io)?;
    if file_ident(&fd).map_err(io)? != managed.ident {
        return Ok(None);
    }
    let as_recorded = (stat.size_bytes, stat.mtime_ns) == (managed.size_bytes, managed.mtime_ns);
    Ok(match stub::glance(&fd, MarkerSpace::for_this_process())? {
        Glance::Sure(Placement::Resident) if managed.state == FileState::Stub && as_recorded => {
            None
        }
        Glance::Sure(placement) => Some(placement),
        Glance::Likely(marker) => Some(Placement::Stub(marker)),
        Glance::Unclear(marker) => {
            let why = format!("it holds {} bytes in blocks", stat.allocated_bytes);
            Some(Placement::Changed { marker, why })
        }
    })
}

/// What the file on disk is; `None` when it is no longer that file.
fn placement(root: &RootDir, managed: &ManagedRow) -> Result<Option<Placement>, stub::Error> {
    let io = |source| stub::Error::Inspect(source);
    let file = match root.open_read(&managed.path) {
        Ok(file) => file,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if file_ident(&file).map_err(io)? != managed.ident {
        return Ok(None);
    }
    stub::inspect(&file, MarkerSpace::for_this_process()).map(Some)
}
