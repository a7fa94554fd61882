//! `hsm scan`: bring the state DB up to date with the trees.

use super::Outcome;
use crate::cli::args::DryRun;
use crate::cli::context::Context;
use crate::cli::error::Error;
use clap::Args;
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

pub fn run(_context: &Context, _args: &ScanArgs) -> Result<Outcome, Error> {
    Err(Error::NotBuilt("scan"))
}
