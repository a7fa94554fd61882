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

use dice::Dice;
use hsm::gc::protocol::{Standing, Step, holds_up, next_step, spare};
use hsm::site::plans::{Plans, may_refer};
use std::collections::HashSet;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A set of packs, or of chunks.
type Set = u16;
const PACKS: usize = 12;
const WRITERS: usize = 2;
const GENERATIONS: usize = 12;

fn one(member: usize) -> Set {
    1 << member
}

fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..Set::BITS as usize).filter(move |member| set & one(*member) != 0)
}

// --- what the store holds ----------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Record {
    Open,
    Close,
    Fence,
    File {
        name: u8,
        chunk: u8,
    },
    /// The path is gone and its version expired.
    Drop {
        name: u8,
    },
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Segment {
    ack: u8,
    packs: Set,
    record: Record,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Store {
    objects: Set,
    /// Of every pack ever made: a name is never used again.
    chunks: Vec<Set>,
    logs: [Vec<Segment>; WRITERS],
    /// By generation less one.
    plans: Vec<Set>,
    ends: Vec<Option<Set>>,
}

impl Store {
    fn list_plans(&self) -> Plans {
        let mut plans = Plans::default();
        for (index, end) in self.ends.iter().enumerate() {
            plans.add(index as u64 + 1, false);
            if end.is_some() {
                plans.add(index as u64 + 1, true);
            }
        }
        plans
    }

    fn ended(&self) -> Set {
        self.ends.iter().flatten().fold(0, |all, deleted| all | deleted)
    }

    /// Packs that some log names and no end has deleted.
    fn named(&self) -> Set {
        let segments = self.logs.iter().flatten();
        segments.fold(0, |all, segment| all | segment.packs) & !self.ended()
    }

    /// Chunks of files that a log has and has not dropped.
    fn live(&self) -> Set {
        let mut live = 0;
        for log in &self.logs {
            let mut files = [None; 8];
            for segment in log {
                match segment.record {
                    Record::File { name, chunk } => files[usize::from(name)] = Some(chunk),
                    Record::Drop { name } => files[usize::from(name)] = None,
                    _ => {}
                }
            }
            live |= files.iter().flatten().fold(0, |all, chunk| all | one(usize::from(*chunk)));
        }
        live
    }

    fn holders(&self, chunk: usize, among: Set) -> Vec<usize> {
        // The newest first.
        let holds = |pack: &usize| self.chunks[*pack] & one(chunk) != 0;
        let mut found: Vec<usize> = members(among).filter(holds).collect();
        found.reverse();
        found
    }

    fn standing(&self, writer: usize) -> Standing {
        let log = &self.logs[writer];
        let last = |wanted: fn(&Record) -> bool| log.iter().rposition(|s| wanted(&s.record));
        let open = last(|record| matches!(record, Record::Open));
        let close = last(|record| matches!(record, Record::Close));
        Standing {
            ack_gen: log.iter().map(|segment| u64::from(segment.ack)).max().unwrap_or(0),
            open: open.is_some_and(|open| close.is_none_or(|close| close < open)),
            fenced: last(|record| matches!(record, Record::Fence)).is_some(),
        }
    }

    /// The chunks of which a file is left without a copy.
    fn lost(&self) -> Set {
        let is_lost = |chunk: &usize| self.holders(*chunk, self.objects).is_empty();
        members(self.live()).filter(is_lost).fold(0, |all, chunk| all | one(chunk))
    }
}

// --- a protocol with one rule less -------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mutant {
    None,
    /// A writer that lists the plans before it says that it is at work.
    LooksBeforeItOpens,
    /// A writer that acknowledges what it saw last, but asked for lasting chunks
    /// before.
    AcknowledgesWithoutAsking,
    /// A writer that does not list the plans again before a segment, and
    /// acknowledges what another process of its node has heard of.
    LooksOnce,
    /// A writer that asks again only while a plan is pending.
    ForgetsEnds,
    /// A collector that does not wait for open sessions.
    DoesNotWait,
    /// A collector that deletes what its plan says, without a second look.
    MarksOnce,
    /// A collector that deletes what it found itself, and puts the end afterwards.
    DeletesOnItsOwn,
    /// A collector that puts its plan in place of another's.
    ReplacesPlans,
}

// --- writers -------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Op {
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
enum At {
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
type Heard = (usize, usize);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Writer {
    // The state DB.
    known: Set,
    /// Its own packs that no segment names, and those of which it is not known
    /// whether they reached the store.
    unnamed: Set,
    intended: Set,
    /// By generation less one: whether the end was taken note of.
    heard: [Option<bool>; GENERATIONS],
    condemned: Set,
    acked: u8,
    log_len: usize,
    session: bool,
    done: usize,
    // Memory.
    at: At,
    op: Op,
    heard_before: Heard,
    /// The ops, by their place in the script, for which no copy was found when the
    /// session began.
    sends: u8,
    prepared: Segment,
}

const NOTHING: Segment = Segment { ack: 0, packs: 0, record: Record::Nothing };

impl Writer {
    fn new() -> Self {
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

    fn lasting(&self, store: &Store, chunk: u8) -> Option<usize> {
        let among = self.known & !self.condemned;
        store.holders(usize::from(chunk), among).first().copied()
    }

    fn heard(&self) -> Heard {
        let plans = self.heard.iter().flatten().count();
        (plans, self.heard.iter().flatten().filter(|ended| **ended).count())
    }

    /// `site::log::look`.
    fn listen(&mut self, store: &Store) {
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

    fn acknowledge(&mut self) {
        self.acked = self.heard.iter().rposition(Option::is_some).map_or(0, |at| at as u8 + 1);
    }

    /// What the next segment says.
    fn prepare(&mut self, store: &Store, mutant: Mutant) {
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

    fn put(&mut self, store: &mut Store, writer: usize, segment: Segment) -> bool {
        let free = store.logs[writer].len() == self.log_len;
        if free {
            store.logs[writer].push(segment);
        } else {
            self.at = At::Retired;
        }
        free
    }

    fn forget(&mut self) {
        (self.op, self.heard_before, self.sends) = (Op::Close, (0, 0), 0);
        self.prepared = NOTHING;
    }

    fn crash(&mut self) {
        self.at = At::Recover;
        self.forget();
    }

    /// `tier::recover`: the segments that are not in the state DB, then packs.
    fn recover(&mut self, store: &Store, writer: usize, script: &[Op]) {
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
    fn step(&mut self, store: &mut Store, writer: usize, setting: &Setting) -> bool {
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

    fn begin(&mut self, store: &mut Store, writer: usize, script: &[Op], mutant: Mutant) -> bool {
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

    fn first_look(&mut self, store: &Store, mutant: Mutant) {
        if mutant != Mutant::LooksBeforeItOpens {
            self.listen(store);
            self.acknowledge();
        }
        match self.op {
            Op::Close => self.at = At::Close,
            _ => self.go_on(),
        }
    }

    fn go_on(&mut self) {
        let sends = matches!(self.op, Op::Upload { .. }) && self.sends & (1 << self.done) != 0;
        self.at = if sends { At::PutPack } else { At::SecondLook };
    }

    fn second_look(&mut self, store: &Store, mutant: Mutant) {
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

// --- collectors ----------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Task {
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
struct Collector {
    task: Task,
    runs: u8,
}

impl Collector {
    /// Takes the next step; false if there is none.
    fn step(&mut self, store: &mut Store, retires: bool, mutant: Mutant) -> bool {
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

fn begin_collection(store: &Store) -> Task {
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

fn mark(store: &Store, generation: u8, listed: Set) -> Task {
    let (named, live) = (store.named() & listed, store.live());
    let kept = members(live).filter_map(|chunk| store.holders(chunk, named).first().copied());
    let kept = kept.fold(0, |all, pack| all | one(pack));
    // Also what no log names, however young.
    match listed & !kept & !store.ended() {
        0 => Task::Idle,
        condemned => Task::PutPlan { generation, condemned },
    }
}

fn put_plan(store: &mut Store, generation: usize, condemned: Set, mutant: Mutant) {
    if store.plans.len() < generation {
        assert!(generation <= GENERATIONS, "the model's bound");
        store.plans.push(condemned);
        store.ends.push(None);
    } else if mutant == Mutant::ReplacesPlans {
        store.plans[generation - 1] = condemned;
    }
}

fn sweep(store: &Store, generation: u8, retires: bool, mutant: Mutant) -> Task {
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

// --- the world -------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    store: Store,
    writers: [Writer; WRITERS],
    collectors: [Collector; 2],
    crashes: u8,
}

/// What a world is to do.
struct Setting {
    scripts: [Vec<Op>; WRITERS],
    /// Of each collector.
    runs: [u8; 2],
    crashes: u8,
    retires: bool,
    /// A session does all that is to be done, in two segments for each.
    long: bool,
    mutant: Mutant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Writer(usize),
    Collector(usize),
    CrashWriter(usize),
    CrashCollector(usize),
}

const MOVES: [Move; 8] = [
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
    fn new(setting: &Setting) -> Self {
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
    fn take(&mut self, step: Move, setting: &Setting) -> bool {
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
