//! A worker process: threads that do one operation after the other until they
//! are told to stop, or something was wrong.

use super::shared::{PROCESSES, Shared, THREADS};
use super::world::{Did, Outcome, Trouble, World};
use super::{reads, writes};
use crate::support::actor::order;
use crate::support::dice::Dice;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;

pub type Operation = fn(&mut World) -> Outcome;

/// What the dice fall on. A file that is changed all the time is never a stub, so
/// writes are rare.
pub const OPERATIONS: [(&str, u64, Operation); 16] = [
    ("read", 120, reads::read),
    ("pread", 100, reads::pread),
    ("direct read", 40, reads::direct),
    ("mmap", 80, reads::mmap),
    ("mremap", 50, reads::mremap),
    ("sendfile", 50, reads::sendfile),
    ("copy_file_range", 40, reads::copy_file_range),
    ("seek data", 50, reads::seek_data),
    ("held descriptor", 40, reads::held_descriptor),
    ("held mapping", 40, reads::held_mapping),
    ("exec", 10, reads::execute),
    ("rewrite", 1, writes::rewrite),
    ("append", 1, writes::append),
    ("truncate", 1, writes::truncate),
    ("replace", 1, writes::replace),
    ("rename or link", 1, rename_or_link),
];

fn rename_or_link(world: &mut World) -> Outcome {
    if world.dice.below(2) == 0 { writes::rename(world) } else { writes::hard_link(world) }
}

fn cast(dice: &mut Dice) -> usize {
    let all: u64 = OPERATIONS.iter().map(|(_, weight, _)| weight).sum();
    let mut left = dice.below(all);
    for (nth, (_, weight, _)) in OPERATIONS.iter().enumerate() {
        if left < *weight {
            return nth;
        }
        left -= weight;
    }
    unreachable!("the weights add up")
}

/// A refusal is excused by a guard that died while, or at most a second before,
/// the operation was under way.
pub fn excused(shared: &Shared, error: &io::Error, begun_ns: u64) -> bool {
    let refusal = matches!(error.raw_os_error(), Some(libc::EIO | libc::EAGAIN));
    let last_kill_ns = shared.last_kill_ns.load(SeqCst);
    refusal && last_kill_ns != 0 && begun_ns < last_kill_ns + 1_000_000_000
}

/// The part of the other process, as it was ordered.
pub fn work() -> Result<(), String> {
    let get = |name: &str| order(name).unwrap_or_else(|| panic!("no order {name}"));
    let process: usize = get("PROCESS").parse().expect("a number");
    let seed: u64 = get("SEED").parse().expect("a number");
    let shared = Shared::at(&PathBuf::from(get("TABLE")));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let slot = process + PROCESSES * thread;
            let world = World {
                shared,
                root: get("ROOT").into(),
                beside: get("BESIDE").into(),
                away: get("AWAY").into(),
                slot,
                dice: Dice::new(seed * 1000 + slot as u64),
                held_file: None,
                held_map: None,
            };
            std::thread::spawn(move || until_stopped(world))
        })
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
}

// Mappings belong to the thread that uses them.
// SAFETY: the pointer in a `Mapped` is to memory that no other thread knows.
unsafe impl Send for World {}

fn until_stopped(mut world: World) -> Result<(), String> {
    let shared = world.shared;
    while !shared.stop.load(SeqCst) {
        let nth = cast(&mut world.dice);
        let (name, _, operation) = OPERATIONS[nth];
        let begun_ns = shared.enter(world.slot, nth);
        let outcome = operation(&mut world);
        shared.leave(world.slot);
        match outcome {
            Ok(Did::Verified) => drop(shared.verified.fetch_add(1, SeqCst)),
            Ok(Did::Nothing) => {}
            Err(Trouble::Io(error)) if excused(shared, &error, begun_ns) => {
                shared.refused.fetch_add(1, SeqCst);
            }
            Err(Trouble::Io(error)) => {
                return finish(shared, format!("{name}: {error}, and no guard had died"));
            }
            Err(Trouble::Wrong(what)) => return finish(shared, format!("{name}: {what}")),
        }
    }
    Ok(())
}

/// Everybody stops at the first thing that is wrong.
fn finish(shared: &Shared, what: String) -> Result<(), String> {
    shared.stop.store(true, SeqCst);
    Err(what)
}
