//! What the logs of all nodes say, for an operation that has to ask.
//!
//! The state DB normally answers where things are; this is the slow path of a
//! machine that lost it, and of a check that asks who owns an object. The local copy
//! is brought up to date when first asked, and once more on demand: a pack that was
//! rewritten elsewhere is found under its new name.

use super::{Site, logs};
use crate::catalog::{CatalogDb, Readers};
use crate::chunk::ChunkSlot;
use crate::ids::{ChunkId, ContentId, FileIdent, PackId};
use crate::manifest::Content;

pub use super::logs::Error;

/// The local copy of the catalog; opened when first asked.
#[derive(Default)]
pub struct Catalog(Option<CatalogDb>);

impl Catalog {
    /// Of a copy that is up to date.
    pub fn of(db: CatalogDb) -> Self {
        Self(Some(db))
    }

    /// The chunk list of a content.
    pub fn content(&mut self, site: &Site<'_>, id: ContentId) -> Result<Option<Content>, Error> {
        Ok(self.db(site)?.content(id)?)
    }

    /// Some log says that this very inode was uploaded with this content.
    pub fn was_uploaded(
        &mut self,
        site: &Site<'_>,
        id: ContentId,
        ident: FileIdent,
    ) -> Result<bool, Error> {
        Ok(self.db(site)?.was_uploaded(id, ident)?)
    }

    /// Some file that had this content could be read by whoever can read a file of
    /// `readers`.
    pub fn may_be_read(
        &mut self,
        site: &Site<'_>,
        id: ContentId,
        readers: Readers,
    ) -> Result<bool, Error> {
        let originals = self.db(site)?.readers_of(id)?;
        Ok(originals.iter().any(|original| original.include(readers)))
    }

    /// Where a chunk is, in none of the packs of `except`.
    pub fn chunk(
        &mut self,
        site: &Site<'_>,
        id: &ChunkId,
        except: &dyn Fn(PackId) -> bool,
    ) -> Result<Option<(PackId, ChunkSlot)>, Error> {
        Ok(self.db(site)?.chunk(id, except)?)
    }

    /// How large the pack is, by the log of the node that wrote it.
    pub fn pack_bytes(&mut self, site: &Site<'_>, pack: PackId) -> Result<Option<u64>, Error> {
        Ok(self.db(site)?.pack(pack)?.map(|pack| pack.size_bytes))
    }

    /// The storage class of a pack, by the log that named it.
    pub fn pack_class(&mut self, site: &Site<'_>, pack: PackId) -> Result<Option<String>, Error> {
        Ok(self.db(site)?.pack(pack)?.and_then(|pack| pack.class))
    }

    /// Some node's log names the pack as its own.
    pub fn owns(&mut self, site: &Site<'_>, pack: PackId) -> Result<bool, Error> {
        Ok(self.db(site)?.pack(pack)?.is_some())
    }

    /// The copy itself, up to date as of the first question or the last
    /// [`Self::refresh`].
    pub fn db(&mut self, site: &Site<'_>) -> Result<&mut CatalogDb, Error> {
        if self.0.is_none() {
            self.refresh(site)?;
        }
        Ok(self.0.as_mut().expect("it was just opened"))
    }

    /// Reads what the logs have had to say since.
    pub fn refresh(&mut self, site: &Site<'_>) -> Result<(), Error> {
        let mut db = match self.0.take() {
            Some(db) => db,
            None => CatalogDb::open(&site.catalog_path(), site.store_id)?,
        };
        logs::sync(&site.log_reader(), &mut db)?;
        self.0 = Some(db);
        Ok(())
    }
}
