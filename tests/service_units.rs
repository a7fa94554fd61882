//! What a package installs and asks. The units under `systemd/`: what an option of
//! systemd.exec(5) would take from the guard, and that systemd itself finds nothing
//! wrong with them. And `hsm stubs-left`, by which a removal is refused; what the
//! package does with the answer is tried by tests/install/run.
//!
//! A guard in a mount namespace of its own would watch other mounts than the
//! programs use, so no option that makes one may slip in.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use support::Sandbox;
use support::snapshot::is_stub;
use support::trees::noise;

/// Options that give a service a mount namespace, or take devices from it.
const FORBIDDEN: [&str; 34] = [
    "PrivateTmp",
    "PrivateDevices",
    "PrivateMounts",
    "PrivateNetwork",
    "PrivateIPC",
    "PrivateUsers",
    "ProtectSystem",
    "ProtectHome",
    "ProtectProc",
    "ProcSubset",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectControlGroups",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "InaccessiblePaths",
    "ExecPaths",
    "NoExecPaths",
    "BindPaths",
    "BindReadOnlyPaths",
    "TemporaryFileSystem",
    "RootDirectory",
    "RootImage",
    "MountImages",
    "ExtensionImages",
    "MountFlags",
    "DynamicUser",
    "LogNamespace",
    "NetworkNamespacePath",
    "DevicePolicy",
    "DeviceAllow",
    "ProtectClock",
    "MountAPIVFS",
];

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")
}

/// File names of all units: what else is in the directory is for packages.
fn names() -> Vec<String> {
    let entries = std::fs::read_dir(units()).expect("the units");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names = names.map(|name| name.into_string().expect("an ASCII name"));
    let mut units: Vec<_> =
        names.filter(|name| name.ends_with(".service") || name.ends_with(".timer")).collect();
    units.sort();
    assert!(units.len() > 10, "{units:?}");
    units
}

/// Keys and values, without comments and section names.
fn settings(unit: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(units().join(unit)).expect("the unit");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
}

#[test]
fn the_guard_stays_in_the_mount_namespace_of_the_machine() {
    let settings = settings("hsm-recall-guard.service");
    for (key, value) in &settings {
        assert!(!FORBIDDEN.contains(&key.as_str()), "{key}={value}");
    }
    let value = |key: &str| {
        let found = settings.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    };
    for (key, wanted) in [
        ("Type", "notify"),
        ("NotifyAccess", "main"),
        ("Restart", "always"),
        ("KillMode", "mixed"),
        ("FileDescriptorStorePreserve", "yes"),
        ("OOMPolicy", "continue"),
        ("ExecStart", "/usr/bin/hsm recall-guard"),
    ] {
        assert_eq!(value(key), Some(wanted), "{key}");
    }
    let files: u64 = value("LimitNOFILE").expect("a limit").parse().expect("a number");
    assert!(files >= 131_072);
}

#[test]
fn every_unit_runs_a_command_that_exists() {
    let known = hsm::cli::manual::man_pages();
    for name in names() {
        for (_, line) in settings(&name).iter().filter(|(key, _)| key == "ExecStart") {
            let mut words = line.split(' ').filter(|word| !word.starts_with('-'));
            assert_eq!(words.next(), Some("/usr/bin/hsm"), "{name}");
            let page = format!("hsm-{}.1", words.next().expect("a subcommand"));
            assert!(known.iter().any(|(name, _)| *name == page), "{name}: no {page}");
        }
    }
}

/// What a timer starts disturbs nobody, ends as Ctrl-C ends it, and does not begin
/// at the same second on every server.
#[test]
fn runs_of_timers_keep_in_the_background() {
    let mut timers = 0;
    for name in names() {
        let Some(stem) = name.strip_suffix(".timer") else { continue };
        timers += 1;
        let has = |unit: &str, key: &str, wanted: &str| {
            let found = settings(unit).into_iter().any(|(k, v)| k == key && v == wanted);
            assert!(found, "{unit}: no {key}={wanted}");
        };
        let has_key = |unit: &str, key: &str| {
            assert!(settings(unit).iter().any(|(known, _)| known == key), "{unit}: no {key}");
        };
        has(&name, "Persistent", "yes");
        has_key(&name, "OnCalendar");
        has_key(&name, "RandomizedDelaySec");
        let service = format!("{stem}.service");
        has(&service, "Type", "oneshot");
        has(&service, "IOSchedulingClass", "idle");
        has(&service, "KillSignal", "SIGINT");
        has_key(&service, "Nice");
        if name.contains('@') {
            has(&service, "ConditionPathIsMountPoint", "%f");
            let settings = settings(&service);
            let run = settings.iter().find(|(key, _)| key == "ExecStart").expect("a command");
            assert!(run.1.ends_with(" %f"), "{service}: {}", run.1);
        }
    }
    assert_eq!(timers, 7);
}

/// The program need not be installed where the test runs. A systemd before 254
/// does not know that the store can be preserved.
#[test]
fn systemd_finds_nothing_wrong_with_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=yes"]);
    for name in names() {
        let text = std::fs::read_to_string(units().join(&name)).expect("a unit");
        // A template is looked at as one of its instances.
        let copy = dir.path().join(name.replace("@.", "@srv-media."));
        std::fs::write(&copy, text.replace("/usr/bin/hsm", "/bin/true")).expect("write");
        verify.arg(copy);
    }
    let Ok(output) = verify.output() else {
        let test = "systemd_finds_nothing_wrong_with_them";
        return support::skip(test, "needs systemd-analyze");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let wrong: Vec<&str> =
        said.lines().filter(|line| !line.contains("FileDescriptorStorePreserve")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files `f0` to `f2`, tiered.
fn with_three_stubs() -> Sandbox {
    let sandbox = Sandbox::new();
    for seed in 0..3 {
        sandbox.write(&format!("f{seed}"), &noise(seed, 100_000));
    }
    sandbox.hsm(["tier"]).succeeds();
    assert!((0..3).all(|seed| is_stub(&sandbox.tree().join(format!("f{seed}")))));
    sandbox
}

#[test]
fn hsm_may_go_when_nothing_needs_it_and_nothing_is_in_doubt() {
    let sandbox = Sandbox::empty();
    sandbox.hsm(["stubs-left"]).succeeds();
    sandbox.write("file", &noise(1, 100_000));
    sandbox.init();
    let unseen = sandbox.hsm(["stubs-left"]).exits(1);
    unseen.complains(&["nobody has looked yet", "hsm scan"]);
    sandbox.hsm(["scan"]).succeeds();
    sandbox.hsm(["stubs-left"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    let refused = sandbox.hsm(["stubs-left"]).exits(1);
    let tree = sandbox.tree().display().to_string();
    assert!(
        refused.stdout().contains(&format!("{tree}: 1 stubs (97.7 KiB)")),
        "{}",
        refused.stdout()
    );
    refused.complains(&["1 files have bytes in the store only", &format!("hsm recall -r {tree}")]);
    sandbox.hsm(["recall", "-r", &tree]).succeeds();
    sandbox.hsm(["stubs-left"]).succeeds();
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(sandbox.state_dir().join(name));
    }
    sandbox.hsm(["stubs-left"]).exits(10).complains(&["there is no state DB", "hsm rebuild"]);
}

/// A state DB that missed what happened since is corrected where the file itself
/// says so, and believed where it is not there to ask.
#[test]
fn what_is_left_is_asked_of_the_files_where_that_is_possible() {
    if !support::needs_root("what_is_left_is_asked_of_the_files_where_that_is_possible") {
        return;
    }
    let sandbox = with_three_stubs();
    let before = std::fs::read(sandbox.state_db()).expect("the state DB");
    sandbox.on("recall", &[], &["f0"]).succeeds();
    for name in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(sandbox.state_dir().join(name));
    }
    std::fs::write(sandbox.state_db(), before).expect("the state DB as it was");
    std::fs::rename(sandbox.tree().join("f1"), sandbox.tree().join("moved")).expect("rename");
    sandbox.hsm(["stubs-left"]).exits(1).complains(&["2 files have bytes in the store only"]);
    // A copy with its marker is a stub that the state DB has no copy of.
    let copy = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .args(["f2", "copy"].map(|name| sandbox.tree().join(name)))
        .status();
    assert!(copy.expect("cp").success());
    sandbox.hsm(["scan"]).succeeds();
    let refused = sandbox.hsm(["stubs-left"]).exits(1);
    let said = refused.stdout();
    assert!(said.contains("and 1 that the state DB does not know"), "{said}");
    refused.complains(&["3 files have bytes in the store only"]);
    // Not mounted now: what was recorded counts.
    std::fs::rename(sandbox.tree(), sandbox.path("elsewhere")).expect("rename");
    sandbox.hsm(["stubs-left"]).exits(1).complains(&["2 files have bytes in the store only"]);
}
