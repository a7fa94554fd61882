//! What a power failure in the middle of a punch leaves: a marked file of the
//! right size, part hole, part old data.
//!
//! It looks exactly like a stub that somebody wrote to while no guard ran, so it
//! is only told apart by its bytes: every local one is compared with the copy,
//! fetched and verified now. If all are equal, nothing is lost by freeing them
//! and the file is the stub that it was about to become. One byte that differs,
//! or a chunk that cannot be had, and it is left for a person to decide.
//!
//! A write lease is held from before the comparison until after the punch, so
//! that what was compared is what is freed; also under a guard, whose own work
//! on files raises no events.

use super::{Error, FileError};
use crate::chunk::{self, ChunkSlot, Decoder};
use crate::ids::{ChunkId, PackId};
use crate::manifest::{Content, Proofs, VerifiedCopy};
use crate::os::blocks;
use crate::os::lease::WriteLease;
use crate::site::{Catalog, Site};
use crate::stub::{self, MarkerSpace};
use crate::units::Copies;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Why a stub with local data is not touched.
pub(super) fn written_over(why: &str) -> FileError {
    FileError::Conflict(format!(
        "it was written to while it was a stub: {why}; hsm recall --discard-local throws that \
         away and brings the copy back, to keep it copy the file elsewhere first"
    ))
}

/// Makes the file a stub again if all its local bytes are those of `content`;
/// the mtime stays as it is. Any other file is left exactly as it was.
pub(super) fn discard(
    site: &Site<'_>,
    catalog: &mut Catalog,
    file: &File,
    space: MarkerSpace,
    content: &Content,
) -> Result<Result<(), FileError>, Error> {
    let lease = match WriteLease::acquire(file) {
        Ok(Some(lease)) => lease,
        Ok(None) => return Ok(Err(in_use())),
        Err(error) => return Ok(Err(FileError::Open(error))),
    };
    let mut comparison = Comparison { site, catalog, decoder: Decoder::new(), plain: vec![] };
    if let Err(error) = comparison.local_data(file, content)? {
        return Ok(Err(error));
    }
    let copy = match comparison.proof(content)? {
        Ok(copy) => copy,
        Err(error) => return Ok(Err(error)),
    };
    if !lease.intact() {
        return Ok(Err(in_use()));
    }
    Ok(stub::discard_residue(file, space, copy).map_err(FileError::from))
}

fn in_use() -> FileError {
    FileError::InUse("it holds local data and a program has it open")
}

struct Comparison<'a, 's> {
    site: &'a Site<'s>,
    catalog: &'a mut Catalog,
    decoder: Decoder,
    /// The chunk that is being compared.
    plain: Vec<u8>,
}

impl Comparison<'_, '_> {
    /// Only chunks that lie where the file has data are fetched.
    fn local_data(
        &mut self,
        file: &File,
        content: &Content,
    ) -> Result<Result<(), FileError>, Error> {
        let extents = match blocks::data_extents(file, content.size_bytes) {
            Ok(extents) => extents,
            Err(error) => return Ok(Err(FileError::Open(error))),
        };
        let mut start = 0;
        for piece in &content.pieces {
            let whole = start..start + piece.len;
            start = whole.end;
            let local = || extents.iter().filter_map(|extent| common(extent, &whole));
            if local().next().is_none() {
                continue;
            }
            if let Some(id) = piece.chunk
                && let Err(error) = self.fetch(id)?
            {
                return Ok(Err(error));
            }
            let plain = piece.chunk.map(|_| (&*self.plain, whole.start));
            for range in local() {
                match equal(file, &range, plain) {
                    Ok(true) => {}
                    Ok(false) => {
                        let what = format!("bytes {}..{} differ", range.start, range.end);
                        return Ok(Err(written_over(&what)));
                    }
                    Err(error) => return Ok(Err(FileError::Open(error))),
                }
            }
        }
        Ok(Ok(()))
    }

    /// Fetches one chunk and verifies it.
    fn fetch(&mut self, id: ChunkId) -> Result<Result<(), FileError>, Error> {
        let Some((pack, slot)) = self.place(id)? else {
            return Ok(Err(FileError::ChunkLost(id)));
        };
        let range = slot.offset..slot.offset + u64::from(slot.stored_len);
        let stored = match self.site.read_pack(pack, range) {
            Ok(stored) => stored,
            Err(error) => return Ok(Err(error.into())),
        };
        let (decoder, plain) = (&mut self.decoder, &mut self.plain);
        let (protection, store) = (self.site.protection, self.site.store_id);
        let opened = chunk::open_chunk(protection, store, pack, &slot, &stored, decoder, plain);
        Ok(opened.map_err(FileError::from))
    }

    fn place(&mut self, id: ChunkId) -> Result<Option<(PackId, ChunkSlot)>, Error> {
        match self.site.state.find_chunks(&[id])?.pop().flatten() {
            Some(place) => Ok(Some((place.pack, place.slot))),
            None => Ok(self.catalog.chunk(self.site, &id, &|_| false)?),
        }
    }

    /// The proof that the punch was allowed once, from the state DB; for two copies it
    /// was by both, and what is left to free is a rest of that. A machine
    /// that lost it has none and leaves the file as it is.
    fn proof(&self, content: &Content) -> Result<Result<VerifiedCopy, FileError>, Error> {
        let ids: Vec<ChunkId> = content.chunk_ids().collect();
        let places = self.site.state.find_chunks(&ids)?;
        let evidence = |id: &ChunkId| -> Option<Proofs> {
            let place = places.iter().flatten().find(|place| place.slot.id == *id)?;
            place.evidence.map(Proofs::from)
        };
        let copy = VerifiedCopy::assemble(content, Copies::One, &evidence);
        Ok(copy.map_err(|missing| FileError::Conflict(format!("it holds local data; {missing}"))))
    }
}

fn common(a: &Range<u64>, b: &Range<u64>) -> Option<Range<u64>> {
    let (start, end) = (a.start.max(b.start), a.end.min(b.end));
    (start < end).then_some(start..end)
}

/// The bytes of `range` are those of the chunk that begins at the given place;
/// without a chunk, zeros.
fn equal(file: &File, range: &Range<u64>, plain: Option<(&[u8], u64)>) -> io::Result<bool> {
    const STEP: u64 = 1 << 20;
    let mut buffer = vec![];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from((range.end - at).min(STEP)).expect("at most 1 MiB");
        buffer.resize(len, 0);
        file.read_exact_at(&mut buffer, at)?;
        let same = match plain {
            Some((chunk, start)) => {
                let from = usize::try_from(at - start).expect("a chunk fits in memory");
                chunk.get(from..from + len).is_some_and(|part| part == &buffer[..])
            }
            None => buffer.iter().all(|&byte| byte == 0),
        };
        if !same {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn ranges_are_compared_with_their_part_of_the_chunk_and_holes_with_zeros() {
        let mut file = tempfile::tempfile().expect("a file");
        let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
        file.write_all(&bytes).expect("write");
        let chunk = &bytes[1000..];
        let compare = |range, plain| equal(&file, &range, plain).expect("read");
        assert!(compare(5000..2_900_000, Some((chunk, 1000))));
        assert!(!compare(5000..2_900_000, Some((chunk, 1001))));
        assert!(!compare(5000..2_900_000, None));
        assert!(!compare(5000..2_900_000, Some((&chunk[..10_000], 1000))), "a chunk too short");
        assert!(compare(251..252, None), "one zero byte");
    }

    #[test]
    fn common_ranges_are_never_empty() {
        assert_eq!(common(&(0..10), &(5..20)), Some(5..10));
        assert_eq!(common(&(0..10), &(10..20)), None);
    }
}
