//! The tree as it was: at a time, at a snapshot, one version of one file; and what
//! is said when that cannot be told.

use super::scene::{fresh, lose, restore, restored, text};
use super::segments::Log;
use crate::support::Sandbox;
use crate::support::snapshot::{Snapshot, assert_same, snapshot};
use crate::support::trees::noise;
use hsm::manifest::{Name, Record};
use std::fs;
use std::path::Path;

const DAYS: [&str; 3] = ["2026-01-10T12:00:00Z", "2026-01-20T12:00:00Z", "2026-01-30T12:00:00Z"];

/// Three days of one tree: made; changed, renamed and deleted; made again.
fn three_days() -> (Sandbox, Vec<Snapshot>) {
    let mut sandbox = Sandbox::new();
    sandbox.policy(crate::support::UPLOAD_POLICY);
    let mut days = vec![];
    for (day, now) in DAYS.iter().enumerate() {
        change(&sandbox, day);
        sandbox.set_env("HSM_TEST_NOW", now);
        sandbox.hsm(["tier"]).succeeds();
        days.push(snapshot(&sandbox.tree()));
    }
    (sandbox, days)
}

fn change(sandbox: &Sandbox, day: usize) {
    let at = |name: &str| sandbox.tree().join(name);
    match day {
        0 => {
            sandbox.write("a/stays", &noise(1, 50_000));
            sandbox.write("a/changes", &noise(2, 60_000));
            sandbox.write("a/moves", &noise(3, 70_000));
            sandbox.write("b/goes", &noise(4, 80_000));
            std::os::unix::fs::symlink("stays", at("a/link")).expect("a link");
        }
        1 => {
            sandbox.write("a/changes", &noise(5, 61_000));
            fs::rename(at("a/moves"), at("a/moved")).expect("a rename");
            fs::remove_dir_all(at("b")).expect("a deletion");
            fs::remove_file(at("a/link")).expect("a deletion");
        }
        _ => {
            sandbox.write("a/changes", &noise(6, 62_000));
            sandbox.write("b/goes", &noise(7, 81_000));
        }
    }
}

fn as_of(sandbox: &Sandbox, options: &[&str]) -> Snapshot {
    let _ = fs::remove_dir_all(sandbox.path("out"));
    restore(sandbox, options).succeeds();
    snapshot(&restored(sandbox))
}

#[test]
fn the_tree_comes_back_as_it_was_on_each_day() {
    let (mut sandbox, days) = three_days();
    lose(&sandbox);
    sandbox.set_env("HSM_TEST_NOW", "2026-02-01T00:00:00Z");
    assert_same(&days[2], &as_of(&sandbox, &[]));
    for (time, day) in [
        ("2026-01-10T12:00:00Z", 0),
        ("2026-01-20", 0),
        ("now-8d", 1),
        ("2026-01-30T11:59:59Z", 1),
        ("2026-01-31", 2),
    ] {
        assert_same(&days[day], &as_of(&sandbox, &["--as-of", time]));
    }
    restore(&sandbox, &["--as-of", "2026-01-10"]).exits(1).complains(&["begins after", "try: "]);
    restore(&sandbox, &["--as-of", "someday"]).exits(2).complains(&["--as-of", "now-90d"]);
}

#[test]
fn a_path_comes_back_with_its_directories_and_nothing_else() {
    let (sandbox, days) = three_days();
    let tree = sandbox.tree();
    lose(&sandbox);
    let (goes, link) = (tree.join("b/goes"), tree.join("a/link"));
    let found = as_of(&sandbox, &["--as-of", "2026-01-11", text(&goes), text(&link)]);
    let mut expected = days[0].clone();
    expected.retain(|path, _| {
        !["a/stays", "a/changes", "a/moves"].iter().any(|p| path == Path::new(p))
    });
    assert_same(&expected, &found);
    let absent = tree.join("a/moved");
    restore(&sandbox, &["--as-of", "2026-01-11", text(&absent)]).exits(1).complains(&["moved"]);
    restore(&sandbox, &["/elsewhere"]).exits(1).complains(&["/elsewhere is below no root"]);
}

#[test]
fn each_version_that_history_tells_comes_back() {
    let (sandbox, _) = three_days();
    let file = sandbox.tree().join("a/changes");
    let store = ["--store", &sandbox.store_url()];
    lose(&sandbox);
    let told = fresh(&sandbox, [&["history", "--json"], &store[..], &[text(&file)]].concat());
    let told = told.succeeds().stdout();
    let records = told.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let versions: Vec<u64> = records
        .filter(|record| record["type"] == "version")
        .map(|record| record["version"].as_u64().expect("a number"))
        .collect();
    assert_eq!(versions.len(), 3);
    for (version, seed) in versions.iter().zip([2, 5, 6]) {
        let number = version.to_string();
        let found = as_of(&sandbox, &["--version", &number, text(&file)]);
        assert_eq!(found.values().filter(|entry| entry.kind == 'f').count(), 1);
        let bytes = fs::read(restored(&sandbox).join("a/changes")).expect("read");
        assert!(bytes.len() >= 60_000 && bytes == noise(seed, bytes.len()), "version {version}");
        let args = [&["cat", "--version", &number], &store[..], &[text(&file)]].concat();
        assert_eq!(fresh(&sandbox, args).succeeds().output.stdout, bytes);
    }
    let none = restore(&sandbox, &["--version", "4711", text(&file)]);
    none.exits(1).complains(&["has no version 4711", "hsm history"]);
    restore(&sandbox, &["--version", "1"]).exits(2);
    let two = restore(&sandbox, &["--version", "2", text(&file), text(&sandbox.tree().join("b"))]);
    two.exits(1);
}

#[test]
fn a_snapshot_is_a_point_by_name() {
    let (sandbox, days) = three_days();
    let mut log = Log::of(&sandbox);
    let seq = log.seq_at("2026-01-20T12:00:00Z");
    log.append(vec![Record::Snapshot { name: "second day".into(), seq, at_ns: 0 }]);
    lose(&sandbox);
    assert_same(&days[1], &as_of(&sandbox, &["--snapshot", "second day"]));
    let unknown = restore(&sandbox, &["--snapshot", "third day"]);
    unknown.exits(1).complains(&["no snapshot \"third day\"", "second day"]);
}

/// What a rule gave up is named, file by file, and nothing else suffers.
#[test]
fn a_version_that_expired_is_restored_while_its_data_is_there_and_never_as_a_stub() {
    let (sandbox, days) = three_days();
    let mut log = Log::of(&sandbox);
    let name = |text: &str| Name::from_bytes(text.as_bytes());
    let root = name(text(&sandbox.tree()));
    let from_seq = log.seq_of("b/goes", 0);
    log.append(vec![Record::Expired { root, path: name("b/goes"), from_seq }]);
    lose(&sandbox);
    assert_same(&days[0], &as_of(&sandbox, &["--as-of", "2026-01-11"]));
    let stubs = sandbox.path("stubs");
    if rustix::process::geteuid().is_root() {
        let url = sandbox.store_url();
        let args = ["restore", "--stubs", "--store", &url, "--as-of", "2026-01-11", "--to"];
        let ran = fresh(&sandbox, [&args[..], &[text(&stubs)]].concat());
        ran.exits(3).complains(&["b/goes", "has expired", "without --stubs"]);
    }
    // The collection that comes next: the first day's pack is deleted.
    log.delete_pack(&sandbox, 0);
    let _ = fs::remove_dir_all(sandbox.path("out"));
    let ran = restore(&sandbox, &["--as-of", "2026-01-11"]).exits(3);
    ran.complains(&["b/goes", "has expired and is no longer in the store"]);
    assert!(!restored(&sandbox).join("b/goes").exists());
}

#[test]
fn a_damaged_log_is_good_up_to_the_damage_and_says_where_that_is() {
    let (mut sandbox, days) = three_days();
    let last = Log::of(&sandbox).last_key();
    let path = sandbox.store().join(&last);
    let bytes = fs::read(&path).expect("the last segment");
    let checkpoints = path.parent().expect("the log").with_file_name("checkpoint");
    fs::remove_dir_all(checkpoints).expect("what would spare reading it");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("truncated");
    lose(&sandbox);
    sandbox.set_env("HSM_TEST_NOW", "2026-02-01T00:00:00Z");
    let ran = restore(&sandbox, &[]).exits(1);
    ran.complains(&["read the catalog segment", &last, "try: --as-of"]);
    assert!(!sandbox.path("out").exists());
    assert_same(&days[1], &as_of(&sandbox, &["--as-of", "2026-01-25"]));
}

#[test]
fn with_several_nodes_nothing_is_guessed() {
    let first = Sandbox::new();
    first.write("mine", &noise(1, 1000));
    first.hsm(["tier"]).succeeds();
    let second = Sandbox::empty();
    second.init_with(&["--store", &first.store_url()]);
    second.write("theirs", &noise(2, 2000));
    second.hsm(["tier"]).succeeds();
    // A configured hsm takes its own.
    let out = first.path("own");
    first.hsm(["restore", "--strip-root", "--to", text(&out)]).succeeds();
    assert_eq!(fs::read(out.join("mine")).expect("read"), noise(1, 1000));
    let ids: Vec<String> = fs::read_dir(first.store().join("nodes"))
        .expect("the nodes")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("an id"))
        .collect();
    assert_eq!(ids.len(), 2);
    let ran = restore(&first, &[]).exits(1);
    let ran = ran.complains(&["the files of several nodes", "last written", "try: --node"]);
    ids.iter().for_each(|id| assert!(ran.stderr().contains(id), "{}", ran.stderr()));
    restore(&first, &["--node", "zz"]).exits(1).complains(&["no node of the store is \"zz\""]);
    let mut found = vec![];
    for id in &ids {
        let _ = fs::remove_dir_all(first.path("out"));
        restore(&first, &["--node", &id[..13], "--strip-root"]).succeeds();
        for entry in fs::read_dir(first.path("out")).expect("restored") {
            found.push(entry.expect("an entry").file_name().into_string().expect("a name"));
        }
    }
    found.sort();
    assert_eq!(found, ["mine", "theirs"]);
}

/// What is left of this server's own hsm does not matter to who names the store.
#[test]
fn a_broken_configuration_or_state_db_does_not_keep_the_files_from_coming_back() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 20_000));
    sandbox.hsm(["tier"]).succeeds();
    let (url, out) = (sandbox.store_url(), sandbox.path("out"));
    let args = ["restore", "--store", &url, "--strip-root", "--to", text(&out)];
    for broken in [sandbox.state_db(), sandbox.config()] {
        fs::write(broken, "neither a database nor a configuration\n".repeat(500)).expect("write");
        let _ = fs::remove_dir_all(&out);
        sandbox.hsm(["restore", "--to", text(&out)]).exits(1);
        sandbox.hsm(args).succeeds();
        assert_eq!(fs::read(out.join("file")).expect("read"), noise(1, 20_000));
    }
}
