//! What is asked to be recalled, and whether that may be done.

use super::{FileError, Fill, Options};
use crate::manifest::Content;
use crate::os::file_ident;
use crate::os::relpath::RelPath;
use crate::os::tree::RootDir;
use crate::state::ManagedRow;
use crate::stub::{self, Marker, MarkerSpace, Placement, begin_fill};
use std::fs::File;
use std::io;

/// What a marker on the wrong inode tells a person.
const FOREIGN: &str = "it is a copy of a stub without its data; recall the original and copy it \
                       again, or remove the attribute trusted.hsm (user.hsm) if its bytes are right";

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
    /// Nobody but `hsm` can have set the marker. An ordinary user's could be
    /// forged by whoever may write the file: it counts only together with a
    /// record in the state DB or the catalog.
    pub vouched: bool,
}

/// The same with the list of its chunks.
pub(super) struct Opened {
    pub path: RelPath,
    pub row: Option<ManagedRow>,
    file: File,
    marker: Marker,
    pub content: Content,
}

/// Opens the file and reads its marker; `None` when it is resident already.
pub(super) fn open(
    root: &RootDir,
    space: MarkerSpace,
    target: Target,
    options: Options,
) -> Result<Option<Found>, FileError> {
    let Target { path, row } = target;
    let file = root.open_write(&path).map_err(FileError::Open)?;
    let ident = file_ident(&file).map_err(FileError::Open)?;
    if row.as_ref().is_some_and(|row| row.ident != ident) {
        return Err(FileError::Replaced);
    }
    let marker = match stub::recover(&file, space)? {
        Placement::Resident => return Ok(None),
        Placement::Stub(marker) => marker,
        // Its blocks were never freed: the local bytes are the file.
        Placement::Marked(_) => {
            stub::drop_marker(&file, space)?;
            return Ok(None);
        }
        Placement::Changed { marker, .. } if options.discard_local => {
            empty(&file, &marker).map_err(FileError::Write)?;
            marker
        }
        Placement::Changed { why, .. } => {
            return Err(FileError::Conflict(format!(
                "it was written to while it was a stub: {why}; hsm recall --discard-local throws \
                 that away and brings the copy back, to keep it copy the file elsewhere first"
            )));
        }
        Placement::Foreign(_) => return Err(FileError::Conflict(FOREIGN.into())),
        other => return Err(FileError::Conflict(format!("it is {}", other.describe()))),
    };
    let recorded = row.as_ref().and_then(|row| row.content);
    let vouched = space == MarkerSpace::Trusted || recorded == Some(marker.content);
    Ok(Some(Found { path, row, file, marker, vouched }))
}

/// Makes a stub of a file again that somebody wrote over, at their own wish.
fn empty(file: &File, marker: &Marker) -> io::Result<()> {
    file.set_len(0)?;
    file.set_len(marker.size_bytes)?;
    file.sync_all()
}

impl Found {
    pub fn with_content(self, content: Content) -> Opened {
        let Self { path, row, file, marker, .. } = self;
        Opened { path, row, file, marker, content }
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
