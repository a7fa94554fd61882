//! The end of a scan: what was not seen is removed, what moved is found again,
//! what has no name left is gone.
//!
//! Only a complete scan removes anything. A managed file that is not at its
//! name is looked for among *all* names of the root by inode and birth time
//! before it is called gone, whatever an earlier scan that broke off has already
//! written; and a scan of a part of the root never calls a managed file gone,
//! because it may have moved out of that part. What remains is a rename during
//! the scan from a directory not yet read into one already read: such a file is
//! concluded to be gone, its copy stays for the grace period, and the next scan
//! finds and revives it.

use super::error::{During, Result};
use super::gone;
use super::rows::{Columns, subtree};
use super::scan_judge::Judged;
use super::scan_writer::{OPERATION, ScanWriter};
use rusqlite::Params;

impl ScanWriter<'_> {
    pub(super) fn conclude(&mut self, complete: bool, now_ns: i64) -> Result<()> {
        if complete {
            self.collect_dead_dirs()?;
            self.remove_names(now_ns)?;
        }
        if self.has_files {
            self.follow_moves(now_ns)?;
        }
        if complete && self.has_files && self.under.as_bytes().is_empty() {
            self.bury(now_ns)?;
        }
        if complete {
            self.run(
                "DELETE FROM dir WHERE id IN (SELECT id FROM temp.dead_dir)
                 AND NOT EXISTS (SELECT 1 FROM file WHERE file.dir_id = dir.id)",
                [],
            )?;
        }
        Ok(())
    }

    fn run(&self, sql: &str, params: impl Params) -> Result<u64> {
        self.conn.execute(sql, params).map(|rows| rows as u64).during(OPERATION)
    }

    /// The directories of the scanned part that the scan did not come to.
    fn collect_dead_dirs(&mut self) -> Result<()> {
        let mut dead = Vec::new();
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT id, path FROM dir WHERE root_id = ?1 AND path >= ?2 AND path < ?3",
            )
            .during(OPERATION)?;
        for (from, to) in subtree(&self.under) {
            let mut rows = select.query((self.root.0, from, to)).during(OPERATION)?;
            while let Some(row) = rows.next().during(OPERATION)? {
                let mut columns = Columns::new(row, 0, OPERATION);
                let id = columns.get()?;
                if !self.visited.contains(id) && !self.is_kept(columns.bytes()?) {
                    dead.push(id);
                }
            }
        }
        let mut insert =
            self.conn.prepare_cached("INSERT INTO temp.dead_dir VALUES (?1)").during(OPERATION)?;
        for id in dead {
            insert.execute([id]).during(OPERATION)?;
        }
        Ok(())
    }

    fn is_kept(&self, path: &[u8]) -> bool {
        self.kept.iter().any(|kept| {
            path.strip_prefix(kept.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
    }

    /// Removes the names that were not seen, after noting what of them the
    /// catalog has (symlinks and the like, directories) and which managed files
    /// lose their place.
    fn remove_names(&mut self, now_ns: i64) -> Result<()> {
        gone::bury_specials(self.conn, now_ns)?;
        if self.has_files {
            gone::bury_links(self.conn, now_ns)?;
        }
        gone::bury_dirs(self.conn, now_ns)?;
        self.run(
            "INSERT OR IGNORE INTO temp.adrift
             SELECT ino FROM file WHERE dir_id IN (SELECT id FROM temp.dead_dir)",
            [],
        )?;
        let mut removed =
            self.run("DELETE FROM entry WHERE dir_id IN (SELECT id FROM temp.dead_dir)", [])?;
        removed += self.remove_vanished()?;
        self.changes.removed += removed;
        self.entries_delta -= removed as i64;
        Ok(())
    }

    /// One by one: a row value in a subquery would search a directory's rows by
    /// the directory only.
    fn remove_vanished(&self) -> Result<u64> {
        let prepare = |sql| self.conn.prepare_cached(sql).during(OPERATION);
        let mut select = prepare("SELECT dir_id, name FROM temp.vanished")?;
        let mut entry = prepare("DELETE FROM entry WHERE dir_id = ?1 AND name = ?2")?;
        let mut special = prepare("DELETE FROM special WHERE dir_id = ?1 AND name = ?2")?;
        let mut rows = select.query([]).during(OPERATION)?;
        let mut removed = 0;
        while let Some(row) = rows.next().during(OPERATION)? {
            let mut columns = Columns::new(row, 0, OPERATION);
            let key = (columns.get::<i64>()?, columns.bytes()?);
            removed += entry.execute(key).during(OPERATION)? as u64;
            special.execute(key).during(OPERATION)?;
        }
        Ok(removed)
    }

    /// Gives every file that is adrift the place where its inode is now.
    fn follow_moves(&mut self, now_ns: i64) -> Result<()> {
        let any: bool = self
            .conn
            .query_row("SELECT EXISTS (SELECT 1 FROM temp.adrift)", [], |row| row.get(0))
            .during(OPERATION)?;
        if !any {
            return Ok(());
        }
        let found = self.run(
            "INSERT OR IGNORE INTO temp.moved
             SELECT e.ino, e.dir_id, e.name
             FROM entry e CROSS JOIN temp.adrift a ON a.ino = e.ino
             CROSS JOIN file f ON f.root_id = ?1 AND f.ino = e.ino
             CROSS JOIN dir d ON d.id = e.dir_id AND d.root_id = ?1
             WHERE (e.mode & 61440) = 32768
             AND (e.btime_ns = f.btime_ns OR e.btime_ns = 0 OR f.btime_ns = 0)
             AND NOT EXISTS (SELECT 1 FROM temp.vanished v
             WHERE v.dir_id = e.dir_id AND v.name = e.name)",
            [self.root.0],
        )?;
        self.changes.moved += found;
        gone::bury_moved(self.conn, self.root, &self.actor, now_ns)?;
        self.run(
            "UPDATE file SET segment_seq = NULL, (dir_id, name) =
             (SELECT m.dir_id, m.name FROM temp.moved m WHERE m.ino = file.ino)
             WHERE root_id = ?1 AND ino IN (SELECT ino FROM temp.moved)",
            [self.root.0],
        )?;
        self.run("DELETE FROM temp.adrift WHERE ino IN (SELECT ino FROM temp.moved)", [])?;
        self.judge_moved()
    }

    /// A rename changes the ctime on most file systems, so most of these are
    /// dirty or suspect.
    fn judge_moved(&mut self) -> Result<()> {
        let mut select = self
            .conn
            .prepare(
                "SELECT f.ino, f.generation, f.state
                 FROM temp.moved m CROSS JOIN file f ON f.root_id = ?1 AND f.ino = m.ino
                 CROSS JOIN entry e ON e.dir_id = m.dir_id AND e.name = m.name
                 WHERE f.state IN ('uploaded', 'stub') AND (f.size_bytes <> e.size_bytes
                 OR f.mtime_ns <> e.mtime_ns OR f.ctime_ns <> e.ctime_ns)",
            )
            .during(OPERATION)?;
        let mut rows = select.query([self.root.0]).during(OPERATION)?;
        let mut judged = Judged::default();
        while let Some(row) = rows.next().during(OPERATION)? {
            let mut columns = Columns::new(row, 0, OPERATION);
            let ident = columns.ident()?;
            judged.changed(ident, columns.state()?);
        }
        self.apply(judged)
    }

    /// What is still adrift has no name: it leaves the managed files. Those that
    /// have a copy are remembered with it.
    fn bury(&mut self, now_ns: i64) -> Result<()> {
        gone::bury_adrift(self.conn, self.root, &self.actor, now_ns)?;
        self.changes.gone += self.run(
            "DELETE FROM file WHERE root_id = ?1 AND ino IN (SELECT ino FROM temp.adrift)",
            [self.root.0],
        )?;
        Ok(())
    }
}
