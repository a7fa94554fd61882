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
use std::os::unix::fs::FileExt;

pub const GUARDED: &str = "guarded";
pub const UPLOADED: &str = "uploaded";
pub const COPY_PROVEN: &str = "copy-proven";
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

/// All of them, in the order in which they are checked.
pub const ALL: [&str; 13] = [
    GUARDED,
    UPLOADED,
    COPY_PROVEN,
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
    let mut at = 0;
    for piece in &content.pieces {
        let end = at + piece.len;
        let equal = match piece.chunk {
            Some(id) => {
                buffer.resize(usize::try_from(piece.len).unwrap_or(usize::MAX), 0);
                file.read_exact_at(&mut buffer, at)?;
                protection.chunk_id(&buffer) == id
            }
            None => reads_as_zeros(file, at, end, stat, &mut buffer)?,
        };
        if !equal {
            return Ok(false);
        }
        at = end;
    }
    Ok(at == stat.size_bytes)
}

/// What was a hole may hold data now; it counts as the same while it reads as
/// zeros. Only the parts with blocks are read.
fn reads_as_zeros(
    file: &File,
    from: u64,
    to: u64,
    stat: &Stat,
    buffer: &mut Vec<u8>,
) -> io::Result<bool> {
    const STEP: u64 = 1 << 20;
    for extent in blocks::data_extents(file, stat.size_bytes)? {
        let mut at = extent.start.max(from);
        let end = extent.end.min(to);
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
