//! What a file is, by its marker and its blocks alone.
//!
//! Neither is believed without the other: a marker can be copied to another
//! file, a stub can be written to while no guard runs, and a crash can stop
//! every operation of this room half-way.

use super::error::Error;
use super::marker::{Marker, MarkerError};
use super::space::MarkerSpace;
use crate::os::blocks;
use crate::os::handle::file_ident;
use crate::os::stat::{Stat, statx_fd};
use std::fs::File;
use std::os::fd::AsFd;

/// What [`inspect`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// No marker: all bytes are local.
    Resident,
    /// Only the placeholder is local.
    Stub(Marker),
    /// A recall died, or is at work now: some of the data are there.
    Filling(Marker),
    /// Marked, but nothing was freed: all bytes are local.
    Marked(Marker),
    /// A stub that someone truncated and wrote anew, to another size: all bytes
    /// are local and they are the file now.
    Rewritten(Marker),
    /// A stub that someone wrote to or truncated; what is local exists nowhere
    /// else. After a power failure in the middle of a punch it may also be the
    /// rest of the old data: see [`super::discard_residue`].
    Changed { marker: Marker, why: String },
    /// The marker was copied here from another file.
    Foreign(Marker),
    /// The attribute is there and cannot be read.
    Corrupt {
        why: String,
        /// A later version of hsm wrote it.
        newer: bool,
    },
}

impl Placement {
    /// One phrase for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Resident => "resident",
            Self::Stub(_) => "a stub",
            Self::Filling(_) => "a stub in the middle of a recall",
            Self::Marked(_) => "marked but whole",
            Self::Rewritten(_) => "a stub that was written anew",
            Self::Changed { .. } => "a stub that was written to",
            Self::Foreign(_) => "marked as another file",
            Self::Corrupt { .. } => "marked unreadably",
        }
    }

    /// The marker, if there is a readable one.
    pub fn marker(&self) -> Option<&Marker> {
        match self {
            Self::Stub(marker)
            | Self::Filling(marker)
            | Self::Marked(marker)
            | Self::Rewritten(marker)
            | Self::Changed { marker, .. }
            | Self::Foreign(marker) => Some(marker),
            Self::Resident | Self::Corrupt { .. } => None,
        }
    }
}

/// Reads one attribute of an ordinary file; of a marked one also its identity
/// and extents. Changes nothing, neither atime nor the file's position.
pub fn inspect(file: &File, space: MarkerSpace) -> Result<Placement, Error> {
    let (marker, intact) = match own_marker(file, space.load(file)?)? {
        Ok(found) => found,
        Err(placement) => return Ok(placement),
    };
    let stat = statx_fd(file).map_err(Error::Inspect)?;
    if stat.size_bytes != marker.size_bytes {
        if blocks::is_all_data(file, stat.size_bytes).map_err(Error::Inspect)? {
            return Ok(Placement::Rewritten(marker));
        }
        let why = format!("its size is {} bytes, not {}", stat.size_bytes, marker.size_bytes);
        return Ok(Placement::Changed { marker, why });
    }
    if marker.filling {
        return Ok(Placement::Filling(marker));
    }
    if intact {
        return Ok(Placement::Marked(marker));
    }
    by_extents(file, &stat, marker)
}

/// What can be told of a file that must not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Glance {
    Sure(Placement),
    /// A stub with the few blocks that attributes may cost it; or one that holds
    /// that much data.
    Likely(Marker),
    /// Marked as itself; what it is only its extents tell.
    Unclear(Marker),
}

/// As much as can be told by an `O_PATH` descriptor: to open a stub is what
/// makes a guard recall it. Changes nothing.
pub fn glance(fd: impl AsFd, space: MarkerSpace) -> Result<Glance, Error> {
    let (marker, intact) = match own_marker(&fd, space.peek(&fd)?)? {
        Ok(found) => found,
        Err(placement) => return Ok(Glance::Sure(placement)),
    };
    let Stat { size_bytes, allocated_bytes, .. } = statx_fd(&fd).map_err(Error::Inspect)?;
    Ok(match () {
        () if size_bytes != marker.size_bytes => Glance::Unclear(marker),
        () if marker.filling => Glance::Sure(Placement::Filling(marker)),
        () if intact => Glance::Sure(Placement::Marked(marker)),
        () if allocated_bytes == 0 => Glance::Sure(Placement::Stub(marker)),
        () if allocated_bytes <= blocks::LEFTOVER_BYTES.min(size_bytes) => Glance::Likely(marker),
        () => Glance::Unclear(marker),
    })
}

/// The marker of this very inode, and whether it says intact; else what the file
/// is by that alone.
fn own_marker(
    fd: impl AsFd,
    bytes: Option<Vec<u8>>,
) -> Result<Result<(Marker, bool), Placement>, Error> {
    let Some(bytes) = bytes else { return Ok(Err(Placement::Resident)) };
    let (marker, intact) = match Marker::decode_with(&bytes) {
        Ok(found) => found,
        Err(error) => {
            return Ok(Err(Placement::Corrupt {
                newer: matches!(error, MarkerError::Newer(_)),
                why: error.to_string(),
            }));
        }
    };
    let ident = file_ident(fd).map_err(Error::Inspect)?;
    if ident != marker.ident {
        return Ok(Err(Placement::Foreign(marker)));
    }
    Ok(Ok((marker, intact)))
}

/// Whether the file is marked by an `hsm` of the other kind: a stub in the eyes
/// of its owner's `hsm` is a file of zeros to root's. Such a file must be left
/// alone. An ordinary user cannot see root's markers, so the answer is then
/// always no.
pub fn is_marked_elsewhere(file: &File, space: MarkerSpace) -> Result<bool, Error> {
    match space {
        MarkerSpace::Trusted => Ok(MarkerSpace::User.load(file)?.is_some()),
        MarkerSpace::User => Ok(false),
    }
}

fn by_extents(file: &File, stat: &Stat, marker: Marker) -> Result<Placement, Error> {
    let size_bytes = stat.size_bytes;
    if stat.allocated_bytes == 0 || blocks::is_all_hole(file, size_bytes).map_err(Error::Inspect)? {
        return Ok(Placement::Stub(marker));
    }
    if blocks::is_all_data(file, size_bytes).map_err(Error::Inspect)? {
        return Ok(Placement::Marked(marker));
    }
    let extents = blocks::data_extents(file, size_bytes).map_err(Error::Inspect)?;
    let local_bytes: u64 = extents.iter().map(|extent| extent.end - extent.start).sum();
    let why = format!("it holds {local_bytes} bytes of data in {} places", extents.len());
    Ok(Placement::Changed { marker, why })
}
