//! What this node holds on to, whatever its log says: for whoever collects garbage.
//!
//! A file that was renamed, adopted, or found again after it was gone is managed
//! before the log has it, and a stub of it has its bytes in the store alone.

use super::error::{During, Error, Result};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::rel_path;
use crate::ids::ContentId;
use crate::os::RelPath;
use rusqlite::OptionalExtension;
use std::ops::ControlFlow;

const READING: &str = "reading what is held";

/// Whether the last scans of a root tell what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanStanding {
    /// When the last scan of the whole root began that met no error.
    pub complete_ns: Option<i64>,
    /// A later scan that broke off, met an error or still runs: what it was of.
    pub broken_since: Option<RelPath>,
}

impl StateDb {
    /// Visits the content of every managed file and of every deletion that the log
    /// does not have yet; some more than once. One moment's state.
    pub fn for_each_held_content(
        &self,
        visit: &mut dyn FnMut(ContentId) -> ControlFlow<()>,
    ) -> Result<()> {
        self.contents(
            "SELECT content FROM file WHERE content IS NOT NULL
             UNION ALL
             SELECT content FROM gone WHERE content IS NOT NULL AND segment_seq IS NULL",
            visit,
        )
    }

    /// The contents of managed files whose present path or attributes the log does
    /// not have.
    pub fn pending_contents(&self) -> Result<Vec<ContentId>> {
        let mut found = vec![];
        self.contents(
            "SELECT DISTINCT content FROM file
             WHERE segment_seq IS NULL AND content IS NOT NULL",
            &mut |id| {
                found.push(id);
                ControlFlow::Continue(())
            },
        )?;
        Ok(found)
    }

    fn contents(
        &self,
        sql: &str,
        visit: &mut dyn FnMut(ContentId) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut select = self.conn.prepare_cached(sql).during(READING)?;
        let mut rows = select.query([]).during(READING)?;
        while let Some(row) = rows.next().during(READING)? {
            let id: Vec<u8> = row.get(0).during(READING)?;
            let id = ContentId::from_slice(&id).ok_or_else(|| Error::bad_value("content", &id))?;
            if visit(id).is_break() {
                break;
            }
        }
        Ok(())
    }

    pub fn scan_standing(&self, root: RootId) -> Result<ScanStanding> {
        let complete: Option<(i64, i64)> = self
            .conn
            .query_row(
                "SELECT id, started_ns FROM scan WHERE root_id = ?1 AND complete = 1
                 AND (under IS NULL OR length(under) = 0) ORDER BY id DESC LIMIT 1",
                [root.0],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .during(READING)?;
        let since = complete.map_or(0, |(id, _)| id);
        let broken: Option<Option<Vec<u8>>> = self
            .conn
            .query_row(
                "SELECT under FROM scan WHERE root_id = ?1 AND complete = 0 AND id > ?2
                 ORDER BY id DESC LIMIT 1",
                (root.0, since),
                |row| row.get(0),
            )
            .optional()
            .during(READING)?;
        let broken_since = broken.map(|under| rel_path(under.unwrap_or_default())).transpose()?;
        Ok(ScanStanding { complete_ns: complete.map(|(_, at_ns)| at_ns), broken_since })
    }
}
