//! A set of numbers that lie close together, such as lines of a file or inodes of a
//! directory: one bit each where they do, 16 bytes where they do not.

use std::collections::HashMap;

#[derive(Debug, Default)]
pub struct Marks {
    /// 64 numbers each, by their upper bits.
    words: HashMap<u64, u64>,
}

impl Marks {
    /// Whether it was not in yet.
    pub fn insert(&mut self, number: u64) -> bool {
        let (at, bit) = (number / 64, 1 << (number % 64));
        let word = self.words.entry(at).or_default();
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub fn contains(&self, number: u64) -> bool {
        self.words.get(&(number / 64)).is_some_and(|word| word & 1 << (number % 64) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_exactly_what_was_put_in() {
        let mut marks = Marks::default();
        let held = [0, 63, 64, 1000, 1 << 40, u64::MAX];
        for number in held {
            assert!(marks.insert(number) && !marks.insert(number), "{number}");
        }
        for number in held {
            assert!(marks.contains(number), "{number}");
        }
        for number in [1, 62, 65, 999, (1 << 40) + 1, u64::MAX - 1] {
            assert!(!marks.contains(number), "{number}");
        }
    }
}
