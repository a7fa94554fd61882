//! Ending what a crash left half-way.
//!
//! Always backwards, to the stub: that the data which are there are right is
//! nothing that the file itself could prove, while the verified copy is still
//! in the store. The punch of a half-filled stub is safe for the same reason
//! the stub was: the marker is set again first.
//!
//! Between a punch and putting the mtime back, a crash leaves a stub with the
//! time of the punch (there is no room for the time in the marker, and a second
//! attribute for each stub would cost a block); the caller has it in the state
//! DB or the catalog. Set-id bits and capabilities are restored from the record
//! that is kept exactly for files that have them.

use super::error::Error;
use super::inspect::{Placement, inspect};
use super::marker::Marker;
use super::offline;
use super::saved::Saved;
use super::space::MarkerSpace;
use super::writable;
use crate::fault;
use crate::manifest::VerifiedCopy;
use crate::os::blocks;
use crate::os::stat::statx_fd;
use std::fs::File;

/// Finishes or undoes what a crash left, and says what the file is now: a
/// half-filled stub becomes a stub; a marked whole file is left as it is, for
/// the caller to decide ([`drop_marker`] is right for it). Nobody else may work
/// on the file meanwhile.
pub fn recover(file: &File, space: MarkerSpace) -> Result<Placement, Error> {
    let found = inspect(file, space)?;
    match &found {
        Placement::Filling(marker) => {
            let file = to_writable(file)?;
            let marker = Marker { filling: false, ..marker.clone() };
            let saved = match Saved::recorded(&file, space)? {
                Some(saved) => saved,
                None => as_it_is(&file)?,
            };
            roll_back(&file, space, &marker, &saved)?;
            return inspect(&file, space);
        }
        Placement::Stub(marker) => {
            offline::show(file, space, marker);
            if let Some(saved) = Saved::recorded(file, space)? {
                saved.put_back(file)?;
            }
            Saved::forget(file, space)?;
        }
        Placement::Resident => Saved::forget(file, space)?,
        _ => {}
    }
    Ok(found)
}

/// Makes a file be known as `marker` says, whatever it was: for the guard's own
/// probes. Not durable on return; the ctime changes.
pub fn set_marker(file: &File, space: MarkerSpace, marker: &Marker) -> Result<(), Error> {
    space.store(file, marker, false)
}

/// Takes the marker off a file whose bytes are all local
/// ([`Placement::Marked`]), or one that the caller has otherwise judged. Not
/// durable on return; the ctime changes.
pub fn drop_marker(file: &File, space: MarkerSpace) -> Result<(), Error> {
    Saved::forget(file, space)?;
    if let Some(marker) = space.load(file)?.and_then(|bytes| Marker::decode(&bytes).ok()) {
        offline::hide(file, space, &marker);
    }
    space.remove(file).map(|_| ())
}

/// Ends a punch that a power failure stopped half-way: the file looks like a
/// stub that was written to ([`Placement::Changed`] with the right size), but
/// the caller has compared every local byte with the copy and found it equal.
/// The mtime stays as it is.
pub fn discard_residue(file: &File, space: MarkerSpace, copy: VerifiedCopy) -> Result<(), Error> {
    let marker = match inspect(file, space)? {
        Placement::Changed { marker, .. } if marker.size_bytes == copy.size_bytes() => marker,
        other => return Err(Error::NotAStub { found: other.describe() }),
    };
    if marker.content != copy.content() {
        return Err(Error::OtherCopy { proven: copy.content(), expected: marker.content });
    }
    let file = to_writable(file)?;
    let size = statx_fd(&file).map_err(Error::Inspect)?.size_bytes;
    if size != marker.size_bytes {
        return Err(Error::NotAStub { found: "growing or shrinking just now" });
    }
    let saved = as_it_is(&file)?;
    fault::effect("stub.fallocate").map_err(Error::Punch)?;
    blocks::punch_all(&file, marker.size_bytes).map_err(Error::Punch)?;
    saved.put_back(&file)
}

/// Makes a half-filled file the stub `marker` again. The marker is set first,
/// in case it was just removed: never a hole without one. Still says `filling`
/// if it fails, so that it can be tried again.
pub(super) fn roll_back(
    file: &File,
    space: MarkerSpace,
    marker: &Marker,
    saved: &Saved,
) -> Result<(), Error> {
    space.store(file, &Marker { filling: true, ..marker.clone() }, false)?;
    fault::effect("stub.fallocate").map_err(Error::Punch)?;
    blocks::punch_all(file, marker.size_bytes).map_err(Error::Punch)?;
    saved.put_back(file)?;
    Saved::forget(file, space)?;
    offline::show(file, space, marker);
    space.store(file, marker, false)
}

fn as_it_is(file: &File) -> Result<Saved, Error> {
    Saved::of(file, &statx_fd(file).map_err(Error::Inspect)?)
}

fn to_writable(file: &File) -> Result<File, Error> {
    writable(file.try_clone().map_err(Error::MakeWritable)?)
}
