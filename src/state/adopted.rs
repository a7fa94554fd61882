//! Stubs that this node did not make itself: copies of stubs that were bound to
//! their own inode, of a content that is known here.

use super::error::{During, Result};
use super::events::{Notes, what};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::signed;
use crate::ids::{ContentId, FileIdent};
use crate::os::RelPath;
use rusqlite::{Connection, OptionalExtension};

/// A stub to be managed from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedStub {
    pub ident: FileIdent,
    pub btime_ns: i64,
    pub path: RelPath,
    /// Known to [`StateDb::content`].
    pub content: ContentId,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

const ADOPTING: &str = "adopting a stub";

impl StateDb {
    /// Adds the stub, to be catalogued with the next upload. False, and nothing
    /// changed, where the last scan did not see this inode at its path. What was
    /// known of the inode before is gone.
    pub fn adopt_stub(&mut self, root: RootId, stub: &AdoptedStub, now_ns: i64) -> Result<bool> {
        let actor = self.actor.name.clone();
        self.write(ADOPTING, |tx| {
            let Some(dir) = dir_of(tx, root, stub)? else { return Ok(false) };
            let ino = stub.ident.ino as i64;
            super::gone::bury_one(tx, root, stub.ident.ino, &actor, now_ns)?;
            tx.execute("DELETE FROM file WHERE root_id = ?1 AND ino = ?2", (root.0, ino))
                .during(ADOPTING)?;
            tx.execute(
                "INSERT INTO file (root_id, ino, generation, btime_ns, dir_id, name, state,
                 content, size_bytes, mtime_ns, ctime_ns, stubbed_ns)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'stub', ?7, ?8, ?9, ?10, ?11)",
                (
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
                ),
            )
            .during(ADOPTING)?;
            let mut notes = Notes::new(tx, root, &actor, now_ns)?;
            notes.note(stub.ident, what::ADOPTED, None)?;
            notes.end()?;
            Ok(true)
        })
    }
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
