//! The placeholder on disk: freeing a file's blocks and filling them again.
//!
//! Invariant: a hole without its data exists only in an inode that carries a
//! marker. From it follow the two orders, whose arrows are fault points:
//!
//! * freeing ([`arm`], [`Armed::punch`]): file unchanged since its upload ->
//!   marker -> (the caller makes it durable, one syncfs for a batch) -> file
//!   still unchanged -> blocks freed -> times put back;
//! * filling ([`begin_fill`], [`Filler`]): `filling` flag -> space reserved ->
//!   data written -> data durable -> what a write strips put back -> marker
//!   removed.
//!
//! Blocks are freed only for a [`crate::manifest::VerifiedCopy`], which is used
//! up by it. Whatever a crash leaves, [`inspect`] names it and [`recover`] ends
//! it in a state from which every byte can be had: a stub, or a whole file.
//!
//! This room works on one open file and knows neither paths nor the state DB.
//! It does not exclude other openers: the caller holds a lease over the punch,
//! or a guard makes them wait.

pub mod dos_attributes;
mod error;
mod expected;
mod fill;
mod free;
mod inspect;
mod marker;
mod offline;
mod rebind;
mod recover;
mod saved;
mod space;

pub use error::Error;
pub use expected::{Changed, Expected, check_unchanged};
pub use fill::{Filler, begin_fill};
pub use free::{Armed, Punched, arm};
pub use inspect::{Glance, Placement, glance, inspect, is_marked_elsewhere};
pub use marker::{MARKER_LEN, Marker, MarkerError};
pub use offline::{leave_out, renew_unopened, shown};
pub use rebind::{rebind, rebind_unopened};
pub use recover::{discard_residue, drop_marker, recover, set_marker};
pub use space::MarkerSpace;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod outside_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use crate::os::stat::Stat;
use crate::os::{owner_write, xattrs};
use std::fs::File;

/// Refuses up front what could not be put back afterwards.
fn require_suitable(file: &File, stat: &Stat, space: MarkerSpace) -> Result<(), Error> {
    let unsuitable = |why| Err(Error::Unsuitable { why });
    if stat.immutable || stat.append_only {
        return unsuitable("the file is immutable or append-only (lsattr)");
    }
    if !stat.times_exact() {
        return unsuitable("its modification time lies outside the years 1677 to 2262");
    }
    let capability = xattrs::get(file, xattrs::CAPABILITY).map_err(Error::Inspect)?;
    if space == MarkerSpace::User && capability.is_some() {
        return unsuitable("it has file capabilities, which only root could put back");
    }
    Ok(())
}

/// The same inode with a descriptor that may write.
fn writable(file: File) -> Result<File, Error> {
    if owner_write::is_writable(&file).map_err(Error::MakeWritable)? {
        return Ok(file);
    }
    crate::fault::effect("stub.fchmod")
        .and_then(|()| owner_write::reopen(&file))
        .map_err(Error::MakeWritable)
}
