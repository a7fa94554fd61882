//! What a scan says about the managed files.
//!
//! Each managed file whose path is in a directory that was read is still what
//! was recorded, or has changed (uploaded becomes dirty, a stub becomes a
//! suspect), or is not at its name any more and therefore *adrift* until the end
//! of the scan tells whether another name has it. What was recorded may be younger
//! than the last scan, so a directory is judged again after any change of its
//! names or of what is recorded (the digest, which says that nothing changed,
//! goes with either), and until there is nothing left to report. Transient and
//! damaged files are left alone.

use super::error::{During, Result};
use super::events::{Notes, note_where, what};
use super::rows::Columns;
use super::scan_writer::{NameRange, OPERATION, ScanWriter, SeenEntry};
use crate::ids::FileIdent;
use crate::os::FileKind;
use crate::policy::FileState;

/// What the scan concludes about some managed files.
#[derive(Default)]
pub struct Judged {
    adrift: Vec<u64>,
    dirty: Vec<FileIdent>,
    suspects: Vec<FileIdent>,
}

impl Judged {
    fn is_empty(&self) -> bool {
        self.adrift.is_empty() && self.dirty.is_empty() && self.suspects.is_empty()
    }

    /// Its size or times are not what was recorded.
    pub fn changed(&mut self, ident: FileIdent, state: FileState) {
        match state {
            FileState::Uploaded => self.dirty.push(ident),
            FileState::Stub => self.suspects.push(ident),
            _ => {}
        }
    }
}

impl ScanWriter<'_> {
    /// Judges the managed files that the DB has in a range of a directory's
    /// names; true where all of them are what was recorded, or known not to be.
    pub(super) fn compare_files(
        &mut self,
        dir: i64,
        entries: &[SeenEntry<'_>],
        range: &NameRange,
    ) -> Result<bool> {
        let judged = self.judge(dir, entries, range)?;
        let settled = judged.is_empty();
        self.apply(judged)?;
        Ok(settled)
    }

    /// Writes down what was concluded.
    pub(super) fn apply(&mut self, judged: Judged) -> Result<()> {
        for ino in judged.adrift {
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO temp.adrift VALUES (?1)")
                .and_then(|mut insert| insert.execute([ino as i64]))
                .during(OPERATION)?;
        }
        let mut notes = Notes::new(self.conn, self.root, &self.actor, self.started_ns)?;
        for ident in judged.dirty {
            self.conn
                .prepare_cached("UPDATE file SET state = 'dirty' WHERE root_id = ?1 AND ino = ?2")
                .and_then(|mut update| update.execute((self.root.0, ident.ino as i64)))
                .during(OPERATION)?;
            notes.note(ident, what::DIRTY, None)?;
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
            if recorded != (stat.size_bytes, stat.mtime_ns, stat.ctime_ns) {
                judged.changed(ident, state);
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
            let (ino, at_ns) = (Some(entry.stat.ino), self.started_ns);
            let rest = "FROM file f JOIN dir d ON d.id = f.dir_id
                 WHERE f.root_id = ?1 AND f.ino = ?5";
            let found = what::FOUND_AGAIN;
            note_where(self.conn, self.root, &self.actor, at_ns, found, rest, ino)?;
        }
        Ok(())
    }
}

/// Whether two birth times can be one file's; 0 is a file system without them.
fn same_birth(a: i64, b: i64) -> bool {
    a == b || a == 0 || b == 0
}
