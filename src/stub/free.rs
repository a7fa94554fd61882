//! Freeing the blocks of a file that has a verified copy.
//!
//! In two steps, so that a batch pays for one syncfs: [`arm`] each file, make
//! the markers durable, [`Armed::punch`] each. Between the two the file is
//! whole and only carries a marker, and is looked at again before the punch.
//! Whoever gives up in between, by an error or by dropping the value, takes the
//! marker off again; once a punch has begun it stays.
//!
//! A file with holes of its own says so in its marker until just before its
//! punch, for otherwise a crash would leave it looking like a stub that someone
//! wrote to. A death in the instant between that and the punch still does
//! ([`Placement::Changed`]): nothing is lost, but someone has to compare.

use super::error::Error;
use super::expected::{Expected, check_unchanged};
use super::inspect::{Placement, inspect};
use super::marker::Marker;
use super::offline;
use super::saved::Saved;
use super::space::MarkerSpace;
use super::{require_suitable, writable};
use crate::config::OfflineBit;
use crate::fault;
use crate::manifest::VerifiedCopy;
use crate::os::blocks;
use crate::os::stat::{Stat, statx_fd};
use std::fs::File;

/// A marked file whose blocks are all still there.
#[derive(Debug)]
pub struct Armed {
    /// `None` only while it is being moved out.
    file: Option<File>,
    space: MarkerSpace,
    marker: Marker,
    saved: Saved,
    /// The file has holes of its own and its marker says so.
    intact: bool,
    /// Before the marker was set.
    allocated_bytes: u64,
    /// As it was just after the marker was set.
    expected: Expected,
    /// From here on the marker must stay.
    punch_began: bool,
}

/// A stub, just made.
#[derive(Debug)]
pub struct Punched {
    pub file: File,
    /// Net: less a block that the marker may have cost.
    pub freed_bytes: u64,
    /// After the last change to the metadata; its ctime is the one to expect.
    pub stat: Stat,
}

/// Marks `file` as having `copy` behind it. The file may be open read-only
/// (`RootDir::open_free`); it is compared with `expected` before anything about
/// it is changed. On return the marker is visible, not durable. The ctime has
/// changed. `bit` says whether the stub is to be shown as offline.
pub fn arm(
    file: File,
    space: MarkerSpace,
    expected: &Expected,
    copy: VerifiedCopy,
    store_tag: [u8; 4],
    bit: OfflineBit,
) -> Result<Armed, Error> {
    check_unchanged(&file, expected)?;
    if copy.size_bytes() != expected.size_bytes {
        let (proven_bytes, found_bytes) = (copy.size_bytes(), expected.size_bytes);
        return Err(Error::WrongCopy { proven_bytes, found_bytes });
    }
    let stat = statx_fd(&file).map_err(Error::Inspect)?;
    require_suitable(&file, &stat, space)?;
    if stat.size_bytes == 0 {
        return Err(Error::Unsuitable { why: "it is empty" });
    }
    match inspect(&file, space)? {
        Placement::Resident => {}
        marked => return Err(Error::AlreadyMarked { found: marked.describe() }),
    }
    let saved = Saved::of(&file, &stat)?;
    let file = writable(file)?;
    let whole = blocks::is_all_data(&file, stat.size_bytes).map_err(Error::Inspect)?;
    let marker = Marker {
        content: copy.content(),
        size_bytes: expected.size_bytes,
        ident: expected.ident,
        store_tag,
        filling: false,
        offline: offline::is_wanted(&file, bit),
    };
    let mut armed = Armed {
        file: Some(file),
        space,
        marker,
        saved,
        intact: !whole,
        allocated_bytes: stat.allocated_bytes,
        expected: *expected,
        punch_began: false,
    };
    armed.set_marker()?;
    Ok(armed)
}

impl Armed {
    /// An error drops `self`, which takes off what was set.
    fn set_marker(&mut self) -> Result<(), Error> {
        if self.saved.is_privileged() {
            self.saved.record(self.file(), self.space)?;
        }
        self.space.store(self.file(), &self.marker, self.intact)?;
        fault::point("stub.marker-set");
        // Our own change of the ctime; the rest must be as it was.
        self.expected.ctime_ns = statx_fd(self.file()).map_err(Error::Inspect)?.ctime_ns;
        Ok(check_unchanged(self.file(), &self.expected)?)
    }

    pub fn file(&self) -> &File {
        self.file.as_ref().expect("taken out only when self is consumed")
    }

    /// Nobody has touched the file since it was marked.
    pub fn is_unchanged(&self) -> bool {
        check_unchanged(self.file(), &self.expected).is_ok()
    }

    /// Frees the blocks. The caller has made the marker durable, and holds a
    /// lease or has a guard that keeps openers waiting. On an error before the
    /// first block was freed the marker is taken off again; after it, the file
    /// is for [`super::recover`]. On return the hole is visible, not durable;
    /// a crash leaves the stub, or the whole marked file.
    pub fn punch(mut self) -> Result<Punched, Error> {
        check_unchanged(self.file(), &self.expected)?;
        fault::point("stub.before-punch");
        if self.intact {
            self.declare_freed()?;
        }
        fault::effect("stub.fallocate").map_err(Error::Punch)?;
        self.punch_began = true;
        if let Err(error) = blocks::punch_all(self.file(), self.marker.size_bytes) {
            self.punch_began = !is_refusal(&error);
            return Err(Error::Punch(error));
        }
        fault::point("stub.after-punch");
        self.saved.put_back(self.file())?;
        fault::point("stub.after-times");
        if self.saved.is_privileged() {
            Saved::forget(self.file(), self.space)?;
        }
        offline::show(self.file(), self.space, &self.marker);
        fault::point("stub.offline-shown");
        let stat = statx_fd(self.file()).map_err(Error::Inspect)?;
        let freed_bytes = self.allocated_bytes.saturating_sub(stat.allocated_bytes);
        let file = self.file.take().expect("taken out only here and in disarm");
        Ok(Punched { file, freed_bytes, stat })
    }

    /// From here the marker no longer says intact, durably: on a file system
    /// without a journal one that still did could outlive half a punch and make
    /// it look whole. Only files with holes of their own pay for it.
    fn declare_freed(&mut self) -> Result<(), Error> {
        self.space.store(self.file(), &self.marker, false)?;
        fault::effect("stub.fsync").map_err(Error::Sync)?;
        self.file().sync_all().map_err(Error::Sync)?;
        fault::point("stub.holes-declared");
        Ok(())
    }

    /// Takes the marker off: the file is resident again, with another ctime.
    pub fn disarm(mut self) -> Result<File, Error> {
        self.take_off()?;
        Ok(self.file.take().expect("taken out only here and in punch"))
    }

    fn take_off(&self) -> Result<(), Error> {
        Saved::forget(self.file(), self.space)?;
        self.space.remove(self.file()).map(|_| ())
    }
}

/// The kernel's ways to say no before it frees a block: the file system knows no
/// holes, or the file is swapped to (`ETXTBSY`).
fn is_refusal(error: &std::io::Error) -> bool {
    let refusals = [libc::EOPNOTSUPP, libc::ENOSYS, libc::ETXTBSY, libc::EPERM];
    error.raw_os_error().is_some_and(|errno| refusals.contains(&errno))
}

impl Drop for Armed {
    fn drop(&mut self) {
        if self.file.is_none() || self.punch_began {
            return;
        }
        if let Err(error) = self.take_off() {
            tracing::warn!(%error, "a whole file keeps its marker until the next recovery");
        }
    }
}
