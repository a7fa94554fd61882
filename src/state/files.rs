//! Reading the managed files: inodes of which a copy exists or is being made.

use super::error::{During, Error, Result};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::{Columns, rel_path, subtree};
use crate::ids::{ContentId, FileIdent};
use crate::os::RelPath;
use crate::policy::FileState;
use rusqlite::Params;
use std::ops::ControlFlow;

/// One managed inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedRow {
    pub root: RootId,
    pub ident: FileIdent,
    /// 0 where the file system has no birth times.
    pub btime_ns: i64,
    /// One of its names, as of the last scan or upload.
    pub path: RelPath,
    pub state: FileState,
    /// The state before a transient one; `None` in `Uploading` means that the
    /// file was not managed before.
    pub former_state: Option<FileState>,
    /// The latest copy. While `Uploading` still the one before.
    pub content: Option<ContentId>,
    /// Size and times as uploaded, or as we left them with our last write of
    /// metadata.
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub uploaded_ns: Option<i64>,
    pub stubbed_ns: Option<i64>,
    pub recalled_ns: Option<i64>,
    pub rule: Option<String>,
    /// Why it is damaged or otherwise as it is.
    pub reason: Option<String>,
    /// The catalog segment that has its present path and content.
    pub segment_seq: Option<u64>,
}

/// The columns of a [`ManagedRow`]: of `file f` and, for its path, `dir fd`.
pub const MANAGED_COLUMNS: &str = "f.ino, f.generation, f.btime_ns, fd.path, f.name, f.state,
     f.former_state, f.content, f.size_bytes, f.mtime_ns, f.ctime_ns, f.uploaded_ns,
     f.stubbed_ns, f.recalled_ns, f.rule, f.reason, f.segment_seq";

impl ManagedRow {
    pub(super) fn read(root: RootId, columns: &mut Columns<'_, '_>) -> Result<Self> {
        Ok(Self {
            root,
            ident: columns.ident()?,
            btime_ns: columns.get()?,
            path: {
                let dir = rel_path(columns.get()?)?;
                dir.join(columns.bytes()?)
            },
            state: columns.state()?,
            former_state: {
                let text: Option<String> = columns.get()?;
                text.map(|text| super::rows::state_from(&text)).transpose()?
            },
            content: columns.content()?,
            size_bytes: columns.unsigned()?,
            mtime_ns: columns.get()?,
            ctime_ns: columns.get()?,
            uploaded_ns: columns.get()?,
            stubbed_ns: columns.get()?,
            recalled_ns: columns.get()?,
            rule: columns.get()?,
            reason: columns.get()?,
            segment_seq: columns.get::<Option<i64>>()?.map(|seq| seq as u64),
        })
    }
}

const OPERATION: &str = "reading managed files";

impl StateDb {
    /// The managed file with exactly this inode and generation.
    pub fn managed_by_ident(&self, root: RootId, ident: FileIdent) -> Result<Option<ManagedRow>> {
        let rest = "f JOIN dir fd ON fd.id = f.dir_id
             WHERE f.root_id = ?1 AND f.ino = ?2 AND f.generation = ?3";
        let params = (root.0, ident.ino as i64, ident.generation);
        Ok(self.managed(root, rest, params)?.pop())
    }

    /// The managed file whose inode the last scan saw at this path, by any of
    /// its names; before the next scan also by the path of its upload.
    pub fn managed_at(&self, root: RootId, path: &RelPath) -> Result<Option<ManagedRow>> {
        if let Some(entry) = self.entry_at(root, path)? {
            return Ok(entry.file);
        }
        let Some(parent) = path.parent() else { return Ok(None) };
        let rest = "f JOIN dir fd ON fd.id = f.dir_id
             WHERE fd.root_id = ?1 AND fd.path = ?2 AND f.name = ?3";
        let params = (root.0, parent.as_bytes(), path.file_name());
        Ok(self.managed(root, rest, params)?.pop())
    }

    /// Visits the managed files at `under` and beneath it in one of `states`
    /// (none given: in any), by directory and name.
    pub fn for_each_managed(
        &self,
        root: RootId,
        under: Option<&RelPath>,
        states: &[FileState],
        visit: &mut dyn FnMut(ManagedRow) -> ControlFlow<()>,
    ) -> Result<()> {
        let everything = RelPath::root();
        let under = under.unwrap_or(&everything);
        let mut wanted = |file: ManagedRow| {
            let wanted = states.is_empty() || states.contains(&file.state);
            if wanted { visit(file) } else { ControlFlow::Continue(()) }
        };
        if let Some(parent) = under.parent() {
            let rest = "f JOIN dir fd ON fd.id = f.dir_id
                 WHERE fd.root_id = ?1 AND fd.path = ?2 AND f.name = ?3";
            let params = (root.0, parent.as_bytes(), under.file_name());
            for file in self.managed(root, rest, params)? {
                if wanted(file).is_break() {
                    return Ok(());
                }
            }
        }
        let sql = format!(
            "SELECT {MANAGED_COLUMNS} FROM dir fd CROSS JOIN file f ON f.dir_id = fd.id
             WHERE fd.root_id = ?1 AND fd.path >= ?2 AND fd.path < ?3 ORDER BY fd.path, f.name"
        );
        let mut select = self.conn.prepare_cached(&sql).during(OPERATION)?;
        for (from, to) in subtree(under) {
            let mut rows = select.query((root.0, from, to)).during(OPERATION)?;
            while let Some(row) = rows.next().during(OPERATION)? {
                let file = ManagedRow::read(root, &mut Columns::new(row, 0, OPERATION))?;
                if wanted(file).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Files that a run left half-way: intent was recorded, the end was not.
    pub fn transient(&self, root: RootId) -> Result<Vec<ManagedRow>> {
        let rest = "f INDEXED BY file_transient JOIN dir fd ON fd.id = f.dir_id
             WHERE f.root_id = ?1 AND f.state IN ('uploading', 'stubbing', 'recalling')";
        self.managed(root, rest, [root.0])
    }

    /// Uploaded files and stubs whose present path or attributes no catalog
    /// segment has, such as stubs that were renamed.
    pub fn uncatalogued_files(&self, root: RootId, limit: usize) -> Result<Vec<ManagedRow>> {
        let rest = "f INDEXED BY file_uncatalogued JOIN dir fd ON fd.id = f.dir_id
             WHERE f.root_id = ?1 AND f.segment_seq IS NULL AND f.state IN ('uploaded', 'stub')
             LIMIT ?2";
        self.managed(root, rest, (root.0, limit as i64))
    }

    /// Whether the catalog has any file of this root.
    pub fn has_catalogued_files(&self, root: RootId) -> Result<bool> {
        self.conn
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM file WHERE root_id = ?1 AND segment_seq IS NOT NULL)",
                [root.0],
                |row| row.get(0),
            )
            .during(OPERATION)
    }

    /// The path of the managed file with this inode number.
    pub(super) fn managed_path(&self, root: RootId, ino: u64) -> Result<Option<RelPath>> {
        let rest = "f JOIN dir fd ON fd.id = f.dir_id WHERE f.root_id = ?1 AND f.ino = ?2";
        Ok(self.managed(root, rest, (root.0, ino as i64))?.pop().map(|row| row.path))
    }

    fn managed(&self, root: RootId, rest: &str, params: impl Params) -> Result<Vec<ManagedRow>> {
        let sql = format!("SELECT {MANAGED_COLUMNS} FROM file {rest}");
        let mut select = self.conn.prepare_cached(&sql).during(OPERATION)?;
        let mut rows = select.query(params).during(OPERATION)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(OPERATION)? {
            found.push(ManagedRow::read(root, &mut Columns::new(row, 0, OPERATION))?);
        }
        Ok(found)
    }
}

/// `found` is the word in the DB, or that there is no such file.
pub(super) fn wrong_state(
    operation: &'static str,
    ident: FileIdent,
    expected: FileState,
    found: Option<String>,
) -> Error {
    let found = found.unwrap_or_else(|| "not managed".to_owned());
    Error::WrongState { operation, ident, expected, found }
}
