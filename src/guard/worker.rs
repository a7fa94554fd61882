//! A worker: takes an inode that programs wait for, makes it whole, and lets
//! them in. First the answer, then the record and the log.
//!
//! Whatever goes wrong, the programs are denied with an errno that says what,
//! and the stub is as it was. A recall is stopped when all who waited for it were
//! denied for the time it took; who has come since then gets a recall anew.

use super::access::{Shared, Trouble};
use super::admission::Admission;
use super::asker::{Asker, Asking};
use super::inodes::{Inodes, Task};
use super::job::now_ms;
use super::recorder::{Record, Records};
use super::waiter::Waiter;
use super::watched::Watched;
use crate::clock::Clock;
use crate::ids::FileIdent;
use crate::os::{file_ident, owner_write};
use crate::recall::{self, FileError, Filled};
use crate::site::{Catalog, Leases};
use crate::state::StateDb;
use crossbeam_channel::Receiver;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex};

/// What a worker needs; shared by all of them.
pub struct Bench {
    pub inodes: Arc<Inodes>,
    pub watched: Arc<Watched>,
    pub shared: Arc<Shared>,
    pub probes: Arc<super::probe::Probes>,
    pub records: Records,
    pub admission: Arc<Mutex<Admission>>,
    pub asker: Asker,
    /// For files in an archive.
    pub archived_errno: i32,
    pub clock: Clock,
}

/// Works until there are no more jobs to come.
pub fn run(bench: &Bench, jobs: &Receiver<super::inodes::Inode>) {
    let mut state = None;
    while let Ok(inode) = jobs.recv() {
        let Some(task) = bench.inodes.begin(inode) else { continue };
        let (ident, outcome) = task.job.errand.run(|| make_whole(bench, &mut state, &task));
        if outcome.errno().is_some() && task.job.stop.requested() {
            bench.inodes.leave(inode);
            tracing::debug!(path = %task.name.display(), "stopped");
            continue;
        }
        let waiters = bench.inodes.finish(inode);
        let record = ident.and_then(|ident| Record::of(bench, &task, ident, &waiters, &outcome));
        let asking = asking(bench, &task, &waiters, &outcome);
        if outcome.errno().is_some() {
            refund(&bench.admission, &waiters);
        }
        answer(waiters, &outcome);
        if let Some(asking) = asking {
            bench.asker.send(asking);
        }
        if let Some(record) = record {
            bench.records.send(record);
        }
        tell(&task, &outcome);
    }
}

/// What a worker found or did.
pub enum Outcome {
    /// All bytes are there; `Some` if it was this recall that brought them.
    Whole(Filled),
    Failed(FileError),
    /// Its copy is in an archive, which is asked for it; with what programs are told.
    Archived(FileError, i32),
    /// The state DB or the store could not be opened, or the file.
    Unavailable(Trouble),
}

impl Outcome {
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Whole(_) => None,
            Self::Failed(error) => Some(error.errno()),
            Self::Archived(_, errno) => Some(*errno),
            Self::Unavailable(_) => Some(libc::EIO),
        }
    }
}

/// Which file it was is told by the file itself: a program that waited for a guard
/// that died left only the number of its event, and one that was denied meanwhile
/// not even that.
fn make_whole(
    bench: &Bench,
    state: &mut Option<StateDb>,
    task: &Task,
) -> (Option<FileIdent>, Outcome) {
    match open(bench, task) {
        Ok(file) => (file_ident(&file).ok(), fill_open(bench, state, file, task)),
        Err(error) => {
            let ident = task.event_file.as_ref().and_then(|file| file_ident(file).ok());
            (ident, Outcome::Unavailable(error.into()))
        }
    }
}

fn fill_open(bench: &Bench, state: &mut Option<StateDb>, file: File, task: &Task) -> Outcome {
    if let Some(done) = bench.probes.fill(task.inode, &file) {
        return done;
    }
    let known = match state.take() {
        Some(known) => Ok(known),
        None => bench.shared.access.state_read_only(),
    };
    match known {
        Ok(known) => fill(bench, state, known, file, task),
        Err(trouble) => Outcome::Unavailable(trouble),
    }
}

/// By its handle on the guard's own mount. A file whose last name is gone has
/// no handle any more; it is opened by way of the event, which raises events of
/// our own that the reader answers.
fn open(bench: &Bench, task: &Task) -> io::Result<File> {
    match (bench.watched.open_file(&task.handle, task.inode.dev), &task.event_file) {
        (Err(error), Some(file)) if error.raw_os_error() == Some(libc::ESTALE) => {
            owner_write::reopen(file)
        }
        (opened, _) => opened,
    }
}

fn fill(
    bench: &Bench,
    state: &mut Option<StateDb>,
    known: StateDb,
    file: File,
    task: &Task,
) -> Outcome {
    let store = match bench.shared.store() {
        Ok(store) => store,
        Err(trouble) => {
            *state = Some(known);
            return Outcome::Unavailable(trouble);
        }
    };
    // The inode is ours by its entry in the table.
    let (job, custody) = (&task.job, &Leases);
    let stop = job.stop.clone();
    let mut site = bench.shared.site(&store, known, job, stop, custody, bench.clock);
    let filled = recall::fill(&mut site, &mut Catalog::default(), file, &task.name);
    *state = Some(site.state);
    match filled {
        Ok(filled) => Outcome::Whole(filled),
        Err(error @ FileError::Archived(_)) => Outcome::Archived(error, bench.archived_errno),
        Err(error) => Outcome::Failed(error),
    }
}

/// What the archive is to be asked for because of this outcome.
fn asking(bench: &Bench, task: &Task, waiters: &[Waiter], outcome: &Outcome) -> Option<Asking> {
    let Outcome::Archived(FileError::Archived(wanted), _) = outcome else { return None };
    Some(Asking {
        wanted: **wanted,
        roots: bench.watched.roots_on(task.inode.dev),
        name: task.name.clone(),
        who: waiters.iter().find_map(|waiter| waiter.who.clone()),
    })
}

/// A recall that failed costs nobody anything.
fn refund(admission: &Mutex<Admission>, waiters: &[Waiter]) {
    let mut admission = admission.lock().expect("no holder panics");
    for waiter in waiters.iter().filter(|waiter| waiter.spent_bytes > 0) {
        if let Some(who) = &waiter.who {
            admission.refund(&who.as_who(), waiter.spent_bytes);
        }
    }
}

/// Those who wait get in, or get the errno.
fn answer(waiters: Vec<Waiter>, outcome: &Outcome) {
    for waiter in waiters {
        match outcome.errno() {
            None => waiter.pending.allow(),
            Some(errno) => waiter.pending.deny(errno),
        }
    }
}

fn tell(task: &Task, outcome: &Outcome) {
    let path = task.name.display();
    match outcome {
        Outcome::Whole(_) => tracing::debug!(%path, "let in"),
        Outcome::Failed(error) | Outcome::Archived(error, _) => {
            let causes = crate::site::guard::causes(error).join(": ");
            tracing::warn!(%path, "denied: {causes}");
        }
        Outcome::Unavailable(error) => {
            let causes = crate::site::guard::causes(&**error).join(": ");
            tracing::warn!(%path, "denied: {causes}");
        }
    }
}

/// Milliseconds that the first of them has waited.
pub fn waited_ms(inodes: &Inodes, waiters: &[Waiter]) -> u64 {
    let first = waiters.iter().map(|waiter| waiter.arrived_ms).min();
    first.map_or(0, |arrived_ms| now_ms(inodes.clock).saturating_sub(arrived_ms))
}
