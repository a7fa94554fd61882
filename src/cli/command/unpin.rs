//! `hsm unpin`: give files back to the policy.

use super::Outcome;
use super::pin::{self, Change};
use crate::cli::args::{DryRun, FilesFrom};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::policy::Pin;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm unpin /srv/media/current";

/// Give pinned or excluded paths back to the policy
///
/// Removes the pin or the exclusion set on exactly these paths. A file below a
/// pinned directory keeps what it inherits from there.
///
/// It moves no data.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct UnpinArgs {
    /// Files or directories
    #[arg(value_name = "PATH", required_unless_present_any = ["files_from", "null"])]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub files_from: FilesFrom,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &UnpinArgs) -> Result<Outcome, Error> {
    let paths = args.files_from.gather(&args.paths)?;
    pin::change(context, &Change { paths, pin: Pin::None, dry_run: args.dry_run.dry_run })
}
