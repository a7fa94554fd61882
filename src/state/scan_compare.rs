//! One directory that the DB knows, against what the scan saw in it: a merge of
//! two name-ordered lists, so that an unchanged directory costs one query and
//! no write.
//!
//! Then the managed files whose path is in this directory: each is still what
//! was recorded, or has changed (uploaded becomes dirty, a stub becomes a
//! suspect), or is not at its name any more and therefore *adrift* until the end
//! of the scan tells whether another name has it. Transient and damaged files
//! are left alone.

use super::error::{During, Result};
use super::rows::Columns;
use super::scan_writer::{NameRange, OPERATION, ScanWriter, SeenEntry, entry_facts};
use crate::ids::FileIdent;
use crate::os::FileKind;
use crate::policy::FileState;

/// Positions of the inode number and the birth time in [`entry_facts`].
const INO: usize = 0;
const BTIME: usize = 10;

#[derive(Default)]
struct Differences<'a> {
    added: Vec<SeenEntry<'a>>,
    /// With whether the name has another inode now.
    changed: Vec<(SeenEntry<'a>, bool)>,
    vanished: Vec<Vec<u8>>,
}

/// What the scan concludes about the managed files of one directory.
#[derive(Default)]
struct Judged {
    adrift: Vec<u64>,
    dirty: Vec<u64>,
    suspects: Vec<FileIdent>,
}

impl ScanWriter<'_> {
    pub(super) fn compare(
        &mut self,
        dir: i64,
        entries: &[SeenEntry<'_>],
        range: &NameRange,
    ) -> Result<()> {
        let differences = self.differences(dir, entries, range)?;
        let touched = differences.added.len() + differences.changed.len();
        self.changes.unchanged += (entries.len() - touched) as u64;
        self.add(dir, &differences.added)?;
        for (entry, replaced) in &differences.changed {
            self.refresh(dir, entry, *replaced)?;
        }
        for name in &differences.vanished {
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO temp.vanished VALUES (?1, ?2)")
                .and_then(|mut insert| insert.execute((dir, name)))
                .during(OPERATION)?;
        }
        Ok(())
    }

    fn differences<'a>(
        &self,
        dir: i64,
        entries: &[SeenEntry<'a>],
        range: &NameRange,
    ) -> Result<Differences<'a>> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT name, ino, mode, nlink, uid, gid, size_bytes, allocated_bytes,
                 atime_ns, mtime_ns, ctime_ns, btime_ns
                 FROM entry WHERE dir_id = ?1 AND name > ?2 AND name <= ?3 ORDER BY name",
            )
            .during(OPERATION)?;
        let mut rows = select.query((dir, &range.after, &range.to)).during(OPERATION)?;
        let mut found = Differences::default();
        let mut seen = entries;
        while let Some(row) = rows.next().during(OPERATION)? {
            let mut columns = Columns::new(row, 0, OPERATION);
            let name = columns.bytes()?;
            while let Some((entry, rest)) = seen.split_first().filter(|(e, _)| e.name < name) {
                found.added.push(*entry);
                seen = rest;
            }
            let Some((entry, rest)) = seen.split_first().filter(|(e, _)| e.name == name) else {
                found.vanished.push(name.to_vec());
                continue;
            };
            seen = rest;
            let mut known = [0; 11];
            for value in &mut known {
                *value = columns.get()?;
            }
            let facts = entry_facts(entry.stat);
            if known != facts {
                let replaced = known[INO] != facts[INO] || known[BTIME] != facts[BTIME];
                found.changed.push((*entry, replaced));
            }
        }
        found.added.extend_from_slice(seen);
        Ok(found)
    }

    /// Writes what is at a known name now.
    fn refresh(&mut self, dir: i64, entry: &SeenEntry<'_>, replaced: bool) -> Result<()> {
        if replaced && self.has_gone && entry.stat.kind == FileKind::File {
            self.revive(dir, entry)?;
        }
        let mut update = self
            .conn
            .prepare_cached(
                "UPDATE entry SET ino = ?3, mode = ?4, nlink = ?5, uid = ?6, gid = ?7,
                 size_bytes = ?8, allocated_bytes = ?9, atime_ns = ?10, mtime_ns = ?11,
                 ctime_ns = ?12, btime_ns = ?13, first_scan = coalesce(?14, first_scan)
                 WHERE dir_id = ?1 AND name = ?2",
            )
            .during(OPERATION)?;
        let mut bind = || {
            update.raw_bind_parameter(1, dir)?;
            update.raw_bind_parameter(2, entry.name)?;
            for (at, value) in entry_facts(entry.stat).into_iter().enumerate() {
                update.raw_bind_parameter(3 + at, value)?;
            }
            update.raw_bind_parameter(14, replaced.then_some(self.scan))?;
            update.raw_execute()
        };
        bind().during(OPERATION)?;
        self.changes.changed += 1;
        self.pending_rows += 1;
        Ok(())
    }

    /// Judges the managed files that the DB has in this directory.
    pub(super) fn compare_files(
        &mut self,
        dir: i64,
        entries: &[SeenEntry<'_>],
        range: &NameRange,
    ) -> Result<()> {
        let judged = self.judge(dir, entries, range)?;
        for ino in judged.adrift {
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO temp.adrift VALUES (?1)")
                .and_then(|mut insert| insert.execute([ino as i64]))
                .during(OPERATION)?;
        }
        for ino in judged.dirty {
            self.conn
                .prepare_cached("UPDATE file SET state = 'dirty' WHERE root_id = ?1 AND ino = ?2")
                .and_then(|mut update| update.execute((self.root.0, ino as i64)))
                .during(OPERATION)?;
            self.changes.dirty += 1;
            self.pending_rows += 1;
        }
        self.changes.suspects.extend(judged.suspects);
        Ok(())
    }

    fn judge(&self, dir: i64, entries: &[SeenEntry<'_>], range: &NameRange) -> Result<Judged> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT name, ino, generation, btime_ns, state, size_bytes, mtime_ns, ctime_ns
                 FROM file WHERE dir_id = ?1 AND name > ?2 AND name <= ?3",
            )
            .during(OPERATION)?;
        let mut rows = select.query((dir, &range.after, &range.to)).during(OPERATION)?;
        let mut judged = Judged::default();
        while let Some(row) = rows.next().during(OPERATION)? {
            let mut columns = Columns::new(row, 0, OPERATION);
            let name = columns.bytes()?;
            let ident = columns.ident()?;
            let btime_ns: i64 = columns.get()?;
            let here = entries
                .binary_search_by(|entry| entry.name.cmp(name))
                .ok()
                .map(|at| entries[at].stat)
                .filter(|stat| stat.kind == FileKind::File && stat.ino == ident.ino)
                .filter(|stat| same_birth(stat.btime_ns, btime_ns));
            let Some(stat) = here else {
                judged.adrift.push(ident.ino);
                continue;
            };
            let state = columns.state()?;
            let recorded = (columns.unsigned()?, columns.get()?, columns.get()?);
            if recorded == (stat.size_bytes, stat.mtime_ns, stat.ctime_ns) {
                continue;
            }
            match state {
                FileState::Uploaded => judged.dirty.push(ident.ino),
                FileState::Stub => judged.suspects.push(ident),
                _ => {}
            }
        }
        Ok(judged)
    }

    /// A file that was concluded to be gone and is here after all: renamed into
    /// a directory that the scan before had already passed. It is managed
    /// again, and to be catalogued at its new path.
    pub(super) fn revive(&mut self, dir: i64, entry: &SeenEntry<'_>) -> Result<()> {
        let found = self
            .conn
            .prepare_cached(
                "INSERT OR IGNORE INTO file (root_id, ino, generation, btime_ns, dir_id, name,
                 state, content, size_bytes, mtime_ns, ctime_ns, uploaded_ns, stubbed_ns,
                 recalled_ns, rule)
                 SELECT root_id, ino, generation, btime_ns, ?4, ?5, state, content, size_bytes,
                 mtime_ns, ctime_ns, uploaded_ns, stubbed_ns, recalled_ns, rule
                 FROM gone WHERE root_id = ?1 AND ino = ?2 AND moved = 0
                 AND (btime_ns = ?3 OR btime_ns = 0 OR ?3 = 0) ORDER BY id DESC LIMIT 1",
            )
            .and_then(|mut insert| {
                let ino = entry.stat.ino as i64;
                insert.execute((self.root.0, ino, entry.stat.btime_ns, dir, entry.name))
            })
            .during(OPERATION)?;
        if found > 0 {
            self.has_files = true;
            self.conn
                .prepare_cached("UPDATE gone SET moved = 1 WHERE root_id = ?1 AND ino = ?2")
                .and_then(|mut update| update.execute((self.root.0, entry.stat.ino as i64)))
                .during(OPERATION)?;
        }
        Ok(())
    }
}

/// Whether two birth times can be one file's; 0 is a file system without them.
fn same_birth(a: i64, b: i64) -> bool {
    a == b || a == 0 || b == 0
}
