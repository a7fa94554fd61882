//! Two writers and two collectors over one store, and the moves they can make.

use super::collector::{Collector, Task};
use super::mutant::Mutant;
use super::store::{Record, Segment, Store, WRITERS, one};
use super::writer::{At, Op, Writer};
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Store,
    pub writers: [Writer; WRITERS],
    pub collectors: [Collector; 2],
    pub crashes: u8,
}

/// What a world is to do.
pub struct Setting {
    pub scripts: [Vec<Op>; WRITERS],
    /// Of each collector.
    pub runs: [u8; 2],
    pub crashes: u8,
    pub retires: bool,
    /// A session does all that is to be done, in two segments for each.
    pub long: bool,
    pub mutant: Mutant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Writer(usize),
    Collector(usize),
    CrashWriter(usize),
    CrashCollector(usize),
}

pub const MOVES: [Move; 8] = [
    Move::Writer(0),
    Move::Writer(1),
    Move::Collector(0),
    Move::Collector(1),
    Move::CrashWriter(0),
    Move::CrashWriter(1),
    Move::CrashCollector(0),
    Move::CrashCollector(1),
];

impl World {
    /// The first writer has a file 0 with chunk 0, the second knows of its pack.
    pub fn new(setting: &Setting) -> Self {
        let mut store = Store { chunks: vec![one(0)], objects: one(0), ..Store::default() };
        let segment = |packs, record| Segment { ack: 0, packs, record };
        let file = Record::File { name: 0, chunk: 0 };
        store.logs[0] =
            vec![segment(0, Record::Open), segment(one(0), file), segment(0, Record::Close)];
        let mut writers = [Writer::new(), Writer::new()];
        (writers[0].known, writers[0].log_len) = (one(0), 3);
        writers[1].known = one(0);
        let collector = |runs| Collector { task: Task::Idle, runs };
        let collectors = setting.runs.map(collector);
        Self { store, writers, collectors, crashes: setting.crashes }
    }

    /// False where the move is not possible.
    pub fn take(&mut self, step: Move, setting: &Setting) -> bool {
        match step {
            Move::Writer(at) => {
                let writer = &mut self.writers[at];
                writer.step(&mut self.store, at, setting)
            }
            Move::Collector(at) => {
                self.collectors[at].step(&mut self.store, setting.retires, setting.mutant)
            }
            Move::CrashWriter(at) => {
                let writer = &mut self.writers[at];
                let can = !matches!(writer.at, At::Idle | At::Recover | At::Retired);
                can && self.crashes > 0 && {
                    self.crashes -= 1;
                    writer.crash();
                    true
                }
            }
            Move::CrashCollector(at) => {
                let collector = &mut self.collectors[at];
                collector.task != Task::Idle && self.crashes > 0 && {
                    self.crashes -= 1;
                    collector.task = Task::Idle;
                    true
                }
            }
        }
    }
}
