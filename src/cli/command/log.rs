//! `hsm log`: what happened to a file, when, by whom and why.

use super::Outcome;
use crate::cli::accounts::Accounts;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::listing::state_word;
use crate::cli::locate::{self, Place};
use crate::cli::output::{Name, escaped, escaped_path};
use crate::cli::programs;
use crate::cli::table::{Align, Table};
use crate::ids::FileIdent;
use crate::os::{FileKind, RelPath};
use crate::state::{EntryRow, Happening, RecallLogRow, RunRow, StateDb, what};
use crate::tier;
use crate::units::{format_size, format_time};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm log /srv/media/film.mkv
  hsm log --json /srv/media/film.mkv | jq 'select(.type == \"event\")'";

/// Tell what happened to a file
///
/// Shows, oldest first, when the file was uploaded, stubbed, recalled and for
/// whom, changed, found damaged, adopted, moved or deleted; by which command, in
/// which run, and by which rule or for what reason. It follows the inode, so it
/// knows what happened under another name, and shows what happened to files that
/// were at this path before.
///
/// The newest million events are kept, for 400 days; of older ones each file's
/// last upload, stub and recall are known. What the store keeps of a file's
/// versions is another question.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct LogArgs {
    /// Files below a root, also such that are gone
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
}

pub fn run(context: &Context, args: &LogArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let state = context.state_read_only(&config)?;
    let roots = state.roots()?;
    let accounts = Accounts::read();
    let mut events = 0;
    for path in &args.paths {
        let place = locate::place(&roots, path)?;
        events += tell(context, &state, &accounts, &place)?;
    }
    Ok(Outcome::done().with("files", args.paths.len()).with("events", events))
}

fn tell(
    context: &Context,
    state: &StateDb,
    accounts: &Accounts,
    place: &Place,
) -> Result<usize, Error> {
    let (root, path) = (place.root.id, place.path.to_path(&place.root.path));
    let now = state.entry_at(root, &place.path)?;
    let happenings = state.happenings(root, &place.path)?;
    let is_dir = now.as_ref().is_some_and(|entry| entry.kind == FileKind::Dir);
    if (is_dir || place.path.is_root()) && happenings.is_empty() {
        let what = format!("{} is a directory", escaped_path(&path));
        return Err(Error::refused(what, "hsm ls, and hsm log of a file in it"));
    }
    if now.is_none() && happenings.is_empty() {
        return Err(tier::Error::NotScanned { path }.into());
    }
    let runs = match happenings.first() {
        Some(first) => state.runs_since(first.at_ns)?,
        None => vec![],
    };
    let runs: Vec<RunRow> = runs.into_iter().filter(|run| run.root == Some(root)).collect();
    let out = &context.out;
    out.line(format!("{}  {}", escaped_path(&path), standing(now.as_ref())))?;
    out.record(&json!({
        "type": "file", "path": Name::of(&path), "state": now.as_ref().map(state_word),
        "size_bytes": now.as_ref().map(|entry| entry.size_bytes),
        "first_seen_ns": now.as_ref().map(|entry| entry.first_seen_ns),
        "rule": now.as_ref().and_then(|e| e.file.as_ref()).and_then(|f| f.rule.as_deref()),
    }))?;
    let own = now.as_ref().and_then(|entry| entry.file.as_ref()).map(|file| file.ident);
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Left]);
    for happening in &happenings {
        let run = run_of(&runs, happening);
        let line = Line { place, own, accounts, happening, run };
        table.row([
            format_time(happening.at_ns),
            happening.what.clone(),
            line.by_whom(),
            line.why(),
        ]);
        out.record(&line.record())?;
    }
    table.print(out, "  ")?;
    if happenings.is_empty() {
        out.line("  nothing has happened to it (hsm explain tells what would)")?;
    }
    Ok(happenings.len())
}

fn standing(now: Option<&EntryRow>) -> String {
    match now {
        None => "is not there any more".to_owned(),
        Some(entry) => format!("{}, {}", state_word(entry), format_size(entry.size_bytes)),
    }
}

/// The run in which it happened: one at a time works on a root.
fn run_of<'r>(runs: &'r [RunRow], happening: &Happening) -> Option<&'r RunRow> {
    let during = |run: &&RunRow| (run.started_ns..=run.finished_ns).contains(&happening.at_ns);
    happening.actor.as_ref()?;
    runs.iter().find(during)
}

struct Line<'a> {
    place: &'a Place,
    /// The inode that is there now.
    own: Option<FileIdent>,
    accounts: &'a Accounts,
    happening: &'a Happening,
    run: Option<&'a RunRow>,
}

impl Line<'_> {
    fn by_whom(&self) -> String {
        match (&self.happening.program, &self.happening.actor) {
            (Some(program), _) => programs::program(&program.exe),
            (None, Some(actor)) => format!("hsm {}", escaped(actor.as_bytes())),
            (None, None) => "-".to_owned(),
        }
    }

    fn why(&self) -> String {
        let mut said = vec![];
        let Happening { what, why, .. } = self.happening;
        match (what.as_str(), why) {
            (what::UPLOADED | what::STUBBED, Some(rule)) => said.push(format!("rule {rule:?}")),
            (_, Some(why)) => said.push(escaped(why.as_bytes())),
            (what::DIRTY, None) => {
                said.push("its size or times are not those of its copy".to_owned())
            }
            _ => {}
        }
        said.extend(self.program());
        said.extend(self.space());
        said.extend(self.left());
        if Some(self.happening.ident) != self.own {
            said.push(format!("another file, inode {}", self.happening.ident.ino));
        }
        said.join(", ")
    }

    fn program(&self) -> Vec<String> {
        let Some(program) = &self.happening.program else { return vec![] };
        let RecallLogRow { pid, uid, bytes, latency_ms, cgroup, .. } = program;
        let fetched = match program.is_recalled() {
            true => format!("{} in {latency_ms} ms", format_size(*bytes)),
            false => format!("after {latency_ms} ms"),
        };
        let (user, unit) = (programs::user(self.accounts, *uid), programs::unit(cgroup));
        vec![fetched, format!("pid {pid}"), user, programs::unit_text(unit)]
    }

    /// Stubs that were made for space need no age.
    fn space(&self) -> Option<String> {
        let outcome: Value = serde_json::from_str(&self.run?.outcome).ok()?;
        let used_pct = outcome.get("for_space")?.as_f64()?;
        let stubbed = self.happening.what == what::STUBBED;
        stubbed.then(|| format!("space was short: {used_pct:.1}% used"))
    }

    fn left(&self) -> Option<String> {
        let path = self.full(self.happening.path.as_ref()?);
        let word = if self.happening.what == what::FOUND_AGAIN { "at" } else { "from" };
        Some(format!("{word} {}", escaped_path(&path)))
    }

    fn full(&self, path: &RelPath) -> PathBuf {
        path.to_path(&self.place.root.path)
    }

    fn record(&self) -> Value {
        let Happening { at_ns, ident, what, actor, why, path, program } = self.happening;
        let left = path.as_ref().map(|path| self.full(path));
        json!({
            "type": "event", "at_ns": at_ns, "what": what, "actor": actor, "why": why,
            "ino": ident.ino, "generation": ident.generation,
            "is_present_file": Some(*ident) == self.own,
            "path": left.as_deref().map(Name::of),
            "run": self.run.map(|run| &run.command),
            "program": program.as_ref().map(|program| json!({
                "exe": program.exe, "pid": program.pid, "uid": program.uid,
                "cgroup": program.cgroup, "unit": programs::unit(&program.cgroup),
                "bytes": program.bytes, "latency_ms": program.latency_ms,
                "outcome": program.outcome,
            })),
        })
    }
}
