//! `hsm tier`: scan, upload and stub in one run, as the timer does.

use super::Outcome;
use crate::cli::args::{DryRun, PolicyFiles};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::job::{self, Parts};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm tier --dry-run
  hsm tier
  hsm tier /srv/media --policy media.toml";

/// Scan, upload and stub: the whole job
///
/// Scans the roots, uploads what the policy selects, proves every copy, and
/// frees the blocks of files that are cold or, above the high watermark, the
/// coldest first until the low one.
///
/// It never frees a block before the copy is verified and the catalog names it,
/// never stubs a file that is open, pinned, changed or recently recalled, and
/// needs a guard or `unguarded = true` in the policy to stub at all. Ctrl-C
/// stops it between files; the next run continues.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct TierArgs {
    /// Roots to work on [default: all roots]
    #[arg(value_name = "ROOT")]
    pub roots: Vec<PathBuf>,

    #[command(flatten)]
    pub policy: PolicyFiles,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &TierArgs) -> Result<Outcome, Error> {
    let parts = Parts { command: "tier", scan: true, upload: true, stub: true };
    job::execute(context, parts, &args.roots, &args.policy, args.dry_run.dry_run)
}
