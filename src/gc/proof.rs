//! Proof of the other copy: a pack that has something needed is given up only after
//! the copy of it elsewhere was read and is what its id says.
//!
//! Two packs have one chunk where two nodes sent it at the same time, or where it was
//! sent again because its first copy seemed lost. Which of them is good no log tells.

use super::Error;
use super::survey::Doomed;
use crate::catalog::Marked;
use crate::chunk::{self, Decoder};
use crate::classes;
use crate::ids::{ChunkId, PackId};
use crate::monitor::Phase;
use crate::site::carry::is_of_source;
use crate::site::{Site, pack_key};
use crate::store::ErrorKind;
use std::collections::{BTreeMap, HashSet};

/// What one round reads at most; packs beyond that wait for the next.
const MOST_BYTES: u64 = 64 << 30;

/// What the reading showed.
#[derive(Debug, Default)]
pub struct Proof {
    /// Copies that cannot be relied on: the others are needed.
    pub bad: Vec<(PackId, ChunkId)>,
    /// Packs whose other copies were not read.
    pub unproven: HashSet<PackId>,
}

/// Reads what other packs hold of the doomed ones, but for packs in `proven`, which
/// this run has made.
pub fn prove_doubles(
    site: &Site<'_>,
    marked: &Marked<'_>,
    doomed: &[Doomed],
    proven: &HashSet<PackId>,
) -> Result<Proof, Error> {
    let doubles: Vec<&Doomed> = doomed.iter().filter(|pack| pack.is_double).collect();
    let mut proof = Proof::default();
    if doubles.is_empty() {
        return Ok(proof);
    }
    site.monitor.begin(Phase::Verifying, doubles.len() as u64, 0);
    let mut reader = Reader { site, read: BTreeMap::new(), bytes: 0, decoder: Decoder::new() };
    for pack in doubles {
        if reader.bytes >= MOST_BYTES || site.stop.requested() {
            proof.unproven.insert(pack.id);
            continue;
        }
        for (holder, slot) in marked.doubles(pack.id)? {
            if !proven.contains(&holder) && !reader.is_good(holder, &slot)? {
                proof.bad.push((holder, slot.id));
            }
        }
        site.monitor.advance(1, 0);
    }
    site.monitor.end();
    Ok(proof)
}

struct Reader<'a, 's> {
    site: &'a Site<'s>,
    /// Each copy is read once.
    read: BTreeMap<(PackId, ChunkId), bool>,
    bytes: u64,
    decoder: Decoder,
}

impl Reader<'_, '_> {
    fn is_good(&mut self, pack: PackId, slot: &chunk::ChunkSlot) -> Result<bool, Error> {
        if let Some(known) = self.read.get(&(pack, slot.id)) {
            return Ok(*known);
        }
        // A copy in an archive does not replace one that can be read at once, whether or
        // not it happens to be thawed.
        let row = self.site.state.pack(pack)?;
        if row.and_then(|row| row.class).as_deref().is_some_and(classes::is_archive) {
            self.read.insert((pack, slot.id), false);
            return Ok(false);
        }
        let range = slot.offset..slot.offset + u64::from(slot.stored_len);
        let good = match self.site.store.get(&pack_key(pack), Some(range)) {
            Ok(stored) => {
                self.bytes += stored.len() as u64;
                self.site.monitor.advance(0, stored.len() as u64);
                let (protection, store) = (self.site.protection, self.site.store_id);
                let (decoder, plain) = (&mut self.decoder, &mut vec![]);
                chunk::open_chunk(protection, store, pack, slot, &stored, decoder, plain).is_ok()
            }
            Err(error) if error.kind() == ErrorKind::Archived => {
                self.read.insert((pack, slot.id), false);
                return Ok(false);
            }
            Err(error) if is_of_source(&error) => false,
            Err(error) => return Err(error.into()),
        };
        if !good {
            let what =
                format!("chunk {} of pack {pack} cannot be read; hsm verify tells more", slot.id);
            self.site.monitor.notice(&what);
        }
        self.read.insert((pack, slot.id), good);
        Ok(good)
    }
}
