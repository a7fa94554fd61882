//! The guard's process: starts its threads, proves itself, and serves until it is
//! told to end or dies.
//!
//! Order at the start: the descriptors of this generation get their own range ->
//! what a dead guard left unnoted is denied -> the reader reads -> what it had
//! noted is taken over -> the guard proves itself (the first one) -> only then
//! the keeper is told that it is ready. Everything that opens files comes after
//! the reader runs: from then on even an open on a watched file system by this
//! very process is answered.
//!
//! | thread | waits for | never |
//! | --- | --- | --- |
//! | reader | events | opens, logs, waits for a lock that is held over I/O |
//! | porter | inodes with programs nobody looked at | opens a managed file |
//! | workers | inodes to recall | answer before the file is durable |
//! | watch | time | waits for a worker |
//! | recorder | what to write down | is waited for |
//! | asker | files whose copy is in an archive | is waited for |
//! | service | other `hsm` processes | touches an inode without custody |
//! | metrics | a scraper, if one is to come | is waited for |

use super::access::{Access, Shared, Trouble};
use super::asker::{Asker, Desk};
use super::counters::Counters;
use super::deadlines::Deadlines;
use super::inodes::Inodes;
use super::porter::Porter;
use super::probe::{self, Probes, Stranger, Unproven};
use super::protocol::Status;
use super::reader::Reader;
use super::recorder::Records;
use super::slots::Slots;
use super::survivors::{self, Range};
use super::watched::{Change, Watched};
use super::worker::{self, Bench};
use super::{already_open, endpoint, recorder, service};
use crate::clock::{Clock, Stopwatch};
use crate::config::GuardSection;
use crate::monitor::Stop;
use crate::os::fanotify::Group;
use crate::os::{child, descriptors, process};
use crate::site::guard::causes;
use crate::state::{RootId, RootRow};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Between two looks at the deadlines and the reader.
const TICK: Duration = Duration::from_millis(250);
/// Between two looks at what is mounted.
const LOOK: Duration = Duration::from_secs(1);

/// What the keeper hands to each guard.
pub struct Inheritance {
    pub group: Arc<Group>,
    pub slots: Slots,
    pub listener: UnixListener,
    pub roots: Vec<RootRow>,
    pub section: GuardSection,
    pub access: Box<dyn Access>,
    pub clock: Clock,
    /// The group was kept by the service manager: runs that know of no guard may
    /// be at work.
    pub inherited: bool,
}

/// From the guard to its keeper, one byte each; a text follows [`tell::FAILED`].
pub mod tell {
    pub const READY: u8 = b'R';
    pub const ALIVE: u8 = b'H';
    pub const ENDING: u8 = b'S';
    pub const FAILED: u8 = b'F';
    /// From the keeper to the guard: someone wants us to stop.
    pub const STOP_ASKED: u8 = b'T';
}

/// What the threads of a guard share.
pub struct Guarding {
    pub inodes: Arc<Inodes>,
    pub watched: Arc<Watched>,
    pub shared: Arc<Shared>,
    pub stop: Stop,
    pub clock: Clock,
    pub counters: Arc<Counters>,
    pub started_ns: i64,
    group: Arc<Group>,
    reader: Reader,
    generation: u32,
    keeper: Mutex<UnixStream>,
    /// One request for each root at a time.
    turns: Mutex<HashMap<RootId, Arc<Mutex<()>>>>,
}

impl Guarding {
    pub fn status(&self) -> Status {
        let told = &self.reader.told;
        Status {
            pid: process::pid(),
            keeper_pid: process::parent_pid(),
            generation: self.generation,
            waiting: self.inodes.waiting() as u64,
            refused_by_kernel: told.refused_by_kernel.load(Ordering::Relaxed),
            misread: told.misread.load(Ordering::Relaxed),
        }
    }

    /// Nothing is watched from here on; whoever waits is denied. Ends the
    /// process, and with it the keeper.
    pub fn end(&self) {
        self.stop.request();
        for root in self.watched.roots() {
            if let Err(error) = self.group.unmark_file_system(root.dir()) {
                tracing::warn!(%error, root = %root.row.path.display(), "cannot remove the mark");
            }
        }
        drop(self.inodes.take_overdue(|_, _| true));
        self.tell(tell::ENDING, "");
        child::exit_now(0);
    }

    /// Of the requests for one root.
    pub fn turn(&self, root: RootId) -> Arc<Mutex<()>> {
        let mut turns = self.turns.lock().expect("no holder panics");
        Arc::clone(turns.entry(root).or_default())
    }

    fn tell(&self, what: u8, text: &str) {
        let mut keeper = self.keeper.lock().expect("no holder panics");
        // A keeper that is gone is noticed by who reads from it.
        let _ = keeper.write_all(&[&[what], text.as_bytes()].concat());
    }
}

/// Runs the guard in this process, which has one thread and was forked for it.
/// `prove` asks for the proof that stubs are safe.
pub fn serve(inheritance: Inheritance, keeper: UnixStream, prove: bool) -> ! {
    let run = std::panic::AssertUnwindSafe(|| start(inheritance, keeper, prove));
    // A panic must not unwind into what is the keeper's.
    let Ok(started) = std::panic::catch_unwind(run) else { child::exit_now(70) };
    match started {
        Ok(guarding) => listen_to_keeper(&guarding),
        Err((mut keeper, why)) => {
            let text = causes(&*why).join(": ");
            let _ = keeper.write_all(&[&[tell::FAILED], text.as_bytes()].concat());
            child::exit_now(1)
        }
    }
}

fn start(
    inheritance: Inheritance,
    keeper: UnixStream,
    prove: bool,
) -> Result<Arc<Guarding>, (UnixStream, Trouble)> {
    // Before anything else is opened: a number below the range must never become
    // an event's.
    let taken = take_numbers(&inheritance.slots);
    let telling = keeper.try_clone();
    let (Ok(numbers), Ok(telling)) = (taken, telling) else { child::exit_now(1) };
    try_start(inheritance, keeper, prove, numbers).map_err(|why| (telling, why))
}

/// The descriptors of this guard.
struct Numbers {
    generation: u32,
    nofile: u64,
    range: Range,
}

fn take_numbers(slots: &Slots) -> io::Result<Numbers> {
    let nofile = process::raise_nofile_limit();
    let generation = slots.0.begin_generation();
    let range = Range::of(generation, nofile);
    // Kept to the end of the process: the numbers must stay taken.
    std::mem::forget(descriptors::occupy_below(range.first)?);
    descriptors::confine_to(u64::from(range.end))?;
    Ok(Numbers { generation, nofile, range })
}

fn try_start(
    inheritance: Inheritance,
    keeper: UnixStream,
    prove: bool,
    numbers: Numbers,
) -> Result<Arc<Guarding>, Trouble> {
    let Inheritance { group, slots, listener, roots, section, access, clock, inherited } =
        inheritance;
    let mut stranger = if prove { Some(Stranger::fork()?) } else { None };
    let Numbers { generation, nofile, range } = numbers;
    let noted = survivors::gather(&group, &slots, generation, nofile);
    let (call_porter, calls) = crossbeam_channel::unbounded();
    let inodes = Arc::new(Inodes::new(Arc::clone(&group), call_porter, Stopwatch::start()));
    let most_waiting = range.most_waiting();
    let reader = Reader::start(Arc::clone(&inodes), slots.clone(), most_waiting)?;
    if !inherited {
        // The root locks were held when the marks were set.
        inodes.allow_ignoring();
    }
    let watched = Arc::new(Watched::open(Arc::clone(&group), roots));
    let shared = Arc::new(Shared::new(access));
    let probes = Arc::new(Probes::default());
    let counters = start_threads(&section, &inodes, &watched, &shared, &probes, calls, clock)?;
    survivors::take_over(&group, &slots, &inodes, &watched, noted);
    if let Some(stranger) = &mut stranger {
        prove_all(&group, &probes, &watched, stranger, inherited)?;
        slots.0.set_notes(&watched.findings())?;
    } else {
        watched.recall_findings(&slots.0.notes());
    }
    drop(stranger);
    let keeper = Mutex::new(keeper);
    let stop = Stop::new();
    let turns = Mutex::default();
    let guarding = Arc::new(Guarding {
        inodes,
        watched,
        shared,
        stop,
        clock,
        counters,
        started_ns: clock.now_ns(),
        group,
        reader,
        generation,
        keeper,
        turns,
    });
    start_service(&guarding, listener, &section)?;
    if let Some(at) = &section.metrics {
        endpoint::start(&guarding, at);
    }
    already_open::report(&guarding.watched.roots());
    guarding.tell(tell::READY, "");
    Ok(guarding)
}

fn start_threads(
    section: &GuardSection,
    inodes: &Arc<Inodes>,
    watched: &Arc<Watched>,
    shared: &Arc<Shared>,
    probes: &Arc<Probes>,
    calls: crossbeam_channel::Receiver<super::inodes::Inode>,
    clock: Clock,
) -> Result<Arc<Counters>, Trouble> {
    let (to_workers, jobs) = crossbeam_channel::unbounded();
    let counters = Arc::new(Counters::default());
    let (to_recorder, records) = Records::new(Arc::clone(&counters));
    let admission = Arc::new(Mutex::new(shared.access.admission()?));
    let porter = Porter {
        inodes: Arc::clone(inodes),
        watched: Arc::clone(watched),
        admission: Arc::clone(&admission),
        jobs: to_workers,
        records: to_recorder.clone(),
        clock,
    };
    spawn("porter", move || porter.run(&calls))?;
    let (asker, orders) = Asker::new();
    let desk = Desk {
        shared: Arc::clone(shared),
        watched: Arc::clone(watched),
        clock,
        since: inodes.clock,
    };
    spawn("asker", move || desk.run(&orders))?;
    let bench = Arc::new(Bench {
        inodes: Arc::clone(inodes),
        watched: Arc::clone(watched),
        shared: Arc::clone(shared),
        probes: Arc::clone(probes),
        records: to_recorder,
        admission,
        asker,
        archived_errno: shared.access.cold().errno.raw(),
        clock,
    });
    for _ in 0..section.workers {
        let (bench, jobs) = (Arc::clone(&bench), jobs.clone());
        spawn("worker", move || worker::run(&bench, &jobs))?;
    }
    let shared = Arc::clone(shared);
    spawn("recorder", move || recorder::run(&*shared.access, &records))?;
    Ok(counters)
}

fn start_service(
    guarding: &Arc<Guarding>,
    listener: UnixListener,
    section: &GuardSection,
) -> io::Result<()> {
    let serving = Arc::clone(guarding);
    spawn("service", move || service::run(&serving, &listener))?;
    let watching = Arc::clone(guarding);
    let deadlines = Deadlines { first_byte: section.first_byte, idle: section.idle };
    spawn("watch", move || watch(&watching, deadlines))
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(move || or_die(work)).map(drop)
}

/// A thread that panics takes the process with it: the keeper starts another
/// guard, and nobody is left waiting for half of one.
pub(super) fn or_die(work: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
        child::exit_now(70);
    }
}

/// Enforces the deadlines and shows the keeper that work goes on: only while
/// the reader turns.
fn watch(guarding: &Guarding, deadlines: Deadlines) {
    let (mut turns, mut looked) = (0, Stopwatch::start());
    loop {
        std::thread::sleep(TICK);
        deadlines.enforce(&guarding.inodes);
        let now = guarding.reader.told.turns.load(Ordering::Relaxed);
        if now != turns {
            turns = now;
            guarding.tell(tell::ALIVE, "");
        }
        if looked.elapsed() >= LOOK {
            looked = Stopwatch::start();
            if !guarding.inodes.may_ignore() && guarding.shared.access.runs_ended() {
                guarding.inodes.allow_ignoring();
            }
            look_at_mounts(&guarding.watched);
        }
    }
}

fn look_at_mounts(watched: &Watched) {
    for change in watched.refresh() {
        match change {
            Change::LetGo(root) => {
                tracing::info!(root = %root.display(), "unmounted, and let go");
            }
            Change::Back(root) => {
                tracing::warn!(
                    root = %root.row.path.display(),
                    "mounted, and watched from now on; hsm recall-guard --mount leaves no moment \
                     before that"
                );
                // What was proven at the start holds for the same kernel.
                root.trust();
                already_open::report(&[root]);
            }
        }
    }
}

/// A root where nothing can be tried (its disk is full) is watched all the same,
/// but no stubs are made there. Where a stub reads as zeros the guard does not
/// start, unless programs are waiting for it already.
fn prove_all(
    group: &Group,
    probes: &Probes,
    watched: &Watched,
    stranger: &mut Stranger,
    inherited: bool,
) -> Result<(), Unproven> {
    for root in watched.roots() {
        let path = root.row.path.display();
        match probe::prove(group, probes, &root, stranger) {
            Ok(proven) => {
                root.trust();
                if !proven.reads_seen {
                    root.distrust_reads();
                    tracing::warn!(
                        root = %path,
                        "this kernel shows opens only: who truncates a stub by its path, or has \
                         had a file open since before it became a stub, is not seen"
                    );
                }
            }
            Err(error @ Unproven::Zeros { .. }) if !inherited => return Err(error),
            Err(error) => {
                let why = causes(&error).join(": ");
                tracing::warn!(root = %path, "watched, but no stubs are made there: {why}");
            }
        }
    }
    Ok(())
}

/// Until the keeper asks for the end. A keeper that died leaves its guard at
/// work: it holds the group, too.
fn listen_to_keeper(guarding: &Guarding) -> ! {
    let from = guarding.keeper.lock().expect("no holder panics").try_clone();
    let mut byte = [0];
    if let Ok(mut from) = from {
        while matches!(from.read(&mut byte), Ok(1)) {
            if byte[0] == tell::STOP_ASKED {
                consider_stopping(guarding);
            }
        }
    }
    tracing::error!("the keeper died: should this guard die, too, stubs would read as zeros");
    loop {
        std::thread::park();
    }
}

fn consider_stopping(guarding: &Guarding) {
    match service::exposed(guarding) {
        Ok(exposed) if exposed.is_empty() => guarding.end(),
        Ok(exposed) => {
            for root in exposed {
                tracing::warn!(
                    root = %root.path.to_path().display(),
                    files = root.files,
                    "the guard stays: these stubs would read as zeros; unmount the file system, \
                     recall them, or hsm recall-guard --stop --force"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "the guard stays: what it watches cannot be told"),
    }
}
