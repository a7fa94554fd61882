//! `hsm recall`: make stubs ordinary files again.

use super::Outcome;
use crate::cli::args::{DryRun, FilesFrom};
use crate::cli::context::Context;
use crate::cli::error::Error;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm recall /srv/media/film.mkv
  hsm recall -r /srv/projects/2024
  hsm find /srv --state stub --name '*.pdf' -0 | hsm recall -0";

/// Bring the data of stubs back
///
/// Fetches, verifies and writes the data into the stubs themselves, so that
/// hard links, open handles and inode numbers stay valid. Files that are not
/// stubs are passed over.
///
/// Space is checked before the first byte. Nothing unverified becomes visible;
/// a recall that fails leaves the stub as it was. The copy stays in the store.
/// A stub that somebody wrote over is not touched without --discard-local.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RecallArgs {
    /// Stubs, or with -r directories
    #[arg(value_name = "PATH", required_unless_present_any = ["files_from", "null"])]
    pub paths: Vec<PathBuf>,

    /// Recall everything below the directories named
    #[arg(short, long)]
    pub recursive: bool,

    #[command(flatten)]
    pub files_from: FilesFrom,

    /// Throw away what was written over a stub and recall the copy
    #[arg(long)]
    pub discard_local: bool,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(_context: &Context, _args: &RecallArgs) -> Result<Outcome, Error> {
    Err(Error::NotBuilt("recall"))
}
