//! What was at a path and is there no more: deletions for the catalog to note,
//! and the memory from which a file comes back that was only hiding.
//!
//! A managed file without a name leaves with its copy's id; a moved one leaves
//! a row for its old path (`moved`) and stays managed; of symlinks and
//! directories only those leave a row that the catalog has.

use super::error::{During, Result};
use super::events::{note_where, what};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::{Columns, rel_path};
use crate::ids::{ContentId, FileIdent};
use crate::os::RelPath;
use crate::policy::FileState;
use rusqlite::{Connection, OptionalExtension, Params};

/// A path that lost what it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneRow {
    pub id: i64,
    pub root: RootId,
    pub path: RelPath,
    /// For a symlink, device or directory the generation is 0.
    pub ident: FileIdent,
    /// The last copy; `None` for what has no content of its own.
    pub content: Option<ContentId>,
    pub size_bytes: u64,
    /// Its state when it was last seen.
    pub state: FileState,
    /// The file lives on under another path.
    pub moved: bool,
    pub gone_ns: i64,
}

const OPERATION: &str = "recording what is gone";

impl StateDb {
    /// What is gone and not yet in the catalog, oldest first, at most `limit`.
    pub fn pending_gone(&self, root: RootId, limit: usize) -> Result<Vec<GoneRow>> {
        self.pending_gone_after(root, 0, limit)
    }

    /// The same behind the row `after`.
    pub fn pending_gone_after(
        &self,
        root: RootId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<GoneRow>> {
        let operation = "reading what is gone";
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT id, path, ino, generation, content, size_bytes, state, moved, gone_ns
                 FROM gone WHERE root_id = ?1 AND segment_seq IS NULL AND id > ?3
                 ORDER BY id LIMIT ?2",
            )
            .during(operation)?;
        let mut rows = select.query((root.0, limit as i64, after)).during(operation)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(operation)? {
            let mut columns = Columns::new(row, 0, operation);
            found.push(GoneRow {
                root,
                id: columns.get()?,
                path: rel_path(columns.get()?)?,
                ident: columns.ident()?,
                content: columns.content()?,
                size_bytes: columns.unsigned()?,
                state: columns.state()?,
                moved: columns.get()?,
                gone_ns: columns.get()?,
            });
        }
        Ok(found)
    }

    /// What the last scan saw at a path where something else was: `None` where there
    /// is nothing now, or a socket, which no catalog has; else whether the catalog has
    /// what is there.
    pub fn successor_is_catalogued(&self, root: RootId, path: &RelPath) -> Result<Option<bool>> {
        let operation = "looking for what is at a path now";
        let Some(parent) = path.parent() else { return Ok(Some(true)) };
        self.conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM file f WHERE f.root_id = ?1 AND f.ino = e.ino
                 AND (f.btime_ns = e.btime_ns OR f.btime_ns = 0 OR e.btime_ns = 0)
                 AND f.segment_seq IS NOT NULL)
                 OR EXISTS (SELECT 1 FROM special s WHERE s.dir_id = e.dir_id AND s.name = e.name
                 AND s.ctime_ns = e.ctime_ns)
                 OR EXISTS (SELECT 1 FROM dir c WHERE c.root_id = ?1 AND c.path = ?4
                 AND (e.mode & 61440) = 16384 AND c.catalogued_ctime_ns IS NOT NULL)
                 FROM dir d JOIN entry e ON e.dir_id = d.id
                 WHERE d.root_id = ?1 AND d.path = ?2 AND e.name = ?3
                 AND (e.mode & 61440) <> 49152",
            )
            .and_then(|mut select| {
                let key = (root.0, parent.as_bytes(), path.file_name(), path.as_bytes());
                select.query_row(key, |row| row.get(0)).optional()
            })
            .during(operation)
    }

    /// The catalog needs no word about these: a later record about the path is there.
    pub fn forget_gone(&mut self, ids: &[i64]) -> Result<()> {
        let operation = "forgetting what is gone";
        self.write(operation, |tx| {
            let mut update = tx
                .prepare_cached("UPDATE gone SET segment_seq = 0 WHERE id = ?1")
                .during(operation)?;
            for id in ids {
                update.execute([id]).during(operation)?;
            }
            Ok(())
        })
    }
}

/// Copies managed files to `gone`. `rest` chooses by `file f` with its `dir d`;
/// `?2` is the time.
///
/// `||` of blobs is their bytes as text, and the cast makes a blob of them
/// again, unchanged.
fn bury(conn: &Connection, moved: u8, rest: &str, params: impl Params) -> Result<()> {
    let sql = format!(
        "INSERT INTO gone (root_id, path, kind, moved, ino, generation, btime_ns, state,
         content, size_bytes, mtime_ns, ctime_ns, uploaded_ns, stubbed_ns, recalled_ns, rule,
         gone_ns)
         SELECT f.root_id,
         CAST(iif(length(d.path) = 0, f.name, d.path || x'2f' || f.name) AS BLOB), 'f', {moved},
         f.ino, f.generation, f.btime_ns, coalesce(f.former_state, f.state), f.content,
         f.size_bytes, f.mtime_ns, f.ctime_ns, f.uploaded_ns, f.stubbed_ns, f.recalled_ns,
         f.rule, ?2 {rest}"
    );
    conn.prepare_cached(&sql).and_then(|mut bury| bury.execute(params)).during(OPERATION)?;
    Ok(())
}

/// The old paths of files that a scan found at new ones, where the catalog has
/// the old path.
pub fn bury_moved(conn: &Connection, root: RootId, actor: &str, now_ns: i64) -> Result<()> {
    let moved = "FROM temp.moved m CROSS JOIN file f ON f.root_id = ?1 AND f.ino = m.ino
         JOIN dir d ON d.id = f.dir_id";
    let rest = format!("{moved} WHERE f.segment_seq IS NOT NULL");
    bury(conn, 1, &rest, (root.0, now_ns))?;
    note_where(conn, root, actor, now_ns, what::MOVED, moved, None)
}

/// Files that a complete scan found nowhere, where they have a copy.
pub fn bury_adrift(conn: &Connection, root: RootId, actor: &str, now_ns: i64) -> Result<()> {
    let rest = "FROM temp.adrift a CROSS JOIN file f ON f.root_id = ?1 AND f.ino = a.ino
         JOIN dir d ON d.id = f.dir_id WHERE f.content IS NOT NULL";
    bury(conn, 0, rest, (root.0, now_ns))?;
    note_where(conn, root, actor, now_ns, what::GONE, rest, None)
}

/// The former owner of an inode number, if it has a copy.
pub fn bury_one(conn: &Connection, root: RootId, ino: u64, actor: &str, now_ns: i64) -> Result<()> {
    let rest = |ino: &str| {
        format!(
            "FROM file f JOIN dir d ON d.id = f.dir_id
             WHERE f.root_id = ?1 AND f.ino = {ino} AND f.content IS NOT NULL"
        )
    };
    bury(conn, 0, &rest("?3"), (root.0, now_ns, ino as i64))?;
    note_where(conn, root, actor, now_ns, what::GONE, &rest("?5"), Some(ino))
}

/// Names that vanished of files with several, which may live on under another;
/// the name that the file's own row has is not among them.
pub fn bury_links(conn: &Connection, now_ns: i64) -> Result<()> {
    for lost in [
        "temp.vanished v CROSS JOIN entry e ON e.dir_id = v.dir_id AND e.name = v.name",
        "temp.dead_dir v CROSS JOIN entry e ON e.dir_id = v.id",
    ] {
        let sql = format!(
            "INSERT INTO gone (root_id, path, kind, moved, ino, generation, btime_ns, state,
             content, size_bytes, mtime_ns, ctime_ns, gone_ns)
             SELECT d.root_id,
             CAST(iif(length(d.path) = 0, e.name, d.path || x'2f' || e.name) AS BLOB), 'f', 1,
             f.ino, f.generation, f.btime_ns, coalesce(f.former_state, f.state), f.content,
             f.size_bytes, f.mtime_ns, f.ctime_ns, ?1
             FROM {lost} CROSS JOIN dir d ON d.id = e.dir_id
             CROSS JOIN file f ON f.root_id = d.root_id AND f.ino = e.ino
             WHERE e.nlink > 1 AND (e.mode & 61440) = 32768 AND (f.dir_id, f.name) <> (e.dir_id, e.name) AND f.content IS NOT NULL"
        );
        conn.execute(&sql, [now_ns]).during(OPERATION)?;
    }
    Ok(())
}

/// Catalogued symlinks and the like among the names that vanished. The rows in
/// `special` go with their names or directories.
pub fn bury_specials(conn: &Connection, now_ns: i64) -> Result<()> {
    let vanished =
        "temp.vanished v CROSS JOIN special s ON s.dir_id = v.dir_id AND s.name = v.name";
    let dead = "temp.dead_dir v CROSS JOIN special s ON s.dir_id = v.id";
    for lost in [vanished, dead] {
        let sql = format!(
            "INSERT INTO gone (root_id, path, kind, ino, generation, btime_ns, state,
             size_bytes, mtime_ns, ctime_ns, gone_ns)
             SELECT d.root_id,
             CAST(iif(length(d.path) = 0, e.name, d.path || x'2f' || e.name) AS BLOB), 's',
             e.ino, 0, e.btime_ns, 'resident', e.size_bytes, e.mtime_ns, e.ctime_ns, ?1
             FROM {lost} CROSS JOIN entry e ON e.dir_id = s.dir_id AND e.name = s.name
             JOIN dir d ON d.id = s.dir_id"
        );
        conn.execute(&sql, [now_ns]).during(OPERATION)?;
    }
    Ok(())
}

/// Catalogued directories that the scan did not come to.
pub fn bury_dirs(conn: &Connection, now_ns: i64) -> Result<()> {
    conn.execute(
        "INSERT INTO gone (root_id, path, kind, ino, generation, btime_ns, state, size_bytes,
         mtime_ns, ctime_ns, gone_ns)
         SELECT root_id, path, 'd', 0, 0, 0, 'resident', 0, mtime_ns, ctime_ns, ?1 FROM dir
         WHERE id IN (SELECT id FROM temp.dead_dir) AND catalogued_ctime_ns IS NOT NULL",
        [now_ns],
    )
    .during(OPERATION)?;
    Ok(())
}
