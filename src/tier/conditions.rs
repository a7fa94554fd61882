//! The conditions under which a file may become a stub, each with a name.
//!
//! `hsm explain` shows them one by one, `hsm status` counts the refusals by
//! name, and stubbing checks each at the moment of action. The names are part
//! of the interface (docs/SEMANTICS.md).

use super::stubbing::Refusal;
use crate::chunk::Protection;
use crate::manifest::Content;
use crate::os::blocks;
use crate::os::stat::Stat;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

pub const GUARDED: &str = "guarded";
pub const UPLOADED: &str = "uploaded";
pub const COPY_PROVEN: &str = "copy-proven";
pub const SECOND_COPY: &str = "second-copy-proven";
pub const UNCHANGED: &str = "unchanged";
pub const RULE_MATCHES: &str = "rule-matches";
pub const NOT_PINNED: &str = "not-pinned";
pub const NOT_EXCLUDED: &str = "not-excluded";
pub const NOT_RECENTLY_RECALLED: &str = "not-recently-recalled";
pub const LARGE_ENOUGH: &str = "large-enough";
pub const ONE_NAME: &str = "one-name";
pub const MUTABLE: &str = "mutable";
pub const NOT_OPEN: &str = "not-open";
pub const CONTENT_EQUAL: &str = "content-equal";

/// Why a file is in use that cannot even be opened.
pub const LEASED: &str = "a program has a lease on it, as smbd for a client";

/// Stands for a condition that only a guard of another version knows.
pub const OTHER: &str = "other";

/// A condition by its name in a message of the guard.
pub fn named(name: &str) -> &'static str {
    ALL.into_iter().find(|known| *known == name).unwrap_or(OTHER)
}

/// All of them, in the order in which they are checked.
pub const ALL: [&str; 14] = [
    GUARDED,
    UPLOADED,
    COPY_PROVEN,
    SECOND_COPY,
    NOT_PINNED,
    NOT_EXCLUDED,
    RULE_MATCHES,
    LARGE_ENOUGH,
    ONE_NAME,
    NOT_RECENTLY_RECALLED,
    MUTABLE,
    NOT_OPEN,
    UNCHANGED,
    CONTENT_EQUAL,
];

/// Neither immutable nor append-only: such a file cannot be punched.
pub fn mutable(stat: &Stat) -> Result<(), Refusal> {
    let flag = match (stat.immutable, stat.append_only) {
        (true, _) => "it is immutable (chattr +i)",
        (_, true) => "it is append-only (chattr +a)",
        _ => return Ok(()),
    };
    Err(Refusal::new(MUTABLE, flag))
}

/// The local bytes are exactly the content that the store has, holes included.
pub fn content_equal(
    file: &File,
    stat: &Stat,
    content: &Content,
    protection: &Protection,
) -> io::Result<bool> {
    if content.size_bytes != stat.size_bytes {
        return Ok(false);
    }
    let mut buffer = Vec::new();
    // Asked for once: a file of many holes has as many extents.
    let mut extents = None;
    let mut at = 0;
    for piece in &content.pieces {
        let end = at + piece.len;
        let equal = match piece.chunk {
            Some(id) => {
                buffer.resize(usize::try_from(piece.len).unwrap_or(usize::MAX), 0);
                file.read_exact_at(&mut buffer, at)?;
                protection.chunk_id(&buffer) == id
            }
            None => {
                let extents = match &mut extents {
                    Some(extents) => &*extents,
                    None => extents.insert(blocks::data_extents(file, stat.size_bytes)?),
                };
                reads_as_zeros(file, at..end, extents, &mut buffer)?
            }
        };
        if !equal {
            return Ok(false);
        }
        at = end;
    }
    Ok(at == stat.size_bytes)
}

/// What was a hole may hold data now; it counts as the same while it reads as
/// zeros. Only the parts with blocks, the ascending `extents`, are read.
fn reads_as_zeros(
    file: &File,
    hole: Range<u64>,
    extents: &[Range<u64>],
    buffer: &mut Vec<u8>,
) -> io::Result<bool> {
    const STEP: u64 = 1 << 20;
    let first = extents.partition_point(|extent| extent.end <= hole.start);
    for extent in extents[first..].iter().take_while(|extent| extent.start < hole.end) {
        let mut at = extent.start.max(hole.start);
        let end = extent.end.min(hole.end);
        while at < end {
            let len = (end - at).min(STEP);
            buffer.resize(usize::try_from(len).expect("at most 1 MiB"), 0);
            file.read_exact_at(buffer, at)?;
            if buffer.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            at += len;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Piece;

    const BLOCK: u64 = 4096;

    fn file_with(blocks_of_data: &[u64], len_blocks: u64) -> (File, Stat) {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(len_blocks * BLOCK).expect("size");
        for block in blocks_of_data {
            file.write_all_at(&[1; BLOCK as usize], block * BLOCK).expect("write");
        }
        let stat = crate::os::stat::statx_fd(&file).expect("stat");
        (file, stat)
    }

    fn equal(file: &File, stat: &Stat, content: &Content) -> bool {
        content_equal(file, stat, content, &Protection::Plain).expect("it is readable")
    }

    /// Quadratic work would take a day for these: an hour under a lease, and no
    /// end to a run over disk images.
    #[test]
    fn a_file_of_very_many_holes_is_compared_in_one_pass() {
        let every_other: Vec<u64> = (0..8_000).map(|block| block * 2).collect();
        let (file, stat) = file_with(&every_other, 16_000);
        let chunk = Some(Protection::Plain.chunk_id(&[1; BLOCK as usize]));
        let pieces = [Piece { len: BLOCK, chunk }, Piece { len: BLOCK, chunk: None }];
        let content = Content::new(pieces.into_iter().cycle().take(16_000)).expect("sound");
        assert!(equal(&file, &stat, &content));
        file.write_all_at(b"x", 15_999 * BLOCK + 7).expect("write");
        assert!(!equal(&file, &stat, &content));
    }

    #[test]
    fn a_hole_that_was_filled_with_zeros_is_still_the_same() {
        let (file, stat) = file_with(&[], 9);
        let content = Content::new([Piece { len: 9 * BLOCK, chunk: None }]).expect("sound");
        for block in [0, 4, 8] {
            file.write_all_at(&[0; BLOCK as usize], block * BLOCK).expect("write");
            assert!(equal(&file, &stat, &content), "block {block}");
        }
        file.write_all_at(b"x", 4 * BLOCK).expect("write");
        assert!(!equal(&file, &stat, &content));
    }
}
