//! A collector: plan, end, deletes.

use super::mutant::Mutant;
use super::store::{GENERATIONS, Record, Segment, Set, Store, WRITERS, members, one};
use hsm::gc::protocol::{Step, holds_up, next_step, spare};
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    Idle,
    /// Packs were listed; the logs are read next.
    Mark {
        generation: u8,
        listed: Set,
    },
    PutPlan {
        generation: u8,
        condemned: Set,
    },
    Sweep {
        generation: u8,
    },
    Retire {
        writer: usize,
        slot: usize,
    },
    PutEnd {
        generation: u8,
        deleted: Set,
    },
    Delete {
        left: Set,
        /// A mutant's end, which comes last.
        then: Option<(u8, Set)>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Collector {
    pub task: Task,
    pub runs: u8,
}

impl Collector {
    /// Takes the next step; false if there is none.
    pub fn step(&mut self, store: &mut Store, retires: bool, mutant: Mutant) -> bool {
        self.task = match self.task {
            Task::Idle if self.runs == 0 => return false,
            Task::Idle => {
                self.runs -= 1;
                begin_collection(store)
            }
            Task::Mark { generation, listed } => mark(store, generation, listed),
            Task::PutPlan { generation, condemned } => {
                put_plan(store, usize::from(generation), condemned, mutant);
                Task::Idle
            }
            Task::Sweep { generation } => sweep(store, generation, retires, mutant),
            Task::Retire { writer, slot } => {
                if store.logs[writer].len() == slot {
                    store.logs[writer].push(Segment { ack: 0, packs: 0, record: Record::Fence });
                }
                Task::Idle
            }
            Task::PutEnd { generation, deleted } => {
                let left = *store.ends[usize::from(generation) - 1].get_or_insert(deleted);
                Task::Delete { left, then: None }
            }
            Task::Delete { left: 0, then } => {
                if let Some((generation, deleted)) = then {
                    store.ends[usize::from(generation) - 1].get_or_insert(deleted);
                }
                Task::Idle
            }
            Task::Delete { left, then } => {
                store.objects &= !(left & left.wrapping_neg());
                Task::Delete { left: left & (left - 1), then }
            }
        };
        true
    }
}

pub fn begin_collection(store: &Store) -> Task {
    let left = store.objects & store.ended();
    if left != 0 {
        return Task::Delete { left, then: None };
    }
    match next_step(&store.list_plans()) {
        Step::Sweep(generation) => Task::Sweep { generation: generation as u8 },
        Step::Condemn(generation) => {
            Task::Mark { generation: generation as u8, listed: store.objects }
        }
    }
}

pub fn mark(store: &Store, generation: u8, listed: Set) -> Task {
    let (named, live) = (store.named() & listed, store.live());
    let kept = members(live).filter_map(|chunk| store.holders(chunk, named).first().copied());
    let kept = kept.fold(0, |all, pack| all | one(pack));
    // Also what no log names, however young.
    match listed & !kept & !store.ended() {
        0 => Task::Idle,
        condemned => Task::PutPlan { generation, condemned },
    }
}

pub fn put_plan(store: &mut Store, generation: usize, condemned: Set, mutant: Mutant) {
    if store.plans.len() < generation {
        assert!(generation <= GENERATIONS, "the model's bound");
        store.plans.push(condemned);
        store.ends.push(None);
    } else if mutant == Mutant::ReplacesPlans {
        store.plans[generation - 1] = condemned;
    }
}

pub fn sweep(store: &Store, generation: u8, retires: bool, mutant: Mutant) -> Task {
    let waits_for = |writer: &usize| holds_up(store.standing(*writer), generation.into());
    if let Some(writer) = (0..WRITERS).find(waits_for)
        && mutant != Mutant::DoesNotWait
    {
        let slot = store.logs[writer].len();
        return if retires { Task::Retire { writer, slot } } else { Task::Idle };
    }
    let condemned = store.plans[usize::from(generation) - 1];
    let there = store.objects;
    let others = store.named() & there & !condemned;
    let unheld = members(store.live()).filter(|chunk| store.holders(*chunk, others).is_empty());
    let spared = spare(unheld.map(|chunk| store.holders(chunk, condemned & there)));
    let spared = spared.into_iter().fold(0, |all, pack| all | one(pack));
    let deleted = if mutant == Mutant::MarksOnce { condemned } else { condemned & !spared };
    match mutant {
        Mutant::DeletesOnItsOwn => {
            Task::Delete { left: deleted, then: Some((generation, deleted)) }
        }
        _ => Task::PutEnd { generation, deleted },
    }
}
