//! Versions of paths, snapshots and nodes, by the real `hsm` on real files.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::snapshot::{Snapshot, assert_same, snapshot};
use support::trees::{noise, ordinary, traps};
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

fn snapshots(sandbox: &Sandbox) -> Vec<String> {
    let ran = sandbox.hsm(["snapshot", "list", "--json"]).succeeds();
    let name = |record: &Value| record["name"].as_str().expect("a name").to_owned();
    records(&ran, "snapshot").iter().map(name).collect()
}

#[test]
fn a_snapshot_is_made_listed_sealed_and_deleted() {
    let mut sandbox = Sandbox::new();
    sandbox.hsm(["snapshot", "create", "early"]).exits(1).complains(&["nothing", "hsm tier"]);
    sandbox.write("a", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let objects = snapshot(&sandbox.store());
    let dry = sandbox.hsm(["snapshot", "create", "first", "--dry-run", "--json"]).succeeds();
    assert_eq!((&dry.summary()["created"], &dry.summary()["files"]), (&false.into(), &1.into()));
    assert_same(&objects, &snapshot(&sandbox.store()));
    let made = sandbox.hsm(["snapshot", "create", "first", "--json"]).succeeds().summary();
    assert_eq!((&made["created"], &made["size_bytes"]), (&true.into(), &100_000.into()));
    sandbox.hsm(["snapshot", "create", "first"]).exits(1).complains(&["already"]);
    for bad in ["", "a/b", "-x", "line\nfeed"] {
        sandbox.hsm(["snapshot", "create", "--", bad]).exits(1).complains(&["no name"]);
    }
    let again = ["snapshot", "create", "second", "--if-changed", "--json"];
    let unchanged = sandbox.hsm(again).succeeds().summary();
    assert_eq!(unchanged["unchanged_since"], "first", "{unchanged}");
    sandbox.write("b", &noise(2, 50_000));
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(sandbox.hsm(again).succeeds().summary()["files"], 2);
    assert_eq!(snapshots(&sandbox), ["first", "second"]);
    let out = sandbox.path("out");
    let restore = ["snapshot", "restore", "first", "--strip-root", "--to"].map(OsStr::new);
    sandbox.hsm(restore.into_iter().chain([out.as_os_str()])).succeeds();
    assert_eq!(fs::read(out.join("a")).unwrap(), noise(1, 100_000));
    assert!(!out.join("b").exists(), "it came later");

    sandbox.hsm(["snapshot", "seal", "first", "--until", "2001-01-01"]).exits(1);
    sandbox.hsm(["snapshot", "seal", "third", "--until", "now+1d"]).exits(1).complains(&["third"]);
    let seal = ["snapshot", "seal", "first", "--until", "2100-01-01", "--json"];
    let dry = sandbox.hsm(seal.into_iter().chain(["--dry-run"])).succeeds().summary();
    assert!(
        dry["objects"].as_u64() > Some(2) && dry["pack_bytes"].as_u64() > Some(90_000),
        "{dry}"
    );
    assert_eq!(sandbox.hsm(seal).succeeds().summary()["locked_objects"], 0);
    sandbox.hsm(seal).succeeds();
    let text = sandbox.hsm(["snapshot", "list"]).succeeds().stdout();
    assert!(text.contains("sealed until 2100-01-01T00:00:00Z"), "{text}");
    let nearer = ["snapshot", "seal", "first", "--until", "2099-01-01"];
    sandbox.hsm(nearer).exits(1).complains(&["2100-01-01"]);
    let refused = sandbox.hsm(["snapshot", "delete", "first"]).exits(1);
    refused.complains(&["sealed until 2100-01-01"]);
    sandbox.hsm(["snapshot", "delete", "second"]).succeeds();
    sandbox.hsm(["snapshot", "delete", "second"]).exits(1).complains(&["no snapshot"]);
    assert_eq!(snapshots(&sandbox), ["first"]);
    sandbox.set_env("HSM_TEST_NOW", "2100-01-02T00:00:00Z");
    sandbox.hsm(["snapshot", "delete", "first"]).succeeds();
    assert!(snapshots(&sandbox).is_empty());
}

/// Two servers that one was before: the same state, the same root, files of their own.
struct Clones {
    first: Sandbox,
    second: Sandbox,
}

impl Clones {
    /// The second gets the first one's configuration and state, and no files.
    fn of(first: Sandbox) -> Self {
        let second = Sandbox::empty();
        let copied = std::process::Command::new("cp")
            .args(["-a", "-T"])
            .args([first.path("home"), second.path("home")])
            .status();
        assert!(copied.expect("cp").success());
        let config = fs::read_to_string(second.config()).unwrap();
        let (from, to) = (first.path("home"), second.path("home"));
        let config = config.replace(from.to_str().unwrap(), to.to_str().unwrap());
        fs::write(second.config(), config).unwrap();
        Self { first, second }
    }

    /// Runs the second one's hsm where the first one's root was, on its own files.
    fn on_second(&self, args: &[&str]) -> Ran {
        let (root, aside) = (self.first.tree(), self.first.path("aside"));
        fs::create_dir_all(&aside).unwrap();
        move_all(&root, &aside);
        move_all(&self.second.tree(), &root);
        let ran = self.second.hsm(args);
        move_all(&root, &self.second.tree());
        move_all(&aside, &root);
        ran
    }
}

fn move_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn nodes(sandbox: &Sandbox) -> Vec<Value> {
    records(&sandbox.hsm(["nodes", "--json"]).succeeds(), "node")
}

/// Everything a node has in the store is, restored, what `expected` is.
#[track_caller]
fn restores_to(sandbox: &Sandbox, node: &str, expected: &Path) {
    let to = tempfile::tempdir().expect("a directory");
    let place = to.path().join("out").display().to_string();
    let url = sandbox.store_url();
    let args = ["restore", "--store", &url, "--node", node, "--data", "--strip-root", "--to"];
    sandbox.hsm(args.into_iter().chain([place.as_str()])).succeeds();
    let files = |tree: Snapshot| {
        let files = tree.into_iter().filter(|(_, entry)| entry.kind == 'f');
        files.map(|(path, entry)| (path, entry.digest)).collect::<BTreeSet<_>>()
    };
    let (before, after) = (files(snapshot(expected)), files(snapshot(Path::new(&place))));
    let differing: Vec<_> = before.symmetric_difference(&after).map(|(path, _)| path).collect();
    assert!(differing.is_empty(), "of node {node}: {differing:?}");
}

#[test]
fn two_hosts_with_one_node_id_are_told_apart_and_renewed() {
    let first = Sandbox::new();
    first.policy(support::UPLOAD_POLICY);
    first.write("before", &noise(1, 100_000));
    first.hsm(["tier"]).succeeds();
    let clones = Clones::of(first);
    clones.second.write("before", &noise(1, 100_000));
    clones.second.write("of the second", &noise(2, 100_000));
    clones.first.write("of the first", &noise(3, 100_000));
    clones.first.hsm(["tier"]).succeeds();

    let refused = clones.on_second(&["tier"]).exits(1);
    refused.complains(&["another host", "same node id", "hsm nodes renew"]);
    let store = snapshot(&clones.first.store());
    clones.on_second(&["tier"]).exits(1);
    assert_same(&store, &snapshot(&clones.first.store()));
    clones.first.hsm(["nodes", "renew"]).exits(1).complains(&["nothing is wrong"]);
    let dry = clones.on_second(&["nodes", "renew", "--dry-run"]).succeeds();
    assert!(dry.stdout().contains("another"), "{}", dry.stdout());
    let renewed = clones.on_second(&["nodes", "renew", "--json"]).succeeds().summary();
    let (old, new) = (renewed["old_node"].clone(), renewed["node"].clone());
    assert_ne!(old, new);
    let tiered = clones.on_second(&["tier", "--json"]).succeeds().summary();
    let sent = tiered["sent_bytes"].as_u64().expect("a number");
    assert!((100_000..150_000).contains(&sent), "what was there is not sent again: {tiered}");
    clones.first.write("later", &noise(4, 10_000));
    clones.first.hsm(["tier"]).succeeds();
    clones.first.hsm(["verify", "--data"]).succeeds();
    clones.on_second(&["verify", "--data"]).succeeds();

    let ids: Vec<Value> = nodes(&clones.first).iter().map(|node| node["node"].clone()).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&old) && ids.contains(&new), "{ids:?}");
    restores_to(&clones.first, old.as_str().unwrap(), &clones.first.tree());
    restores_to(&clones.first, new.as_str().unwrap(), &clones.second.tree());
}

#[test]
fn a_renewed_server_writes_all_of_its_files_into_its_new_log_and_sends_nothing() {
    let sandbox = Sandbox::empty();
    ordinary(&sandbox.tree());
    traps(&sandbox.tree());
    sandbox.init();
    let linked = "nlink_max = 10\naction = \"tier\"";
    sandbox.policy(&support::EAGER_POLICY.replace("action = \"tier\"", linked));
    sandbox.hsm(["tier"]).succeeds();
    let before = nodes(&sandbox);
    let renewed = sandbox.hsm(["nodes", "renew", "--force", "--json"]).succeeds().summary();
    let again = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!((&again["sent_bytes"], &again["uploaded_files"]), (&0.into(), &0.into()));
    let quiet = snapshot(&sandbox.store());
    sandbox.hsm(["tier"]).succeeds();
    assert_same(&quiet, &snapshot(&sandbox.store()));
    sandbox.hsm(["verify", "--data"]).succeeds();
    let after = nodes(&sandbox);
    let new = after.iter().find(|node| node["own"] == true).expect("this server");
    assert_eq!(new["node"], renewed["node"]);
    assert_eq!(
        (&new["files"], &new["size_bytes"]),
        (&before[0]["files"], &before[0]["size_bytes"])
    );
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    restores_to(&sandbox, new["node"].as_str().unwrap(), &sandbox.tree());
}

#[test]
fn a_lost_server_is_retired_and_finds_out_when_it_comes_back() {
    let mut first = Sandbox::new();
    first.set_env("HSM_TEST_NOW", "2026-01-31T10:00:00Z");
    first.write("of the lost", &noise(1, 100_000));
    first.hsm(["tier"]).succeeds();
    let mut second = Sandbox::empty();
    second.set_env("HSM_TEST_NOW", "2026-01-31T10:30:00Z");
    second.init_with(&["--store", &first.store_url()]);
    second.write("of the other", &noise(2, 100_000));
    second.hsm(["tier"]).succeeds();
    let lost = nodes(&first).into_iter().find(|node| node["own"] == true).expect("its own");
    let lost = lost["node"].as_str().expect("an id").to_owned();
    let other = nodes(&second).into_iter().find(|node| node["own"] == true).expect("its own");
    let other = other["node"].as_str().expect("an id").to_owned();

    let retire = |sandbox: &Sandbox, id: &str, options: &[&str]| {
        sandbox.hsm(["nodes", "retire", id].into_iter().chain(options.iter().copied()))
    };
    retire(&second, &lost, &["--yes"]).exits(1).complains(&["does not look lost", "10:00:00"]);
    second.set_env("HSM_TEST_NOW", "2026-01-31T12:00:00Z");
    retire(&second, &other, &["--yes"]).exits(1).complains(&["this server"]);
    let part = &lost[..8];
    retire(&second, part, &["--yes"]).exits(1).complains(&["whole id"]);
    let store = snapshot(&first.store());
    let shown = retire(&second, part, &[]).succeeds().stdout();
    assert!(shown.contains("1 files") && shown.contains("--yes"), "{shown}");
    assert_same(&store, &snapshot(&first.store()));
    retire(&second, &lost, &["--yes"]).succeeds();
    retire(&second, &lost, &["--yes"]).exits(1).complains(&["retired already"]);
    let listed = second.hsm(["nodes"]).succeeds().stdout();
    assert!(listed.contains("retired") && listed.contains("this server"), "{listed}");

    // Its files can still be had, by itself and by others.
    first.on("recall", &[], &["of the lost"]).succeeds();
    restores_to(&first, &lost, &first.tree());
    first.write("more", &noise(3, 1000));
    let refused = first.hsm(["tier"]).exits(1);
    refused.complains(&["was retired by node", &other, "hsm nodes renew"]);
    first.hsm(["nodes", "renew"]).succeeds();
    first.hsm(["tier"]).succeeds();
    let mine = nodes(&first).into_iter().find(|node| node["own"] == true).expect("its own");
    assert_eq!(mine["files"], 2);
    retire(&second, &lost, &["--forget", "--yes"]).succeeds();
    let old = nodes(&second).into_iter().find(|node| node["node"] == lost.as_str());
    assert_eq!(old.expect("it is listed")["forgotten"], true);
}

#[test]
fn a_checkpoint_is_written_daily_and_stands_for_the_segments_before_it() {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_TEST_NOW", "2026-01-01T00:00:00Z");
    sandbox.write("a", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let node = fs::read_dir(sandbox.store().join("nodes")).unwrap().next().unwrap().unwrap().path();
    assert!(!node.join("checkpoint").exists());
    sandbox.set_env("HSM_TEST_NOW", "2026-01-02T00:00:00Z");
    sandbox.write("b", &noise(2, 50_000));
    sandbox.hsm(["tier"]).succeeds();
    let parts: Vec<_> = fs::read_dir(node.join("checkpoint")).unwrap().collect();
    assert_eq!(parts.len(), 1);
    sandbox.set_env("HSM_TEST_NOW", "2026-01-02T01:00:00Z");
    sandbox.write("c", &noise(3, 10_000));
    sandbox.hsm(["tier"]).succeeds();
    // What stands for the first segments is enough to read all of it.
    for entry in fs::read_dir(node.join("log")).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name().to_str().unwrap() < "0000000000000004" {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let id = node.file_name().unwrap().to_str().unwrap().to_owned();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    restores_to(&sandbox, &id, &sandbox.tree());
    sandbox.hsm(["verify", "--data", "--store", &sandbox.store_url()]).succeeds();
}
