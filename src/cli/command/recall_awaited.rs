//! The part of `hsm recall` that has to do with archives: what waits for one, the
//! wait itself, and what is recalled when it ends.
//!
//! Nothing is held during the wait, which takes hours: no lock of a root, no state
//! DB, no store. Each look opens what it needs. All that was asked for is in the
//! state DB, so whoever ends the wait (Ctrl-C, a reboot) loses nothing but the wait.

use super::Outcome;
use super::recall::{RootJob, Totals, Waiting, recall_root};
use crate::classes::Tier;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::job::own_places;
use crate::cli::locate::Place;
use crate::cli::opened::{Catalog, with_site};
use crate::cli::output::{Name, escaped_path};
use crate::cli::{report, underneath};
use crate::clock::Stopwatch;
use crate::config::Config;
use crate::ids::{FileIdent, PackId};
use crate::monitor::{Monitor, Phase};
use crate::os::file_ident;
use crate::policy::FileState;
use crate::recall::Options;
use crate::site::Site;
use crate::site::archive::{self, Archive};
use crate::state::{AwaitedFile, RootRow, StateDb, ThawRow};
use crate::tier::rescan::open_root;
use crate::units::{format_duration, format_size};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Between two looks; each wait is twice the one before.
const FIRST_PACE: Duration = Duration::from_millis(500);
const LONGEST_PACE: Duration = Duration::from_secs(300);
/// Where the archive takes minutes.
const LONGEST_EXPEDITED_PACE: Duration = Duration::from_secs(30);
/// How soon a request to stop is heeded.
const SLICE: Duration = Duration::from_millis(50);

/// Recalls everything that was asked for, by whomever, as far as it is ready.
pub(super) fn pending(
    context: &Context,
    config: &Config,
    options: Options,
    waits: bool,
    dry_run: bool,
) -> Result<Outcome, Error> {
    let state = context.state_read_only(config)?;
    let roots = state.roots()?;
    let awaited = state.awaited_files()?;
    let thaws = state.thaws()?;
    drop(state);
    if dry_run {
        return show(context, &roots, &awaited, &thaws);
    }
    let mut totals = Totals::default();
    for file in awaited {
        if let Some(root) = roots.iter().find(|root| root.id == file.root) {
            totals.waiting.push(Waiting { root: root.clone(), path: file.path });
        }
    }
    forget_unwanted(context, config, &roots)?;
    round(context, config, options, &mut totals)?;
    if waits {
        wait(context, config, options, &mut totals)?;
    }
    conclude(context, config, &totals)
}

/// Packs that nobody waits for any more are forgotten in time.
fn forget_unwanted(context: &Context, config: &Config, roots: &[RootRow]) -> Result<(), Error> {
    if let Some(any) = roots.first() {
        context.state(config)?.await_no_more(any.id, std::iter::empty())?;
    }
    Ok(())
}

/// Looks, and recalls what is ready, until nothing waits any more or a stop is
/// requested.
pub(super) fn wait(
    context: &Context,
    config: &Config,
    options: Options,
    totals: &mut Totals,
) -> Result<(), Error> {
    let (started, mut pace, mut told) = (Stopwatch::start(), FIRST_PACE, None);
    let longest = match options.thaw.tier {
        Tier::Expedited => LONGEST_EXPEDITED_PACE,
        _ => LONGEST_PACE,
    };
    while !totals.waiting.is_empty() && !context.stop.requested() {
        sleep(context, pace);
        if context.stop.requested() {
            break;
        }
        pace = (pace * 2).min(longest);
        match round(context, config, options, totals) {
            Ok(standing) => {
                if told.is_none() && !totals.waiting.is_empty() {
                    context.progress.begin(Phase::Thawing, standing.packs, 0);
                }
                let newly = standing.ready.saturating_sub(told.unwrap_or(0));
                context.progress.advance(newly, 0);
                if told != Some(standing.ready) && !context.progress.wants_totals() {
                    let Standing { ready, packs } = standing;
                    let elapsed = format_duration(started.elapsed());
                    context.progress.notice(&format!("{ready} of {packs} packs ready, {elapsed}"));
                }
                told = Some(standing.ready);
            }
            Err(error) if passes(&error) => {
                context.progress.notice(&format!("{}; waiting on", report::one_line(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    context.progress.end();
    Ok(())
}

/// Another run at work, or a store that is away for a while, ends no wait of hours.
fn passes(error: &Error) -> bool {
    let away = underneath::store(error).is_some_and(|error| error.kind().is_retryable());
    matches!(error, Error::Locked { .. }) || away
}

fn sleep(context: &Context, mut pace: Duration) {
    while !pace.is_zero() && !context.stop.requested() {
        let slice = pace.min(SLICE);
        std::thread::sleep(slice);
        pace -= slice;
    }
}

/// How the packs stand that are waited for.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    packs: u64,
    ready: u64,
}

/// Looks once, and recalls those of the waiting that can be.
fn round(
    context: &Context,
    config: &Config,
    options: Options,
    totals: &mut Totals,
) -> Result<Standing, Error> {
    if totals.waiting.is_empty() {
        return Ok(Standing::default());
    }
    let (standing, still) = with_site(context, config, &[], Catalog::Untouched, |site| {
        look(site, options, &totals.waiting)
    })?;
    let (still, ready): (Vec<Waiting>, Vec<Waiting>) =
        totals.waiting.iter().cloned().partition(|file| {
            still.iter().any(|(root, path)| *root == file.root.id && *path == file.path)
        });
    if ready.is_empty() {
        return Ok(standing);
    }
    let mut roots: Vec<RootRow> = vec![];
    for file in &ready {
        if !roots.iter().any(|root| root.id == file.root.id) {
            roots.push(file.root.clone());
        }
    }
    let mut done = Totals::default();
    with_site(context, config, &roots, Catalog::Untouched, |site| {
        for row in &roots {
            let job = job_of(row, &ready)?;
            let job = drop_gone(site, job)?;
            let stats = recall_root(site, &job, &own_places(config), options)?;
            drop_whole(site, &job)?;
            done.add(row, stats);
        }
        Ok(())
    })?;
    totals.files += done.files;
    totals.bytes += done.bytes;
    totals.already_resident += done.already_resident;
    totals.waiting = still;
    totals.waiting.extend(done.waiting);
    Ok(standing)
}

type Still = Vec<(crate::state::RootId, crate::os::relpath::RelPath)>;

/// Asks the store about all packs that these files wait for; which of the files
/// still wait. An order that never reached the store, and one whose copy has expired,
/// is placed again.
fn look(
    site: &mut Site<'_>,
    options: Options,
    waiting: &[Waiting],
) -> Result<(Standing, Still), Error> {
    let mut awaited = site.state.awaited_files()?;
    awaited.retain(|file| {
        waiting.iter().any(|known| known.root.id == file.root && known.path == file.path)
    });
    let packs: BTreeSet<PackId> = awaited.iter().flat_map(|file| &file.packs).copied().collect();
    let missing: BTreeSet<PackId> =
        Archive::new(options.thaw).ask(site, &packs)?.into_iter().collect();
    awaited.retain(|file| file.packs.iter().any(|pack| missing.contains(pack)));
    let (packs, missing) = (packs.len() as u64, missing.len() as u64);
    let still = awaited.into_iter().map(|file| (file.root, file.path)).collect();
    Ok((Standing { packs, ready: packs - missing }, still))
}

fn job_of(row: &RootRow, files: &[Waiting]) -> Result<RootJob, Error> {
    let of_root = files.iter().filter(|file| file.root.id == row.id);
    let places = of_root.map(|file| Place { root: row.clone(), path: file.path.clone() });
    let (files, dirs) = (places.collect(), vec![]);
    Ok(RootJob { row: row.clone(), root: open_root(row)?, files, dirs })
}

/// A file that was deleted or replaced waits for nothing any more.
fn drop_gone(site: &mut Site<'_>, mut job: RootJob) -> Result<RootJob, Error> {
    let mut gone = awaited_of(&site.state, &job)?;
    gone.retain(|file| {
        let found = job.root.open_path(&file.path).and_then(file_ident);
        !found.is_ok_and(|ident| ident == file.ident)
    });
    site.state.await_no_more(job.row.id, gone.iter().map(|file| file.ident))?;
    job.files.retain(|place| !gone.iter().any(|file| file.path == place.path));
    Ok(job)
}

/// What is whole, by whatever way, waits for nothing any more.
fn drop_whole(site: &mut Site<'_>, job: &RootJob) -> Result<(), Error> {
    let mut whole: Vec<FileIdent> = vec![];
    for file in awaited_of(&site.state, job)? {
        let row = site.state.managed_by_ident(job.row.id, file.ident)?;
        let without_data = [FileState::Stub, FileState::Damaged, FileState::Recalling];
        if row.is_some_and(|row| !without_data.contains(&row.state)) {
            whole.push(file.ident);
        }
    }
    Ok(site.state.await_no_more(job.row.id, whole.into_iter())?)
}

fn awaited_of(state: &StateDb, job: &RootJob) -> Result<Vec<AwaitedFile>, Error> {
    let mut awaited = state.awaited_files()?;
    awaited.retain(|file| {
        file.root == job.row.id && job.files.iter().any(|place| place.path == file.path)
    });
    Ok(awaited)
}

/// The summary. What waits is no failure, and not done either.
pub(super) fn conclude(
    context: &Context,
    config: &Config,
    totals: &Totals,
) -> Result<Outcome, Error> {
    let bytes = format_size(totals.bytes);
    context.out.remark(format!(
        "{} files recalled ({bytes}), {} were resident",
        totals.files, totals.already_resident
    ))?;
    let mut packs = 0;
    if !totals.waiting.is_empty() {
        let state = context.state_read_only(config)?;
        packs = tell_waiting(context, &state, totals)?;
    }
    let exit = if totals.waiting.is_empty() { Exit::Done } else { Exit::SomeFailed };
    Ok(Outcome::new(exit)
        .with("recalled_files", totals.files)
        .with("recalled_bytes", totals.bytes)
        .with("already_resident", totals.already_resident)
        .with("waiting_files", totals.waiting.len())
        .with("waiting_packs", packs))
}

/// The number of packs.
fn tell_waiting(context: &Context, state: &StateDb, totals: &Totals) -> Result<usize, Error> {
    let mut packs = BTreeSet::new();
    for file in state.awaited_files()? {
        let mine = |known: &&Waiting| known.root.id == file.root && known.path == file.path;
        if let Some(known) = totals.waiting.iter().find(mine) {
            context.out.record(&json!({
                "type": "waiting", "path": Name::of(&known.path.to_path(&known.root.path)),
                "size_bytes": file.bytes, "packs": file.packs, "since_ns": file.since_ns,
            }))?;
            packs.extend(file.packs);
        }
    }
    let mut thaws = state.thaws()?;
    thaws.retain(|thaw| packs.contains(&thaw.pack) && !thaw.is_ready(context.now_ns()));
    let typical = archive::typical(&thaws).map(|typical| format!(", typically {typical}"));
    context.progress.warn(&format!(
        "{} files wait for {} packs in an archive class; the archive was asked for them{}; the \
         stubs are as they were",
        totals.waiting.len(),
        packs.len(),
        typical.unwrap_or_default()
    ));
    context.progress.warn(
        "  try: hsm recall --wait PATH, which waits; or later hsm recall --pending, which recalls \
         what is ready; hsm status shows how it goes",
    );
    Ok(packs.len())
}

/// `--pending --dry-run`: as far as the state DB knows.
fn show(
    context: &Context,
    roots: &[RootRow],
    awaited: &[AwaitedFile],
    thaws: &[ThawRow],
) -> Result<Outcome, Error> {
    let now_ns = context.now_ns();
    let is_ready =
        |pack: &PackId| thaws.iter().any(|thaw| thaw.pack == *pack && thaw.is_ready(now_ns));
    for file in awaited {
        let Some(root) = roots.iter().find(|root| root.id == file.root) else { continue };
        let path = file.path.to_path(&root.path);
        let ready = file.packs.iter().filter(|pack| is_ready(pack)).count();
        let (size, packs) = (format_size(file.bytes), file.packs.len());
        context.out.line(format!(
            "recall {size:>10}  {}  ({ready} of {packs} packs ready)",
            escaped_path(&path)
        ))?;
        context.out.record(&json!({
            "type": "step", "path": Name::of(&path), "action": "recall",
            "size_bytes": file.bytes, "packs": packs, "ready_packs": ready,
        }))?;
    }
    context.out.remark(format!("{} files wait for an archive", awaited.len()))?;
    Ok(Outcome::done().with("dry_run", true).with("waiting_files", awaited.len()))
}
