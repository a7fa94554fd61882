//! Reading the names: what the last scan saw, joined with what is managed.
//!
//! Policies are evaluated over one pass in directory order; there is no index
//! beside the primary key, which would cost half of the scan again and save
//! nothing where most rows are looked at anyway.

use super::error::{During, Result};
use super::files::{MANAGED_COLUMNS, ManagedRow};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::{Columns, KIND_MASK, kind_of, rel_path, state_from, subtree};
use crate::os::{FileKind, RelPath};
use crate::policy::FileState;
use rusqlite::Params;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// One name as the last scan saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    pub root: RootId,
    pub path: RelPath,
    pub kind: FileKind,
    pub ino: u64,
    pub size_bytes: u64,
    pub allocated_bytes: u64,
    /// Permission bits, 07777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    /// 0 for a directory, whose own listing moves it.
    pub atime_ns: i64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    /// 0 where the file system has no birth times.
    pub btime_ns: i64,
    /// When the scan began that first saw this inode at this path.
    pub first_seen_ns: i64,
    /// The managed file behind this name, which may have other names.
    pub file: Option<ManagedRow>,
}

/// How many files and bytes of a root are in which state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// (state, files, their size in bytes), in the order of the states' names.
    pub states: Vec<(FileState, u64, u64)>,
    /// Names of regular files that are not managed, and their size in bytes.
    pub unmanaged_files: u64,
    pub unmanaged_bytes: u64,
}

/// The columns of an [`EntryRow`] of `entry e`, managed ones after them.
const ENTRY_COLUMNS: &str = "e.name, e.mode, e.ino, e.size_bytes, e.allocated_bytes, e.uid, e.gid,
     e.nlink, e.atime_ns, e.mtime_ns, e.ctime_ns, e.btime_ns, e.first_scan";

/// 61440 is S_IFMT, 32768 S_IFREG.
const FILE_OF_ENTRY: &str = "LEFT JOIN file f ON f.root_id = ?1 AND f.ino = e.ino
     AND (e.mode & 61440) = 32768
     AND (f.btime_ns = e.btime_ns OR f.btime_ns = 0 OR e.btime_ns = 0)
     LEFT JOIN dir fd ON fd.id = f.dir_id";

const OPERATION: &str = "reading what the scan saw";

/// When each scan began, by its id.
type ScanTimes = HashMap<i64, i64>;

impl StateDb {
    /// Visits `under` and all beneath it, or the whole root without its own
    /// directory: directories by path, names in order within each.
    pub fn for_each_entry(
        &self,
        root: RootId,
        under: Option<&RelPath>,
        visit: &mut dyn FnMut(EntryRow) -> ControlFlow<()>,
    ) -> Result<()> {
        self.walk(root, under, None, visit)
    }

    /// The next `limit` of those, after the path where the page before ended:
    /// a caller that writes between two pages keeps no read transaction open.
    /// Fewer than `limit` is the last page.
    pub fn entries_page(
        &self,
        root: RootId,
        under: Option<&RelPath>,
        after: Option<&RelPath>,
        limit: usize,
    ) -> Result<Vec<EntryRow>> {
        let mut page = Vec::new();
        self.walk(root, under, after, &mut |entry| {
            page.push(entry);
            if page.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(page)
    }

    /// The inode numbers of all directories that the last scan saw beneath the root.
    pub fn directory_inodes(&self, root: RootId) -> Result<HashSet<u64>> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT e.ino FROM dir d CROSS JOIN entry e ON e.dir_id = d.id
                 WHERE d.root_id = ?1 AND (e.mode & 61440) = 16384",
            )
            .during(OPERATION)?;
        let rows = select.query_map([root.0], |row| row.get::<_, i64>(0)).during(OPERATION)?;
        rows.map(|ino| Ok(ino.during(OPERATION)? as u64)).collect()
    }

    fn walk(
        &self,
        root: RootId,
        under: Option<&RelPath>,
        after: Option<&RelPath>,
        visit: &mut dyn FnMut(EntryRow) -> ControlFlow<()>,
    ) -> Result<()> {
        let everything = RelPath::root();
        let under = under.unwrap_or(&everything);
        if after.is_none()
            && let Some(entry) = self.entry_at(root, under)?
            && visit(entry).is_break()
        {
            return Ok(());
        }
        // Where to go on: in this directory, behind this name.
        let resume = after.filter(|after| *after != under);
        let resume = resume.and_then(|after| Some((after.parent()?, after.file_name())));
        let scans = self.scan_times()?;
        let sql = format!(
            "SELECT {ENTRY_COLUMNS}, {MANAGED_COLUMNS} FROM entry e {FILE_OF_ENTRY}
             WHERE e.dir_id = ?2 AND e.name > ?3 ORDER BY e.name"
        );
        let mut entries = self.conn.prepare_cached(&sql).during(OPERATION)?;
        let mut dirs = self
            .conn
            .prepare_cached(
                "SELECT id, path FROM dir WHERE root_id = ?1 AND path >= ?2 AND path < ?3
                 ORDER BY path",
            )
            .during(OPERATION)?;
        for (mut from, to) in subtree(under) {
            if let Some((dir, _)) = &resume {
                from = from.max(dir.as_bytes().to_vec());
            }
            let mut dirs = dirs.query((root.0, from, to)).during(OPERATION)?;
            while let Some(row) = dirs.next().during(OPERATION)? {
                let mut columns = Columns::new(row, 0, OPERATION);
                let id: i64 = columns.get()?;
                let dir = rel_path(columns.get()?)?;
                let behind = match &resume {
                    Some((at, name)) if *at == dir => *name,
                    _ => b"",
                };
                let mut rows = entries.query((root.0, id, behind)).during(OPERATION)?;
                while let Some(row) = rows.next().during(OPERATION)? {
                    let mut columns = Columns::new(row, 0, OPERATION);
                    let entry = read(root, &dir, &scans, &mut columns)?;
                    if visit(entry).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// What the last scan saw at exactly this path; never the root itself.
    pub fn entry_at(&self, root: RootId, path: &RelPath) -> Result<Option<EntryRow>> {
        let Some(parent) = path.parent() else { return Ok(None) };
        let rest = "WHERE d.root_id = ?1 AND d.path = ?2 AND e.name = ?3";
        let params = (root.0, parent.as_bytes(), path.file_name());
        Ok(self.entries(root, rest, params)?.pop())
    }

    /// Every path by which the last scan saw this inode as a regular file. An
    /// inode with one name that is not managed is not found: there is no index
    /// for it.
    pub fn names_of(&self, root: RootId, ino: u64) -> Result<Vec<RelPath>> {
        let linked = "WHERE d.root_id = ?1 AND e.ino = ?2 AND e.nlink > 1
             AND (e.mode & 61440) = 32768";
        let mut entries = self.entries(root, linked, (root.0, ino as i64))?;
        if let Some(path) = self.managed_path(root, ino)? {
            entries.extend(self.entry_at(root, &path)?);
        }
        entries.retain(|entry| entry.ino == ino && entry.kind == FileKind::File);
        let mut names: Vec<RelPath> = entries.into_iter().map(|entry| entry.path).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Symlinks, FIFOs and devices that the catalog does not have as they are
    /// now; sockets are never catalogued. By directory and name; a call reads the
    /// names up to the last one that it returns.
    pub fn uncatalogued_specials(&self, root: RootId, limit: usize) -> Result<Vec<EntryRow>> {
        // Not regular (32768), a directory (16384) or a socket (49152).
        let rest = "LEFT JOIN special s ON s.dir_id = e.dir_id AND s.name = e.name
             WHERE d.root_id = ?1 AND (e.mode & 61440) NOT IN (32768, 16384, 49152)
             AND s.ctime_ns IS NOT e.ctime_ns ORDER BY d.path, e.name LIMIT ?2";
        self.entries(root, rest, (root.0, limit as i64))
    }

    /// Files and bytes by state. Reads every row of the root.
    pub fn counts(&self, root: RootId) -> Result<Counts> {
        let operation = "counting the files";
        let mut counts = Counts::default();
        let mut by_state = self
            .conn
            .prepare_cached(
                "SELECT state, count(*), sum(size_bytes) FROM file WHERE root_id = ?1
                 GROUP BY state ORDER BY state",
            )
            .during(operation)?;
        let mut rows = by_state.query([root.0]).during(operation)?;
        while let Some(row) = rows.next().during(operation)? {
            let mut columns = Columns::new(row, 0, operation);
            let state: String = columns.get()?;
            counts.states.push((state_from(&state)?, columns.unsigned()?, columns.unsigned()?));
        }
        let sql = format!(
            "SELECT count(*), coalesce(sum(e.size_bytes), 0)
             FROM dir d CROSS JOIN entry e ON e.dir_id = d.id {FILE_OF_ENTRY}
             WHERE d.root_id = ?1 AND (e.mode & 61440) = 32768 AND f.ino IS NULL"
        );
        let unmanaged: (i64, i64) = self
            .conn
            .query_row(&sql, [root.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .during(operation)?;
        counts.unmanaged_files = unmanaged.0 as u64;
        counts.unmanaged_bytes = unmanaged.1 as u64;
        Ok(counts)
    }

    /// `rest` chooses by `entry e` and its `dir d`; `?1` is the root.
    fn entries(&self, root: RootId, rest: &str, params: impl Params) -> Result<Vec<EntryRow>> {
        let sql = format!(
            "SELECT d.path, {ENTRY_COLUMNS}, {MANAGED_COLUMNS}, c.started_ns
             FROM entry e JOIN dir d ON d.id = e.dir_id LEFT JOIN scan c ON c.id = e.first_scan
             {FILE_OF_ENTRY} {rest}"
        );
        let mut select = self.conn.prepare_cached(&sql).during(OPERATION)?;
        let mut rows = select.query(params).during(OPERATION)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(OPERATION)? {
            let mut columns = Columns::new(row, 0, OPERATION);
            let dir = rel_path(columns.get()?)?;
            let mut entry = read(root, &dir, &ScanTimes::new(), &mut columns)?;
            entry.first_seen_ns =
                row.get::<_, Option<i64>>("started_ns").during(OPERATION)?.unwrap_or(0);
            found.push(entry);
        }
        Ok(found)
    }

    fn scan_times(&self) -> Result<ScanTimes> {
        let mut select =
            self.conn.prepare_cached("SELECT id, started_ns FROM scan").during(OPERATION)?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        rows.and_then(Iterator::collect).during(OPERATION)
    }
}

fn read(
    root: RootId,
    dir: &RelPath,
    scans: &ScanTimes,
    columns: &mut Columns<'_, '_>,
) -> Result<EntryRow> {
    let path = dir.join(columns.bytes()?);
    let full_mode = columns.u32()?;
    let mut entry = EntryRow {
        root,
        path,
        kind: kind_of(full_mode)?,
        mode: full_mode & !KIND_MASK,
        ino: columns.unsigned()?,
        size_bytes: columns.unsigned()?,
        allocated_bytes: columns.unsigned()?,
        uid: columns.u32()?,
        gid: columns.u32()?,
        nlink: columns.u32()?,
        atime_ns: columns.get()?,
        mtime_ns: columns.get()?,
        ctime_ns: columns.get()?,
        btime_ns: columns.get()?,
        first_seen_ns: scans.get(&columns.get()?).copied().unwrap_or(0),
        file: None,
    };
    if !columns.next_is_null()? {
        entry.file = Some(ManagedRow::read(root, columns)?);
    }
    Ok(entry)
}
