//! Where a file is cut into chunks.
//!
//! Fixed cuts lie at absolute multiples of the chunk size, so that the range of
//! a file decides its chunks by arithmetic and an appended log shares all but
//! its last one. Content-defined cuts (FastCDC, Xia et al. 2020) survive
//! insertions in versioned dumps; a policy asks for them.
//!
//! The text form of a [`Chunking`] stands in catalogs for good: the same text
//! must cut the same way for ever, or deduplication silently ends.

use super::{Error, MAX_CHUNK_LEN};
use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::str::FromStr;

/// A way of cutting, written `fixed:4194304` or `fastcdc:MIN:AVG:MAX` (bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Chunking {
    /// A multiple of 4 KiB, from 4 KiB to 64 MiB.
    Fixed { size_bytes: u32 },
    /// Even sizes, `64 <= min <= 1 MiB`, `256 <= avg <= 4 MiB`,
    /// `1024 <= max <= 16 MiB`, ascending (the limits of the fastcdc crate).
    FastCdc { min_bytes: u32, avg_bytes: u32, max_bytes: u32 },
}

impl Default for Chunking {
    fn default() -> Self {
        Self::Fixed { size_bytes: 4 << 20 }
    }
}

impl Chunking {
    /// FastCDC with the sizes that suit dumps and archives.
    pub const FASTCDC_DEFAULT: Self =
        Self::FastCdc { min_bytes: 256 << 10, avg_bytes: 1 << 20, max_bytes: 4 << 20 };

    fn fault(&self) -> Option<&'static str> {
        match *self {
            Self::Fixed { size_bytes } => {
                let good = size_bytes > 0 && size_bytes % 4096 == 0 && size_bytes <= MAX_CHUNK_LEN;
                (!good).then_some("a fixed size is a multiple of 4096, up to 64 MiB")
            }
            Self::FastCdc { min_bytes: min, avg_bytes: avg, max_bytes: max } => {
                let even = [min, avg, max].iter().all(|size| size % 2 == 0);
                let inside = (64..=1 << 20).contains(&min)
                    && (256..=4 << 20).contains(&avg)
                    && (1024..=16 << 20).contains(&max);
                let good = even && inside && min <= avg && avg <= max;
                (!good).then_some(
                    "fastcdc takes even sizes MIN:AVG:MAX in ascending order, \
                     MIN up to 1 MiB, AVG up to 4 MiB, MAX up to 16 MiB",
                )
            }
        }
    }
}

impl fmt::Display for Chunking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { size_bytes } => write!(f, "fixed:{size_bytes}"),
            Self::FastCdc { min_bytes, avg_bytes, max_bytes } => {
                write!(f, "fastcdc:{min_bytes}:{avg_bytes}:{max_bytes}")
            }
        }
    }
}

impl FromStr for Chunking {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::BadChunking { text: text.to_owned(), why };
        let number =
            |part: &str| part.parse::<u32>().map_err(|_| bad("a size is a whole number of bytes"));
        let parts: Vec<&str> = text.split(':').collect();
        let chunking = match parts[..] {
            ["fixed", size] => Self::Fixed { size_bytes: number(size)? },
            ["fastcdc", min, avg, max] => Self::FastCdc {
                min_bytes: number(min)?,
                avg_bytes: number(avg)?,
                max_bytes: number(max)?,
            },
            _ => return Err(bad("write fixed:SIZE or fastcdc:MIN:AVG:MAX")),
        };
        match chunking.fault() {
            Some(why) => Err(bad(why)),
            None => Ok(chunking),
        }
    }
}

impl From<Chunking> for String {
    fn from(chunking: Chunking) -> Self {
        chunking.to_string()
    }
}

impl TryFrom<String> for Chunking {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

/// The chunks of one data extent of a file: cut at absolute multiples of
/// `size_bytes` (counted from the start of the file, not of the extent), so the
/// first and the last may be short. `size_bytes` 0 is taken as 1.
pub fn fixed_cuts(extent: Range<u64>, size_bytes: u32) -> impl Iterator<Item = Range<u64>> {
    let size = u64::from(size_bytes.max(1));
    let mut at = extent.start;
    std::iter::from_fn(move || {
        if at >= extent.end {
            return None;
        }
        let boundary = (at / size).saturating_add(1).saturating_mul(size);
        let range = at..boundary.min(extent.end);
        at = range.end;
        Some(range)
    })
}

/// Cuts a stream by its content. Yields each chunk as its own `Vec`; ends after
/// the first read error.
///
/// The cut points are those of the fastcdc crate's `v2020::StreamCDC`; its
/// buffer is kept larger here, because that one moves the whole rest of its
/// window for every chunk.
pub struct CdcCutter<R> {
    source: R,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that are read but not yet cut.
    unread: Range<usize>,
    ended: bool,
    rule: Rule,
}

/// The cutting rule with its tables looked up.
struct Rule {
    min: usize,
    avg: usize,
    max: usize,
    mask_s: u64,
    mask_l: u64,
    gear: Cow<'static, [u64]>,
    gear_ls: Cow<'static, [u64]>,
}

impl<R: Read> CdcCutter<R> {
    /// A fixed chunking cuts at multiples of its size from the start of the
    /// stream. Allocates four times the largest chunk.
    pub fn new(source: R, chunking: Chunking) -> Self {
        let (min, avg, max) = match chunking {
            Chunking::Fixed { size_bytes } => (size_bytes, size_bytes, size_bytes),
            Chunking::FastCdc { min_bytes, avg_bytes, max_bytes } => {
                (min_bytes, avg_bytes, max_bytes)
            }
        };
        let (mask_s, mask_l) = match chunking {
            Chunking::Fixed { .. } => (0, 0),
            Chunking::FastCdc { .. } => select_masks(avg as usize, Normalization::Level1),
        };
        let (gear, gear_ls) = get_gear_with_seed(0);
        let (min, avg, max) = (min as usize, avg as usize, max as usize);
        let rule = Rule { min, avg, max, mask_s, mask_l, gear, gear_ls };
        Self { source, buffer: vec![0; 4 * max], unread: 0..0, ended: false, rule }
    }

    /// Makes at least one largest chunk available unless the source ends.
    fn fill(&mut self) -> io::Result<()> {
        if self.ended || self.unread.len() >= self.rule.max {
            return Ok(());
        }
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        while !self.ended && self.unread.end < self.buffer.len() {
            match self.source.read(&mut self.buffer[self.unread.end..]) {
                Ok(0) => self.ended = true,
                Ok(len) => self.unread.end += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Rule {
    fn cut(&self, window: &[u8]) -> usize {
        if self.min == self.max {
            return window.len().min(self.max);
        }
        let (_, len) = cut_gear(
            window,
            self.min,
            self.avg,
            self.max,
            self.mask_s,
            self.mask_l,
            self.mask_s << 1,
            self.mask_l << 1,
            &self.gear,
            &self.gear_ls,
        );
        len
    }
}

impl<R: Read> Iterator for CdcCutter<R> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.fill() {
            self.ended = true;
            self.unread = 0..0;
            return Some(Err(error));
        }
        if self.unread.is_empty() {
            return None;
        }
        let window = &self.buffer[self.unread.clone()];
        let len = self.rule.cut(&window[..window.len().min(self.rule.max)]);
        let chunk = window[..len].to_vec();
        self.unread.start += len;
        Some(Ok(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_text_form_is_fixed_and_wrong_ones_are_refused() {
        assert_eq!(Chunking::default().to_string(), "fixed:4194304");
        assert_eq!(Chunking::FASTCDC_DEFAULT.to_string(), "fastcdc:262144:1048576:4194304");
        for text in ["fixed:4194304", "fixed:4096", "fastcdc:262144:1048576:4194304"] {
            let chunking: Chunking = text.parse().expect("a good text");
            assert_eq!(chunking.to_string(), text);
            let json = serde_json::to_string(&chunking).expect("a string");
            assert_eq!(serde_json::from_str::<Chunking>(&json).expect("the same"), chunking);
        }
        for text in [
            "",
            "fixed",
            "fixed:",
            "fixed:0",
            "fixed:4097",
            "fixed:67112960",
            "fixed:-1",
            "fixed:4096:4096",
            "fastcdc:1:2",
            "fastcdc:65:1024:2048",
            "fastcdc:4096:1024:2048",
            "fastcdc:64:256:99999999",
            "rolling:4096",
        ] {
            assert!(text.parse::<Chunking>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn fixed_cuts_lie_at_absolute_multiples() {
        let cuts = |range| fixed_cuts(range, 4096).collect::<Vec<_>>();
        assert_eq!(cuts(0..10_000), [0..4096, 4096..8192, 8192..10_000]);
        assert_eq!(cuts(5000..9000), [5000..8192, 8192..9000]);
        assert_eq!(cuts(4096..8192), vec![4096..8192]);
        assert!(cuts(7..7).is_empty());
        let near_end = u64::MAX - 10..u64::MAX;
        assert_eq!(cuts(near_end.clone()), vec![near_end]);
    }

    #[test]
    fn content_cuts_are_those_of_the_fastcdc_crate() {
        let mut state = 1_u32;
        let mut bytes = vec![];
        for _ in 0..400_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push((state >> 24) as u8);
        }
        // A first cut after an odd number of bytes must not shift the others.
        bytes.truncate(399_999);
        let (min_bytes, avg_bytes, max_bytes) = (2048, 8192, 32_768);
        let theirs: Vec<Vec<u8>> = fastcdc::v2020::StreamCDC::new(&bytes[..], 2048, 8192, 32_768)
            .map(|chunk| chunk.expect("memory does not fail").data)
            .collect();
        let chunking = Chunking::FastCdc { min_bytes, avg_bytes, max_bytes };
        let ours: Vec<Vec<u8>> = CdcCutter::new(Dribble(&bytes), chunking)
            .map(|chunk| chunk.expect("memory does not fail"))
            .collect();
        assert!(ours.len() > 20);
        assert_eq!(ours, theirs);
    }

    /// Reads a few bytes at a time, with interruptions.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.len().is_multiple_of(5) && self.0.len() > 1 && buffer.len() > 1 {
                let len = self.0.read(&mut buffer[..1])?;
                assert_eq!(len, 1);
                return Ok(len);
            }
            let len = buffer.len().min(3001);
            self.0.read(&mut buffer[..len])
        }
    }

    #[test]
    fn a_read_error_ends_the_stream() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let mut cutter = CdcCutter::new(Broken, Chunking::FASTCDC_DEFAULT);
        assert!(cutter.next().expect("an item").is_err());
        assert!(cutter.next().is_none());
    }

    proptest! {
        #[test]
        fn fixed_cuts_cover_the_extent_exactly(start in 0..100_000_u64, len in 0..100_000_u64, size in 1..9000_u32) {
            let mut at = start;
            for range in fixed_cuts(start..start + len, size) {
                prop_assert_eq!(range.start, at);
                prop_assert!(range.end > range.start);
                prop_assert_eq!(range.start / u64::from(size), (range.end - 1) / u64::from(size));
                at = range.end;
            }
            prop_assert_eq!(at, start + len);
        }

        #[test]
        fn a_fixed_chunking_streams_like_fixed_cuts(len in 0..40_000_usize) {
            let bytes: Vec<u8> = (0..len).map(|n| (n * 7 / 3) as u8).collect();
            let streamed: Vec<Vec<u8>> =
                CdcCutter::new(&bytes[..], Chunking::Fixed { size_bytes: 8192 })
                    .map(|chunk| chunk.expect("memory does not fail"))
                    .collect();
            let cut: Vec<Vec<u8>> = fixed_cuts(0..len as u64, 8192)
                .map(|range| bytes[range.start as usize..range.end as usize].to_vec())
                .collect();
            prop_assert_eq!(streamed, cut);
        }
    }
}
