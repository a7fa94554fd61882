//! Whether every chunk of a content is in the store.
//!
//! Each pack is asked for once and must have the size it was written with; with
//! its data read, each chunk must have the hash that the content names. What the
//! store does not answer is no proof of either, and stops the adoption.

use super::{Error, FileError};
use crate::chunk::{self, ChunkSlot, Decoder};
use crate::ids::{ChunkId, PackId};
use crate::manifest::Content;
use crate::site::{Catalog, Site, pack_key};
use crate::store::{self, ErrorKind};
use std::collections::BTreeMap;

/// The copy is there; with `data`, and good.
pub(super) fn require(
    site: &Site<'_>,
    catalog: &mut Catalog,
    content: &Content,
    data: bool,
) -> Result<Result<(), FileError>, Error> {
    let mut places = BTreeMap::new();
    for id in content.chunk_ids() {
        let Some(place) = place(site, catalog, id)? else {
            return Ok(Err(FileError::NoCopy(format!("chunk {id} is in no pack"))));
        };
        places.insert(id, place);
    }
    let mut packs: Vec<PackId> = places.values().map(|(pack, _)| *pack).collect();
    packs.sort_unstable();
    packs.dedup();
    for pack in packs {
        if let Err(why) = look_at(site, catalog, pack)? {
            return Ok(Err(FileError::NoCopy(why)));
        }
    }
    if !data {
        return Ok(Ok(()));
    }
    let (mut decoder, mut plain) = (Decoder::new(), vec![]);
    for (pack, slot) in places.values() {
        if let Err(error) = read(site, *pack, slot, &mut decoder, &mut plain)? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

fn place(
    site: &Site<'_>,
    catalog: &mut Catalog,
    id: ChunkId,
) -> Result<Option<(PackId, ChunkSlot)>, Error> {
    match site.state.find_chunks(&[id])?.pop().flatten() {
        Some(place) => Ok(Some((place.pack, place.slot))),
        None => Ok(catalog.chunk(site, &id, &|_| false)?),
    }
}

fn look_at(
    site: &Site<'_>,
    catalog: &mut Catalog,
    pack: PackId,
) -> Result<Result<(), String>, Error> {
    let expected = match site.state.pack(pack)? {
        Some(row) => Some(row.size_bytes),
        None => catalog.pack_bytes(site, pack)?,
    };
    match site.store.head(&pack_key(pack)) {
        Ok(object) if Some(object.size_bytes) == expected => Ok(Ok(())),
        Ok(_) => Ok(Err(format!("pack {pack} has another size than was written"))),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok(Err(format!("the store has no pack {pack}")))
        }
        Err(error) => Err(error.into()),
    }
}

fn read(
    site: &Site<'_>,
    pack: PackId,
    slot: &ChunkSlot,
    decoder: &mut Decoder,
    plain: &mut Vec<u8>,
) -> Result<Result<(), FileError>, store::Error> {
    let range = slot.offset..slot.offset + u64::from(slot.stored_len);
    let stored = match site.read_pack(pack, range) {
        Ok(stored) => stored,
        Err(error) if matches!(error.kind(), ErrorKind::Integrity | ErrorKind::Archived) => {
            return Ok(Err(FileError::NoCopy(error.to_string())));
        }
        Err(error) => return Err(error),
    };
    let (protection, store) = (site.protection, site.store_id);
    let opened = chunk::open_chunk(protection, store, pack, slot, &stored, decoder, plain);
    site.monitor.advance(0, plain.len() as u64);
    Ok(opened.map_err(FileError::from))
}
