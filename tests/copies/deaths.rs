//! Runs that die or fail half-way.

use super::scene::{
    Away, all_recalled, doubled, no_stub_without_two_copies, packs, second, stubs, twice,
};
use crate::support::snapshot::{Snapshot, snapshot};
use crate::support::trees::noise;
use crate::support::{Sandbox, UPLOAD_POLICY};
use std::fs;

/// One pack of one copy, so that there is something to replicate, and two files that
/// are sent.
fn half_way() -> (Sandbox, Snapshot) {
    let sandbox = doubled();
    sandbox.policy(UPLOAD_POLICY);
    sandbox.write("old", &noise(1, 60_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.policy(&twice());
    sandbox.write("new/a", &noise(2, 60_000));
    sandbox.write("new/b", &noise(3, 5_000));
    let before = snapshot(&sandbox.tree());
    (sandbox, before)
}

const POINTS: [&str; 10] = [
    "upload.pack-recorded",
    "second.pack-put",
    "second.pack-proven",
    "second.pack-recorded",
    "second.wanted",
    "second.pack-read",
    "second.held",
    "second.mirrored",
    "tier.second",
    "stub.markers-flushed",
];

#[test]
fn death_at_any_point_leaves_no_stub_without_two_copies_and_the_next_run_completes() {
    for point in POINTS {
        let nths: &[u32] = if point.starts_with("second.") { &[1, 2] } else { &[1] };
        for nth in nths {
            let (mut sandbox, before) = half_way();
            sandbox.set_env("HSM_FAULT_ABORT", &format!("{point}:{nth}"));
            let ran = sandbox.hsm(["tier"]);
            if *nth == 1 {
                assert_eq!(ran.code(), -1, "{point} is never reached: {}", ran.stderr());
            }
            sandbox.set_env("HSM_FAULT_ABORT", "");
            completes(&sandbox, &before, point);
        }
    }
}

fn completes(sandbox: &Sandbox, before: &Snapshot, what: &str) {
    no_stub_without_two_copies(sandbox, what);
    if !stubs(sandbox).is_empty() {
        // Without the first store, as it is at this moment.
        let first = Away::of(&sandbox.store());
        all_recalled(sandbox, before);
        first.back();
    }
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(sandbox).len(), 3, "{what}");
    no_stub_without_two_copies(sandbox, what);
    assert_eq!(packs(&sandbox.store()), packs(&second(sandbox)), "{what}");
    fs::remove_dir_all(sandbox.store()).unwrap();
    all_recalled(sandbox, before);
}

/// Each effect of a run fails once: the store's, the state DB's, the tree's.
#[test]
fn failure_of_any_effect_leaves_no_stub_without_two_copies() {
    let mut failed = 0;
    for nth in 1.. {
        let (mut sandbox, before) = half_way();
        sandbox.set_env("HSM_FAULT_FAIL", &nth.to_string());
        let count = sandbox.path("home/count");
        sandbox.set_env("HSM_FAULT_COUNT", count.to_str().unwrap());
        sandbox.hsm(["tier"]);
        sandbox.set_env("HSM_FAULT_FAIL", "");
        let effects: u64 = fs::read_to_string(&count).unwrap().trim().parse().unwrap();
        let what = format!("effect {nth}");
        completes(&sandbox, &before, &what);
        if effects < nth {
            break;
        }
        failed += 1;
    }
    assert!(failed > 15, "only {failed} effects");
}
