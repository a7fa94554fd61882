//! Sizes and idle ages by which files are counted.
//!
//! A border is a value that a policy can be given: the sliders of the page stop
//! at borders and nowhere else, and a file is counted behind a border exactly
//! when `min_size` or `idle` of that value would match it. So what the page adds
//! up is what `hsm plan` counts, to the file.

use serde::Serialize;

/// Least sizes in bytes, with the word a policy has for them.
pub const SIZES: [(u64, &str); 13] = [
    (0, "0"),
    (4 << 10, "4KiB"),
    (64 << 10, "64KiB"),
    (256 << 10, "256KiB"),
    (1 << 20, "1MiB"),
    (4 << 20, "4MiB"),
    (16 << 20, "16MiB"),
    (64 << 20, "64MiB"),
    (256 << 20, "256MiB"),
    (1 << 30, "1GiB"),
    (4 << 30, "4GiB"),
    (16 << 30, "16GiB"),
    (64 << 30, "64GiB"),
];

/// Least idle ages in days.
pub const IDLE_DAYS: [i64; 12] = [0, 1, 3, 7, 14, 30, 60, 90, 180, 365, 730, 1825];

const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;
const CELLS: usize = SIZES.len() * IDLE_DAYS.len();

/// A place between borders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket {
    pub size: u8,
    pub idle: u8,
}

impl Bucket {
    pub fn of(size_bytes: u64, idle_ns: i64) -> Self {
        let size = SIZES.partition_point(|(least, _)| *least <= size_bytes) - 1;
        let idle = IDLE_DAYS.partition_point(|days| *days * DAY_NS <= idle_ns).max(1) - 1;
        Self { size: size as u8, idle: idle as u8 }
    }

    fn index(self) -> usize {
        usize::from(self.size) * IDLE_DAYS.len() + usize::from(self.idle)
    }

    fn at(index: usize) -> Self {
        let (size, idle) = (index / IDLE_DAYS.len(), index % IDLE_DAYS.len());
        Self { size: size as u8, idle: idle as u8 }
    }
}

/// Files of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub files: u64,
    pub size_bytes: u64,
    /// What the file system has allocated for them.
    pub local_bytes: u64,
}

impl Sum {
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.size_bytes += other.size_bytes;
        self.local_bytes += other.local_bytes;
    }
}

/// Files by size and idle age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    cells: Box<[Sum; CELLS]>,
    total: Sum,
}

impl Default for Grid {
    fn default() -> Self {
        Self { cells: Box::new([Sum::default(); CELLS]), total: Sum::default() }
    }
}

impl Grid {
    pub fn add(&mut self, bucket: Bucket, sum: Sum) {
        self.cells[bucket.index()].add(sum);
        self.total.add(sum);
    }

    pub fn add_all(&mut self, other: &Self) {
        self.cells.iter_mut().zip(other.cells.iter()).for_each(|(to, from)| to.add(*from));
        self.total.add(other.total);
    }

    pub fn total(&self) -> Sum {
        self.total
    }

    /// The cells that hold something: size, idle, files, size in bytes, local bytes.
    pub fn rows(&self) -> Vec<[u64; 5]> {
        let held = self.cells.iter().enumerate().filter(|(_, sum)| sum.files > 0);
        held.map(|(index, sum)| {
            let Bucket { size, idle } = Bucket::at(index);
            [size.into(), idle.into(), sum.files, sum.size_bytes, sum.local_bytes]
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{parse_duration, parse_size};

    #[test]
    fn borders_rise_and_their_words_are_a_policys() {
        assert!(SIZES.is_sorted_by(|one, next| one.0 < next.0));
        assert!(IDLE_DAYS.is_sorted_by(|one, next| one < next));
        for (bytes, word) in SIZES {
            assert_eq!(parse_size(word), Ok(bytes));
        }
        for days in IDLE_DAYS {
            let idle_ns = parse_duration(&format!("{days}d")).unwrap().as_nanos();
            assert_eq!(idle_ns, (days * DAY_NS) as u128);
        }
    }

    #[test]
    fn a_file_at_a_border_is_behind_it_and_one_below_is_not() {
        for (at, (bytes, _)) in SIZES.iter().enumerate().skip(1) {
            assert_eq!(usize::from(Bucket::of(*bytes, 0).size), at);
            assert_eq!(usize::from(Bucket::of(bytes - 1, 0).size), at - 1);
        }
        for (at, days) in IDLE_DAYS.iter().enumerate().skip(1) {
            assert_eq!(usize::from(Bucket::of(0, days * DAY_NS).idle), at);
            assert_eq!(usize::from(Bucket::of(0, days * DAY_NS - 1).idle), at - 1);
        }
        assert_eq!(Bucket::of(u64::MAX, i64::MAX), Bucket { size: 12, idle: 11 });
        assert_eq!(Bucket::of(0, 0), Bucket { size: 0, idle: 0 });
    }

    #[test]
    fn every_bucket_has_a_cell_of_its_own() {
        let mut grid = Grid::default();
        for index in 0..CELLS {
            assert_eq!(Bucket::at(index).index(), index);
            grid.add(Bucket::at(index), Sum { files: 1, size_bytes: 2, local_bytes: 3 });
        }
        assert_eq!(grid.rows().len(), CELLS);
        assert_eq!(grid.total().local_bytes, 3 * CELLS as u64);
    }
}
