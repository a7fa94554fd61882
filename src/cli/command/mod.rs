//! One file per subcommand: its arguments, its help, and the code that turns
//! the answer of an operation into lines and records.
//!
//! A command decides nothing about safety; that is the operations' work. It
//! returns an [`Outcome`], whose fields become the `summary` record.

pub mod adopt;
pub mod apply;
mod apply_rows;
pub mod cat;
pub mod demo;
pub mod doctor;
pub mod du;
pub mod explain;
pub mod export;
pub mod find;
pub mod gc;
pub mod generate;
pub mod history;
pub mod init;
pub mod log;
pub mod ls;
pub mod manifest;
mod manifest_check;
pub mod nodes;
pub mod pin;
pub mod plan;
mod plan_costs;
pub mod policy;
pub mod policy_fields;
pub mod pull;
pub mod rebuild;
pub mod recall;
mod recall_awaited;
pub mod recall_guard;
mod recall_guard_mounts;
pub mod recalls;
pub mod report;
pub mod restore;
pub mod scan;
pub mod snapshot;
pub mod status;
pub mod stub;
pub mod stubs_left;
pub mod tier;
pub mod undelete;
pub mod unpin;
pub mod upload;
pub mod verify;

use super::args::Command;
use super::context::Context;
use super::error::Error;
use super::exit::Exit;
use serde::Serialize;
use serde_json::{Map, Value};

/// How a command ended and the figures of its summary.
#[derive(Debug)]
pub struct Outcome {
    pub exit: Exit,
    pub summary: Map<String, Value>,
}

impl Outcome {
    pub fn new(exit: Exit) -> Self {
        Self { exit, summary: Map::new() }
    }

    pub fn done() -> Self {
        Self::new(Exit::Done)
    }

    /// Adds one figure to the summary.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("summary values have text keys");
        self.summary.insert(name.to_owned(), value);
        self
    }
}

/// Runs the command that was parsed.
pub fn run(context: &Context, command: &Command) -> Result<Outcome, Error> {
    match command {
        Command::Init(args) => init::run(context, args),
        Command::Scan(args) => scan::run(context, args),
        Command::Plan(args) => plan::run(context, args),
        Command::Apply(args) => apply::run(context, args),
        Command::Tier(args) => tier::run(context, args),
        Command::Upload(args) => upload::run(context, args),
        Command::Stub(args) => stub::run(context, args),
        Command::Recall(args) => recall::run(context, args),
        Command::RecallGuard(args) => recall_guard::run(context, args),
        Command::Adopt(args) => adopt::run(context, args),
        Command::Restore(args) => restore::run(context, args),
        Command::Pull(args) => pull::run(context, args),
        Command::Undelete(args) => undelete::run(context, args),
        Command::Cat(args) => cat::run(context, args),
        Command::Export(args) => export::run(context, args),
        Command::Verify(args) => verify::run(context, args),
        Command::Status(args) => status::run(context, args),
        Command::Report(args) => report::run(context, args),
        Command::Ls(args) => ls::run(context, args),
        Command::Find(args) => find::run(context, args),
        Command::Du(args) => du::run(context, args),
        Command::Manifest(args) => manifest::run(context, args),
        Command::Explain(args) => explain::run(context, args),
        Command::Log(args) => log::run(context, args),
        Command::Recalls(args) => recalls::run(context, args),
        Command::History(args) => history::run(context, args),
        Command::Snapshot(args) => snapshot::run(context, args),
        Command::Nodes(args) => nodes::run(context, args),
        Command::Rebuild(args) => rebuild::run(context, args),
        Command::Pin(args) => pin::run(context, args),
        Command::Unpin(args) => unpin::run(context, args),
        Command::Doctor(args) => doctor::run(context, args),
        Command::Policy(args) => policy::run(context, args),
        Command::Demo(args) => demo::run(context, args),
        Command::Gc(args) => gc::run(context, args),
        Command::Generate(args) => generate::run(context, args),
        Command::StubsLeft(args) => stubs_left::run(context, args),
    }
}

/// The command's name in the summary.
pub fn name(command: &Command) -> &'static str {
    match command {
        Command::Init(_) => "init",
        Command::Scan(_) => "scan",
        Command::Plan(_) => "plan",
        Command::Apply(_) => "apply",
        Command::Tier(_) => "tier",
        Command::Upload(_) => "upload",
        Command::Stub(_) => "stub",
        Command::Recall(_) => "recall",
        Command::RecallGuard(_) => "recall-guard",
        Command::Adopt(_) => "adopt",
        Command::Restore(_) => "restore",
        Command::Pull(_) => "pull",
        Command::Undelete(_) => "undelete",
        Command::Cat(_) => "cat",
        Command::Export(_) => "export",
        Command::Verify(_) => "verify",
        Command::Status(_) => "status",
        Command::Report(_) => "report",
        Command::Ls(_) => "ls",
        Command::Find(_) => "find",
        Command::Du(_) => "du",
        Command::Manifest(_) => "manifest",
        Command::Explain(_) => "explain",
        Command::Log(_) => "log",
        Command::Recalls(_) => "recalls",
        Command::History(_) => "history",
        Command::Snapshot(_) => "snapshot",
        Command::Nodes(_) => "nodes",
        Command::Rebuild(_) => "rebuild",
        Command::Pin(_) => "pin",
        Command::Unpin(_) => "unpin",
        Command::Doctor(_) => "doctor",
        Command::Policy(_) => "policy",
        Command::Demo(_) => "demo",
        Command::Gc(_) => "gc",
        Command::Generate(_) => "generate",
        Command::StubsLeft(_) => "stubs-left",
    }
}
