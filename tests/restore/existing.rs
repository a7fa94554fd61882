//! What is there already: passed over if it is the same, left alone if it differs,
//! replaced only by request; and a restore that goes on where another stopped.

use super::scene::{figure, fresh, lose, no_litter, restore, restored, text, without_sockets};
use crate::loopfs::FsKind;
use crate::support::held::Held;
use crate::support::snapshot::{Snapshot, assert_same, snapshot};
use crate::support::trees::{noise, ordinary, traps};
use crate::support::{Ran, Sandbox};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// 2001-02-03T04:05:06Z.
const THEN_S: u64 = 981_173_106;

fn date(path: &Path, seconds: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::open(path).expect("open").set_modified(time).expect("its time");
}

/// A tree of which a restore before has left everything, and then somebody worked on
/// the copy.
fn worked_on() -> (Sandbox, Snapshot) {
    let sandbox = Sandbox::new();
    for name in ["same", "older", "newer", "longer", "was-file", "d/inner"] {
        sandbox.write(name, &noise(name.len() as u64, 20_000));
        date(&sandbox.tree().join(name), THEN_S);
    }
    symlink("same", sandbox.tree().join("link")).expect("a link");
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    lose(&sandbox);
    restore(&sandbox, &[]).succeeds();
    let at = |name: &str| restored(&sandbox).join(name);
    for (name, seconds) in [("older", THEN_S - 10), ("newer", THEN_S + 10)] {
        fs::write(at(name), b"work").expect("write");
        date(&at(name), seconds);
    }
    fs::write(at("longer"), noise(9, 30_000)).expect("write");
    date(&at("longer"), THEN_S);
    fs::remove_file(at("was-file")).expect("remove");
    fs::create_dir(at("was-file")).expect("mkdir");
    fs::remove_file(at("link")).expect("remove");
    symlink("elsewhere", at("link")).expect("a link");
    fs::remove_dir_all(at("d")).expect("remove");
    fs::write(at("d"), b"a file now").expect("write");
    (sandbox, before)
}

fn differing(ran: &Ran) -> Vec<String> {
    let lines = ran.stdout();
    let records =
        lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let failed = records.filter(|record| record["type"] == "failure");
    let mut names: Vec<String> = failed
        .map(|record| {
            let path = record["path"]["text"].as_str().expect("text").to_owned();
            path.rsplit("/tree/").next().expect("below the tree").to_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn what_differs_is_left_alone_and_named() {
    let (sandbox, _) = worked_on();
    let worked = snapshot(&restored(&sandbox));
    let ran = restore(&sandbox, &["--json"]).exits(3);
    let expected = ["d", "d/inner", "link", "longer", "newer", "older", "was-file"];
    assert_eq!(differing(&ran), expected);
    let ran = restore(&sandbox, &[]).exits(3);
    ran.complains(&[
        "it exists and differs: it is a directory",
        "it exists and differs: what is above it is no directory",
        "it points elsewhere",
        "it has 30000 bytes, the version has 20000",
        "it has 4 bytes, the version has 20000",
    ]);
    assert_same(&worked, &snapshot(&restored(&sandbox)));
}

#[test]
fn only_older_files_are_replaced_by_older_and_no_directory_by_always() {
    let (sandbox, before) = worked_on();
    let ran = restore(&sandbox, &["--json", "--overwrite", "older"]).exits(3);
    // A link's time is its making.
    let expected = ["d", "d/inner", "link", "longer", "newer", "was-file"];
    assert_eq!(differing(&ran), expected);
    assert_eq!(figure(&ran, "replaced"), 1);
    let ran = restore(&sandbox, &["--json", "--overwrite", "always"]).exits(3);
    assert_eq!(differing(&ran), ["d", "d/inner", "was-file"]);
    let at = |name: &str| restored(&sandbox).join(name);
    assert_eq!(fs::read(at("d")).expect("read"), b"a file now");
    assert!(at("was-file").is_dir());
    fs::remove_dir(at("was-file")).expect("rmdir");
    fs::remove_file(at("d")).expect("remove");
    restore(&sandbox, &["--overwrite", "always"]).succeeds();
    let (mut found, mut expected) = (snapshot(&restored(&sandbox)), before);
    // Somebody else has moved it.
    for tree in [&mut found, &mut expected] {
        tree.get_mut(Path::new("")).expect("the root").mtime = (0, 0);
    }
    assert_same(&expected, &found);
    no_litter(&sandbox.path("out"));
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let (sandbox, _) = worked_on();
    fs::remove_file(restored(&sandbox).join("same")).expect("remove");
    let worked = snapshot(&restored(&sandbox));
    let ran = restore(&sandbox, &["-n"]).succeeds();
    let said = ran.stdout();
    for words in ["restore  f", "differs  f", "there    d", "it is a directory", "above it"] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
    let ran = restore(&sandbox, &["-n", "--json", "--overwrite", "always"]).succeeds();
    assert_eq!(figure(&ran, "restored_files"), 4);
    assert_eq!(figure(&ran, "restored_bytes"), 80_000);
    assert_same(&worked, &snapshot(&restored(&sandbox)));
    fs::remove_dir_all(sandbox.path("out")).expect("remove");
    let ran = restore(&sandbox, &["-n", "--json"]).succeeds();
    assert_eq!(figure(&ran, "restored_files"), 6);
    assert!(!sandbox.path("out").exists());
}

/// Also the times of the directories that were done before.
#[test]
fn what_is_missing_is_brought_and_all_else_stays_as_it_was() {
    let sandbox = Sandbox::empty();
    ordinary(&sandbox.tree());
    traps(&sandbox.tree());
    let before = without_sockets(snapshot(&sandbox.tree()));
    sandbox.init();
    sandbox.policy(&super::scene::linked_policy());
    sandbox.hsm(["tier"]).succeeds();
    lose(&sandbox);
    restore(&sandbox, &[]).succeeds();
    let at = |name: &str| restored(&sandbox).join(name);
    for name in ["dir1/copy3.dat", "traps/names-a", "traps/link", "dir2/sub/file5.dat"] {
        let dir = at(name).parent().expect("a directory").to_owned();
        let time = fs::metadata(&dir).expect("metadata").modified().expect("its time");
        fs::remove_file(at(name)).expect("remove");
        fs::File::open(&dir).expect("open").set_modified(time).expect("its time");
    }
    fs::remove_dir_all(at("dir3")).expect("remove");
    let ran = restore(&sandbox, &["--json"]).succeeds();
    assert_eq!(figure(&ran, "restored_files"), 2 + 12);
    assert_eq!(figure(&ran, "links") + figure(&ran, "other_files"), 2);
    let (mut found, mut expected) = (snapshot(&restored(&sandbox)), before);
    for tree in [&mut found, &mut expected] {
        tree.get_mut(Path::new("")).expect("the root").mtime = (0, 0);
    }
    assert_same(&expected, &found);
}

/// A file that somebody makes in a directory that a restore is at work in.
#[test]
fn what_comes_meanwhile_is_not_replaced() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 50_000));
    sandbox.hsm(["tier"]).succeeds();
    lose(&sandbox);
    let (url, out) = (sandbox.store_url(), sandbox.path("out"));
    let args = ["restore", "--store", &url, "--to", text(&out)];
    let held = Held::at(&sandbox, "restore.described", &args);
    fs::write(restored(&sandbox).join("file"), b"theirs").expect("write");
    held.finish().exits(3).complains(&["something has come to its place meanwhile"]);
    assert_eq!(fs::read(restored(&sandbox).join("file")).expect("read"), b"theirs");
    no_litter(&sandbox.path("out"));
}

/// Known before anything is fetched; stubs need no room.
#[test]
fn where_there_is_no_room_nothing_half_done_is_left() {
    let name = "where_there_is_no_room_nothing_half_done_is_left";
    let small = |name| crate::loopfs::LoopFs::with_size(name, FsKind::Ext4, 96 << 20);
    let Some(fs) = small(name) else { return };
    let sandbox = Sandbox::new();
    sandbox.write("a/film", &noise(1, 40 << 20));
    sandbox.hsm(["tier"]).succeeds();
    lose(&sandbox);
    let (url, out) = (sandbox.store_url(), fs.path().join("out"));
    let args = ["restore", "--strip-root", "--store", &url, "--to", text(&out)];
    let ran = fresh(&sandbox, args).exits(1);
    ran.complains(&["free, the next files need 40 MiB", "try: make room there"]);
    assert!(!out.join("a/film").exists());
    fresh(&sandbox, [&args[..], &["--stubs"]].concat()).succeeds();
    assert_eq!(fs::metadata(out.join("a/film")).expect("a stub").len(), 40 << 20);
    no_litter(&out);
}

#[test]
fn the_store_is_no_place_to_restore_to() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 1000));
    sandbox.hsm(["tier"]).succeeds();
    let objects = snapshot(&sandbox.store());
    for dir in [sandbox.store().join("x"), sandbox.store(), sandbox.state_dir()] {
        let ran = sandbox.hsm(["restore", "--to", text(&dir)]).exits(1);
        ran.complains(&["is in hsm's own store or state directory"]);
    }
    assert_same(&objects, &snapshot(&sandbox.store()));
}
