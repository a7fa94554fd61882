//! `hsm demo`: the newcomer's one command.

use super::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm demo
  hsm demo ~/Pictures --keep";

/// See it work on a small tree
///
/// Builds a small tree, or copies DIR, in a temporary directory, tiers it to a
/// directory store with the real engine, shows the space freed, recalls
/// everything, compares it with the original and verifies the store.
///
/// It touches neither DIR nor any configuration, and removes what it made.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DemoArgs {
    /// Work on a copy of this directory
    pub dir: Option<PathBuf>,

    /// Leave tree, store and state for a look around
    #[arg(long)]
    pub keep: bool,
}

pub fn run(_context: &Context, _args: &DemoArgs) -> Result<Outcome, Error> {
    Err(Error::NotBuilt("demo"))
}
