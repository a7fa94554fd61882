//! Readers and writers of all kinds on files that become stubs all the time,
//! under a guard that is killed again and again: every byte that anybody sees
//! is the right one.
//!
//! `HSM_TEST_GUARD_OPS` verified operations and `HSM_TEST_GUARD_KILLS` kills, in
//! all, on three file systems. A refusal (`EIO`, `EAGAIN`) around a kill is
//! counted and bounded; a wrong byte, any other error, and a wait of more than a
//! minute fail.

mod guard_stress {
    pub mod pattern;
    pub mod reads;
    pub mod shared;
    pub mod worker;
    pub mod world;
    pub mod writes;
}
#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
mod support;

use guard::{GUARDED_KINDS, GUARDED_POLICY, Guarded, kill};
use guard_stress::pattern::{check, content};
use guard_stress::reads::{PROGRAMS, program_text};
use guard_stress::shared::{FILES, PROCESSES, SLOTS, Shared, Version, now_ns};
use guard_stress::worker::{OPERATIONS, work};
use guard_stress::world::file_path;
use hsm::clock::Clock;
use loopfs::FsKind;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use support::Ran;
use support::actor::{Actor, leave, order};
use support::dice::Dice;
use support::running::{PATIENCE, until};

const STRANDED_NS: u64 = 60_000_000_000;
const READY: &str = "READY=1";

/// Of a guard that is at work, at most; in half of it files become stubs again.
const LONGEST_LIFE_US: u64 = 1_500_000;

/// A file system's share of what all three do.
fn share_of(variable: &str, default: u64) -> u64 {
    let asked = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(default).div_ceil(3)
}

/// Not a test: the part of another process (see `support::actor`).
#[test]
fn actor() {
    if order("PROCESS").is_some() {
        leave(work());
    }
}

fn plant(guarded: &Guarded, shared: &Shared) {
    let mut dice = Dice::new(7);
    for file in 0..FILES {
        let version = Version { number: 1, words: 2048 + dice.below(24_000) as u32 };
        guarded.write(&file.to_string(), &content(file, version));
        shared.files[file].begin(version);
        shared.files[file].finish(version);
    }
    for nth in 0..PROGRAMS {
        let path = guarded.write(&format!("program{nth}"), program_text(nth).as_bytes());
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("its mode");
    }
}

fn start_workers(guarded: &Guarded, seed: u64) -> Vec<Actor> {
    let text = |path: std::path::PathBuf| path.to_str().expect("a plain path").to_owned();
    let start = |process: usize| {
        Actor::start(&[
            ("PROCESS", process.to_string()),
            ("SEED", seed.to_string()),
            ("TABLE", text(guarded.sandbox.path("table"))),
            ("ROOT", text(guarded.root())),
            ("BESIDE", text(guarded.beside(""))),
            ("AWAY", text(guarded.away(""))),
        ])
    };
    (0..PROCESSES).map(start).collect()
}

/// Uploads and stubs without end; how many stubs were made.
fn tier_on_and_on(guarded: &Guarded, shared: &Shared) -> u64 {
    let mut stubs = 0;
    while !shared.stop.load(SeqCst) {
        let ran = Ran::within(PATIENCE, &mut guarded.sandbox.command(["tier", "--json"]));
        // Files move under it, and its guard dies: it may fail, and say so.
        let code = ran.code();
        assert!([0, 1, 3].contains(&code), "tier: {code}: {}", ran.stderr());
        assert!(!ran.stderr().contains("panicked"), "tier: {}", ran.stderr());
        stubs += ran.summary()["stubbed_files"].as_u64().unwrap_or(0);
    }
    stubs
}

struct Run<'a> {
    guarded: &'a Guarded,
    shared: &'static Shared,
    dice: Dice,
    ops: u64,
    kills: u64,
    ready_before: usize,
}

impl Run<'_> {
    /// Kills the guard each time a share of the operations is done; the error is
    /// what went wrong. One in four dies while it is starting.
    fn kill_on_and_on(&mut self) -> Result<(), String> {
        for nth in 1..=self.kills {
            self.wait_for(self.ops * nth / (self.kills + 1))?;
            if nth % 4 != 0 {
                self.wait_until_ready()?;
            }
            // Not a synchronisation: the moment of death is meant to be arbitrary.
            std::thread::sleep(Duration::from_micros(self.dice.below(LONGEST_LIFE_US)));
            self.ready_before = self.guarded.notify.times_heard(READY);
            let pid = self.guarded.guard_pid();
            self.shared.last_kill_ns.store(now_ns(), SeqCst);
            kill(pid);
        }
        self.wait_for(self.ops)
    }

    /// Until the guard that took the place of the dead one is at work.
    fn wait_until_ready(&self) -> Result<(), String> {
        let ready = || self.guarded.notify.times_heard(READY) > self.ready_before;
        let over = || ready() || self.shared.stop.load(SeqCst);
        until(PATIENCE, || over().then_some(())).ok_or("no guard takes over")?;
        Ok(())
    }

    /// Until so many operations were verified.
    fn wait_for(&self, ops: u64) -> Result<(), String> {
        let mut last = (self.shared.verified.load(SeqCst), Instant::now());
        loop {
            let done = self.shared.verified.load(SeqCst);
            if done >= ops {
                return Ok(());
            }
            if self.shared.stop.load(SeqCst) {
                return Err("a worker found something wrong".to_owned());
            }
            if let Some((slot, what)) = self.shared.stranded(STRANDED_NS).first() {
                return Err(format!("thread {slot} waits for ever: {}", OPERATIONS[*what].0));
            }
            if done != last.0 {
                last = (done, Instant::now());
            } else if last.1.elapsed() > Duration::from_secs(90) {
                return Err(format!("nothing moves any more after {done} operations"));
            }
            // Only the pace of asking.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What came of a run.
struct Stressed {
    verified: u64,
    refused: u64,
    stubs: u64,
    /// Empty when nothing was wrong.
    wrong: String,
}

/// So many operations and kills on planted files, tiered all the while or not.
fn run(guarded: &Guarded, shared: &'static Shared, ops: u64, kills: u64, tiered: bool) -> Stressed {
    let begun = Instant::now();
    let workers = start_workers(guarded, 20_261_121);
    let mut run = Run { guarded, shared, dice: Dice::new(20_261_121), ops, kills, ready_before: 0 };
    let (outcome, stubs) = std::thread::scope(|scope| {
        let tiering = scope.spawn(|| if tiered { tier_on_and_on(guarded, shared) } else { 0 });
        let outcome = run.kill_on_and_on();
        shared.stop.store(true, SeqCst);
        (outcome, tiering.join())
    });
    let stubs = stubs.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let complaints = workers.into_iter().filter_map(|worker| worker.ends(PATIENCE).err());
    let wrong: Vec<String> = complaints.chain(outcome.err()).collect();
    let (verified, refused) = (shared.verified.load(SeqCst), shared.refused.load(SeqCst));
    eprintln!(
        "{:?}: {verified} operations, {kills} kills, {stubs} stubs, {refused} refused, {:?}",
        guarded.fs.kind,
        begun.elapsed()
    );
    Stressed { verified, refused, stubs, wrong: wrong.join("\n") }
}

fn stress(kind: FsKind) {
    let Some(mut guarded) = Guarded::idle("guard_stress", kind) else { return };
    let shared = Shared::at(&guarded.sandbox.path("table"));
    plant(&guarded, shared);
    guarded.start();
    let ops = share_of("HSM_TEST_GUARD_OPS", 50_000);
    let kills = share_of("HSM_TEST_GUARD_KILLS", 100);
    let Stressed { verified, refused, stubs, wrong } = run(&guarded, shared, ops, kills, true);
    assert!(wrong.is_empty(), "{kind:?}: {wrong}");
    assert!(verified >= ops);
    // Each death can refuse what each thread was just waiting for.
    assert!(refused <= kills * SLOTS as u64, "{kind:?}: {refused} refused by {kills} kills");
    assert!(stubs >= ops / 200, "{kind:?}: only {stubs} stubs were made: little was tried");
    all_is_there(&mut guarded, shared, kind);
}

/// In the end every file has its last version: through the guard, and on the
/// disk without it.
fn all_is_there(guarded: &mut Guarded, shared: &Shared, kind: FsKind) {
    // Guards died before they could record what they had recalled; a run waits a
    // minute for such a record before it looks for itself.
    let later = Clock::system().now_ns() + 600_000_000_000;
    let settled = || {
        let mut tier = guarded.sandbox.command(["tier"]);
        Ran::within(PATIENCE, tier.env("HSM_TEST_NOW", later.to_string())).succeeds();
        let stubs = (0..FILES).filter(|file| support::snapshot::is_stub(&name_of(guarded, *file)));
        (stubs.count() == FILES).then_some(())
    };
    until(PATIENCE, settled).unwrap_or_else(|| panic!("{kind:?}: not all become stubs"));
    Ran::within(PATIENCE, &mut guarded.sandbox.command(["verify", "--data"])).succeeds();
    guarded.on_names("recall", &["-r"], &[""]).succeeds();
    guarded.stop(&[]).succeeds();
    assert!(guarded.ends_within(PATIENCE), "{kind:?}: it does not end without stubs");
    guarded.fs.remount();
    for file in 0..FILES {
        let version = shared.files[file].current();
        let bytes = std::fs::read(name_of(guarded, file)).expect("a file");
        assert_eq!(bytes.len(), version.len(), "{kind:?}: file {file}");
        check(file, &(version.number..=version.number), 0, &bytes)
            .unwrap_or_else(|what| panic!("{kind:?}, on the disk: {what}"));
    }
}

/// Under whichever name it has now.
fn name_of(guarded: &Guarded, file: usize) -> std::path::PathBuf {
    let first = file_path(&guarded.root(), file);
    if first.symlink_metadata().is_ok() { first } else { guarded.path(&format!("{file}.moved")) }
}

#[test]
fn on_ext4() {
    stress(FsKind::Ext4);
}

#[test]
fn on_xfs() {
    stress(FsKind::Xfs);
}

#[test]
fn on_btrfs() {
    stress(FsKind::Btrfs);
}

/// The operations themselves: on files that nobody tiers nothing is wrong.
#[test]
fn without_stubs_nothing_is_wrong() {
    for kind in GUARDED_KINDS {
        let Some(guarded) = Guarded::idle("without_stubs_nothing_is_wrong", kind) else { return };
        let shared = Shared::at(&guarded.sandbox.path("table"));
        plant(&guarded, shared);
        let stressed = run(&guarded, shared, 3000, 0, false);
        assert!(stressed.wrong.is_empty(), "{kind:?}: {}", stressed.wrong);
        assert_eq!(stressed.refused, 0, "{kind:?}");
    }
}

/// And where stubs are made without a guard, it is.
#[test]
fn without_a_guard_the_zeros_are_seen() {
    let test = "without_a_guard_the_zeros_are_seen";
    let Some(guarded) = Guarded::idle(test, FsKind::Ext4) else { return };
    let shared = Shared::at(&guarded.sandbox.path("table"));
    plant(&guarded, shared);
    guarded.sandbox.policy(&format!("unguarded = true\n{GUARDED_POLICY}"));
    let stressed = run(&guarded, shared, 1_000_000, 0, true);
    let wrong = &stressed.wrong;
    assert!(wrong.contains("a worker found something wrong"), "nobody saw them: {wrong}");
}
