//! A node that uploads, drops and crashes.

use super::mutant::Mutant;
use super::store::{GENERATIONS, PACKS, Record, Segment, Set, Store, WRITERS, one};
use super::world::Setting;
use hsm::site::plans::may_refer;
use std::convert::Infallible;
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Upload {
        name: u8,
        chunk: u8,
    },
    Drop {
        name: u8,
    },
    /// Enters the packs of the other node.
    Learn,
    /// Ends a session that a crash left open.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    Idle,
    Recover,
    Open,
    Opened,
    FirstLook,
    PutPack,
    RecordPack,
    SecondLook,
    /// A segment of its own before the one that refers to something, as deletions
    /// have.
    PutEarlier,
    CommitEarlier,
    PutSegment,
    Commit,
    Close,
    Closed,
    /// Another node has ended its log.
    Retired,
}

/// How much was heard of collections: plans, ends.
pub type Heard = (usize, usize);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer {
    // The state DB.
    pub known: Set,
    /// Its own packs that no segment names, and those of which it is not known
    /// whether they reached the store.
    pub unnamed: Set,
    pub intended: Set,
    /// By generation less one: whether the end was taken note of.
    pub heard: [Option<bool>; GENERATIONS],
    pub condemned: Set,
    pub acked: u8,
    pub log_len: usize,
    pub session: bool,
    pub done: usize,
    // Memory.
    pub at: At,
    pub op: Op,
    pub heard_before: Heard,
    /// The ops, by their place in the script, for which no copy was found when the
    /// session began.
    pub sends: u8,
    pub prepared: Segment,
}

pub const NOTHING: Segment = Segment { ack: 0, packs: 0, record: Record::Nothing };

impl Writer {
    pub fn new() -> Self {
        Self {
            known: 0,
            unnamed: 0,
            intended: 0,
            heard: [None; GENERATIONS],
            condemned: 0,
            acked: 0,
            log_len: 0,
            session: false,
            done: 0,
            at: At::Idle,
            op: Op::Close,
            heard_before: (0, 0),
            sends: 0,
            prepared: NOTHING,
        }
    }

    pub fn lasting(&self, store: &Store, chunk: u8) -> Option<usize> {
        let among = self.known & !self.condemned;
        store.holders(usize::from(chunk), among).first().copied()
    }

    pub fn heard(&self) -> Heard {
        let plans = self.heard.iter().flatten().count();
        (plans, self.heard.iter().flatten().filter(|ended| **ended).count())
    }

    /// `site::log::look`.
    pub fn listen(&mut self, store: &Store) {
        let plans = store.list_plans();
        let heard = self.heard;
        let known = &mut |generation: u64| Ok::<_, Infallible>(heard[generation as usize - 1]);
        let Ok(news) = plans.news(known);
        for generation in news.condemn {
            let index = generation as usize - 1;
            self.heard[index] = Some(false);
            self.condemned |= store.plans[index];
        }
        for generation in news.end {
            let index = generation as usize - 1;
            self.heard[index] = Some(true);
            self.condemned &= !store.plans[index];
            let deleted = store.ends[index].expect("it was listed");
            self.known &= !deleted;
            self.unnamed &= !deleted;
            self.intended &= !deleted;
        }
    }

    pub fn acknowledge(&mut self) {
        self.acked = self.heard.iter().rposition(Option::is_some).map_or(0, |at| at as u8 + 1);
    }

    /// What the next segment says.
    pub fn prepare(&mut self, store: &Store, mutant: Mutant) {
        let (mut packs, mut record) = (self.unnamed & !self.condemned, Record::Nothing);
        match self.op {
            Op::Upload { name, chunk } => {
                let moved_on = self.heard() != self.heard_before && mutant != Mutant::ForgetsEnds;
                let ask = self.condemned != 0 || moved_on;
                if !ask || may_refer(&[self.lasting(store, chunk)]) {
                    record = Record::File { name, chunk };
                }
            }
            Op::Drop { name } => record = Record::Drop { name },
            Op::Learn | Op::Close => packs = 0,
        }
        self.prepared = Segment { ack: self.acked, packs, record };
    }

    pub fn put(&mut self, store: &mut Store, writer: usize, segment: Segment) -> bool {
        let free = store.logs[writer].len() == self.log_len;
        if free {
            store.logs[writer].push(segment);
        } else {
            self.at = At::Retired;
        }
        free
    }

    pub fn forget(&mut self) {
        (self.op, self.heard_before, self.sends) = (Op::Close, (0, 0), 0);
        self.prepared = NOTHING;
    }

    pub fn crash(&mut self) {
        self.at = At::Recover;
        self.forget();
    }

    /// `tier::recover`: the segments that are not in the state DB, then packs.
    pub fn recover(&mut self, store: &Store, writer: usize, script: &[Op]) {
        while let Some(segment) = store.logs[writer].get(self.log_len) {
            self.log_len += 1;
            self.unnamed &= !segment.packs;
            self.known |= segment.packs & store.objects;
            let is_done = match (segment.record, script.get(self.done)) {
                (Record::Fence, _) => {
                    self.at = At::Retired;
                    return;
                }
                (Record::File { name, chunk }, Some(op)) => *op == Op::Upload { name, chunk },
                (Record::Drop { name }, Some(op)) => *op == Op::Drop { name },
                _ => false,
            };
            self.done += usize::from(is_done);
        }
        let there = self.intended & store.objects;
        (self.known, self.unnamed) = (self.known | there, self.unnamed | there);
        self.intended = 0;
        self.at = if self.session { At::Open } else { At::Idle };
    }

    /// Takes the next step; false if there is none.
    pub fn step(&mut self, store: &mut Store, writer: usize, setting: &Setting) -> bool {
        let (script, mutant) = (&setting.scripts[writer][..], setting.mutant);
        match self.at {
            At::Idle => return self.begin(store, writer, script, mutant),
            At::Retired => return false,
            At::Recover => self.recover(store, writer, script),
            At::Open => {
                self.session = true;
                if mutant == Mutant::LooksBeforeItOpens {
                    // Its look is behind it.
                    self.acknowledge();
                }
                let open = Segment { ack: self.acked, packs: 0, record: Record::Open };
                if self.put(store, writer, open) {
                    self.at = At::Opened;
                }
            }
            At::Opened => {
                self.log_len += 1;
                self.at = At::FirstLook;
            }
            At::FirstLook => self.first_look(store, mutant),
            At::PutPack => {
                let Op::Upload { chunk, .. } = self.op else {
                    unreachable!("only an upload sends")
                };
                let pack = store.chunks.len();
                assert!(pack < PACKS, "the model's bound");
                store.chunks.push(one(usize::from(chunk)));
                store.objects |= one(pack);
                self.intended |= one(pack);
                self.at = At::RecordPack;
            }
            At::RecordPack => {
                (self.known, self.unnamed) =
                    (self.known | self.intended, self.unnamed | self.intended);
                self.intended = 0;
                self.at = At::SecondLook;
            }
            At::SecondLook => {
                self.second_look(store, mutant);
                self.at = if setting.long { At::PutEarlier } else { At::PutSegment };
            }
            At::PutEarlier => {
                let earlier = Segment { ack: self.acked, ..NOTHING };
                if self.put(store, writer, earlier) {
                    self.at = At::CommitEarlier;
                }
            }
            At::CommitEarlier => {
                self.log_len += 1;
                self.at = At::PutSegment;
            }
            At::PutSegment => {
                let prepared = self.prepared;
                if self.put(store, writer, prepared) {
                    self.at = At::Commit;
                }
            }
            At::Commit => {
                self.log_len += 1;
                self.unnamed &= !self.prepared.packs;
                let is_done = self.prepared.record != Record::Nothing;
                self.done += usize::from(is_done);
                self.prepared = NOTHING;
                match script.get(self.done) {
                    Some(op) if setting.long && is_done && *op != Op::Learn => {
                        self.op = *op;
                        self.go_on();
                    }
                    _ => self.at = At::Close,
                }
            }
            At::Close => {
                let close = Segment { ack: self.acked, packs: 0, record: Record::Close };
                if self.put(store, writer, close) {
                    self.at = At::Closed;
                }
            }
            At::Closed => {
                self.log_len += 1;
                self.session = false;
                self.at = At::Idle;
                self.forget();
            }
        }
        true
    }

    pub fn begin(
        &mut self,
        store: &mut Store,
        writer: usize,
        script: &[Op],
        mutant: Mutant,
    ) -> bool {
        let Some(op) = script.get(self.done) else { return false };
        if *op == Op::Learn {
            let others = (0..WRITERS).filter(|other| *other != writer);
            let named = others.flat_map(|other| &store.logs[other]);
            self.known |= named.fold(0, |all, segment| all | segment.packs) & !store.ended();
            self.done += 1;
            return true;
        }
        // Workers look chunks up before the session begins.
        (self.op, self.heard_before, self.at) = (*op, self.heard(), At::Open);
        for (at, op) in script.iter().enumerate() {
            if let Op::Upload { chunk, .. } = op
                && self.lasting(store, *chunk).is_none()
            {
                self.sends |= 1 << at;
            }
        }
        if mutant == Mutant::LooksBeforeItOpens {
            self.listen(store);
        }
        true
    }

    pub fn first_look(&mut self, store: &Store, mutant: Mutant) {
        if mutant != Mutant::LooksBeforeItOpens {
            self.listen(store);
            self.acknowledge();
        }
        match self.op {
            Op::Close => self.at = At::Close,
            _ => self.go_on(),
        }
    }

    pub fn go_on(&mut self) {
        let sends = matches!(self.op, Op::Upload { .. }) && self.sends & (1 << self.done) != 0;
        self.at = if sends { At::PutPack } else { At::SecondLook };
    }

    pub fn second_look(&mut self, store: &Store, mutant: Mutant) {
        match mutant {
            Mutant::AcknowledgesWithoutAsking => {
                self.prepare(store, mutant);
                self.listen(store);
                self.acknowledge();
                self.prepared.ack = self.acked;
            }
            Mutant::LooksOnce => {
                self.acked = store.plans.len() as u8;
                self.prepare(store, mutant);
            }
            Mutant::LooksBeforeItOpens => self.prepare(store, mutant),
            _ => {
                self.listen(store);
                self.acknowledge();
                self.prepare(store, mutant);
            }
        }
    }
}
