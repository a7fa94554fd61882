//! Gathers all that `hsm status` knows, for every way to show it.
//!
//! It needs nothing of the running command but what is in [`Sources`], so that
//! the live view can look again from another thread.

use super::forecast::{Busy, Forecast, forecast};
use super::runs::{Run, Week};
use crate::cli::context::state_file;
use crate::cli::error::Error;
use crate::cli::opened::chunking;
use crate::clock::Clock;
use crate::config::Config;
use crate::monitor::Stop;
use crate::os::FsIdentity;
use crate::os::RootDir;
use crate::os::space::FreeSpace;
use crate::policy::{PolicySet, Watermark};
use crate::state::{Recaller, RootRow, StateDb, ThawRow, Waiting};
use crate::tier::candidates::Entries;
use crate::tier::plan::{Planner, Wish};
use crate::tier::standing::{Standing, standing};

const WEEK_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;
/// How far back growth is looked at.
const MONTH_NS: i64 = 30 * 24 * 3600 * 1_000_000_000;
/// Programs that are counted; a log of 100 000 recalls rarely has more.
const RECALLERS: usize = 10_000;

/// What a survey is made from.
#[derive(Debug, Clone)]
pub struct Sources {
    pub config: Config,
    pub policy: PolicySet,
    pub clock: Clock,
    /// Latest runs to show.
    pub runs: usize,
    pub stop: Stop,
}

/// How the server stands.
#[derive(Debug, Clone)]
pub struct Survey {
    pub at_ns: i64,
    pub store: String,
    /// The second store, where one is configured, and the files that wait for it.
    pub second: Option<(String, Waiting)>,
    pub roots: Vec<RootSurvey>,
    /// In the last week, most bytes first.
    pub recallers: Vec<Recaller>,
    /// Newest first.
    pub runs: Vec<Run>,
    /// What an archive was asked for, longest first, and what waits for it.
    pub thaws: Vec<ThawRow>,
    pub awaited_files: u64,
    pub awaited_bytes: u64,
}

/// What there is to say about one root.
#[derive(Debug, Clone)]
pub struct RootSurvey {
    pub row: RootRow,
    /// State, files, bytes; resident files first.
    pub states: Vec<(&'static str, u64, u64)>,
    pub pins: usize,
    pub unfinished: usize,
    /// `None` where the root cannot be opened.
    pub space: Option<FreeSpace>,
    pub is_same: bool,
    pub watermark: Option<Watermark>,
    /// By the policy; `None` where the root is not the one that it was.
    pub wanted: Option<Standing>,
    /// `None` while too little was seen.
    pub forecast: Option<Forecast>,
    pub week: Week,
    /// The latest run of the root.
    pub last_run: Option<Run>,
}

impl Survey {
    pub fn take(sources: &Sources) -> Result<Self, Error> {
        let at_ns = sources.clock.now_ns();
        let state_path = state_file(&sources.config.state_dir);
        let state = StateDb::open_read_only(&state_path)?;
        let month: Vec<Run> =
            state.runs_since(at_ns.saturating_sub(MONTH_NS))?.into_iter().map(Run::of).collect();
        let rows = state.roots()?;
        let mut roots = vec![];
        for row in &rows {
            let root = Surveyor { sources, state: &state, rows: &rows, month: &month, at_ns };
            roots.push(root.look(row)?);
        }
        let runs = state.recent_runs(sources.runs)?;
        let awaited = state.awaited_files()?;
        Ok(Self {
            thaws: state.thaws()?,
            awaited_files: awaited.len() as u64,
            awaited_bytes: awaited.iter().map(|file| file.bytes).sum(),
            at_ns,
            store: sources.config.store.url.clone(),
            second: match &sources.config.second_store {
                Some(second) => Some((second.url.clone(), state.waiting_for_second()?)),
                None => None,
            },
            roots,
            recallers: state.top_recallers(at_ns.saturating_sub(WEEK_NS), RECALLERS)?,
            runs: runs.into_iter().map(Run::of).collect(),
        })
    }

    /// Opens that were refused in the last week.
    pub fn refused_recalls(&self) -> u64 {
        self.recallers.iter().map(|recaller| recaller.denied).sum()
    }
}

struct Surveyor<'a> {
    sources: &'a Sources,
    state: &'a StateDb,
    rows: &'a [RootRow],
    /// The runs of all roots, oldest first.
    month: &'a [Run],
    at_ns: i64,
}

impl Surveyor<'_> {
    fn look(&self, row: &RootRow) -> Result<RootSurvey, Error> {
        let counts = self.state.counts(row.id)?;
        let mut states = vec![("resident", counts.unmanaged_files, counts.unmanaged_bytes)];
        for (state, files, bytes) in counts.states {
            match states.iter_mut().find(|(known, ..)| *known == state.as_str()) {
                Some(known) => *known = (known.0, known.1 + files, known.2 + bytes),
                None => states.push((state.as_str(), files, bytes)),
            }
        }
        let opened = RootDir::open(&row.path).ok();
        let space = opened.as_ref().and_then(|dir| FreeSpace::of(dir).ok());
        let same = opened.filter(|dir| dir.identity().to_string() == row.identity);
        let week_ns = self.at_ns.saturating_sub(WEEK_NS);
        let begun = self.month.partition_point(|run| run.row.finished_ns < week_ns);
        Ok(RootSurvey {
            row: row.clone(),
            states,
            pins: self.state.pins(row.id)?.len(),
            unfinished: self.state.transient(row.id)?.len(),
            is_same: same.is_some(),
            watermark: self.sources.policy.watermark().cloned(),
            wanted: same.as_ref().map(|dir| self.wanted(row, dir)).transpose()?,
            forecast: space.as_ref().filter(|_| same.is_some()).and_then(|s| self.ahead(row, s)),
            space,
            week: Week::of(&self.month[begun..], row.id),
            last_run: self.state.last_run(row.id)?.map(Run::of),
        })
    }

    /// Asks the policy what is missing yet.
    fn wanted(&self, row: &RootRow, root: &RootDir) -> Result<Standing, Error> {
        let Sources { config, policy, .. } = self.sources;
        let (wish, chunking) = (Wish::default(), chunking(config));
        let planner = Planner::new(self.state, policy, row, root, wish, chunking, self.at_ns)?;
        let entries = Entries::open(&state_file(&config.state_dir), row.id, None)?;
        let stop = &self.sources.stop;
        let found = standing(&planner, entries.take_while(|_| !stop.requested()))?;
        if stop.requested() { Err(Error::Interrupted) } else { Ok(found) }
    }

    fn ahead(&self, row: &RootRow, space: &FreeSpace) -> Option<Forecast> {
        let beside: Vec<_> =
            self.rows.iter().filter(|other| same_file_system(row, other)).map(|r| r.id).collect();
        let runs =
            self.month.iter().filter(|run| run.row.root.is_some_and(|r| beside.contains(&r)));
        let busy = runs.filter_map(|run| {
            let (start_ns, end_ns) = (run.row.started_ns, run.row.finished_ns);
            run.row.usage.map(|usage| Busy { start_ns, end_ns, usage })
        });
        let (used_bytes, usable_bytes) = (space.used_bytes(), space.usable_bytes);
        let watermark = self.sources.policy.watermark();
        forecast(busy.collect(), self.at_ns, used_bytes, usable_bytes, watermark)
    }
}

/// As far as their identities tell.
fn same_file_system(one: &RootRow, other: &RootRow) -> bool {
    let of = |row: &RootRow| row.identity.parse::<FsIdentity>().map(|id| (id.kind, id.uuid));
    match (of(one), of(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.identity == other.identity,
    }
}
