//! Putting back what is gone.

use super::scene::{figure, text};
use crate::support::snapshot::{assert_same, is_stub, snapshot};
use crate::support::trees::noise;
use crate::support::{Sandbox, UPLOAD_POLICY, needs_root};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Uploaded, and then much is deleted; with `noted` the store knows.
fn deleted(noted: bool) -> (Sandbox, crate::support::snapshot::Snapshot) {
    let mut sandbox = Sandbox::new();
    sandbox.policy(UPLOAD_POLICY);
    sandbox.set_env("HSM_TEST_NOW", "2026-01-10T12:00:00Z");
    for (name, seed) in [("keep/one", 1), ("keep/two", 2), ("gone/three", 3), ("gone/sub/four", 4)]
    {
        sandbox.write(name, &noise(seed, 50_000));
    }
    fs::create_dir_all(sandbox.tree().join("gone/empty")).expect("mkdir");
    std::os::unix::fs::symlink("three", sandbox.tree().join("gone/link")).expect("a link");
    sandbox.hsm(["tier"]).succeeds();
    let before = snapshot(&sandbox.tree());
    fs::remove_file(sandbox.tree().join("keep/two")).expect("remove");
    fs::remove_dir_all(sandbox.tree().join("gone")).expect("remove");
    sandbox.set_env("HSM_TEST_NOW", "2026-01-20T12:00:00Z");
    if noted {
        sandbox.hsm(["tier"]).succeeds();
    }
    (sandbox, before)
}

#[test]
fn what_was_deleted_comes_back_and_is_not_sent_again() {
    for noted in [false, true] {
        let (sandbox, before) = deleted(noted);
        let ran = sandbox.on("undelete", &["--json"], &[""]).succeeds();
        assert_eq!(figure(&ran, "restored_files"), 3, "{noted}");
        assert_eq!(figure(&ran, "other_files"), 1);
        assert_eq!(figure(&ran, "directories"), 3);
        let mut found = snapshot(&sandbox.tree());
        // These were there, and changed when something was deleted in them.
        for dir in ["", "keep"] {
            found.insert(dir.into(), before[Path::new(dir)].clone());
        }
        assert_same(&before, &found);
        let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
        assert_eq!(summary["sent_bytes"], 0, "{noted}: {summary}");
        let again = sandbox.on("undelete", &["--json"], &[""]).succeeds();
        assert_eq!(figure(&again, "restored_files"), 0);
        sandbox.hsm(["verify", "--data"]).succeeds();
    }
}

#[test]
fn a_single_file_comes_back_with_the_directories_above_it() {
    let (sandbox, before) = deleted(true);
    sandbox.on("undelete", &[], &["gone/sub/four"]).succeeds();
    assert_eq!(sandbox.read("gone/sub/four"), noise(4, 50_000));
    let found = snapshot(&sandbox.tree());
    for name in ["gone/sub", "gone/sub/four"] {
        assert_eq!(found[Path::new(name)], before[Path::new(name)], "{name}");
    }
    assert!(!sandbox.tree().join("gone/three").exists());
    sandbox.on("undelete", &[], &["gone/never"]).succeeds();
    sandbox.hsm(["undelete", "/elsewhere"]).exits(1).complains(&["below no root"]);
}

#[test]
fn what_is_there_is_never_replaced() {
    let (sandbox, _) = deleted(true);
    sandbox.write("gone/three", b"new work");
    sandbox.write("keep/one", b"more work");
    let ran = sandbox.on("undelete", &["--json"], &[""]).succeeds();
    assert_eq!(figure(&ran, "restored_files"), 2);
    assert_eq!(sandbox.read("gone/three"), b"new work");
    assert_eq!(sandbox.read("keep/one"), b"more work");
    assert_eq!(sandbox.read("gone/sub/four"), noise(4, 50_000));
}

#[test]
fn what_was_renamed_is_not_gone() {
    let sandbox = Sandbox::new();
    sandbox.policy(UPLOAD_POLICY);
    sandbox.write("dir/old", &noise(1, 50_000));
    sandbox.write("dir/lost", &noise(2, 50_000));
    sandbox.hsm(["tier"]).succeeds();
    fs::rename(sandbox.tree().join("dir"), sandbox.tree().join("new")).expect("rename");
    fs::remove_file(sandbox.tree().join("new/lost")).expect("remove");
    sandbox.hsm(["tier"]).succeeds();
    let listed = sandbox.on("undelete", &["--list"], &[""]).succeeds().stdout();
    assert!(listed.contains("dir/lost") && !listed.contains("dir/old"), "{listed}");
    sandbox.on("undelete", &[], &[""]).succeeds();
    assert_eq!(sandbox.read("dir/lost"), noise(2, 50_000));
    assert!(!sandbox.tree().join("dir/old").exists());
}

#[test]
fn a_list_says_when_each_was_deleted_and_for_how_long_it_is_kept() {
    for noted in [false, true] {
        let (sandbox, _) = deleted(noted);
        let tree = snapshot(&sandbox.tree());
        let ran = sandbox.on("undelete", &["--list", "--json"], &["gone"]).succeeds();
        let text = ran.stdout();
        let records: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let three = records
            .iter()
            .find(|r| r["path"]["text"].as_str().is_some_and(|path| path.ends_with("gone/three")));
        let three = three.expect("it is listed");
        assert_eq!((&three["kind"], &three["size_bytes"]), (&"f".into(), &50_000.into()));
        let deleted_ns = 1_768_910_400_000_000_000_i64;
        let grace_ns = 30 * 86_400_000_000_000_i64;
        let expected = noted.then_some(deleted_ns);
        assert_eq!(three["deleted_ns"].as_i64(), expected, "{three}");
        assert_eq!(three["kept_until_ns"].as_i64(), expected.map(|ns| ns + grace_ns), "{three}");
        let told = sandbox.on("undelete", &["--list"], &["gone"]).succeeds().stdout();
        let words: &[&str] = match noted {
            true => &["2026-01-20T12:00:00Z", "kept at least until 2026-02-19T12:00:00Z"],
            false => &["since the last upload"],
        };
        words.iter().for_each(|word| assert!(told.contains(word), "{told}"));
        let dry = sandbox.on("undelete", &["--dry-run"], &["gone"]).succeeds().stdout();
        assert!(dry.contains("restore  f") && dry.contains("gone/three"), "{dry}");
        assert_same(&tree, &snapshot(&sandbox.tree()));
    }
}

#[test]
fn stubs_come_back_as_stubs_and_are_recalled() {
    if !needs_root("stubs_come_back_as_stubs_and_are_recalled") {
        return;
    }
    let (sandbox, _) = deleted(true);
    sandbox.on("undelete", &["--stubs"], &["gone"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("gone/three")));
    let listed = sandbox.on("ls", &["-r"], &["gone"]).succeeds().stdout();
    assert_eq!(listed.matches("stub ").count(), 2, "{listed}");
    sandbox.hsm(["verify"]).succeeds();
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
    let tree = sandbox.tree();
    sandbox.hsm(["recall", "-r", text(&tree)]).succeeds();
    assert_eq!(sandbox.read("gone/three"), noise(3, 50_000));
    assert_eq!(sandbox.read("gone/sub/four"), noise(4, 50_000));
}

/// The root's file system is not mounted: nothing is put into its place.
#[test]
fn nothing_comes_into_another_file_system() {
    let (sandbox, _) = deleted(true);
    fs::rename(sandbox.tree(), sandbox.path("away")).expect("rename");
    fs::create_dir(sandbox.tree()).expect("mkdir");
    sandbox.on("undelete", &[], &[""]).exits(1).complains(&["not the file system that it was"]);
    assert_eq!(fs::read_dir(sandbox.tree()).expect("list").count(), 0);
}
