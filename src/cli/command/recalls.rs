//! `hsm recalls`: what programs had recalled, and which of them most.

use super::Outcome;
use crate::cli::accounts::Accounts;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::output::{Name, escaped, escaped_path};
use crate::cli::programs;
use crate::cli::table::{Align, Table};
use crate::state::{RecallLogRow, RootRow, StateDb};
use crate::units::{self, format_size, format_time};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm recalls
  hsm recalls --by exe --since now-7d
  hsm recalls --by unit --json | jq 'select(.type == \"recaller\")'";

/// Show what programs had recalled
///
/// Without --by: the latest recalls, newest first, each with time, program, user,
/// unit, file, bytes and how long the program waited; also those that failed or
/// that a rule or a budget of the guard refused. With --by: who had most bytes
/// recalled. A program that reads everything (an indexer, a backup) undoes the
/// tiering, and a rule of [guard] keeps it out (hsm help recall-guard).
///
/// It reads the guard's log in the state DB, which keeps the latest 100000. Files
/// that hsm recall brought back are not in it (hsm log tells those).
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RecallsArgs {
    /// Count together what one program, user or systemd unit had recalled
    #[arg(long, value_enum, value_name = "WHO")]
    pub by: Option<By>,

    /// Only recalls since then (2026-01-31, now-7d, RFC 3339)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,

    /// Show so many at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The program's path
    Exe,
    /// The user that it ran as
    User,
    /// The systemd unit, else the control group
    Unit,
}

impl By {
    fn as_str(self) -> &'static str {
        match self {
            Self::Exe => "exe",
            Self::User => "user",
            Self::Unit => "unit",
        }
    }
}

pub fn run(context: &Context, args: &RecallsArgs) -> Result<Outcome, Error> {
    let since_ns = match &args.since {
        Some(text) => units::parse_time(text, context.now_ns())
            .map_err(|error| Error::Usage(format!("--since: {error}")))?,
        None => i64::MIN,
    };
    let config = context.config()?;
    let state = context.state_read_only(&config)?;
    let accounts = Accounts::read();
    let mut recalls = Recalls::default();
    match args.by {
        None => history(context, &state, &accounts, since_ns, args.limit, &mut recalls)?,
        Some(by) => top(context, &state, &accounts, since_ns, by, args.limit, &mut recalls)?,
    }
    Ok(Outcome::done()
        .with("recalls", recalls.files)
        .with("bytes", recalls.bytes)
        .with("refused", recalls.refused))
}

/// Sums over recalls.
#[derive(Debug, Default, Clone)]
struct Recalls {
    files: u64,
    bytes: u64,
    refused: u64,
    /// Of those that succeeded, together.
    latency_ms: u64,
    last_ns: i64,
}

impl Recalls {
    fn add(&mut self, recall: &RecallLogRow) {
        if recall.is_recalled() {
            self.files += 1;
            self.bytes += recall.bytes;
            self.latency_ms += recall.latency_ms;
        } else {
            self.refused += 1;
        }
        self.last_ns = self.last_ns.max(recall.at_ns);
    }
}

fn history(
    context: &Context,
    state: &StateDb,
    accounts: &Accounts,
    since_ns: i64,
    limit: usize,
    sums: &mut Recalls,
) -> Result<(), Error> {
    let roots = state.roots()?;
    let mut shown = vec![];
    state.for_each_recall(since_ns, &mut |recall| {
        sums.add(&recall);
        if shown.len() < limit {
            shown.push(recall);
        }
        ControlFlow::Continue(())
    })?;
    let columns = [Align::Left, Align::Right, Align::Right, Align::Left, Align::Left, Align::Left];
    let mut table = Table::new(&columns);
    for recall in &shown {
        let path = full_path(&roots, recall);
        let what = match recall.is_recalled() {
            true => format_size(recall.bytes),
            false => "-".to_owned(),
        };
        let name = path
            .as_deref()
            .map_or_else(|| format!("inode {} of no managed file", recall.ident.ino), escaped_path);
        let refused = match recall.is_recalled() {
            true => String::new(),
            false => format!(": {}", escaped(recall.outcome.as_bytes())),
        };
        let who = format!(
            "{} ({}, {})",
            programs::program(&recall.exe),
            programs::user(accounts, recall.uid),
            programs::unit_text(programs::unit(&recall.cgroup))
        );
        let waited = format!("{} ms", recall.latency_ms);
        table.row([format_time(recall.at_ns), what, waited, who, format!("{name}{refused}")]);
        context.out.record(&json!({
            "type": "recall", "at_ns": recall.at_ns, "path": path.as_deref().map(Name::of),
            "ino": recall.ident.ino, "generation": recall.ident.generation,
            "exe": recall.exe, "uid": recall.uid, "user": accounts.user(recall.uid),
            "pid": recall.pid, "cgroup": recall.cgroup, "unit": programs::unit(&recall.cgroup),
            "bytes": recall.bytes, "latency_ms": recall.latency_ms,
            "recalled": recall.is_recalled(), "outcome": recall.outcome,
        }))?;
    }
    table.print(&context.out, "")
}

fn full_path(roots: &[RootRow], recall: &RecallLogRow) -> Option<PathBuf> {
    let root = roots.iter().find(|root| Some(root.id) == recall.root)?;
    Some(recall.path.as_ref()?.to_path(&root.path))
}

fn top(
    context: &Context,
    state: &StateDb,
    accounts: &Accounts,
    since_ns: i64,
    by: By,
    limit: usize,
    sums: &mut Recalls,
) -> Result<(), Error> {
    let mut found: HashMap<String, Recalls> = HashMap::new();
    state.for_each_recall(since_ns, &mut |recall| {
        sums.add(&recall);
        let who = match by {
            By::Exe => recall.exe.clone(),
            By::User => recall.uid.to_string(),
            By::Unit => programs::unit(&recall.cgroup).to_owned(),
        };
        found.entry(who).or_default().add(&recall);
        ControlFlow::Continue(())
    })?;
    let mut ranked: Vec<(String, Recalls)> = found.into_iter().collect();
    ranked.sort_by(|(a, x), (b, y)| {
        let rank = |sums: &Recalls| (sums.bytes, sums.files, sums.refused);
        rank(y).cmp(&rank(x)).then_with(|| a.cmp(b))
    });
    let columns = [Align::Right, Align::Right, Align::Right, Align::Left, Align::Left];
    let mut table = Table::new(&columns);
    for (who, sums) in ranked.iter().take(limit) {
        let uid = who.parse().ok().filter(|_| by == By::User);
        let name = match by {
            By::Exe => programs::program(who),
            By::User => uid.map_or_else(|| who.clone(), |uid| programs::user(accounts, uid)),
            By::Unit => programs::unit_text(who),
        };
        let mean_ms = sums.latency_ms.checked_div(sums.files);
        table.row([
            format_size(sums.bytes),
            format!("{} files", sums.files),
            mean_ms.map_or_else(|| "-".to_owned(), |mean_ms| format!("{mean_ms} ms each")),
            name,
            if sums.refused > 0 { format!("{} refused", sums.refused) } else { String::new() },
        ]);
        context.out.record(&json!({
            "type": "recaller", "by": by.as_str(), "who": who,
            "user": uid.and_then(|uid| accounts.user(uid)),
            "files": sums.files, "bytes": sums.bytes, "refused": sums.refused,
            "mean_latency_ms": mean_ms, "last_ns": sums.last_ns,
        }))?;
    }
    table.print(&context.out, "")
}
