//! Whether this node knows what it has: only then may it say that something is
//! needed no more.
//!
//! A deletion was concluded by a scan. Before the copy of what was deleted is given
//! up, a later scan of the whole root must have had its chance to find it again: one
//! that met no error, on the file system that belongs there, and not long ago.

use super::{Error, Options};
use crate::os::tree::RootDir;
use crate::site::Site;
use crate::state::RootRow;
use crate::store::{Key, PROBE_PREFIX, PutOptions};
use crate::units::format_duration;
use bytes::Bytes;
use std::path::PathBuf;
use std::time::Duration;

/// A scan counts for so long. Runs are daily, so this forgives a few that failed;
/// it is far below any grace, so what is given up was missing in several scans.
const SCAN_COUNTS: Duration = Duration::from_secs(7 * 86_400);

/// So far the clocks of this server and of the store may be apart: what a grace is
/// measured in is days.
const CLOCKS_APART: Duration = Duration::from_secs(86_400);

/// Why a root cannot be answered for.
#[derive(Debug, thiserror::Error)]
pub enum Doubt {
    #[error("it cannot be opened")]
    Open(#[source] std::io::Error),
    #[error("it is not the file system that it was at hsm init (was {was}, is {is})")]
    OtherFileSystem { was: String, is: String },
    #[error("it is empty although {entries} entries are known below it")]
    Empty { entries: u64 },
    #[error("it was never scanned to the end")]
    NeverScanned,
    #[error("its last scan {0}")]
    Broken(String),
    #[error("its last scan is {0} old")]
    Old(String),
}

/// Fails by the name of the first root of this node that it cannot answer for.
pub fn check_roots(site: &Site<'_>) -> Result<(), Error> {
    for row in site.state.roots()? {
        let path = || row.path.clone();
        look_at(&row).map_err(|doubt| Error::Root { path: path(), doubt })?;
        check_scans(site, &row)?.map_err(|doubt| Error::Root { path: path(), doubt })?;
    }
    Ok(())
}

fn look_at(row: &RootRow) -> Result<(), Doubt> {
    let root = RootDir::open(&row.path).map_err(Doubt::Open)?;
    let is = root.identity().to_string();
    if is != row.identity {
        return Err(Doubt::OtherFileSystem { was: row.identity.clone(), is });
    }
    let is_empty = std::fs::read_dir(root.path()).map_err(Doubt::Open)?.next().is_none();
    if is_empty && row.entries > 0 {
        return Err(Doubt::Empty { entries: row.entries });
    }
    Ok(())
}

fn check_scans(site: &Site<'_>, row: &RootRow) -> Result<Result<(), Doubt>, Error> {
    let standing = site.state.scan_standing(row.id)?;
    let Some(complete_ns) = standing.complete_ns else { return Ok(Err(Doubt::NeverScanned)) };
    if let Some(under) = standing.broken_since {
        let at = if under.is_root() { PathBuf::new() } else { under.to_path(&row.path) };
        let of = if under.is_root() { String::new() } else { format!(" (of {})", at.display()) };
        let what = format!("broke off, met an error or is at work{of}");
        return Ok(Err(Doubt::Broken(what)));
    }
    let age_ns = site.clock.now_ns().saturating_sub(complete_ns);
    let age = Duration::from_nanos(u64::try_from(age_ns).unwrap_or(0));
    if age > SCAN_COUNTS {
        return Ok(Err(Doubt::Old(format_duration(age))));
    }
    Ok(Ok(()))
}

/// Fails where the store cannot do what the protocol rests on.
pub fn check_store(site: &Site<'_>, options: &Options<'_>) -> Result<(), Error> {
    if !site.capabilities.lists_own_writes {
        return Err(Error::ListsLate);
    }
    if !site.capabilities.conditional_create && !options.section.only_here {
        return Err(Error::NoConditions);
    }
    Ok(())
}

/// The earlier of this server's time and the store's, found by writing an object; an
/// error where they are far apart, which makes all ages doubtful.
pub fn common_now_ns(site: &Site<'_>) -> Result<i64, Error> {
    let name = format!("{PROBE_PREFIX}{}/clock", crate::ids::PackId::fresh(site.clock.now_ns()));
    let scratch = Key::new(name).expect("scratch names are keys");
    let options = PutOptions::default();
    site.store.put(&scratch, Bytes::from_static(b"what time is it?"), &options)?;
    let info = site.store.head(&scratch);
    site.store.delete(&scratch)?;
    let (ours_ns, theirs_ns) = (site.clock.now_ns(), info?.modified_ns);
    let apart = Duration::from_nanos(ours_ns.abs_diff(theirs_ns));
    if apart > CLOCKS_APART && !site.clock.is_fixed() {
        let apart = format_duration(apart);
        let ahead = if ours_ns > theirs_ns { "ahead of" } else { "behind" };
        return Err(Error::Clocks { apart, ahead });
    }
    Ok(ours_ns.min(theirs_ns))
}
