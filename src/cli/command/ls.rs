//! `hsm ls`: a directory with the state of every file.

use super::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::listing::{self, Record};
use crate::cli::locate::{self, Place};
use crate::os::{FileKind, RelPath};
use crate::state::{EntryRow, StateDb};
use crate::units;
use clap::Args;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm ls /srv/media
  hsm ls -r --json /srv/projects";

/// List files with their states
///
/// Shows the state, size, modification time and name of the files in a
/// directory as the last scan saw them: resident (only here), uploaded (here
/// and in the store), stub (only in the store), dirty (changed since its
/// upload) or damaged (its copy is known bad).
///
/// It reads the state DB only: it touches no file and recalls nothing.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct LsArgs {
    /// Directories or files [default: the roots]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// List everything below, with paths
    #[arg(short, long)]
    pub recursive: bool,
}

pub fn run(context: &Context, args: &LsArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let state = context.state_read_only(&config)?;
    let mut listed = 0_u64;
    for place in locate::places(&state.roots()?, &args.paths)? {
        listed += list(context, &state, &place, args.recursive)?;
    }
    Ok(Outcome::done().with("entries", listed))
}

/// Lists one place; a path of which the state DB knows nothing is an error.
fn list(context: &Context, state: &StateDb, place: &Place, recursive: bool) -> Result<u64, Error> {
    let whole_root = place.path == RelPath::root();
    match state.entry_at(place.root.id, &place.path)? {
        Some(entry) if entry.kind != FileKind::Dir => {
            line(context, place, &entry, true)?;
            return Ok(1);
        }
        None if !whole_root => return Err(unknown(place)),
        _ => {}
    }
    let (mut listed, mut failed) = (0, None);
    state.for_each_entry(place.root.id, Some(&place.path), &mut |entry| {
        // A directory's own entries come together, before those of the next.
        if !recursive && entry.path.parent().as_ref() != Some(&place.path) {
            return if listed == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        }
        listed += 1;
        match line(context, place, &entry, recursive) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(listed), Err)
}

fn line(context: &Context, place: &Place, entry: &EntryRow, whole: bool) -> Result<(), Error> {
    let path = entry.path.to_path(&place.root.path);
    if context.out.is_json() {
        return context.out.record(&Record::new(&path, entry));
    }
    let name = if whole { path.as_os_str().as_bytes() } else { entry.path.file_name() };
    let state = listing::state_word(entry);
    let size = match entry.kind {
        FileKind::File => units::format_size(entry.size_bytes),
        _ => "-".to_owned(),
    };
    let time = units::format_time(entry.mtime_ns);
    let mut line = format!("{state:<9}  {size:>10}  {time}  ").into_bytes();
    line.extend_from_slice(&context.out.shown(name));
    if entry.kind == FileKind::Dir {
        line.push(b'/');
    }
    context.out.line(line)
}

/// The last scan did not see this path.
pub fn unknown(place: &Place) -> Error {
    let path = place.path.to_path(&place.root.path);
    let path = crate::cli::output::escaped_path(&path);
    Error::refused(format!("no scan has seen {path}"), "hsm scan, then the same command again")
}
