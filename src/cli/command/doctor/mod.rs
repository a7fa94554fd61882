//! `hsm doctor`: live checks of the file systems, the state DB, the key and the
//! store, and what follows for the promises.
//!
//! Nothing is concluded from version numbers: each property is tried on a probe
//! file or a scratch object, which is removed again. A finding is `good`, a
//! `note` that changes nothing, a `warning` that weakens a promise or a rule,
//! or `bad`: tiering would be unsafe or impossible, and the exit code is 1.

mod promise;
mod root;
mod samba;
mod state;
mod store;
mod stubs;
mod watched;

use super::Outcome;
use crate::cli::args::PolicyFiles;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::locate;
use crate::cli::output::{escaped, escaped_path};
use crate::config::{Config, GuardSection};
use crate::guard::places::Surroundings;
use crate::os::process;
use crate::state::{RootRow, StateDb};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use watched::Guard;

const EXAMPLES: &str = "\
Examples:
  hsm doctor
  hsm doctor /srv/media    # also before hsm init";

/// Check whether everything hsm relies on really works here
///
/// Tries on a probe file in each root: attributes, punching holes, leases, file
/// generations, time stamps; reads how the file system is mounted and where
/// else it can be reached; looks whether a guard can watch it and does; looks at
/// up to a thousand stubs without opening one, and at Samba's settings for shares
/// of the root; then says what is guaranteed
/// there and what is not. Opens the state DB and checks it; tries the store with
/// scratch objects and says how copies will be proven.
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
        let surroundings = Around::configured(context, &config);
        for root in state.as_ref().map(|state| state.roots()).transpose()?.unwrap_or_default() {
            let recorded = state.as_ref().map(|state| (state, &root));
            tell(&escaped_path(&root.path), surroundings.check(&root.path, recorded))?;
        }
        let findings = store::check(context, &config, state.as_ref());
        tell(&config.store.url, findings)?;
        if let Some((url, findings)) = store::check_second(context, &config, state.as_ref()) {
            tell(&url, findings)?;
        }
    }
    let surroundings = match context.config() {
        Ok(config) => Around::configured(context, &config),
        Err(_) => Around::bare(context),
    };
    for root in &args.roots {
        let path = locate::resolve(root)?;
        tell(&escaped_path(&path), surroundings.check(&path, None))?;
    }
    let count = |level| all.iter().filter(|found| **found == level).count();
    let (wrong, warnings) = (count(Level::Bad), count(Level::Warning));
    context.out.remark(format!("\n{}", verdict(wrong, warnings)))?;
    let exit = if wrong > 0 { Exit::Failed } else { Exit::Done };
    Ok(Outcome::new(exit).with("checks", all.len()).with("bad", wrong).with("warnings", warnings))
}

/// What a root is judged beside: of the configuration, or of the places that
/// `hsm init` would choose.
struct Around {
    state_dir: PathBuf,
    run_dir: PathBuf,
    store_dir: Option<PathBuf>,
    second_dir: Option<PathBuf>,
    /// The policy accepts stubs without a guard.
    unguarded: bool,
    guard: Guard,
    /// Chooses which stubs are looked at.
    seed: u64,
}

impl Around {
    fn configured(context: &Context, config: &Config) -> Self {
        let policy = context.policy(config, &PolicyFiles { files: Vec::new() });
        Self {
            state_dir: config.state_dir.clone(),
            run_dir: config.guard.run_dir.clone(),
            store_dir: Surroundings::of(config).store_dir.map(Path::to_owned),
            second_dir: Surroundings::of(config).second_dir.map(Path::to_owned),
            unguarded: policy.is_ok_and(|policy| policy.unguarded()),
            guard: Guard::ask(context, config),
            seed: context.now_ns().cast_unsigned(),
        }
    }

    fn bare(context: &Context) -> Self {
        let state_dir = context.paths().state_dir;
        let run_dir = GuardSection::of_state_dir(&state_dir).run_dir;
        let seed = context.now_ns().cast_unsigned();
        let guard = Guard::Absent;
        Self {
            state_dir,
            run_dir,
            store_dir: None,
            second_dir: None,
            unguarded: false,
            guard,
            seed,
        }
    }

    /// Everything about one directory, and what follows for the promises;
    /// `recorded` is the root that it is, if it is one.
    fn check(&self, path: &Path, recorded: Option<(&StateDb, &RootRow)>) -> Vec<Finding> {
        let checked = root::check(path, recorded.map(|(_, row)| row.identity.as_str()));
        let mut findings = checked.findings;
        let Some(root) = checked.root else { return findings };
        let around = Surroundings {
            state_dir: &self.state_dir,
            run_dir: &self.run_dir,
            store_dir: self.store_dir.as_deref(),
            second_dir: self.second_dir.as_deref(),
        };
        let mut watched = watched::check(path, checked.mount.as_ref(), around, &self.guard);
        findings.append(&mut watched.findings);
        findings.extend(samba::check(path));
        let mut looked_at = 0;
        if let Some((state, row)) = recorded {
            let (found, count) = stubs::check(&root, state, row.id, self.seed);
            findings.extend(found);
            looked_at = count;
        }
        let promises = promise::lines(&promise::Known {
            findings: &findings,
            watched: &watched,
            pre_content: checked.pre_content,
            trusted: process::can_use_trusted_xattrs(),
            unguarded: self.unguarded,
            has_stubs: looked_at > 0,
            fs_type: &root.identity().kind,
        });
        findings.extend(promises);
        findings
    }
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
