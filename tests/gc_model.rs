//! Two writers and two collectors over one store, in every order of their steps.
//!
//! A model: the store is linearizable, each actor is a state machine whose steps are
//! one request or one transaction, and what it decides it asks of the same functions
//! as the program (`gc::protocol`, `site::plans`). Actors crash between any two steps,
//! forget what they held in memory, and go on from their state DB. The model is
//! harsher than the program: no pack is too young to be condemned, no time passes
//! between a plan and its end.
//!
//! What must hold after each step: the chunk of every file that some log has and has
//! not dropped is in an object that exists. What must hold in the end: nothing else is.
//!
//! Small worlds are searched exhaustively, larger ones at random
//! (`HSM_TEST_GC_INTERLEAVINGS`). A protocol with one rule taken out must be caught.

#[path = "support/dice.rs"]
mod dice;
mod gc_model {
    pub mod collector;
    pub mod mutant;
    pub mod store;
    pub mod world;
    pub mod writer;
}

use dice::Dice;
use gc_model::mutant::Mutant;
use gc_model::store::members;
use gc_model::world::{MOVES, Move, Setting, World};
use gc_model::writer::Op;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The moves that led to a file without a copy, if any do; and how many states there
/// are.
fn search(setting: &Setting) -> (Option<Vec<Move>>, usize) {
    let mut seen: HashSet<u64> = HashSet::new();
    let mut stack = vec![(World::new(setting), 0_usize)];
    let mut path: Vec<Move> = vec![];
    while let Some((world, next)) = stack.last_mut() {
        let Some(step) = MOVES.get(*next) else {
            stack.pop();
            path.pop();
            continue;
        };
        *next += 1;
        let mut after = world.clone();
        if !after.take(*step, setting) {
            continue;
        }
        if after.store.lost() != 0 {
            path.push(*step);
            return (Some(path), seen.len());
        }
        let mut hasher = DefaultHasher::new();
        after.hash(&mut hasher);
        if seen.insert(hasher.finish()) {
            path.push(*step);
            stack.push((after, 0));
        }
    }
    (None, seen.len())
}

/// Plays one world at random to its end; the moves that lost something.
fn play(setting: &Setting, dice: &mut Dice) -> Result<World, Vec<Move>> {
    let mut world = World::new(setting);
    let mut path = vec![];
    loop {
        let start = dice.below(MOVES.len() as u64) as usize;
        // A crash now and then, and a burst of one actor, as real ones come.
        let mut moves = (0..MOVES.len()).map(|at| MOVES[(start + at) % MOVES.len()]);
        let is_crash = |step: &Move| matches!(step, Move::CrashWriter(_) | Move::CrashCollector(_));
        let allowed = dice.below(8) == 0;
        let taken = moves.find(|step| (allowed || !is_crash(step)) && world.take(*step, setting));
        let Some(step) = taken else { return Ok(world) };
        path.push(step);
        if world.store.lost() != 0 {
            return Err(path);
        }
        for _ in 0..dice.below(4) {
            if is_crash(&step) || !world.take(step, setting) {
                break;
            }
            path.push(step);
            if world.store.lost() != 0 {
                return Err(path);
            }
        }
    }
}

fn upload(name: u8, chunk: u8) -> Op {
    Op::Upload { name, chunk }
}

/// Small worlds in which something becomes garbage while somebody wants it again.
fn small_worlds(mutant: Mutant) -> Vec<Setting> {
    let drop = Op::Drop { name: 0 };
    let setting = |scripts, runs, crashes, retires| Setting {
        scripts,
        runs,
        crashes,
        retires,
        long: false,
        mutant,
    };
    vec![
        setting([vec![drop], vec![upload(1, 0)]], [3, 2], 0, false),
        setting([vec![drop], vec![upload(1, 0)]], [3, 0], 1, true),
        setting([vec![drop, upload(1, 0)], vec![]], [2, 2], 1, false),
        setting([vec![drop], vec![upload(1, 0), Op::Drop { name: 1 }]], [2, 2], 0, false),
        setting([vec![drop], vec![upload(1, 0), upload(2, 0)]], [4, 0], 0, true),
        setting(
            [vec![drop], vec![upload(1, 0), Op::Drop { name: 1 }, upload(2, 0)]],
            [2, 1],
            0,
            false,
        ),
        Setting { long: true, ..setting([vec![drop], vec![upload(1, 0)]], [3, 2], 0, false) },
        Setting {
            long: true,
            ..setting([vec![drop], vec![upload(1, 1), upload(2, 0)]], [2, 1], 0, false)
        },
    ]
}

fn random_world(dice: &mut Dice, mutant: Mutant) -> Setting {
    let mut script = || {
        let ops = (0..1 + dice.below(4)).map(|_| match dice.below(7) {
            0 => Op::Learn,
            1 | 2 => Op::Drop { name: dice.below(3) as u8 },
            _ => upload(dice.below(3) as u8, dice.below(2) as u8),
        });
        ops.collect::<Vec<Op>>()
    };
    let scripts = [script(), script()];
    let runs = [1 + dice.below(5) as u8, dice.below(5) as u8];
    let (crashes, retires) = (dice.below(4) as u8, dice.below(4) == 0);
    let long = dice.below(2) == 0;
    Setting { scripts, runs, crashes, retires, long, mutant }
}

fn rounds() -> u64 {
    let wanted = std::env::var("HSM_TEST_GC_INTERLEAVINGS").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

#[test]
fn nothing_that_is_referred_to_is_deleted_in_any_order_of_a_small_world() {
    let mut states = 0;
    for setting in small_worlds(Mutant::None) {
        let (lost, seen) = search(&setting);
        assert_eq!(lost, None, "{:?}", setting.scripts);
        states += seen;
    }
    assert!(states > 500_000, "only {states} states: the search is no search");
}

#[test]
fn nothing_that_is_referred_to_is_deleted_in_random_orders_of_larger_worlds() {
    let mut ended = 0;
    for round in 0..rounds() {
        let mut dice = Dice::new(round);
        let setting = random_world(&mut dice, Mutant::None);
        match play(&setting, &mut dice) {
            Ok(world) => ended += u64::from(world.store.ends.iter().any(Option::is_some)),
            Err(path) => panic!("round {round}: {:?}\n{path:?}", setting.scripts),
        }
    }
    assert!(ended > rounds() / 10, "only {ended} worlds deleted anything");
}

/// Without crashes and when all have ended, a collector leaves nothing but what is
/// needed.
#[test]
fn garbage_is_gone_in_the_end() {
    for round in 0..rounds() / 10 {
        let mut dice = Dice::new(round);
        let mut setting = random_world(&mut dice, Mutant::None);
        (setting.crashes, setting.retires) = (0, false);
        let Ok(mut world) = play(&setting, &mut dice) else { panic!("round {round} lost a file") };
        world.collectors[0].runs = 6;
        while world.take(Move::Collector(0), &setting) {}
        let (objects, live) = (world.store.objects, world.store.live());
        for pack in members(objects) {
            assert!(world.store.chunks[pack] & live != 0, "round {round}: pack {pack} is left");
        }
        assert_eq!(members(objects).count(), members(live).count(), "round {round}: doubles");
    }
}

#[test]
fn a_protocol_with_one_rule_less_loses_a_file_in_some_order() {
    for (mutant, world) in [
        (Mutant::LooksBeforeItOpens, 0),
        (Mutant::AcknowledgesWithoutAsking, 6),
        (Mutant::LooksOnce, 6),
        (Mutant::ForgetsEnds, 0),
        (Mutant::DoesNotWait, 0),
        (Mutant::MarksOnce, 0),
        (Mutant::DeletesOnItsOwn, 5),
        (Mutant::ReplacesPlans, 7),
    ] {
        let (lost, states) = search(&small_worlds(mutant)[world]);
        assert!(lost.is_some(), "{mutant:?} is not caught in {states} states");
    }
}
