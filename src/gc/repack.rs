//! Writes anew what is needed of packs that are mostly dead, so that the old ones can
//! go as a whole.
//!
//! The new packs are in the log before anything is condemned. A crash before that
//! leaves packs that the state DB knows and that the next segment names.

use super::Error;
use super::sparse::Sparse;
use crate::catalog::Marked;
use crate::ids::PackId;
use crate::monitor::Phase;
use crate::site::Site;
use crate::site::carry::Carrier;

/// What one round rewrites at most: it keeps uploads of this node waiting.
const MOST_BYTES: u64 = 64 << 30;

/// What was rewritten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repacked {
    /// Old packs of which all that is needed is in new ones.
    pub packs: u64,
    /// Stored bytes that were carried over.
    pub carried_bytes: u64,
    /// The new packs: durable, proven, in the state DB and in no log yet.
    pub made: Vec<PackId>,
}

/// Those of `sparse` that one round takes, by class: chunks of one class share packs.
pub fn chosen(sparse: &[Sparse]) -> Vec<&Sparse> {
    let mut bytes = 0;
    let mut chosen: Vec<&Sparse> = sparse
        .iter()
        .take_while(|pack| {
            bytes += pack.held_bytes;
            bytes <= MOST_BYTES
        })
        .collect();
    chosen.sort_by(|a, b| a.class.cmp(&b.class).then(a.id.cmp(&b.id)));
    chosen
}

/// Carries over what `marked` says the packs hold.
pub fn repack(
    site: &mut Site<'_>,
    marked: &Marked<'_>,
    sparse: &[Sparse],
) -> Result<Repacked, Error> {
    let chosen = chosen(sparse);
    let total: u64 = chosen.iter().map(|pack| pack.held_bytes).sum();
    let mut repacked = Repacked::default();
    if chosen.is_empty() {
        return Ok(repacked);
    }
    site.monitor.begin(Phase::Repacking, chosen.len() as u64, total);
    let mut carrier = Carrier::new();
    for pack in chosen {
        if site.stop.requested() {
            break;
        }
        let slots = marked.held(pack.id)?;
        match carrier.take(site, pack.class.as_deref(), pack.id, &slots)? {
            Ok(()) => repacked.packs += 1,
            Err(error) => {
                let why = format!("pack {} is left as it is: {error}", pack.id);
                site.monitor.notice(&why);
            }
        }
        site.monitor.advance(1, pack.held_bytes);
    }
    repacked.carried_bytes = carrier.carried_bytes();
    repacked.made = carrier.finish(site)?;
    site.monitor.end();
    Ok(repacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_the_emptiest_and_no_more_than_it_may() {
        let pack = |number: u8, class: Option<&str>, held_bytes| Sparse {
            id: PackId([number; 16]),
            class: class.map(str::to_owned),
            bytes: 0,
            held_bytes,
            share_pct: 0.0,
        };
        let sparse = [
            pack(3, None, 1),
            pack(1, Some("GLACIER_IR"), 1),
            pack(2, None, MOST_BYTES - 3),
            pack(4, None, 2),
            pack(5, None, 0),
        ];
        let taken: Vec<u8> = chosen(&sparse).into_iter().map(|pack| pack.id.0[0]).collect();
        assert_eq!(taken, [2, 3, 1], "by class, and what comes too late waits");
    }
}
