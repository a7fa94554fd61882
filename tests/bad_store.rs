//! Stores that fail or lie: each run ends with the right code and words that
//! say what is wrong and what to do next, nothing is stubbed on the strength of
//! a bad copy, and when the store is well again every file is readable or
//! recallable and equal to the original.

#[path = "support/planted.rs"]
mod planted;
#[path = "support/s3_place.rs"]
mod s3_place;
#[path = "support/s3_server.rs"]
mod s3_server;
mod support;

use planted::*;
use s3_place::Place;
use s3_server::Misdeed;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::snapshot::{assert_same, digest, is_stub, snapshot};
use support::trees::noise;
use support::{Sandbox, needs_root};

const ALWAYS: u32 = u32::MAX;

// --- stores that cannot be reached -----------------------------------------

/// An address at which nobody listens: bound once, so that it was free.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_server_that_does_not_listen_is_unreachable_and_nothing_is_lost() {
    let (place, sandbox, before) = bucket();
    let nobody = nobody();
    edit_config(&sandbox, &place.endpoint, &nobody);
    let words = ["cannot be reached", &nobody, "try:", "network"];
    sandbox.hsm(["tier"]).exits(1).complains(&words);
    nothing_is_stubbed(&sandbox, &before);
    edit_config(&sandbox, &nobody, &place.endpoint);
    sandbox.hsm(["tier"]).succeeds();
    edit_config(&sandbox, &place.endpoint, &nobody);
    sandbox.on("recall", &["-r"], &[""]).exits(1).complains(&words);
    all_are_stubs(&sandbox, &before);
    edit_config(&sandbox, &nobody, &place.endpoint);
    all_is_well(&sandbox, &before);
}

#[test]
fn init_on_a_server_that_does_not_listen_leaves_nothing_that_looks_initialised() {
    let place = Place::in_process();
    let sandbox = place.sandbox();
    let (tree, state) = (sandbox.tree(), sandbox.state_dir());
    let (tree, state) = (tree.to_str().unwrap(), state.to_str().unwrap());
    let nobody = nobody();
    let init = |endpoint: &str| {
        sandbox.hsm([
            "init",
            "--state-dir",
            state,
            "--store",
            &place.url,
            "--endpoint",
            endpoint,
            tree,
        ])
    };
    init(&nobody).exits(1).complains(&["cannot be reached", "try:"]);
    assert!(!sandbox.config().exists());
    sandbox.hsm(["tier"]).exits(10);
    init(&place.endpoint).succeeds();
}

#[test]
fn a_bucket_that_is_not_there_is_unreachable_and_never_empty() {
    let (_place, sandbox, before) = bucket();
    sandbox.hsm(["tier"]).succeeds();
    edit_config(&sandbox, "s3://hsm-test/", "s3://hsm-tset/");
    let ran = sandbox.hsm(["verify"]).exits(1);
    ran.complains(&["hsm-tset", "cannot be reached", "create the bucket, or correct", "try:"]);
    all_are_stubs(&sandbox, &before);
    edit_config(&sandbox, "s3://hsm-tset/", "s3://hsm-test/");
    all_is_well(&sandbox, &before);
}

#[test]
fn an_empty_directory_at_the_stores_path_is_a_missing_mount_and_loses_nothing() {
    let (sandbox, before) = directory();
    sandbox.hsm(["tier"]).succeeds();
    sandbox.write("new", &noise(9, 50_000));
    let aside = sandbox.path("aside");
    std::fs::rename(sandbox.store(), &aside).unwrap();
    let gone = sandbox.hsm(["tier"]).exits(1);
    gone.complains(&["cannot be reached", "is its file system mounted?", "try:", "mount"]);
    std::fs::create_dir(sandbox.store()).unwrap();
    for command in ["tier", "verify"] {
        let ran = sandbox.hsm([command]).exits(1);
        ran.complains(&["cannot be reached", "is its file system mounted?", "try:", "mount"]);
    }
    sandbox.on("recall", &["-r"], &["a"]).exits(1).complains(&["is its file system mounted?"]);
    assert_eq!(std::fs::read_dir(sandbox.store()).unwrap().count(), 0, "nothing is written below");
    all_are_stubs(&sandbox, &before);
    std::fs::remove_dir(sandbox.store()).unwrap();
    std::fs::rename(&aside, sandbox.store()).unwrap();
    sandbox.hsm(["verify"]).succeeds();
    std::fs::remove_file(sandbox.tree().join("new")).unwrap();
    all_is_well(&sandbox, &without_root_mtime(&sandbox, before));
}

#[test]
fn missing_credentials_are_named_as_such() {
    let (_place, mut sandbox, before) = bucket();
    sandbox.set_env("AWS_ACCESS_KEY_ID", "");
    sandbox.set_env("AWS_SECRET_ACCESS_KEY", "");
    let ran = sandbox.hsm(["tier"]).exits(1);
    ran.complains(&["no usable AWS credentials", "try:", "credentials"]);
    nothing_is_stubbed(&sandbox, &before);
    sandbox.set_env("AWS_ACCESS_KEY_ID", s3_server::ACCESS_KEY_ID);
    sandbox.set_env("AWS_SECRET_ACCESS_KEY", "wrong-and-secret");
    let ran = sandbox.hsm(["tier"]).exits(1).complains(&["access denied", "try:", "credentials"]);
    assert!(!ran.stderr().contains("wrong-and-secret"));
    sandbox.set_env("AWS_SECRET_ACCESS_KEY", s3_server::SECRET_ACCESS_KEY);
    all_is_well(&sandbox, &before);
}

// --- stores that take no writes --------------------------------------------

#[test]
fn a_bucket_that_forbids_writing_leaves_the_files_and_still_recalls() {
    let (place, sandbox, before) = bucket();
    place.server().misbehave(Some("PUT"), ALWAYS, Misdeed::Forbid);
    place.server().misbehave(Some("POST"), ALWAYS, Misdeed::Forbid);
    let ran = sandbox.hsm(["tier"]).exits(1);
    ran.complains(&["access denied", "403", "try:", "permissions"]);
    nothing_is_stubbed(&sandbox, &before);
    place.server().behave();
    sandbox.hsm(["tier"]).succeeds();
    place.server().misbehave(Some("PUT"), ALWAYS, Misdeed::Forbid);
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
    place.server().behave();
    all_is_well(&sandbox, &before);
}

#[test]
fn a_bucket_that_forbids_reading_calls_nothing_lost() {
    let (place, sandbox, before) = bucket();
    sandbox.hsm(["tier"]).succeeds();
    place.server().misbehave_at(Some("GET"), "packs/", 0, ALWAYS, Misdeed::Forbid);
    let ran = sandbox.on("recall", &["-r"], &[""]).exits(3);
    ran.complains(&["cannot recall", "access denied"]);
    all_are_stubs(&sandbox, &before);
    let ran = sandbox.hsm(["verify", "--data"]).exits(1);
    let ran = ran.complains(&["access denied", "try:", "permissions"]);
    assert!(!ran.stdout().contains("LOST"), "{}", ran.stdout());
    place.server().behave();
    all_is_well(&sandbox, &before);
}

#[test]
fn a_read_only_directory_leaves_the_files_and_still_recalls() {
    let (sandbox, before) = directory();
    {
        let _read_only = ReadOnly::make(&sandbox.store());
        let ran = sandbox.hsm(["tier"]).exits(1).complains(&["try:"]);
        let text = ran.stderr();
        assert!(text.contains("read-only") || text.contains("access denied"), "{text}");
        nothing_is_stubbed(&sandbox, &before);
    }
    sandbox.hsm(["tier"]).succeeds();
    {
        let _read_only = ReadOnly::make(&sandbox.store());
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        assert_same(&before, &snapshot(&sandbox.tree()));
        sandbox.hsm(["verify", "--data"]).succeeds();
    }
    all_is_well(&sandbox, &before);
}

/// A directory that cannot be written: by its mount when root, whom no mode
/// stops, else by its mode.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn make(dir: &Path) -> Self {
        let made = Self(dir.to_owned());
        if rustix::process::geteuid().is_root() {
            run("mount", &["--bind".as_ref(), dir, dir]);
            run("mount", &["-o".as_ref(), "remount,ro,bind".as_ref(), dir]);
        } else {
            made.chmod(0o500);
        }
        made
    }

    fn chmod(&self, mode: u32) {
        for entry in walkdir::WalkDir::new(&self.0).into_iter().map(|entry| entry.unwrap()) {
            if entry.file_type().is_dir() {
                std::fs::set_permissions(entry.path(), PermissionsExt::from_mode(mode)).unwrap();
            }
        }
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        if rustix::process::geteuid().is_root() {
            unmount(&self.0);
        } else {
            self.chmod(0o700);
        }
    }
}

#[track_caller]
fn run(program: &str, args: &[&Path]) {
    let output = Command::new(program).args(args).output().expect("the program starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {error}");
}

fn unmount(path: &Path) {
    let status = Command::new("umount").arg(path).status();
    if !status.is_ok_and(|status| status.success()) {
        let _ = Command::new("umount").arg("-l").arg(path).status();
    }
}

// --- full stores -----------------------------------------------------------

#[test]
fn a_full_bucket_leaves_the_files() {
    let (place, sandbox, before) = bucket();
    place.server().misbehave_at(Some("PUT"), "packs/", 0, ALWAYS, Misdeed::Full);
    let ran = sandbox.hsm(["tier"]).exits(1);
    ran.complains(&["the store is full", "507", "try:", "make room", "untouched"]);
    nothing_is_stubbed(&sandbox, &before);
    place.server().behave();
    all_is_well(&sandbox, &before);
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

#[test]
fn a_full_directory_keeps_what_fitted_and_the_rest_follows_when_there_is_room() {
    let test = "a_full_directory_keeps_what_fitted_and_the_rest_follows_when_there_is_room";
    if !needs_root(test) {
        return;
    }
    let sandbox = Sandbox::empty();
    let store = sandbox.store();
    let mount = |options: &str| {
        let paths: [&Path; 6] = [
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            options.as_ref(),
            "hsm-test".as_ref(),
            &store,
        ];
        run("mount", &paths);
    };
    mount("size=40m");
    let _mounted = Mounted(store.clone());
    sandbox.init();
    plant(&sandbox);
    sandbox.write("c/first", &noise(10, 33 << 20));
    sandbox.write("d/second", &noise(11, 33 << 20));
    let before = snapshot(&sandbox.tree());
    let ran = sandbox.hsm(["tier"]).exits(1);
    ran.complains(&["the store is full", "try:", "make room", "untouched"]);
    for (path, entry) in before.iter().filter(|(_, entry)| entry.kind == 'f') {
        let full = sandbox.tree().join(path);
        assert!(is_stub(&full) || entry.digest.as_ref() == Some(&digest(&full)), "{full:?}");
    }
    mount("remount,size=200m");
    all_is_well(&sandbox, &before);
}

// --- stores that stutter ---------------------------------------------------

#[test]
fn a_throttling_bucket_is_asked_again_until_it_answers() {
    let (place, sandbox, before) = bucket();
    place.server().misbehave(None, 3, Misdeed::SlowDown);
    place.server().misbehave_at(Some("PUT"), "packs/", 0, 3, Misdeed::SlowDown);
    place.server().misbehave_at(Some("PUT"), "nodes/", 0, 2, Misdeed::SlowDown);
    sandbox.hsm(["tier"]).succeeds();
    all_are_stubs(&sandbox, &before);
    place.server().misbehave_at(Some("GET"), "packs/", 0, 3, Misdeed::SlowDown);
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
    place.server().behave();
    all_is_well(&sandbox, &before);
}

#[test]
fn connections_that_break_at_any_point_of_a_request_are_survived() {
    let (place, sandbox, before) = bucket();
    for misdeed in [Misdeed::CutBefore, Misdeed::CutAfter] {
        place.server().misbehave_at(Some("PUT"), "packs/", 0, 2, misdeed);
        place.server().misbehave_at(Some("PUT"), "nodes/", 0, 2, misdeed);
        place.server().misbehave_at(Some("HEAD"), "packs/", 0, 1, misdeed);
    }
    sandbox.hsm(["tier"]).succeeds();
    all_are_stubs(&sandbox, &before);
    place.server().misbehave_at(Some("GET"), "packs/", 0, 2, Misdeed::TruncateBody);
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
    place.server().behave();
    all_is_well(&sandbox, &before);
}

#[test]
fn a_bandwidth_limit_changes_nothing_but_the_pace() {
    let (_place, sandbox, before) = bucket();
    edit_config(&sandbox, "# bandwidth = \"50MiB/s\"", "bandwidth = \"20MiB/s\"");
    all_is_well(&sandbox, &before);
}

#[test]
fn a_server_that_dies_in_the_middle_of_an_upload_is_sent_only_the_rest() {
    let (place, sandbox, _) = bucket();
    edit_config(&sandbox, "# concurrency = 8", "concurrency = 1");
    sandbox.write("c/film", &noise(77, 70 << 20));
    let before = snapshot(&sandbox.tree());
    // Two packs in two parts each; then a small pack, or the rest of the film.
    place.server().misbehave_at(Some("PUT"), "packs/", 4, ALWAYS, Misdeed::Die);
    let ran = sandbox.hsm(["tier"]).exits(1);
    ran.complains(&["the connection to", "broke", "try:", "nothing already durable is sent twice"]);
    nothing_is_stubbed(&sandbox, &before);
    place.server().revive();
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    let sent = summary["sent_bytes"].as_u64().expect("a number");
    assert!(sent < 14 << 20, "64 MiB were durable: {summary}");
    all_are_stubs(&sandbox, &before);
    all_is_well(&sandbox, &before);
}

// --- stores that lie -------------------------------------------------------

#[test]
fn wrong_bytes_fail_the_recall_and_leave_the_stub() {
    let (place, sandbox, before) = bucket();
    sandbox.hsm(["tier"]).succeeds();
    place.server().misbehave_at(Some("GET"), "packs/", 0, ALWAYS, Misdeed::FlipBody);
    let ran = sandbox.on("recall", &[], &["b/big"]).exits(3);
    ran.complains(&["cannot recall", "b/big", "a chunk of its copy is bad"]);
    all_are_stubs(&sandbox, &before);
    place.server().behave();
    // Spoilt once on the way: fetched again, nobody needs to know.
    place.server().misbehave_at(Some("GET"), "packs/", 0, 1, Misdeed::FlipBody);
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
    all_is_well(&sandbox, &before);
}

#[test]
fn short_bodies_fail_the_recall_and_leave_the_stub() {
    for misdeed in [Misdeed::TruncateBody, Misdeed::ShortenBody] {
        let (place, sandbox, before) = bucket();
        sandbox.hsm(["tier"]).succeeds();
        place.server().misbehave_at(Some("GET"), "packs/", 0, ALWAYS, misdeed);
        let ran = sandbox.on("recall", &[], &["b/big"]).exits(3);
        ran.complains(&["cannot recall", "b/big", "packs/"]);
        all_are_stubs(&sandbox, &before);
        place.server().behave();
        all_is_well(&sandbox, &before);
    }
}

#[test]
fn one_spoilt_transfer_condemns_no_pack() {
    let (place, sandbox, before) = bucket();
    sandbox.hsm(["tier"]).succeeds();
    for misdeed in [Misdeed::FlipBody, Misdeed::ShortenBody, Misdeed::TruncateBody] {
        place.server().misbehave_at(Some("GET"), "packs/", 0, 1, misdeed);
        sandbox.hsm(["verify", "--data"]).succeeds();
    }
    all_is_well(&sandbox, &before);
}

#[test]
fn what_was_called_lost_is_found_again_when_the_store_answers_rightly() {
    for misdeed in [Misdeed::FlipBody, Misdeed::ShortenBody, Misdeed::Forget] {
        let (place, sandbox, before) = bucket();
        sandbox.hsm(["tier"]).succeeds();
        place.server().misbehave_at(Some("GET"), "packs/", 0, ALWAYS, misdeed);
        let ran = sandbox.hsm(["verify", "--data"]).exits(4);
        assert!(ran.stdout().contains("LOST"), "{misdeed:?}: {}", ran.stdout());
        all_are_stubs(&sandbox, &before);
        place.server().behave();
        let ran = sandbox.hsm(["verify", "--data"]);
        assert_eq!(ran.code(), 0, "{misdeed:?}: {}", ran.stdout());
        all_is_well(&sandbox, &before);
    }
}

#[test]
fn an_upload_answered_200_with_other_bytes_stored_is_never_a_copy() {
    for ignores_sums in [false, true] {
        let place = Place::in_process();
        if ignores_sums {
            place.server().misbehave(None, ALWAYS, Misdeed::IgnoreSums);
        }
        let sandbox = place.sandbox();
        place.init(&sandbox, &[]);
        plant(&sandbox);
        sandbox.write("c/film", &noise(4, 33 << 20));
        let before = snapshot(&sandbox.tree());
        place.server().misbehave_at(None, "packs/", 0, ALWAYS, Misdeed::StoreOther);
        let ran = sandbox.hsm(["tier"]).exits(1);
        ran.complains(&["wrong bytes", "packs/", "try:", "hsm verify"]);
        nothing_is_stubbed(&sandbox, &before);
        // What it stored is not deduplicated onto either.
        place.server().behave();
        let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
        assert!(summary["sent_bytes"].as_u64() > Some(38 << 20), "{summary}");
        all_is_well(&sandbox, &before);
    }
}

#[test]
fn a_store_that_changes_what_it_is_sent_is_refused_at_init() {
    let place = Place::in_process();
    let sandbox = place.sandbox();
    place.server().misbehave(None, ALWAYS, Misdeed::StoreOther);
    let (tree, state) = (sandbox.tree(), sandbox.state_dir());
    let ran = sandbox.hsm([
        "init",
        "--state-dir",
        state.to_str().unwrap(),
        "--store",
        &place.url,
        "--endpoint",
        &place.endpoint,
        tree.to_str().unwrap(),
    ]);
    ran.exits(1).complains(&["try:"]);
    assert!(!sandbox.config().exists());
}

#[test]
fn an_object_that_vanishes_between_sending_and_proving_is_no_copy() {
    let (place, sandbox, before) = bucket();
    place.server().misbehave_at(Some("HEAD"), "packs/", 0, ALWAYS, Misdeed::Forget);
    sandbox.hsm(["tier"]).exits(1).complains(&["no such object", "packs/", "try:"]);
    nothing_is_stubbed(&sandbox, &before);
    place.server().behave();
    all_is_well(&sandbox, &before);
}

#[test]
fn an_object_that_vanishes_between_listing_and_reading_is_told() {
    let (place, sandbox, before) = bucket();
    sandbox.hsm(["tier"]).succeeds();
    let mut stranger = place.sandbox();
    stranger.set_env("AWS_ENDPOINT_URL", &place.endpoint);
    place.server().misbehave_at(Some("GET"), "packs/", 0, ALWAYS, Misdeed::Forget);
    let ran = stranger.hsm(["verify", "--data", "--store", &place.url]).exits(4);
    assert!(ran.stdout().contains("is not in the store"), "{}", ran.stdout());
    let ran = sandbox.on("recall", &[], &["b/big"]).exits(3);
    ran.complains(&["cannot recall", "no such object"]);
    all_are_stubs(&sandbox, &before);
    let ran = sandbox.hsm(["verify", "--data"]).exits(4);
    assert!(ran.stdout().contains("is not in the store"), "{}", ran.stdout());
    place.server().behave();
    all_is_well(&sandbox, &before);
}
