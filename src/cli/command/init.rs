//! placeholder
use super::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use clap::Args;

#[derive(Debug, Args)]
pub struct InitArgs {}

pub fn run(_context: &Context, _args: &InitArgs) -> Result<Outcome, Error> {
    Err(Error::NotBuilt("init"))
}
