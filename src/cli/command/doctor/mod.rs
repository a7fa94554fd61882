//! `hsm doctor`: live checks of the file systems, the state DB, the key and the
//! store, and what follows for the promises.
//!
//! Nothing is concluded from version numbers: each property is tried on a probe
//! file or a scratch object, which is removed again. A finding is `good`, a
//! `note` that changes nothing, a `warning` that weakens a promise or a rule,
//! or `bad`: tiering would be unsafe or impossible, and the exit code is 1.

mod root;
mod state;
mod store;

use super::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::locate;
use crate::cli::output::{escaped, escaped_path};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm doctor
  hsm doctor /srv/media    # also before hsm init";

/// Check whether everything hsm relies on really works here
///
/// Tries on a probe file in each root: attributes, punching holes, leases, file
/// generations, time stamps; reads how the file system is mounted and where
/// else it can be reached; opens the state DB and checks it; tries the store
/// with scratch objects and says how copies will be proven.
///
/// It leaves nothing behind and touches none of your files. Exit code 1 means
/// that something makes tiering unsafe or impossible; warnings alone are 0.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Directories to check, also before they are roots [default: everything]
    #[arg(value_name = "ROOT")]
    pub roots: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Good,
    Note,
    Warning,
    Bad,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was tried.
#[derive(Debug)]
struct Finding {
    level: Level,
    /// A stable word for scripts: `punch`, `lease`, ...
    check: &'static str,
    what: String,
}

fn good(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { level: Level::Good, check, what: what.into() }
}

fn note(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { level: Level::Note, check, what: what.into() }
}

fn warning(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { level: Level::Warning, check, what: what.into() }
}

fn bad(check: &'static str, what: impl Into<String>) -> Finding {
    Finding { level: Level::Bad, check, what: what.into() }
}

pub fn run(context: &Context, args: &DoctorArgs) -> Result<Outcome, Error> {
    let mut all = Vec::new();
    let mut tell = |subject: &str, findings: Vec<Finding>| -> Result<(), Error> {
        show(context, subject, &findings)?;
        all.extend(findings.into_iter().map(|finding| finding.level));
        Ok(())
    };
    if args.roots.is_empty() {
        let config = context.config()?;
        let (findings, state) = state::check(context, &config);
        tell(&escaped_path(&config.state_dir), findings)?;
        for root in state.as_ref().map(|state| state.roots()).transpose()?.unwrap_or_default() {
            tell(&escaped_path(&root.path), root::check(&root.path, Some(&root.identity)))?;
        }
        let findings = store::check(context, &config, state.as_ref());
        tell(&config.store.url, findings)?;
    }
    for root in &args.roots {
        let path = locate::resolve(root)?;
        tell(&escaped_path(&path), root::check(&path, None))?;
    }
    let count = |level| all.iter().filter(|found| **found == level).count();
    let (wrong, warnings) = (count(Level::Bad), count(Level::Warning));
    context.out.remark(format!("\n{}", verdict(wrong, warnings)))?;
    let exit = if wrong > 0 { Exit::Failed } else { Exit::Done };
    Ok(Outcome::new(exit).with("checks", all.len()).with("bad", wrong).with("warnings", warnings))
}

fn show(context: &Context, subject: &str, findings: &[Finding]) -> Result<(), Error> {
    context.out.line(subject)?;
    for Finding { level, check, what } in findings {
        let what_shown = escaped(what.as_bytes());
        context.out.line(format!("  {:<8} {check:<12} {what_shown}", level.as_str()))?;
        context.out.record(&json!({
            "type": "finding", "subject": subject, "level": level.as_str(), "check": check,
            "what": what,
        }))?;
    }
    Ok(())
}

fn verdict(wrong: usize, warnings: usize) -> String {
    match (wrong, warnings) {
        (0, 0) => "everything hsm relies on works here".to_owned(),
        (0, n) => {
            format!("tiering is safe here; {n} warning(s) say what is weaker than it could be")
        }
        (n, _) => format!("tiering is unsafe or impossible here: {n} check(s) are bad"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bad_findings_make_it_unsafe() {
        assert!(verdict(0, 0).starts_with("everything"));
        assert!(verdict(0, 2).contains("safe here; 2 warning"));
        assert!(verdict(1, 2).contains("unsafe or impossible here: 1"));
    }
}
