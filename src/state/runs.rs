//! The journal of finished runs, for `hsm status`.

use super::error::{During, Result};
use super::open::StateDb;

/// One finished run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// The command as typed, without secrets.
    pub command: String,
    pub started_ns: i64,
    pub finished_ns: i64,
    /// JSON of the run's summary.
    pub outcome: String,
}

/// How many runs are remembered: a year of hourly ones.
const RUNS_KEPT: i64 = 10_000;

impl StateDb {
    pub fn record_run(&mut self, run: &RunRow) -> Result<()> {
        let operation = "recording a run";
        self.write(operation, |tx| {
            tx.execute(
                "INSERT INTO run (command, started_ns, finished_ns, outcome) VALUES (?1, ?2, ?3, ?4)",
                (&run.command, run.started_ns, run.finished_ns, &run.outcome),
            )
            .during(operation)?;
            let oldest_kept = tx.last_insert_rowid() - RUNS_KEPT;
            tx.execute("DELETE FROM run WHERE id <= ?1", [oldest_kept]).during(operation)?;
            Ok(())
        })
    }

    /// The latest runs, newest first.
    pub fn recent_runs(&self, limit: usize) -> Result<Vec<RunRow>> {
        let operation = "reading the runs";
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT command, started_ns, finished_ns, outcome FROM run
                 ORDER BY id DESC LIMIT ?1",
            )
            .during(operation)?;
        let rows = statement.query_map([limit as i64], |row| {
            Ok(RunRow {
                command: row.get(0)?,
                started_ns: row.get(1)?,
                finished_ns: row.get(2)?,
                outcome: row.get(3)?,
            })
        });
        rows.and_then(Iterator::collect).during(operation)
    }
}
