//! Which bytes to ask the store for.
//!
//! The chunks of a batch of files are sorted by pack and place, and neighbours
//! are joined into one request: a large file comes in long runs, and a
//! directory of small files with a few requests instead of one each.

use crate::chunk::ChunkSlot;
use crate::ids::PackId;
use std::ops::Range;

/// One request fetches at most this much: large enough for full throughput of
/// an object store (8 to 16 MiB), small enough to bound memory.
const RUN_BYTES: u64 = 8 << 20;
/// Unwanted bytes between two chunks that are cheaper to fetch than a second
/// request.
const GAP_BYTES: u64 = 128 << 10;

/// One chunk that goes to one place of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub pack: PackId,
    pub slot: ChunkSlot,
    /// Index of the file in the batch.
    pub file: usize,
    pub file_offset: u64,
}

impl Part {
    /// The chunk's bytes in the pack.
    pub fn stored_range(&self) -> Range<u64> {
        self.slot.offset..self.slot.offset + u64::from(self.slot.stored_len)
    }
}

/// Parts that come with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub pack: PackId,
    pub range: Range<u64>,
    pub parts: Vec<Part>,
}

/// Sorts and joins; the runs of one pack stay in order.
pub fn runs(mut parts: Vec<Part>) -> Vec<Run> {
    parts.sort_by_key(|part| (part.pack, part.slot.offset, part.file, part.file_offset));
    let mut runs: Vec<Run> = vec![];
    for part in parts {
        let range = part.stored_range();
        match runs.last_mut() {
            Some(run) if joins(run, &part, &range) => {
                run.range.end = run.range.end.max(range.end);
                run.parts.push(part);
            }
            _ => runs.push(Run { pack: part.pack, range, parts: vec![part] }),
        }
    }
    runs
}

fn joins(run: &Run, part: &Part, range: &Range<u64>) -> bool {
    run.pack == part.pack
        && range.start <= run.range.end + GAP_BYTES
        && range.end.max(run.range.end) - run.range.start <= RUN_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Codec;
    use crate::ids::ChunkId;

    fn part(pack: u8, offset: u64, len: u32, file: usize) -> Part {
        let slot = ChunkSlot {
            id: ChunkId([0; 32]),
            offset,
            stored_len: len,
            plain_len: len,
            codec: Codec::Raw,
        };
        Part { pack: PackId([pack; 16]), slot, file, file_offset: 0 }
    }

    #[test]
    fn neighbours_in_one_pack_come_with_one_request() {
        let found = runs(vec![part(1, 2000, 500, 1), part(1, 1000, 900, 0)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].range, 1000..2500);
        assert_eq!(found[0].parts.iter().map(|p| p.file).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn packs_far_places_and_large_runs_are_asked_for_separately() {
        let far = 2000 + GAP_BYTES + 1;
        assert_eq!(runs(vec![part(1, 0, 10, 0), part(2, 0, 10, 1)]).len(), 2);
        assert_eq!(runs(vec![part(1, 0, 10, 0), part(1, far, 10, 1)]).len(), 2);
        let big = 5 << 20;
        assert_eq!(runs(vec![part(1, 0, big, 0), part(1, u64::from(big), big, 0)]).len(), 2);
    }

    #[test]
    fn a_chunk_that_two_files_share_is_fetched_once() {
        let found = runs(vec![part(1, 0, 100, 0), part(1, 0, 100, 1)]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].range, 0..100);
        assert_eq!(found[0].parts.len(), 2);
    }
}
