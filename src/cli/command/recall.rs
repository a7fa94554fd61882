//! `hsm recall`: make stubs ordinary files again.

use super::{Outcome, recall_awaited};
use crate::classes::{Thaw, Tier};
use crate::cli::args::{DryRun, FilesFrom};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::job::{is_dir, own_places};
use crate::cli::locate::{self, Place};
use crate::cli::opened::{Catalog, with_site};
use crate::cli::output::{Name, escaped_path};
use crate::monitor::Phase;
use crate::os::relpath::RelPath;
use crate::os::tree::RootDir;
use crate::os::{FileKind, file_ident};
use crate::policy::FileState;
use crate::recall::{self, RecallStats, Target};
use crate::site::Site;
use crate::state::{EntryRow, RootRow, StateDb};
use crate::stub::{self, Glance, MarkerSpace, Placement};
use crate::tier::recover::recover_files;
use crate::tier::rescan::{ScanRequest, open_root, rescan};
use crate::units::format_size;
use clap::Args;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm recall /srv/media/film.mkv
  hsm recall -r /srv/projects/2024
  hsm find /srv --state stub --name '*.pdf' -0 | hsm recall -0
  hsm recall --wait --tier Bulk -r /srv/archive/2019    # from GLACIER or DEEP_ARCHIVE
  hsm recall --pending    # from a timer: what the archive has brought meanwhile";

/// Bring the data of stubs back
///
/// Fetches, verifies and writes the data into the stubs themselves, so that
/// hard links, open handles and inode numbers stay valid. Files that are not
/// stubs are passed over.
///
/// Space is checked before the first byte. Nothing unverified becomes visible;
/// a recall that fails leaves the stub as it was. The copy stays in the store.
/// A stub that somebody wrote over is not touched without --discard-local.
///
/// A file whose copy is in an archive class of the store cannot be read at once: the
/// archive is asked for all that it needs, and the stub stays as it is (exit 3).
/// With --wait the command waits, hours to days, and then recalls it; Ctrl-C ends
/// the wait and takes nothing back. Else --pending recalls what is ready by then,
/// also what programs asked for by opening a stub under the guard.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RecallArgs {
    /// Stubs, or with -r directories
    #[arg(value_name = "PATH", required_unless_present_any = ["files_from", "null", "pending"])]
    pub paths: Vec<PathBuf>,

    /// Recall everything below the directories named
    #[arg(short, long)]
    pub recursive: bool,

    #[command(flatten)]
    pub files_from: FilesFrom,

    /// Throw away what was written over a stub and recall the copy
    #[arg(long)]
    pub discard_local: bool,

    /// Wait until the archive has brought what is asked for, and recall it
    #[arg(long)]
    pub wait: bool,

    /// Recall every file that was asked for and is ready by now
    #[arg(long, conflicts_with_all = ["paths", "recursive", "files_from", "null", "discard_local"])]
    pub pending: bool,

    /// How soon the archive is to bring it: Expedited, Standard or Bulk [default: as
    /// in the configuration]
    #[arg(long, value_name = "TIER")]
    pub tier: Option<Tier>,

    /// How many days the copy that can be read is kept [default: as in the
    /// configuration]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=365))]
    pub days: Option<u32>,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &RecallArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    let thaw = Thaw {
        tier: args.tier.unwrap_or(config.cold.thaw.tier),
        days: args.days.unwrap_or(config.cold.thaw.days),
    };
    let options = recall::Options { discard_local: args.discard_local, thaw };
    if args.pending {
        return recall_awaited::pending(context, &config, options, args.wait, args.dry_run.dry_run);
    }
    let paths = args.files_from.gather(&args.paths)?;
    let state = context.state_read_only(&config)?;
    let roots = state.roots()?;
    let places = paths.iter().map(|p| locate::place(&roots, p)).collect::<Result<Vec<_>, _>>()?;
    let jobs = by_root(&places, args.recursive)?;
    if args.dry_run.dry_run {
        return show(context, &state, &jobs);
    }
    drop(state);
    let locked: Vec<RootRow> = jobs.iter().map(|job| job.row.clone()).collect();
    let mut totals = Totals::default();
    with_site(context, &config, &locked, Catalog::Untouched, |site| {
        for job in &jobs {
            let stats = recall_root(site, job, &own_places(&config), options)?;
            totals.add(&job.row, stats);
        }
        Ok(())
    })?;
    if args.wait {
        recall_awaited::wait(context, &config, options, &mut totals)?;
    }
    recall_awaited::conclude(context, &config, &totals)
}

/// What all rounds of a recall did, and what still waits.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub files: u64,
    pub bytes: u64,
    pub already_resident: u64,
    pub waiting: Vec<Waiting>,
}

/// A stub that waits for an archive.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub root: RootRow,
    pub path: RelPath,
}

impl Totals {
    pub fn add(&mut self, root: &RootRow, stats: RecallStats) {
        self.files += stats.files;
        self.bytes += stats.bytes;
        self.already_resident += stats.already_resident;
        let waiting = stats.waiting.into_iter();
        self.waiting.extend(waiting.map(|path| Waiting { root: root.clone(), path }));
    }
}

/// What is asked of one root.
pub(super) struct RootJob {
    pub row: RootRow,
    pub root: RootDir,
    pub files: Vec<Place>,
    pub dirs: Vec<Place>,
}

fn by_root(places: &[Place], recursive: bool) -> Result<Vec<RootJob>, Error> {
    let mut jobs: Vec<RootJob> = vec![];
    for place in places {
        let at = match jobs.iter().position(|job| job.row.id == place.root.id) {
            Some(at) => at,
            None => {
                let root = open_root(&place.root)?;
                jobs.push(RootJob { row: place.root.clone(), root, files: vec![], dirs: vec![] });
                jobs.len() - 1
            }
        };
        let job = &mut jobs[at];
        if !is_dir(&job.root, place) {
            job.files.push(place.clone());
        } else if recursive {
            job.dirs.push(place.clone());
        } else {
            let path = escaped_path(&place.path.to_path(&place.root.path));
            return Err(Error::Usage(format!("{path} is a directory; -r recalls all below it")));
        }
    }
    Ok(jobs)
}

pub(super) fn recall_root(
    site: &mut Site<'_>,
    job: &RootJob,
    own: &[PathBuf],
    options: recall::Options,
) -> Result<RecallStats, Error> {
    recover_files(&mut site.ground(), job.row.id, &job.root)?;
    for dir in &job.dirs {
        // Stubs that were moved here since the last scan are found too.
        let under = (!dir.path.is_root()).then(|| dir.path.clone());
        let request = ScanRequest { under, skip: own.to_vec(), threads: 0 };
        rescan(&mut site.ground(), &job.row, &job.root, &request)?;
        recover_files(&mut site.ground(), job.row.id, &job.root)?;
    }
    let targets = targets(&site.state, job)?;
    let bytes = targets.iter().filter_map(|t| t.row.as_ref()).map(|row| row.size_bytes).sum();
    site.monitor.begin(Phase::Recalling, targets.len() as u64, bytes);
    let targets = targets.into_iter().map(Ok);
    let stats = recall::run(site, job.row.id, &job.root, targets, options);
    site.monitor.end();
    Ok(stats?)
}

fn targets(state: &StateDb, job: &RootJob) -> Result<Vec<Target>, Error> {
    let mut targets = vec![];
    for place in &job.files {
        // Not opened: a guard would recall it then and there.
        let ident = job.root.open_path(&place.path).and_then(file_ident).ok();
        let row = match ident {
            Some(ident) => state.managed_by_ident(job.row.id, ident)?,
            None => None,
        };
        targets.push(Target { path: place.path.clone(), row });
    }
    let stubs = [FileState::Stub, FileState::Damaged, FileState::Recalling];
    for place in &job.dirs {
        let under = (!place.path.is_root()).then_some(&place.path);
        state.for_each_managed(job.row.id, under, &stubs, &mut |row| {
            targets.push(Target { path: row.path.clone(), row: Some(row) });
            ControlFlow::Continue(())
        })?;
        state.for_each_entry(job.row.id, under, &mut |entry| {
            if is_unknown_stub(&job.root, &entry) {
                targets.push(Target { path: entry.path, row: None });
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(targets)
}

/// A stub by its marker that the state DB knows nothing of: the state DB was
/// made anew, or the tree came from another server.
fn is_unknown_stub(root: &RootDir, entry: &EntryRow) -> bool {
    let emptied = entry.kind == FileKind::File && entry.allocated_bytes < entry.size_bytes;
    let unknown = entry.file.as_ref().is_none_or(|file| file.content.is_none());
    let found = || {
        let fd = root.open_path(&entry.path).ok()?;
        stub::glance(&fd, MarkerSpace::for_this_process()).ok()
    };
    let resident = Glance::Sure(Placement::Resident);
    emptied && unknown && found().is_some_and(|found| found != resident)
}

fn show(context: &Context, state: &StateDb, jobs: &[RootJob]) -> Result<Outcome, Error> {
    let (mut files, mut bytes) = (0u64, 0);
    for job in jobs {
        for target in targets(state, job)? {
            let size_bytes = match &target.row {
                Some(row) if row.state == FileState::Uploaded => continue,
                Some(row) => row.size_bytes,
                None => job.root.stat(&target.path).map_or(0, |stat| stat.size_bytes),
            };
            let path = target.path.to_path(&job.row.path);
            files += 1;
            bytes += size_bytes;
            let size = format_size(size_bytes);
            context.out.line(format!("recall {size:>10}  {}", escaped_path(&path)))?;
            context.out.record(&json!({
                "type": "step", "path": Name::of(&path), "action": "recall",
                "size_bytes": size_bytes,
            }))?;
        }
    }
    context.out.remark(format!("{files} files to recall ({})", format_size(bytes)))?;
    Ok(Outcome::done().with("dry_run", true).with("files", files).with("bytes", bytes))
}
