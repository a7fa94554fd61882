//! Reads the catalog of every node from the store.
//!
//! The state DB normally answers where things are; this is the slow path of a
//! machine that lost it, and of a check that asks who owns an object. Segments
//! are read once per run; what they say is kept in memory.

use super::Site;
use crate::chunk::ChunkSlot;
use crate::ids::{ChunkId, ContentId, FileIdent, PackId};
use crate::manifest::{self, Content, Record, decode_segment, keys};
use crate::store;
use std::collections::{HashMap, HashSet};

/// Why the catalog could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("read the catalog segment {key}")]
    Segment { key: String, source: manifest::Error },
}

/// What the catalog says; read when first asked.
#[derive(Default)]
pub struct Catalog(Option<Read>);

#[derive(Default)]
struct Read {
    contents: HashMap<ContentId, Content>,
    chunks: HashMap<ChunkId, (PackId, ChunkSlot)>,
    packs: HashMap<PackId, u64>,
    /// Which inode (number, generation) was uploaded with which content.
    owners: HashSet<(ContentId, u64, u32)>,
}

impl Catalog {
    /// The chunk list of a content.
    pub fn content(&mut self, site: &Site<'_>, id: ContentId) -> Result<Option<Content>, Error> {
        Ok(self.read(site)?.contents.get(&id).cloned())
    }

    /// Some log says that this very inode was uploaded with this content.
    pub fn was_uploaded(
        &mut self,
        site: &Site<'_>,
        id: ContentId,
        ident: FileIdent,
    ) -> Result<bool, Error> {
        Ok(self.read(site)?.owners.contains(&(id, ident.ino, ident.generation)))
    }

    /// Where a chunk is.
    pub fn chunk(
        &mut self,
        site: &Site<'_>,
        id: &ChunkId,
    ) -> Result<Option<(PackId, ChunkSlot)>, Error> {
        Ok(self.read(site)?.chunks.get(id).cloned())
    }

    /// How large the pack is, by the log of the node that wrote it.
    pub fn pack_bytes(&mut self, site: &Site<'_>, pack: PackId) -> Result<Option<u64>, Error> {
        Ok(self.read(site)?.packs.get(&pack).copied())
    }

    /// Some node's log names the pack as its own.
    pub fn owns(&mut self, site: &Site<'_>, pack: PackId) -> Result<bool, Error> {
        Ok(self.read(site)?.packs.contains_key(&pack))
    }

    fn read(&mut self, site: &Site<'_>) -> Result<&Read, Error> {
        if self.0.is_none() {
            self.0 = Some(read_all(site)?);
        }
        Ok(self.0.as_ref().expect("it was just read"))
    }
}

fn read_all(site: &Site<'_>) -> Result<Read, Error> {
    let mut segments = vec![];
    site.store.list("nodes/", None, &mut |object| {
        if keys::parse_segment_key(object.key.as_str()).is_some() {
            segments.push(object.key);
        }
    })?;
    let mut read = Read::default();
    for key in segments {
        let bytes = site.store.get(&key, None)?;
        let (_, records) = decode_segment(&bytes, site.protection)
            .map_err(|source| Error::Segment { key: key.to_string(), source })?;
        records.into_iter().for_each(|record| enter(&mut read, record));
    }
    Ok(read)
}

fn enter(read: &mut Read, record: Record) {
    match record {
        Record::Pack(pack) => {
            read.packs.insert(pack.id, pack.bytes);
            for slot in pack.chunks {
                read.chunks.insert(slot.id, (pack.id, slot));
            }
        }
        Record::File(file) => {
            if let Some(content) = file.content_list() {
                let id = content.id();
                read.owners.insert((id, file.ino, file.generation));
                read.contents.insert(id, content);
            }
        }
        _ => {}
    }
}
