//! Bytes that say which file, version and offset they are: each word of eight
//! holds all three, so that zeros, stale data and data of another file are told
//! apart, word by word, also where a read overlaps a write.

use super::shared::Version;
use std::ops::RangeInclusive;

/// File in 12 bits, never 0; version in 20; index of the word in 32.
fn word(file: usize, version: u32, index: u32) -> u64 {
    (file as u64 + 1) << 52 | u64::from(version & 0xf_ffff) << 32 | u64::from(index)
}

/// All bytes of a version.
pub fn content(file: usize, version: Version) -> Vec<u8> {
    let first = word(file, version.number, 0);
    (0..u64::from(version.words)).flat_map(|index| (first | index).to_le_bytes()).collect()
}

/// Checks bytes from offset `at` on; the versions that may be there. Where they
/// are several the file was written to meanwhile, perhaps cut, and the kernel
/// shows a reader that was under way zeros for what is being cut off: then, and
/// only then, they tell nothing.
pub fn check(
    file: usize,
    versions: &RangeInclusive<u32>,
    at: usize,
    bytes: &[u8],
) -> Result<(), String> {
    // Whole words only: the versions of a torn one cannot be told.
    let skip = at.next_multiple_of(8) - at;
    let words = bytes.get(skip..).unwrap_or(&[]).chunks_exact(8);
    let newest = word(file, *versions.end(), 0);
    let may_be_cut = versions.start() != versions.end();
    for (nth, found) in words.enumerate() {
        let found = u64::from_le_bytes(found.try_into().expect("eight bytes"));
        let index = ((at + skip) / 8 + nth) as u64;
        let is_right = found == newest | index
            || found == 0 && may_be_cut
            || is_one_of(found, file, versions, index as u32);
        if !is_right {
            return Err(describe(found, file, versions, index));
        }
    }
    Ok(())
}

fn is_one_of(found: u64, file: usize, versions: &RangeInclusive<u32>, index: u32) -> bool {
    versions.clone().any(|version| found == word(file, version, index))
}

fn describe(found: u64, file: usize, versions: &RangeInclusive<u32>, index: u64) -> String {
    let at = index * 8;
    if found == 0 {
        return format!("ZEROS at {at} of file {file}, which is at version {versions:?}");
    }
    let (whose, version, place) = (found >> 52, found >> 32 & 0xf_ffff, found as u32);
    format!(
        "at {at} of file {file}, which is at version {versions:?}: \
         version {version} of file {}, offset {}",
        whose as i64 - 1,
        u64::from(place) * 8
    )
}
