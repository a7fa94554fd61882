//! Contents: the chunk lists of the copies, by content id.
//!
//! A content is written once with the segment that first has it and never
//! changed, but for the mark that its copy is known to be bad.

use super::error::{During, Error, Result};
use super::open::StateDb;
use super::rows::signed;
use crate::ids::ContentId;
use crate::manifest::Content;
use rusqlite::{Connection, OptionalExtension};

impl StateDb {
    /// A content with how it was cut into chunks.
    pub fn content(&self, id: ContentId) -> Result<Option<(Content, String)>> {
        let operation = "reading a content";
        let found: Option<(Vec<u8>, String)> = self
            .conn
            .prepare_cached("SELECT pieces, chunking FROM content WHERE id = ?1")
            .and_then(|mut select| {
                select.query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .during(operation)?;
        found.map(|(pieces, chunking)| Ok((decode(id, &pieces)?, chunking))).transpose()
    }
}

/// Adds a content; one that is there already stays.
pub fn add(tx: &Connection, id: ContentId, content: &Content, chunking: &str) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO content (id, size_bytes, chunking, pieces) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO NOTHING",
    )
    .and_then(|mut insert| {
        insert.execute((id.as_bytes(), signed(content.size_bytes), chunking, content.encode()))
    })
    .during("recording a content")?;
    Ok(())
}

fn decode(id: ContentId, pieces: &[u8]) -> Result<Content> {
    Content::decode(pieces)
        .map_err(|error| Error::Corrupted { detail: format!("content {id}: {error}") })
}
