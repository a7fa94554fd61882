//! The same trees a page at a time, forwards and backwards, for whoever works on
//! them in between and keeps no reading transaction open meanwhile.
//!
//! A page begins behind the path where the one before ended. What a log says of a
//! point never changes, so the pages together are the tree.

use super::error::{During, Result};
use super::nodes::RootRef;
use super::open::CatalogDb;
use super::versions::{COLUMNS, Point, Version, subtree};
use crate::manifest::FileRecord;
use std::ops::ControlFlow;

/// Which version of each path is looked at; of none there is more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// What is there at a point.
    At(Point),
    /// What was there last, whether or not it still is.
    Last,
}

impl Sight {
    /// The condition on `version v` and its parameter `?4`.
    fn held(self) -> (&'static str, i64) {
        match self {
            Self::At(Point::Now) => ("v.to_seq IS NULL AND ?4 IS NOT NULL", 0),
            Self::At(Point::Seq(seq)) => {
                ("v.from_seq <= ?4 AND (v.to_seq IS NULL OR v.to_seq > ?4)", seq as i64)
            }
            Self::Last => (
                "?4 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM version l
                 WHERE l.place = v.place AND l.from_seq > v.from_seq)",
                0,
            ),
        }
    }
}

impl CatalogDb {
    /// The next `limit` versions at and beneath `under`, in path order, behind the
    /// path `after`. Fewer than `limit` is the last page.
    pub fn tree_page(
        &self,
        root: &RootRef,
        sight: Sight,
        under: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Version>> {
        let mut page = vec![];
        // No path holds a NUL: nothing lies between a path and this.
        let behind = after.map(|path| [path, &[0]].concat()).unwrap_or_default();
        for (from, to) in subtree(under) {
            let from = from.max(behind.clone());
            if page.len() < limit && from < to {
                let rest = "ORDER BY p.path LIMIT ?5";
                self.page(root, sight, rest, (from, to, limit - page.len()), &mut page)?;
            }
        }
        Ok(page)
    }

    /// The directories at and beneath `under` backwards: each behind what is in it.
    /// The `limit` ones that come before the path `before`.
    pub fn directories_backwards(
        &self,
        root: &RootRef,
        sight: Sight,
        under: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Version>> {
        let mut page = vec![];
        for (from, to) in subtree(under).into_iter().rev() {
            let to = before.map_or(to.clone(), |before| to.min(before.to_vec()));
            if page.len() < limit && from < to {
                let rest = "AND v.kind = 'd' ORDER BY p.path DESC LIMIT ?5";
                self.page(root, sight, rest, (from, to, limit - page.len()), &mut page)?;
            }
        }
        Ok(page)
    }

    /// What is at one path.
    pub fn version_at(&self, root: &RootRef, sight: Sight, path: &[u8]) -> Result<Option<Version>> {
        let mut page = vec![];
        let end = [path, &[0]].concat();
        self.page(root, sight, "LIMIT ?5", (path.to_vec(), end, 1), &mut page)?;
        Ok(page.pop())
    }

    /// The first name in path order, at or beneath `under`, of the file of which
    /// `record` is one name.
    pub fn first_name(
        &self,
        root: &RootRef,
        sight: Sight,
        record: &FileRecord,
        under: &[u8],
    ) -> Result<Option<Version>> {
        let (Some(link), Some(content)) = (record.link, record.content) else { return Ok(None) };
        let (held, seq) = sight.held();
        let sql = format!(
            "SELECT {COLUMNS} FROM content c CROSS JOIN version v ON v.content = c.id
             JOIN place p ON p.id = v.place
             WHERE p.root = ?1 AND p.path >= ?2 AND p.path < ?3 AND {held}
             AND c.content_id = ?5 AND v.link = ?6 AND v.generation = ?7
             ORDER BY p.path LIMIT 1"
        );
        for (from, to) in subtree(under) {
            let mut found = None;
            let keep = &mut |version| {
                found = Some(version);
                ControlFlow::Break(())
            };
            let (content, link) = (content.as_bytes().to_vec(), link as i64);
            let params = (root.id, from, to, seq, content, link, record.generation);
            let _ = self.visit(&sql, params, root, keep)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Regular files at and beneath `under`, and their bytes.
    pub fn tree_totals(&self, root: &RootRef, sight: Sight, under: &[u8]) -> Result<(u64, u64)> {
        let (held, seq) = sight.held();
        let sql = format!(
            "SELECT count(*), coalesce(sum(v.size_bytes), 0)
             FROM place p CROSS JOIN version v ON v.place = p.id
             WHERE p.root = ?1 AND p.path >= ?2 AND p.path < ?3 AND {held} AND v.kind = 'f'"
        );
        let operation = "adding up a tree";
        let mut select = self.conn.prepare_cached(&sql).during(operation)?;
        let mut totals = (0, 0);
        for (from, to) in subtree(under) {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
            let (files, bytes) =
                select.query_row((root.id, from, to, seq), read).during(operation)?;
            totals = (totals.0 + files as u64, totals.1 + bytes as u64);
        }
        Ok(totals)
    }

    fn page(
        &self,
        root: &RootRef,
        sight: Sight,
        rest: &str,
        (from, to, limit): (Vec<u8>, Vec<u8>, usize),
        page: &mut Vec<Version>,
    ) -> Result<()> {
        let (held, seq) = sight.held();
        let sql = format!(
            "SELECT {COLUMNS} FROM place p CROSS JOIN version v ON v.place = p.id
             LEFT JOIN content c ON c.id = v.content
             WHERE p.root = ?1 AND p.path >= ?2 AND p.path < ?3 AND {held} {rest}"
        );
        let keep = &mut |version| {
            page.push(version);
            ControlFlow::Continue(())
        };
        let params = (root.id, from, to, seq, limit as i64);
        let _ = self.visit(&sql, params, root, keep)?;
        Ok(())
    }
}
