//! Takes what a scan saw, directory by directory, and writes only differences.
//!
//! One transaction is open at a time, committed every [`ROWS_PER_COMMIT`] rows
//! and, so that a recall on another root need not wait for the end of the scan,
//! every [`HELD_AT_MOST`];
//! dropping the writer rolls back what was not committed. Nothing is concluded
//! to be deleted on the way: names that were not seen are kept aside in a
//! temporary table until [`ScanWriter::finish`] hears that the scan was
//! complete. So a scan that is killed, stopped or wounded can only have added
//! and refreshed rows, and the next one starts from there.

use super::bitmap::IdSet;
use super::digest;
use super::error::{During, Error, Result};
use super::events;
use super::open::StateDb;
use super::roots::RootId;
use super::rows::signed;
use super::scan_rows::Placed;
use crate::clock::Stopwatch;
use crate::fault;
use crate::ids::FileIdent;
use crate::os::{RelPath, Stat};
use rusqlite::Connection;
use std::collections::HashMap;
use std::time::Duration;

/// How many row changes share a transaction.
const ROWS_PER_COMMIT: u64 = 200_000;

/// How long the DB accepts no other writer; well below the time that one waits.
const HELD_AT_MOST: Duration = Duration::from_secs(5);

/// Then others have their turn: SQLite's waiters look every 100 ms at least
/// (sqliteDefaultBusyCallback).
const TURN_OF_OTHERS: Duration = Duration::from_millis(120);

/// `NAME_MAX` of limits.h.
const NAME_MAX_BYTES: usize = 255;

/// The names after `after` up to and with `to`.
pub(super) struct NameRange {
    pub after: Vec<u8>,
    pub to: Vec<u8>,
}

pub(super) const OPERATION: &str = "recording a scan";

/// One name that a scan saw.
#[derive(Debug, Clone, Copy)]
pub struct SeenEntry<'a> {
    pub name: &'a [u8],
    pub stat: &'a Stat,
}

/// Which part of a directory's names is at hand: all of them, or a range of a
/// large directory's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// No name of the directory sorts before these.
    pub first: bool,
    /// No name of the directory sorts after these.
    pub last: bool,
}

impl Part {
    pub const WHOLE: Self = Self { first: true, last: true };
}

/// A directory of which parts have come and more are to come.
#[derive(Debug)]
struct Unfinished {
    placed: Placed,
    last_name: Vec<u8>,
}

/// What a scan changed in the DB. Names, unless said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanChanges {
    pub added: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// Names no longer there; 0 unless the scan was complete.
    pub removed: u64,
    /// Managed files that are at another path now.
    pub moved: u64,
    /// Managed files that went from uploaded to dirty.
    pub dirty: u64,
    /// Managed files without any name left, which are in the table of gone files.
    pub gone: u64,
    /// Stubs whose size, mtime or ctime is not what we left behind: to be
    /// looked at by whoever knows markers.
    pub suspects: Vec<FileIdent>,
}

/// Records one scan of a root, or of what is under one path of it.
#[derive(Debug)]
pub struct ScanWriter<'db> {
    pub(super) conn: &'db Connection,
    pub(super) root: RootId,
    pub(super) under: RelPath,
    pub(super) scan: i64,
    pub(super) started_ns: i64,
    pub(super) actor: String,
    /// Whether anything is managed here: else no inode needs looking up.
    pub(super) has_files: bool,
    pub(super) has_gone: bool,
    pub(super) visited: IdSet,
    pub(super) kept: Vec<RelPath>,
    pub(super) changes: ScanChanges,
    pub(super) entries_delta: i64,
    pub(super) pending_rows: u64,
    unfinished: HashMap<RelPath, Unfinished>,
    scratch: Vec<u8>,
    open: bool,
    held: Stopwatch,
    pub(super) held_at_most: Duration,
}

impl StateDb {
    /// Begins recording a scan of the root, or of `under` it. One at a time; the
    /// DB accepts other writers every few seconds.
    pub fn begin_scan(
        &mut self,
        root: RootId,
        under: Option<&RelPath>,
        now_ns: i64,
    ) -> Result<ScanWriter<'_>> {
        let conn = &self.conn;
        begin(conn)?;
        let mut writer = ScanWriter {
            conn,
            root,
            under: under.cloned().unwrap_or_else(RelPath::root),
            scan: 0,
            started_ns: now_ns,
            actor: self.actor.name.clone(),
            has_files: false,
            has_gone: false,
            visited: IdSet::default(),
            kept: Vec::new(),
            changes: ScanChanges::default(),
            entries_delta: 0,
            pending_rows: 0,
            unfinished: HashMap::new(),
            scratch: Vec::new(),
            open: true,
            held: Stopwatch::start(),
            held_at_most: HELD_AT_MOST,
        };
        conn.execute_batch(ASIDE).during(OPERATION)?;
        conn.execute(
            "INSERT INTO scan (root_id, under, started_ns) VALUES (?1, ?2, ?3)",
            (root.0, under.map(RelPath::as_bytes), now_ns),
        )
        .during(OPERATION)?;
        writer.scan = conn.last_insert_rowid();
        let any = |table| {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE root_id = ?1)");
            conn.query_row(&sql, [root.0], |row| row.get(0)).during(OPERATION)
        };
        writer.has_files = any("file")?;
        writer.has_gone = any("gone")?;
        Ok(writer)
    }
}

/// Values of `scan.complete`. A scan that broke off has its first.
const BROKEN: u8 = 0;
const COMPLETE: u8 = 1;
const PART: u8 = 2;

/// What a scan keeps aside until it is known to be complete.
const ASIDE: &str = "
CREATE TEMP TABLE IF NOT EXISTS vanished (
    dir_id INTEGER NOT NULL, name BLOB NOT NULL, PRIMARY KEY (dir_id, name)
) WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS adrift (ino INTEGER PRIMARY KEY);
CREATE TEMP TABLE IF NOT EXISTS dead_dir (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE IF NOT EXISTS moved (
    ino INTEGER PRIMARY KEY, dir_id INTEGER NOT NULL, name BLOB NOT NULL
);
DELETE FROM temp.vanished;
DELETE FROM temp.adrift;
DELETE FROM temp.dead_dir;
DELETE FROM temp.moved;
";

fn begin(conn: &Connection) -> Result<()> {
    conn.execute_batch("BEGIN IMMEDIATE").during(OPERATION)
}

impl ScanWriter<'_> {
    /// Records one directory with what is in it. `entries` are in byte order of
    /// their names, each name once. The parts of a directory come in order.
    pub fn directory(
        &mut self,
        path: &RelPath,
        stat: &Stat,
        entries: &[SeenEntry<'_>],
        part: Part,
    ) -> Result<()> {
        if !entries.is_sorted_by(|a, b| a.name < b.name) {
            let mut sorted = entries.to_vec();
            sorted.sort_unstable_by_key(|entry| entry.name);
            sorted.dedup_by_key(|entry| entry.name);
            return self.directory(path, stat, &sorted, part);
        }
        let digest = (part == Part::WHOLE).then(|| digest::of(entries, &mut self.scratch));
        let before = if part.first { None } else { self.unfinished.remove(path) };
        let (placed, after) = match before {
            Some(before) => (before.placed, before.last_name),
            None => (self.place_dir(path, stat, digest)?, Vec::new()),
        };
        let range = match (entries.last(), part.last) {
            (_, true) => NameRange { after, to: vec![0xff; NAME_MAX_BYTES + 1] },
            (Some(last), false) => NameRange { after, to: last.name.to_vec() },
            (None, false) => NameRange { to: after.clone(), after },
        };
        let Placed { dir, is_new, .. } = placed;
        let unchanged = digest.is_some() && digest == placed.digest && !is_new;
        if unchanged {
            self.changes.unchanged += entries.len() as u64;
        } else {
            let exact = if is_new {
                self.add(dir, entries)?;
                true
            } else {
                self.compare(dir, entries, &range)?
            };
            let settled = !self.has_files || self.compare_files(dir, entries, &range)?;
            self.set_digest(&placed, digest.filter(|_| exact && settled))?;
        }
        if part.last {
            self.visited.insert(dir);
        } else {
            self.unfinished.insert(path.clone(), Unfinished { placed, last_name: range.to });
        }
        let others_wait = self.held.elapsed() >= self.held_at_most;
        if self.pending_rows >= ROWS_PER_COMMIT || others_wait {
            self.commit()?;
            if others_wait {
                std::thread::sleep(TURN_OF_OTHERS);
                self.held = Stopwatch::start();
            }
            begin(self.conn)?;
            self.open = true;
        }
        Ok(())
    }

    /// What the DB knows at and beneath `path` stays as it is: the scan did not
    /// look there on purpose (a mount point, a directory of our own).
    pub fn keep(&mut self, path: &RelPath) -> Result<()> {
        if let Some(parent) = path.parent() {
            self.conn
                .prepare_cached(
                    "DELETE FROM temp.vanished WHERE name = ?3 AND dir_id =
                     (SELECT id FROM dir WHERE root_id = ?1 AND path = ?2)",
                )
                .and_then(|mut keep| {
                    keep.execute((self.root.0, parent.as_bytes(), path.file_name()))
                })
                .during(OPERATION)?;
        }
        self.kept.push(path.clone());
        Ok(())
    }

    /// Ends the scan. With `complete` (no directory or entry of the scanned part
    /// could not be read, and the scan was not stopped) names that were not seen
    /// are removed, and of a whole root also the managed files that have no name
    /// left. Without it nothing is removed.
    pub fn finish(self, complete: bool, now_ns: i64) -> Result<ScanChanges> {
        self.end(complete, if complete { COMPLETE } else { BROKEN }, now_ns)
    }

    /// Ends a scan that saw all that it was to see, and was to see only a part:
    /// nothing is removed, and it leaves no doubt about the root.
    pub fn finish_part(self, now_ns: i64) -> Result<ScanChanges> {
        self.end(false, PART, now_ns)
    }

    fn end(mut self, complete: bool, verdict: u8, now_ns: i64) -> Result<ScanChanges> {
        self.conclude(complete, now_ns)?;
        let whole = self.under.as_bytes().is_empty();
        self.conn
            .execute(
                "UPDATE scan SET finished_ns = ?2, complete = ?3, added = ?4, changed = ?5,
                 removed = ?6 WHERE id = ?1",
                (
                    self.scan,
                    now_ns,
                    verdict,
                    signed(self.changes.added),
                    signed(self.changes.changed),
                    signed(self.changes.removed),
                ),
            )
            .during(OPERATION)?;
        if complete && whole {
            self.conn
                .execute(
                    "UPDATE root SET last_complete_scan_ns = ?2 WHERE id = ?1",
                    (self.root.0, self.started_ns),
                )
                .during(OPERATION)?;
        }
        self.commit()?;
        Ok(std::mem::take(&mut self.changes))
    }

    fn commit(&mut self) -> Result<()> {
        events::trim(self.conn)?;
        self.conn
            .execute(
                "UPDATE root SET entries = entries + ?2 WHERE id = ?1",
                (self.root.0, self.entries_delta),
            )
            .during(OPERATION)?;
        fault::effect("state.commit")
            .map_err(|source| Error::Commit { operation: OPERATION, source })?;
        self.conn.execute_batch("COMMIT").during(OPERATION)?;
        self.open = false;
        self.entries_delta = 0;
        self.pending_rows = 0;
        Ok(())
    }
}

impl Drop for ScanWriter<'_> {
    fn drop(&mut self) {
        if self.open {
            // Fails only where SQLite has rolled back already.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }
}
