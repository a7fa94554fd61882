//! A digest of everything a directory's rows say, so that a rescan need not read
//! them.
//!
//! An unchanged tree is the ordinary case, and then the rows of all its names
//! would be read only to be found equal. With the digest beside the directory a
//! rescan reads one row per directory. It is a cryptographic hash: nobody can
//! make names and times that hide a change. A directory has none, and is compared
//! row by row, while its rows are not exactly what was seen (names kept aside
//! until the scan is complete), while a managed file in it is not what was
//! recorded, and when it is so large that it came in parts. A trigger removes it
//! whenever something is recorded about a managed file of the directory.

use super::scan_rows::entry_facts;
use super::scan_writer::SeenEntry;
use aws_lc_rs::digest::{SHA256, digest};

/// The first half of a SHA-256.
pub type Digest = [u8; 16];

/// Bytes of the numbers of one entry.
const FACTS_BYTES: usize = 11 * 8;

/// Over name, NUL and the numbers of each entry in order, little endian;
/// `scratch` spares the allocation.
pub fn of(entries: &[SeenEntry<'_>], scratch: &mut Vec<u8>) -> Digest {
    scratch.clear();
    for entry in entries {
        scratch.extend_from_slice(entry.name);
        scratch.push(0);
        let mut bytes = [0; FACTS_BYTES];
        for (place, fact) in bytes.chunks_exact_mut(8).zip(entry_facts(entry.stat)) {
            place.copy_from_slice(&fact.to_le_bytes());
        }
        scratch.extend_from_slice(&bytes);
    }
    let whole = digest(&SHA256, scratch);
    *whole.as_ref().first_chunk().expect("SHA-256 is 32 bytes")
}
