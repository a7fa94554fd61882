//! Contents by id, whoever has them.

use super::error::{During, Result};
use super::open::CatalogDb;
use crate::ids::{ContentId, FileIdent};
use crate::manifest::Content;
use rusqlite::OptionalExtension;

const READING: &str = "reading a content";

/// Who could read a file, as far as the file itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readers {
    pub uid: u32,
    pub gid: u32,
    /// Permission bits; where there is an ACL, the group's are its mask.
    pub mode: u32,
}

impl Readers {
    /// Whether nobody can read a file of `other` who cannot read one of these. Root
    /// reads everything; who else is in a group is not known, so only the same group is.
    pub fn include(self, other: Self) -> bool {
        let all = self.mode & 0o004 != 0;
        let group = self.mode & 0o040 != 0 && self.gid == other.gid;
        let owner = other.uid == 0 || other.uid == self.uid;
        (all || owner)
            && (all || group || other.mode & 0o040 == 0)
            && (all || other.mode & 0o004 == 0)
    }
}

impl CatalogDb {
    /// Whoever's file has ever had this content, by all logs.
    pub fn readers_of(&self, id: ContentId) -> Result<Vec<Readers>> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT DISTINCT v.uid, v.gid, v.mode FROM content c JOIN version v
                 ON v.content = c.id WHERE c.content_id = ?1",
            )
            .during(READING)?;
        let readers = select
            .query_map([id.as_bytes()], |row| {
                Ok(Readers { uid: row.get(0)?, gid: row.get(1)?, mode: row.get(2)? })
            })
            .during(READING)?;
        readers.collect::<rusqlite::Result<_>>().during(READING)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_to_read_what_the_original_keeps_from_them() {
        let of = |uid, gid, mode| Readers { uid, gid, mode };
        let secret = of(1000, 100, 0o600);
        let team = of(1000, 100, 0o640);
        let public = of(1000, 100, 0o644);
        assert!(secret.include(secret) && team.include(secret) && public.include(secret));
        assert!(public.include(of(2000, 200, 0o666)));
        assert!(team.include(team) && team.include(of(0, 100, 0o660)));
        for wider in [of(2000, 100, 0o600), of(1000, 100, 0o640), of(1000, 100, 0o604)] {
            assert!(!secret.include(wider), "{wider:?}");
        }
        for wider in [of(1000, 200, 0o640), of(2000, 100, 0o640), public] {
            assert!(!team.include(wider), "{wider:?}");
        }
    }
}
