//! A sample of the stubs, looked at without opening one: whether each still has
//! its marker, and its own.
//!
//! A descriptor that only names the file raises no event, so that nothing is
//! recalled. All stubs are `verify`'s work.

use super::{Finding, bad, good, note, warning};
use crate::os::stat::statx_fd;
use crate::os::tree::is_gone;
use crate::os::{RootDir, file_ident};
use crate::state::{ManagedRow, RootId, StateDb};
use crate::stub::{self, Glance, MarkerSpace, Placement};
use std::collections::BTreeMap;
use std::io;

/// A look at each costs some ten microseconds.
const MOST: usize = 1000;

/// What one recorded stub is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Sound,
    /// Another file is at its path, or none.
    Gone,
    /// No marker, and bytes are there.
    Resident,
    /// No marker, and no bytes either: it reads as zeros.
    Lost,
    Filling,
    Foreign,
    /// The marker names other content than the state DB.
    Other,
    Corrupt,
    Unreadable,
}

/// The findings, and how many stubs were looked at.
pub fn check(root: &RootDir, state: &StateDb, id: RootId, seed: u64) -> (Vec<Finding>, usize) {
    let rows = match state.sample_stubs(id, MOST, seed) {
        Ok(rows) => rows,
        Err(error) => return (vec![bad("stubs", error.to_string())], 0),
    };
    let space = MarkerSpace::for_this_process();
    let mut tally: BTreeMap<Found, (usize, String)> = BTreeMap::new();
    for row in &rows {
        let found = look(root, row, space).unwrap_or(Found::Unreadable);
        let entry = tally.entry(found).or_insert_with(|| (0, row.path.to_string()));
        entry.0 += 1;
    }
    (
        tally.iter().map(|(found, (count, example))| line(*found, *count, example)).collect(),
        rows.len(),
    )
}

fn look(root: &RootDir, row: &ManagedRow, space: MarkerSpace) -> io::Result<Found> {
    let file = match root.open_path(&row.path) {
        Ok(file) => file,
        Err(error) if is_gone(&error) => return Ok(Found::Gone),
        Err(error) => return Err(error),
    };
    let stat = statx_fd(&file)?;
    if stat.ino != row.ident.ino || file_ident(&file)? != row.ident {
        return Ok(Found::Gone);
    }
    let glance = stub::glance(&file, space).map_err(io::Error::other)?;
    let marker = match &glance {
        Glance::Sure(placement) => placement.marker(),
        Glance::Likely(marker) | Glance::Unclear(marker) => Some(marker),
    };
    let is_other = marker.is_some_and(|marker| row.content != Some(marker.content));
    let empty = stat.allocated_bytes == 0 && stat.size_bytes > 0;
    Ok(match glance {
        Glance::Sure(Placement::Resident) if empty => Found::Lost,
        Glance::Sure(Placement::Resident) => Found::Resident,
        Glance::Sure(Placement::Corrupt { .. }) => Found::Corrupt,
        Glance::Sure(Placement::Foreign(_)) => Found::Foreign,
        _ if is_other => Found::Other,
        Glance::Sure(Placement::Filling(_)) => Found::Filling,
        _ => Found::Sound,
    })
}

fn line(found: Found, count: usize, example: &str) -> Finding {
    let some = format!("{count} of the stubs looked at");
    let such = format!("such as {example}");
    match found {
        Found::Sound => good("stubs", format!("{some} have their markers; none was opened")),
        Found::Gone => {
            note("stubs-gone", format!("{some} were removed or replaced, {such}: hsm scan"))
        }
        Found::Resident => {
            note("stubs-back", format!("{some} have their data again, {such}: hsm scan"))
        }
        Found::Filling => note(
            "stubs-half",
            format!(
                "{some} are being recalled, or were when it was interrupted, {such}: hsm recall"
            ),
        ),
        Found::Lost => bad(
            "stubs-lost",
            format!(
                "{some} have lost their marker and read as zeros, {such}: their bytes are in the store, hsm verify lists them all"
            ),
        ),
        Found::Foreign => warning(
            "stubs-alien",
            format!(
                "{some} carry another file's marker, {such}: hsm adopt makes them stubs of their own"
            ),
        ),
        Found::Other => warning(
            "stubs-other",
            format!("{some} name other content than the state DB, {such}: hsm verify"),
        ),
        Found::Corrupt => bad(
            "stubs-broken",
            format!("{some} have a marker that cannot be read, {such}: hsm verify"),
        ),
        Found::Unreadable => {
            warning("stubs-unseen", format!("{some} could not be looked at, {such}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command::doctor::Level;

    #[test]
    fn only_what_loses_data_is_bad() {
        let level = |found| line(found, 3, "a/b").level;
        assert_eq!(level(Found::Sound), Level::Good);
        assert_eq!([Found::Lost, Found::Corrupt].map(level), [Level::Bad; 2]);
        assert_eq!([Found::Gone, Found::Resident, Found::Filling].map(level), [Level::Note; 3]);
        assert_eq!([Found::Foreign, Found::Other].map(level), [Level::Warning; 2]);
        assert!(line(Found::Lost, 3, "a/b").what.starts_with("3 of the stubs looked at have lost"));
    }
}
