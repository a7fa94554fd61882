//! What a collector decides, and nothing else: no store, no clock.
//!
//! A collector puts a plan that condemns packs, waits, looks again, puts the plan's
//! end, which says what goes, and only then deletes. Whoever comes first with a plan
//! or an end has put it for all; a second collector takes what it finds there. The
//! writer's half is in `site::plans`. docs/FORMATS.md says why the two are safe
//! together, and tests/gc_model.rs tries them out in every order.

use crate::site::Plans;
use std::collections::BTreeSet;

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// This plan waits for its end.
    Sweep(u64),
    /// A plan may be put under this number.
    Condemn(u64),
}

pub fn next_step(plans: &Plans) -> Step {
    match plans.pending() {
        Some(generation) => Step::Sweep(generation),
        None => Step::Condemn(plans.next()),
    }
}

/// How far a node's log is, as read after the plan was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The newest plan that any of its segments acknowledges.
    pub ack_gen: u64,
    /// Its last session has not ended.
    pub open: bool,
    /// Another node has ended the log.
    pub fenced: bool,
}

/// Whether the plan must wait for this node: a session that was open when the plan
/// was put may still refer to what the plan condemns. One that began later has seen
/// the plan, one that acknowledges it refers to nothing in it from then on, and all
/// that either wrote before is in the log as it was read.
pub fn holds_up(node: Standing, generation: u64) -> bool {
    node.open && !node.fenced && node.ack_gen < generation
}

/// Of a plan's packs, those that stay. Each item is a chunk that something refers to
/// and that lies in condemned packs only, with these packs, the best first.
pub fn spare<P: Ord + Copy>(needed: impl IntoIterator<Item = Vec<P>>) -> BTreeSet<P> {
    let mut spared = BTreeSet::new();
    for holders in needed {
        if !holders.iter().any(|pack| spared.contains(pack)) {
            spared.extend(holders.first());
        }
    }
    spared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_waits_for_sessions_that_may_not_have_seen_it() {
        let node = Standing { ack_gen: 4, open: true, fenced: false };
        assert!(holds_up(node, 5));
        assert!(!holds_up(node, 4));
        assert!(!holds_up(Standing { open: false, ..node }, 5));
        assert!(!holds_up(Standing { fenced: true, ..node }, 5));
    }

    #[test]
    fn one_pack_is_spared_for_each_chunk_that_is_nowhere_else() {
        assert_eq!(spare::<u8>([]), BTreeSet::new());
        assert_eq!(spare([vec![1, 2]]), BTreeSet::from([1]));
        assert_eq!(spare([vec![1], vec![2, 1], vec![3]]), BTreeSet::from([1, 3]));
        assert_eq!(spare([vec![]]), BTreeSet::<u8>::new(), "what is lost is in no pack");
    }

    #[test]
    fn one_plan_after_the_other() {
        let mut plans = Plans::default();
        assert_eq!(next_step(&plans), Step::Condemn(1));
        plans.add(1, false);
        assert_eq!(next_step(&plans), Step::Sweep(1));
        plans.add(1, true);
        assert_eq!(next_step(&plans), Step::Condemn(2));
    }
}
