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
use std::ops::ControlFlow;

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

    /// Visits every content.
    pub fn for_each_content(
        &self,
        visit: &mut dyn FnMut(ContentId, Content) -> ControlFlow<()>,
    ) -> Result<()> {
        let operation = "reading the contents";
        let mut select =
            self.conn.prepare_cached("SELECT id, pieces FROM content").during(operation)?;
        let mut rows = select.query([]).during(operation)?;
        while let Some(row) = rows.next().during(operation)? {
            let id: Vec<u8> = row.get(0).during(operation)?;
            let id = ContentId::from_slice(&id).ok_or_else(|| Error::bad_value("content", &id))?;
            let pieces: Vec<u8> = row.get(1).during(operation)?;
            if visit(id, decode(id, &pieces)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the copy of this content is known to be bad; false if unknown.
    pub fn content_damaged(&self, id: ContentId) -> Result<bool> {
        let found = self
            .conn
            .prepare_cached("SELECT damaged FROM content WHERE id = ?1")
            .and_then(|mut select| select.query_row([id.as_bytes()], |row| row.get(0)).optional());
        Ok(found.during("reading whether a copy is damaged")?.unwrap_or(false))
    }

    pub fn set_content_damaged(&mut self, id: ContentId, damaged: bool) -> Result<()> {
        let operation = "recording whether a copy is damaged";
        self.write(operation, |tx| {
            tx.execute("UPDATE content SET damaged = ?2 WHERE id = ?1", (id.as_bytes(), damaged))
                .during(operation)?;
            Ok(())
        })
    }
}

/// Adds a content; one that is there already stays, and a fresh copy of it is
/// not a damaged one.
pub fn add(tx: &Connection, id: ContentId, content: &Content, chunking: &str) -> Result<()> {
    tx.prepare_cached(
        "INSERT INTO content (id, size_bytes, chunking, pieces) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET damaged = 0 WHERE damaged <> 0",
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
