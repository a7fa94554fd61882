//! Writes down who had what recalled, after they were answered.
//!
//! The state DB may be busy with somebody's scan for a while; the recorder waits
//! for it so that nobody else has to. What it did not write when the guard dies
//! is lost as a record only: the next scan sees that the files are resident.

use super::access::Access;
use super::inodes::Task;
use super::waiter::{Program, Waiter};
use super::worker::{Bench, Outcome, waited_ms};
use crate::ids::FileIdent;
use crate::os::file_ident;
use crate::recall::Filled;
use crate::state::{RecallRow, RootId, StateDb};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::path::PathBuf;
use std::time::Duration;

/// One recall, or one that was denied.
#[derive(Debug, Clone)]
pub struct Record(pub RecallRow);

/// Records of one transaction.
const BATCH: usize = 1000;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(200);
/// Before a state DB that cannot be written is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Kept while it cannot; more are forgotten, oldest first.
const KEPT: usize = 100_000;

impl Record {
    /// `None` where nothing was recalled and nobody denied.
    pub fn of(bench: &Bench, task: &Task, waiters: &[Waiter], outcome: &Outcome) -> Option<Self> {
        let (bytes, stamps, outcome_text) = match outcome {
            Outcome::Whole(Filled::Recalled { bytes, stat }) => {
                (*bytes, Some((stat.ctime_ns, stat.mtime_ns)), "recalled".to_owned())
            }
            Outcome::Whole(_) => return None,
            Outcome::Failed(error) => (0, None, failed(error.errno(), error)),
            Outcome::Unavailable(error) => (0, None, failed(libc::EIO, &**error)),
        };
        let first = waiters.first();
        let who = first.and_then(|waiter| waiter.who.clone());
        let ident = first.and_then(|w| w.pending.file()).and_then(|f| file_ident(f).ok());
        let latency_ms = waited_ms(&bench.inodes, waiters);
        let row = row(task.name.clone(), ident, who, latency_ms, bench.clock.now_ns());
        let (ctime_ns, mtime_ns) = stamps.unzip();
        Some(Self(RecallRow { bytes, ctime_ns, mtime_ns, outcome: outcome_text, ..row }))
    }

    /// A program that the policy keeps out.
    pub fn denied(
        waiter: &Waiter,
        who: Program,
        errno: i32,
        why: &str,
        latency_ms: u64,
        now_ns: i64,
    ) -> Self {
        let ident = waiter.pending.file().and_then(|file| file_ident(file).ok());
        let row = row(waiter.name(), ident, Some(who), latency_ms, now_ns);
        Self(RecallRow { outcome: format!("{}: {why}", errno_name(errno)), ..row })
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

fn row(
    path: PathBuf,
    ident: Option<FileIdent>,
    who: Option<Program>,
    latency_ms: u64,
    at_ns: i64,
) -> RecallRow {
    let who = who.unwrap_or(Program { pid: 0, uid: u32::MAX, exe: None, cgroup: None });
    RecallRow {
        at_ns,
        path: Some(path).filter(|path| !path.as_os_str().is_empty()),
        ident: ident.unwrap_or(FileIdent { ino: 0, generation: 0 }),
        bytes: 0,
        latency_ms,
        pid: who.pid,
        uid: who.uid,
        exe: who.exe,
        cgroup: who.cgroup,
        outcome: String::new(),
        ctime_ns: None,
        mtime_ns: None,
    }
}

/// Writes until nobody records any more.
pub fn run(access: &dyn Access, roots: &[RootId], records: &Receiver<Record>) {
    let mut state: Option<StateDb> = None;
    let mut rows: Vec<RecallRow> = vec![];
    loop {
        let ended = gather(records, &mut rows);
        if !rows.is_empty() && write(access, &mut state, roots, &mut rows) {
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

/// Whether there will be no more.
fn gather(records: &Receiver<Record>, rows: &mut Vec<RecallRow>) -> bool {
    if rows.is_empty() {
        match records.recv() {
            Ok(record) => rows.push(record.0),
            Err(_) => return true,
        }
    }
    while rows.len() < BATCH {
        match records.recv_timeout(GATHER) {
            Ok(record) => rows.push(record.0),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
    }
    false
}

fn write(
    access: &dyn Access,
    state: &mut Option<StateDb>,
    roots: &[RootId],
    rows: &mut Vec<RecallRow>,
) -> bool {
    if state.is_none() {
        match access.state() {
            Ok(opened) => *state = Some(opened),
            Err(error) => tracing::warn!(%error, "cannot open the state DB to record recalls"),
        }
    }
    let Some(db) = state.as_mut() else { return false };
    match db.record_recalls(roots, rows) {
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
