//! Carries out a plan that a person has reviewed.
//!
//! A row is a permission, not an order: each is checked when its turn comes, and
//! again before its blocks go. The inode must be the one that was planned, of
//! the same size and times, and pins and policy must allow at that moment what
//! the row says. What does not pass is skipped, named and counted. What passes
//! goes the way of every run (`tier::run`): same pipelines, same order of
//! effects, same limits.
//!
//! When the run is over each row's file is looked up once more: it is what the
//! row wanted, or the row is not done, whatever the reason.

use super::candidates::{Choice, Look, Looked, Stage};
use super::marks::Marks;
use super::plan::{Planner, Pressure, Wish, pressure, state_of};
use super::plan_file::{PlanFile, Planned, Row};
use super::rescan::open_root;
use super::run::{Job, RunStats, run_chosen};
use super::stubbing::Refusal;
use super::{Error, conditions};
use crate::chunk::Chunking;
use crate::ids::{NodeId, StoreId};
use crate::monitor::Stop;
use crate::os::file_ident;
use crate::os::stat::{FileKind, Stat, statx_fd};
use crate::os::tree::{RootDir, is_gone};
use crate::policy::{FileState, PolicySet};
use crate::site::Site;
use crate::state::{EntryRow, RootRow, StateDb};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

/// Why a row is skipped, beside the named conditions of stubbing.
pub const REGULAR_FILE: &str = "regular-file";
/// The last scan saw the file.
pub const SCANNED: &str = "scanned";

/// What became of one row.
#[derive(Debug)]
pub enum Fate<'a> {
    /// It does not hold any more, or is not allowed.
    Skipped(&'a Refusal),
    /// It passed, and its file is not what the row wanted. `limited`: because
    /// the run ended before its turn.
    NotDone { state: FileState, limited: bool },
    /// Of a dry run: it would be done.
    Passed,
}

/// Is told of rows by the number of their line. Called from other threads.
pub type Tell<'a> = dyn Fn(u64, &Row, &Fate<'_>) + Sync + 'a;

/// What became of the rows of one root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    pub rows: u64,
    /// Their files are what they want; in a dry run, would be.
    pub done: u64,
    /// Of these, files that were what the row wants before.
    pub settled: u64,
    /// By the condition that did not hold.
    pub skipped: BTreeMap<&'static str, u64>,
    /// They passed and were not done.
    pub not_done: u64,
}

/// Whether a plan was made for this store, this node and these roots.
pub fn check_origin(
    plan: &PlanFile,
    store: StoreId,
    node: NodeId,
    roots: &[RootRow],
) -> Result<Vec<RootRow>, Error> {
    let header = plan.header();
    let foreign = |why: String| Error::ForeignPlan { why };
    if header.store != store {
        return Err(foreign(format!("it is for the store {}, this is {store}", header.store)));
    }
    if header.node != node {
        return Err(foreign(format!("it is for the node {}, this is {node}", header.node)));
    }
    let find = |planned: &super::plan_file::PlannedRoot| {
        let shown = planned.path.as_bytes().escape_ascii();
        let row = roots.iter().find(|row| super::plan_file::root_name(&row.path) == planned.path);
        match row {
            None => Err(foreign(format!("{shown} is no root"))),
            Some(row) if row.identity != planned.identity => {
                Err(foreign(format!("{shown} was another file system when it was made")))
            }
            Some(row) => Ok(row.clone()),
        }
    };
    header.roots.iter().map(find).collect()
}

/// Applies the plan to one root. What is done when an error ends it stays done.
pub fn run(
    site: &mut Site<'_>,
    policy: &PolicySet,
    row: &RootRow,
    job: &Job,
    plan: &PlanFile,
    tell: &Tell<'_>,
) -> Result<(RunStats, Applied), Error> {
    let approved = Approved::new(plan, tell);
    let stats = run_chosen(site, policy, row, job, &approved)?;
    let root = open_root(row)?;
    let limited = stats.limited || site.stop.requested();
    let applied = approved.reckon(&site.state, row, &root, limited)?;
    Ok((stats, applied))
}

/// What [`run`] would do: every row is checked until it is stopped, nothing is changed.
pub fn dry_run(
    state_path: &Path,
    policy: &PolicySet,
    row: &RootRow,
    now_ns: i64,
    plan: &PlanFile,
    stop: &Stop,
    tell: &Tell<'_>,
) -> Result<Applied, Error> {
    let root = open_root(row)?;
    let for_space = is_short(pressure(policy, &root)?);
    let state = StateDb::open_read_only(state_path)?;
    // How files would be cut decides nothing here.
    let (wish, chunking) = (Wish::default(), Chunking::Fixed { size_bytes: 4 << 20 });
    let planner = Planner::new(&state, policy, row, &root, wish, chunking, now_ns)?;
    let approved = Approved::new(plan, tell);
    crate::fault::point("plan.checked");
    let state_path = state_path.to_owned();
    let look = Look { state_path, row, root: &root, planner, for_space, stage: Stage::Upload };
    for checked in approved.checked(look)?.take_while(|_| !stop.requested()) {
        let (line, row, _) = checked?;
        tell(line, &row, &Fate::Passed);
        approved.applied.lock().expect("no holder panics").done += 1;
    }
    let mut applied = approved.applied.into_inner().expect("no holder panics");
    applied.done += applied.settled;
    applied.rows = applied.done + applied.skipped.values().sum::<u64>();
    Ok(applied)
}

fn is_short(pressure: Option<Pressure>) -> bool {
    pressure.is_some_and(|pressure| pressure.to_free_bytes > 0)
}

/// The rows of a plan that pass, as candidates of a run.
struct Approved<'p> {
    plan: &'p PlanFile,
    tell: &'p Tell<'p>,
    /// Lines that are settled or skipped: their fate is told once.
    closed: Mutex<Marks>,
    applied: Mutex<Applied>,
}

/// A row that is not skipped.
enum Checked {
    Candidate(Box<EntryRow>),
    /// Its file is what the row wants.
    Settled,
}

impl Choice for Approved<'_> {
    fn entries<'a>(&'a self, look: Look<'a>) -> Result<Looked<'a>, Error> {
        let stage = look.stage;
        let rows = self.checked(look)?;
        // Two plans in one file may have a row twice; a run takes a file once.
        let mut taken = Marks::default();
        Ok(Box::new(rows.filter_map(move |checked| match checked {
            Err(error) => Some(Err(error)),
            Ok((_, row, _)) if stage == Stage::Stub && row.action != Planned::Tier => None,
            Ok((_, _, entry)) => taken.insert(entry.ino).then_some(Ok(entry)),
        })))
    }
}

impl<'p> Approved<'p> {
    fn new(plan: &'p PlanFile, tell: &'p Tell<'p>) -> Self {
        Self { plan, tell, closed: Mutex::default(), applied: Mutex::default() }
    }

    /// The rows that pass now, each with its file as it is now.
    fn checked<'a>(
        &'a self,
        look: Look<'a>,
    ) -> Result<impl Iterator<Item = Result<(u64, Row, EntryRow), Error>> + Send + 'a, Error> {
        let state = StateDb::open_read_only(&look.state_path)?;
        let rows = self.plan.rows_of(&look.row.path);
        Ok(rows.filter_map(move |next| {
            let (line, row) = match next {
                Ok(next) => next,
                Err(error) => return Some(Err(error)),
            };
            if self.is_closed(line) {
                return None;
            }
            match check(&state, &look, &row) {
                Err(error) => Some(Err(error)),
                Ok(Ok(Checked::Candidate(entry))) => Some(Ok((line, row, *entry))),
                Ok(_) if look.stage == Stage::Count => None,
                Ok(Ok(Checked::Settled)) => {
                    self.settle(line, look.stage);
                    None
                }
                Ok(Err(refusal)) => {
                    self.skip(line, &row, &refusal);
                    None
                }
            }
        }))
    }

    fn is_closed(&self, line: u64) -> bool {
        self.closed.lock().expect("no holder panics").contains(line)
    }

    fn close(&self, line: u64, count: impl FnOnce(&mut Applied)) {
        self.closed.lock().expect("no holder panics").insert(line);
        count(&mut self.applied.lock().expect("no holder panics"));
    }

    /// While uploads are looked for, nothing of this run has been done yet.
    fn settle(&self, line: u64, stage: Stage) {
        if stage == Stage::Upload {
            self.close(line, |applied| applied.settled += 1);
        }
    }

    fn skip(&self, line: u64, row: &Row, refusal: &Refusal) {
        self.close(line, |applied| *applied.skipped.entry(refusal.condition).or_default() += 1);
        (self.tell)(line, row, &Fate::Skipped(refusal));
    }

    /// Looks at each row's file once more, after the run.
    fn reckon(
        self,
        state: &StateDb,
        root_row: &RootRow,
        root: &RootDir,
        limited: bool,
    ) -> Result<Applied, Error> {
        let mut applied = self.applied.into_inner().expect("no holder panics");
        let closed = self.closed.into_inner().expect("no holder panics");
        applied.done = applied.settled;
        for next in self.plan.rows_of(&root_row.path) {
            let (line, row) = next?;
            applied.rows += 1;
            if closed.contains(line) {
                continue;
            }
            let entry = state.entry_at(root_row.id, &row.path)?;
            let now = entry.as_ref().map_or(FileState::Resident, state_of);
            if is_done(&row, now, root) {
                applied.done += 1;
            } else {
                applied.not_done += 1;
                (self.tell)(line, &row, &Fate::NotDone { state: now, limited });
            }
        }
        Ok(applied)
    }
}

fn is_done(row: &Row, state: FileState, root: &RootDir) -> bool {
    match (row.action, state) {
        (_, FileState::Stub) | (Planned::Upload, FileState::Uploaded) => true,
        // There was nothing to free.
        (Planned::Tier, FileState::Uploaded) => {
            root.stat(&row.path).is_ok_and(|stat| stat.allocated_bytes == 0)
        }
        _ => false,
    }
}

/// Whether the row holds now; [`Refusal`] says why not.
fn check(state: &StateDb, look: &Look<'_>, row: &Row) -> Result<Result<Checked, Refusal>, Error> {
    let stat = match stat_of(look.root, row) {
        Ok(stat) => stat,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(entry) = state.entry_at(look.row.id, &row.path)? else {
        return Ok(Err(Refusal::new(SCANNED, "no scan has seen it; run hsm scan")));
    };
    if entry.ino != stat.ino {
        return Ok(Err(Refusal::new(SCANNED, "the last scan saw another file; run hsm scan")));
    }
    let known = state_of(&entry);
    // Our own punch has moved its ctime.
    if known == FileState::Stub && is_planned(row, &Stat { ctime_ns: row.ctime_ns, ..stat.clone() })
    {
        return Ok(Ok(Checked::Settled));
    }
    if !is_planned(row, &stat) {
        return Ok(Err(Refusal::new(conditions::UNCHANGED, "it has changed since it was planned")));
    }
    let entry = as_now(entry, &stat);
    if let Err(refusal) = look.planner.allows(&entry, row.action.action(), look.for_space) {
        return Ok(Err(refusal));
    }
    let step = look.planner.step(&entry, look.for_space);
    if step.is_some_and(|step| step.upload || row.action == Planned::Tier) {
        return Ok(Ok(Checked::Candidate(Box::new(entry))));
    }
    Ok(match known {
        FileState::Uploaded | FileState::Stub => Ok(Checked::Settled),
        FileState::Damaged => Err(Refusal::new(conditions::COPY_PROVEN, "its copy is damaged")),
        other => Err(Refusal::new(conditions::UPLOADED, format!("it is {other}"))),
    })
}

/// The file at the row's path, if it is the inode that was planned.
fn stat_of(root: &RootDir, row: &Row) -> Result<Stat, Refusal> {
    let unchanged = |why: String| Refusal::new(conditions::UNCHANGED, why);
    let fd = root.open_path(&row.path).map_err(|error| match is_gone(&error) {
        true => unchanged("it was deleted or renamed".to_owned()),
        false => unchanged(format!("it cannot be looked at: {error}")),
    })?;
    let stat = statx_fd(&fd).map_err(|error| unchanged(error.to_string()))?;
    if stat.kind != FileKind::File {
        let what = format!("it is a {}", stat.kind.as_str());
        return Err(Refusal::new(REGULAR_FILE, what));
    }
    let same = match row.generation {
        None => stat.ino == row.ino,
        Some(generation) => file_ident(&fd)
            .is_ok_and(|found| (found.ino, found.generation) == (row.ino, generation)),
    };
    match same {
        true => Ok(stat),
        false => Err(unchanged("another file has its name now".to_owned())),
    }
}

fn is_planned(row: &Row, stat: &Stat) -> bool {
    (row.size_bytes, row.mtime_ns, row.ctime_ns) == (stat.size_bytes, stat.mtime_ns, stat.ctime_ns)
}

/// What the last scan saw, with the attributes that the file has now.
fn as_now(entry: EntryRow, stat: &Stat) -> EntryRow {
    EntryRow {
        size_bytes: stat.size_bytes,
        allocated_bytes: stat.allocated_bytes,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        nlink: stat.nlink,
        atime_ns: stat.atime_ns,
        mtime_ns: stat.mtime_ns,
        ctime_ns: stat.ctime_ns,
        btime_ns: stat.btime_ns,
        ..entry
    }
}
