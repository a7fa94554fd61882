//! `hsm stubs-left`: whether this machine can do without hsm. Hidden; what the
//! Debian package asks before it is removed.
//!
//! Everything that cannot be told counts as "no": a state DB that is lost, a root
//! that was never scanned, a run that is at work and may make the next stub. What
//! it says outlives the program, since a package is purged after its files are gone.

use super::Outcome;
use crate::cli::context::{Context, state_file};
use crate::cli::error::Error;
use crate::cli::output::{Name, escaped_path};
use crate::state::RootRow;
use crate::tier::rescan::open_root;
use crate::units::format_size;
use crate::verify::Left;
use clap::Args;
use serde_json::json;

/// Say for each root how many files have bytes in the store only
///
/// Exits with 0 if there is none, and nothing in doubt.
#[derive(Debug, Args)]
#[command(hide = true)]
pub struct StubsLeftArgs {}

pub fn run(context: &Context, _: &StubsLeftArgs) -> Result<Outcome, Error> {
    let config = match context.config() {
        Err(Error::NotInitialised(_)) => return unconfigured(context),
        config => config?,
    };
    let state = context.state_read_only(&config)?;
    let roots = state.roots()?;
    let _locks = context.lock(&config, &roots)?;
    let (mut left, mut unscanned) = (0, vec![]);
    for row in &roots {
        let found = Left::of(&state, row, open_root(row).ok().as_ref())?;
        left += found.files + found.strays;
        tell(context, row, found)?;
        if row.last_complete_scan_ns.is_none() {
            unscanned.push(escaped_path(&row.path).to_string());
        }
    }
    if left > 0 {
        return Err(Error::refused(
            format!("{left} files have bytes in the store only"),
            recall_all(&roots),
        ));
    }
    if !unscanned.is_empty() {
        let what = format!("nobody has looked yet for stubs in {}", unscanned.join(", "));
        return Err(Error::refused(what, "hsm scan"));
    }
    Ok(Outcome::done().with("stubs", left))
}

/// Without a configuration there must be no state DB either.
fn unconfigured(context: &Context) -> Result<Outcome, Error> {
    let state = state_file(&context.paths().state_dir);
    match state.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            context.out.remark("nothing is managed here")?;
            Ok(Outcome::done().with("stubs", 0))
        }
        Err(error) => Err(Error::io("look at", &state)(error)),
        Ok(_) => Err(Error::refused(
            format!("there is {}, and no configuration", escaped_path(&state)),
            "put the configuration back, or delete the state DB if you know that there is no stub",
        )),
    }
}

fn recall_all(roots: &[RootRow]) -> String {
    let paths: Vec<String> = roots.iter().map(|row| escaped_path(&row.path).to_string()).collect();
    format!("hsm scan; hsm recall -r {}", paths.join(" "))
}

fn tell(context: &Context, row: &RootRow, left: Left) -> Result<(), Error> {
    let Left { files, bytes, strays } = left;
    let path = escaped_path(&row.path);
    if files + strays > 0 {
        let managed = format!("{path}: {files} stubs ({})", format_size(bytes));
        context.out.line(match strays {
            0 => managed,
            _ => format!("{managed}, and {strays} that the state DB does not know"),
        })?;
    }
    context.out.record(&json!({
        "type": "root", "path": Name::of(&row.path), "stubs": files, "bytes": bytes,
        "strays": strays,
    }))
}
