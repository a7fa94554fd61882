//! The rows of directories, for whoever records files in them before a scan does.

use super::error::{During, Result};
use super::roots::RootId;
use crate::os::RelPath;
use rusqlite::Connection;

const OPERATION: &str = "looking up a directory";

/// Looks up directories; the last one is kept, as files come directory by directory.
pub(super) struct DirIds {
    root: RootId,
    last: Option<(RelPath, i64)>,
}

impl DirIds {
    pub fn new(root: RootId) -> Self {
        Self { root, last: None }
    }

    /// The id of the directory that `path` is in; one that no scan has seen yet
    /// gets a row that the next scan fills in.
    pub fn of_file(&mut self, tx: &Connection, path: &RelPath) -> Result<i64> {
        let parent = path.parent().unwrap_or_else(RelPath::root);
        if let Some((known, dir)) = &self.last
            && *known == parent
        {
            return Ok(*dir);
        }
        tx.prepare_cached(
            "INSERT INTO dir (root_id, path, mode, uid, gid, mtime_ns, ctime_ns)
             VALUES (?1, ?2, 16384, 0, 0, 0, 0) ON CONFLICT (root_id, path) DO NOTHING",
        )
        .and_then(|mut insert| insert.execute((self.root.0, parent.as_bytes())))
        .during(OPERATION)?;
        let dir = tx
            .prepare_cached("SELECT id FROM dir WHERE root_id = ?1 AND path = ?2")
            .and_then(|mut select| {
                select.query_row((self.root.0, parent.as_bytes()), |row| row.get(0))
            })
            .during(OPERATION)?;
        self.last = Some((parent, dir));
        Ok(dir)
    }
}
