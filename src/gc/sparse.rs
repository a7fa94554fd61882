//! Which packs are written anew. Pure.
//!
//! Two reasons. So little of a pack is in use that it pays by itself (`repack_below`);
//! or too much of all packs together is dead, then the emptiest are written anew until
//! at most a tenth of what is in use is: so a store stays within a tenth of what a
//! fresh upload would take, however deletions are scattered.

use crate::catalog::MarkedPack;
use crate::chunk::{HEADER_LEN, PACK_HEADER_LEN, TRAILER_LEN};
use crate::classes;
use crate::config::GcSection;
use crate::ids::{NodeId, PackId};

/// Dead bytes that may stay, in percent of those in use.
const MOST_DEAD_PCT: f64 = 10.0;

/// Of what a chunk takes in its pack beside its bytes: its header, its line in the
/// index (docs/FORMATS.md 3).
const CHUNK_EXTRA_BYTES: u64 = HEADER_LEN as u64 + 52;
const PACK_EXTRA_BYTES: u64 = (PACK_HEADER_LEN + TRAILER_LEN) as u64;

/// A pack that would be written anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparse {
    pub id: PackId,
    pub class: Option<String>,
    pub bytes: u64,
    pub held_bytes: u64,
    /// Of its bytes, those in use.
    pub share_pct: f64,
}

impl Sparse {
    fn dead_bytes(&self) -> f64 {
        self.bytes as f64 * (100.0 - self.share_pct) / 100.0
    }
}

/// Gathers the packs that this node may write anew: its own, and those of retired
/// nodes.
pub struct Sieve<'s> {
    node: NodeId,
    section: &'s GcSection,
    partly_dead: Vec<Sparse>,
    used_bytes: f64,
}

impl<'s> Sieve<'s> {
    pub fn new(node: NodeId, section: &'s GcSection) -> Self {
        Self { node, section, partly_dead: vec![], used_bytes: 0.0 }
    }

    /// Takes a pack into account that holds something.
    pub fn add(&mut self, pack: MarkedPack) {
        let is_ours = pack.node == self.node || pack.node_fenced;
        // Paid for to the end of a minimum duration, however early it goes.
        let is_cold = pack.class.as_deref().is_some_and(classes::has_minimum);
        let may = is_ours && !pack.in_session && (!is_cold || self.section.repack_cold);
        let whole = pack.stored_bytes.filter(|bytes| may && *bytes == pack.size_bytes);
        let Some(bytes) = whole.filter(|_| pack.held_chunks > 0) else { return };
        let used = pack.held_bytes + pack.held_chunks * CHUNK_EXTRA_BYTES;
        let room = bytes.saturating_sub(PACK_EXTRA_BYTES).max(1);
        let share_pct = used as f64 * 100.0 / room as f64;
        self.used_bytes += used as f64;
        if share_pct < 99.9 {
            let (id, class, held_bytes) = (pack.id, pack.class, pack.held_bytes);
            self.partly_dead.push(Sparse { id, class, bytes, held_bytes, share_pct });
        }
    }

    /// The packs to write anew, the emptiest first.
    pub fn chosen(mut self) -> Vec<Sparse> {
        let below_pct = self.section.repack_below_pct;
        if below_pct <= 0.0 {
            return vec![];
        }
        let packs = &mut self.partly_dead;
        packs.sort_by(|a, b| a.share_pct.total_cmp(&b.share_pct).then(a.id.cmp(&b.id)));
        let mut dead: f64 = packs.iter().map(Sparse::dead_bytes).sum();
        let most = self.used_bytes * MOST_DEAD_PCT / 100.0;
        let stays = packs.iter().position(|pack| {
            let stays = pack.share_pct >= below_pct && dead <= most;
            dead -= pack.dead_bytes();
            stays
        });
        packs.truncate(stays.unwrap_or(packs.len()));
        self.partly_dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 16]);

    /// One chunk of so many bytes in use of so many.
    fn pack(number: u8, used: u64, bytes: u64) -> MarkedPack {
        MarkedPack {
            id: PackId([number; 16]),
            node: NODE,
            node_fenced: false,
            class: None,
            size_bytes: bytes,
            stored_bytes: Some(bytes),
            live_chunks: 1,
            held_chunks: 1,
            held_bytes: used - CHUNK_EXTRA_BYTES,
            in_session: false,
        }
    }

    fn chosen(section: &GcSection, packs: impl IntoIterator<Item = MarkedPack>) -> Vec<u8> {
        let mut sieve = Sieve::new(NODE, section);
        packs.into_iter().for_each(|pack| sieve.add(pack));
        sieve.chosen().iter().map(|pack| pack.id.0[0]).collect()
    }

    #[test]
    fn the_mostly_dead_go_and_of_the_others_as_many_as_it_takes() {
        let section = GcSection::default();
        let full = || pack(9, 1_000_000, 1_000_000 + PACK_EXTRA_BYTES);
        let few = [pack(1, 300, 1000), pack(2, 500, 1000), full()];
        assert_eq!(chosen(&section, few), [1], "the rest is a drop in the store");
        let halves = (1..=9).map(|number| pack(number, 500 + u64::from(number), 1000));
        assert_eq!(chosen(&section, halves).len(), 8, "half of all was dead, and a tenth may stay");
        let mixed = [pack(1, 50_000, 100_000), pack(2, 90_000, 100_000), full()];
        assert_eq!(chosen(&section, mixed), [0; 0], "60 kB of a million");
        let mixed = [pack(1, 50_000, 100_000), pack(2, 500_000, 1_000_000), full()];
        assert_eq!(chosen(&section, mixed), [2], "what is left then is less than a tenth");
    }

    #[test]
    fn a_full_pack_is_full_however_small() {
        let section = GcSection { repack_below_pct: 100.0, ..GcSection::default() };
        let small = pack(1, 1 + CHUNK_EXTRA_BYTES, 1 + CHUNK_EXTRA_BYTES + PACK_EXTRA_BYTES);
        assert_eq!(chosen(&section, [small]), [0; 0], "else it were written anew every day");
    }

    #[test]
    fn only_what_this_node_may_is_written_anew() {
        let section = GcSection::default();
        let empty = || pack(1, 200, 1000);
        assert_eq!(chosen(&section, [empty()]), [1]);
        let theirs = MarkedPack { node: NodeId([2; 16]), ..empty() };
        assert_eq!(chosen(&section, [theirs.clone()]), [0; 0]);
        assert_eq!(chosen(&section, [MarkedPack { node_fenced: true, ..theirs }]), [1]);
        assert_eq!(chosen(&section, [MarkedPack { in_session: true, ..empty() }]), [0; 0]);
        assert_eq!(chosen(&section, [MarkedPack { stored_bytes: Some(999), ..empty() }]), [0; 0]);
        assert_eq!(chosen(&section, [MarkedPack { stored_bytes: None, ..empty() }]), [0; 0]);
        assert_eq!(chosen(&section, [MarkedPack { held_chunks: 0, ..empty() }]), [0; 0]);
        let none = GcSection { repack_below_pct: 0.0, ..GcSection::default() };
        assert_eq!(chosen(&none, [empty()]), [0; 0]);
    }

    #[test]
    fn what_is_paid_for_anyway_is_left_unless_asked_for() {
        let of_class =
            |class: &str| MarkedPack { class: Some(class.to_owned()), ..pack(1, 200, 1000) };
        let section = GcSection::default();
        assert_eq!(chosen(&section, [of_class("INTELLIGENT_TIERING")]), [1]);
        for class in ["STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"] {
            assert_eq!(chosen(&section, [of_class(class)]), [0; 0], "{class}");
            let asked = GcSection { repack_cold: true, ..GcSection::default() };
            assert_eq!(chosen(&asked, [of_class(class)]), [1], "{class}");
        }
    }
}
