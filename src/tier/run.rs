//! The commands `tier`, `upload`, `stub` and `apply` on one root, from recovery
//! to the last commit.
//!
//! What they differ in is where the files come from that are looked at: a
//! [`Choice`]. What is done with one is decided here, by policy, each time.

use super::candidates::{Choice, Look, Looked, Scanned, Stage};
use super::plan::{Planner, Pressure, Wish, pressure, state_of};
use super::rescan::ScanRequest;
use super::second::{self, SecondStats};
use super::stubbing::{self, StubStats};
use super::upload::{self, UploadStats};
use super::{Error, guarded, neighbours, recover, rescan};
use crate::chunk::Chunking;
use crate::clock::Stopwatch;
use crate::ids::FileIdent;
use crate::monitor::Phase;
use crate::os::relpath::RelPath;
use crate::os::stat::FileKind;
use crate::os::tree::RootDir;
use crate::policy::{FileState, PolicySet};
use crate::site::guard::causes;
use crate::site::{Guard, Site, checkpoint};
use crate::state::{RootRow, StateDb};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which parts of the job to do.
#[derive(Debug, Clone)]
pub struct Job {
    pub scan: bool,
    pub upload: bool,
    pub stub: bool,
    /// Rely on chunks that other nodes have sent.
    pub share_chunks: bool,
    pub wish: Wish,
    /// For rules that do not say otherwise.
    pub chunking: Chunking,
    /// Directories that are ours and never scanned.
    pub skip: Vec<PathBuf>,
}

/// What one root's run did.
#[derive(Debug, Clone, Default)]
pub struct RunStats {
    pub recovered: recover::Recovered,
    pub scanned: Option<rescan::RescanStats>,
    pub uploaded: UploadStats,
    pub second: SecondStats,
    pub stubbed: StubStats,
    /// The file system before the run, where a watermark is set.
    pub pressure: Option<Pressure>,
    /// Files were left for another run: the policy's limits of one are reached,
    /// or enough space is free.
    pub limited: bool,
}

/// Runs the job. What is done when an error ends it stays done.
pub fn run(
    site: &mut Site<'_>,
    policy: &PolicySet,
    row: &RootRow,
    job: &Job,
) -> Result<RunStats, Error> {
    run_chosen(site, policy, row, job, &Scanned { under: job.wish.under.clone() })
}

/// The same with other files than those that the last scan saw.
pub fn run_chosen(
    site: &mut Site<'_>,
    policy: &PolicySet,
    row: &RootRow,
    job: &Job,
    choice: &dyn Choice,
) -> Result<RunStats, Error> {
    let root = rescan::open_root(row)?;
    let mut stats = RunStats::default();
    let clockwork = Stopwatch::start();
    if job.upload {
        stats.recovered = recover::recover_store(site)?;
        if job.share_chunks {
            learn(site);
        }
    } else if job.stub {
        recover::require_end(site)?;
    }
    stats.recovered.files = recover::recover_files(&mut site.ground(), row.id, &root)?.files;
    if job.scan {
        let under = scannable(&root, job.wish.under.clone());
        let request = ScanRequest { under, skip: job.skip.clone(), threads: 0 };
        stats.scanned = Some(rescan::rescan(&mut site.ground(), row, &root, &request)?);
        recover::recover_files(&mut site.ground(), row.id, &root)?;
    }
    crate::fault::point("tier.scanned");
    stats.pressure = pressure(policy, &root)?;
    let limited = AtomicBool::new(false);
    let mut runner =
        Runner { site, policy, row, root: &root, job, choice, clockwork, limited: &limited };
    if job.upload && !runner.site.stop.requested() {
        stats.uploaded = runner.upload(stats.pressure)?;
    }
    crate::fault::point("tier.uploaded");
    if job.upload && !runner.site.stop.requested() {
        let wrote = stats.uploaded.segments > 0;
        if let Err(error) = checkpoint::write_if_due(runner.site, wrote) {
            runner
                .site
                .monitor
                .notice(&format!("no checkpoint was written: {}", causes(&error).join(": ")));
        }
    }
    if !runner.site.stop.requested() {
        stats.second = runner.second()?;
    }
    crate::fault::point("tier.second");
    if job.stub && !runner.site.stop.requested() {
        stats.stubbed = runner.stub(stats.pressure)?;
    }
    stats.limited = limited.load(Ordering::Relaxed);
    Ok(stats)
}

/// It only saves room: an upload must not wait for another node's log to be mended.
fn learn(site: &mut Site<'_>) {
    if let Err(error) = neighbours::learn(site) {
        let why = causes(&error).join(": ");
        site.monitor.notice(&format!("what other nodes have sent is sent again: {why}"));
    }
}

/// A scan reads directories; of a single file it reads the one that holds it.
fn scannable(root: &RootDir, under: Option<RelPath>) -> Option<RelPath> {
    let under = under?;
    let is_dir = root.stat(&under).is_ok_and(|stat| stat.kind == FileKind::Dir);
    if is_dir { Some(under) } else { under.parent().filter(|parent| !parent.is_root()) }
}

struct Runner<'a, 's> {
    site: &'a mut Site<'s>,
    policy: &'a PolicySet,
    row: &'a RootRow,
    root: &'a RootDir,
    job: &'a Job,
    choice: &'a dyn Choice,
    clockwork: Stopwatch,
    limited: &'a AtomicBool,
}

impl<'a> Runner<'a, '_> {
    fn planner(&self) -> Result<Planner<'a>, Error> {
        let now_ns = self.site.clock.now_ns();
        let (wish, chunking) = (self.job.wish.clone(), self.job.chunking);
        Planner::new(&self.site.state, self.policy, self.row, self.root, wish, chunking, now_ns)
    }

    fn entries(&self, stage: Stage, for_space: bool) -> Result<Looked<'a>, Error> {
        let (state_path, planner) = (self.site.state_path.clone(), self.planner()?);
        self.choice.entries(Look {
            state_path,
            row: self.row,
            root: self.root,
            planner,
            for_space,
            stage,
        })
    }

    fn upload(&mut self, pressure: Option<Pressure>) -> Result<UploadStats, Error> {
        let mut planner = self.planner()?;
        let for_space = is_pressed(pressure);
        let (mut total_files, mut total_bytes) = (0, 0);
        if self.site.monitor.wants_totals() {
            let entries = self.entries(Stage::Count, for_space)?;
            let plan = planner.plan(entries, for_space, true, false, &mut |_, _| {})?;
            (total_files, total_bytes) = (plan.upload_files, plan.upload_bytes);
        }
        let mut linked = HashSet::new();
        let mut quota = Quota::new(self.policy, self.clockwork, self.limited);
        let requests =
            self.entries(Stage::Upload, for_space)?.filter_map(move |entry| match entry {
                Err(error) => Some(Err(error)),
                Ok(entry) if entry.nlink > 1 && !linked.insert(entry.ino) => None,
                Ok(entry) => planner.request(&entry, for_space).map(Ok),
            });
        let requests = requests.take_while(move |request| match request {
            Ok(request) => quota.admits(request.size_bytes),
            Err(_) => true,
        });
        let budget = self.policy.limits().stop_after_errors;
        let give_up = move |failed, tried| {
            budget.is_some_and(|budget| budget.exceeded(tried + failed, failed))
        };
        self.site.monitor.begin(Phase::Uploading, total_files, total_bytes);
        let stats = upload::run(self.site, self.row.id, self.root, requests, &give_up);
        self.site.monitor.end();
        stats
    }

    /// What is wanted in both stores is written down before anything is stubbed, and
    /// where the run uploads it is made so.
    fn second(&mut self) -> Result<SecondStats, Error> {
        let wants = self.policy.wants_two_copies();
        if !wants {
            self.site.state.want_none_twice()?;
        } else {
            let planner = self.planner()?;
            let entries = self.entries(Stage::Count, false)?;
            second::want(self.site, entries, &|entry| planner.copies(entry))?;
        }
        if !self.job.upload || self.site.second.is_none() {
            return Ok(SecondStats::default());
        }
        second::replicate(self.site, wants)
    }

    fn stub(&mut self, pressure: Option<Pressure>) -> Result<StubStats, Error> {
        let (planner, for_space) = (self.planner()?, is_pressed(pressure));
        let candidates = self.stub_candidates(&planner, for_space)?;
        if candidates.idents.is_empty() {
            return Ok(StubStats::default());
        }
        let guard = self.site.guard.as_deref_mut().map(|guard| guard as &mut dyn Guard);
        guarded::stubs_allowed(guard, self.row, self.policy.unguarded())
            .map_err(|reason| Error::Unguarded { reason })?;
        let mut quota = Quota::new(self.policy, self.clockwork, self.limited);
        let (total_files, total_bytes) = (candidates.idents.len() as u64, candidates.bytes);
        let state = StateDb::open_read_only(&self.site.state_path)?;
        let root_id = self.row.id;
        let rows = candidates.idents.into_iter().filter_map(|ident| {
            state.managed_by_ident(root_id, ident).map_err(Error::from).transpose()
        });
        let rows = rows.take_while(move |row| match row {
            Ok(row) => quota.admits(row.size_bytes),
            Err(_) => true,
        });
        let goal_bytes = pressure.filter(|_| for_space).map(|p| p.to_free_bytes);
        let judge = |path: &_, stat: &_, row: &_| planner.judge(path, stat, row, for_space);
        self.site.monitor.begin(Phase::Stubbing, total_files, total_bytes);
        let stats = stubbing::run(self.site, self.row.id, self.root, rows, &judge, goal_bytes);
        self.site.monitor.end();
        if let (Ok(stats), Some(goal_bytes)) = (&stats, goal_bytes)
            && stats.freed_bytes >= goal_bytes
        {
            self.limited.store(true, Ordering::Relaxed);
        }
        stats
    }

    /// Uploaded files that the policy wants to be stubs: in directory order, or
    /// while space is short in the watermark's order, files that are cold by
    /// their rule's own age first.
    fn stub_candidates(&self, planner: &Planner<'a>, for_space: bool) -> Result<Candidates, Error> {
        let (mut ranked, mut bytes) = (vec![], 0);
        let order = self.policy.watermark().map(|watermark| watermark.order.clone());
        let mut linked = HashSet::new();
        for entry in self.entries(Stage::Stub, for_space)? {
            let entry = entry?;
            if state_of(&entry) != FileState::Uploaded
                || planner.step(&entry, for_space).is_none_or(|step| !step.stub)
                || (entry.nlink > 1 && !linked.insert(entry.ino))
            {
                continue;
            }
            let rank = order.as_ref().filter(|_| for_space).map(|o| planner.rank(o, &entry));
            let Some(file) = entry.file else { continue };
            bytes += file.size_bytes;
            ranked.push((rank, file.ident));
        }
        // Stable: without ranks the directory order stays.
        ranked.sort_by_key(|(rank, _)| *rank);
        Ok(Candidates { idents: ranked.into_iter().map(|(_, ident)| ident).collect(), bytes })
    }
}

/// Files to stub, in order. Only their identities are kept: the rows are read
/// when it is their turn.
struct Candidates {
    idents: Vec<FileIdent>,
    bytes: u64,
}

fn is_pressed(pressure: Option<Pressure>) -> bool {
    pressure.is_some_and(|pressure| pressure.to_free_bytes > 0)
}

/// The policy's limits of one run.
struct Quota<'a> {
    limited: &'a AtomicBool,
    files: u64,
    bytes: u64,
    /// Nothing was admitted yet.
    untouched: bool,
    clockwork: Stopwatch,
    duration: Option<std::time::Duration>,
}

impl<'a> Quota<'a> {
    fn new(policy: &PolicySet, clockwork: Stopwatch, limited: &'a AtomicBool) -> Self {
        let limits = policy.limits();
        Self {
            limited,
            files: limits.max_files.unwrap_or(u64::MAX),
            bytes: limits.max_bytes.unwrap_or(u64::MAX),
            untouched: true,
            clockwork,
            duration: limits.max_duration,
        }
    }

    /// Whether one more file of this size fits; takes its share. A file larger
    /// than the whole limit has a run for itself: it would else end every run
    /// before the files behind it.
    fn admits(&mut self, size_bytes: u64) -> bool {
        let in_time = self.duration.is_none_or(|limit| self.clockwork.elapsed() < limit);
        let fits = self.bytes >= size_bytes || self.untouched;
        if !in_time || self.files == 0 || !fits {
            self.limited.store(true, Ordering::Relaxed);
            return false;
        }
        self.untouched = false;
        self.files -= 1;
        self.bytes = self.bytes.saturating_sub(size_bytes);
        true
    }
}
