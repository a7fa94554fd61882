//! The managed trees, each with the file system it was when it was added.
//!
//! The identity is kept as text and compared by the operations: an empty or
//! vanished mount, or another file system at the same path, must stop a run
//! before anything is concluded from what is not there.

use super::error::{During, Error, Result};
use super::open::StateDb;
use rusqlite::Row;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A root's number in this DB; never leaves this node.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct RootId(pub(super) i64);

/// A managed tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootRow {
    pub id: RootId,
    pub path: PathBuf,
    /// `os::FsIdentity` as text.
    pub identity: String,
    /// When the last scan of the whole root began that met no error.
    pub last_complete_scan_ns: Option<i64>,
    /// How many names the scans have seen beneath it.
    pub entries: u64,
}

impl StateDb {
    /// Adds a root, or returns the one that is at this path already with its
    /// identity as it was recorded then.
    pub fn add_root(&mut self, path: &Path, identity: &str, now_ns: i64) -> Result<RootId> {
        let operation = "adding a root";
        let bytes = path.as_os_str().as_bytes();
        self.write(operation, |tx| {
            tx.execute(
                "INSERT INTO root (path, identity, added_ns) VALUES (?1, ?2, ?3)
                 ON CONFLICT (path) DO NOTHING",
                (bytes, identity, now_ns),
            )
            .during(operation)?;
            tx.query_row("SELECT id FROM root WHERE path = ?1", [bytes], |row| row.get(0))
                .map(RootId)
                .during(operation)
        })
    }

    /// Every root, by path.
    pub fn roots(&self) -> Result<Vec<RootRow>> {
        let operation = "reading the roots";
        let mut statement = self
            .conn
            .prepare_cached(
                "SELECT id, path, identity, last_complete_scan_ns, entries FROM root ORDER BY path",
            )
            .during(operation)?;
        let rows = statement.query_map([], root_row);
        rows.and_then(Iterator::collect).during(operation)
    }

    /// Forgets a root and all that is known about the files in it; nothing in
    /// the tree or the store changes.
    pub fn remove_root(&mut self, root: RootId) -> Result<()> {
        let operation = "removing a root";
        self.write(operation, |tx| {
            // Children first: neither table goes with its directories.
            tx.execute("DELETE FROM file WHERE root_id = ?1", [root.0]).during(operation)?;
            tx.execute(
                "DELETE FROM entry WHERE dir_id IN (SELECT id FROM dir WHERE root_id = ?1)",
                [root.0],
            )
            .during(operation)?;
            tx.execute("DELETE FROM event WHERE root_id = ?1", [root.0]).during(operation)?;
            tx.execute("UPDATE run SET root_id = NULL WHERE root_id = ?1", [root.0])
                .during(operation)?;
            tx.execute("DELETE FROM root WHERE id = ?1", [root.0]).during(operation)?;
            Ok(())
        })
    }

    /// Records that the root is another file system now, as an admin confirmed.
    pub fn update_root_identity(&mut self, root: RootId, identity: &str) -> Result<()> {
        let operation = "recording a root's file system";
        self.write(operation, |tx| {
            let changed = tx
                .execute("UPDATE root SET identity = ?2 WHERE id = ?1", (root.0, identity))
                .during(operation)?;
            if changed == 0 {
                return Err(Error::bad_value("root", root.0));
            }
            Ok(())
        })
    }
}

fn root_row(row: &Row<'_>) -> rusqlite::Result<RootRow> {
    let entries: i64 = row.get(4)?;
    Ok(RootRow {
        id: RootId(row.get(0)?),
        path: OsString::from_vec(row.get(1)?).into(),
        identity: row.get(2)?,
        last_complete_scan_ns: row.get(3)?,
        entries: u64::try_from(entries).unwrap_or(0),
    })
}
