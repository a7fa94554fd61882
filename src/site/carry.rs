//! Carries chunks from packs that are to go into new packs of this node.
//!
//! Each chunk is read again and must be what its id says; it goes into the new pack
//! as its encoder once left it, under that pack's own key. As with an upload, the
//! name of a pack is in the state DB before its first byte leaves and its chunks
//! count when it is proven: a run that dies leaves packs that nobody relies on and
//! that the next upload names in the log. Memory is one pack and what is live in
//! another.

use super::layout::{Part, runs};
use super::{Site, log, packs};
use crate::chunk::{self, ChunkSlot, Decoder, PackBuilder};
use crate::fault;
use crate::ids::{ChunkId, ContentId, PackId};
use crate::state;
use crate::store::{self, ErrorKind};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A pack is closed once it holds this much, as an upload's.
const PACK_BYTES: usize = 32 << 20;

/// Why the chunks of one pack cannot be carried. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Store(store::Error),
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
}

/// What may share a pack: chunks of one class, and whether the packs that they come
/// from have second copies, which the new one must have then, too.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shelf {
    class: Option<String>,
    twice: bool,
}

/// Fills packs with the chunks of others.
#[derive(Default)]
pub struct Carrier {
    open: Option<(Shelf, PackBuilder)>,
    made: Vec<PackId>,
    carried_bytes: u64,
}

impl Carrier {
    pub fn new() -> Self {
        Self::default()
    }

    /// Stored bytes of what was carried so far.
    pub fn carried_bytes(&self) -> u64 {
        self.carried_bytes
    }

    /// Takes these chunks of `from`, which are all of its that count, into packs of
    /// this storage class. An error of the outer kind ends the run.
    pub fn take(
        &mut self,
        site: &mut Site<'_>,
        class: Option<&str>,
        from: PackId,
        slots: &[ChunkSlot],
    ) -> Result<Result<(), SourceError>, log::Error> {
        let chunks = match read(site, from, slots)? {
            Ok(chunks) => chunks,
            Err(error) => return Ok(Err(error)),
        };
        let shelf = Shelf { class: class.map(str::to_owned), twice: site.state.has_second(from)? };
        for (slot, encoded) in chunks {
            self.put_aside(site, &shelf)?;
            let builder = match &mut self.open {
                Some((_, builder)) => builder,
                None => {
                    let id = PackId::fresh(site.clock.now_ns());
                    let new = PackBuilder::new(id, site.protection, site.store_id, PACK_BYTES);
                    &mut self.open.insert((shelf.clone(), new)).1
                }
            };
            builder.push(slot.id, slot.codec, slot.plain_len, &encoded);
            self.carried_bytes += encoded.len() as u64;
        }
        Ok(Ok(()))
    }

    /// Sends the open pack where it is full or of another class.
    fn put_aside(&mut self, site: &mut Site<'_>, shelf: &Shelf) -> Result<(), log::Error> {
        let fits =
            |(of, builder): &(Shelf, PackBuilder)| of == shelf && builder.len_bytes() < PACK_BYTES;
        if self.open.as_ref().is_some_and(fits) { Ok(()) } else { self.send(site) }
    }

    fn send(&mut self, site: &mut Site<'_>) -> Result<(), log::Error> {
        let Some((Shelf { class, twice }, builder)) = self.open.take() else { return Ok(()) };
        let id = builder.id();
        let (bytes, slots) = builder.finish();
        let bytes = Bytes::from(bytes);
        site.state.intend_pack(id, "data", class.as_deref(), site.clock.now_ns())?;
        let (store, capabilities) = (site.store, site.capabilities);
        let evidence = packs::put_and_prove(store, &capabilities, site.clock, id, class, &bytes)?;
        // Without it a stub of two copies would be left with one: the run ends, the
        // plan stays unacknowledged, and the old pack stays. A crash from here on leaves
        // it in the second store, whatever the state DB knows of it.
        let second = site.second.clone().filter(|_| twice);
        let second = second.map(|second| second.put(site.clock, id, &bytes)).transpose()?;
        site.state.record_pack(id, bytes.len() as u64, &slots, &evidence)?;
        if let Some(second) = second {
            site.state.record_second(&second)?;
        }
        fault::point("carry.pack-recorded");
        self.made.push(id);
        Ok(())
    }

    /// Sends what is left; the packs made are durable, proven and in the state DB,
    /// and in no log yet ([`log::name_packs`]).
    pub fn finish(mut self, site: &mut Site<'_>) -> Result<Vec<PackId>, log::Error> {
        self.send(site)?;
        Ok(self.made)
    }
}

type Encoded = Vec<(ChunkSlot, Vec<u8>)>;

/// Every one of the chunks, checked, as its encoder left it.
fn read(
    site: &Site<'_>,
    pack: PackId,
    slots: &[ChunkSlot],
) -> Result<Result<Encoded, SourceError>, store::Error> {
    let parts = slots.iter().map(|slot| Part { pack, slot: *slot, file: 0, file_offset: 0 });
    let (mut decoder, mut plain) = (Decoder::new(), vec![]);
    let mut chunks = Vec::with_capacity(slots.len());
    for run in runs(parts.collect()) {
        let bytes = match site.read_pack(pack, run.range.clone()) {
            Ok(bytes) => bytes,
            Err(error) if is_of_source(&error) => return Ok(Err(SourceError::Store(error))),
            Err(error) => return Err(error),
        };
        for part in run.parts {
            let range = part.stored_range();
            let start = (range.start - run.range.start) as usize;
            let stored = &bytes[start..start + part.slot.stored_len as usize];
            let mut encoded = vec![];
            let (protection, store) = (site.protection, site.store_id);
            let slot = part.slot;
            let taken = chunk::take_chunk(
                protection,
                store,
                pack,
                &slot,
                stored,
                &mut decoder,
                &mut plain,
                &mut encoded,
            );
            match taken {
                Ok(()) => chunks.push((slot, encoded)),
                Err(error) => return Ok(Err(error.into())),
            }
        }
    }
    Ok(Ok(chunks))
}

/// What is wrong with this object alone, and not with the store.
pub fn is_of_source(error: &store::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Integrity | ErrorKind::Archived)
}

/// Carries out of condemned packs what these contents have nowhere else; all of it
/// that could be is in packs which last, on return.
///
/// Nothing in a log protects them: the file is known to the state DB alone, and
/// where it is a stub its bytes are in those packs alone.
pub fn rescue(site: &mut Site<'_>, contents: &[ContentId]) -> Result<(), log::Error> {
    let mut carrier = Carrier::new();
    for (pack, slots) in endangered(site, contents)? {
        let class = site.state.pack(pack)?.and_then(|row| row.class);
        match carrier.take(site, class.as_deref(), pack, &slots)? {
            Ok(()) => {}
            // It is there, so it must not go: nothing is agreed to before it was read.
            Err(SourceError::Store(error)) if error.kind() == ErrorKind::Archived => {
                return Err(error.into());
            }
            Err(error) => {
                let why = format!("what is needed of pack {pack} could not be kept: {error}");
                site.monitor.notice(&why);
            }
        }
    }
    carrier.finish(site).map(drop)
}

/// The chunks of these contents that lie in condemned packs only, by pack.
fn endangered(
    site: &Site<'_>,
    contents: &[ContentId],
) -> Result<BTreeMap<PackId, Vec<ChunkSlot>>, state::Error> {
    let mut found: BTreeMap<ChunkId, (PackId, ChunkSlot)> = BTreeMap::new();
    for id in contents {
        let Some((content, _)) = site.state.content(*id)? else { continue };
        let ids: Vec<ChunkId> = content.chunk_ids().collect();
        let lasting = site.state.find_lasting_chunks(&ids)?;
        let missing = ids.iter().zip(lasting).filter(|(_, place)| place.is_none());
        let missing: Vec<ChunkId> = missing.map(|(id, _)| *id).collect();
        let places = site.state.find_chunks(&missing)?.into_iter().flatten();
        found.extend(places.map(|place| (place.slot.id, (place.pack, place.slot))));
    }
    let mut by_pack: BTreeMap<PackId, Vec<ChunkSlot>> = BTreeMap::new();
    for (pack, slot) in found.into_values() {
        by_pack.entry(pack).or_default().push(slot);
    }
    Ok(by_pack)
}
