//! Stubs of which no log knows the content: their records were in segments that are
//! lost, and their chunks are in packs that nothing names any more.
//!
//! A content id is a digest over the chunk ids and lengths, so whether a guess is
//! right can be told for certain. Tried are the single chunks and the runs of
//! neighbouring chunks whose lengths make up the stub's size: a small file is one
//! chunk, and a large one lies in a run, across packs that were made one after the
//! other. A file with holes, or one that shares chunks with others, is not found so.
//!
//! A pack counts once all of it was read back and every chunk in it is good.

use super::files::{Found, rebuilt};
use super::{Difference, Error, Rebuild};
use crate::chunk::{self, ChunkSlot};
use crate::ids::{ContentId, PackId};
use crate::manifest::{Content, Piece};
use crate::policy::FileState;
use crate::site::pack_key;
use crate::state::{PackStatus, RebuiltFile};
use crate::store::ErrorKind;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A stub that still needs its content.
pub(super) struct Homeless {
    pub found: Found,
    pub content: ContentId,
    pub size_bytes: u64,
    pub state: FileState,
    pub former: Option<FileState>,
    pub certain: bool,
}

/// The end of a pack that is read first: the index of about 1200 chunks.
const FOOTER_BYTES: u64 = 64 << 10;
/// A pack whose first chunk has this much holds large files.
const LARGE_CHUNK_BYTES: u32 = 1 << 20;

/// What is looked for: contents by their sizes.
type Wanted = HashMap<u64, BTreeSet<ContentId>>;
/// What was found, with the packs that have to be good.
type Homes = HashMap<ContentId, (Content, BTreeSet<PackId>)>;

impl Rebuild<'_, '_> {
    /// Looks for all contents at once, and manages the stubs whose content was found.
    pub(super) fn find_homes(&mut self) -> Result<(), Error> {
        let homeless = std::mem::take(&mut self.homeless);
        if homeless.is_empty() {
            return Ok(());
        }
        let mut wanted = Wanted::new();
        for stub in &homeless {
            wanted.entry(stub.size_bytes).or_default().insert(stub.content);
        }
        let mut homes = Homes::new();
        self.among_named(&wanted, &mut homes)?;
        self.among_unnamed(&wanted, &mut homes)?;
        let mut good = HashMap::new();
        for stub in homeless {
            let home = match homes.get(&stub.content) {
                Some((content, packs)) if self.are_good(packs, &mut good)? => Some(content.clone()),
                _ => None,
            };
            self.settle(stub, home)?;
        }
        Ok(())
    }

    fn settle(&mut self, stub: Homeless, home: Option<Content>) -> Result<(), Error> {
        let found = stub.found;
        let Some(content) = home else {
            self.lost.insert((found.root, found.path.clone()));
            let (path, size_bytes) = (found.full, stub.size_bytes);
            self.tell(Difference::NoRecord { path, size_bytes });
            return Ok(());
        };
        let way = (stub.state, stub.former, stub.certain);
        let file: RebuiltFile = rebuilt(&found, content, String::new(), way, None, None);
        self.site.state.enter_files(found.root, &[file])?;
        self.stats.stubs += 1;
        self.tell(Difference::Recovered { path: found.full });
        Ok(())
    }

    /// A file of one chunk that some other file has, too.
    fn among_named(&self, wanted: &Wanted, homes: &mut Homes) -> Result<(), Error> {
        let lengths: HashSet<u32> =
            wanted.keys().filter_map(|size| u32::try_from(*size).ok()).collect();
        self.sources.catalog.chunks_of_lengths(&lengths, &mut |chunk, len| {
            let piece = Piece { len: len.into(), chunk: Some(chunk) };
            try_pieces(wanted, &[piece], &BTreeSet::new(), homes);
        })?;
        Ok(())
    }

    fn among_unnamed(&self, wanted: &Wanted, homes: &mut Homes) -> Result<(), Error> {
        let mut all: Vec<(PackId, ChunkSlot)> = vec![];
        let mut large: Vec<(PackId, ChunkSlot)> = vec![];
        // In the order of their names, which is that of time.
        for (pack, size_bytes) in &self.unnamed {
            self.check_stop()?;
            let Some(slots) = self.index(*pack, *size_bytes)? else { continue };
            let slots: Vec<_> = slots.into_iter().map(|slot| (*pack, slot)).collect();
            if slots.first().is_some_and(|(_, slot)| slot.plain_len >= LARGE_CHUNK_BYTES) {
                large.extend(&slots);
            }
            all.extend(slots);
        }
        for size in wanted.keys() {
            runs(&all, *size, wanted, homes);
            runs(&large, *size, wanted, homes);
        }
        Ok(())
    }

    /// The chunks of a pack by its own index; `None` where that cannot be read.
    fn index(&self, pack: PackId, size_bytes: u64) -> Result<Option<Vec<ChunkSlot>>, Error> {
        let mut wanted_bytes = FOOTER_BYTES.min(size_bytes);
        loop {
            if wanted_bytes == 0 {
                return Ok(None);
            }
            let range = size_bytes - wanted_bytes..size_bytes;
            let footer = match self.site.store.get(&pack_key(pack), Some(range)) {
                Ok(footer) => footer,
                Err(error) if is_of_object(error.kind()) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            match chunk::parse_index(&footer) {
                Ok(slots) => return Ok(Some(slots)),
                Err(chunk::Error::Truncated { needed, .. })
                    if needed > wanted_bytes && needed <= size_bytes =>
                {
                    wanted_bytes = needed;
                }
                Err(_) => return Ok(None),
            }
        }
    }

    /// Each pack is read back whole, and recorded, the first time it is asked for.
    fn are_good(
        &mut self,
        packs: &BTreeSet<PackId>,
        good: &mut HashMap<PackId, bool>,
    ) -> Result<bool, Error> {
        for pack in packs {
            let is_good = match good.get(pack) {
                Some(is_good) => *is_good,
                None => {
                    let is_good = self.take_in(*pack)?;
                    *good.entry(*pack).or_insert(is_good)
                }
            };
            if !is_good {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take_in(&mut self, pack: PackId) -> Result<bool, Error> {
        if let Some(row) = self.site.state.pack(pack)? {
            return Ok(row.status == PackStatus::Durable);
        }
        let proven = match self.site.prove_by_reading(pack) {
            Ok(proven) => proven,
            Err(error) if is_of_object(error.kind()) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let is_large = proven.slots.first().is_some_and(|slot| slot.plain_len >= LARGE_CHUNK_BYTES);
        let kind = if is_large { "large" } else { "small" };
        let now_ns = self.site.clock.now_ns();
        let state = &mut self.site.state;
        state.intend_pack(pack, kind, None, now_ns)?;
        state.record_pack(pack, proven.size_bytes, &proven.slots, &proven.evidence)?;
        Ok(true)
    }
}

/// What is wrong with one object, and not with the store.
fn is_of_object(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::Integrity | ErrorKind::Archived)
}

/// Tries every run of neighbours that is `size` long: two ends move over the list, as
/// no chunk is empty.
fn runs(slots: &[(PackId, ChunkSlot)], size: u64, wanted: &Wanted, homes: &mut Homes) {
    let (mut first, mut total) = (0, 0_u64);
    for last in 0..slots.len() {
        total += u64::from(slots[last].1.plain_len);
        while total > size && first <= last {
            total -= u64::from(slots[first].1.plain_len);
            first += 1;
        }
        if total == size && first <= last {
            let run = &slots[first..=last];
            let piece = |(_, slot): &(PackId, ChunkSlot)| Piece {
                len: slot.plain_len.into(),
                chunk: Some(slot.id),
            };
            let pieces: Vec<Piece> = run.iter().map(piece).collect();
            let packs: BTreeSet<PackId> = run.iter().map(|(pack, _)| *pack).collect();
            try_pieces(wanted, &pieces, &packs, homes);
        }
    }
}

/// Keeps what the pieces make, if that is looked for.
fn try_pieces(wanted: &Wanted, pieces: &[Piece], packs: &BTreeSet<PackId>, homes: &mut Homes) {
    let Ok(content) = Content::new(pieces.iter().copied()) else { return };
    let id = content.id();
    if wanted.get(&content.size_bytes).is_some_and(|ids| ids.contains(&id)) {
        homes.entry(id).or_insert_with(|| (content, packs.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Codec;
    use crate::ids::ChunkId;
    use proptest::prelude::*;

    fn slot(number: u8, len: u32) -> ChunkSlot {
        let id = ChunkId([number; 32]);
        ChunkSlot { id, offset: 0, stored_len: len, plain_len: len, codec: Codec::Raw }
    }

    fn content(slots: &[(PackId, ChunkSlot)]) -> Content {
        let piece = |(_, slot): &(PackId, ChunkSlot)| Piece {
            len: slot.plain_len.into(),
            chunk: Some(slot.id),
        };
        Content::new(slots.iter().map(piece)).expect("a content")
    }

    proptest! {
        #[test]
        fn every_run_is_found_with_its_packs_and_nothing_else_is(
            lengths in proptest::collection::vec(1..4_u32, 1..12),
            first in 0..12_usize,
            count in 1..12_usize,
        ) {
            let slots: Vec<_> = lengths
                .iter()
                .enumerate()
                .map(|(nth, len)| (PackId([nth as u8 / 3; 16]), slot(nth as u8, *len)))
                .collect();
            let run = &slots[first.min(slots.len() - 1)..];
            let run = &run[..count.min(run.len())];
            let content = content(run);
            let other = ContentId([9; 32]);
            let wanted =
                Wanted::from([(content.size_bytes, BTreeSet::from([content.id(), other]))]);
            let mut homes = Homes::new();
            runs(&slots, content.size_bytes, &wanted, &mut homes);
            let packs: BTreeSet<PackId> = run.iter().map(|(pack, _)| *pack).collect();
            prop_assert_eq!(homes, Homes::from([(content.id(), (content, packs))]));
        }
    }
}
