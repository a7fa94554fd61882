//! Files with holes in an archive (tar(5), "GNU tar pax archives", PAX 1.0).
//!
//! A map of the runs of data stands before them, and the holes are left out. GNU
//! tar pads every run to whole blocks and other readers pad none, so only the
//! last run may end within a block: a run that does takes as many zeros of the
//! hole behind it as it needs, and where that is the whole hole the two runs
//! beside it are one.

use super::header::BLOCK;
use crate::manifest::Piece;
use std::collections::VecDeque;

/// Where the data of a file goes.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Of chunks, holes left out.
    pub data_bytes: u64,
    /// Zeros to write once so many bytes of data have been.
    pub fills: VecDeque<(u64, usize)>,
    /// Offset and length of each run in the file.
    runs: Vec<(u64, u64)>,
    size_bytes: u64,
    sparse: bool,
}

impl Layout {
    pub fn of(pieces: &[Piece]) -> Self {
        let mut layout = Self::default();
        for piece in pieces {
            match piece.chunk {
                Some(_) => layout.add_data(piece.len),
                None => layout.add_hole(piece.len),
            }
            layout.size_bytes += piece.len;
        }
        layout
    }

    /// Whether it is to be a sparse member.
    pub fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// Of all runs.
    pub fn stored_bytes(&self) -> u64 {
        self.runs.iter().map(|(_, len)| len).sum()
    }

    fn add_data(&mut self, len: u64) {
        match self.runs.last_mut() {
            Some((start, have)) if *start + *have == self.size_bytes => *have += len,
            _ => self.runs.push((self.size_bytes, len)),
        }
        self.data_bytes += len;
    }

    fn add_hole(&mut self, len: u64) {
        self.sparse = true;
        let Some((_, have)) = self.runs.last_mut() else { return };
        let over = have.next_multiple_of(BLOCK as u64) - *have;
        let zeros = over.min(len);
        if zeros > 0 {
            *have += zeros;
            let zeros = usize::try_from(zeros).expect("less than a block");
            self.fills.push_back((self.data_bytes, zeros));
        }
    }

    /// Decimal numbers, one a line: how many runs, then offset and length of
    /// each; filled to a whole block. A hole at the end is a run of nothing
    /// behind it. Empty for a file without holes.
    pub fn map(&self) -> Vec<u8> {
        if !self.sparse {
            return Vec::new();
        }
        let end = self.runs.last().map_or(0, |(start, len)| start + len);
        let last = (end < self.size_bytes).then_some((self.size_bytes, 0));
        let runs = self.runs.len() + usize::from(last.is_some());
        let mut map = format!("{runs}\n").into_bytes();
        for (start, len) in self.runs.iter().copied().chain(last) {
            map.extend_from_slice(format!("{start}\n{len}\n").as_bytes());
        }
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChunkId;

    type Runs = Vec<(u64, u64)>;
    type Fills = Vec<(u64, usize)>;

    /// Data of these lengths, holes where they are negative: the runs, and what
    /// is filled after how much data.
    fn laid(pieces: &[i64]) -> (Runs, Fills) {
        let piece = |len: &i64| Piece {
            len: len.unsigned_abs(),
            chunk: (*len > 0).then_some(ChunkId([0; 32])),
        };
        let pieces: Vec<Piece> = pieces.iter().map(piece).collect();
        let layout = Layout::of(&pieces);
        let filled: u64 = layout.fills.iter().map(|(_, zeros)| *zeros as u64).sum();
        assert_eq!(layout.stored_bytes(), layout.data_bytes + filled);
        (layout.runs, layout.fills.into())
    }

    #[test]
    fn only_the_last_run_ends_within_a_block() {
        assert_eq!(laid(&[700, 300]), (vec![(0, 1000)], vec![]));
        assert_eq!(laid(&[-700, 300]), (vec![(700, 300)], vec![]));
        assert_eq!(laid(&[512, -700, 3]), (vec![(0, 512), (1212, 3)], vec![]));
        assert_eq!(laid(&[500, -700, 3]), (vec![(0, 512), (1200, 3)], vec![(500, 12)]));
        assert_eq!(laid(&[500, -12, 3]), (vec![(0, 515)], vec![(500, 12)]));
        assert_eq!(laid(&[500, -2, 3]), (vec![(0, 505)], vec![(500, 2)]));
        assert_eq!(laid(&[500, -2, 3, -9000]), (vec![(0, 512)], vec![(500, 2), (503, 7)]));
        assert_eq!(laid(&[-5]), (vec![], vec![]));
    }

    #[test]
    fn a_map_is_numbers_in_whole_blocks() {
        let text = |pieces: &[Piece]| {
            let map = Layout::of(pieces).map();
            assert_eq!(map.len() % BLOCK, 0);
            String::from_utf8(map).expect("ASCII").trim_end_matches('\0').to_owned()
        };
        let chunk = Some(ChunkId([0; 32]));
        let (data, hole) = (Piece { len: 1024, chunk }, Piece { len: 5000, chunk: None });
        assert_eq!(text(&[data]), "");
        assert_eq!(text(&[data, hole]), "2\n0\n1024\n6024\n0\n");
        assert_eq!(text(&[hole, data]), "1\n5000\n1024\n");
        assert_eq!(text(&[hole]), "1\n5000\n0\n");
    }
}
