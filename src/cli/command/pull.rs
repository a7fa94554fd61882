//! `hsm pull`: another node's tree, kept up to date.

use super::Outcome;
use crate::catalog::{Point, Sight};
use crate::cli::args::DryRun;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::restoring::{Ground, figures, show_step, summary_line};
use crate::cli::selection::{AsOf, Source, resolve};
use crate::restore::mirror::{MirrorStats, take_away};
use crate::restore::{self, Existing, Mode, Options, RestoreStats, Target};
use crate::site::{Catalog, Pick, Selection, Site};
use clap::Args;
use std::path::{Path, PathBuf};

/// Unfinished runs that are remembered; what only older ones brought counts as changed
/// here.
const MOST_POINTS: usize = 16;

const EXAMPLES: &str = "\
Examples:
  hsm pull files1 --to /srv/mirror          # all metadata now, data on demand
  hsm pull files1 --to /srv/mirror          # later: only what has changed
  hsm pull 0192f7 --data --to /backup /srv/projects
Run it from a timer. To read everything makes it a full mirror: hsm recall -r DIR.
Exit code 3 means that some files were left as they are; each is named.";

/// Bring another node's tree here, and keep it up to date
///
/// All metadata are local and the data come on demand: files are stubs until somebody
/// wants them. The first pull brings the whole tree, each later one what has changed
/// since. What is gone there is removed here, as long as nobody has changed it: a file
/// that was changed here is never replaced and never removed, but reported.
///
/// Files keep their whole path below --to. The directory belongs into a managed tree of
/// this server (hsm init DIR): then its stubs can be recalled like any other, and this
/// node's own catalog keeps their copies from being deleted.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PullArgs {
    /// The other node: its id, the beginning of it, or its host name (see hsm nodes)
    #[arg(value_name = "NODE")]
    pub node: String,

    /// Roots of that node, by their paths there [default: all of them]
    #[arg(value_name = "ROOT")]
    pub roots: Vec<PathBuf>,

    /// Mirror below this directory, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    /// Bring the data, too
    #[arg(long)]
    pub data: bool,

    /// Leave out the root's own path: its files come directly into --to
    #[arg(long)]
    pub strip_root: bool,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &PullArgs) -> Result<Outcome, Error> {
    // How far a mirror has come is remembered in the state DB.
    context.state_read_only(&context.config()?)?;
    let mut target = Target::open(&args.to, args.strip_root)?;
    let source = Source { node: Some(args.node.clone()), ..Source::default() };
    let ground = Ground::survey(context, &source, &target)?;
    let mode = if args.data { Mode::Data } else { Mode::Stubs };
    let (mirrored, restored) = ground.with_site(context, &source, mode, |site| {
        let (selection, mut catalog) =
            resolve(context, site, &source, &AsOf::default(), &args.roots)?;
        check(args, site, &selection)?;
        if mode == Mode::Stubs {
            ground.allow_stubs(&target, &selection.picks, &site.store.location())?;
        }
        let mut pull = Pull { context, args, ground: &ground, mode, selection: &selection };
        pull.roots(site, &mut catalog, &mut target)
    })?;
    conclude(context, args, &mirrored, &restored)
}

fn check(args: &PullArgs, site: &Site<'_>, selection: &Selection) -> Result<(), Error> {
    if selection.node.node == site.node_id {
        let text =
            format!("{} is this server; its own files come back with hsm restore", args.node);
        return Err(Error::Usage(text));
    }
    if let Some(pick) = selection.picks.iter().find(|pick| !pick.under.is_empty()) {
        let root = String::from_utf8_lossy(&pick.root.path).into_owned();
        return Err(Error::Usage(format!("whole roots are mirrored: name {root}")));
    }
    if args.strip_root && selection.picks.len() > 1 {
        return Err(Error::Usage("--strip-root is for one root: name it".to_owned()));
    }
    Ok(())
}

struct Pull<'a> {
    context: &'a Context,
    args: &'a PullArgs,
    ground: &'a Ground,
    mode: Mode,
    selection: &'a Selection,
}

impl Pull<'_> {
    fn roots(
        &mut self,
        site: &mut Site<'_>,
        catalog: &mut Catalog,
        target: &mut Target,
    ) -> Result<(MirrorStats, RestoreStats), Error> {
        let (mut mirrored, mut restored) = (MirrorStats::default(), RestoreStats::default());
        for pick in &self.selection.picks {
            let (one, made) = self.root(site, catalog, target, pick)?;
            mirrored.removed += one.removed;
            mirrored.kept += one.kept;
            mirrored.failed += one.failed;
            restored.add(&made);
        }
        Ok((mirrored, restored))
    }

    fn root(
        &self,
        site: &mut Site<'_>,
        catalog: &mut Catalog,
        target: &mut Target,
        pick: &Pick,
    ) -> Result<(MirrorStats, RestoreStats), Error> {
        let dry_run = self.args.dry_run.dry_run;
        let setting = self.setting(target, pick);
        let known = site.state.setting(&setting)?;
        let points = points(known.as_deref());
        let head = self.selection.node.head_seq;
        let picks = std::slice::from_ref(pick);
        if !dry_run {
            // What a run that is killed has brought is known for what it is.
            site.state.set_setting(&setting, &text(&points, head))?;
        }
        let mirrored = take_away(site, catalog, picks, target, &points, dry_run)?;
        let options = Options {
            mode: self.mode,
            existing: Existing::Refuse,
            sight: Sight::At(Point::Seq(head)),
            lost_of: None,
            managed: vec![],
            mirrored: points,
        };
        if dry_run {
            let hear = &mut |planned: restore::Planned<'_>| {
                // The figures say the same; a closed pipe ends with them.
                let _ = show_step(self.context, &planned);
            };
            let planned = restore::plan(site, catalog, picks, target, options, hear)?;
            return Ok((mirrored, planned));
        }
        let restored = self.ground.restore(site, catalog, picks, target, options)?;
        let failed = mirrored.failed + restored.failed - restored.differing;
        if failed == 0 && !site.stop.requested() {
            site.state.set_setting(&setting, &text(&[], head))?;
        }
        Ok((mirrored, restored))
    }

    /// By whom, what and where to.
    fn setting(&self, target: &Target, pick: &Pick) -> String {
        let place = target.place(&pick.root.path, b"").map(|place| target.full(&place));
        let place = place.unwrap_or_default();
        format!(
            "pulled {} {} {}",
            self.selection.node.node,
            hex::encode(&pick.root.path),
            hex::encode(place.as_os_str().as_encoded_bytes())
        )
    }
}

/// The segments up to which a mirror was brought: by the last whole run, and by those
/// that were killed or failed since, which have brought some of it.
fn points(known: Option<&str>) -> Vec<u64> {
    known.into_iter().flat_map(|text| text.split(',')).filter_map(|seq| seq.parse().ok()).collect()
}

fn text(points: &[u64], head: u64) -> String {
    let mut all: Vec<u64> = points.iter().copied().filter(|seq| *seq != head).collect();
    // The whole run stays: most of what is there is of it.
    if all.len() > MOST_POINTS {
        all.drain(1..=all.len() - MOST_POINTS);
    }
    let all: Vec<String> = all.into_iter().chain([head]).map(|seq| seq.to_string()).collect();
    all.join(",")
}

fn conclude(
    context: &Context,
    args: &PullArgs,
    mirrored: &MirrorStats,
    restored: &RestoreStats,
) -> Result<Outcome, Error> {
    context.out.remark(summary_line(restored, Path::new(&args.to)))?;
    if mirrored.removed > 0 {
        context.out.remark(format!("{} removed, as they are gone there", mirrored.removed))?;
    }
    let exit = if mirrored.kept > 0 { Exit::SomeFailed } else { Exit::Done };
    Ok(figures(Outcome::new(exit), restored)
        .with("removed", mirrored.removed)
        .with("kept", mirrored.kept)
        .with("dry_run", args.dry_run.dry_run))
}
