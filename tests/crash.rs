//! Death at any moment: after it every file is readable or recallable and equal
//! to the original, and the next run completes.
//!
//! * abort points: at each arrow of the safety order, compiled in by the
//!   `fault-points` feature;
//! * SIGKILL at random moments, `HSM_TEST_KILLS` rounds;
//! * failure of the n-th effect, n rising until a run passes.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use support::dice::Dice;
use support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use support::trees::{noise, prose};
use support::{Ran, Sandbox};

fn grow(sandbox: &Sandbox, generation: u64) {
    for file in 0..12u64 {
        let seed = generation * 1000 + file;
        let bytes = if file % 3 == 0 { prose(seed, 200_000) } else { noise(seed, 90_000) };
        sandbox.write(&format!("gen{generation}/dir{}/file{file}", file % 4), &bytes);
    }
    sandbox.write(&format!("gen{generation}/big"), &noise(generation, 5 << 20));
}

/// Every file has its bytes on disk, or is a stub that comes back with them.
fn everything_is_there(sandbox: &Sandbox, before: &Snapshot, what: &str) {
    let ran = sandbox.on("recall", &["-r"], &[""]);
    assert_eq!(ran.code(), 0, "{what}: recall\n{}", ran.stderr());
    let after = snapshot(&sandbox.tree());
    for (path, entry) in before {
        let found = after.get(path).unwrap_or_else(|| panic!("{what}: {} is gone", path.display()));
        assert_eq!(entry, found, "{what}: {}", path.display());
    }
}

/// Without recalling: what has no marker has its bytes.
fn no_unmarked_file_lost_its_bytes(sandbox: &Sandbox, before: &Snapshot, what: &str) {
    for (path, entry) in before.iter().filter(|(_, entry)| entry.kind == 'f') {
        let full = sandbox.tree().join(path);
        if !is_stub(&full) {
            let now = support::snapshot::digest(&full);
            assert_eq!(entry.digest.as_ref(), Some(&now), "{what}: {}", path.display());
        }
    }
}

const TIER_POINTS: [&str; 12] = [
    "upload.pack-intended",
    "upload.pack-put",
    "upload.pack-proven",
    "upload.pack-recorded",
    "upload.segment-put",
    "upload.committed",
    "stub.marker-set",
    "stub.markers-flushed",
    "stub.before-punch",
    "stub.after-punch",
    "stub.after-times",
    "stub.committed",
];

const RECALL_POINTS: [&str; 7] = [
    "recall.intended",
    "stub.fill-flag-set",
    "stub.fill-allocated",
    "stub.fill-data-written",
    "stub.fill-data-durable",
    "stub.fill-marker-removed",
    "recall.markers-removed",
];

#[test]
fn an_abort_at_each_arrow_loses_nothing_and_the_next_run_completes() {
    for point in TIER_POINTS {
        for nth in [1, 3] {
            let mut sandbox = Sandbox::new();
            grow(&sandbox, 1);
            let before = snapshot(&sandbox.tree());
            sandbox.set_env("HSM_FAULT_ABORT", &format!("{point}:{nth}"));
            let ran = sandbox.hsm(["tier"]);
            if nth == 1 {
                assert_eq!(ran.code(), -1, "{point} is never reached: {}", ran.stderr());
            }
            sandbox.set_env("HSM_FAULT_ABORT", "");
            no_unmarked_file_lost_its_bytes(&sandbox, &before, point);
            sandbox.hsm(["tier"]).succeeds();
            assert!(is_stub(&sandbox.tree().join("gen1/big")), "{point}: not finished");
            everything_is_there(&sandbox, &before, point);
            sandbox.hsm(["verify", "--data"]).succeeds();
        }
    }
}

#[test]
fn an_abort_at_each_arrow_of_a_recall_leaves_a_stub_or_the_file() {
    for point in RECALL_POINTS {
        let mut sandbox = Sandbox::new();
        grow(&sandbox, 1);
        let before = snapshot(&sandbox.tree());
        sandbox.hsm(["tier"]).succeeds();
        sandbox.set_env("HSM_FAULT_ABORT", &format!("{point}:1"));
        let ran = sandbox.on("recall", &["-r"], &[""]);
        assert_eq!(ran.code(), -1, "{point} is never reached: {}", ran.stderr());
        sandbox.set_env("HSM_FAULT_ABORT", "");
        no_unmarked_file_lost_its_bytes(&sandbox, &before, point);
        everything_is_there(&sandbox, &before, point);
        sandbox.hsm(["tier"]).succeeds();
        everything_is_there(&sandbox, &before, point);
    }
}

#[test]
fn nothing_durable_is_sent_again_after_a_kill() {
    let mut sandbox = Sandbox::new();
    sandbox.write("big", &noise(1, 70 << 20));
    sandbox.set_env("HSM_FAULT_ABORT", "upload.pack-recorded:2");
    assert_eq!(sandbox.hsm(["tier"]).code(), -1);
    sandbox.set_env("HSM_FAULT_ABORT", "");
    let durable = pack_bytes(&sandbox.store());
    assert!(durable > 60 << 20, "two packs were durable: {durable}");
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    let sent = summary["sent_bytes"].as_u64().expect("a number");
    assert!(sent < 12 << 20, "only the rest is sent: {summary}");
    sandbox.on("recall", &[], &["big"]).succeeds();
    assert!(sandbox.read("big") == noise(1, 70 << 20));
}

fn pack_bytes(store: &Path) -> u64 {
    walkdir::WalkDir::new(store.join("packs"))
        .into_iter()
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .filter(|meta| meta.is_file())
        .map(|meta| meta.len())
        .sum()
}

#[test]
fn sigkill_at_random_moments_loses_nothing() {
    let rounds = rounds("HSM_TEST_KILLS", 200);
    let mut dice = Dice::new(20_261_121);
    let mut sandbox = Sandbox::new();
    let mut killed = 0;
    for round in 0..rounds {
        if round % 25 == 0 {
            sandbox = Sandbox::new();
        }
        grow(&sandbox, round % 25);
        let before = snapshot_of_content(&sandbox);
        killed += u64::from(kill_after(&sandbox, dice.below(160_000)));
        let what = format!("round {round}");
        no_unmarked_file_lost_its_bytes(&sandbox, &before, &what);
        sandbox.hsm(["tier"]).succeeds();
        if round % 5 == 4 {
            everything_is_there(&sandbox, &before, &what);
        }
    }
    assert!(killed * 4 > rounds, "most rounds must really be killed: {killed} of {rounds}");
}

fn rounds(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

thread_local! {
    static KNOWN: std::cell::RefCell<BTreeMap<PathBuf, Snapshot>> = const { std::cell::RefCell::new(BTreeMap::new()) };
}

/// The tree's content; stubs keep what they had when they were last seen whole.
fn snapshot_of_content(sandbox: &Sandbox) -> Snapshot {
    KNOWN.with_borrow_mut(|known| {
        let seen = known.entry(sandbox.tree()).or_default();
        for (path, entry) in snapshot(&sandbox.tree()) {
            if entry.kind == 'f' && !is_stub(&sandbox.tree().join(&path)) {
                seen.insert(path, entry);
            }
        }
        seen.clone()
    })
}

/// Starts `tier` and kills it after so many microseconds; false when it was
/// faster.
fn kill_after(sandbox: &Sandbox, micros: u64) -> bool {
    let mut child = sandbox
        .command(["tier", "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("hsm starts");
    // Not a synchronisation: the moment of death is meant to be arbitrary.
    std::thread::sleep(Duration::from_micros(micros));
    let _ = child.kill();
    let status = child.wait().expect("the child ends");
    status.code().is_none()
}

#[test]
fn failing_each_effect_in_turn_is_reported_and_loses_nothing() {
    let step = 1;
    let mut nth = 1;
    loop {
        let mut sandbox = Sandbox::new();
        grow_little(&sandbox);
        let before = snapshot(&sandbox.tree());
        sandbox.set_env("HSM_FAULT_FAIL", &nth.to_string());
        let first = sandbox.hsm(["tier"]);
        let second = sandbox.on("recall", &["-r"], &[""]);
        sandbox.set_env("HSM_FAULT_FAIL", "");
        check_report(&first, nth);
        check_report(&second, nth);
        no_unmarked_file_lost_its_bytes(&sandbox, &before, &format!("effect {nth}"));
        sandbox.hsm(["tier"]).succeeds();
        everything_is_there(&sandbox, &before, &format!("effect {nth}"));
        if first.code() == 0 && second.code() == 0 {
            assert!(nth > 20, "the injector counts too few effects: {nth}");
            return;
        }
        nth += step;
    }
}

fn grow_little(sandbox: &Sandbox) {
    sandbox.write("a/one", &noise(1, 80_000));
    sandbox.write("a/two", &prose(2, 120_000));
    sandbox.write("b/three", &noise(3, 2 << 20));
}

/// A run that failed said so: no silent success, no panic.
fn check_report(ran: &Ran, nth: u64) {
    assert!([0, 1, 3].contains(&ran.code()), "effect {nth}: {}\n{}", ran.code(), ran.stderr());
    assert!(!ran.stderr().contains("panicked"), "effect {nth}: {}", ran.stderr());
    if ran.code() != 0 {
        assert!(ran.stderr().contains("injected failure"), "effect {nth}: {}", ran.stderr());
    }
}

/// The bug: a punch that was done but whose mtime could not be put back was
/// recorded as `uploaded`, and the next run took the stub's zeros for content.
#[test]
fn a_stub_whose_times_could_not_be_put_back_is_still_known_as_a_stub() {
    for nth in 1..60 {
        let mut sandbox = Sandbox::new();
        sandbox.write("file", &noise(1, 80_000));
        sandbox.set_env("HSM_FAULT_FAIL", &nth.to_string());
        let first = sandbox.hsm(["tier"]);
        sandbox.set_env("HSM_FAULT_FAIL", "");
        if first.stderr().contains("stub.utimens") {
            let second = sandbox.hsm(["tier", "--json"]).succeeds();
            assert_eq!(second.summary()["uploaded_files"], 0);
            sandbox.on("recall", &[], &["file"]).succeeds();
            assert_eq!(sandbox.read("file"), noise(1, 80_000));
            return;
        }
    }
    panic!("the effect was never met");
}

#[test]
fn a_full_tree_survives_tier_after_tier() {
    let sandbox = Sandbox::new();
    let mut before = Snapshot::new();
    for generation in 0..4 {
        grow(&sandbox, generation);
        before.extend(snapshot_of_content(&sandbox));
        sandbox.hsm(["tier"]).succeeds();
    }
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    let mut after = snapshot(&sandbox.tree());
    after.retain(|_, entry| entry.kind == 'f');
    assert_same(&before, &after);
}

/// A power cut takes the last commits of the state DB with it; here its files
/// are put back as they were before the run.
#[test]
fn a_state_db_that_lost_its_last_commits_learns_them_from_the_log() {
    let sandbox = Sandbox::new();
    grow(&sandbox, 1);
    sandbox.hsm(["scan"]).succeeds();
    let saved = sandbox.path("saved");
    copy_state(&sandbox.state_dir(), &saved);
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["upload"]).succeeds();
    copy_state(&saved, &sandbox.state_dir());
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "the packs are found through the catalog: {summary}");
    assert!(is_stub(&sandbox.tree().join("gen1/big")));
    everything_is_there(&sandbox, &before, "after the loss");
    sandbox.hsm(["verify", "--data"]).succeeds();
}

fn copy_state(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(to.join(name));
        let _ = std::fs::copy(from.join(name), to.join(name));
    }
}
