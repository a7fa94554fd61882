//! `hsm generate`: writes man pages or completions, for packagers. Hidden.

use super::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::manual;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Write the man pages or the shell completions to a directory
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct GenerateArgs {
    #[arg(value_enum)]
    pub what: What,

    /// An existing directory; files of the same names are replaced
    pub dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    Man,
    Completions,
}

pub fn run(context: &Context, args: &GenerateArgs) -> Result<Outcome, Error> {
    let pages = match args.what {
        What::Man => manual::man_pages(),
        What::Completions => manual::completions(),
    };
    for (name, text) in &pages {
        let path = args.dir.join(name);
        std::fs::write(&path, text).map_err(Error::io("write", &path))?;
        context.out.remark(name)?;
    }
    Ok(Outcome::done().with("files", pages.len()))
}
