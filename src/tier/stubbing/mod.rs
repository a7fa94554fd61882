//! Frees the blocks of uploaded files.
//!
//! Per batch, in this order: intent in the state DB -> every file opened,
//! secluded, checked and re-hashed -> its marker set -> one `syncfs`, so that no
//! hole can reach the disk before its marker -> closed to everybody, identity
//! still the same -> punched -> times restored -> let go -> state committed.
//!
//! A file is secluded ([`Custody::seclude`]) from before the re-hash until after
//! the punch: nobody has it open or mapped, or the punch is called off, so the
//! bytes that were hashed are the bytes that are freed. Without a guard a write
//! lease does that, and whoever opens the file waits. Under a guard an opener is
//! let in while the file is whole, and one that comes after the punch has the
//! file recalled, maybe before the batch is committed: the state DB knows such
//! files by the guard's own record.

mod handover;

pub use handover::stub_requested;

use super::sightings::Sightings;
use super::{Error, conditions, recover};
use crate::chunk::Protection;
use crate::config::OfflineBit;
use crate::ids::{FileIdent, StoreId};
use crate::manifest::{Content, MissingProof, Proofs, VerifiedCopy};
use crate::os::relpath::RelPath;
use crate::os::stat::{Stat, statx_fd};
use crate::os::tree::{RootDir, is_gone, is_leased};
use crate::os::{blocks, owner_write, process};
use crate::policy::FileState;
use crate::site::{Custody, Secluded, Second, Site};
use crate::state::{ManagedRow, RootId};
use crate::stub::{self, Armed, Expected, MarkerSpace};
use crate::units::Copies;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Files held open and secluded at the same time; each takes two descriptors.
const BATCH_FILES: usize = 1024;

/// Bytes of a batch; a larger file is a batch of its own. Without a guard, who
/// opens a file of the batch waits until all of it has been hashed, at most 45 s
/// (`lease-break-time`), and so does a request to stop.
const BATCH_BYTES: u64 = 1 << 30;

/// What stubbing did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StubStats {
    pub files: u64,
    pub freed_bytes: u64,
    /// Files left as they are, by the name of the condition that failed.
    pub refused: BTreeMap<&'static str, u64>,
    pub failed: u64,
}

/// Judges one file at the moment of action, from what is true now: in how many stores
/// its copy must be proven.
pub type Judge<'a> = dyn Fn(&RelPath, &Stat, &ManagedRow) -> Result<Copies, Refusal> + Sync + 'a;

/// A named condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub condition: &'static str,
    pub detail: String,
}

impl Refusal {
    pub fn new(condition: &'static str, detail: impl Into<String>) -> Self {
        Self { condition, detail: detail.into() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.condition, self.detail)
    }
}

/// Why a file was not stubbed.
#[derive(Debug, thiserror::Error)]
enum NotStubbed {
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Stub(#[from] stub::Error),
    #[error("{doing}")]
    Io { doing: &'static str, source: std::io::Error },
}

impl NotStubbed {
    fn is_of_content(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.condition == conditions::CONTENT_EQUAL)
    }
}

impl From<Refusal> for NotStubbed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// One file with the evidence that its copy is good.
struct Target {
    row: ManagedRow,
    content: Content,
    copy: Mutex<Option<VerifiedCopy>>,
    /// The ctime that our own changes gave it, where it stays resident.
    left_ctime_ns: Mutex<Option<i64>>,
}

impl Target {
    fn leave(&self, stat: &Stat) {
        *self.left_ctime_ns.lock().expect("no holder panics") = Some(stat.ctime_ns);
    }

    /// A marker that was set and removed again moved the ctime; the row must
    /// not look dirty for that. A ctime that somebody else left stays unknown,
    /// for the next scan to find.
    fn moved_by_us(&self, root: &RootDir) -> Option<(FileIdent, i64, i64)> {
        let left_ns = (*self.left_ctime_ns.lock().expect("no holder panics"))?;
        let (row, now) = (&self.row, root.stat(&self.row.path).ok()?);
        let same = now.ino == row.ident.ino
            && now.size_bytes == row.size_bytes
            && now.mtime_ns == row.mtime_ns
            && now.ctime_ns == left_ns;
        same.then_some((row.ident, now.mtime_ns, now.ctime_ns))
    }
}

struct Bench<'a> {
    root: &'a RootDir,
    custody: &'a dyn Custody,
    space: MarkerSpace,
    store_id: StoreId,
    protection: &'a Protection,
    judge: &'a Judge<'a>,
    offline: OfflineBit,
}

/// A file that carries its marker and waits for the flush. Dropped together, the
/// marker goes before others get in.
struct Marked<'c> {
    armed: Armed,
    secluded: Box<dyn Secluded + 'c>,
}

/// Stubs the files of `rows` and returns when their state is committed; where a
/// guard watches the root it does the work.
///
/// Stops early once `goal_bytes` are freed, or between batches when a stop is
/// requested. A batch takes no more files than the goal seems to need: what is
/// freed beyond it would have to be recalled without need.
pub fn run(
    site: &mut Site<'_>,
    root_id: RootId,
    root: &RootDir,
    rows: impl Iterator<Item = Result<ManagedRow, Error>>,
    judge: &Judge<'_>,
    goal_bytes: Option<u64>,
) -> Result<StubStats, Error> {
    let monitor = site.monitor;
    let tell = |path: &RelPath, error: &NotStubbed| {
        let path = path.to_path(root.path());
        match error {
            NotStubbed::Refused(refusal) => monitor.file_left(&path, "stub", refusal),
            error => monitor.file_failed(&path, "stub", error),
        }
    };
    let mut stubbing = Stubbing::new(root_id, root, judge, &tell, goal_bytes);
    if site.guard.is_some() {
        handover::run(site, &mut stubbing, rows)?;
    } else {
        stubbing.run(site, rows)?;
    }
    Ok(stubbing.stats)
}

/// One run on one root.
struct Stubbing<'a> {
    root_id: RootId,
    root: &'a RootDir,
    judge: &'a Judge<'a>,
    /// Who is told of a file that failed or is left as it is.
    tell: &'a dyn Fn(&RelPath, &NotStubbed),
    goal_bytes: u64,
    stats: StubStats,
    sightings: Sightings,
}

impl<'a> Stubbing<'a> {
    fn new(
        root_id: RootId,
        root: &'a RootDir,
        judge: &'a Judge<'a>,
        tell: &'a dyn Fn(&RelPath, &NotStubbed),
        goal_bytes: Option<u64>,
    ) -> Self {
        let (stats, sightings) = (StubStats::default(), Sightings::default());
        let goal_bytes = goal_bytes.unwrap_or(u64::MAX);
        Self { root_id, root, judge, tell, goal_bytes, stats, sightings }
    }

    fn run(
        &mut self,
        site: &mut Site<'_>,
        rows: impl Iterator<Item = Result<ManagedRow, Error>>,
    ) -> Result<(), Error> {
        crate::os::lease::ignore_break_signal();
        let most = BATCH_FILES.min(process::raise_nofile_limit() as usize / 4).max(1);
        let mut rows = rows.peekable();
        while rows.peek().is_some() && !self.is_over(site) {
            let batch = self.gather(site, &mut rows, most)?;
            self.batch(site, batch)?;
        }
        Ok(())
    }

    fn is_over(&self, site: &Site<'_>) -> bool {
        self.stats.freed_bytes >= self.goal_bytes || site.stop.requested()
    }

    /// The next files whose copies are proven.
    fn gather(
        &mut self,
        site: &mut Site<'_>,
        rows: &mut dyn Iterator<Item = Result<ManagedRow, Error>>,
        most: usize,
    ) -> Result<Vec<Target>, Error> {
        let enough_bytes = (self.goal_bytes - self.stats.freed_bytes).min(BATCH_BYTES);
        let (mut batch, mut bytes) = (vec![], 0);
        while batch.len() < most && bytes < enough_bytes {
            let Some(row) = rows.next() else { break };
            match target(site, &mut self.sightings, row?)? {
                Ok(target) => {
                    bytes += target.row.size_bytes;
                    batch.push(target);
                }
                // Its first copy is good: it waits for the second.
                Err((row, refusal)) if refusal.condition == conditions::SECOND_COPY => {
                    self.refuse(&row, &refusal.into());
                }
                Err((row, refusal)) => {
                    // The copy is gone or was never proven: the local bytes are
                    // the file, and the next upload makes a new copy.
                    let reason = refusal.to_string();
                    let damaged = FileState::Damaged;
                    site.state.set_state(self.root_id, row.ident, damaged, Some(&reason))?;
                    self.refuse(&row, &refusal.into());
                }
            }
        }
        Ok(batch)
    }

    fn batch(&mut self, site: &mut Site<'_>, mut batch: Vec<Target>) -> Result<(), Error> {
        let root = self.root;
        let idents: Vec<FileIdent> = batch.iter().map(|target| target.row.ident).collect();
        let refused = site.state.begin_stubs(self.root_id, &idents)?;
        batch.retain(|target| !refused.contains(&target.row.ident));
        let bench = Bench {
            root,
            custody: site.custody,
            space: MarkerSpace::for_this_process(),
            store_id: site.store_id,
            protection: site.protection,
            judge: self.judge,
            offline: site.offline,
        };
        let armed = in_parallel(site.workers, batch.iter().collect(), |target| {
            bench.arm(target).map(|marked| (target, marked))
        });
        blocks::syncfs(root)
            .map_err(|source| Error::Flush { path: root.path().to_owned(), source })?;
        crate::fault::point("stub.markers-flushed");
        let outcomes = in_parallel(site.workers, armed, |marked| {
            marked.and_then(|(target, marked)| punch(target, marked))
        });
        self.record(site, &batch, outcomes)
    }

    fn record(
        &mut self,
        site: &mut Site<'_>,
        batch: &[Target],
        outcomes: Vec<Result<(i64, u64), NotStubbed>>,
    ) -> Result<(), Error> {
        let (mut done, mut undone, mut moved, mut dirty) = (vec![], vec![], vec![], vec![]);
        let mut half_way = false;
        for (target, outcome) in batch.iter().zip(outcomes) {
            let row = &target.row;
            match outcome {
                Ok((ctime_ns, freed_bytes)) => {
                    self.stats.files += 1;
                    self.stats.freed_bytes += freed_bytes;
                    done.push((row.ident, ctime_ns));
                    site.monitor.advance(1, row.size_bytes);
                }
                // Half-way through its marker or its punch: only a look at the
                // inode tells what it is now, so it stays `stubbing` for the
                // recovery.
                Err(error @ NotStubbed::Stub(_)) => {
                    half_way = true;
                    self.refuse(row, &error);
                }
                Err(error) => {
                    undone.push(row.ident);
                    moved.extend(target.moved_by_us(self.root));
                    dirty.extend(error.is_of_content().then_some(row.ident));
                    self.refuse(row, &error);
                }
            }
        }
        let root_id = self.root_id;
        site.state.cancel_stubs(root_id, &undone)?;
        site.state.settle(root_id, &moved)?;
        for ident in dirty {
            // No time told that it changed: only a new upload makes the copy right.
            site.state.set_state(root_id, ident, FileState::Dirty, None)?;
        }
        let again = site.state.finish_stubs(root_id, &done, site.clock.now_ns())?;
        if !again.is_empty() {
            tracing::info!(files = again.len(), "opened and recalled as soon as they were stubs");
        }
        crate::fault::point("stub.committed");
        if half_way {
            recover::recover_files(&mut site.ground(), root_id, self.root)?;
        }
        Ok(())
    }

    fn refuse(&mut self, row: &ManagedRow, error: &NotStubbed) {
        match error {
            NotStubbed::Refused(refusal) => {
                *self.stats.refused.entry(refusal.condition).or_default() += 1;
                let path = row.path.to_path(self.root.path());
                tracing::info!(path = %path.display(), %refusal, "not stubbed");
            }
            _ => self.stats.failed += 1,
        }
        (self.tell)(&row.path, error);
    }
}

/// Collects the proof for one file; every pack it relies on was seen lately.
fn target(
    site: &mut Site<'_>,
    sightings: &mut Sightings,
    row: ManagedRow,
) -> Result<Result<Target, (ManagedRow, Refusal)>, Error> {
    let missing = |what: &str| Refusal::new(conditions::COPY_PROVEN, what);
    let Some(content_id) = row.content else {
        return Ok(Err((row, missing("no copy is recorded"))));
    };
    let Some((content, _)) = site.state.content(content_id)? else {
        return Ok(Err((row, missing("its chunk list is not in the state DB"))));
    };
    let copies = site.state.copies_wanted(content_id)?;
    let ids: Vec<_> = content.chunk_ids().collect();
    let places = site.state.find_lasting_chunks(&ids)?;
    let mut evidence = BTreeMap::new();
    for place in places.into_iter().flatten() {
        if !evidence.contains_key(&place.slot.id) && sightings.still_there(site, &place)? {
            let second = match copies {
                Copies::One => None,
                Copies::Two => sightings.second_still_there(site, &place)?,
            };
            evidence.insert(place.slot.id, place.evidence.map(|first| Proofs { first, second }));
        }
    }
    let found = |id: &_| evidence.get(id).copied().flatten();
    Ok(match VerifiedCopy::assemble(&content, copies, &found) {
        Ok(copy) => Ok(Target {
            row,
            content,
            copy: Mutex::new(Some(copy)),
            left_ctime_ns: Mutex::new(None),
        }),
        Err(error @ MissingProof::First { .. }) => Err((row, missing(&error.to_string()))),
        Err(error @ MissingProof::Second { .. }) => {
            site.state.set_held(&[content_id], false)?;
            let why = match &site.second {
                Some(Second { away: Some(why), .. }) => format!("{error}: {why}"),
                _ => error.to_string(),
            };
            Err((row, Refusal::new(conditions::SECOND_COPY, why)))
        }
    })
}

impl<'a> Bench<'a> {
    /// Why a file could not be opened for stubbing, by the condition's name
    /// where it is one: that is how files in use are, and no failure.
    fn closed(&self, row: &ManagedRow, source: std::io::Error) -> NotStubbed {
        if is_gone(&source) {
            return Refusal::new(conditions::UNCHANGED, "it was deleted or renamed").into();
        }
        if is_leased(&source) {
            return Refusal::new(conditions::NOT_OPEN, conditions::LEASED).into();
        }
        if source.kind() == std::io::ErrorKind::ExecutableFileBusy {
            return Refusal::new(conditions::NOT_OPEN, "it is a program that runs").into();
        }
        // Nobody may write such a file, not even root.
        match self.root.stat(&row.path).map(|stat| conditions::mutable(&stat)) {
            Ok(Err(refusal)) => refusal.into(),
            _ => NotStubbed::Io { doing: "open the file", source },
        }
    }

    /// Every check, then the marker. Nothing is freed yet.
    fn arm(&self, target: &Target) -> Result<Marked<'a>, NotStubbed> {
        let row = &target.row;
        let io = |doing| move |source| NotStubbed::Io { doing, source };
        let (file, expected) = self.open(target)?;
        let stat = statx_fd(&file).map_err(io("stat the file"))?;
        conditions::mutable(&stat)?;
        let secluded = self.custody.seclude(file).map_err(io("ask who uses the file"))?;
        let secluded = secluded
            .map_err(|_| Refusal::new(conditions::NOT_OPEN, "a program has it open or mapped"))?;
        stub::check_unchanged(secluded.file(), &expected).map_err(changed)?;
        let wanted = (self.judge)(&row.path, &stat, row)?;
        let file = secluded.file().try_clone().map_err(io("duplicate the descriptor"))?;
        let equal = conditions::content_equal(&file, &stat, &target.content, self.protection)
            .map_err(io("read the file"))?;
        if !equal {
            let what = "its bytes are not the bytes that were uploaded";
            return Err(Refusal::new(conditions::CONTENT_EQUAL, what).into());
        }
        let copy = target.copy.lock().expect("no holder panics").take();
        let copy = copy.expect("each target is armed once");
        if copy.copies() < wanted {
            return Err(
                Refusal::new(conditions::SECOND_COPY, "only one copy was looked for").into()
            );
        }
        let tag = self.store_id.tag();
        let armed = stub::arm(file, self.space, &expected, copy, tag, self.offline)?;
        Ok(Marked { armed, secluded })
    }

    /// Opens the file for writing. Where its owner made it read-only that moves
    /// the ctime, so it is compared with the uploaded version before.
    fn open(&self, target: &Target) -> Result<(File, Expected), NotStubbed> {
        let row = &target.row;
        let io = |doing| move |source| NotStubbed::Io { doing, source };
        let mut expected = Expected {
            ident: row.ident,
            size_bytes: row.size_bytes,
            mtime_ns: row.mtime_ns,
            ctime_ns: row.ctime_ns,
        };
        let file = match self.root.open_free(&row.path) {
            Ok(file) => file,
            Err(source) => return Err(self.closed(row, source)),
        };
        stub::check_unchanged(&file, &expected).map_err(changed)?;
        if owner_write::is_writable(&file).map_err(io("look at the descriptor"))? {
            return Ok((file, expected));
        }
        let writable = owner_write::reopen(&file).map_err(io("open the file for writing"))?;
        let stat = statx_fd(&writable).map_err(io("stat the file"))?;
        expected.ctime_ns = stat.ctime_ns;
        target.leave(&stat);
        Ok((writable, expected))
    }
}

fn changed(why: stub::Changed) -> NotStubbed {
    Refusal::new(conditions::UNCHANGED, why.to_string()).into()
}

fn punch(target: &Target, marked: Marked<'_>) -> Result<(i64, u64), NotStubbed> {
    let Marked { armed, secluded } = marked;
    if !secluded.close() {
        let unchanged = armed.is_unchanged();
        let file = armed.disarm()?;
        if unchanged {
            target.leave(&statx_fd(&file).map_err(stub::Error::Inspect)?);
        }
        return Err(Refusal::new(conditions::NOT_OPEN, "a program opened it just now").into());
    }
    let punched = armed.punch()?;
    // Times and all are put back: whoever waits may come.
    drop(secluded);
    Ok((punched.stat.ctime_ns, punched.freed_bytes))
}

/// Maps `items` on up to `threads` threads, keeping their order.
fn in_parallel<I: Send, O: Send>(
    threads: usize,
    items: Vec<I>,
    work: impl Fn(I) -> O + Sync,
) -> Vec<O> {
    let slots: Vec<Mutex<(Option<I>, Option<O>)>> =
        items.into_iter().map(|item| Mutex::new((Some(item), None))).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(slot) = slots.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut slot = slot.lock().expect("one thread per slot");
                    let item = slot.0.take().expect("each slot is taken once");
                    slot.1 = Some(work(item));
                }
            });
        }
    });
    slots
        .into_iter()
        .map(|slot| {
            slot.into_inner().expect("no worker panicked").1.expect("every slot was worked")
        })
        .collect()
}
