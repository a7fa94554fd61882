//! `hsm apply`: carries out a plan that a person has reviewed.

use super::Outcome;
use super::apply_rows::{Ends, Totals};
use crate::cli::args::{DryRun, PolicyFiles};
use crate::cli::context::{Context, state_file};
use crate::cli::error::Error;
use crate::cli::job::{self, own_places, recorded};
use crate::cli::opened::{Catalog, chunking, with_site};
use crate::cli::output::{Name, escaped_path};
use crate::cli::report;
use crate::config::Config;
use crate::policy::PolicySet;
use crate::site::Site;
use crate::state::RootRow;
use crate::tier::apply::{self, Applied, Fate, check_origin};
use crate::tier::plan::Wish;
use crate::tier::plan_file::{PlanFile, Row};
use crate::tier::run::{Job, RunStats};
use crate::units::format_size;
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hsm plan -o plan.jsonl
  hsm apply --dry-run plan.jsonl
  hsm apply plan.jsonl
  jq -c 'select(.format or .size_bytes > 1e9)' plan.jsonl | hsm apply -";

/// Do what a plan file says
///
/// Takes a plan of `hsm plan --output` and uploads and stubs the files of its
/// rows, as `hsm tier` would do it: same proofs, same order, same limits of one
/// run. Rows may have been removed, and "tier" turned into "upload"; any other
/// change of the file is refused, line by line, before anything is done.
///
/// Each row is checked again when its turn comes: the file must be the inode
/// that was planned, with the same size and times, and pins and policy must
/// allow the row at that moment. A row that does not pass is skipped and named,
/// and the exit code is 3. A plan of another store, another node or another
/// file system is refused.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ApplyArgs {
    /// The plan; - is standard input
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,

    #[command(flatten)]
    pub policy: PolicyFiles,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &ApplyArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let policy = context.policy(&config, &args.policy)?;
    let plan = PlanFile::open(opened(&args.plan)?)?;
    let roots = {
        let state = context.state_read_only(&config)?;
        check_origin(&plan, state.store_id(), state.node_id(), &state.roots()?)?
    };
    if context.policy_digest(&config, &args.policy)? != plan.header().policy {
        let made = &plan.header().made;
        context.progress.warn(&format!(
            "the policy has changed since the plan was made ({made}): each row goes by today's"
        ));
    }
    let applying = Applying { context, config: &config, policy: &policy, plan: &plan };
    if args.dry_run.dry_run {
        return applying.dry_run(&roots);
    }
    context.progress.remember_reasons();
    let mut totals = Totals::default();
    let failed = with_site(context, &config, &roots, Catalog::Written, |site| {
        let mut failed = None;
        for row in &roots {
            if context.stop.requested() {
                break;
            }
            if let Err(error) = applying.root(site, row, &mut totals) {
                if roots.len() > 1 {
                    report::lines(&error).iter().for_each(|line| context.progress.warn(line));
                }
                failed.get_or_insert(error);
            }
        }
        Ok(failed)
    })?;
    failed.map_or_else(|| totals.outcome(&context.out), Err)
}

/// The plan as a file that can be read more than once.
fn opened(path: &Path) -> Result<File, Error> {
    if path.as_os_str() != "-" {
        return File::open(path).map_err(Error::io("open", path));
    }
    let spool = || {
        let mut file = tempfile::tempfile()?;
        std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
        Ok(file)
    };
    spool().map_err(Error::io("keep a copy of the plan from", path))
}

struct Applying<'a> {
    context: &'a Context,
    config: &'a Config,
    policy: &'a PolicySet,
    plan: &'a PlanFile,
}

impl Applying<'_> {
    fn root(&self, site: &mut Site<'_>, row: &RootRow, totals: &mut Totals) -> Result<(), Error> {
        let job = Job {
            scan: false,
            upload: true,
            stub: true,
            share_chunks: self.config.store.dedup_across_nodes,
            wish: Wish::default(),
            chunking: chunking(self.config),
            skip: own_places(self.config),
        };
        let ends = Ends::new(&self.context.out, &self.context.progress, &row.path);
        let mut applied = Applied::default();
        let stats = recorded(self.context, site, row, "apply", |site| {
            let tell = |line: u64, row: &Row, fate: &Fate<'_>| ends.tell(line, row, fate);
            let (mut stats, done) = apply::run(site, self.policy, row, &job, self.plan, &tell)?;
            applied = done;
            for (why, rows) in &applied.skipped {
                *stats.stubbed.refused.entry(why).or_default() += rows;
            }
            let failed = job::failures(&stats);
            Ok((stats, failed))
        })?;
        ends.shown()?;
        totals.add(&stats, &applied, &ends);
        tell_root(self.context, &row.path, &stats, &applied)
    }

    fn dry_run(&self, roots: &[RootRow]) -> Result<Outcome, Error> {
        let context = self.context;
        let state_path = state_file(&self.config.state_dir);
        let mut totals = Totals::default();
        for row in roots {
            let ends = Ends::new(&context.out, &context.progress, &row.path);
            let tell = |line: u64, row: &Row, fate: &Fate<'_>| ends.tell(line, row, fate);
            let now_ns = context.now_ns();
            let (policy, stop) = (self.policy, &context.stop);
            let applied = apply::dry_run(&state_path, policy, row, now_ns, self.plan, stop, &tell)?;
            ends.shown()?;
            if stop.requested() {
                return Err(Error::Interrupted);
            }
            totals.add(&RunStats::default(), &applied, &ends);
        }
        context.out.remark(format!(
            "{} rows would be done, {} are done already, {} would be skipped",
            totals.done - totals.settled,
            totals.settled,
            totals.skipped()
        ))?;
        Ok(totals.outcome(&context.out)?.with("dry_run", true))
    }
}

fn tell_root(
    context: &Context,
    root: &Path,
    stats: &RunStats,
    applied: &Applied,
) -> Result<(), Error> {
    let (uploaded, stubbed) = (&stats.uploaded, &stats.stubbed);
    let (sent, freed) = (format_size(uploaded.sent_bytes), format_size(stubbed.freed_bytes));
    context.out.remark(format!(
        "{}: {} of {} rows done, {} files uploaded ({sent} sent), {} stubbed ({freed} freed)",
        escaped_path(root),
        applied.done,
        applied.rows,
        uploaded.files,
        stubbed.files
    ))?;
    context.out.record(&json!({
        "type": "root", "path": Name::of(root), "rows": applied.rows, "done_rows": applied.done,
        "settled_rows": applied.settled, "skipped_rows": applied.skipped,
        "uploaded_files": uploaded.files, "sent_bytes": uploaded.sent_bytes,
        "stubbed_files": stubbed.files, "freed_bytes": stubbed.freed_bytes,
    }))
}
