//! The units under `systemd/`: what an option of systemd.exec(5) would take from
//! the guard, and that systemd itself finds nothing wrong with them.
//!
//! A guard in a mount namespace of its own would watch other mounts than the
//! programs use, so no option that makes one may slip in.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

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
    for entry in std::fs::read_dir(units()).expect("the units") {
        let name = entry.expect("the units").file_name().into_string().expect("an ASCII name");
        for (_, line) in settings(&name).iter().filter(|(key, _)| key == "ExecStart") {
            let mut words = line.split(' ').filter(|word| !word.starts_with('-'));
            assert_eq!(words.next(), Some("/usr/bin/hsm"), "{name}");
            let page = format!("hsm-{}.1", words.next().expect("a subcommand"));
            assert!(known.iter().any(|(name, _)| *name == page), "{name}: no {page}");
        }
    }
}

/// The program need not be installed where the test runs. A systemd before 254
/// does not know that the store can be preserved.
#[test]
fn systemd_finds_nothing_wrong_with_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=yes"]);
    for entry in std::fs::read_dir(units()).expect("the units") {
        let path = entry.expect("the units").path();
        let text = std::fs::read_to_string(&path).expect("a unit");
        let copy = dir.path().join(path.file_name().expect("a name"));
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
