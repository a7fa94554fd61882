//! Bad input around the tree: policies with mistakes, a state DB that is
//! damaged or newer, a full disk, a second run, a signal. Each gets a clear
//! error and what to do next, and nothing is lost.

mod support;

#[path = "support/loopfs.rs"]
mod loopfs;

use loopfs::{FsKind, LoopFs};
use rustix::process::Signal;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use support::Sandbox;
use support::held::Held;
use support::snapshot::{allocated, assert_same, is_stub, snapshot};
use support::trees::noise;

fn tiered() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a/one", &noise(1, 100_000));
    sandbox.write("b/two", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox
}

#[test]
fn a_policy_with_a_mistake_is_named_to_the_column_and_stops_the_run() {
    let table: &[(&str, &str, &[&str])] = &[
        (
            "unknown key",
            "[[rule]]\nname = \"x\"\naction = \"tier\"\nidel = \"9d\"\n",
            &[":4:1: unknown key \"idel\"", "did you mean \"idle\"?"],
        ),
        ("bad glob", "[class.v]\ninclude = [\"**/{a\"]\n", &[":2:12: bad glob \"**/{a\"", "'}'"]),
        (
            "bad size",
            "[class.v]\nmin_size = \"12 elephants\"\n",
            &[":2:12: bad size \"12 elephants\"", "64KiB"],
        ),
        (
            "cyclic class",
            "[class.a]\nclass = \"b\"\n[class.b]\nclass = \"a\"\n",
            &[":1:8: class \"a\" is made of itself: a -> b -> a", "break the circle"],
        ),
        (
            "unknown class",
            "[[rule]]\nname = \"x\"\nclass = \"a\"\naction = \"tier\"\n",
            &[":3:9: unknown class \"a\"", "[class.a]"],
        ),
        (
            "bad action",
            "[[rule]]\nname = \"x\"\naction = \"teir\"\n",
            &[":3:10: unknown action \"teir\"", "did you mean \"tier\"?"],
        ),
        ("bad age", "[[rule]]\nname = \"x\"\nidle = \"9 moons\"\naction = \"tier\"\n", &[":3:8: "]),
        ("no TOML", "[[rule]\nname = \"x\"\n", &[":1:8: not valid TOML"]),
    ];
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 100_000));
    sandbox.hsm(["scan"]).succeeds();
    let (tree, store) = (snapshot(&sandbox.tree()), snapshot(&sandbox.store()));
    for (what, text, words) in table {
        sandbox.policy(text);
        let file = sandbox.path("home/config/policies.d/test.toml");
        let file = file.to_str().unwrap();
        for args in [&["tier"][..], &["upload"], &["stub"], &["plan"], &["tier", "--dry-run"]] {
            let ran = sandbox.hsm(args).exits(1).complains(&["the policy has 1 error", file]);
            ran.complains(words).complains(&["try: hsm policy check"]);
        }
        let check = sandbox.hsm(["policy", "check", file]).exits(1);
        let said = format!("{}{}", check.stdout(), check.stderr());
        assert!(words.iter().all(|word| said.contains(word)), "{what}: {said}");
        // The same file in place of a good one.
        let elsewhere = sandbox.path("home/other.toml");
        fs::write(&elsewhere, text).unwrap();
        sandbox.policy(support::EAGER_POLICY);
        let args = ["tier", "--policy", elsewhere.to_str().unwrap()];
        sandbox.hsm(args).exits(1).complains(&["other.toml"]).complains(words);
        assert_same(&tree, &snapshot(&sandbox.tree()));
        assert_same(&store, &snapshot(&sandbox.store()));
    }
    sandbox.hsm(["tier"]).succeeds();
}

#[test]
fn several_mistakes_are_told_at_once() {
    let sandbox = Sandbox::new();
    sandbox.policy(
        "frob = 1\n[class.v]\nmin_size = \"x\"\n[[rule]]\nname = \"r\"\naction = \"teir\"\n",
    );
    let ran = sandbox.hsm(["tier"]).exits(1);
    ran.complains(&["the policy has 3 error", ":1:1: ", ":3:12: ", ":6:10: "]);
}

#[test]
fn a_policy_or_configuration_that_cannot_be_read_is_named() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("home/config/policies.d/test.toml");
    fs::write(&file, b"\xff\xfe").unwrap();
    sandbox.hsm(["tier"]).exits(1).complains(&["cannot read", "test.toml", "UTF-8"]);
    sandbox.policy(support::EAGER_POLICY);
    let text = fs::read_to_string(sandbox.config()).unwrap();
    fs::write(sandbox.config(), format!("frob = 1\n{text}")).unwrap();
    for command in ["tier", "status", "doctor"] {
        let ran = sandbox.hsm([command]).exits(1);
        ran.complains(&["config.toml:1:1: unknown key \"frob\"", "try: mend the file"]);
    }
    fs::write(sandbox.config(), text).unwrap();
    sandbox.hsm(["tier"]).succeeds();
}

/// Ways to damage a state DB that SQLite or its readers must notice.
/// Does something to a file of this many bytes.
type Damage = fn(&File, u64);

fn damages() -> Vec<(&'static str, Damage)> {
    vec![
        ("header", |db, _| db.write_all_at(b"XXXX", 3).unwrap()),
        ("empty", |db, _| db.set_len(0).unwrap()),
        ("short", |db, _| db.set_len(20_000).unwrap()),
        ("half", |db, len| db.set_len(len / 2).unwrap()),
        ("middle", |db, len| {
            // The first bytes of every page but the first: its type and cells.
            for page in 1..len / 8192 {
                db.write_all_at(&[0xff; 64], page * 8192).unwrap();
            }
        }),
        ("noise", |db, len| db.write_all_at(&noise(5, len as usize), 0).unwrap()),
    ]
}

#[test]
fn a_damaged_state_db_is_refused_with_the_way_out_and_the_way_out_works() {
    let sandbox = tiered();
    let tree = sandbox.tree();
    let before = snapshot(&tree);
    let good = fs::read(sandbox.state_db()).unwrap();
    let wal = sandbox.state_dir().join("state.db-wal");
    assert!(fs::metadata(wal).map_or(0, |wal| wal.len()) == 0, "the DB is whole in one file");
    for (what, damage) in damages() {
        fs::write(sandbox.state_db(), &good).unwrap();
        let db = File::options().write(true).open(sandbox.state_db()).unwrap();
        damage(&db, good.len() as u64);
        drop(db);
        let damaged = fs::read(sandbox.state_db()).unwrap();
        let tree = tree.to_str().unwrap();
        for args in [
            &["scan"][..],
            &["tier"],
            &["plan"],
            &["status"],
            &["ls", "-r"],
            &["verify"],
            &["recall", "-r", tree],
            &["init", tree],
        ] {
            let ran = sandbox.hsm(args).exits(1);
            ran.complains(&["the state database is damaged", "state.db", "try: hsm rebuild"]);
            assert!(
                fs::read(sandbox.state_db()).unwrap() == damaged,
                "{what}: {args:?} wrote to it"
            );
        }
        let doctor = sandbox.hsm(["doctor"]).exits(1).stdout();
        assert!(doctor.contains("bad      state-db"), "{what}: {doctor}");
        assert_same(&before, &snapshot(&sandbox.tree()));
    }
    // The last damage is still there.
    sandbox.hsm(["rebuild"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["verify", "--data"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_eq!(sandbox.read("a/one"), noise(1, 100_000));
}

#[test]
fn a_state_db_of_a_newer_version_is_left_to_it() {
    let sandbox = tiered();
    let raise = |by: i64| {
        let db = rusqlite::Connection::open(sandbox.state_db()).unwrap();
        let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        db.pragma_update(None, "user_version", found + by).unwrap();
        db.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
        found
    };
    let known = raise(1);
    let who = format!("by a newer hsm (schema {}, this one knows {known})", known + 1);
    let newer = support::snapshot::digest(&sandbox.state_db());
    for args in [&["scan"][..], &["tier"], &["status"], &["recall", "-r", "."], &["doctor"]] {
        let ran = sandbox.hsm(args).exits(1);
        let said = format!("{}{}", ran.stdout(), ran.stderr());
        assert!(said.contains(&who), "{said}");
        assert_eq!(newer, support::snapshot::digest(&sandbox.state_db()), "{args:?}");
    }
    sandbox.hsm(["tier"]).exits(1).complains(&["state.db", "try: the newer hsm"]);
    raise(-1);
    sandbox.on("recall", &["-r"], &[""]).succeeds();
}

#[test]
fn a_database_of_another_program_is_not_taken_for_ours() {
    let sandbox = tiered();
    fs::remove_file(sandbox.state_db()).unwrap();
    let db = rusqlite::Connection::open(sandbox.state_db()).unwrap();
    db.execute("CREATE TABLE recipes (name TEXT)", []).unwrap();
    drop(db);
    sandbox.hsm(["tier"]).exits(1).complains(&["is not a state database of hsm", "state.db"]);
}

#[test]
fn a_full_disk_leaves_the_stub_and_the_recall_works_once_there_is_room() {
    let test = "a_full_disk_leaves_the_stub_and_the_recall_works_once_there_is_room";
    let Some(mount) = LoopFs::with_size(test, FsKind::Ext4, 256 << 20) else { return };
    let sandbox = Sandbox::empty();
    let root = mount.path().join("tree");
    fs::create_dir(&root).unwrap();
    let film = root.join("film");
    let bytes = noise(1, 48 << 20);
    fs::write(&film, &bytes).unwrap();
    fs::write(root.join("note"), noise(2, 70_000)).unwrap();
    let (state, url) = (sandbox.state_dir(), sandbox.store_url());
    let (state, root_text) = (state.to_str().unwrap(), root.to_str().unwrap());
    sandbox.hsm(["init", "--state-dir", state, "--store", &url, root_text]).succeeds();
    sandbox.policy(support::EAGER_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(allocated(&film), 0);
    let before = snapshot(&root);

    let ballast = mount.path().join("ballast");
    fill_up(&ballast);
    let film_text = film.to_str().unwrap();
    for args in [&["recall", film_text][..], &["recall", "-r", root_text]] {
        let ran = sandbox.hsm(args).exits(1);
        ran.complains(&["free, the recall needs", root_text, "try: free some space"]);
        assert!(is_stub(&film));
        assert_same(&before, &snapshot(&root));
    }
    fs::remove_file(&ballast).unwrap();

    // Full only after the look at the free space: the kernel says so itself.
    let held = Held::at(&sandbox, "recall.intended", &["recall", film_text]);
    fill_up(&ballast);
    held.finish().exits(3).complains(&["cannot recall", film_text, "No space left on device"]);
    assert_same(&before, &snapshot(&root));
    assert_eq!(allocated(&film), 0, "what was reserved is given back");
    fs::remove_file(&ballast).unwrap();
    sandbox.hsm(["recall", film_text]).succeeds();
    assert!(fs::read(&film).unwrap() == bytes);
    sandbox.hsm(["verify", "--data"]).succeeds();
}

/// A file that takes all but a little of the file system.
fn fill_up(path: &std::path::Path) {
    let file = File::create(path).unwrap();
    let free = rustix::fs::fstatvfs(&file).unwrap();
    let bytes = (free.f_bfree * free.f_frsize).saturating_sub(8 << 20);
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).unwrap();
}

#[test]
fn a_second_run_is_told_who_is_at_work() {
    let sandbox = tiered();
    sandbox.write("new", &noise(3, 100_000));
    let held = Held::at(&sandbox, "tier.scanned", &["tier"]);
    let pid = held.pid().to_string();
    let tree = sandbox.tree();
    let tree = tree.to_str().unwrap();
    for args in
        [&["tier"][..], &["scan"], &["upload"], &["stub"], &["verify"], &["recall", "-r", tree]]
    {
        let ran = sandbox.hsm(args).exits(11);
        ran.complains(&["another run is at work", &pid, "try: wait for it to end"]);
    }
    // To look is always possible.
    for args in [&["status"][..], &["ls"], &["find"], &["du"], &["plan"], &["tier", "--dry-run"]] {
        sandbox.hsm(args).succeeds();
    }
    let json = sandbox.hsm(["tier", "--json"]).exits(11).summary();
    assert_eq!((&json["exit"], &json["type"]), (&11.into(), &"summary".into()), "{json}");
    held.finish().succeeds();
    assert!(is_stub(&sandbox.tree().join("new")));
    sandbox.hsm(["tier"]).succeeds();
}

#[test]
fn a_run_that_was_killed_leaves_no_lock() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 100_000));
    let held = Held::at(&sandbox, "tier.scanned", &["tier"]);
    held.signal(Signal::KILL);
    assert_eq!(held.finish().code(), -1);
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("file")));
}

#[test]
fn a_signal_ends_a_run_between_two_files_and_the_next_run_completes() {
    for (point, signal) in [
        ("tier.scanned", Signal::INT),
        ("upload.file-stamped", Signal::TERM),
        ("upload.range-read", Signal::INT),
        ("upload.pack-put", Signal::TERM),
        ("tier.uploaded", Signal::INT),
        ("stub.markers-flushed", Signal::TERM),
    ] {
        let sandbox = Sandbox::new();
        for file in 0..20 {
            sandbox.write(&format!("dir{}/file{file}", file % 3), &noise(file, 60_000));
        }
        sandbox.write("large", &noise(99, 9 << 20));
        let before = snapshot(&sandbox.tree());
        let held = Held::at(&sandbox, point, &["tier", "--json"]);
        held.signal(signal);
        let ran = held.finish().exits(130);
        assert!(!ran.stderr().contains("panicked"), "{point}: {}", ran.stderr());
        assert_eq!(ran.summary()["exit"], 130, "{point}");
        let status = sandbox.hsm(["status"]).succeeds().stdout();
        assert!(status.contains("exit 130"), "{point}: {status}");
        sandbox.hsm(["tier"]).succeeds();
        assert!(is_stub(&sandbox.tree().join("large")), "{point}");
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        assert_same(&before, &snapshot(&sandbox.tree()));
        sandbox.hsm(["verify", "--data"]).succeeds();
    }
}

#[test]
fn a_signal_in_a_recall_leaves_stubs_or_files() {
    for point in ["recall.intended", "stub.fill-allocated", "stub.fill-data-durable"] {
        let sandbox = tiered();
        sandbox.write("large", &noise(9, 9 << 20));
        let before = sandbox.read("large");
        sandbox.hsm(["tier"]).succeeds();
        let tree = sandbox.tree();
        let held = Held::at(&sandbox, point, &["recall", "-r", tree.to_str().unwrap()]);
        held.signal(Signal::INT);
        held.finish().exits(130);
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        assert!(sandbox.read("large") == before, "{point}");
        assert_eq!(sandbox.read("a/one"), noise(1, 100_000));
        sandbox.hsm(["verify", "--data"]).succeeds();
    }
}

#[test]
fn a_second_ctrl_c_ends_the_run_at_once_and_loses_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 100_000));
    let held = Held::at(&sandbox, "upload.pack-put", &["tier"]);
    held.signal(Signal::INT);
    held.signal(Signal::INT);
    held.finish().exits(130);
    assert_eq!(sandbox.read("file"), noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("file")));
}
