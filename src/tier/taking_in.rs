//! Taking in stubs that a restore makes in a managed tree.
//!
//! They rely on copies that maybe no log of this store needs any more. So this node
//! says that it is at work before the first of them is made, as an upload does: no
//! garbage collection then deletes anything before it has read what this node writes
//! behind, and what is condemned already is known here, and refused. At the end they
//! are in the catalog like every other file.

use super::rescan::{ScanRequest, note_directory, open_root, rescan};
use super::{Error, neighbours, recover, upload};
use crate::os::relpath::RelPath;
use crate::os::stat::FileKind;
use crate::os::tree::RootDir;
use crate::site::{CatalogLog, Site, log};
use crate::state::RootRow;
use std::path::PathBuf;

/// From before the first stub to [`TakingIn::finish`].
pub struct TakingIn {
    log: CatalogLog,
}

/// Where a restore has been at work.
#[derive(Debug, Clone)]
pub struct TakenIn {
    pub row: RootRow,
    /// Directories or files of the root.
    pub under: Vec<RelPath>,
}

/// Tells the other users of the store, and learns where their packs are: stubs may be
/// of another node's files.
pub fn announce(site: &mut Site<'_>) -> Result<TakingIn, Error> {
    recover::recover_store(site)?;
    neighbours::learn(site)?;
    let mut log = CatalogLog::open(site)?;
    let begun = log.begin(site)?;
    log::note(site, begun)?;
    log.look(site)?;
    Ok(TakingIn { log })
}

impl TakingIn {
    /// The scan brings names and directories, the upload of nothing what the catalog
    /// does not have. Call it also after a restore that failed.
    pub fn finish(
        mut self,
        site: &mut Site<'_>,
        places: &[TakenIn],
        skip: &[PathBuf],
    ) -> Result<(), Error> {
        let mut segments = 0;
        for TakenIn { row, under } in places {
            let root = open_root(row)?;
            for path in under {
                take_names(site, row, &root, path, skip)?;
            }
            let nothing = std::iter::empty();
            segments += upload::run(site, row.id, &root, nothing, &|_, _| false)?.segments;
        }
        // The upload's own session has taken this one's place, and ended.
        if segments == 0 {
            let closed = self.log.close(site)?;
            log::note(site, closed)?;
        }
        Ok(())
    }
}

/// What is at and beneath `path`, and the names that lead there.
fn take_names(
    site: &mut Site<'_>,
    row: &RootRow,
    root: &RootDir,
    path: &RelPath,
    skip: &[PathBuf],
) -> Result<(), Error> {
    let Ok(stat) = root.stat(path) else { return Ok(()) };
    let mut above = vec![];
    let mut next = path.parent();
    while let Some(dir) = next {
        next = dir.parent();
        above.push(dir);
    }
    for dir in above.iter().rev() {
        note_directory(&mut site.ground(), row, root, dir, skip)?;
    }
    if stat.kind == FileKind::Dir {
        let under = (!path.is_root()).then(|| path.clone());
        let request = ScanRequest { under, skip: skip.to_vec(), threads: 0 };
        rescan(&mut site.ground(), row, root, &request)?;
    }
    Ok(())
}
