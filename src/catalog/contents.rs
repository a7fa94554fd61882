//! Contents by id, whoever has them.

use super::error::{During, Result};
use super::open::CatalogDb;
use crate::ids::{ContentId, FileIdent};
use crate::manifest::Content;
use rusqlite::OptionalExtension;

const READING: &str = "reading a content";

impl CatalogDb {
    /// The chunk list of a content.
    pub fn content(&self, id: ContentId) -> Result<Option<Content>> {
        let pieces: Option<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT pieces FROM content WHERE content_id = ?1")
            .and_then(|mut select| select.query_row([id.as_bytes()], |row| row.get(0)).optional())
            .during(READING)?;
        Ok(pieces.map(|pieces| Content::decode(&pieces)).transpose()?)
    }

    /// The same with how it was cut, where a version that has it says so.
    pub fn content_as_cut(&self, id: ContentId) -> Result<Option<(Content, Option<String>)>> {
        let Some(content) = self.content(id)? else { return Ok(None) };
        let chunking: Option<String> = self
            .conn
            .prepare_cached(
                "SELECT v.chunking FROM content c JOIN version v ON v.content = c.id
                 WHERE c.content_id = ?1 AND v.chunking IS NOT NULL LIMIT 1",
            )
            .and_then(|mut select| select.query_row([id.as_bytes()], |row| row.get(0)).optional())
            .during(READING)?;
        Ok(Some((content, chunking)))
    }

    /// Some log says that this very inode was uploaded with this content.
    pub fn was_uploaded(&self, id: ContentId, ident: FileIdent) -> Result<bool> {
        self.conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM content c JOIN version v ON v.content = c.id
                 WHERE c.content_id = ?1 AND v.ino = ?2 AND v.generation = ?3)",
            )
            .and_then(|mut select| {
                let key = (id.as_bytes(), ident.ino as i64, ident.generation);
                select.query_row(key, |row| row.get(0))
            })
            .during(READING)
    }
}
