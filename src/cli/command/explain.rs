//! `hsm explain`: why a file is what it is, and why it is not a stub.

use super::Outcome;
use crate::cli::args::PolicyFiles;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::listing::state_word;
use crate::cli::locate::{self, Place};
use crate::cli::opened::chunking;
use crate::cli::output::{Name, escaped_path};
use crate::config::Config;
use crate::os::FileKind;
use crate::os::tree::RootDir;
use crate::policy::{PolicySet, RuleOutcome};
use crate::site::Guard;
use crate::state::{EntryRow, StateDb};
use crate::stub::{self, Glance, MarkerSpace, Placement};
use crate::tier;
use crate::tier::examine::{Finding, Question, examine};
use crate::tier::guarded::guard_has_proven_itself;
use crate::tier::plan::{Planner, Wish};
use crate::tier::rescan::open_root;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hsm explain /srv/media/film.mkv";

/// Tell why a file is, or is not, tiered
///
/// Shows the state of each file, its pin, which rule matched and why the rules
/// before it did not, and every precondition of stubbing with its answer now.
///
/// It reads attributes and the state DB; it changes nothing and recalls
/// nothing.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ExplainArgs {
    /// Files below a root
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub policy: PolicyFiles,
}

pub fn run(context: &Context, args: &ExplainArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let policy = context.policy(&config, &args.policy)?;
    let state = context.state_read_only(&config)?;
    let roots = state.roots()?;
    for path in &args.paths {
        let place = locate::place(&roots, path)?;
        explain(context, &config, &policy, &state, &place)?;
    }
    Ok(Outcome::done().with("files", args.paths.len()))
}

fn explain(
    context: &Context,
    config: &Config,
    policy: &PolicySet,
    state: &StateDb,
    place: &Place,
) -> Result<(), Error> {
    let root = open_root(&place.root)?;
    let path = place.path.to_path(&place.root.path);
    if place.path.is_root() {
        return no_file(context, &path, FileKind::Dir);
    }
    let row = state
        .entry_at(place.root.id, &place.path)?
        .ok_or(tier::Error::NotScanned { path: path.clone() })?;
    if row.kind != FileKind::File {
        return no_file(context, &path, row.kind);
    }
    let (now_ns, wish) = (context.now_ns(), Wish::default());
    let planner = Planner::new(state, policy, &place.root, &root, wish, chunking(config), now_ns)?;
    let rules = planner.explain(&row);
    let mut guard = context.guard(config)?;
    let guarded =
        guard_has_proven_itself(guard.as_mut().map(|guard| guard as &mut dyn Guard), &place.root);
    let question =
        Question { state, policy, planner: &planner, root: &root, row: &row, now_ns, guarded };
    let findings = examine(&question);
    let on_disk = on_disk(&root, &row, question.guarded.is_ok());
    show(context, &path, &row, &on_disk, &rules, &findings)?;
    context.out.record(&json!({
        "type": "explanation", "path": Name::of(&path), "state": state_word(&row),
        "on_disk": on_disk, "pin": planner.pin(&row.path).as_str(),
        "reason": row.file.as_ref().and_then(|file| file.reason.as_deref()),
        "rules": rules.iter().map(|rule| json!({
            "rule": rule.rule.name, "matched": rule.matched(), "decides": rule.decides,
            "misses": rule.misses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "conditions": findings.iter().map(|finding| json!({
            "condition": finding.condition, "holds": finding.holds, "detail": finding.detail,
        })).collect::<Vec<_>>(),
    }))
}

/// Only regular files have states and conditions.
fn no_file(context: &Context, path: &Path, kind: FileKind) -> Result<(), Error> {
    let kind = kind.as_str();
    context.out.line(escaped_path(path))?;
    context.out.line(format!("  state    - (a {kind}: only regular files are tiered)"))?;
    context.out.record(&json!({
        "type": "explanation", "path": Name::of(path), "state": null, "on_disk": format!("a {kind}"),
        "rules": [], "conditions": [],
    }))
}

/// What the inode itself says, whatever the state DB believes. It is opened only
/// where that tells more and no guard would recall it for that.
fn on_disk(root: &RootDir, row: &EntryRow, guarded: bool) -> String {
    let space = MarkerSpace::for_this_process();
    let glance = || stub::glance(open(root.open_path(&row.path))?, space);
    let inspect = || stub::inspect(&open(root.open_read(&row.path))?, space);
    let found = glance().and_then(|found| match found {
        Glance::Sure(placement) => Ok(placement),
        Glance::Likely(marker) if guarded => Ok(Placement::Stub(marker)),
        Glance::Unclear(marker) if guarded => Ok(Placement::Changed { marker, why: String::new() }),
        _ => inspect(),
    });
    match found {
        Ok(placement) => placement.describe().to_owned(),
        Err(error) => {
            let why = error.io().map_or_else(|| error.to_string(), ToString::to_string);
            format!("unknown: {why}")
        }
    }
}

fn open<T>(opened: std::io::Result<T>) -> Result<T, stub::Error> {
    opened.map_err(stub::Error::Inspect)
}

fn show(
    context: &Context,
    path: &Path,
    row: &EntryRow,
    on_disk: &str,
    rules: &[RuleOutcome<'_>],
    findings: &[Finding],
) -> Result<(), Error> {
    let out = &context.out;
    out.line(escaped_path(path))?;
    out.line(format!("  state    {} (on disk: {on_disk})", state_word(row)))?;
    if let Some(reason) = row.file.as_ref().and_then(|file| file.reason.as_deref()) {
        out.line(format!("  note     {reason}"))?;
    }
    if rules.is_empty() {
        out.line("  rule     there are no rules: nothing is tiered (hsm policy show)")?;
    }
    for outcome in rules {
        let name = &outcome.rule.name;
        match (outcome.decides, outcome.matched()) {
            (true, _) => {
                out.line(format!("  rule     {name:?} decides: {}", outcome.rule.action))?
            }
            (false, true) => {
                out.line(format!("  rule     {name:?} would match, but comes later"))?
            }
            (false, false) => {
                for miss in &outcome.misses {
                    out.line(format!("  rule     {name:?} does not match: {miss}"))?;
                }
            }
        }
    }
    for finding in findings {
        let mark = match finding.holds {
            Some(true) => "ok",
            Some(false) => "NO",
            None => "--",
        };
        out.line(format!("  {mark}  {:<22} {}", finding.condition, finding.detail))?;
    }
    Ok(())
}
