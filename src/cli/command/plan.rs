//! `hsm plan`: what the policy would do, and why, without doing it.

use super::Outcome;
use crate::cli::args::PolicyFiles;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::job::{self, Parts};
use crate::cli::locate;
use crate::units;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm plan
  hsm plan --policy media.toml /srv/media
  hsm plan --as-of now+30d";

/// Show what tiering would do, and why
///
/// Evaluates the policy over what the last scan saw and prints each file with
/// its action and the rule that chose it, then the files and bytes per rule.
///
/// It writes nothing anywhere, opens no file and does not ask the store: a
/// file may still be left out later, because it changed or is open.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PlanArgs {
    /// Roots, directories or files [default: all roots]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Plan as if it were this time (2026-12-31, now+30d, RFC 3339)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub as_of: Option<String>,

    #[command(flatten)]
    pub policy: PolicyFiles,
}

pub fn run(context: &Context, args: &PlanArgs) -> Result<Outcome, Error> {
    let now_ns = match &args.as_of {
        Some(text) => units::parse_time(text, context.now_ns())
            .map_err(|error| Error::Usage(format!("--as-of: {error}")))?,
        None => context.now_ns(),
    };
    let config = context.config()?;
    let policy = context.policy(&config, &args.policy)?;
    let roots = context.state_read_only(&config)?.roots()?;
    let places = locate::places(&roots, &args.paths)?;
    // As the policy would do it: naming a path narrows the plan, it waives nothing.
    let parts = Parts { command: "plan", scan: true, upload: true, stub: true };
    job::plan(context, &config, &policy, &places, parts, now_ns)
}
