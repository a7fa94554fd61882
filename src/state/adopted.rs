//! Stubs that this node did not make of its own files: copies of stubs that were
//! bound to their own inode, and those that a restore makes.

use super::contents;
use super::dirs::DirIds;
use super::error::{During, Result};
use super::events::{Notes, what};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::signed;
use crate::ids::{ContentId, FileIdent};
use crate::manifest::Content;
use crate::os::RelPath;
use rusqlite::{Connection, OptionalExtension};

/// A stub to be managed from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedStub {
    pub ident: FileIdent,
    pub btime_ns: i64,
    pub path: RelPath,
    /// To be adopted it must be known to [`StateDb::content`].
    pub content: ContentId,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

/// One that a restore has made, of a content that need not be known yet.
#[derive(Debug, Clone)]
pub struct RestoredStub {
    pub stub: AdoptedStub,
    pub content: Content,
    /// How it was cut (`chunk::Chunking` as text).
    pub chunking: String,
}

const ADOPTING: &str = "adopting a stub";

impl StateDb {
    /// Adds stubs that a restore has just made, with their contents; no scan has seen
    /// them yet. To be catalogued with the next upload.
    pub fn add_restored_stubs(
        &mut self,
        root: RootId,
        stubs: &[RestoredStub],
        now_ns: i64,
    ) -> Result<()> {
        let actor = self.actor.name.clone();
        self.write("recording restored stubs", |tx| {
            let mut dirs = DirIds::new(root);
            let mut notes = Notes::new(tx, root, &actor, now_ns)?;
            for RestoredStub { stub, content, chunking } in stubs {
                let dir = dirs.of_file(tx, &stub.path)?;
                contents::add(tx, stub.content, content, chunking)?;
                manage(tx, root, dir, stub, &actor, now_ns)?;
                notes.note(stub.ident, what::RESTORED, None)?;
            }
            notes.end()
        })
    }

    /// Adds the stub, to be catalogued with the next upload. False, and nothing
    /// changed, where the last scan did not see this inode at its path. What was
    /// known of the inode before is gone.
    pub fn adopt_stub(&mut self, root: RootId, stub: &AdoptedStub, now_ns: i64) -> Result<bool> {
        let actor = self.actor.name.clone();
        self.write(ADOPTING, |tx| {
            let Some(dir) = dir_of(tx, root, stub)? else { return Ok(false) };
            manage(tx, root, dir, stub, &actor, now_ns)?;
            let mut notes = Notes::new(tx, root, &actor, now_ns)?;
            notes.note(stub.ident, what::ADOPTED, None)?;
            notes.end()?;
            Ok(true)
        })
    }
}

/// From now on the inode is this stub; what was known of it before is gone.
fn manage(
    tx: &Connection,
    root: RootId,
    dir: i64,
    stub: &AdoptedStub,
    actor: &str,
    now_ns: i64,
) -> Result<()> {
    let ino = stub.ident.ino as i64;
    super::gone::bury_one(tx, root, stub.ident.ino, actor, now_ns)?;
    tx.prepare_cached("DELETE FROM file WHERE root_id = ?1 AND ino = ?2")
        .and_then(|mut delete| delete.execute((root.0, ino)))
        .during(ADOPTING)?;
    tx.prepare_cached(
        "INSERT INTO file (root_id, ino, generation, btime_ns, dir_id, name, state,
         content, size_bytes, mtime_ns, ctime_ns, stubbed_ns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'stub', ?7, ?8, ?9, ?10, ?11)",
    )
    .and_then(|mut insert| {
        insert.execute((
            root.0,
            ino,
            stub.ident.generation,
            stub.btime_ns,
            dir,
            stub.path.file_name(),
            stub.content.as_bytes(),
            signed(stub.size_bytes),
            stub.mtime_ns,
            stub.ctime_ns,
            now_ns,
        ))
    })
    .during(ADOPTING)?;
    Ok(())
}

/// The directory in which the last scan saw this very inode by this name.
fn dir_of(tx: &Connection, root: RootId, stub: &AdoptedStub) -> Result<Option<i64>> {
    let parent = stub.path.parent().unwrap_or_else(RelPath::root);
    tx.query_row(
        "SELECT d.id FROM dir d JOIN entry e ON e.dir_id = d.id
         WHERE d.root_id = ?1 AND d.path = ?2 AND e.name = ?3 AND e.ino = ?4",
        (root.0, parent.as_bytes(), stub.path.file_name(), stub.ident.ino as i64),
        |row| row.get(0),
    )
    .optional()
    .during(ADOPTING)
}
