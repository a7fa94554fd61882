//! Versions of paths, and trees at a point of a log.
//!
//! A version holds from the segment `from_seq` until before `to_seq`, so the tree
//! at a segment S is every version with `from_seq <= S` that had not ended then.

use super::error::{During, Error, Result};
use super::nodes::RootRef;
use super::open::CatalogDb;
use crate::ids::ContentId;
use crate::manifest::{Content, FileRecord, Name};
use rusqlite::{Params, Row};
use std::ops::ControlFlow;

/// Of one node's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    Now,
    /// After this segment.
    Seq(u64),
}

/// What was at a path for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The segment that brought it: its number in `hsm history`.
    pub from_seq: u64,
    /// When that was written.
    pub from_ns: i64,
    /// The segment that ended it; `None` while it is current.
    pub to_seq: Option<u64>,
    pub to_ns: Option<i64>,
    /// It ended by a deletion.
    pub gone: bool,
    /// Its content may be deleted already.
    pub expired: bool,
    pub record: FileRecord,
}

pub(super) const COLUMNS: &str =
    "p.path, v.from_seq, v.from_ns, v.to_seq, v.to_ns, v.gone, v.expired,
     v.kind, v.mode, v.uid, v.gid, v.mtime_ns, v.ctime_ns, v.ino, v.generation, v.nlink,
     v.size_bytes, v.xattrs, v.target, v.link, v.rdev, c.content_id, c.pieces, v.chunking";

const READING: &str = "reading versions";

impl CatalogDb {
    /// Every version of one path, oldest first.
    pub fn history(&self, root: &RootRef, path: &[u8]) -> Result<Vec<Version>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM place p JOIN version v ON v.place = p.id
             LEFT JOIN content c ON c.id = v.content
             WHERE p.root = ?1 AND p.path = ?2 ORDER BY v.from_seq"
        );
        let mut found = vec![];
        let keep = &mut |version| {
            found.push(version);
            ControlFlow::Continue(())
        };
        let _ = self.visit(&sql, (root.id, path), root, keep)?;
        Ok(found)
    }

    /// Visits what was at and beneath `under` (empty: the whole root) at a point,
    /// each directory before what is in it.
    pub fn tree(
        &self,
        root: &RootRef,
        point: Point,
        under: &[u8],
        visit: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<()> {
        let held = match point {
            Point::Now => "v.to_seq IS NULL",
            Point::Seq(_) => "v.from_seq <= ?4 AND (v.to_seq IS NULL OR v.to_seq > ?4)",
        };
        let seq = match point {
            Point::Now => i64::MAX,
            Point::Seq(seq) => seq as i64,
        };
        self.ranges(root, under, &format!("{held} AND ?4 IS NOT NULL"), seq, visit)
    }

    /// Visits the last version of every path at and beneath `under` that is gone.
    pub fn deleted(
        &self,
        root: &RootRef,
        under: &[u8],
        visit: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<()> {
        let held = "v.gone = 1 AND ?4 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM version l
             WHERE l.place = v.place AND l.from_seq > v.from_seq)";
        self.ranges(root, under, held, 0, visit)
    }

    /// Visits all versions that have ended and are not expired, path by path,
    /// oldest first.
    pub fn superseded(
        &self,
        root: &RootRef,
        visit: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<()> {
        let held = "v.to_seq IS NOT NULL AND v.expired = 0 AND ?4 IS NOT NULL";
        self.ranges(root, b"", held, 0, visit)
    }

    /// Visits versions for which `held` holds; it may ask for the number `?4`.
    pub(super) fn ranges(
        &self,
        root: &RootRef,
        under: &[u8],
        held: &str,
        seq: i64,
        visit: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<()> {
        let sql = format!(
            "SELECT {COLUMNS} FROM place p CROSS JOIN version v ON v.place = p.id
             LEFT JOIN content c ON c.id = v.content
             WHERE p.root = ?1 AND p.path >= ?2 AND p.path < ?3 AND {held}
             ORDER BY p.path, v.from_seq"
        );
        for (from, to) in subtree(under) {
            if self.visit(&sql, (root.id, from, to, seq), root, visit)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn visit(
        &self,
        sql: &str,
        params: impl Params,
        root: &RootRef,
        visit: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut select = self.conn.prepare_cached(sql).during(READING)?;
        let mut rows = select.query(params).during(READING)?;
        let name = Name::from_bytes(&root.path);
        while let Some(row) = rows.next().during(READING)? {
            let raw = Raw::read(row).during(READING)?;
            if visit(raw.version(&name)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Paths at and beneath `under` as ranges `[from, to)`: '0' is the byte after '/',
/// and no path holds a NUL. One range from `a` to `a0` would also take in `a-b`.
pub(super) fn subtree(under: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    if under.is_empty() {
        return vec![(vec![], vec![0xff; 4097])];
    }
    let edge = |byte: u8| [under, &[byte]].concat();
    vec![(under.to_vec(), edge(0)), (edge(b'/'), edge(b'0'))]
}

/// The columns as SQLite has them.
pub(super) struct Raw {
    path: Vec<u8>,
    content: Option<Vec<u8>>,
    pieces: Option<Vec<u8>>,
    xattrs: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    kind: String,
    version: Version,
}

impl Raw {
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let unsigned = |index| row.get::<_, i64>(index).map(|value| value as u64);
        let maybe =
            |index| row.get::<_, Option<i64>>(index).map(|value| value.map(|value| value as u64));
        let record = FileRecord {
            root: Name::default(),
            path: Name::default(),
            kind: ' ',
            mode: row.get(8)?,
            uid: row.get(9)?,
            gid: row.get(10)?,
            mtime_ns: row.get(11)?,
            ctime_ns: row.get(12)?,
            ino: unsigned(13)?,
            generation: row.get(14)?,
            nlink: row.get(15)?,
            size_bytes: unsigned(16)?,
            xattrs: vec![],
            target: None,
            link: maybe(19)?,
            rdev: maybe(20)?,
            content: None,
            pieces: vec![],
            chunking: row.get(23)?,
        };
        let version = Version {
            from_seq: unsigned(1)?,
            from_ns: row.get(2)?,
            to_seq: maybe(3)?,
            to_ns: row.get(4)?,
            gone: row.get(5)?,
            expired: row.get(6)?,
            record,
        };
        Ok(Self {
            path: row.get(0)?,
            kind: row.get(7)?,
            xattrs: row.get(17)?,
            target: row.get(18)?,
            content: row.get(21)?,
            pieces: row.get(22)?,
            version,
        })
    }

    pub fn version(self, root: &Name) -> Result<Version> {
        let Self { path, content, pieces, xattrs, target, kind, mut version } = self;
        let record = &mut version.record;
        record.root = root.clone();
        record.path = Name::from_bytes(&path);
        record.kind = kind.chars().next().ok_or_else(|| Error::bad_value("file type", &kind))?;
        record.target = target.map(|target| Name::from_bytes(&target));
        record.xattrs = xattrs.map_or(Ok(vec![]), |bytes| decode_xattrs(&bytes))?;
        if let (Some(id), Some(pieces)) = (content, pieces) {
            let id = ContentId::from_slice(&id).ok_or_else(|| Error::bad_value("content", &id))?;
            record.content = Some(id);
            record.pieces = Content::decode(&pieces)?.pieces;
        }
        Ok(version)
    }
}

/// Names and values one after the other, each after its length (4 bytes, little
/// endian); `None` for none.
pub(super) fn encode_xattrs(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut out = vec![];
    for part in xattrs.iter().flat_map(|(name, value)| [name, value]) {
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(part);
    }
    (!out.is_empty()).then_some(out)
}

fn decode_xattrs(mut bytes: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut take = || {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        bytes = rest;
        Some(part.to_vec())
    };
    let mut found = vec![];
    while let Some(name) = take() {
        let value = take().ok_or_else(|| Error::bad_value("attribute", &name))?;
        found.push((name, value));
    }
    Ok(found)
}
