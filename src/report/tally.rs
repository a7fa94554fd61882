//! Files by a word that a tree can have any number of: owners, extensions.
//!
//! Memory is bounded: of more than [`KEPT`] words the smaller half is added to
//! the others, whenever that happens. Up to so many every word is exact; beyond,
//! a word may have lost what it had before it grew large, and the others have it.
//! Nothing is counted twice or dropped.

use super::buckets::{Bucket, Grid, Sum};
use std::collections::HashMap;
use std::hash::Hash;

/// Words that are counted on their own; each is 4 KiB.
const KEPT: usize = 2048;

pub struct Tally<W> {
    by_word: HashMap<W, Grid>,
    others: Grid,
    kept: usize,
    lost_some: bool,
}

/// The words with most bytes, and the rest.
pub struct Top<W> {
    pub first: Vec<(W, Grid)>,
    pub others: Grid,
    /// There were too many words to count each to the file.
    pub is_rough: bool,
}

impl<W: Eq + Hash + Ord + Clone> Tally<W> {
    pub fn new() -> Self {
        Self::keeping(KEPT)
    }

    fn keeping(kept: usize) -> Self {
        Self { by_word: HashMap::new(), others: Grid::default(), kept, lost_some: false }
    }

    pub fn add(&mut self, word: W, bucket: Bucket, sum: Sum) {
        self.by_word.entry(word).or_default().add(bucket, sum);
        if self.by_word.len() > self.kept {
            self.give_up_the_small();
        }
    }

    fn give_up_the_small(&mut self) {
        self.lost_some = true;
        let mut ranked: Vec<(W, Grid)> = self.by_word.drain().collect();
        sort(&mut ranked);
        for (_, grid) in ranked.drain(self.kept / 2..) {
            self.others.add_all(&grid);
        }
        self.by_word = ranked.into_iter().collect();
    }

    pub fn top(self, number: usize) -> Top<W> {
        let mut ranked: Vec<(W, Grid)> = self.by_word.into_iter().collect();
        sort(&mut ranked);
        let mut others = self.others;
        for (_, grid) in ranked.drain(number.min(ranked.len())..) {
            others.add_all(&grid);
        }
        Top { first: ranked, others, is_rough: self.lost_some }
    }
}

/// Most bytes first; words decide between equals.
fn sort<W: Ord>(ranked: &mut [(W, Grid)]) {
    let weight = |grid: &Grid| (grid.total().size_bytes, grid.total().files);
    ranked.sort_by(|(one, a), (other, b)| weight(b).cmp(&weight(a)).then_with(|| one.cmp(other)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(size_bytes: u64) -> Sum {
        Sum { files: 1, size_bytes, local_bytes: size_bytes }
    }

    #[test]
    fn the_largest_come_first_and_the_rest_is_the_others() {
        let mut tally = Tally::new();
        for (word, bytes) in [("a", 1), ("b", 5), ("c", 5), ("d", 2), ("b", 1)] {
            tally.add(word, Bucket::of(bytes, 0), sum(bytes));
        }
        let top = tally.top(2);
        let first: Vec<_> =
            top.first.iter().map(|(word, grid)| (*word, grid.total().size_bytes)).collect();
        assert_eq!(first, [("b", 6), ("c", 5)]);
        assert_eq!((top.others.total().files, top.others.total().size_bytes), (2, 3));
        assert!(!top.is_rough);
    }

    #[test]
    fn a_million_words_need_no_more_room_and_lose_nothing() {
        let mut tally = Tally::keeping(8);
        for word in 0..10_000_u64 {
            tally.add(word, Bucket::of(word, 0), sum(word % 7));
            tally.add(u64::MAX, Bucket::of(9, 0), sum(9));
            assert!(tally.by_word.len() <= 8);
        }
        let top = tally.top(3);
        assert_eq!((top.first[0].0, top.first[0].1.total().files), (u64::MAX, 10_000));
        assert!(top.is_rough);
        let named: u64 = top.first.iter().map(|(_, grid)| grid.total().files).sum();
        assert_eq!(named + top.others.total().files, 20_000);
    }
}
