//! Chunks that the state DB knows in no good pack, and that other servers have.
//!
//! A collection keeps one copy of each chunk, in whichever server's pack. This server
//! learns of it with its next upload; until then the catalog tells.

use super::Error;
use crate::ids::{ChunkId, PackId};
use crate::site::{Catalog, Site, pack_key};
use crate::store::ErrorKind;
use std::collections::HashMap;

/// Where other copies are; asked for when first needed.
#[derive(Default)]
pub(super) struct Elsewhere {
    catalog: Catalog,
    /// Whether the store has the pack as its log describes it.
    there: HashMap<PackId, bool>,
}

impl Elsewhere {
    /// Whether some log names a pack with this chunk, which the store has.
    pub fn has(&mut self, site: &Site<'_>, chunk: &ChunkId) -> Result<bool, Error> {
        let mut not_there: Vec<PackId> = vec![];
        loop {
            let found = match self.catalog.chunk(site, chunk, &|pack| not_there.contains(&pack)) {
                Ok(found) => found,
                // Nothing is known of what that log has.
                Err(error) if error.is_damage() => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let Some((pack, _)) = found else { return Ok(false) };
            if self.is_there(site, pack)? {
                return Ok(true);
            }
            not_there.push(pack);
        }
    }

    fn is_there(&mut self, site: &Site<'_>, pack: PackId) -> Result<bool, Error> {
        if let Some(known) = self.there.get(&pack) {
            return Ok(*known);
        }
        // Of a pack that this node knows it knows which chunks are good.
        let there = site.state.pack(pack)?.is_none()
            && match site.store.head(&pack_key(pack)) {
                Ok(object) => self.catalog.pack_bytes(site, pack)? == Some(object.size_bytes),
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Err(error.into()),
            };
        self.there.insert(pack, there);
        Ok(there)
    }
}
