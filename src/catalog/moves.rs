//! Where a file was before it had this name, and where it went.
//!
//! A log knows names, not renames: the same inode with the same content that ended at
//! one path and began at another was moved.

use super::error::{During, Result};
use super::nodes::RootRef;
use super::open::CatalogDb;
use super::versions::Version;
use rusqlite::OptionalExtension;

const READING: &str = "reading where a file was";

impl CatalogDb {
    /// The path at which this file was before this version began.
    pub fn moved_from(&self, root: &RootRef, version: &Version) -> Result<Option<Vec<u8>>> {
        let before = "v.to_seq <= ?6 ORDER BY v.to_seq DESC, v.from_seq DESC";
        self.elsewhere(root, version, before, version.from_seq)
    }

    /// The path at which this file was after this version had ended.
    pub fn moved_to(&self, root: &RootRef, version: &Version) -> Result<Option<Vec<u8>>> {
        let Some(to_seq) = version.to_seq else { return Ok(None) };
        self.elsewhere(root, version, "v.from_seq >= ?6 ORDER BY v.from_seq", to_seq)
    }

    fn elsewhere(
        &self,
        root: &RootRef,
        version: &Version,
        when: &str,
        seq: u64,
    ) -> Result<Option<Vec<u8>>> {
        let record = &version.record;
        let Some(content) = record.content else { return Ok(None) };
        let sql = format!(
            "SELECT p.path FROM content c CROSS JOIN version v ON v.content = c.id
             JOIN place p ON p.id = v.place
             WHERE c.content_id = ?1 AND p.root = ?2 AND p.path <> ?3
             AND v.ino = ?4 AND v.generation = ?5 AND {when} LIMIT 1"
        );
        let params = (
            content.as_bytes(),
            root.id,
            record.path_bytes(),
            record.ino as i64,
            record.generation,
            seq as i64,
        );
        self.conn
            .prepare_cached(&sql)
            .and_then(|mut select| select.query_row(params, |row| row.get(0)).optional())
            .during(READING)
    }
}
