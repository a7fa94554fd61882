//! What the log of runs says: each run, and a week of a root together.

use crate::state::{RootId, RunRow};
use serde_json::Value;
use std::collections::BTreeMap;

/// A run with the figures of its outcome.
#[derive(Debug, Clone)]
pub struct Run {
    pub row: RunRow,
    pub outcome: Value,
}

impl Run {
    pub fn of(row: RunRow) -> Self {
        // What a later version wrote is shown without its figures.
        let outcome = serde_json::from_str(&row.outcome).unwrap_or(Value::Null);
        Self { row, outcome }
    }

    pub fn exit(&self) -> Option<u64> {
        self.outcome.get("exit").and_then(Value::as_u64)
    }

    /// A figure; 0 where the run has none.
    pub fn figure(&self, name: &str) -> u64 {
        self.outcome.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    pub fn error(&self) -> Option<&str> {
        self.outcome.get("error").and_then(Value::as_str)
    }

    /// Files left alone by the condition that failed.
    pub fn refused(&self) -> BTreeMap<&str, u64> {
        let refused = self.outcome.get("refused").and_then(Value::as_object);
        let pairs = refused.into_iter().flatten();
        pairs.filter_map(|(why, files)| Some((why.as_str(), files.as_u64()?))).collect()
    }

    /// At least zero: a clock that was set back is not a duration.
    pub fn took_ns(&self) -> u64 {
        u64::try_from(self.row.finished_ns.saturating_sub(self.row.started_ns)).unwrap_or(0)
    }
}

/// Sums over the runs of one root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Week {
    pub runs: u64,
    pub uploaded_files: u64,
    pub sent_bytes: u64,
    pub stubbed_files: u64,
    pub freed_bytes: u64,
    /// Files that failed, in all of them.
    pub failed_files: u64,
    /// Runs that ended in an error.
    pub failed_runs: u64,
}

impl Week {
    pub fn of(runs: &[Run], root: RootId) -> Self {
        let mut week = Self::default();
        for run in runs.iter().filter(|run| run.row.root == Some(root)) {
            week.runs += 1;
            week.uploaded_files += run.figure("uploaded_files");
            week.sent_bytes += run.figure("sent_bytes");
            week.stubbed_files += run.figure("stubbed_files");
            week.freed_bytes += run.figure("freed_bytes");
            week.failed_files += run.figure("failed_files");
            week.failed_runs += u64::from(run.error().is_some());
        }
        week
    }
}
