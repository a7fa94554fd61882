//! `hsm status`: how the trees stand, at a glance.

use super::{Outcome, recallers};
use crate::cli::args::PolicyFiles;
use crate::cli::context::{Context, state_file};
use crate::cli::error::Error;
use crate::cli::opened::chunking;
use crate::cli::output::{Name, escaped_path};
use crate::config::Config;
use crate::os::RootDir;
use crate::os::space::FreeSpace;
use crate::policy::PolicySet;
use crate::state::{RootRow, RunRow, StateDb};
use crate::tier::candidates::Entries;
use crate::tier::plan::{Planner, Wish};
use crate::tier::rescan::open_root;
use crate::tier::standing;
use crate::units;
use clap::Args;
use serde_json::{Map, Value, json};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  hsm status
  hsm status --json | jq 'select(.type == \"root\")'";

/// Show how the trees stand
///
/// For each root: free space, the last complete scan, files and bytes in each
/// state, what the policy wants and has no copy yet, why uploaded files are not
/// stubs, pins, and what an earlier run left unfinished; then for which programs
/// most was recalled in the last week, and the latest runs with what they left
/// alone and why.
///
/// It reads the state DB, the policy and the free space; it asks no store and
/// opens a file only where a rule asks for an extended attribute.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct StatusArgs {
    /// Show this many runs
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub runs: usize,
}

pub fn run(context: &Context, args: &StatusArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let state = context.state_read_only(&config)?;
    let roots = state.roots()?;
    context.out.line(format!("store  {}", config.store.url))?;
    let policy = context.policy(&config, &PolicyFiles { files: vec![] })?;
    for root in &roots {
        let mut standing = Standing::of(&state, root)?;
        standing.judge(context, &config, &policy, &state, root)?;
        standing.print(context, root)?;
        standing.record(context, root)?;
    }
    let refused = recallers::show(context, &state)?;
    let runs = state.recent_runs(args.runs)?;
    show_runs(context, &runs)?;
    Ok(Outcome::done()
        .with("roots", roots.len())
        .with("store", &config.store.url)
        .with("refused_recalls", refused))
}

/// What there is to say about one root.
struct Standing {
    /// State, files, bytes; resident files first.
    states: Vec<(&'static str, u64, u64)>,
    pins: usize,
    unfinished: usize,
    /// `None` where the root cannot be opened or is another file system now.
    space: Option<FreeSpace>,
    is_same: bool,
    /// By the policy; `None` where the root cannot be opened.
    wanted: Option<standing::Standing>,
}

impl Standing {
    fn of(state: &StateDb, root: &RootRow) -> Result<Self, Error> {
        let counts = state.counts(root.id)?;
        let mut states = vec![("resident", counts.unmanaged_files, counts.unmanaged_bytes)];
        for (state, files, bytes) in counts.states {
            match states.iter_mut().find(|(known, ..)| *known == state.as_str()) {
                Some(known) => *known = (known.0, known.1 + files, known.2 + bytes),
                None => states.push((state.as_str(), files, bytes)),
            }
        }
        let opened = RootDir::open(&root.path).ok();
        Ok(Self {
            states,
            pins: state.pins(root.id)?.len(),
            unfinished: state.transient(root.id)?.len(),
            space: opened.as_ref().and_then(|dir| FreeSpace::of(dir).ok()),
            is_same: opened.is_some_and(|dir| dir.identity().to_string() == root.identity),
            wanted: None,
        })
    }

    /// Asks the policy what is missing yet.
    fn judge(
        &mut self,
        context: &Context,
        config: &Config,
        policy: &PolicySet,
        state: &StateDb,
        row: &RootRow,
    ) -> Result<(), Error> {
        if !self.is_same {
            return Ok(());
        }
        let root = open_root(row)?;
        let wish = Wish::default();
        let planner =
            Planner::new(state, policy, row, &root, wish, chunking(config), context.now_ns())?;
        let entries = Entries::open(&state_file(&config.state_dir), row.id, None)?;
        self.wanted = Some(standing::standing(&planner, entries)?);
        Ok(())
    }

    fn print_wanted(&self, context: &Context) -> Result<(), Error> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        if let Some(oldest_ns) = wanted.oldest_unprotected_ns {
            context.out.line(format!(
                "  unprotected {} files ({}) have no copy yet, the oldest changed {} ago",
                wanted.unprotected_files,
                units::format_size(wanted.unprotected_bytes),
                age(oldest_ns, context.now_ns())
            ))?;
        }
        for (why, files) in &wanted.kept {
            let text = match *why {
                standing::READY => "the next run stubs them".to_owned(),
                why => format!("kept local: {why}"),
            };
            context.out.line(format!("  uploaded   {files} files, {text}"))?;
        }
        Ok(())
    }

    fn print(&self, context: &Context, root: &RootRow) -> Result<(), Error> {
        let out = &context.out;
        let scanned = root.last_complete_scan_ns.map_or("never".to_owned(), |then_ns| {
            format!("{} ({} ago)", units::format_time(then_ns), age(then_ns, context.now_ns()))
        });
        out.line("")?;
        out.line(escaped_path(&root.path))?;
        if !self.is_same {
            out.line("  is missing or another file system now: nothing is done there")?;
        }
        if let Some(space) = &self.space {
            let free = units::format_size(space.available_bytes);
            out.line(format!("  space      {:.1}% used, {free} free", space.used_pct))?;
        }
        out.line(format!("  scanned    {scanned}, {} names", root.entries))?;
        for (state, files, bytes) in &self.states {
            let size = units::format_size(*bytes);
            out.line(format!("  {state:<9}  {files} files, {size}"))?;
        }
        self.print_wanted(context)?;
        if self.pins > 0 {
            out.line(format!("  pins       {} (hsm pin --list)", self.pins))?;
        }
        if self.unfinished > 0 {
            let n = self.unfinished;
            out.line(format!(
                "  unfinished {n} files of a run that ended early; the next one recovers them"
            ))?;
        }
        Ok(())
    }

    fn record(&self, context: &Context, root: &RootRow) -> Result<(), Error> {
        let states: Map<String, Value> = self
            .states
            .iter()
            .map(|(state, files, bytes)| {
                ((*state).to_owned(), json!({ "files": files, "size_bytes": bytes }))
            })
            .collect();
        context.out.record(&json!({
            "type": "root", "path": Name::of(&root.path), "identity": root.identity,
            "same_file_system": self.is_same, "entries": root.entries,
            "last_complete_scan_ns": root.last_complete_scan_ns, "states": states,
            "pins": self.pins, "unfinished": self.unfinished,
            "unprotected_files": self.wanted.as_ref().map(|wanted| wanted.unprotected_files),
            "unprotected_bytes": self.wanted.as_ref().map(|wanted| wanted.unprotected_bytes),
            "oldest_unprotected_ns": self.wanted.as_ref().and_then(|w| w.oldest_unprotected_ns),
            "kept": self.wanted.as_ref().map(|wanted| &wanted.kept),
            "total_bytes": self.space.as_ref().map(|space| space.total_bytes),
            "available_bytes": self.space.as_ref().map(|space| space.available_bytes),
            "used_pct": self.space.as_ref().map(|space| space.used_pct),
        }))
    }
}

fn show_runs(context: &Context, runs: &[RunRow]) -> Result<(), Error> {
    if !runs.is_empty() {
        context.out.line("\nlatest runs")?;
    }
    for run in runs {
        let outcome: Value = serde_json::from_str(&run.outcome).unwrap_or(Value::Null);
        let exit = outcome.get("exit").and_then(Value::as_u64);
        let shown = exit.map_or("-".to_owned(), |code| format!("exit {code}"));
        let took =
            Duration::from_nanos(run.finished_ns.saturating_sub(run.started_ns).max(0) as u64);
        context.out.line(format!(
            "  {}  {shown:<8} {:>8}  {}",
            units::format_time(run.started_ns),
            units::format_duration(took),
            run.command
        ))?;
        for (why, files) in outcome.get("refused").and_then(Value::as_object).into_iter().flatten()
        {
            context.out.line(format!("    {files} files left alone: {why}"))?;
        }
        context.out.record(&json!({
            "type": "run", "command": run.command, "started_ns": run.started_ns,
            "finished_ns": run.finished_ns, "outcome": outcome,
        }))?;
    }
    Ok(())
}

/// The time since, at least zero: a clock that was set back is not an age.
fn age(then_ns: i64, now_ns: i64) -> String {
    let elapsed_ns = u64::try_from(now_ns.saturating_sub(then_ns)).unwrap_or(0);
    units::format_duration(Duration::from_nanos(elapsed_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_in_the_future_is_no_time_ago() {
        assert_eq!(age(2_000_000_000, 1_000_000_000), age(5, 5));
    }
}
