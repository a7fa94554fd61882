//! The log of recalls that programs caused by opening stubs, written by the
//! guard, and what it says about the state of the files.
//!
//! The guard lets the program go on first and records later, when other things
//! may have happened to the row. So a record changes the state only of a file
//! that the DB still believes to be without its data, and only if the recall is
//! younger than what the row tells: its ctime lies behind the row's. A record
//! that comes too late for that (the file was seen whole, uploaded again, is
//! being stubbed again) is logged and changes no state; nor does one of a
//! kernel whose clock did not tick between a punch and its recall. Then the next
//! scan finds a whole file and has it uploaded again, which moves no data.

use super::error::{During, Result};
use super::files::ManagedRow;
use super::open::StateDb;
use super::roots::RootId;
use super::rows::{Columns, rel_path, signed};
use super::thaws;
use crate::ids::FileIdent;
use crate::os::RelPath;
use rusqlite::{Connection, OptionalExtension};
use std::ops::ControlFlow;

/// The outcome of a recall that succeeded.
pub const RECALLED: &str = "recalled";

/// One recall to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallRow {
    pub at_ns: i64,
    pub ident: FileIdent,
    /// Roots of the file system that the inode is on; the file is in one of
    /// them, or is not managed.
    pub roots: Vec<RootId>,
    /// Of the file as it was left; `None` where the recall failed.
    pub ctime_ns: Option<i64>,
    pub mtime_ns: Option<i64>,
    /// Fetched and written.
    pub bytes: u64,
    /// How long the program waited.
    pub latency_ms: u64,
    pub pid: u32,
    pub uid: u32,
    /// Path of the program, empty where it was gone already.
    pub exe: String,
    pub cgroup: String,
    /// [`RECALLED`], or the error the program saw with a short reason, such as
    /// `EIO: the store is unreachable`.
    pub outcome: String,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallLogRow {
    pub at_ns: i64,
    pub ident: FileIdent,
    /// Where the file was managed then, if it was.
    pub root: Option<RootId>,
    pub path: Option<RelPath>,
    pub bytes: u64,
    pub latency_ms: u64,
    pub pid: u32,
    pub uid: u32,
    pub exe: String,
    pub cgroup: String,
    pub outcome: String,
}

impl RecallLogRow {
    /// Else the program was denied.
    pub fn is_recalled(&self) -> bool {
        self.outcome == RECALLED
    }
}

/// A program with what it caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recaller {
    /// The program's path.
    pub who: String,
    pub uid: u32,
    pub files: u64,
    pub bytes: u64,
    /// Opens that were refused because the recall failed.
    pub denied: u64,
}

/// How many recalls are remembered.
const RECALLS_KEPT: i64 = 100_000;

const RECORDING: &str = "recording recalls of programs";
const READING: &str = "reading the recalls of programs";

impl StateDb {
    /// Logs recalls, and makes `uploaded` the files that are whole again by
    /// them. All or nothing.
    pub fn record_recalls(&mut self, recalls: &[RecallRow]) -> Result<()> {
        if recalls.is_empty() {
            return Ok(());
        }
        self.write(RECORDING, |tx| {
            for recall in recalls {
                let place = place_of(tx, recall)?;
                log(tx, recall, place.as_ref())?;
                if let (Some((root, _)), Some(ctime_ns), Some(mtime_ns)) =
                    (place, recall.ctime_ns, recall.mtime_ns)
                {
                    settle(tx, root, recall, ctime_ns, mtime_ns)?;
                }
            }
            let oldest_kept = last(tx)? - RECALLS_KEPT;
            tx.execute("DELETE FROM recall WHERE id <= ?1", [oldest_kept]).during(RECORDING)?;
            Ok(())
        })
    }

    /// The latest recalls, newest first.
    pub fn recent_recalls(&self, limit: usize) -> Result<Vec<RecallLogRow>> {
        let mut found = Vec::new();
        self.for_each_recall(i64::MIN, &mut |recall| {
            if found.len() == limit {
                return ControlFlow::Break(());
            }
            found.push(recall);
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Visits the recalls since then, newest first.
    pub fn for_each_recall(
        &self,
        since_ns: i64,
        visit: &mut dyn FnMut(RecallLogRow) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT at_ns, ino, generation, root_id, path, bytes, latency_ms, pid, uid, exe,
                 cgroup, outcome FROM recall WHERE at_ns >= ?1 ORDER BY id DESC",
            )
            .during(READING)?;
        let mut rows = select.query([since_ns]).during(READING)?;
        while let Some(row) = rows.next().during(READING)? {
            if visit(read(&mut Columns::new(row, 0, READING))?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The recalls of these files of a root, oldest first.
    pub(super) fn recalls_of(
        &self,
        root: RootId,
        wanted: &dyn Fn(FileIdent) -> bool,
    ) -> Result<Vec<RecallLogRow>> {
        let mut found = Vec::new();
        self.for_each_recall(i64::MIN, &mut |recall| {
            if recall.root == Some(root) && wanted(recall.ident) {
                found.push(recall);
            }
            ControlFlow::Continue(())
        })?;
        found.reverse();
        Ok(found)
    }

    /// Who had most recalled since then, by bytes; who was only refused comes
    /// last.
    pub fn top_recallers(&self, since_ns: i64, limit: usize) -> Result<Vec<Recaller>> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT exe, uid, sum(outcome = 'recalled') AS files,
                 sum(iif(outcome = 'recalled', bytes, 0)) AS bytes,
                 sum(outcome <> 'recalled') AS denied
                 FROM recall WHERE at_ns >= ?1 GROUP BY exe, uid
                 ORDER BY bytes DESC, files DESC, denied DESC, exe, uid LIMIT ?2",
            )
            .during(READING)?;
        let mut rows = select.query((since_ns, limit as i64)).during(READING)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(READING)? {
            let mut columns = Columns::new(row, 0, READING);
            found.push(Recaller {
                who: columns.get()?,
                uid: columns.u32()?,
                files: columns.unsigned()?,
                bytes: columns.unsigned()?,
                denied: columns.unsigned()?,
            });
        }
        Ok(found)
    }

    /// The managed file with this inode, in whichever of these roots it is.
    pub fn managed_anywhere(
        &self,
        roots: &[RootId],
        ident: FileIdent,
    ) -> Result<Option<ManagedRow>> {
        for root in roots {
            if let Some(row) = self.managed_by_ident(*root, ident)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// The last entry of the log; 0 while there is none.
pub(super) fn last(tx: &Connection) -> Result<i64> {
    tx.query_row("SELECT coalesce(max(id), 0) FROM recall", [], |row| row.get(0)).during(RECORDING)
}

/// Whether the file was recalled by an entry behind `since`.
pub(super) fn recalled_since(
    tx: &Connection,
    root: RootId,
    ident: FileIdent,
    since: i64,
) -> Result<bool> {
    tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM recall WHERE id > ?1 AND root_id = ?2 AND ino = ?3
         AND generation = ?4 AND outcome = 'recalled')",
    )
    .and_then(|mut select| {
        let key = (since, root.0, ident.ino as i64, ident.generation);
        select.query_row(key, |row| row.get(0))
    })
    .during(RECORDING)
}

/// Enters an entry of another DB's log.
pub(super) fn enter(tx: &Connection, entry: &RecallLogRow, root: Option<RootId>) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO recall (at_ns, root_id, path, ino, generation, bytes, latency_ms, pid, uid,
         exe, cgroup, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )
    .and_then(|mut insert| {
        insert.execute((
            entry.at_ns,
            root.map(|root| root.0),
            entry.path.as_ref().map(RelPath::as_bytes),
            entry.ident.ino as i64,
            entry.ident.generation,
            signed(entry.bytes),
            signed(entry.latency_ms),
            entry.pid,
            entry.uid,
            &entry.exe,
            &entry.cgroup,
            &entry.outcome,
        ))
    })
    .during(RECORDING)?;
    Ok(())
}

fn place_of(tx: &Connection, recall: &RecallRow) -> Result<Option<(RootId, RelPath)>> {
    let mut select = tx
        .prepare_cached(
            "SELECT d.path, f.name FROM file f JOIN dir d ON d.id = f.dir_id
             WHERE f.root_id = ?1 AND f.ino = ?2 AND f.generation = ?3",
        )
        .during(RECORDING)?;
    let FileIdent { ino, generation } = recall.ident;
    for root in &recall.roots {
        let found: Option<(Vec<u8>, Vec<u8>)> = select
            .query_row((root.0, ino as i64, generation), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .during(RECORDING)?;
        if let Some((dir, name)) = found {
            return Ok(Some((*root, rel_path(dir)?.join(&name))));
        }
    }
    Ok(None)
}

fn log(tx: &Connection, recall: &RecallRow, place: Option<&(RootId, RelPath)>) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO recall (at_ns, root_id, path, ino, generation, bytes, latency_ms, pid, uid,
         exe, cgroup, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )
    .and_then(|mut insert| {
        insert.execute((
            recall.at_ns,
            place.map(|(root, _)| root.0),
            place.map(|(_, path)| path.as_bytes()),
            recall.ident.ino as i64,
            recall.ident.generation,
            signed(recall.bytes),
            signed(recall.latency_ms),
            recall.pid,
            recall.uid,
            &recall.exe,
            &recall.cgroup,
            &recall.outcome,
        ))
    })
    .during(RECORDING)?;
    Ok(())
}

/// The file is whole. When it was recalled counts for the policy in any state;
/// the state itself only changes as the charter says.
fn settle(
    tx: &Connection,
    root: RootId,
    recall: &RecallRow,
    ctime_ns: i64,
    mtime_ns: i64,
) -> Result<()> {
    let key = (root.0, recall.ident.ino as i64, recall.ident.generation);
    tx.prepare_cached(
        "UPDATE file SET recalled_ns = ?4 WHERE root_id = ?1 AND ino = ?2 AND generation = ?3
         AND (recalled_ns IS NULL OR recalled_ns < ?4)",
    )
    .and_then(|mut update| update.execute((key.0, key.1, key.2, recall.at_ns)))
    .during(RECORDING)?;
    tx.prepare_cached(
        "UPDATE file SET state = 'uploaded', former_state = NULL, reason = NULL,
         ctime_ns = ?4, mtime_ns = ?5 WHERE root_id = ?1 AND ino = ?2 AND generation = ?3
         AND state IN ('stub', 'damaged', 'stubbing', 'recalling') AND ctime_ns < ?4",
    )
    .and_then(|mut update| update.execute((key.0, key.1, key.2, ctime_ns, mtime_ns)))
    .during(RECORDING)?;
    thaws::forget_waiter(tx, root, recall.ident)?;
    Ok(())
}

fn read(columns: &mut Columns<'_, '_>) -> Result<RecallLogRow> {
    let at_ns = columns.get()?;
    let ident = columns.ident()?;
    let root: Option<i64> = columns.get()?;
    let path: Option<Vec<u8>> = columns.get()?;
    Ok(RecallLogRow {
        at_ns,
        ident,
        root: root.map(RootId),
        path: path.map(rel_path).transpose()?,
        bytes: columns.unsigned()?,
        latency_ms: columns.unsigned()?,
        pid: columns.u32()?,
        uid: columns.u32()?,
        exe: columns.get()?,
        cgroup: columns.get()?,
        outcome: columns.get()?,
    })
}
