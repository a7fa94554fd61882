//! The journal of finished runs, for `hsm status` and `hsm log`.

use super::error::{During, Result};
use super::events;
use super::open::StateDb;
use super::roots::RootId;
use super::rows::signed;
use rusqlite::{Params, Row};

/// One finished run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// The command as typed, without secrets.
    pub command: String,
    /// `None` where it worked on none, or that root is no more.
    pub root: Option<RootId>,
    pub started_ns: i64,
    pub finished_ns: i64,
    /// JSON of the run's summary.
    pub outcome: String,
    /// The root's file system before and after it, where it could be asked.
    pub usage: Option<Usage>,
}

/// How full a file system was, as `df` counts, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub used_before_bytes: u64,
    pub used_after_bytes: u64,
    pub usable_bytes: u64,
}

/// How many runs are remembered: a year of hourly ones.
const RUNS_KEPT: i64 = 10_000;

const COLUMNS: &str = "command, root_id, started_ns, finished_ns, outcome, used_before_bytes,
     used_after_bytes, usable_bytes";
const READING: &str = "reading the runs";

impl StateDb {
    /// Also forgets what is too old to be remembered.
    pub fn record_run(&mut self, run: &RunRow) -> Result<()> {
        let operation = "recording a run";
        self.write(operation, |tx| {
            let usage = run.usage;
            tx.execute(
                &format!("INSERT INTO run ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"),
                (
                    &run.command,
                    run.root.map(|root| root.0),
                    run.started_ns,
                    run.finished_ns,
                    &run.outcome,
                    usage.map(|usage| signed(usage.used_before_bytes)),
                    usage.map(|usage| signed(usage.used_after_bytes)),
                    usage.map(|usage| signed(usage.usable_bytes)),
                ),
            )
            .during(operation)?;
            let oldest_kept = tx.last_insert_rowid() - RUNS_KEPT;
            tx.execute("DELETE FROM run WHERE id <= ?1", [oldest_kept]).during(operation)?;
            events::forget_old(tx, run.finished_ns)
        })
    }

    /// The latest runs, newest first.
    pub fn recent_runs(&self, limit: usize) -> Result<Vec<RunRow>> {
        self.runs("ORDER BY id DESC LIMIT ?1", [limit as i64])
    }

    /// The latest run on a root, however long ago.
    pub fn last_run(&self, root: RootId) -> Result<Option<RunRow>> {
        Ok(self.runs("WHERE root_id = ?1 ORDER BY id DESC LIMIT 1", [root.0])?.pop())
    }

    /// The runs that ended since then, oldest first.
    pub fn runs_since(&self, since_ns: i64) -> Result<Vec<RunRow>> {
        self.runs("WHERE finished_ns >= ?1 ORDER BY id", [since_ns])
    }

    fn runs(&self, rest: &str, params: impl Params) -> Result<Vec<RunRow>> {
        let sql = format!("SELECT {COLUMNS} FROM run {rest}");
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let rows = select.query_map(params, read);
        rows.and_then(Iterator::collect).during(READING)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let bytes = |at| row.get(at).map(|bytes: Option<i64>| bytes.map(|bytes| bytes as u64));
    let (before, after, usable) = (bytes(5)?, bytes(6)?, bytes(7)?);
    let usage = before.zip(after).zip(usable);
    Ok(RunRow {
        command: row.get(0)?,
        root: row.get::<_, Option<i64>>(1)?.map(RootId),
        started_ns: row.get(2)?,
        finished_ns: row.get(3)?,
        outcome: row.get(4)?,
        usage: usage.map(|((used_before_bytes, used_after_bytes), usable_bytes)| Usage {
            used_before_bytes,
            used_after_bytes,
            usable_bytes,
        }),
    })
}
