//! One directory that the DB knows, against what the scan saw in it: a merge of
//! two name-ordered lists, so that an unchanged directory costs one query and
//! no write.

use super::error::{During, Result};
use super::rows::Columns;
use super::scan_rows::entry_facts;
use super::scan_writer::{NameRange, OPERATION, ScanWriter, SeenEntry};
use crate::os::FileKind;

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

impl ScanWriter<'_> {
    /// Brings the rows of a range of names up to date; false where rows are left
    /// of names that were not seen.
    pub(super) fn compare(
        &mut self,
        dir: i64,
        entries: &[SeenEntry<'_>],
        range: &NameRange,
    ) -> Result<bool> {
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
        Ok(differences.vanished.is_empty())
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
}
