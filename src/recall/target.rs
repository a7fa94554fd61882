//! What is asked to be recalled, and what it turns out to be.
//!
//! A file is opened first, kept from others next ([`crate::site::Custody`]), and
//! only then looked at: what is seen before that may be another thread's work
//! half-way.

use super::residue;
use super::{Error, FileError, Options};
use crate::ids::FileIdent;
use crate::manifest::Content;
use crate::os::relpath::RelPath;
use crate::os::stat::statx_fd;
use crate::os::tree::RootDir;
use crate::os::{blocks, file_ident};
use crate::policy::FileState;
use crate::site::{Catalog, Site};
use crate::state::ManagedRow;
use crate::stub::{self, Filler, Marker, MarkerSpace, Placement, begin_fill};
use std::fs::File;
use std::io;
use std::path::Path;

/// A file to recall; `row` is what the state DB knows of it.
#[derive(Debug, Clone)]
pub struct Target {
    pub path: RelPath,
    pub row: Option<ManagedRow>,
}

/// What a file is, as far as a recall cares.
pub(super) enum Look {
    Resident,
    /// It carried a marker, now taken off, but all its bytes were local.
    Whole,
    Stub(Marker),
    /// Local data stand where a stub has its hole.
    Changed {
        marker: Marker,
        why: String,
    },
}

/// Looks at a file that nobody else works on, and ends what a crash left of an
/// earlier work on it. `name` is for people.
pub(super) fn look(
    file: &File,
    space: MarkerSpace,
    guarded: bool,
    name: &Path,
) -> Result<Look, FileError> {
    match stub::recover(file, space)? {
        Placement::Resident => Ok(Look::Resident),
        Placement::Stub(marker) => Ok(Look::Stub(marker)),
        // Its blocks were never freed, or it was truncated to nothing and
        // written anew: the local bytes are the file.
        Placement::Marked(_) | Placement::Rewritten(_) => {
            stub::drop_marker(file, space)?;
            Ok(Look::Whole)
        }
        Placement::Changed { marker, why } => Ok(Look::Changed { marker, why }),
        // Nothing of it can be read yet, so nothing is decided: what is made of
        // it is judged by then.
        Placement::Foreign(_) if guarded && is_empty(file)? => Ok(Look::Resident),
        Placement::Foreign(marker) => {
            if !(guarded && came_with_its_bytes(file, &marker)?) {
                return Err(FileError::Foreign { name: name.to_owned() });
            }
            let (ino, generation) = (marker.ident.ino, marker.ident.generation);
            let file_name = name.display();
            tracing::warn!(file = %file_name, ino, generation, "whole, so another's marker goes");
            stub::drop_marker(file, space)?;
            Ok(Look::Whole)
        }
        // A damaged marker means as little as a copied one where all bytes are
        // there; one of a newer hsm is its own affair.
        Placement::Corrupt { why, newer: false } if guarded && has_its_bytes(file)? => {
            tracing::warn!(file = %name.display(), "whole, so an unreadable marker goes: {why}");
            stub::drop_marker(file, space)?;
            Ok(Look::Whole)
        }
        other => Err(FileError::Conflict(format!("it is {}", other.describe()))),
    }
}

/// Whether a marker that was copied here with another file's attributes means
/// nothing, as the data came along. A guard lets nobody copy a stub without its
/// data. Where none watched, zeros may have been copied for data, and nobody but
/// a person can tell; also under a guard a file of nothing but zeros is left to
/// one, as it may be older than the guard.
fn came_with_its_bytes(file: &File, marker: &Marker) -> Result<bool, FileError> {
    Ok(!marker.filling && has_its_bytes(file)?)
}

/// No hole anywhere, and not only zeros.
fn has_its_bytes(file: &File) -> Result<bool, FileError> {
    let size_bytes = statx_fd(file).map_err(FileError::Open)?.size_bytes;
    let whole = blocks::is_all_data(file, size_bytes).map_err(FileError::Open)?;
    Ok(whole && (size_bytes == 0 || !blocks::reads_as_zeros(file).map_err(FileError::Open)?))
}

fn is_empty(file: &File) -> Result<bool, FileError> {
    Ok(statx_fd(file).map_err(FileError::Open)?.size_bytes == 0)
}

/// A target, open.
pub(super) struct Named {
    pub path: RelPath,
    pub row: Option<ManagedRow>,
    pub ident: FileIdent,
    /// About what a recall will write.
    pub missing_bytes: u64,
    file: File,
}

/// Opens the file, and makes sure that it is the one that was meant.
pub(super) fn open(root: &RootDir, target: Target) -> Result<Named, FileError> {
    let Target { path, row } = target;
    let file = root.open_write(&path).map_err(FileError::Open)?;
    let ident = file_ident(&file).map_err(FileError::Open)?;
    if row.as_ref().is_some_and(|row| row.ident != ident) {
        return Err(FileError::Replaced);
    }
    let stat = statx_fd(&file).map_err(FileError::Open)?;
    let missing_bytes = stat.size_bytes.saturating_sub(stat.allocated_bytes);
    Ok(Named { path, row, ident, missing_bytes, file })
}

/// What a target turned out to be.
pub(super) enum Opening {
    Resident,
    Whole,
    Stub(Box<Found>),
}

/// A stub, opened, with its valid marker.
pub(super) struct Found {
    path: RelPath,
    row: Option<ManagedRow>,
    file: File,
    pub marker: Marker,
    /// Local data stand where a stub has its hole: see [`residue`].
    residue: bool,
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

impl Named {
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads the marker.
    pub fn inspect(
        self,
        root: &RootDir,
        space: MarkerSpace,
        guarded: bool,
        options: Options,
    ) -> Result<Opening, FileError> {
        let Self { path, row, file, .. } = self;
        let mut residue = false;
        let marker = match look(&file, space, guarded, &path.to_path(root.path()))? {
            Look::Resident => return Ok(Opening::Resident),
            Look::Whole => return Ok(Opening::Whole),
            Look::Stub(marker) => marker,
            Look::Changed { marker, .. } if options.discard_local => {
                empty(&file, &marker).map_err(FileError::Write)?;
                marker
            }
            Look::Changed { marker, why } => {
                let size_bytes = statx_fd(&file).map_err(FileError::Open)?.size_bytes;
                if size_bytes != marker.size_bytes {
                    return Err(residue::written_over(&why));
                }
                residue = true;
                marker
            }
        };
        let vouched = is_vouched(space, &marker, row.as_ref());
        Ok(Opening::Stub(Box::new(Found { path, row, file, marker, residue, vouched })))
    }
}

/// Whether the marker needs no other witness than the state DB.
pub(super) fn is_vouched(space: MarkerSpace, marker: &Marker, row: Option<&ManagedRow>) -> bool {
    let recorded = row.and_then(|row| row.content);
    space == MarkerSpace::Trusted || recorded == Some(marker.content)
}

/// Puts the mtime back that a punch or a fill moved that died half-way; the
/// state DB has it.
pub(super) fn restore_mtime(file: &File, row: &ManagedRow) -> Result<(), FileError> {
    blocks::set_times(file, None, Some(row.mtime_ns)).map_err(FileError::Write)
}

/// Some run was at work on the file and did not say how it ended.
pub(super) fn is_half_way(row: &ManagedRow) -> bool {
    matches!(row.state, FileState::Stubbing | FileState::Recalling)
}

/// Makes a stub of a file again that somebody wrote over, at their own wish. All
/// hole first, and only then its old size: a death in between leaves a stub of
/// the wrong size, never an empty file that could be taken for a new one.
fn empty(file: &File, marker: &Marker) -> io::Result<()> {
    blocks::punch_all(file, file.metadata()?.len())?;
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
        let Self { path, row, file, marker, residue, .. } = self;
        if residue && let Err(error) = residue::discard(site, catalog, &file, space, &content)? {
            return Ok(Err(error));
        }
        if let Some(row) = row.as_ref().filter(|_| residue)
            && let Err(error) = restore_mtime(&file, row)
        {
            return Ok(Err(error));
        }
        Ok(Ok(Opened { path, row, file, marker, content }))
    }
}

impl Opened {
    pub fn ident(&self) -> FileIdent {
        self.marker.ident
    }

    /// Marks the stub as being filled and allocates its blocks.
    pub fn begin(self, space: MarkerSpace) -> Result<Filler, FileError> {
        let ranges = self.content.data_ranges();
        Ok(begin_fill(self.file, space, &self.marker, &ranges)?)
    }
}
