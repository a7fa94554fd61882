//! What a recall finds where a clean stub should be: the rest of a punch that a
//! power cut stopped, what somebody wrote over a stub, another hsm's marker.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use support::snapshot::{allocated, assert_same, is_stub, snapshot};
use support::trees::noise;
use support::{Sandbox, needs_root};

const LEN: usize = 6 << 20;

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).expect("open")
}

/// A stub of `noise(1, LEN)`, dated; with the snapshot of the tree before.
fn stubbed() -> (Sandbox, support::snapshot::Snapshot) {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, LEN));
    let then = std::time::UNIX_EPOCH + std::time::Duration::new(981_173_106, 123_456_789);
    open(&sandbox.tree().join("file")).set_modified(then).expect("its mtime");
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(allocated(&sandbox.tree().join("file")), 0);
    (sandbox, before)
}

#[test]
fn the_rest_of_an_interrupted_punch_is_compared_and_the_file_comes_back() {
    // In the middle of a chunk, across two, at the end, with the last bytes.
    for range in [65_536..131_072, 4_100_096..4_300_800, LEN - 8192..LEN] {
        let (sandbox, before) = stubbed();
        let path = sandbox.tree().join("file");
        open(&path).write_all_at(&noise(1, LEN)[range.clone()], range.start as u64).expect("write");
        sandbox.on("recall", &[], &["file"]).succeeds();
        assert_same(&before, &snapshot(&sandbox.tree()));
        sandbox.hsm(["tier"]).succeeds();
        assert!(is_stub(&path), "it can be stubbed again");
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        assert_same(&before, &snapshot(&sandbox.tree()));
    }
}

#[test]
fn the_rest_of_a_punch_is_cleared_by_a_recall_of_the_whole_tree_too() {
    let (sandbox, before) = stubbed();
    let path = sandbox.tree().join("file");
    open(&path).write_all_at(&noise(1, LEN)[..65_536], 0).expect("write");
    // Every command in between leaves it alone.
    sandbox.hsm(["scan"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(fs::read(&path).expect("read")[..65_536], noise(1, LEN)[..65_536]);
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
}

#[test]
fn one_byte_that_differs_is_somebodys_work_and_is_not_touched() {
    let (sandbox, before) = stubbed();
    let path = sandbox.tree().join("file");
    let mut bytes = noise(1, LEN)[65_536..131_072].to_vec();
    bytes[40_000] ^= 1;
    open(&path).write_all_at(&bytes, 65_536).expect("write");
    let found = fs::read(&path).expect("read");
    for _ in 0..2 {
        let ran = sandbox.on("recall", &[], &["file"]).exits(3);
        ran.complains(&["file", "written to while it was a stub"]);
        assert!(fs::read(&path).expect("read") == found, "the recall changed it");
        assert!(is_stub(&path));
    }
    sandbox.on("recall", &["--discard-local"], &["file"]).succeeds();
    assert!(fs::read(&path).expect("read") == noise(1, LEN));
    assert_eq!(before.len(), snapshot(&sandbox.tree()).len());
}

#[test]
fn zeros_that_somebody_wrote_are_not_taken_for_the_hole() {
    let (sandbox, _) = stubbed();
    let path = sandbox.tree().join("file");
    open(&path).write_all_at(&[0; 4096], 8192).expect("write");
    sandbox.on("recall", &[], &["file"]).exits(3).complains(&["written to while it was a stub"]);
    assert!(is_stub(&path));
}

#[test]
fn a_rest_that_cannot_be_compared_is_left_alone() {
    let (sandbox, before) = stubbed();
    let path = sandbox.tree().join("file");
    open(&path).write_all_at(&noise(1, LEN)[..65_536], 0).expect("write");
    let away = sandbox.path("packs away");
    fs::rename(sandbox.store().join("packs"), &away).expect("rename");
    assert_ne!(sandbox.on("recall", &[], &["file"]).code(), 0);
    assert_eq!(fs::read(&path).expect("read")[..65_536], noise(1, LEN)[..65_536]);
    assert!(is_stub(&path));
    fs::remove_dir_all(sandbox.store().join("packs")).ok();
    fs::rename(&away, sandbox.store().join("packs")).expect("rename");
    sandbox.on("recall", &[], &["file"]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
}

/// Found by tests/properties.rs: only a scan knew it for a whole file.
#[test]
fn a_stub_that_was_truncated_and_written_anew_is_resident_for_recall_and_verify() {
    for len in [0, 10, 200_000] {
        let (sandbox, _) = stubbed();
        let path = sandbox.tree().join("file");
        fs::write(&path, noise(2, len)).expect("write");
        sandbox.hsm(["verify"]).succeeds();
        sandbox.on("recall", &[], &["file"]).succeeds();
        sandbox.hsm(["verify"]).succeeds();
        assert!(fs::read(&path).expect("read") == noise(2, len), "{len}");
        assert!(!is_stub(&path));
        sandbox.hsm(["tier"]).succeeds();
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        assert!(fs::read(&path).expect("read") == noise(2, len), "{len}, tiered");
    }
}

#[test]
fn root_does_not_upload_the_stub_of_an_ordinary_users_hsm() {
    if !needs_root("root_does_not_upload_the_stub_of_an_ordinary_users_hsm") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("theirs", b"");
    sandbox.write("ours", &noise(1, 100_000));
    let theirs = sandbox.tree().join("theirs");
    open(&theirs).set_len(100_000).expect("a hole");
    xattr::set(&theirs, "user.hsm", &[7; 64]).expect("a marker");
    let ran = sandbox.hsm(["tier"]).exits(3);
    ran.complains(&["theirs", "ordinary user's hsm"]);
    assert!(is_stub(&sandbox.tree().join("ours")), "the run goes on");
    assert_eq!(fs::metadata(&theirs).expect("metadata").size(), 100_000);
    let states = sandbox.on("ls", &["--json"], &[""]).stdout();
    let line = states.lines().find(|line| line.contains("theirs")).expect("it is listed");
    assert!(line.contains("resident"), "{line}");
}

/// The hole under a marker that the state DB does not know is not content.
#[test]
fn a_file_with_a_marker_is_never_uploaded() {
    let sandbox = Sandbox::new();
    sandbox.write("original", &noise(1, 100_000));
    sandbox.write("whole", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let original = sandbox.tree().join("original");
    let name = if rustix::process::geteuid().is_root() { "trusted.hsm" } else { "user.hsm" };
    let marker = xattr::get(&original, name).expect("readable").expect("a marker");
    let copy = sandbox.tree().join("copy");
    fs::write(&copy, b"").expect("a file");
    open(&copy).set_len(100_000).expect("a hole");
    xattr::set(&copy, name, &marker).expect("the marker, copied");
    let ran = sandbox.hsm(["tier", "--json"]).exits(3);
    assert_eq!(ran.summary()["uploaded_files"], 0);
    ran.complains(&["copy", "stub's marker"]);
    sandbox.on("recall", &[], &["copy"]).exits(3).complains(&["copy"]);
    sandbox.on("recall", &[], &["original"]).succeeds();
    assert!(fs::read(&original).expect("read") == noise(1, 100_000));
}
