//! Versions of paths, snapshots and nodes, by the real `hsm` on real files.

mod support;

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::trees::noise;
use support::{Ran, Sandbox};

/// The records of one type that a `--json` run printed.
fn records(ran: &Ran, kind: &str) -> Vec<Value> {
    let text = ran.stdout();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    all.filter(|record| record["type"] == kind).collect()
}

fn history(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    records(&sandbox.on("history", &["--json"], &[name]).succeeds(), "version")
}

fn ends(versions: &[Value]) -> Vec<&str> {
    versions.iter().map(|version| version["end"].as_str().expect("a word")).collect()
}

fn changes(versions: &[Value]) -> Vec<String> {
    let words = |version: &Value| {
        let words = version["changed"].as_array().expect("a list").iter();
        words.map(|word| word.as_str().expect("a word")).collect::<Vec<_>>().join(" ")
    };
    versions.iter().map(words).collect()
}

/// What Word and Excel do: write beside it, rename the old one away, the new one to
/// its place, delete the old one.
fn save_as_office_does(dir: &Path, name: &str, bytes: &[u8]) {
    let (lock, new, old) = (dir.join("~$lock"), dir.join("A1B2C3D4.tmp"), dir.join("9F8E7D.tmp"));
    fs::write(&lock, b"somebody").unwrap();
    fs::write(&new, bytes).unwrap();
    fs::rename(dir.join(name), &old).unwrap();
    fs::rename(&new, dir.join(name)).unwrap();
    fs::remove_file(&old).unwrap();
    fs::remove_file(&lock).unwrap();
}

#[test]
fn versions_follow_the_path_through_saves_that_rename() {
    let sandbox = Sandbox::new();
    sandbox.write("reports/plan.xlsx", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    save_as_office_does(&sandbox.tree().join("reports"), "plan.xlsx", &noise(2, 90_000));
    sandbox.hsm(["tier"]).succeeds();
    let versions = history(&sandbox, "reports/plan.xlsx");
    assert_eq!(ends(&versions), ["replaced", "current"], "{versions:?}");
    assert_eq!(changes(&versions), ["", "content"]);
    let sizes: Vec<u64> = versions.iter().map(|v| v["size_bytes"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [100_000, 90_000]);
    assert_eq!(versions[0]["to_ns"], versions[1]["from_ns"], "without a moment between");
    assert!(versions[0]["version"].as_u64() < versions[1]["version"].as_u64());
    let text = sandbox.on("history", &["--newest-first"], &["reports/plan.xlsx"]).succeeds();
    let lines: Vec<String> = text.stdout().lines().map(str::to_owned).collect();
    assert!(lines[1].contains("content") && lines[2].ends_with("new"), "{lines:?}");
    for name in ["reports/9F8E7D.tmp", "reports/A1B2C3D4.tmp"] {
        sandbox.on("history", &[], &[name]).exits(1).complains(&["never had anything", ".tmp"]);
    }
}

#[test]
fn a_path_whose_new_file_has_no_copy_yet_keeps_its_last_version() {
    let sandbox = Sandbox::new();
    sandbox.write("plan.xlsx", &noise(1, 100_000));
    sandbox.write("other", b"so that the tree is never empty");
    sandbox.hsm(["tier"]).succeeds();
    save_as_office_does(&sandbox.tree(), "plan.xlsx", &noise(2, 90_000));
    // Too young for this policy.
    sandbox.policy(&support::EAGER_POLICY.replace("quiet = \"0s\"", "quiet = \"1h\""));
    sandbox.hsm(["tier"]).succeeds();
    let versions = history(&sandbox, "plan.xlsx");
    assert_eq!(ends(&versions), ["current"], "it is the newest that the store has");
    // It goes before it was ever sent.
    fs::remove_file(sandbox.tree().join("plan.xlsx")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(ends(&history(&sandbox, "plan.xlsx")), ["deleted"]);
}

#[test]
fn renames_attributes_deletions_and_new_files_are_told_apart() {
    let sandbox = Sandbox::new();
    sandbox.write("old", &noise(1, 100_000));
    sandbox.write("kept", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let at = |name: &str| sandbox.tree().join(name);
    fs::create_dir(at("dir")).unwrap();
    fs::rename(at("old"), at("dir/new")).unwrap();
    fs::set_permissions(at("kept"), fs::Permissions::from_mode(0o600)).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let (old, new) = (history(&sandbox, "old"), history(&sandbox, "dir/new"));
    assert_eq!((ends(&old), ends(&new)), (vec!["moved"], vec!["current"]));
    let path = |name: &str| at(name).canonicalize().unwrap_or_else(|_| at(name));
    let shown = |value: &Value| value["text"].as_str().expect("text").to_owned();
    assert_eq!(shown(&old[0]["moved_to"]), path("dir/new").to_str().unwrap());
    assert_eq!(shown(&new[0]["moved_from"]), path("old").to_str().unwrap());
    assert_eq!(changes(&history(&sandbox, "kept")), ["", "mode"]);
    assert!(history(&sandbox, "kept").iter().all(|v| v["size_bytes"] == 100_000));
    fs::remove_file(at("kept")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(ends(&history(&sandbox, "kept")), ["replaced", "deleted"]);
    sandbox.write("kept", &noise(3, 10_000));
    sandbox.hsm(["tier"]).succeeds();
    let versions = history(&sandbox, "kept");
    assert_eq!(ends(&versions), ["replaced", "deleted", "current"]);
    assert_eq!(changes(&versions), ["", "mode", ""], "the last is a new file");
}

#[test]
fn a_history_needs_nothing_but_the_store() {
    let sandbox = Sandbox::new();
    let name = OsStr::from_bytes(b"na\xffme\n");
    fs::write(sandbox.tree().join(name), noise(1, 1000)).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let path = sandbox.tree().canonicalize().unwrap().join(name);
    fs::remove_dir_all(sandbox.path("home")).unwrap();
    fs::remove_dir_all(sandbox.tree()).unwrap();
    let url = sandbox.store_url();
    let options = ["history", "--json", "--store", &url].map(OsStr::new);
    let ran = sandbox.hsm(options.into_iter().chain([path.as_os_str()])).succeeds();
    let versions = records(&ran, "version");
    assert_eq!(versions.len(), 1);
    assert!(versions[0]["path"]["bytes"].is_string(), "{}", versions[0]);
    assert_eq!(ran.summary()["versions"], 1);
}
