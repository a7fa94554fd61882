//! Stubs that a restore makes in a tree which this hsm manages: the state DB learns
//! of them at once, as of any stub.
//!
//! Their rows come behind their names: a row without a file would be taken for a
//! deletion. A kill between the two leaves stubs that a second restore finds there
//! and records then.

use super::make::{Entry, NewStub};
use super::{Error, FileError, Run};
use crate::ids::ChunkId;
use crate::manifest::FileRecord;
use crate::os::file_ident;
use crate::os::plant::Found;
use crate::os::relpath::RelPath;
use crate::state::{AdoptedStub, RestoredStub, RootId};
use crate::stub::{self, Glance, MarkerSpace, Placement};

/// A managed root that the restore goes to.
#[derive(Debug, Clone)]
pub struct Managed {
    pub root: RootId,
    /// The root as seen from the target ([`super::Target::relative`]).
    pub dir: RelPath,
}

impl Managed {
    /// The path inside the root.
    fn inside(&self, path: &RelPath) -> Option<RelPath> {
        if !path.starts_with(&self.dir) {
            return None;
        }
        let rest = &path.as_bytes()[self.dir.as_bytes().len()..];
        RelPath::new(rest.strip_prefix(b"/").unwrap_or(rest)).ok()
    }
}

impl Run<'_, '_> {
    fn managed_place(&self, path: &RelPath) -> Option<(RootId, RelPath)> {
        let inside = |managed: &Managed| Some((managed.root, managed.inside(path)?));
        self.options.managed.iter().find_map(inside)
    }

    /// A stub must not rely on what may be deleted any moment.
    pub(super) fn require_lasting(
        &self,
        record: &FileRecord,
    ) -> Result<Result<(), FileError>, Error> {
        if self.options.managed.is_empty() || !self.site.state.any_condemned()? {
            return Ok(Ok(()));
        }
        let ids: Vec<ChunkId> = record.pieces.iter().filter_map(|piece| piece.chunk).collect();
        let places = self.site.state.find_lasting_chunks(&ids)?;
        let lasting = places.iter().all(Option::is_some);
        Ok(if lasting { Ok(()) } else { Err(FileError::Condemned) })
    }

    pub(super) fn record_stubs(&mut self, made: &[(Entry, NewStub)]) -> Result<(), Error> {
        let mut of_root: Vec<(RootId, Vec<RestoredStub>)> = vec![];
        for (entry, stub) in made {
            let Some((root, path)) = self.managed_place(&entry.path) else { continue };
            let Some(stub) = restored(entry.record(), path, stub) else { continue };
            match of_root.iter_mut().find(|(of, _)| *of == root) {
                Some((_, stubs)) => stubs.push(stub),
                None => of_root.push((root, vec![stub])),
            }
        }
        for (root, stubs) in of_root {
            self.site.state.add_restored_stubs(root, &stubs, self.site.clock.now_ns())?;
        }
        crate::fault::point("restore.recorded");
        Ok(())
    }

    /// A stub of this very version that the state DB does not know: one of a restore
    /// that was killed.
    pub(super) fn record_stub_that_is_there(
        &mut self,
        path: &RelPath,
        record: &FileRecord,
        found: &Found,
    ) -> Result<(), Error> {
        let Some((root, inside)) = self.managed_place(path) else { return Ok(()) };
        let looked = stub::glance(found, MarkerSpace::for_this_process());
        let (Ok(Glance::Sure(Placement::Stub(marker)) | Glance::Likely(marker)), Ok(ident)) =
            (looked, file_ident(found))
        else {
            return Ok(());
        };
        let is_it = marker.ident == ident
            && record.content == Some(marker.content)
            && marker.store_tag == self.site.store_id.tag();
        if !is_it || self.site.state.managed_by_ident(root, ident)?.is_some() {
            return Ok(());
        }
        let stat = &found.stat;
        let new = NewStub {
            ident,
            btime_ns: stat.btime_ns,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
        };
        let Some(stub) = restored(record, inside, &new) else { return Ok(()) };
        self.site.state.add_restored_stubs(root, &[stub], self.site.clock.now_ns())?;
        Ok(())
    }
}

fn restored(record: &FileRecord, path: RelPath, stub: &NewStub) -> Option<RestoredStub> {
    Some(RestoredStub {
        stub: AdoptedStub {
            ident: stub.ident,
            btime_ns: stub.btime_ns,
            path,
            content: record.content?,
            size_bytes: record.size_bytes,
            mtime_ns: stub.mtime_ns,
            ctime_ns: stub.ctime_ns,
        },
        content: record.content_list()?,
        chunking: record.chunking.clone().unwrap_or_default(),
    })
}
