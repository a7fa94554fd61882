//! Death and failure at any moment of a collection: the next runs finish it, and
//! nothing that is needed is gone.

use crate::place::{AT_ONCE, all_is_there, collecting, gc_to_the_end, packs};
use crate::support::Sandbox;
use crate::support::snapshot::{Snapshot, assert_same, snapshot};
use crate::support::trees::noise;
use std::fs;

/// Versions to expire, a pack to write anew and packs to delete; everything is a
/// stub.
fn with_work() -> (Sandbox, Snapshot) {
    let sandbox = collecting(AT_ONCE);
    for file in 0..8 {
        sandbox.write(&format!("a/file{file}"), &noise(file, 70_000));
    }
    sandbox.hsm(["tier"]).succeeds();
    sandbox.write("b/dead", &noise(20, 70_000));
    sandbox.hsm(["tier"]).succeeds();
    for file in 2..8 {
        fs::remove_file(sandbox.tree().join(format!("a/file{file}"))).unwrap();
    }
    fs::remove_file(sandbox.tree().join("b/dead")).unwrap();
    sandbox.write("b/new", &noise(21, 70_000));
    let before = snapshot_without_stubs(&sandbox);
    sandbox.hsm(["tier"]).succeeds();
    (sandbox, before)
}

/// What the tree is, once it is recalled.
fn snapshot_without_stubs(sandbox: &Sandbox) -> Snapshot {
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    snapshot(&sandbox.tree())
}

#[track_caller]
fn ends_well(sandbox: &Sandbox, before: &Snapshot, what: &str) {
    gc_to_the_end(sandbox);
    let left = packs(&sandbox.store());
    assert_eq!(left.len(), 2, "{what}: {left:?}");
    all_is_there(sandbox);
    assert_same(before, &snapshot(&sandbox.tree()));
}

#[test]
fn an_abort_at_each_step_is_taken_up_by_the_next_run() {
    const FIRST: [(&str, u64); 9] = [
        ("upload.segment-put", 1),
        ("gc.expired", 1),
        ("upload.pack-put", 1),
        ("upload.pack-proven", 1),
        ("carry.pack-recorded", 1),
        ("gc.repacked", 1),
        ("gc.written", 1),
        ("gc.before-plan", 1),
        ("gc.plan-put", 1),
    ];
    const SECOND: [(&str, u64); 4] =
        [("gc.before-end", 1), ("gc.end-put", 1), ("gc.pack-deleted", 1), ("gc.pack-deleted", 2)];
    let steps = FIRST.map(|step| (0, step)).into_iter().chain(SECOND.map(|step| (1, step)));
    for (runs_before, (point, nth)) in steps {
        let (mut sandbox, before) = with_work();
        for _ in 0..runs_before {
            sandbox.hsm(["gc"]).succeeds();
        }
        sandbox.set_env("HSM_FAULT_ABORT", &format!("{point}:{nth}"));
        let ran = sandbox.hsm(["gc"]);
        assert_eq!(ran.code(), -1, "{point} is never reached: {}", ran.stderr());
        sandbox.set_env("HSM_FAULT_ABORT", "");
        ends_well(&sandbox, &before, point);
    }
}

#[test]
fn each_effect_that_fails_in_turn_is_told_and_made_good() {
    let (mut sandbox, before) = with_work();
    let mut failed = 0;
    // Three runs do all there is to do.
    for nth in 1.. {
        sandbox.set_env("HSM_FAULT_FAIL", &nth.to_string());
        let runs: Vec<i32> = (0..3).map(|_| sandbox.hsm(["gc"]).code()).collect();
        sandbox.set_env("HSM_FAULT_FAIL", "");
        assert!(runs.iter().all(|code| [0, 1].contains(code)), "effect {nth}: {runs:?}");
        if runs == [0, 0, 0] {
            assert!(nth > 5, "no effect ever failed");
            break;
        }
        failed += 1;
        // Something new to do for the next round.
        sandbox.write("b/passing", &noise(100 + nth, 70_000));
        sandbox.hsm(["tier"]).succeeds();
        fs::remove_file(sandbox.tree().join("b/passing")).unwrap();
        sandbox.hsm(["tier"]).succeeds();
    }
    assert!(failed > 5, "{failed}");
    let mut before = before;
    let b = std::path::PathBuf::from("b");
    before.get_mut(&b).expect("b").mtime = snapshot(&sandbox.tree())[&b].mtime;
    ends_well(&sandbox, &before, "each effect");
}
