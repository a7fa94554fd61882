//! What `tier`, `upload` and `stub` have in common: the same job with other
//! parts switched on, on each root that was named, and the same plan for
//! `--dry-run`.

use super::args::PolicyFiles;
use super::command::Outcome;
use super::context::Context;
use super::error::Error;
use super::exit::Exit;
use super::locate::{self, Place};
use super::opened::{Catalog, chunking, with_site};
use super::output::{Name, escaped_path};
use super::report;
use crate::config::Config;
use crate::monitor::Stop;
use crate::os::FileKind;
use crate::os::space::FreeSpace;
use crate::os::tree::RootDir;
use crate::policy::PolicySet;
use crate::site::Site;
use crate::state::{EntryRow, RootRow, RunRow, StateDb, Usage};
use crate::tier::candidates::Entries;
use crate::tier::plan::{PlanStats, Planner, Step, Wish, pressure};
use crate::tier::rescan::open_root;
use crate::tier::run::{Job, RunStats, run};
use crate::units::format_size;
use serde_json::json;
use std::cell::Cell;
use std::path::PathBuf;

/// Which parts of the job a command does.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    pub command: &'static str,
    pub scan: bool,
    pub upload: bool,
    pub stub: bool,
}

/// Plans or runs a job on what was named; on every root when nothing was.
pub fn execute(
    context: &Context,
    parts: Parts,
    paths: &[PathBuf],
    policy: &PolicyFiles,
    dry_run: bool,
) -> Result<Outcome, Error> {
    let config = context.config()?;
    let policy = context.policy(&config, policy)?;
    let roots = context.state_read_only(&config)?.roots()?;
    if roots.is_empty() {
        return Err(Error::NotInitialised("no root is registered".into()));
    }
    let places = locate::existing_places(&roots, paths)?;
    if policy.rules().is_empty() && paths.is_empty() {
        let dir = escaped_path(&config.policy_dir);
        context.progress.warn(&format!(
            "there are no rules in {dir}, so every file is left alone; try: hsm policy fields"
        ));
    }
    if dry_run {
        return plan(context, &config, &policy, &places, parts, context.now_ns(), &mut |step| {
            show(context, step)
        });
    }
    let locked: Vec<RootRow> = places.iter().map(|place| place.root.clone()).collect();
    let catalog = if parts.upload { Catalog::Written } else { Catalog::Untouched };
    let mut totals = Totals::default();
    let failed = with_site(context, &config, &locked, catalog, |site| {
        let mut failed = None;
        for place in &places {
            if context.stop.requested() {
                break;
            }
            if let Err(error) = one(context, site, &config, &policy, place, parts, &mut totals) {
                // One root's trouble must not keep the others from their turn.
                if places.len() > 1 {
                    report::lines(&error).iter().for_each(|line| context.progress.warn(line));
                }
                failed.get_or_insert(error);
            }
        }
        Ok(failed)
    })?;
    match failed {
        Some(error) => Err(error),
        None => totals.outcome(context, parts),
    }
}

fn one(
    context: &Context,
    site: &mut Site<'_>,
    config: &Config,
    policy: &PolicySet,
    place: &Place,
    parts: Parts,
    totals: &mut Totals,
) -> Result<(), Error> {
    let named = !place.path.is_root();
    let job = Job {
        // What is named by hand may be newer than the last scan.
        scan: parts.scan || named,
        upload: parts.upload,
        stub: parts.stub,
        share_chunks: config.store.dedup_across_nodes,
        wish: Wish { under: named.then(|| place.path.clone()), named },
        chunking: chunking(config),
        skip: own_places(config),
    };
    let stats = recorded(context, site, &place.root, parts.command, |site| {
        let stats = run(site, policy, &place.root, &job)?;
        let failed = failures(&stats);
        Ok((stats, failed))
    })?;
    totals.add(&stats);
    tell(context, place, &stats, parts)
}

/// Does one root's part of a run and enters it into the log of runs. `work`
/// returns its figures and how much of it failed.
pub fn recorded(
    context: &Context,
    site: &mut Site<'_>,
    root: &RootRow,
    command: &str,
    work: impl FnOnce(&mut Site<'_>) -> Result<(RunStats, u64), Error>,
) -> Result<RunStats, Error> {
    let (started_ns, before) = (site.clock.now_ns(), space(root));
    let ended = work(site);
    let outcome = match &ended {
        Ok((stats, failed)) => {
            json!({ "exit": exit_of(context, *failed), "uploaded_files": stats.uploaded.files,
            "uploaded_bytes": stats.uploaded.bytes,
            "sent_bytes": stats.uploaded.sent_bytes, "stubbed_files": stats.stubbed.files,
            "freed_bytes": stats.stubbed.freed_bytes, "refused": stats.stubbed.refused,
            "failed_files": failed,
            // How full it was, where that was the reason to free space.
            "for_space": stats.pressure.filter(|p| p.to_free_bytes > 0).map(|p| p.used_pct) })
        }
        Err(error) => json!({ "exit": 1, "error": error.to_string() }),
    };
    let row = RunRow {
        command: format!("{command} {}", escaped_path(&root.path)),
        root: Some(root.id),
        started_ns,
        finished_ns: site.clock.now_ns(),
        outcome: outcome.to_string(),
        usage: before.zip(space(root)).map(|(before, after)| Usage {
            used_before_bytes: before.used_bytes(),
            used_after_bytes: after.used_bytes(),
            usable_bytes: after.usable_bytes,
        }),
    };
    site.state.record_run(&row)?;
    ended.map(|(stats, _)| stats)
}

/// `None` where the root is not there: a run that ends in that has no figures.
fn space(row: &RootRow) -> Option<FreeSpace> {
    open_root(row).ok().and_then(|root| FreeSpace::of(root).ok())
}

/// Files and directories of a run that failed.
pub fn failures(stats: &RunStats) -> u64 {
    let unread = stats.scanned.as_ref().map_or(0, |scan| scan.seen.errors);
    unread + stats.uploaded.failed + stats.stubbed.failed
}

/// How this root's part of the run ended, for the log of runs.
fn exit_of(context: &Context, failed: u64) -> u8 {
    let exit = match () {
        () if context.stop.requested() => Exit::Interrupted,
        () if failed > 0 => Exit::SomeFailed,
        () => Exit::Done,
    };
    exit.code()
}

/// Directories of our own, which no scan enters.
pub fn own_places(config: &Config) -> Vec<PathBuf> {
    let second = config.second_store.as_ref().and_then(|store| store_dir(&store.url));
    let stores = store_dir(&config.store.url).into_iter().chain(second);
    stores.chain([config.state_dir.clone()]).collect()
}

/// The directory of a store that is one.
pub fn store_dir(url: &str) -> Option<PathBuf> {
    url.strip_prefix("file://").map(PathBuf::from)
}

fn tell(context: &Context, place: &Place, stats: &RunStats, parts: Parts) -> Result<(), Error> {
    let (uploaded, stubbed) = (&stats.uploaded, &stats.stubbed);
    let mut said = vec![];
    if parts.upload {
        said.push(format!(
            "{} files uploaded ({}, {} sent)",
            uploaded.files,
            format_size(uploaded.bytes),
            format_size(uploaded.sent_bytes)
        ));
    }
    if uploaded.changed > 0 {
        said.push(format!("{} changed meanwhile", uploaded.changed));
    }
    if parts.stub {
        let freed = format_size(stubbed.freed_bytes);
        said.push(format!("{} files stubbed ({freed} freed)", stubbed.files));
    }
    if stats.second.copied_packs > 0 {
        let bytes = format_size(stats.second.copied_bytes);
        said.push(format!(
            "{} packs copied to the second store ({bytes})",
            stats.second.copied_packs
        ));
    }
    for (condition, files) in &stubbed.refused {
        said.push(format!("{files} left: {condition}"));
    }
    context.out.remark(format!("{}: {}", escaped_path(&place.root.path), said.join(", ")))?;
    context.out.record(&json!({
        "type": "root", "path": Name::of(&place.root.path),
        "uploaded_files": uploaded.files, "uploaded_bytes": uploaded.bytes,
        "sent_bytes": uploaded.sent_bytes, "deduplicated_bytes": uploaded.deduplicated_bytes,
        "changed_files": uploaded.changed, "stubbed_files": stubbed.files,
        "freed_bytes": stubbed.freed_bytes, "refused": stubbed.refused,
    }))
}

#[derive(Default)]
struct Totals {
    uploaded_files: u64,
    uploaded_bytes: u64,
    sent_bytes: u64,
    stubbed_files: u64,
    freed_bytes: u64,
    scan_errors: u64,
    /// Of all roots, as of the last one.
    waiting_files: u64,
    log_behind: bool,
}

impl Totals {
    fn add(&mut self, stats: &RunStats) {
        self.uploaded_files += stats.uploaded.files;
        self.uploaded_bytes += stats.uploaded.bytes;
        self.sent_bytes += stats.uploaded.sent_bytes;
        self.stubbed_files += stats.stubbed.files;
        self.freed_bytes += stats.stubbed.freed_bytes;
        self.waiting_files = stats.second.waiting_files;
        self.log_behind |= stats.second.log_behind;
        self.scan_errors += stats.scanned.as_ref().map_or(0, |scan| scan.seen.errors);
    }

    fn outcome(&self, context: &Context, parts: Parts) -> Result<Outcome, Error> {
        let exit = second_exit(context, self.waiting_files, self.log_behind);
        Ok(Outcome::new(exit)
            .with("waiting_for_second", self.waiting_files)
            .with("command", parts.command)
            .with("uploaded_files", self.uploaded_files)
            .with("uploaded_bytes", self.uploaded_bytes)
            .with("sent_bytes", self.sent_bytes)
            .with("stubbed_files", self.stubbed_files)
            .with("freed_bytes", self.freed_bytes)
            .with("scan_errors", self.scan_errors))
    }
}

/// A run that leaves files waiting for their second copy has not done all of it.
pub fn second_exit(context: &Context, waiting_files: u64, log_behind: bool) -> Exit {
    if waiting_files > 0 {
        context.progress.warn(&format!(
            "files that wait for their second copy: {waiting_files}; none becomes a stub before"
        ));
    }
    if waiting_files > 0 || log_behind { Exit::SomeFailed } else { Exit::Done }
}

/// A step of a plan with what it was decided on.
pub struct Planned<'a> {
    pub place: &'a Place,
    pub step: &'a Step,
    pub entry: &'a EntryRow,
    /// The file system is above the high watermark.
    pub for_space: bool,
}

/// Hands on what would be done; writes nothing, opens no file, asks no store.
pub fn plan(
    context: &Context,
    config: &Config,
    policy: &PolicySet,
    places: &[Place],
    parts: Parts,
    now_ns: i64,
    tell: &mut dyn FnMut(&Planned<'_>) -> Result<(), Error>,
) -> Result<Outcome, Error> {
    let state = context.state_read_only(config)?;
    let stop = &context.stop;
    let mut planning = Planning { config, policy, state: &state, parts, now_ns, stop, tell };
    let (mut upload, mut stub, mut settled, mut unmatched) = ((0, 0), (0, 0), 0, 0);
    for place in places {
        if place.root.last_complete_scan_ns.is_none() {
            let path = escaped_path(&place.root.path);
            context.progress.warn(&format!("{path} was never scanned to the end; try: hsm scan"));
        }
        let stats = planning.root(place)?;
        upload = (upload.0 + stats.upload_files, upload.1 + stats.upload_bytes);
        stub = (stub.0 + stats.stub_files, stub.1 + stats.stub_bytes);
        settled += stats.settled_files;
        unmatched += stats.unmatched_files;
    }
    context.out.remark(format!(
        "{} files to upload ({}), {} to stub ({}), {settled} settled, {unmatched} left alone",
        upload.0,
        format_size(upload.1),
        stub.0,
        format_size(stub.1)
    ))?;
    Ok(Outcome::done()
        .with("dry_run", true)
        .with("upload_files", upload.0)
        .with("upload_bytes", upload.1)
        .with("stub_files", stub.0)
        .with("stub_bytes", stub.1)
        .with("settled_files", settled)
        .with("unmatched_files", unmatched))
}

struct Planning<'a> {
    config: &'a Config,
    policy: &'a PolicySet,
    state: &'a StateDb,
    parts: Parts,
    now_ns: i64,
    stop: &'a Stop,
    tell: &'a mut dyn FnMut(&Planned<'_>) -> Result<(), Error>,
}

impl Planning<'_> {
    fn root(&mut self, place: &Place) -> Result<PlanStats, Error> {
        let (parts, root) = (self.parts, open_root(&place.root)?);
        let named = !place.path.is_root();
        let wish = Wish { under: named.then(|| place.path.clone()), named: named && !parts.scan };
        let for_space =
            pressure(self.policy, &root)?.is_some_and(|pressure| pressure.to_free_bytes > 0);
        let (under, chunking) = (wish.under.clone(), chunking(self.config));
        let planner =
            Planner::new(self.state, self.policy, &place.root, &root, wish, chunking, self.now_ns)?;
        let path = super::context::state_file(&self.config.state_dir);
        let entries = Entries::open(&path, place.root.id, under)?;
        // Nobody waits for millions of files who has stopped it, or listens no more.
        let ended = Cell::new(false);
        let entries = entries.take_while(|_| !ended.get() && !self.stop.requested());
        let mut failed = None;
        let stats =
            planner.plan(entries, for_space, parts.upload, parts.stub, &mut |step, entry| {
                failed = (self.tell)(&Planned { place, step, entry, for_space }).err();
                ended.set(failed.is_some());
            })?;
        match failed {
            Some(error) => Err(error),
            None if self.stop.requested() => Err(Error::Interrupted),
            None => Ok(stats),
        }
    }
}

/// One line, or record, for each step.
pub fn show(context: &Context, planned: &Planned<'_>) -> Result<(), Error> {
    let step = planned.step;
    let path = step.path.to_path(&planned.place.root.path);
    let action = match (step.upload, step.stub) {
        (true, true) => "upload+stub",
        (true, false) => "upload",
        _ => "stub",
    };
    let size = format_size(step.size_bytes);
    let mut line = format!("{action:<12} {size:>10}  ").into_bytes();
    line.extend_from_slice(
        &context.out.shown(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())),
    );
    line.extend_from_slice(format!("  ({})", step.rule.as_deref().unwrap_or("named")).as_bytes());
    context.out.line(line)?;
    context.out.record(&json!({
        "type": "step", "path": Name::of(&path), "action": action,
        "size_bytes": step.size_bytes, "rule": step.rule,
    }))
}

/// True for a directory that is there.
pub fn is_dir(root: &RootDir, place: &Place) -> bool {
    place.path.is_root() || root.stat(&place.path).is_ok_and(|stat| stat.kind == FileKind::Dir)
}
