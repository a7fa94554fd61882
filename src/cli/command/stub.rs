//! `hsm stub`: free the blocks of uploaded files.

use super::Outcome;
use crate::cli::args::{DryRun, FilesFrom, PolicyFiles};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::job::{self, Parts};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm stub --dry-run
  hsm stub /srv/projects/finished
  hsm explain FILE    # why FILE is not stubbed";

/// Free the blocks of uploaded files
///
/// Replaces files that have a verified copy by stubs: those the policy
/// selects, or those named. Name, size, times, owner, mode, ACLs and attributes
/// stay; `hsm recall` brings the data back.
///
/// Every precondition is checked again at the moment of freeing; a file that
/// fails one is left alone and `hsm explain` names it. Without a guard, a
/// program that opens a stub reads zeros, so hsm refuses unless the policy says
/// `unguarded = true`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct StubArgs {
    /// Files or directories [default: what the policy selects]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub files_from: FilesFrom,

    #[command(flatten)]
    pub policy: PolicyFiles,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &StubArgs) -> Result<Outcome, Error> {
    let parts = Parts { command: "stub", scan: false, upload: false, stub: true };
    let paths = args.files_from.gather(&args.paths)?;
    job::execute(context, parts, &paths, &args.policy, args.dry_run.dry_run)
}
