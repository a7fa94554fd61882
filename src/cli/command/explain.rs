//! `hsm explain`: why a file is what it is, and why it is not a stub.

use super::Outcome;
use crate::cli::args::PolicyFiles;
use crate::cli::context::Context;
use crate::cli::error::Error;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm explain /srv/media/film.mkv";

/// Tell why a file is, or is not, tiered
///
/// Shows the state of each file, its pin, which rule matched and why the rules
/// before it did not, and every precondition of stubbing with its answer now.
///
/// It reads attributes and the state DB; it changes nothing and recalls
/// nothing.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ExplainArgs {
    /// Files below a root
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub policy: PolicyFiles,
}

pub fn run(_context: &Context, _args: &ExplainArgs) -> Result<Outcome, Error> {
    Err(Error::NotBuilt("explain"))
}
