//! Bringing the data back into the stub's own inode.
//!
//! While it lasts the marker says `filling`, so whatever a crash leaves is
//! known to be half a file. The data are durable before the marker goes: the
//! other way round a power failure leaves zeros without a marker (measured, on
//! ext4 and xfs). A [`Filler`] that is dropped leaves the stub as it was.

use super::error::Error;
use super::expected::Changed;
use super::inspect::{Placement, inspect};
use super::marker::Marker;
use super::offline;
use super::recover::roll_back;
use super::saved::Saved;
use super::space::MarkerSpace;
use super::{recover, require_suitable, writable};
use crate::fault;
use crate::ids::ContentId;
use crate::os::blocks;
use crate::os::handle::file_ident;
use crate::os::stat::{Stat, statx_fd};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A stub that is being filled.
#[derive(Debug)]
pub struct Filler {
    file: File,
    space: MarkerSpace,
    marker: Marker,
    saved: Saved,
    /// Bytes written, by all threads.
    written: AtomicU64,
    /// The marker is gone; nothing may be undone any more.
    done: bool,
}

/// After so many bytes the file is flushed while it is written: the wait at the
/// end stays short, and who watches sees that the work goes on.
const FLUSH_BYTES: u64 = 256 << 20;

/// Begins to fill the stub `file`, whose marker was read as `marker`; `data`
/// are the ranges that will be written, all else stays a hole. Space for them
/// is reserved at once, so that a full disk is known before anything is
/// fetched; a file system that cannot reserve reports it at a write. What a
/// recall that died left is cleared away first.
pub fn begin_fill(
    file: File,
    space: MarkerSpace,
    marker: &Marker,
    data: &[Range<u64>],
) -> Result<Filler, Error> {
    let marker = Marker { filling: false, ..marker.clone() };
    match inspect(&file, space)? {
        Placement::Stub(found) if found == marker => {}
        Placement::Filling(found) if (Marker { filling: false, ..found.clone() }) == marker => {
            recover(&file, space)?;
        }
        other => return Err(Error::NotAStub { found: other.describe() }),
    }
    let stat = statx_fd(&file).map_err(Error::Inspect)?;
    require_suitable(&file, &stat, space)?;
    let saved = Saved::of(&file, &stat)?;
    let (file, written) = (writable(file)?, AtomicU64::new(0));
    let filler = Filler { file, space, marker, saved, written, done: false };
    filler.set_flag()?;
    filler.reserve(data)?;
    Ok(filler)
}

impl Filler {
    /// The flag first: a record without it would be taken for one of a punch.
    fn set_flag(&self) -> Result<(), Error> {
        let filling = Marker { filling: true, ..self.marker.clone() };
        self.space.store(&self.file, &filling, false)?;
        fault::point("stub.fill-flag-set");
        // Early, so that it is durable with the data: no file that is here says
        // that it is not.
        offline::hide(&self.file, self.space, &self.marker);
        match self.saved.record(&self.file, self.space) {
            // Its owner has filled the room for attributes. Only the time would
            // be in the record, which the state DB has as well.
            Err(Error::Save(error)) if is_full(&error) && !self.saved.is_privileged() => Ok(()),
            recorded => recorded,
        }
    }

    fn reserve(&self, data: &[Range<u64>]) -> Result<(), Error> {
        for range in data {
            let bytes = range.end.saturating_sub(range.start);
            let failed = |source| Error::Allocate { bytes, source };
            self.require_inside(range.start, bytes).map_err(failed)?;
            fault::effect("stub.fallocate").map_err(failed)?;
            if !blocks::allocate(&self.file, range.clone()).map_err(failed)? {
                break;
            }
        }
        fault::point("stub.fill-allocated");
        Ok(())
    }

    /// Writes all of `bytes`; from several threads at once.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::Write { offset, length: bytes.len(), source };
        self.require_inside(offset, bytes.len() as u64).map_err(failed)?;
        fault::effect("stub.pwrite").map_err(failed)?;
        self.file.write_all_at(bytes, offset).map_err(failed)?;
        let length = bytes.len() as u64;
        let before = self.written.fetch_add(length, Ordering::Relaxed);
        if before / FLUSH_BYTES != (before + length) / FLUSH_BYTES {
            fault::effect("stub.fdatasync").map_err(Error::Sync)?;
            self.file.sync_data().map_err(Error::Sync)?;
        }
        Ok(())
    }

    /// The file must never grow by a recall.
    fn require_inside(&self, offset: u64, length: u64) -> io::Result<()> {
        match offset.checked_add(length) {
            Some(end) if end <= self.marker.size_bytes => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the file")),
        }
    }

    /// All data are written and were found to be `data_verified`, which must be
    /// what the marker names. On return the file is resident and durable; its
    /// ctime is the one of the result. An error leaves the stub as it was, or,
    /// if only the last sync failed, the whole file without a marker.
    pub fn finish(mut self, data_verified: ContentId) -> Result<Stat, Error> {
        self.require_content(data_verified)?;
        fault::effect("stub.fdatasync").map_err(Error::Sync)?;
        self.file.sync_data().map_err(Error::Sync)?;
        self.release()?;
        fault::effect("stub.fsync").map_err(Error::Sync)?;
        self.file.sync_all().map_err(Error::Sync)?;
        statx_fd(&self.file).map_err(Error::Inspect)
    }

    /// As [`Filler::finish`] for one of a batch, without waiting for the disk.
    /// The caller has called `os::blocks::syncfs` after the last
    /// [`Filler::write_at`] of the batch, and calls it once more after the last
    /// of these.
    pub fn finish_after_syncfs(mut self, data_verified: ContentId) -> Result<Stat, Error> {
        self.require_content(data_verified)?;
        self.release()?;
        statx_fd(&self.file).map_err(Error::Inspect)
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    fn require_content(&self, found: ContentId) -> Result<(), Error> {
        fault::point("stub.fill-data-written");
        let expected = self.marker.content;
        if found != expected {
            return Err(Error::WrongContent { found, expected });
        }
        let ident = file_ident(&self.file).map_err(Error::Inspect)?;
        if ident != self.marker.ident {
            return Err(Changed::Ident { expected: self.marker.ident, found: ident }.into());
        }
        let size = statx_fd(&self.file).map_err(Error::Inspect)?.size_bytes;
        if size != self.marker.size_bytes {
            return Err(Changed::Size { expected: self.marker.size_bytes, found: size }.into());
        }
        self.require_flag()
    }

    /// Whoever else worked on the file and gave up has punched our data away,
    /// and taken the flag off with it.
    fn require_flag(&self) -> Result<(), Error> {
        match inspect(&self.file, self.space)? {
            Placement::Filling(_) => Ok(()),
            other => Err(Error::NotAStub { found: other.describe() }),
        }
    }

    /// The data are durable.
    fn release(&mut self) -> Result<(), Error> {
        fault::point("stub.fill-data-durable");
        self.saved.put_back(&self.file)?;
        Saved::forget(&self.file, self.space)?;
        self.space.remove(&self.file)?;
        self.done = true;
        fault::point("stub.fill-marker-removed");
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::E2BIG))
}

impl Drop for Filler {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Err(error) = roll_back(&self.file, self.space, &self.marker, &self.saved) {
            tracing::warn!(%error, "a stub stays half filled until the next recovery");
        }
    }
}
