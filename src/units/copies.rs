//! How many stores a file's copy must be in.

/// One store, or both. More are not offered: each further store would have to be
/// written, proven and collected beside the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Copies {
    #[default]
    One,
    Two,
}

impl Copies {
    pub fn count(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}
