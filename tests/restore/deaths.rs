//! Death at any moment of a restore: nothing half done has a name, and the same
//! command again completes the tree and leaves nothing behind.

use super::scene::{linked_policy, lose, no_litter, restore, restore_command, restored};
use crate::support::dice::Dice;
use crate::support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use crate::support::trees::{noise, prose};
use crate::support::{Ran, Sandbox};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

const POINTS: [(&str, &[&str]); 8] = [
    ("restore.marked", &["--stubs"]),
    ("restore.sized", &["--stubs"]),
    ("restore.described", &["--stubs"]),
    ("restore.named", &["--stubs"]),
    ("restore.data-written", &[]),
    ("restore.data-durable", &[]),
    ("restore.named", &[]),
    ("restore.directories-described", &[]),
];

/// A store with a small tree of everything, and what it was.
fn lost() -> (Sandbox, Snapshot) {
    let sandbox = Sandbox::new();
    sandbox.policy(&linked_policy());
    for file in 0..40u64 {
        let bytes = if file % 3 == 0 { prose(file, 60_000) } else { noise(file, 30_000) };
        sandbox.write(&format!("dir{}/sub/file{file}", file % 4), &bytes);
    }
    sandbox.write("big", &noise(99, 5 << 20));
    sandbox.write("empty", b"");
    let at = |name: &str| sandbox.tree().join(name);
    symlink("big", at("dir0/link")).expect("a link");
    fs::hard_link(at("big"), at("dir3/big too")).expect("a name");
    fs::create_dir(at("dir2/empty")).expect("mkdir");
    for (dir, mode) in [("dir1/sub", 0o555), ("dir3", 0o500)] {
        fs::set_permissions(at(dir), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    lose(&sandbox);
    (sandbox, before)
}

/// What has a name is what it was.
#[track_caller]
fn nothing_is_half_done(sandbox: &Sandbox, before: &Snapshot, what: &str) {
    let root = restored(sandbox);
    if !root.exists() {
        return;
    }
    for (path, entry) in snapshot(&root) {
        let Some(expected) = before.get(&path) else {
            let name = path.to_string_lossy().into_owned();
            assert!(name.contains(".hsm-restore-"), "{what}: {name}");
            continue;
        };
        let full = root.join(&path);
        match entry.kind {
            'd' => {}
            'f' if is_stub(&full) => {
                assert_eq!((entry.size, entry.mode), (expected.size, expected.mode), "{what}");
                assert_eq!(entry.mtime, expected.mtime, "{what}: {}", path.display());
            }
            // Its other name may be still to come.
            _ => {
                let entry = crate::support::snapshot::Entry { nlink: expected.nlink, ..entry };
                assert_eq!(&entry, expected, "{what}: {}", path.display());
            }
        }
    }
}

#[track_caller]
fn the_same_again_completes(sandbox: &Sandbox, before: &Snapshot, options: &[&str], what: &str) {
    let ran = restore(sandbox, options);
    assert_eq!(ran.code(), 0, "{what}\n{}", ran.stderr());
    let root = restored(sandbox);
    let mut found = snapshot(&root);
    let mut before = before.clone();
    if options.contains(&"--stubs") {
        for entry in before.values_mut().chain(found.values_mut()) {
            (entry.digest, entry.data) = (None, None);
        }
        assert!(is_stub(&root.join("big")), "{what}");
    }
    assert_same(&before, &found);
    no_litter(&sandbox.path("out"));
}

#[test]
fn an_abort_at_each_arrow_leaves_nothing_half_done_and_the_next_run_completes() {
    let (mut sandbox, before) = lost();
    for (point, options) in POINTS {
        if options.contains(&"--stubs") && !rustix::process::geteuid().is_root() {
            continue;
        }
        for nth in [1, 5] {
            let _ = fs::remove_dir_all(sandbox.path("out"));
            sandbox.set_env("HSM_FAULT_ABORT", &format!("{point}:{nth}"));
            let ran = restore(&sandbox, options);
            sandbox.set_env("HSM_FAULT_ABORT", "");
            if nth == 1 {
                assert_eq!(ran.code(), -1, "{point} is never reached: {}", ran.stderr());
            }
            let what = format!("{point} {nth} {options:?}");
            nothing_is_half_done(&sandbox, &before, &what);
            the_same_again_completes(&sandbox, &before, options, &what);
        }
    }
}

#[test]
fn sigkill_at_random_moments_leaves_nothing_half_done() {
    let text = std::env::var("HSM_TEST_KILLS").ok();
    let rounds = text.and_then(|text| text.parse().ok()).unwrap_or(60_u64);
    let (sandbox, before) = lost();
    let mut dice = Dice::new(20_261_122);
    let (mut killed, root) = (0, rustix::process::geteuid().is_root());
    for round in 0..rounds {
        let options: &[&str] = if root && round % 2 == 0 { &["--stubs"] } else { &[] };
        let _ = fs::remove_dir_all(sandbox.path("out"));
        for _ in 0..1 + dice.below(2) {
            killed += u64::from(kill_after(&sandbox, options, dice.below(60_000)));
            nothing_is_half_done(&sandbox, &before, &format!("round {round}"));
        }
        the_same_again_completes(&sandbox, &before, options, &format!("round {round}"));
    }
    assert!(killed * 4 > rounds, "most rounds must really be killed: {killed} of {rounds}");
}

/// False when the restore was faster.
fn kill_after(sandbox: &Sandbox, options: &[&str], micros: u64) -> bool {
    let mut command = restore_command(sandbox, options);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("hsm starts");
    // Not a synchronisation: the moment of death is meant to be arbitrary.
    std::thread::sleep(Duration::from_micros(micros));
    let _ = child.kill();
    child.wait().expect("the child ends").code().is_none()
}

#[test]
fn failing_each_effect_in_turn_is_reported_and_the_next_run_completes() {
    let (mut sandbox, before) = few();
    let root = rustix::process::geteuid().is_root();
    for options in [&[][..], &["--stubs"]] {
        if options.contains(&"--stubs") && !root {
            continue;
        }
        for nth in 1.. {
            let _ = fs::remove_dir_all(sandbox.path("out"));
            sandbox.set_env("HSM_FAULT_FAIL", &nth.to_string());
            let ran = restore(&sandbox, options);
            sandbox.set_env("HSM_FAULT_FAIL", "");
            check_report(&ran, nth);
            let what = format!("effect {nth} {options:?}");
            nothing_is_half_done(&sandbox, &before, &what);
            the_same_again_completes(&sandbox, &before, options, &what);
            if ran.code() == 0 {
                assert!(nth > 15, "the injector counts too few effects: {nth}");
                break;
            }
        }
    }
}

fn few() -> (Sandbox, Snapshot) {
    let sandbox = Sandbox::new();
    sandbox.policy(&linked_policy());
    sandbox.write("a/one", &noise(1, 20_000));
    sandbox.write("a/two", &prose(2, 20_000));
    sandbox.write("big", &noise(3, 20_000));
    symlink("one", sandbox.tree().join("a/link")).expect("a link");
    fs::hard_link(sandbox.tree().join("big"), sandbox.tree().join("b too")).expect("a name");
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    lose(&sandbox);
    (sandbox, before)
}

/// No silent success, no panic.
#[track_caller]
fn check_report(ran: &Ran, nth: u64) {
    assert!([0, 1, 3].contains(&ran.code()), "effect {nth}: {}\n{}", ran.code(), ran.stderr());
    assert!(!ran.stderr().contains("panicked"), "effect {nth}: {}", ran.stderr());
    if ran.code() != 0 {
        assert!(ran.stderr().contains("injected failure"), "effect {nth}: {}", ran.stderr());
    }
}
