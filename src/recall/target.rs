//! What is asked to be recalled, and whether that may be done.

use super::{Error, FileError, Fill, Options, residue};
use crate::manifest::Content;
use crate::os::relpath::RelPath;
use crate::os::stat::statx_fd;
use crate::os::tree::RootDir;
use crate::os::{blocks, file_ident};
use crate::site::{Catalog, Site};
use crate::state::ManagedRow;
use crate::stub::{self, Marker, MarkerSpace, Placement, begin_fill};
use std::fs::File;
use std::io;

/// A file to recall; `row` is what the state DB knows of it.
#[derive(Debug, Clone)]
pub struct Target {
    pub path: RelPath,
    pub row: Option<ManagedRow>,
}

/// A stub, opened, with its valid marker.
pub(super) struct Found {
    path: RelPath,
    row: Option<ManagedRow>,
    file: File,
    pub marker: Marker,
    /// Local data stand where a stub has its hole: see [`residue`].
    residue: bool,
}

/// The same with the list of its chunks.
pub(super) struct Opened {
    pub path: RelPath,
    pub row: Option<ManagedRow>,
    file: File,
    marker: Marker,
    pub content: Content,
}

/// What a target turned out to be.
pub(super) enum Opening {
    Resident,
    /// It carried a marker, now taken off, but all its bytes were local.
    Whole,
    Stub(Box<Found>),
}

/// Opens the file and reads its marker.
pub(super) fn open(
    root: &RootDir,
    space: MarkerSpace,
    target: Target,
    options: Options,
) -> Result<Opening, FileError> {
    let Target { path, row } = target;
    let file = root.open_write(&path).map_err(FileError::Open)?;
    let ident = file_ident(&file).map_err(FileError::Open)?;
    if row.as_ref().is_some_and(|row| row.ident != ident) {
        return Err(FileError::Replaced);
    }
    let mut residue = false;
    let marker = match stub::recover(&file, space)? {
        Placement::Resident => return Ok(Opening::Resident),
        Placement::Stub(marker) => marker,
        // Its blocks were never freed, or it was truncated to nothing and
        // written anew: the local bytes are the file.
        Placement::Marked(_) | Placement::Rewritten(_) => {
            stub::drop_marker(&file, space)?;
            return Ok(Opening::Whole);
        }
        Placement::Changed { marker, .. } if options.discard_local => {
            empty(&file, &marker).map_err(FileError::Write)?;
            marker
        }
        Placement::Changed { marker, why } => {
            let size_bytes = statx_fd(&file).map_err(FileError::Open)?.size_bytes;
            if size_bytes != marker.size_bytes {
                return Err(residue::written_over(&why));
            }
            residue = true;
            marker
        }
        other => return Err(FileError::Conflict(format!("it is {}", other.describe()))),
    };
    // An ordinary user's marker could be forged by the owner of the file: it
    // counts only together with the state DB's own record.
    let recorded = row.as_ref().and_then(|row| row.content);
    if space == MarkerSpace::User && recorded != Some(marker.content) {
        let what = "a stub by its marker, but not by the state DB; run hsm scan";
        return Err(FileError::Conflict(format!("it is {what}")));
    }
    Ok(Opening::Stub(Box::new(Found { path, row, file, marker, residue })))
}

/// Makes a stub of a file again that somebody wrote over, at their own wish.
fn empty(file: &File, marker: &Marker) -> io::Result<()> {
    file.set_len(0)?;
    file.set_len(marker.size_bytes)?;
    file.sync_all()
}

impl Found {
    /// Once its chunks are known the rest of an interrupted punch can be told
    /// from data that somebody wrote, and is discarded.
    pub fn with_content(
        self,
        content: Content,
        site: &Site<'_>,
        catalog: &mut Catalog,
        space: MarkerSpace,
    ) -> Result<Result<Opened, FileError>, Error> {
        let Self { path, row, file, marker, residue } = self;
        if residue && let Err(error) = residue::discard(site, catalog, &file, space, &content)? {
            return Ok(Err(error));
        }
        if let Some(row) = row.as_ref().filter(|_| residue) {
            // The punch moved it, and nobody was left to put it back.
            let put_back = blocks::set_times(&file, None, Some(row.mtime_ns));
            if let Err(error) = put_back {
                return Ok(Err(FileError::Write(error)));
            }
        }
        Ok(Ok(Opened { path, row, file, marker, content }))
    }
}

impl Opened {
    /// Marks the stub as being filled and allocates its blocks.
    pub fn begin(self, space: MarkerSpace) -> Result<Fill, FileError> {
        let ranges = self.content.data_ranges();
        let filler = begin_fill(self.file, space, &self.marker, &ranges)?;
        Ok(Fill { path: self.path, row: self.row, content: self.content, filler })
    }
}
