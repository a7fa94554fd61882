//! `hsm status`: how the trees stand, at a glance.
//!
//! `survey` gathers, `lines` is for people, `records` for programs, `metrics` for
//! a scraper, `watch` draws again and again.

mod forecast;
mod lines;
mod metrics;
mod recallers;
mod records;
mod runs;
mod survey;
mod thaws;
mod view;
mod watch;

use super::Outcome;
use crate::cli::args::PolicyFiles;
use crate::cli::context::Context;
use crate::cli::error::Error;
use clap::Args;
use metrics::Target;
use std::path::PathBuf;
use survey::{Sources, Survey};

const EXAMPLES: &str = "\
Examples:
  hsm status
  hsm status --json | jq 'select(.type == \"root\")'
  hsm status --watch
  hsm status --metrics /var/lib/prometheus/node-exporter/hsm.prom";

/// Show how the trees stand
///
/// For each root: free space and when it will be short at the growth that was
/// seen, the last complete scan, files and bytes in each state, what the policy
/// wants and has no copy yet and how old that is, why uploaded files are not
/// stubs and the rest was not uploaded, pins, what an earlier run left unfinished,
/// and what the runs of a week sent and freed; then for which programs most was
/// recalled in the last week, and the latest runs with their errors and with what
/// they left alone and why.
///
/// It reads the state DB, the policy and the free space; it asks no store and
/// opens a file only where a rule asks for an extended attribute.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct StatusArgs {
    /// Show this many runs
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub runs: usize,

    /// Show it live on the terminal, until q or Ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,

    /// Write it to FILE for Prometheus' textfile collector; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "watch")]
    pub metrics: Option<PathBuf>,
}

pub fn run(context: &Context, args: &StatusArgs) -> Result<Outcome, Error> {
    if args.watch {
        watch::require_terminal()?;
    }
    let to_stdout = args.metrics.as_ref().is_some_and(|file| file.as_os_str() == "-");
    if to_stdout && context.global.json {
        let what = "--metrics - and --json both want standard output";
        return Err(Error::Usage(what.to_owned()));
    }
    let config = context.config()?;
    let policy = context.policy(&config, &PolicyFiles { files: vec![] })?;
    // Tells what is missing, if anything is.
    drop(context.state_read_only(&config)?);
    let sources = Sources {
        config,
        policy,
        clock: context.clock,
        runs: args.runs,
        stop: context.stop.clone(),
    };
    if args.watch {
        return watch::run(context, &sources);
    }
    let target = args.metrics.as_deref().filter(|_| !to_stdout).map(Target::open).transpose()?;
    let survey = Survey::take(&sources)?;
    let outcome = Outcome::done()
        .with("roots", survey.roots.len())
        .with("store", &survey.store)
        .with("refused_recalls", survey.refused_recalls());
    match target {
        Some(target) => metrics::write(&survey, target)?,
        None if to_stdout => context.out.line(metrics::text(&survey).trim_end())?,
        None => {
            lines::lines(&survey, 0).iter().try_for_each(|line| context.out.line(&line.text))?;
            records::write(&survey, &context.out)?;
        }
    }
    Ok(outcome)
}
