//! `hsm pin`: keep files here whatever the policy says.
//!
//! A pin is a row of the state DB about a path, inherited by everything below
//! a directory; the nearest one wins. Setting it moves no data and needs no
//! root lock: a run at work reads pins again before it frees a block.

use super::Outcome;
use crate::cli::args::{DryRun, FilesFrom};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::locate;
use crate::cli::output::Name;
use crate::policy::Pin;
use clap::Args;
use serde_json::json;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm pin /srv/media/current
  hsm pin --exclude /srv/scratch
  hsm pin --list";

/// Keep files here whatever the policy says
///
/// A pinned file is uploaded as the policy says but never stubbed; an excluded
/// one (--exclude) is not uploaded either. A directory passes it on to
/// everything below; the nearest setting wins.
///
/// It moves no data: a stub that is pinned stays a stub until `hsm recall`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PinArgs {
    /// Files or directories
    #[arg(value_name = "PATH", required_unless_present_any = ["files_from", "null", "list"])]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub files_from: FilesFrom,

    /// Exclude: leave these paths alone altogether
    #[arg(long)]
    pub exclude: bool,

    /// Print what is pinned and excluded
    #[arg(long, conflicts_with_all = ["paths", "files_from", "null", "exclude", "dry_run"])]
    pub list: bool,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &PinArgs) -> Result<Outcome, Error> {
    if args.list {
        return list(context);
    }
    let paths = args.files_from.gather(&args.paths)?;
    let pin = if args.exclude { Pin::Excluded } else { Pin::Pinned };
    change(context, &Change { paths, pin, dry_run: args.dry_run.dry_run })
}

/// Paths that get the same pin.
pub struct Change {
    pub paths: Vec<PathBuf>,
    pub pin: Pin,
    pub dry_run: bool,
}

/// Sets or removes pins; the same for `pin` and `unpin`. All paths are placed
/// before the first one is changed.
pub fn change(context: &Context, change: &Change) -> Result<Outcome, Error> {
    let config = context.config()?;
    if change.paths.is_empty() {
        return Ok(Outcome::done().with("paths", 0));
    }
    let roots = context.state_read_only(&config)?.roots()?;
    // A pin on a name that is not there is a typing error that would be found
    // when the file is gone; to unpin what is gone is not.
    let places = match change.pin {
        Pin::None => locate::places(&roots, &change.paths)?,
        _ => locate::existing_places(&roots, &change.paths)?,
    };
    let mut state = match change.dry_run {
        true => None,
        false => Some(context.state(&config)?),
    };
    for place in &places {
        if let Some(state) = &mut state {
            state.set_pin(place.root.id, &place.path, change.pin, context.now_ns())?;
        }
        let path = place.path.to_path(&place.root.path);
        let mut line = format!("{:<9}", change.pin.as_str()).into_bytes();
        line.extend_from_slice(&context.out.shown(path.as_os_str().as_bytes()));
        context.out.remark(line)?;
        context.out.record(&json!({
            "type": "pin", "path": Name::of(&path), "pin": change.pin.as_str(),
        }))?;
    }
    Ok(Outcome::done().with("paths", places.len()).with("dry_run", change.dry_run))
}

fn list(context: &Context) -> Result<Outcome, Error> {
    let config = context.config()?;
    let state = context.state_read_only(&config)?;
    let mut count = 0;
    for root in state.roots()? {
        for (path, pin) in state.pins(root.id)? {
            let path = path.to_path(&root.path);
            let mut line = format!("{:<9}", pin.as_str()).into_bytes();
            line.extend_from_slice(&context.out.shown(path.as_os_str().as_bytes()));
            context.out.line(line)?;
            context.out.record(&json!({
                "type": "pin", "path": Name::of(&path), "pin": pin.as_str(),
            }))?;
            count += 1;
        }
    }
    Ok(Outcome::done().with("paths", count))
}
