//! `hsm verify`: is every copy that the state DB names really there?

use super::Outcome;
use crate::cli::args::DryRun;
use crate::cli::context::Context;
use crate::cli::error::Error;
use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm verify
  hsm verify --data --sample 5%
  hsm verify --data --repair /srv/media
Exit code 4 means that problems were found; each is named.";

/// Check the store against the files
///
/// Lists the store and compares it with what should be there, in both
/// directions: stubs without their objects, objects without an owner. With
/// --data it reads and re-hashes the objects, those checked longest ago first.
///
/// It changes nothing without --repair. A bad copy is marked damaged, and what
/// is lost is said bluntly; --repair uploads again where the local bytes are
/// still there.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct VerifyArgs {
    /// Roots, directories or files [default: everything]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Read the objects and re-hash them
    #[arg(long)]
    pub data: bool,

    /// Read only this share (5%) or this much (100GiB), oldest check first
    #[arg(long, value_name = "PCT|SIZE", requires = "data")]
    pub sample: Option<String>,

    /// Upload again where the copy is bad and the local bytes are good
    #[arg(long)]
    pub repair: bool,

    /// Check this store without a configuration
    #[arg(long, value_name = "URL", conflicts_with_all = ["repair", "paths"])]
    pub store: Option<String>,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(_context: &Context, _args: &VerifyArgs) -> Result<Outcome, Error> {
    Err(Error::NotBuilt("verify"))
}
