//! The rows that a scan writes: a directory's own, and those of new names.
//!
//! New names are inserted several rows at a time (the fixed cost of an insert is
//! most of it) and in order, so that the tree grows at its end. An insert that
//! fails rolls the whole transaction back; if it had to be undone alone, SQLite
//! would journal every page of it beforehand.

use super::digest::Digest;
use super::error::{During, Result};
use super::rows::{full_mode, signed};
use super::scan_writer::{OPERATION, ScanWriter, SeenEntry};
use crate::os::{FileKind, RelPath, Stat};
use rusqlite::{OptionalExtension, Params, Row, Statement};
use std::sync::OnceLock;

/// Rows of the widest insert; SQLite allows 32,766 parameters.
const WIDEST_INSERT: usize = 64;

/// A directory's row.
#[derive(Debug, Clone, Copy)]
pub struct Placed {
    pub dir: i64,
    /// The DB did not have it.
    pub is_new: bool,
    /// What it said before this scan.
    pub digest: Option<Digest>,
}

impl ScanWriter<'_> {
    /// Finds or makes the directory's row and brings its own facts up to date.
    /// A new row gets the digest.
    pub(super) fn place_dir(
        &mut self,
        path: &RelPath,
        stat: &Stat,
        digest: Option<Digest>,
    ) -> Result<Placed> {
        let mode = full_mode(stat.kind, stat.mode);
        let facts = [mode.into(), stat.uid.into(), stat.gid.into(), stat.mtime_ns, stat.ctime_ns];
        if let Some((placed, known)) = self.find_dir(path)? {
            if known != facts {
                let [mode, uid, gid, mtime_ns, ctime_ns] = facts;
                self.change(
                    "UPDATE dir SET mode = ?2, uid = ?3, gid = ?4, mtime_ns = ?5, ctime_ns = ?6
                     WHERE id = ?1",
                    (placed.dir, mode, uid, gid, mtime_ns, ctime_ns),
                )?;
            }
            return Ok(placed);
        }
        let [mode, uid, gid, mtime_ns, ctime_ns] = facts;
        self.change(
            "INSERT INTO dir (root_id, path, mode, uid, gid, mtime_ns, ctime_ns, digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (self.root.0, path.as_bytes(), mode, uid, gid, mtime_ns, ctime_ns, digest),
        )?;
        Ok(Placed { dir: self.conn.last_insert_rowid(), is_new: true, digest })
    }

    /// The directory's row and its mode, uid, gid, mtime and ctime in it.
    fn find_dir(&self, path: &RelPath) -> Result<Option<(Placed, [i64; 5])>> {
        let read = |row: &Row<'_>| {
            let placed = Placed { dir: row.get(0)?, is_new: false, digest: row.get(1)? };
            let facts = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
            Ok((placed, facts))
        };
        self.conn
            .prepare_cached(
                "SELECT id, digest, mode, uid, gid, mtime_ns, ctime_ns FROM dir
                 WHERE root_id = ?1 AND path = ?2",
            )
            .and_then(|mut find| find.query_row((self.root.0, path.as_bytes()), read).optional())
            .during(OPERATION)
    }

    pub(super) fn set_digest(&mut self, placed: &Placed, digest: Option<Digest>) -> Result<()> {
        if placed.digest == digest {
            return Ok(());
        }
        self.change("UPDATE dir SET digest = ?2 WHERE id = ?1", (placed.dir, digest))
    }

    fn change(&mut self, sql: &str, params: impl Params) -> Result<()> {
        self.pending_rows += 1;
        self.conn
            .prepare_cached(sql)
            .and_then(|mut change| change.execute(params))
            .during(OPERATION)?;
        Ok(())
    }

    /// Adds names that the DB does not have.
    pub(super) fn add(&mut self, dir: i64, entries: &[SeenEntry<'_>]) -> Result<()> {
        if self.has_gone {
            for entry in entries.iter().filter(|entry| entry.stat.kind == FileKind::File) {
                self.revive(dir, entry)?;
            }
        }
        let mut rest = entries;
        let mut width = WIDEST_INSERT;
        while !rest.is_empty() {
            while width > rest.len() {
                width /= 2;
            }
            let (now, later) = rest.split_at(width);
            self.insert_rows(dir, now)?;
            rest = later;
        }
        let count = entries.len() as u64;
        self.changes.added += count;
        self.entries_delta += count as i64;
        self.pending_rows += count;
        Ok(())
    }

    /// Inserts as many rows as `entries` has with one statement.
    fn insert_rows(&self, dir: i64, entries: &[SeenEntry<'_>]) -> Result<()> {
        let sql = insert_sql(entries.len());
        let mut insert = self.conn.prepare_cached(sql).during(OPERATION)?;
        for (row, entry) in entries.iter().enumerate() {
            bind_row(&mut insert, row * ENTRY_COLUMNS, dir, entry, self.scan).during(OPERATION)?;
        }
        insert.raw_execute().during(OPERATION)?;
        Ok(())
    }
}

/// Columns of `entry`, in the order [`bind_row`] binds them.
const ENTRY_COLUMNS: usize = 14;

fn bind_row(
    insert: &mut Statement<'_>,
    first: usize,
    dir: i64,
    entry: &SeenEntry<'_>,
    scan: i64,
) -> rusqlite::Result<()> {
    let stat = entry.stat;
    insert.raw_bind_parameter(first + 1, dir)?;
    insert.raw_bind_parameter(first + 2, entry.name)?;
    for (at, value) in entry_facts(stat).into_iter().enumerate() {
        insert.raw_bind_parameter(first + 3 + at, value)?;
    }
    insert.raw_bind_parameter(first + ENTRY_COLUMNS, scan)
}

/// What the DB keeps of a name besides itself, in the order of the columns. Of
/// a directory not the atime: listing it moves it, and a scan must not find its
/// own traces.
pub fn entry_facts(stat: &Stat) -> [i64; 11] {
    let atime_ns = if stat.kind == FileKind::Dir { 0 } else { stat.atime_ns };
    [
        signed(stat.ino),
        full_mode(stat.kind, stat.mode).into(),
        stat.nlink.into(),
        stat.uid.into(),
        stat.gid.into(),
        signed(stat.size_bytes),
        signed(stat.allocated_bytes),
        atime_ns,
        stat.mtime_ns,
        stat.ctime_ns,
        stat.btime_ns,
    ]
}

/// The insert of `rows` rows; one text for each power of two, made once.
fn insert_sql(rows: usize) -> &'static str {
    static TEXTS: [OnceLock<String>; 7] = [const { OnceLock::new() }; 7];
    debug_assert!(rows.is_power_of_two() && rows <= WIDEST_INSERT);
    TEXTS[rows.ilog2() as usize].get_or_init(|| {
        let one = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
        format!(
            "INSERT OR ROLLBACK INTO entry (dir_id, name, ino, mode, nlink, uid, gid, size_bytes,
             allocated_bytes, atime_ns, mtime_ns, ctime_ns, btime_ns, first_scan) VALUES {}",
            vec![one; rows].join(",")
        )
    })
}
