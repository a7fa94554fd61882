//! `hsm find`: files by state, name, size, age and owner, out of the state DB.

use super::Outcome;
use crate::cli::accounts;
use crate::cli::args;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::listing::{self, Record};
use crate::cli::locate;
use crate::os::FileKind;
use crate::policy::FileState;
use crate::state::EntryRow;
use crate::units;
use clap::{Args, ValueEnum};
use globset::{GlobBuilder, GlobMatcher};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm find /srv --state stub --larger 1GiB
  hsm find --name '*.psd' --older 2y
  hsm find /srv/projects --state stub -0 | hsm recall -0";

/// Find files by state, name, size, age or owner
///
/// Prints the paths of entries for which every condition holds, as the last
/// scan saw them.
///
/// It reads the state DB only: it touches no file and recalls nothing, however
/// large the tree.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct FindArgs {
    /// Where to look [default: all roots]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// In one of these states (repeatable)
    #[arg(long, value_name = "STATE", value_enum)]
    pub state: Vec<StateArg>,

    /// Of this kind
    #[arg(long = "type", value_name = "KIND", value_enum)]
    pub kind: Option<KindArg>,

    /// Whose last component matches this glob
    #[arg(long, value_name = "GLOB")]
    pub name: Option<String>,

    /// Larger than this
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    pub larger: Option<u64>,

    /// Smaller than this
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    pub smaller: Option<u64>,

    /// Modified longer ago (90d) or earlier (2026-01-31) than this
    #[arg(long, value_name = "AGE|TIME")]
    pub older: Option<String>,

    /// Modified more recently (90d) or later (2026-01-31) than this
    #[arg(long, value_name = "AGE|TIME")]
    pub newer: Option<String>,

    /// Owned by this user (name or number)
    #[arg(long, value_name = "USER")]
    pub owner: Option<String>,

    /// End each path with NUL, for names with newlines
    #[arg(short = '0', long)]
    pub null: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    Resident,
    Uploaded,
    Stub,
    Dirty,
    Damaged,
    Uploading,
    Stubbing,
    Recalling,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    File,
    Dir,
    Symlink,
    Other,
}

pub fn run(context: &Context, args: &FindArgs) -> Result<Outcome, Error> {
    let wanted = Wanted::new(args, context.now_ns())?;
    let config = context.config()?;
    let state = context.state_read_only(&config)?;
    let (mut found, mut bytes) = (0_u64, 0_u64);
    for place in locate::places(&state.roots()?, &args.paths)? {
        let mut failed = None;
        let mut visit = |entry: EntryRow| {
            if !wanted.holds(&entry) {
                return ControlFlow::Continue(());
            }
            found += 1;
            bytes += entry.size_bytes;
            let path = entry.path.to_path(&place.root.path);
            let printed = context
                .out
                .name(path.as_os_str().as_bytes(), args.null)
                .and_then(|()| context.out.record(&Record::new(&path, &entry)));
            match printed {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        state.for_each_entry(place.root.id, Some(&place.path), &mut visit)?;
        failed.map_or(Ok(()), Err)?;
    }
    Ok(Outcome::done().with("entries", found).with("size_bytes", bytes))
}

/// The conditions, ready to be asked a million times.
struct Wanted {
    states: Vec<FileState>,
    kind: Option<KindArg>,
    name: Option<GlobMatcher>,
    larger: Option<u64>,
    smaller: Option<u64>,
    modified_before_ns: Option<i64>,
    modified_after_ns: Option<i64>,
    uid: Option<u32>,
}

impl Wanted {
    fn new(args: &FindArgs, now_ns: i64) -> Result<Self, Error> {
        let moment = |text: &Option<String>| match text {
            Some(text) => ago_or_time(text, now_ns).map(Some).map_err(Error::Usage),
            None => Ok(None),
        };
        Ok(Self {
            states: args.state.iter().map(|state| state_of(*state)).collect(),
            kind: args.kind,
            name: args.name.as_deref().map(matcher).transpose()?,
            larger: args.larger,
            smaller: args.smaller,
            modified_before_ns: moment(&args.older)?,
            modified_after_ns: moment(&args.newer)?,
            uid: args.owner.as_deref().map(accounts::uid).transpose()?,
        })
    }

    fn holds(&self, entry: &EntryRow) -> bool {
        let in_state = || {
            self.states.is_empty()
                || listing::state(entry).is_some_and(|state| self.states.contains(&state))
        };
        let named = |name: &GlobMatcher| name.is_match(OsStr::from_bytes(entry.path.file_name()));
        in_state()
            && self.kind.is_none_or(|kind| kind_of(entry.kind) == kind)
            && self.larger.is_none_or(|size| entry.size_bytes > size)
            && self.smaller.is_none_or(|size| entry.size_bytes < size)
            && self.modified_before_ns.is_none_or(|time| entry.mtime_ns < time)
            && self.modified_after_ns.is_none_or(|time| entry.mtime_ns > time)
            && self.uid.is_none_or(|uid| entry.uid == uid)
            && self.name.as_ref().is_none_or(named)
    }
}

/// `90d` is that long before now; anything else is a point in time.
fn ago_or_time(text: &str, now_ns: i64) -> Result<i64, String> {
    if let Ok(age) = units::parse_duration(text) {
        let age_ns = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        return Ok(now_ns.saturating_sub(age_ns));
    }
    units::parse_time(text, now_ns).map_err(|error| error.to_string())
}

fn matcher(glob: &str) -> Result<GlobMatcher, Error> {
    let built = GlobBuilder::new(glob).literal_separator(true).build();
    Ok(built.map_err(|error| Error::Usage(error.to_string()))?.compile_matcher())
}

fn kind_of(kind: FileKind) -> KindArg {
    match kind {
        FileKind::File => KindArg::File,
        FileKind::Dir => KindArg::Dir,
        FileKind::Symlink => KindArg::Symlink,
        _ => KindArg::Other,
    }
}

fn state_of(state: StateArg) -> FileState {
    match state {
        StateArg::Resident => FileState::Resident,
        StateArg::Uploaded => FileState::Uploaded,
        StateArg::Stub => FileState::Stub,
        StateArg::Dirty => FileState::Dirty,
        StateArg::Damaged => FileState::Damaged,
        StateArg::Uploading => FileState::Uploading,
        StateArg::Stubbing => FileState::Stubbing,
        StateArg::Recalling => FileState::Recalling,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_back_from_now_and_a_date_stands() {
        let now = 10 * 86_400 * 1_000_000_000;
        assert_eq!(ago_or_time("1d", now), Ok(9 * 86_400 * 1_000_000_000));
        assert_eq!(ago_or_time("1970-01-02", now), Ok(86_400 * 1_000_000_000));
        assert!(ago_or_time("soon", now).is_err());
    }
}
