//! The state DB, made anew from the store and the stubs.
//!
//! The log of this server says what was uploaded when it was last at work; the disk
//! says what is there now; a marker says which content a stub stands for. Each mends
//! the other: what is on disk and not in the log is managed again and is to be
//! catalogued, what the log has and the disk has not is to be catalogued as gone. Both
//! are told as differences. Nothing is guessed: a stub whose content no log names is
//! looked for in the packs that no log names, by its content id, and else named as a
//! problem.
//!
//! The caller has made a new, empty state DB beside the old one and has scanned the
//! roots into it. No file is opened and none is changed, with or without a guard. A
//! pack counts as proven by what its writer's log says, and by nothing else.

mod choose;
mod copies;
mod files;
mod missing;
mod search;

pub use choose::{Chosen, choose};

use crate::catalog::{self, CatalogDb, NodeRow, RootRef};
use crate::ids::PackId;
use crate::os::{RelPath, RootDir};
use crate::site::{Site, log, logs};
use crate::state::{RootId, RootRow, StateDb};
use crate::{state, store, stub};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What stops a rebuild as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Logs(#[from] logs::Error),
    #[error(transparent)]
    Local(#[from] catalog::Error),
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error("no log in the store names {}", listed(.0))]
    NoNode(Vec<PathBuf>),
    #[error("several logs in the store could be this server's:{}", nodes(.0))]
    SeveralNodes(Vec<Chosen>),
    #[error(
        "the log of node {} was written by host {}, not by this one",
        .0.node,
        .0.host.as_deref().unwrap_or("-")
    )]
    OtherHost(Box<NodeRow>),
    #[error(
        "{} is empty although its log has {files} files in it: nothing was concluded to be gone",
        path.display()
    )]
    RootLooksEmpty { path: PathBuf, files: u64 },
    #[error("stopped")]
    Stopped,
}

/// Why something about one file is unknown.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("look at it")]
    Look(#[from] io::Error),
    #[error(transparent)]
    Stub(#[from] stub::Error),
}

fn listed(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(" or ")
}

fn nodes(chosen: &[Chosen]) -> String {
    let line = |chosen: &Chosen| {
        let (node, host) = (&chosen.node, chosen.node.host.as_deref().unwrap_or("-"));
        let (same, looked_at) = (chosen.same, chosen.looked_at);
        format!("\n  {}  {host}  {same} of {looked_at} files are the same inode here", node.node)
    };
    chosen.iter().map(line).collect()
}

/// One thing about which log and disk differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The log has it, the disk has not.
    Gone { path: PathBuf },
    /// The log has another file at this path, and nothing of the one that is there.
    Replaced { path: PathBuf },
    /// A stub, or an uploaded file, that the log has not at this path or not with
    /// this content; its copy is known.
    Unrecorded { path: PathBuf },
    /// A stub of which no log knows the content; its copy was found in packs that no
    /// log names.
    Recovered { path: PathBuf },
    /// A stub of which no copy was found: a problem.
    NoRecord { path: PathBuf, size_bytes: u64 },
    /// A marker that cannot be read: a problem.
    BadMarker { path: PathBuf, why: String },
}

impl Difference {
    pub fn is_problem(&self) -> bool {
        matches!(self, Self::NoRecord { .. } | Self::BadMarker { .. })
    }
}

/// What the new state DB has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildStats {
    /// Packs that this server's log names, and those of others.
    pub packs: u64,
    pub others_packs: u64,
    /// Of all of them, those that the store does not have as they were written.
    pub bad_packs: u64,
    pub stubs: u64,
    pub uploaded: u64,
    /// Changed since their upload.
    pub dirty: u64,
    /// Copies of stubs, which `hsm adopt` binds.
    pub foreign: u64,
    pub gone: u64,
    pub replaced: u64,
    pub unrecorded: u64,
    pub recovered: u64,
    pub problems: u64,
    /// Files that could not be looked at.
    pub failed: u64,
}

impl RebuildStats {
    pub fn differences(&self) -> u64 {
        self.gone + self.replaced + self.unrecorded + self.recovered + self.problems
    }
}

/// What is known from before.
pub struct Sources<'a> {
    /// As far as the logs go.
    pub catalog: &'a CatalogDb,
    /// Of the log that this server continues.
    pub node: &'a NodeRow,
    /// The state DB before, where it can be read.
    pub old: Option<&'a StateDb>,
}

/// A root with how its scan ended.
pub struct RebuildRoot {
    pub row: RootRow,
    pub dir: RootDir,
    /// The scan met no error: what it did not see is not there.
    pub complete: bool,
}

/// Fills the site's state DB, which has the scanned roots and nothing else.
pub fn run(
    site: &mut Site<'_>,
    sources: &Sources<'_>,
    roots: &[RebuildRoot],
    hear: &mut dyn FnMut(&Difference),
) -> Result<RebuildStats, Error> {
    let now_ns = site.clock.now_ns();
    if let Some(old) = sources.old {
        site.state.take_over(old, now_ns)?;
    }
    let head = sources.node.head_hash.map(|hash| (sources.node.head_seq, hash));
    site.state.continue_log(head, sources.node.open_session.as_deref(), now_ns)?;
    // Which packs may go before anything is said to rely on them.
    log::look(site)?;
    site.state.acknowledge(sources.node.ack_gen)?;
    let mut rebuild = Rebuild {
        site,
        sources,
        hear,
        stats: RebuildStats::default(),
        unnamed: BTreeMap::new(),
        homeless: vec![],
        lost: HashSet::new(),
    };
    rebuild.packs()?;
    for root in roots {
        rebuild.refuse_emptied(root)?;
        rebuild.files(root)?;
    }
    rebuild.find_homes()?;
    for root in roots.iter().filter(|root| root.complete) {
        rebuild.missing(root)?;
    }
    Ok(rebuild.stats)
}

struct Rebuild<'a, 's> {
    site: &'a mut Site<'s>,
    sources: &'a Sources<'a>,
    hear: &'a mut dyn FnMut(&Difference),
    stats: RebuildStats,
    /// Packs in the store that no log names, with their sizes.
    unnamed: BTreeMap<PackId, u64>,
    /// Stubs whose content is not known yet.
    homeless: Vec<search::Homeless>,
    /// Where a stub is of which nothing was found.
    lost: HashSet<(RootId, RelPath)>,
}

impl Rebuild<'_, '_> {
    fn tell(&mut self, difference: Difference) {
        let count = match &difference {
            Difference::Gone { .. } => &mut self.stats.gone,
            Difference::Replaced { .. } => &mut self.stats.replaced,
            Difference::Unrecorded { .. } => &mut self.stats.unrecorded,
            Difference::Recovered { .. } => &mut self.stats.recovered,
            Difference::NoRecord { .. } | Difference::BadMarker { .. } => &mut self.stats.problems,
        };
        *count += 1;
        (self.hear)(&difference);
    }

    /// The root as the log has it; `None` if it does not.
    fn in_log(&self, root: &RootRow) -> Result<Option<RootRef>, Error> {
        let named = self.sources.catalog.roots(Some(self.sources.node.node))?;
        Ok(named.into_iter().find(|of| of.path == root.path.as_os_str().as_bytes()))
    }

    fn check_stop(&self) -> Result<(), Error> {
        if self.site.stop.requested() { Err(Error::Stopped) } else { Ok(()) }
    }
}
