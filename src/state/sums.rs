//! Sums over the logs and the packs, for a report: what was recalled day by day,
//! and what lies in the store.
//!
//! Each is one statement whose answer has a row per day, or per storage class,
//! however long the tables are.

use super::error::{During, Result};
use super::open::StateDb;
use super::rows::Columns;

/// What programs had recalled on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecallDay {
    /// Midnight UTC at its beginning.
    pub at_ns: i64,
    pub files: u64,
    pub bytes: u64,
    /// Opens that were refused because the recall failed.
    pub denied: u64,
}

/// Packs of this node in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSum {
    /// The storage class, where one was asked for.
    pub class: Option<String>,
    pub packs: u64,
    /// As they are stored: compressed, each chunk once.
    pub bytes: u64,
}

const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

impl StateDb {
    /// The days since then on which something was recalled, or refused; oldest
    /// first.
    pub fn recall_days(&self, since_ns: i64) -> Result<Vec<RecallDay>> {
        let operation = "adding up the recalls of programs";
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT at_ns / ?2 AS day, sum(outcome = 'recalled'),
                 sum(iif(outcome = 'recalled', bytes, 0)), sum(outcome <> 'recalled')
                 FROM recall WHERE at_ns >= ?1 GROUP BY day ORDER BY day",
            )
            .during(operation)?;
        let mut rows = select.query((since_ns, DAY_NS)).during(operation)?;
        let mut days = Vec::new();
        while let Some(row) = rows.next().during(operation)? {
            let mut columns = Columns::new(row, 0, operation);
            days.push(RecallDay {
                at_ns: columns.get::<i64>()?.saturating_mul(DAY_NS),
                files: columns.unsigned()?,
                bytes: columns.unsigned()?,
                denied: columns.unsigned()?,
            });
        }
        Ok(days)
    }

    /// When the oldest recall happened that is still in the log.
    pub fn oldest_recall_ns(&self) -> Result<Option<i64>> {
        let operation = "looking for the oldest recall";
        // The log is in order of its ids, but for a clock that was set back.
        self.conn.query_row("SELECT min(at_ns) FROM recall", [], |row| row.get(0)).during(operation)
    }

    /// What this node has in the store, by storage class.
    pub fn stored(&self) -> Result<Vec<StoredSum>> {
        let operation = "adding up the packs";
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT class, count(*), sum(size_bytes) FROM pack
                 WHERE status IN ('durable', 'damaged') AND node_id IS NULL
                 GROUP BY class ORDER BY class",
            )
            .during(operation)?;
        let mut rows = select.query([]).during(operation)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(operation)? {
            let mut columns = Columns::new(row, 0, operation);
            found.push(StoredSum {
                class: columns.get()?,
                packs: columns.unsigned()?,
                bytes: columns.unsigned()?,
            });
        }
        Ok(found)
    }
}
