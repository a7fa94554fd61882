//! `hsm scan`: bring the state DB up to date with the trees.

use super::Outcome;
use crate::cli::args::DryRun;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::job::own_places;
use crate::cli::locate::{self, Place};
use crate::cli::opened::with_ground;
use crate::cli::output::{Name, escaped_path};
use crate::config::Config;
use crate::monitor::Silent;
use crate::scan::{self, DirBatch, Sink, SinkError};
use crate::tier::recover;
use crate::tier::rescan::{self, RescanStats, ScanRequest};
use clap::Args;
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm scan
  hsm scan /srv/media/2026";

/// Bring the state DB up to date with the trees
///
/// Walks every root (or the directories named), records what is there, and
/// finds new, changed, moved and deleted files. Run it from a timer; `hsm tier`
/// scans by itself.
///
/// It reads names and attributes, never file data, changes no access time and
/// does not cross mounts. A directory that cannot be read makes the scan
/// incomplete: nothing is then concluded to be deleted. A root that is empty,
/// missing or on another file system than before stops it.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ScanArgs {
    /// Roots or directories below them [default: all roots]
    #[arg(value_name = "DIR")]
    pub dirs: Vec<PathBuf>,

    /// Walk with this many threads [default: two per core, at most 16]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &ScanArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let roots = context.state_read_only(&config)?.roots()?;
    let places = locate::places(&roots, &args.dirs)?;
    let threads = args.threads.map_or(0, NonZeroUsize::get);
    if args.dry_run.dry_run {
        return look(context, &config, &places, threads);
    }
    let (mut entries, mut errors) = (0, 0);
    for place in &places {
        let locked = std::slice::from_ref(&place.root);
        let stats = with_ground(context, &config, locked, |ground| {
            let root = rescan::open_root(&place.root)?;
            recover::recover_files(ground, place.root.id, &root)?;
            let request = ScanRequest {
                under: (!place.path.is_root()).then(|| place.path.clone()),
                skip: own_places(&config),
                threads,
            };
            Ok(rescan::rescan(ground, &place.root, &root, &request)?)
        })?;
        tell(context, place, &stats)?;
        entries += stats.seen.files + stats.seen.others + stats.seen.directories;
        errors += stats.seen.errors;
    }
    Ok(Outcome::done().with("entries", entries).with("errors", errors))
}

fn tell(context: &Context, place: &Place, stats: &RescanStats) -> Result<(), Error> {
    let (seen, changes) = (&stats.seen, &stats.changes);
    let path = place.path.to_path(&place.root.path);
    let mut line = format!(
        "{}: {} files, {} directories, {} others; {} new, {} changed, {} removed",
        escaped_path(&path),
        seen.files,
        seen.directories,
        seen.others,
        changes.added,
        changes.changed,
        changes.removed
    );
    if !seen.complete {
        line.push_str("; incomplete, so nothing was concluded to be deleted");
    }
    context.out.remark(line)?;
    context.out.record(&json!({
        "type": "scan", "path": Name::of(&path), "files": seen.files,
        "directories": seen.directories, "others": seen.others, "bytes": seen.bytes,
        "errors": seen.errors, "complete": seen.complete, "added": changes.added,
        "changed": changes.changed, "removed": changes.removed, "moved": changes.moved,
        "dirty": changes.dirty, "gone": changes.gone,
    }))
}

/// A walk that records nothing.
fn look(
    context: &Context,
    config: &Config,
    places: &[Place],
    threads: usize,
) -> Result<Outcome, Error> {
    struct Nowhere;
    impl Sink for Nowhere {
        fn directory(&mut self, _: DirBatch) -> Result<(), SinkError> {
            Ok(())
        }
    }
    let mut entries = 0;
    for place in places {
        let root = rescan::open_root(&place.root)?;
        let under = (!place.path.is_root()).then(|| place.path.clone());
        let options = scan::Options { threads, under, skip: own_places(config), alone: false };
        let seen = scan::run(&root, &options, &Silent, &context.stop, &mut Nowhere)?;
        let path = escaped_path(&place.root.path);
        let (files, directories) = (seen.files, seen.directories);
        context
            .out
            .remark(format!("{path}: {files} files, {directories} directories (dry run)"))?;
        entries += seen.files + seen.others + seen.directories;
    }
    Ok(Outcome::done().with("entries", entries).with("dry_run", true))
}
