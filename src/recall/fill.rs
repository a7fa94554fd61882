//! Recalling one open file, for a program that waits for it.
//!
//! The caller keeps others off the file, says which file it is and records what
//! became of it; nothing here writes the state DB, which may be open for
//! reading only. The descriptor that wrote is closed before the answer: a
//! program that is executed would else be "busy".

use super::awaited::{must_ask, packs_of};
use super::target::{Look, is_half_way, is_vouched, look, restore_mtime};
use super::{FileError, Wanted, content_of, residue};
use crate::os::quota::{self, Room};
use crate::os::space::{FreeSpace, RESERVE_BYTES};
use crate::os::stat::{Stat, statx_fd};
use crate::site::{Catalog, Site, fetch};
use crate::state::ManagedRow;
use crate::stub::{Marker, MarkerSpace, begin_fill};
use std::fs::File;
use std::path::Path;

/// What became of the file. It has all its bytes in each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filled {
    /// It carried no marker.
    Resident,
    /// All its bytes were local; a marker that meant nothing was taken off. They
    /// may be other bytes than the copy's: only the next scan tells.
    Whole,
    Recalled {
        /// Written; holes are not counted.
        bytes: u64,
        /// As it was left, and is recorded.
        stat: Box<Stat>,
    },
}

/// Makes `file` whole if it is a stub. It is open for reading and writing, and
/// the caller holds it ([`crate::site::Custody::hold`]). `name` is for people.
///
/// A failure leaves the stub as it was. So does a copy in an archive, for which the
/// store is not even asked where the state DB knows of it
/// ([`FileError::Archived`], [`super::request`]). Bytes are told to the monitor as they
/// are written, and a stop of the site ends it early ([`FileError::Stopped`]).
/// `catalog` is asked where the state DB does not know the content; it is read
/// once, so a long-lived caller hands in a new one from time to time.
pub fn fill(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    file: File,
    name: &Path,
) -> Result<Filled, FileError> {
    let space = MarkerSpace::for_this_process();
    let marker = match look(&file, space, true, name)? {
        Look::Resident => return Ok(Filled::Resident),
        Look::Whole => return Ok(Filled::Whole),
        Look::Changed { why, .. } => return Err(residue::written_over(&why)),
        Look::Stub(marker) => marker,
    };
    let row = row_of(site, &marker)?;
    if !is_vouched(space, &marker, row.as_ref())
        && !catalog.was_uploaded(site, marker.content, marker.ident).map_err(FileError::Catalog)?
    {
        return Err(FileError::Unvouched);
    }
    let content = content_of(site, catalog, &marker)?;
    let content = content.ok_or(FileError::UnknownContent(marker.content))?;
    let archived =
        || FileError::Archived(Box::new(Wanted { ident: marker.ident, content: marker.content }));
    let packs = packs_of(site, catalog, &content)?;
    if must_ask(site, &packs)? {
        return Err(archived());
    }
    check_room(&file, content.data_bytes(), site.clock.now_ns())?;
    if let Some(row) = row.filter(is_half_way) {
        restore_mtime(&file, &row)?;
    }
    let filler = begin_fill(file, space, &marker, &content.data_ranges())?;
    let filling = [fetch::Filling { content: &content, sink: &filler }];
    let outcomes = fetch::fill_all(site, catalog, &filling)?;
    for outcome in outcomes {
        match outcome {
            Err(fetch::FileError::Archived(_)) => return Err(archived()),
            outcome => outcome?,
        }
    }
    let stat = filler.finish(content.id())?;
    Ok(Filled::Recalled { bytes: content.data_bytes(), stat: Box::new(stat) })
}

/// What the state DB knows of the file, in whichever root it is: by its inode
/// and its content together, as two file systems may have the same inodes.
fn row_of(site: &Site<'_>, marker: &Marker) -> Result<Option<ManagedRow>, FileError> {
    for root in site.state.roots()? {
        let row = site.state.managed_by_ident(root.id, marker.ident)?;
        if let Some(row) = row.filter(|row| row.content == Some(marker.content)) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Whether `bytes` more may be written to the file: the file system keeps its
/// reserve. (Whose quota they count against is not asked; a full one is met when
/// the blocks are reserved.)
fn check_room(file: &File, bytes: u64, now_ns: i64) -> Result<(), FileError> {
    let available_bytes = FreeSpace::of(file).map_err(FileError::Open)?.available_bytes;
    if bytes > 0 && bytes.saturating_add(RESERVE_BYTES) > available_bytes {
        return Err(FileError::NoSpace { needed_bytes: bytes, available_bytes });
    }
    // An allocation by root is never refused for a quota, so it is asked.
    let owner = statx_fd(file).map_err(FileError::Open)?;
    match quota::room_for(file, owner.uid, owner.gid, bytes, now_ns).map_err(FileError::Open)? {
        Room::Exceeded { used_bytes, limit_bytes, .. } => {
            Err(FileError::OverQuota { needed_bytes: bytes, used_bytes, limit_bytes })
        }
        Room::Enough | Room::NoQuota => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_system_has_no_room_for_is_refused_up_front() {
        let file = tempfile::tempfile().expect("a file");
        let error = check_room(&file, u64::MAX / 2, 0).expect_err("no disk is that large");
        assert!(matches!(error, FileError::NoSpace { .. }), "{error:?}");
        check_room(&file, 0, 0).expect("nothing is to be written");
    }
}
