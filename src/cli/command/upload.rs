//! `hsm upload`: make verified copies, keep the local bytes.

use super::Outcome;
use crate::cli::args::{DryRun, FilesFrom, PolicyFiles};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::job::{self, Parts};
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm upload
  hsm upload /srv/projects/finished
  find /srv/scans -name '*.tif' -print0 | hsm upload -0";

/// Copy files to the store and keep them here
///
/// Uploads what the policy selects, or the paths named whatever the policy
/// says, and verifies each copy. The files stay as they are; a later
/// `hsm stub` frees their blocks without another transfer. What the store
/// already holds is not sent again.
///
/// It never changes a file, and a file that changes while it is read does not
/// count as uploaded: it is named and tried next time.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct UploadArgs {
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

pub fn run(context: &Context, args: &UploadArgs) -> Result<Outcome, Error> {
    let parts = Parts { command: "upload", scan: false, upload: true, stub: false };
    let paths = args.files_from.gather(&args.paths)?;
    job::execute(context, parts, &paths, &args.policy, args.dry_run.dry_run)
}
