//! A set of row ids, one bit each: ids are small and dense, so ten million
//! directories cost a little over a megabyte.

/// Ids are SQLite rowids, never negative here.
#[derive(Debug, Default)]
pub struct IdSet {
    words: Vec<u64>,
}

impl IdSet {
    pub fn insert(&mut self, id: i64) {
        let (word, bit) = place(id);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    pub fn contains(&self, id: i64) -> bool {
        let (word, bit) = place(id);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn place(id: i64) -> (usize, u64) {
    let id = usize::try_from(id).expect("row ids are positive");
    (id / 64, 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_exactly_what_was_put_in() {
        let mut set = IdSet::default();
        for id in [1, 63, 64, 1000] {
            set.insert(id);
        }
        let held: Vec<i64> = (0..2000).filter(|id| set.contains(*id)).collect();
        assert_eq!(held, [1, 63, 64, 1000]);
    }
}
