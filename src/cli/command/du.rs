//! `hsm du`: what a tree weighs here and in the store.

use super::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::listing;
use crate::cli::locate::{self, Place};
use crate::cli::output::Name;
use crate::os::{FileKind, RelPath};
use crate::state::{EntryRow, StateDb};
use crate::units;
use clap::Args;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm du
  hsm du -d 2 /srv/projects";

/// Sum up sizes here and in the store
///
/// For each directory: the size of its files, the blocks they take here, and
/// the bytes that are only in the store. Hard links count once.
///
/// It reads the state DB only; the figures are those of the last scan.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DuArgs {
    /// Directories [default: the roots]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Show directories this many levels down
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    pub depth: usize,
}

/// Sums of one directory and all below it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Weight {
    files: u64,
    size_bytes: u64,
    local_bytes: u64,
    remote_bytes: u64,
}

impl Weight {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.size_bytes += other.size_bytes;
        self.local_bytes += other.local_bytes;
        self.remote_bytes += other.remote_bytes;
    }
}

pub fn run(context: &Context, args: &DuArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let state = context.state_read_only(&config)?;
    let mut total = Weight::default();
    context.out.line(format!("{:>10}  {:>10}  {:>10}  path", "size", "here", "in store"))?;
    for place in locate::places(&state.roots()?, &args.paths)? {
        for (dir, weight) in weigh(&state, &place, args.depth)? {
            if dir == place.path {
                total.add(weight);
            }
            line(context, &place, &dir, weight)?;
        }
    }
    Ok(Outcome::done()
        .with("files", total.files)
        .with("size_bytes", total.size_bytes)
        .with("local_bytes", total.local_bytes)
        .with("remote_bytes", total.remote_bytes))
}

fn weigh(state: &StateDb, place: &Place, depth: usize) -> Result<BTreeMap<RelPath, Weight>, Error> {
    let mut sums = BTreeMap::from([(place.path.clone(), Weight::default())]);
    let mut seen_links = HashSet::new();
    state.for_each_entry(place.root.id, Some(&place.path), &mut |entry| {
        let again =
            entry.nlink > 1 && entry.kind == FileKind::File && !seen_links.insert(entry.ino);
        if !again {
            for dir in shown_dirs(&place.path, &entry, depth) {
                sums.entry(dir).or_default().add(weight(&entry));
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(sums)
}

/// The directories that an entry counts for: the place itself and those on the
/// way to the entry, `depth` levels down. A directory counts for itself.
fn shown_dirs(place: &RelPath, entry: &EntryRow, depth: usize) -> Vec<RelPath> {
    let mut dirs = Vec::new();
    let mut dir = match entry.kind {
        FileKind::Dir => Some(entry.path.clone()),
        _ => entry.path.parent(),
    };
    while let Some(at) = dir.filter(|dir| dir.starts_with(place)) {
        dir = at.parent();
        dirs.push(at);
    }
    dirs.reverse();
    dirs.truncate(depth + 1);
    if dirs.is_empty() {
        dirs.push(place.clone());
    }
    dirs
}

fn weight(entry: &EntryRow) -> Weight {
    let is_file = entry.kind == FileKind::File;
    Weight {
        files: u64::from(is_file),
        size_bytes: if is_file { entry.size_bytes } else { 0 },
        local_bytes: listing::local_bytes(entry),
        remote_bytes: listing::remote_bytes(entry),
    }
}

fn line(context: &Context, place: &Place, dir: &RelPath, weight: Weight) -> Result<(), Error> {
    let path = dir.to_path(&place.root.path);
    let [size, here, store] =
        [weight.size_bytes, weight.local_bytes, weight.remote_bytes].map(units::format_size);
    let mut line = format!("{size:>10}  {here:>10}  {store:>10}  ").into_bytes();
    line.extend_from_slice(&context.out.shown(path.as_os_str().as_bytes()));
    context.out.line(line)?;
    context.out.record(&json!({
        "type": "dir", "path": Name::of(&path), "files": weight.files,
        "size_bytes": weight.size_bytes, "local_bytes": weight.local_bytes,
        "remote_bytes": weight.remote_bytes,
    }))
}
