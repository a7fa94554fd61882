//! Files on their way to the store: intent before the first byte is sent.
//!
//! While a file is `uploading` its row keeps the copy it had before, so that a
//! run that dies half-way takes nothing away. A row whose generation is not the
//! file's belongs to an earlier owner of the inode number; it moves to the gone
//! files and the new file starts afresh.

use super::dirs::DirIds;
use super::error::{During, Result};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::{signed, state_from};
use crate::ids::FileIdent;
use crate::os::RelPath;
use crate::policy::FileState;
use rusqlite::{CachedStatement, Connection};

/// A file about to be read and sent, stamped before the first read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadIntent {
    pub ident: FileIdent,
    pub btime_ns: i64,
    pub path: RelPath,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub rule: Option<String>,
}

const BEGINNING: &str = "beginning uploads";

impl StateDb {
    /// Puts the files into `uploading`. Returns those that are stubs or
    /// transient, which stay as they are.
    pub fn begin_uploads(
        &mut self,
        root: RootId,
        intents: &[UploadIntent],
        now_ns: i64,
    ) -> Result<Vec<FileIdent>> {
        let actor = self.actor.name.clone();
        self.write(BEGINNING, |tx| {
            let mut begin = Begin::new(tx, root, &actor)?;
            let mut refused = Vec::new();
            for intent in intents {
                if !begin.first(intent)? && !begin.again(intent, now_ns)? {
                    refused.push(intent.ident);
                }
            }
            Ok(refused)
        })
    }

    /// The files were not sent after all: each is what it was before, and one
    /// that was not managed before is not managed. Files that are not
    /// `uploading` stay as they are.
    pub fn abandon_uploads(&mut self, root: RootId, files: &[FileIdent]) -> Result<()> {
        let operation = "abandoning uploads";
        self.write(operation, |tx| {
            let mut forget = tx
                .prepare_cached(
                    "DELETE FROM file WHERE root_id = ?1 AND ino = ?2 AND generation = ?3
                     AND state = 'uploading' AND former_state IS NULL",
                )
                .during(operation)?;
            let mut revert = tx
                .prepare_cached(
                    "UPDATE file SET state = former_state, former_state = NULL
                     WHERE root_id = ?1 AND ino = ?2 AND generation = ?3 AND state = 'uploading'",
                )
                .during(operation)?;
            for ident in files {
                let key = (root.0, ident.ino as i64, ident.generation);
                forget.execute(key).during(operation)?;
                revert.execute(key).during(operation)?;
            }
            Ok(())
        })
    }
}

/// One batch of intents; statements and the last directory are kept from one
/// file to the next.
struct Begin<'t> {
    tx: &'t Connection,
    root: RootId,
    actor: &'t str,
    insert: CachedStatement<'t>,
    dirs: DirIds,
}

impl<'t> Begin<'t> {
    fn new(tx: &'t Connection, root: RootId, actor: &'t str) -> Result<Self> {
        let insert = tx
            .prepare_cached(
                "INSERT INTO file (root_id, ino, generation, btime_ns, dir_id, name, state,
                 size_bytes, mtime_ns, ctime_ns, rule)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'uploading', ?7, ?8, ?9, ?10)
                 ON CONFLICT (root_id, ino) DO NOTHING",
            )
            .during(BEGINNING)?;
        Ok(Self { tx, root, actor, insert, dirs: DirIds::new(root) })
    }

    /// A file that was not managed; false where its inode number is.
    fn first(&mut self, intent: &UploadIntent) -> Result<bool> {
        let dir = self.dirs.of_file(self.tx, &intent.path)?;
        let inserted = self
            .insert
            .execute((
                self.root.0,
                intent.ident.ino as i64,
                intent.ident.generation,
                intent.btime_ns,
                dir,
                intent.path.file_name(),
                signed(intent.size_bytes),
                intent.mtime_ns,
                intent.ctime_ns,
                &intent.rule,
            ))
            .during(BEGINNING)?;
        Ok(inserted == 1)
    }

    /// A file whose inode number is managed is sent again, or is another file
    /// than the managed one; false where it may not be sent.
    fn again(&mut self, intent: &UploadIntent, now_ns: i64) -> Result<bool> {
        let ino = intent.ident.ino;
        let (generation, state): (u32, String) = self
            .tx
            .prepare_cached("SELECT generation, state FROM file WHERE root_id = ?1 AND ino = ?2")
            .and_then(|mut select| {
                select.query_row((self.root.0, ino as i64), |row| Ok((row.get(0)?, row.get(1)?)))
            })
            .during(BEGINNING)?;
        if generation != intent.ident.generation {
            super::gone::bury_one(self.tx, self.root, ino, self.actor, now_ns)?;
            self.tx
                .execute(
                    "DELETE FROM file WHERE root_id = ?1 AND ino = ?2",
                    (self.root.0, ino as i64),
                )
                .during(BEGINNING)?;
            return self.first(intent);
        }
        match state_from(&state)? {
            FileState::Resident | FileState::Uploaded | FileState::Dirty | FileState::Damaged => {}
            FileState::Stub | FileState::Uploading | FileState::Stubbing | FileState::Recalling => {
                return Ok(false);
            }
        }
        let dir = self.dirs.of_file(self.tx, &intent.path)?;
        self.tx
            .prepare_cached(
                "UPDATE file SET former_state = state, state = 'uploading', dir_id = ?3, name = ?4
                 WHERE root_id = ?1 AND ino = ?2",
            )
            .and_then(|mut update| {
                update.execute((self.root.0, ino as i64, dir, intent.path.file_name()))
            })
            .during(BEGINNING)?;
        Ok(true)
    }
}
