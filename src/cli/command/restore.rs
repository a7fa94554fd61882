//! `hsm restore`: a tree from the store alone.

use super::Outcome;
use crate::catalog::{Point, Sight};
use crate::cli::args::DryRun;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::restoring::{Ground, figures, show_step, summary_line};
use crate::cli::selection::{AsOf, Source, resolve};
use crate::restore::{self, Existing, Mode, Options, Target};
use crate::site::Selection;
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm restore --store s3://bucket/server1 --to /      # the server burnt down
  hsm restore --stubs --to /srv/new                   # metadata now, data on demand
  hsm restore --as-of 2026-01-31 --to /tmp/then /srv/projects/plan.odt
  hsm restore --store file:///mnt/nas/hsm --node files1 --strip-root --to /srv/media /srv/media
Exit code 3 means that some files were not restored; each is named.";

/// Bring a tree back from the store, on this server or on a new one
///
/// Needs nothing but the store and, where it is encrypted, its key. Names, types,
/// modes, owners, times, extended attributes, ACLs, links and holes come back as they
/// were; files keep their whole path below --to, so that --to / puts them where they
/// were. A file is complete before it has its name.
///
/// What is there already, with the same type, size and modification time, is passed
/// over: after an interruption the same command goes on. What differs is left alone
/// and reported, unless --overwrite says otherwise. With --stubs files are placeholders
/// until hsm recall, or a guard, brings their data. As an ordinary user, owners and the
/// like that only root may set are left out, and counted.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RestoreArgs {
    /// Files or directories, by their absolute paths on their server [default:
    /// everything that it had in the store]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Restore below this directory, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    #[command(flatten)]
    pub source: Source,

    #[command(flatten)]
    pub as_of: AsOf,

    /// Make stubs: all metadata now, the data on demand
    #[arg(long, conflicts_with = "data")]
    pub stubs: bool,

    /// Restore the data, too [default]
    #[arg(long)]
    pub data: bool,

    /// What to do about files that exist and differ [default: leave them alone]
    #[arg(long, value_name = "WHICH")]
    pub overwrite: Option<Overwrite>,

    /// Leave out the root's own path: its files come directly into --to
    #[arg(long)]
    pub strip_root: bool,

    #[command(flatten)]
    pub dry_run: DryRun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Overwrite {
    /// Replace a file whose modification time is before the version's
    Older,
    /// Replace it
    Always,
}

pub fn run(context: &Context, args: &RestoreArgs) -> Result<Outcome, Error> {
    let mut target = Target::open(&args.to, args.strip_root)?;
    let ground = Ground::survey(context, &args.source, &target)?;
    let mode = if args.stubs { Mode::Stubs } else { Mode::Data };
    let dry_run = args.dry_run.dry_run;
    let stats = ground.with_site(context, &args.source, mode, |site| {
        let mut source = args.source.clone();
        if source.node.is_none() {
            source.node = ground.node_before(site, &target)?;
        }
        let (selection, mut catalog) = resolve(context, site, &source, &args.as_of, &args.paths)?;
        require_one_root(args, &selection)?;
        if mode == Mode::Stubs {
            let url = args.source.store.clone();
            let url = url.unwrap_or_else(|| site.store.location().to_owned());
            ground.allow_stubs(&target, &selection.picks, &url)?;
        }
        let options = Options {
            mode,
            existing: match args.overwrite {
                None => Existing::Refuse,
                Some(Overwrite::Older) => Existing::ReplaceOlder,
                Some(Overwrite::Always) => Existing::Replace,
            },
            sight: Sight::At(selection.point),
            lost_of: None,
            managed: vec![],
            mirrored: vec![],
        };
        say_which(context, &selection)?;
        if !dry_run {
            ground.note_node(site, &target, selection.node.node)?;
            return ground.restore(site, &mut catalog, &selection.picks, &mut target, options);
        }
        let mut failed = None;
        let hear = &mut |planned: restore::Planned<'_>| {
            if failed.is_none() {
                failed = show_step(context, &planned).err();
            }
        };
        let picks = &selection.picks;
        let stats = restore::plan(site, &mut catalog, picks, &mut target, options, hear)?;
        failed.map_or(Ok(stats), Err)
    })?;
    context.out.remark(summary_line(&stats, &args.to))?;
    let outcome = figures(Outcome::done(), &stats).with("differing", differing(&stats, dry_run));
    Ok(if dry_run { outcome.with("dry_run", true) } else { outcome })
}

/// Only a plan knows how many; a run has named each.
fn differing(stats: &restore::RestoreStats, dry_run: bool) -> Option<u64> {
    dry_run.then_some(stats.failed)
}

/// Files of two roots would come into one directory.
fn require_one_root(args: &RestoreArgs, selection: &Selection) -> Result<(), Error> {
    let roots: BTreeSet<&[u8]> = selection.picks.iter().map(|pick| &pick.root.path[..]).collect();
    if args.strip_root && roots.len() > 1 {
        let text = "--strip-root is for files of one root: name paths of one";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok(())
}

fn say_which(context: &Context, selection: &Selection) -> Result<(), Error> {
    let node = &selection.node;
    let host = node.host.as_deref().unwrap_or("unknown host");
    let then = match selection.point {
        Point::Now => String::new(),
        Point::Seq(seq) => format!(" as of segment {seq} of its log"),
    };
    context.out.remark(format!("from node {} ({host}){then}", node.node))
}
