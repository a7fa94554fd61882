//! This node's log: what each catalog segment brought, and what it has yet to.
//!
//! A segment is in the store before [`StateDb::commit_segment`] says so, and one
//! commit makes all of it true here: contents, `uploaded` files, the packs'
//! and deletions' place in the log, the log's head. A run that dies between the
//! two finds the segment in the store under the number that the DB holds to be
//! the next one.

use super::contents;
use super::error::{During, Error, Result};
use super::events::{Notes, what};
use super::files::wrong_state;
use super::open::StateDb;
use super::roots::RootId;
use super::rows::{rel_path, signed};
use crate::ids::{FileIdent, PackId};
use crate::manifest::Content;
use crate::os::RelPath;
use crate::policy::FileState;
use rusqlite::{Connection, OptionalExtension};
use std::sync::Arc;

/// Where the log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// The first segment of a log is number 1.
    pub next_seq: u64,
    /// SHA-256 of the segment object before it; `None` before the first.
    pub prev: Option<[u8; 32]>,
}

/// A file whose chunks are durable and whose record is in the segment.
#[derive(Debug, Clone)]
pub struct Uploaded {
    pub ident: FileIdent,
    pub content: Arc<Content>,
    /// How it was cut (`chunk::Chunking` as text).
    pub chunking: String,
    pub rule: Option<String>,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

/// What one durable segment holds.
#[derive(Debug, Clone, Default)]
pub struct SegmentCommit<'a> {
    /// The segment's number: [`LogHead::next_seq`].
    pub seq: u64,
    /// SHA-256 of the segment object.
    pub hash: [u8; 32],
    pub packs: &'a [PackId],
    /// From `uploading` to `uploaded`.
    pub files: &'a [Uploaded],
    /// Files that keep their state and content and got a new record.
    pub recatalogued: &'a [FileIdent],
    /// Directories as the last scan saw them.
    pub dirs: &'a [RelPath],
    /// Symlinks, FIFOs and devices as the last scan saw them.
    pub specials: &'a [RelPath],
    /// Ids of [`super::GoneRow`]s.
    pub gone: &'a [i64],
}

const COMMITTING: &str = "recording a catalog segment";

impl StateDb {
    pub fn log_head(&self) -> Result<LogHead> {
        head(&self.conn)
    }

    /// Records a segment that is durable in the store, in one transaction.
    ///
    /// [`Error::WrongSegment`] unless it is the next one; [`Error::WrongState`]
    /// and no change at all if a file is not `uploading`.
    pub fn commit_segment(
        &mut self,
        root: RootId,
        segment: &SegmentCommit<'_>,
        now_ns: i64,
    ) -> Result<()> {
        let actor = self.actor.name.clone();
        self.write(COMMITTING, |tx| {
            append(tx, segment.seq, segment.hash, now_ns)?;
            let mut notes = Notes::new(tx, root, &actor, now_ns)?;
            for file in segment.files {
                upload(tx, root, segment.seq, file, now_ns)?;
                notes.note(file.ident, what::UPLOADED, file.rule.as_deref())?;
            }
            notes.end()?;
            name_packs(tx, segment.seq, segment.packs)?;
            let seq = signed(segment.seq);
            each(tx, RECATALOGUED, segment.recatalogued, |ident| {
                (seq, root.0, ident.ino as i64, ident.generation)
            })?;
            each(tx, "UPDATE gone SET segment_seq = ?1 WHERE id = ?2", segment.gone, |id| {
                (seq, *id)
            })?;
            each(tx, CATALOGUED_DIR, segment.dirs, |path| (root.0, path.as_bytes()))?;
            each(tx, CATALOGUED_SPECIAL, segment.specials, |path| {
                let parent = path.parent().unwrap_or_else(RelPath::root);
                (root.0, parent.as_bytes().to_vec(), path.file_name())
            })
        })
    }

    /// Records a durable segment that makes nothing else true here.
    pub fn note_segment(&mut self, seq: u64, hash: [u8; 32], now_ns: i64) -> Result<()> {
        self.note_packs(seq, hash, &[], now_ns)
    }

    /// The same for a segment that names packs.
    pub fn note_packs(
        &mut self,
        seq: u64,
        hash: [u8; 32],
        packs: &[PackId],
        now_ns: i64,
    ) -> Result<()> {
        self.write(COMMITTING, |tx| {
            append(tx, seq, hash, now_ns)?;
            name_packs(tx, seq, packs)
        })
    }

    /// Of these directories, those that the catalog does not have as the last
    /// scan saw them.
    pub fn uncatalogued_dirs(&self, root: RootId, dirs: &[RelPath]) -> Result<Vec<RelPath>> {
        let operation = "looking up directories";
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT catalogued_ctime_ns IS ctime_ns FROM dir WHERE root_id = ?1 AND path = ?2",
            )
            .during(operation)?;
        let mut missing = Vec::new();
        for dir in dirs {
            let known: Option<bool> = select
                .query_row((root.0, dir.as_bytes()), |row| row.get(0))
                .optional()
                .during(operation)?;
            if known != Some(true) {
                missing.push(dir.clone());
            }
        }
        Ok(missing)
    }

    /// Directories that no file brings along and that the catalog does not have as
    /// the last scan saw them: empty ones, and those that it has as they were before.
    pub fn uncatalogued_lone_dirs(&self, root: RootId, limit: usize) -> Result<Vec<RelPath>> {
        let operation = "looking for changed directories";
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT d.path FROM dir d WHERE d.root_id = ?1
                 AND d.catalogued_ctime_ns IS NOT d.ctime_ns
                 AND (d.catalogued_ctime_ns IS NOT NULL
                      OR NOT EXISTS (SELECT 1 FROM entry e WHERE e.dir_id = d.id))
                 ORDER BY d.path LIMIT ?2",
            )
            .during(operation)?;
        let mut rows = select.query((root.0, limit as i64)).during(operation)?;
        let mut dirs = Vec::new();
        while let Some(row) = rows.next().during(operation)? {
            dirs.push(rel_path(row.get(0).during(operation)?)?);
        }
        Ok(dirs)
    }
}

const RECATALOGUED: &str = "UPDATE file SET segment_seq = ?1
     WHERE root_id = ?2 AND ino = ?3 AND generation = ?4";

pub(super) const CATALOGUED_DIR: &str = "UPDATE dir SET catalogued_ctime_ns = ctime_ns
     WHERE root_id = ?1 AND path = ?2";

pub(super) const CATALOGUED_SPECIAL: &str =
    "INSERT OR REPLACE INTO special (dir_id, name, ctime_ns)
     SELECT e.dir_id, e.name, e.ctime_ns FROM dir d JOIN entry e ON e.dir_id = d.id
     WHERE d.root_id = ?1 AND d.path = ?2 AND e.name = ?3";

/// The log goes on with this segment.
fn append(tx: &Connection, seq: u64, hash: [u8; 32], now_ns: i64) -> Result<()> {
    let next = head(tx)?.next_seq;
    if seq != next {
        return Err(Error::WrongSegment { given: seq, next });
    }
    tx.execute(
        "INSERT INTO segment (seq, hash, committed_ns) VALUES (?1, ?2, ?3)",
        (signed(seq), hash, now_ns),
    )
    .during(COMMITTING)?;
    Ok(())
}

fn name_packs(tx: &Connection, seq: u64, packs: &[PackId]) -> Result<()> {
    each(tx, "UPDATE pack SET segment_seq = ?1 WHERE pack_id = ?2", packs, |id| {
        (signed(seq), id.as_bytes())
    })
}

pub(super) fn each<'i, T, P: rusqlite::Params>(
    tx: &Connection,
    sql: &str,
    items: &'i [T],
    params: impl Fn(&'i T) -> P,
) -> Result<()> {
    let mut statement = tx.prepare_cached(sql).during(COMMITTING)?;
    for item in items {
        statement.execute(params(item)).during(COMMITTING)?;
    }
    Ok(())
}

fn upload(tx: &Connection, root: RootId, seq: u64, file: &Uploaded, now_ns: i64) -> Result<()> {
    let content = file.content.id();
    contents::add(tx, content, &file.content, &file.chunking)?;
    let changed = tx
        .prepare_cached(
            "UPDATE file SET state = 'uploaded', former_state = NULL, reason = NULL,
             content = ?4, size_bytes = ?5, mtime_ns = ?6, ctime_ns = ?7, uploaded_ns = ?8,
             rule = ?9, segment_seq = ?10
             WHERE root_id = ?1 AND ino = ?2 AND generation = ?3 AND state = 'uploading'",
        )
        .and_then(|mut update| {
            update.execute((
                root.0,
                file.ident.ino as i64,
                file.ident.generation,
                content.as_bytes(),
                signed(file.size_bytes),
                file.mtime_ns,
                file.ctime_ns,
                now_ns,
                &file.rule,
                signed(seq),
            ))
        })
        .during(COMMITTING)?;
    if changed == 0 {
        return Err(wrong_state(COMMITTING, file.ident, FileState::Uploading, None));
    }
    Ok(())
}

fn head(conn: &Connection) -> Result<LogHead> {
    let operation = "reading the head of the log";
    let last: Option<(i64, Vec<u8>)> = conn
        .query_row("SELECT seq, hash FROM segment ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()
        .during(operation)?;
    let Some((seq, hash)) = last else { return Ok(LogHead { next_seq: 1, prev: None }) };
    let prev = hash.try_into().map_err(|hash| Error::bad_value("segment hash", hash))?;
    Ok(LogHead { next_seq: seq as u64 + 1, prev: Some(prev) })
}
