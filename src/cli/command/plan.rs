//! `hsm plan`: what the policy would do, and why, without doing it.

use super::Outcome;
use super::plan_costs::Costs;
use crate::cli::args::PolicyFiles;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::job::{self, Parts, Planned};
use crate::cli::locate::{self, Place};
use crate::cli::whole_file::WholeFile;
use crate::config::Config;
use crate::state::StateDb;
use crate::tier::plan_file::{Header, PlannedRoot, Row, reason, root_name};
use crate::units;
use clap::Args;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hsm plan
  hsm plan --policy media.toml /srv/media
  hsm plan --as-of now+30d
  hsm plan -o plan.jsonl && hsm apply plan.jsonl";

/// Show what tiering would do, and why
///
/// Evaluates the policy over what the last scan saw and prints each file with
/// its action and the rule that chose it, then the files and bytes per rule.
///
/// For a bucket it estimates, for each storage class, what sending, keeping and
/// bringing back would cost ([prices] in the configuration), and warns where the
/// terms of a class do not fit: a minimum duration and files that still change, an
/// archive and programs that open them.
///
/// It writes nothing anywhere, opens no file and does not ask the store: a
/// file may still be left out later, because it changed or is open.
///
/// With --output the plan goes into a file, one JSON object per line: first for
/// whom it is, then a row per file. Review it, remove rows, turn "tier" into
/// "upload", and hand it to `hsm apply`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PlanArgs {
    /// Roots, directories or files [default: all roots]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Plan as if it were this time (2026-12-31, now+30d, RFC 3339)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub as_of: Option<String>,

    /// Write the plan to FILE, for hsm apply; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub policy: PolicyFiles,
}

pub fn run(context: &Context, args: &PlanArgs) -> Result<Outcome, Error> {
    let now_ns = match &args.as_of {
        Some(text) => units::parse_time(text, context.now_ns())
            .map_err(|error| Error::Usage(format!("--as-of: {error}")))?,
        None => context.now_ns(),
    };
    let config = context.config()?;
    let policy = context.policy(&config, &args.policy)?;
    let state = context.state_read_only(&config)?;
    let places = locate::outermost(locate::places(&state.roots()?, &args.paths)?);
    // As the policy would do it: naming a path narrows the plan, it waives nothing.
    let parts = Parts { command: "plan", scan: true, upload: true, stub: true };
    let Some(output) = &args.output else {
        let mut costs = Costs::new(&config, &policy, now_ns);
        let mut show = |planned: &Planned<'_>| {
            costs.add(planned);
            job::show(context, planned)
        };
        let done = job::plan(context, &config, &policy, &places, parts, now_ns, &mut show)?;
        costs.tell(context, &config)?;
        return Ok(done);
    };
    let header = header(context, &config, args, &state, &places)?;
    drop(state);
    let mut file = PlanWriter::open(context, output, header)?;
    let mut write = |planned: &Planned<'_>| file.row(planned, now_ns);
    let outcome = job::plan(context, &config, &policy, &places, parts, now_ns, &mut write)?;
    let rows = file.close()?;
    Ok(outcome.with("rows", rows))
}

fn header(
    context: &Context,
    config: &Config,
    args: &PlanArgs,
    state: &StateDb,
    places: &[Place],
) -> Result<Header, Error> {
    // Several paths may be in one root.
    let roots: BTreeMap<&Path, &str> = places
        .iter()
        .map(|place| (place.root.path.as_path(), place.root.identity.as_str()))
        .collect();
    let planned = |(path, identity): (&Path, &str)| PlannedRoot {
        path: root_name(path),
        identity: identity.to_owned(),
    };
    let made = units::format_time(context.now_ns());
    let policy = context.policy_digest(config, &args.policy)?;
    let roots = roots.into_iter().map(planned).collect();
    Ok(Header::new(state.store_id(), state.node_id(), made, policy, roots))
}

/// A plan on its way into a file, which has its name once it is whole.
struct PlanWriter<'c> {
    header: Header,
    file: WholeFile<'c>,
    rows: u64,
}

impl<'c> PlanWriter<'c> {
    fn open(context: &'c Context, output: &Path, header: Header) -> Result<Self, Error> {
        let file = WholeFile::open(context, output)?;
        let mut writer = Self { header, file, rows: 0 };
        let first = writer.header.line();
        writer.line(first)?;
        Ok(writer)
    }

    fn row(&mut self, planned: &Planned<'_>, now_ns: i64) -> Result<(), Error> {
        let Planned { place, step, entry, for_space } = planned;
        let why = reason(step, entry, *for_space, now_ns);
        let row = Row::of(root_name(&place.root.path), step, entry, why);
        self.rows += 1;
        self.line(row.line(&self.header))
    }

    fn line(&mut self, mut line: Vec<u8>) -> Result<(), Error> {
        line.push(b'\n');
        self.file.write(&line)
    }

    /// The number of rows.
    fn close(self) -> Result<u64, Error> {
        self.file.close()?;
        Ok(self.rows)
    }
}
