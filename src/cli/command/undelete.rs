//! `hsm undelete`: put back what is gone.

use super::Outcome;
use crate::catalog::{CatalogDb, Sight};
use crate::cli::args::DryRun;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::locate::{self, Place};
use crate::cli::output::{Name, escaped_path};
use crate::cli::restoring::{Ground, figures, show_step, summary_line};
use crate::cli::selection::own_catalog;
use crate::config::Config;
use crate::restore::{self, Existing, Mode, Options, Planned, RestoreStats, Step, Target};
use crate::site::{Catalog, Pick, Site};
use crate::state::RootRow;
use crate::tier::rescan::open_root;
use crate::units::{format_size, format_time};
use clap::Args;
use serde_json::json;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hsm undelete --list /srv/projects
  hsm undelete /srv/projects/plan.odt
  hsm undelete --stubs /srv/media/2019";

/// Put back files that were deleted
///
/// Brings back the last version of each path at and below PATH that is no more, to
/// where it was, with its data or as a stub. Never over something that is there, and
/// not under the old name of a file that was renamed, as far as a scan has seen that.
/// Only what was uploaded before it was deleted can come back, and for as long as the
/// store keeps it; --list tells.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct UndeleteArgs {
    /// Files or directories, whether they are there or not
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,

    /// Only show what can come back, when it was deleted, and for how long it is kept
    #[arg(short, long, conflicts_with_all = ["stubs", "dry_run"])]
    pub list: bool,

    /// Make stubs: the data on demand
    #[arg(long)]
    pub stubs: bool,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &UndeleteArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let known = context.state_read_only(&config)?.roots()?;
    let places = locate::places(&known, &args.paths)?;
    let mut roots: Vec<RootRow> = vec![];
    for place in &places {
        if roots.iter().all(|row| row.id != place.root.id) {
            roots.push(place.root.clone());
        }
    }
    let mode = if args.stubs { Mode::Stubs } else { Mode::Data };
    let looks = args.list || args.dry_run.dry_run;
    let ground = Ground::of(config.clone(), if looks { vec![] } else { roots.clone() });
    let stats = ground.with_own_site(context, mode, |site| {
        let mut catalog = Catalog::of(own_catalog(context, site)?);
        let mut totals = RestoreStats::default();
        for row in &roots {
            // Nothing is put into the place of a file system that is not mounted.
            open_root(row)?;
            let picks = picks(catalog.db(site)?, site, row, &places)?;
            let mut target = Target::open(Path::new("/"), false)?;
            let options = Options {
                mode,
                existing: Existing::Leave,
                sight: Sight::Last,
                lost_of: Some(row.id),
                managed: vec![],
                mirrored: vec![],
            };
            let catalog = &mut catalog;
            let stats = match looks {
                true => plan(context, args, &config, (site, catalog), &picks, &mut target, options),
                false => ground.restore(site, catalog, &picks, &mut target, options),
            }?;
            totals.add(&stats);
        }
        Ok(totals)
    })?;
    // What is there is what was not deleted.
    let stats = RestoreStats { there: 0, ..stats };
    let where_to = args.paths.first().map_or(Path::new("/"), PathBuf::as_path);
    context.out.remark(summary_line(&stats, where_to))?;
    Ok(figures(Outcome::done(), &stats).with("dry_run", looks))
}

/// What was named, as the log of this node has it.
fn picks(
    db: &CatalogDb,
    site: &Site<'_>,
    row: &RootRow,
    places: &[Place],
) -> Result<Vec<Pick>, Error> {
    let path = row.path.as_os_str().as_bytes();
    let root = db.roots(Some(site.node_id))?.into_iter().find(|root| root.path == path);
    let Some(root) = root else {
        let what = format!("nothing of {} was ever uploaded", escaped_path(&row.path));
        return Err(Error::refused(what, "hsm upload, from now on"));
    };
    let of_root = places.iter().filter(|place| place.root.id == row.id);
    let pick = |place: &Place| Pick { root: root.clone(), under: place.path.as_bytes().to_vec() };
    Ok(of_root.map(pick).collect())
}

fn plan(
    context: &Context,
    args: &UndeleteArgs,
    config: &Config,
    (site, catalog): (&mut Site<'_>, &mut Catalog),
    picks: &[Pick],
    target: &mut Target,
    options: Options,
) -> Result<RestoreStats, Error> {
    let grace = i64::try_from(config.gc.grace_in_force().as_nanos()).unwrap_or(i64::MAX);
    let mut failed = None;
    let hear = &mut |planned: Planned<'_>| {
        if failed.is_none() && matches!(planned.step, Step::Make) {
            let shown = match args.list {
                true => show(context, &planned, grace),
                false => show_step(context, &planned),
            };
            failed = shown.err();
        }
    };
    let stats = restore::plan(site, catalog, picks, target, options, hear)?;
    failed.map_or(Ok(stats), Err)
}

fn show(context: &Context, planned: &Planned<'_>, grace: i64) -> Result<(), Error> {
    let version = planned.version;
    let record = &version.record;
    let deleted_ns = version.to_ns.filter(|_| version.gone);
    let kept_until_ns = deleted_ns.map(|at_ns| at_ns.saturating_add(grace));
    let deleted = deleted_ns.map_or_else(|| "since the last upload".to_owned(), format_time);
    let kept = match kept_until_ns {
        _ if version.expired => "its data may be gone already".to_owned(),
        Some(until_ns) => format!("kept at least until {}", format_time(until_ns)),
        None => "kept while its deletion is not uploaded, and the grace after that".to_owned(),
    };
    let (size, path) = (format_size(record.size_bytes), escaped_path(&planned.path));
    context.out.line(format!("{deleted:<21} {} {size:>10}  {path}  ({kept})", record.kind))?;
    context.out.record(&json!({
        "type": "deleted", "path": Name::of(&planned.path), "kind": record.kind,
        "size_bytes": record.size_bytes, "deleted_ns": deleted_ns,
        "kept_until_ns": kept_until_ns, "expired": version.expired,
        "version": version.from_seq,
    }))
}
