//! Filling a new DB with what store and disk say, in place of one that was lost.
//!
//! The caller (`rebuild`) has scanned the roots into it and has looked at each file.
//! Nothing here is an intent: every row says what was found.

use super::collections::OPEN_SESSION;
use super::contents;
use super::dirs::DirIds;
use super::error::{During, Result};
use super::events;
use super::open::StateDb;
use super::packs::{self, PackStatus};
use super::recalls;
use super::roots::RootId;
use super::rows::signed;
use super::runs::RunRow;
use super::segments::{CATALOGUED_DIR, CATALOGUED_SPECIAL, each};
use crate::chunk::ChunkSlot;
use crate::ids::{ContentId, FileIdent, NodeId, PackId};
use crate::manifest::{Content, PackProof};
use crate::os::RelPath;
use crate::policy::FileState;
use rusqlite::Connection;

/// A pack as a log describes it, and as the store was asked for it.
#[derive(Debug, Clone)]
pub struct RebuiltPack {
    pub id: PackId,
    /// Where only another node's log names it.
    pub node: Option<NodeId>,
    pub kind: String,
    pub class: Option<String>,
    pub size_bytes: u64,
    /// As its writer recorded it; without one the pack is not proven.
    pub proof: Option<PackProof>,
    pub status: PackStatus,
    /// `None` if the store was not seen to have it.
    pub seen_ns: Option<i64>,
    /// The segment of this node's log that names it.
    pub segment_seq: Option<u64>,
    pub slots: Vec<ChunkSlot>,
}

/// A managed file as it was found.
#[derive(Debug, Clone)]
pub struct RebuiltFile {
    pub ident: FileIdent,
    pub btime_ns: i64,
    pub path: RelPath,
    pub state: FileState,
    /// Of a transient one.
    pub former_state: Option<FileState>,
    pub content: Content,
    pub chunking: String,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub uploaded_ns: Option<i64>,
    pub stubbed_ns: Option<i64>,
    pub recalled_ns: Option<i64>,
    pub rule: Option<String>,
    /// `None` where the log has to be told of it.
    pub segment_seq: Option<u64>,
}

/// What the log has at a path and the disk has not.
#[derive(Debug, Clone)]
pub struct RebuiltGone {
    pub path: RelPath,
    pub is_dir: bool,
    pub ident: FileIdent,
    pub content: Option<ContentId>,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    /// The file is managed under another name.
    pub moved: bool,
}

const REBUILDING: &str = "rebuilding";

impl StateDb {
    /// This node's log ends with this segment, and the run `open_session` has not
    /// ended. Whatever wrote the log counts as this server.
    pub fn continue_log(
        &mut self,
        head: Option<(u64, [u8; 32])>,
        open_session: Option<&str>,
        now_ns: i64,
    ) -> Result<()> {
        self.write(REBUILDING, |tx| {
            if let Some((seq, hash)) = head {
                tx.execute(
                    "INSERT INTO segment (seq, hash, committed_ns) VALUES (?1, ?2, ?3)",
                    (signed(seq), hash, now_ns),
                )
                .during(REBUILDING)?;
            }
            // A DB without any session would take every run for its own.
            let session = open_session.unwrap_or("rebuilt");
            tx.execute("INSERT INTO session (name, begun_ns) VALUES (?1, ?2)", (session, now_ns))
                .during(REBUILDING)?;
            if let Some(open) = open_session {
                tx.execute(
                    "INSERT INTO setting (key, value) VALUES (?1, ?2)",
                    (OPEN_SESSION, open),
                )
                .during(REBUILDING)?;
            }
            Ok(())
        })
    }

    /// Enters packs that are not known yet.
    pub fn enter_packs(&mut self, found: &[RebuiltPack], now_ns: i64) -> Result<()> {
        self.write(REBUILDING, |tx| {
            for pack in found {
                let is_durable = pack.status == PackStatus::Durable;
                let proof = pack.proof.filter(|_| is_durable);
                let added = tx
                    .prepare_cached(
                        "INSERT INTO pack (pack_id, kind, class, size_bytes, status, proof,
                         proven_ns, seen_ns, segment_seq, made_ns, node_id)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                         ON CONFLICT (pack_id) DO NOTHING",
                    )
                    .and_then(|mut insert| {
                        insert.execute((
                            pack.id.as_bytes(),
                            &pack.kind,
                            &pack.class,
                            signed(pack.size_bytes),
                            pack.status.as_str(),
                            proof.map(|proof| proof.method.as_str()),
                            proof.map(|proof| proof.at_ns),
                            pack.seen_ns,
                            pack.segment_seq.map(signed),
                            now_ns,
                            pack.node.map(|node| node.0),
                        ))
                    })
                    .during(REBUILDING)?;
                if added == 1 {
                    packs::add_slots(tx, tx.last_insert_rowid(), &pack.slots)?;
                }
            }
            Ok(())
        })
    }

    /// Enters managed files. Of several names of one inode the first one counts; if
    /// the log has to be told of any, all are told.
    pub fn enter_files(&mut self, root: RootId, files: &[RebuiltFile]) -> Result<()> {
        self.write(REBUILDING, |tx| {
            let mut dirs = DirIds::new(root);
            for file in files {
                let dir = dirs.of_file(tx, &file.path)?;
                contents::add(tx, file.content.id(), &file.content, &file.chunking)?;
                enter_file(tx, root, dir, file)?;
            }
            Ok(())
        })
    }

    /// Enters what the log has to be told is gone.
    pub fn enter_gone(&mut self, root: RootId, gone: &[RebuiltGone], now_ns: i64) -> Result<()> {
        self.write(REBUILDING, |tx| {
            let mut insert = tx
                .prepare_cached(
                    "INSERT INTO gone (root_id, path, kind, moved, ino, generation, btime_ns,
                     state, content, size_bytes, mtime_ns, ctime_ns, gone_ns)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, ?9, ?10, ?11, ?12)",
                )
                .during(REBUILDING)?;
            for row in gone {
                let (kind, state) = match (row.content, row.is_dir) {
                    (Some(_), _) => ("f", FileState::Uploaded),
                    (None, true) => ("d", FileState::Resident),
                    (None, false) => ("s", FileState::Resident),
                };
                insert
                    .execute((
                        root.0,
                        row.path.as_bytes(),
                        kind,
                        row.moved,
                        row.ident.ino as i64,
                        row.ident.generation,
                        state.as_str(),
                        row.content.map(|content| content.0),
                        signed(row.size_bytes),
                        row.mtime_ns,
                        row.ctime_ns,
                        now_ns,
                    ))
                    .during(REBUILDING)?;
            }
            Ok(())
        })
    }

    /// The log has these directories and special files as the scan saw them.
    pub fn enter_catalogued(
        &mut self,
        root: RootId,
        dirs: &[RelPath],
        specials: &[RelPath],
    ) -> Result<()> {
        self.write(REBUILDING, |tx| {
            each(tx, CATALOGUED_DIR, dirs, |path| (root.0, path.as_bytes()))?;
            each(tx, CATALOGUED_SPECIAL, specials, |path| {
                let parent = path.parent().unwrap_or_else(RelPath::root);
                (root.0, parent.as_bytes().to_vec(), path.file_name())
            })
        })
    }

    /// Takes what no store and no stub has from the DB before: pins, the log of
    /// recalls, what happened to each file, the journal of runs. Roots are matched by
    /// their paths.
    pub fn take_over(&mut self, old: &StateDb, now_ns: i64) -> Result<()> {
        let (before, now) = (old.roots()?, self.roots()?);
        let mut moved = vec![];
        for was in &before {
            let Some(is) = now.iter().find(|row| row.path == was.path) else { continue };
            moved.push((was.id, is.id));
            for (path, pin) in old.pins(was.id)? {
                self.set_pin(is.id, &path, pin, now_ns)?;
            }
        }
        let root_now = |was: Option<RootId>| {
            moved.iter().find(|(before, _)| Some(*before) == was).map(|(_, is)| *is)
        };
        for run in old.recent_runs(usize::MAX >> 1)?.iter().rev() {
            self.record_run(&RunRow { root: root_now(run.root), ..run.clone() })?;
        }
        let log = old.recent_recalls(usize::MAX >> 1)?;
        self.write(REBUILDING, |tx| {
            for entry in log.iter().rev() {
                recalls::enter(tx, entry, root_now(entry.root))?;
            }
            for (was, is) in &moved {
                events::enter(tx, *is, &old.events_of(*was, &|_| true)?)?;
            }
            Ok(())
        })
    }

    /// Everything is in the DB's one file, durable, when this returns: it may be
    /// renamed.
    pub fn settle_into_one_file(self) -> Result<()> {
        self.conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .during("writing it back into one file")?;
        self.conn.close().map_err(|(_, error)| error).during("closing it")
    }
}

fn enter_file(tx: &Connection, root: RootId, dir: i64, file: &RebuiltFile) -> Result<()> {
    let (ino, generation) = (file.ident.ino as i64, file.ident.generation);
    let added = tx
        .prepare_cached(
            "INSERT INTO file (root_id, ino, generation, btime_ns, dir_id, name, state,
             former_state, content, size_bytes, mtime_ns, ctime_ns, uploaded_ns, stubbed_ns,
             recalled_ns, rule, segment_seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
             ON CONFLICT (root_id, ino) DO NOTHING",
        )
        .and_then(|mut insert| {
            insert.execute(rusqlite::params![
                root.0,
                ino,
                generation,
                file.btime_ns,
                dir,
                file.path.file_name(),
                file.state.as_str(),
                file.former_state.map(FileState::as_str),
                file.content.id().as_bytes(),
                signed(file.size_bytes),
                file.mtime_ns,
                file.ctime_ns,
                file.uploaded_ns,
                file.stubbed_ns,
                file.recalled_ns,
                file.rule,
                file.segment_seq.map(signed),
            ])
        })
        .during(REBUILDING)?;
    if added == 0 && file.segment_seq.is_none() {
        tx.prepare_cached("UPDATE file SET segment_seq = NULL WHERE root_id = ?1 AND ino = ?2")
            .and_then(|mut update| update.execute((root.0, ino)))
            .during(REBUILDING)?;
    }
    Ok(())
}
