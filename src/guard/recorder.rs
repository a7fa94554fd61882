//! Writes down who had what recalled, after they were answered.
//!
//! The state DB may be busy with somebody's scan for a while; the recorder waits
//! for it so that nobody else has to. What it did not write when the guard dies
//! is lost as a record only: the next scan sees that the files are resident, and
//! as nobody can tell then whose the last change was, they are uploaded again.

use super::access::Access;
use super::counters::Counters;
use super::inodes::Task;
use super::waiter::{Program, Waiter};
use super::worker::{Bench, Outcome, waited_ms};
use crate::ids::FileIdent;
use crate::os::file_ident;
use crate::recall::Filled;
use crate::state::{RECALLED, RecallRow, RootId, StateDb};
use crossbeam_channel::{Receiver, Sender};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One recall, or one that was denied.
#[derive(Debug, Clone)]
pub struct Record(pub RecallRow);

/// Where records go: counted at once, written when the state DB takes them.
#[derive(Clone)]
pub struct Records {
    to: Sender<Record>,
    counters: Arc<Counters>,
}

impl Records {
    /// With the end that [`run`] reads.
    pub fn new(counters: Arc<Counters>) -> (Self, Receiver<Record>) {
        let (to, records) = crossbeam_channel::unbounded();
        (Self { to, counters }, records)
    }

    /// Never waits. A recorder that is gone takes the guard with it.
    pub fn send(&self, record: Record) {
        self.counters.count(&record.0);
        let _ = self.to.send(record);
    }
}

/// Records of one transaction.
const BATCH: usize = 1000;
/// Before a state DB that cannot be written is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Kept while it cannot; more are forgotten, oldest first.
const KEPT: usize = 100_000;

impl Record {
    /// `None` where nothing was recalled and nobody denied. Of a program that waited
    /// for a guard that died only the pid is known, and the time since then.
    pub fn of(
        bench: &Bench,
        task: &Task,
        ident: FileIdent,
        waiters: &[Waiter],
        outcome: &Outcome,
    ) -> Option<Self> {
        let (bytes, stamps, text) = match outcome {
            Outcome::Whole(Filled::Recalled { bytes, stat }) => {
                (*bytes, Some((stat.ctime_ns, stat.mtime_ns)), RECALLED.to_owned())
            }
            Outcome::Whole(_) => return None,
            Outcome::Failed(error) => (0, None, failed(error.errno(), error)),
            Outcome::Archived(error, errno) => (0, None, failed(*errno, error)),
            Outcome::Unavailable(error) => (0, None, failed(libc::EIO, &**error)),
        };
        let who = waiters.iter().find_map(|waiter| waiter.who.clone());
        let first_pid = waiters.first().map_or(0, |waiter| waiter.pending.pid().unsigned_abs());
        let (ctime_ns, mtime_ns) = stamps.unzip();
        Some(Self(RecallRow {
            at_ns: bench.clock.now_ns(),
            ident,
            roots: bench.watched.roots_on(task.inode.dev),
            ctime_ns,
            mtime_ns,
            bytes,
            latency_ms: waited_ms(&bench.inodes, waiters),
            outcome: text,
            pid: who.as_ref().map_or(first_pid, |who| who.pid.unsigned_abs()),
            ..of_program(who.as_ref())
        }))
    }

    /// A program that the policy keeps out.
    pub fn denied(
        waiter: &Waiter,
        roots: Vec<RootId>,
        errno: i32,
        why: &str,
        latency_ms: u64,
        now_ns: i64,
    ) -> Option<Self> {
        Some(Self(RecallRow {
            at_ns: now_ns,
            ident: ident_of(waiter)?,
            roots,
            latency_ms,
            outcome: format!("{}: {why}", errno_name(errno)),
            ..of_program(waiter.who.as_ref())
        }))
    }
}

fn ident_of(waiter: &Waiter) -> Option<FileIdent> {
    waiter.pending.file().and_then(|file| file_ident(file).ok())
}

/// A row that says who, and nothing else yet.
fn of_program(who: Option<&Program>) -> RecallRow {
    let exe = who.and_then(|who| who.exe.as_deref()).unwrap_or(Path::new(""));
    RecallRow {
        at_ns: 0,
        ident: FileIdent { ino: 0, generation: 0 },
        roots: vec![],
        ctime_ns: None,
        mtime_ns: None,
        bytes: 0,
        latency_ms: 0,
        pid: who.map_or(0, |who| who.pid.unsigned_abs()),
        uid: who.map_or(u32::MAX, |who| who.uid),
        exe: exe.to_string_lossy().into_owned(),
        cgroup: who.and_then(|who| who.cgroup.clone()).unwrap_or_default(),
        outcome: String::new(),
    }
}

fn failed(errno: i32, error: &(dyn std::error::Error + 'static)) -> String {
    format!("{}: {}", errno_name(errno), crate::site::guard::causes(error).join(": "))
}

/// By name, as in errno(3).
fn errno_name(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::EAGAIN => "EAGAIN",
        libc::EBUSY => "EBUSY",
        libc::ETXTBSY => "ETXTBSY",
        libc::ENOSPC => "ENOSPC",
        libc::EDQUOT => "EDQUOT",
        _ => "EIO",
    }
}

/// Writes until nobody records any more.
pub fn run(access: &dyn Access, records: &Receiver<Record>) {
    let mut state: Option<StateDb> = None;
    let mut rows: Vec<RecallRow> = vec![];
    loop {
        let ended = gather(records, &mut rows);
        if !rows.is_empty() && write(access, &mut state, &mut rows) {
            continue;
        }
        if ended {
            return;
        }
        if !rows.is_empty() {
            std::thread::sleep(RETRY);
        }
        let surplus = rows.len().saturating_sub(KEPT);
        rows.drain(..surplus);
    }
}

/// Waits for the first and takes what has come meanwhile: a busy guard writes
/// many in one transaction. Whether there will be no more.
fn gather(records: &Receiver<Record>, rows: &mut Vec<RecallRow>) -> bool {
    if rows.is_empty() {
        match records.recv() {
            Ok(record) => rows.push(record.0),
            Err(_) => return true,
        }
    }
    let room = BATCH.saturating_sub(rows.len());
    rows.extend(records.try_iter().take(room).map(|record| record.0));
    false
}

fn write(access: &dyn Access, state: &mut Option<StateDb>, rows: &mut Vec<RecallRow>) -> bool {
    if state.is_none() {
        match access.state() {
            Ok(opened) => *state = Some(opened),
            Err(error) => tracing::warn!(%error, "cannot open the state DB to record recalls"),
        }
    }
    let Some(db) = state.as_mut() else { return false };
    match db.record_recalls(rows) {
        Ok(()) => {
            rows.clear();
            true
        }
        Err(error) => {
            tracing::warn!(%error, "cannot record recalls yet");
            *state = None;
            false
        }
    }
}
