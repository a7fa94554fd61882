//! Traps that were found by reading the code: orders of records, two names for
//! one inode, edits that hide, errors that must not stop or hang a run.

#[path = "support/loopfs.rs"]
mod loopfs;
mod support;

use loopfs::{FsKind, LoopFs};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::held::Held;
use support::snapshot::is_stub;
use support::trees::noise;
use support::{Sandbox, skip};

/// The tree as tests/restore.py makes it from the store alone.
fn restored(sandbox: &Sandbox, test: &str) -> Option<PathBuf> {
    let zstd = "import importlib.util as u, shutil, sys\n\
                found = u.find_spec('zstandard') or shutil.which('zstd') or sys.version_info >= (3, 14)\n\
                sys.exit(not found)";
    if !Command::new("python3").args(["-c", zstd]).status().is_ok_and(|s| s.success()) {
        skip(test, "needs python3 with zstandard or the zstd program");
        return None;
    }
    let out = sandbox.path("restored");
    let _ = std::fs::remove_dir_all(&out);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/restore.py");
    let ran = Command::new("python3").arg(script).arg(sandbox.store()).arg(&out).output();
    let ran = ran.expect("python3 runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let node = std::fs::read_dir(&out).unwrap().next().expect("one node").unwrap().path();
    let tree = sandbox.tree().canonicalize().unwrap();
    let inside = std::ffi::OsStr::from_bytes(&tree.as_os_str().as_bytes()[1..]);
    Some(node.join(inside))
}

fn rename(sandbox: &Sandbox, from: &str, to: &str) {
    std::fs::rename(sandbox.tree().join(from), sandbox.tree().join(to)).expect("rename");
}

/// A later record wins, so what is gone from a path must be written before what
/// is there now.
#[test]
fn what_was_saved_over_or_swapped_is_in_the_catalog_as_it_is_now() {
    let test = "what_was_saved_over_or_swapped_is_in_the_catalog_as_it_is_now";
    let sandbox = Sandbox::new();
    for (seed, name) in [(1, "sheet"), (2, "a"), (3, "b"), (4, "dir/inner"), (5, "deleted")] {
        sandbox.write(name, &noise(seed, 70_000));
    }
    sandbox.hsm(["tier"]).succeeds();
    sandbox.write("~tmp", &noise(11, 60_000));
    rename(&sandbox, "~tmp", "sheet");
    rename(&sandbox, "a", "c");
    rename(&sandbox, "b", "a");
    rename(&sandbox, "c", "b");
    rename(&sandbox, "dir", "moved");
    sandbox.write("dir/inner", &noise(14, 60_000));
    std::fs::remove_file(sandbox.tree().join("deleted")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let Some(tree) = restored(&sandbox, test) else { return };
    for (seed, len, name) in [
        (11, 60_000, "sheet"),
        (3, 70_000, "a"),
        (2, 70_000, "b"),
        (4, 70_000, "moved/inner"),
        (14, 60_000, "dir/inner"),
    ] {
        let found = std::fs::read(tree.join(name));
        let found = found.unwrap_or_else(|error| panic!("{name} is not restored: {error}"));
        assert!(found == noise(seed, len), "{name} has other bytes");
    }
    assert!(!tree.join("deleted").exists() && !tree.join("c").exists());
}

/// Names come and go while the inode, its content and its copy stay.
#[test]
fn the_catalog_follows_the_names_of_a_hard_linked_stub() {
    let test = "the_catalog_follows_the_names_of_a_hard_linked_stub";
    let sandbox = Sandbox::new();
    let policy =
        support::EAGER_POLICY.replace("action = \"tier\"", "nlink_max = 10\naction = \"tier\"");
    sandbox.policy(&policy);
    sandbox.write("a", &noise(1, 70_000));
    let link = |name: &str| {
        std::fs::hard_link(sandbox.tree().join("a"), sandbox.tree().join(name)).expect("link");
    };
    link("b");
    link("c");
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("a")));
    link("d");
    std::fs::remove_file(sandbox.tree().join("b")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let Some(tree) = restored(&sandbox, test) else { return };
    let mut names: Vec<_> =
        std::fs::read_dir(&tree).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a", "c", "d"]);
}

/// A symlink needs no upload to be part of the tree.
#[test]
fn a_symlink_made_later_is_catalogued_without_an_upload() {
    let test = "a_symlink_made_later_is_catalogued_without_an_upload";
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 70_000));
    sandbox.hsm(["tier"]).succeeds();
    std::os::unix::fs::symlink("file", sandbox.tree().join("link")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let Some(tree) = restored(&sandbox, test) else { return };
    assert_eq!(std::fs::read_link(tree.join("link")).unwrap(), Path::new("file"));
}

/// Two fills of one inode would undo each other.
#[test]
fn a_file_that_is_named_twice_is_recalled_once() {
    let sandbox = Sandbox::new();
    let policy =
        support::EAGER_POLICY.replace("action = \"tier\"", "nlink_max = 10\naction = \"tier\"");
    sandbox.policy(&policy);
    sandbox.write("dir/a", &noise(1, 70_000));
    std::fs::hard_link(sandbox.tree().join("dir/a"), sandbox.tree().join("dir/b")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let ran = sandbox.on("recall", &["-r", "--json"], &["dir/a", "dir/b", "dir/a", "dir"]);
    let summary = ran.succeeds().summary();
    assert_eq!(
        (&summary["recalled_files"], &summary["recalled_bytes"]),
        (&1.into(), &70_000.into())
    );
    assert_eq!(sandbox.read("dir/b"), noise(1, 70_000));
    let left = sandbox.on("find", &["--state", "recalling"], &[""]).succeeds();
    assert_eq!(left.stdout(), "");
}

/// Writes other bytes of the same length and puts the mtime back, as `cp -p`
/// over a file of one age does.
fn edit_unseen(sandbox: &Sandbox, name: &str, bytes: &[u8]) {
    let path = sandbox.tree().join(name);
    let file = std::fs::File::options().write(true).open(path).expect("open");
    let modified = file.metadata().expect("stat").modified().expect("an mtime");
    file.write_all_at(bytes, 0).expect("write");
    file.set_modified(modified).expect("put the mtime back");
}

#[test]
fn an_edit_that_keeps_size_and_mtime_is_uploaded_though_a_stub_run_met_it_first() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 70_000));
    let held = Held::at(&sandbox, "tier.uploaded", &["tier"]);
    edit_unseen(&sandbox, "file", &noise(2, 70_000));
    held.finish().succeeds();
    assert!(!is_stub(&sandbox.tree().join("file")));
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["uploaded_files"], 1, "{summary}");
    assert!(is_stub(&sandbox.tree().join("file")));
    sandbox.on("recall", &[], &["file"]).succeeds();
    assert_eq!(sandbox.read("file"), noise(2, 70_000));
}

/// After a death in the middle of stubbing nothing but the content tells.
#[test]
fn a_file_whose_content_is_not_its_copy_is_uploaded_again() {
    let mut sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 70_000));
    sandbox.set_env("HSM_FAULT_ABORT", "stub.markers-flushed");
    assert_eq!(sandbox.hsm(["tier"]).code(), -1);
    sandbox.set_env("HSM_FAULT_ABORT", "");
    edit_unseen(&sandbox, "file", &noise(2, 70_000));
    for _ in 0..2 {
        sandbox.hsm(["tier"]).succeeds();
    }
    assert!(is_stub(&sandbox.tree().join("file")));
    sandbox.on("recall", &[], &["file"]).succeeds();
    assert_eq!(sandbox.read("file"), noise(2, 70_000));
}

/// What files in use do is no failure of the run.
#[test]
fn files_that_vanish_or_run_between_scan_and_action_fail_nothing() {
    let sandbox = Sandbox::new();
    for (seed, name) in [(1, "small"), (2, "stays")] {
        sandbox.write(name, &noise(seed, 70_000));
    }
    sandbox.write("large", &noise(3, 5 << 20));
    std::fs::copy("/bin/sleep", sandbox.tree().join("program")).expect("a program");
    let mut running =
        Command::new(sandbox.tree().join("program")).arg("600").spawn().expect("it runs");
    let held = Held::at(&sandbox, "tier.scanned", &["tier", "--json"]);
    for name in ["small", "large"] {
        std::fs::remove_file(sandbox.tree().join(name)).unwrap();
    }
    let ran = held.finish();
    running.kill().expect("ours");
    running.wait().expect("ours");
    let summary = ran.succeeds().summary();
    assert_eq!((&summary["uploaded_files"], &summary["stubbed_files"]), (&2.into(), &1.into()));
}

/// The threads that read packs must hear that nobody listens any more.
#[test]
fn a_verification_that_cannot_go_on_ends() {
    let mut sandbox = Sandbox::new();
    sandbox.policy(support::UPLOAD_POLICY);
    for pack in 0..20 {
        sandbox.write(&format!("file{pack}"), &noise(pack, 2000));
        sandbox.hsm(["tier"]).succeeds();
    }
    // Its first effect is the recording of the first pack.
    sandbox.set_env("HSM_FAULT_FAIL", "1");
    sandbox.hsm(["verify", "--data"]).exits(1).complains(&["injected failure"]);
}

/// The tree keeps its stubs; what of them the state DB had not made durable is
/// gone.
#[test]
fn a_power_cut_of_the_state_db_after_a_punch_leaves_known_stubs() {
    let test = "a_power_cut_of_the_state_db_after_a_punch_leaves_known_stubs";
    for kind in [FsKind::Ext4, FsKind::Xfs] {
        let Some(mut fs) = LoopFs::new(test, kind) else { return };
        let mut sandbox = Sandbox::empty();
        std::fs::create_dir(fs.path().join("state")).unwrap();
        std::os::unix::fs::symlink(fs.path().join("state"), sandbox.state_dir()).unwrap();
        sandbox.init();
        for file in 0..5 {
            sandbox.write(&format!("file{file}"), &noise(file, 70_000));
        }
        rustix::fs::sync();
        sandbox.set_env("HSM_FAULT_ABORT", "stub.committed");
        assert_eq!(sandbox.hsm(["tier"]).code(), -1);
        sandbox.set_env("HSM_FAULT_ABORT", "");
        fs.crash(false);
        assert!(is_stub(&sandbox.tree().join("file0")));
        sandbox.hsm(["tier"]).succeeds();
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        for file in 0..5 {
            assert_eq!(sandbox.read(&format!("file{file}")), noise(file, 70_000), "{kind:?}");
        }
    }
}

/// It would end each run before the files behind it.
#[test]
fn a_file_larger_than_the_limit_has_a_run_for_itself() {
    let sandbox = Sandbox::new();
    sandbox.policy(&format!("{}\n[limits]\nmax_bytes = \"100kB\"\n", support::EAGER_POLICY));
    sandbox.write("a-large", &noise(1, 300_000));
    sandbox.write("b", &noise(2, 70_000));
    sandbox.write("c", &noise(3, 70_000));
    for name in ["a-large", "b", "c"] {
        sandbox.hsm(["tier"]).succeeds();
        assert!(is_stub(&sandbox.tree().join(name)), "{name}");
    }
}

/// One lost file sends the recall to the catalogs of all nodes, of which one is
/// not readable by us.
#[test]
fn a_lost_file_and_a_foreign_catalog_keep_no_other_from_its_recall() {
    let sandbox = Sandbox::new();
    sandbox.write("lost", &noise(1, 70_000));
    sandbox.hsm(["tier"]).succeeds();
    for pack in walkdir::WalkDir::new(sandbox.store().join("packs")) {
        let pack = pack.expect("listed");
        if pack.file_type().is_file() {
            std::fs::remove_file(pack.path()).expect("removed");
        }
    }
    sandbox.write("sound", &noise(2, 70_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["verify"]).exits(4);
    let log = sandbox.store().join("nodes/11111111-1111-4111-8111-111111111111/log");
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join("0000000000000001"), b"of a later version").unwrap();
    sandbox.on("recall", &["-r"], &[""]).exits(3).complains(&["lost"]);
    assert_eq!(sandbox.read("sound"), noise(2, 70_000));
    assert!(is_stub(&sandbox.tree().join("lost")));
}

/// The run died between the punch and its record, and the stub is elsewhere
/// when the next one looks.
#[test]
fn a_stub_that_was_renamed_before_its_recovery_is_known_as_a_stub() {
    for point in ["stub.after-punch", "stub.marker-set"] {
        let mut sandbox = Sandbox::new();
        sandbox.write("file", &noise(1, 70_000));
        sandbox.set_env("HSM_FAULT_ABORT", point);
        assert_eq!(sandbox.hsm(["tier"]).code(), -1);
        sandbox.set_env("HSM_FAULT_ABORT", "");
        rename(&sandbox, "file", "renamed");
        sandbox.hsm(["tier"]).succeeds();
        sandbox.hsm(["tier"]).succeeds();
        assert!(is_stub(&sandbox.tree().join("renamed")), "{point}");
        let found = sandbox.on("find", &["--state", "stub"], &[""]).succeeds();
        assert!(found.stdout().contains("renamed"), "{point}: {}", found.stdout());
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        assert_eq!(sandbox.read("renamed"), noise(1, 70_000));
    }
}

/// What is above a file may be something else by now, too.
#[test]
fn a_file_whose_directory_became_another_thing_is_gone_and_no_failure() {
    let sandbox = Sandbox::new();
    type Make = fn(&Path);
    let others: [(&str, Make); 2] = [
        ("file", |dir| std::fs::write(dir, b"a file now").unwrap()),
        ("link", |dir| std::os::unix::fs::symlink("/", dir).unwrap()),
    ];
    for (name, _) in others {
        sandbox.write(&format!("{name}/inner"), &noise(1, 70_000));
    }
    let replace = || {
        for (name, make) in others {
            std::fs::remove_dir_all(sandbox.tree().join(name)).unwrap();
            make(&sandbox.tree().join(name));
        }
    };
    let held = Held::at(&sandbox, "tier.uploaded", &["tier"]);
    replace();
    held.finish().succeeds();
    sandbox.hsm(["verify", "--data"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    for (name, _) in others {
        std::fs::remove_file(sandbox.tree().join(name)).unwrap();
        sandbox.write(&format!("{name}/inner"), &noise(2, 70_000));
    }
    let held = Held::at(&sandbox, "tier.scanned", &["tier"]);
    replace();
    held.finish().succeeds();
}

#[test]
fn a_restore_never_goes_into_the_store_or_the_state_directory() {
    let sandbox = Sandbox::new();
    sandbox.write("f", b"bytes");
    sandbox.hsm(["tier"]).succeeds();
    let url = sandbox.store_url();
    for dir in [sandbox.store(), sandbox.store().join("packs/new"), sandbox.state_dir()] {
        let to = dir.to_str().expect("text");
        for more in [&[][..], &["--store", &url], &["--stubs"]] {
            let args = [&["restore", "--to", to], more].concat();
            sandbox.hsm(args).exits(1).complains(&["own store or state directory"]);
        }
    }
    assert!(!sandbox.store().join("packs/new").exists());
    let mut nowhere = Sandbox::empty();
    nowhere.set_env("HSM_CONFIG", "/nonexistent");
    let to = sandbox.store();
    nowhere.hsm(["restore", "--store", &url, "--to", to.to_str().expect("text")]).exits(1);
}

#[test]
fn a_named_store_is_restored_beside_a_state_db_that_is_damaged() {
    let sandbox = Sandbox::new();
    sandbox.write("f", b"bytes");
    sandbox.hsm(["tier"]).succeeds();
    std::fs::write(sandbox.state_db(), "no database at all").expect("damaged");
    let (url, to) = (sandbox.store_url(), sandbox.path("back"));
    let to_text = to.to_str().expect("text");
    sandbox.hsm(["restore", "--store", &url, "--strip-root", "--to", to_text]).succeeds();
    assert_eq!(std::fs::read(to.join("f")).expect("restored"), b"bytes");
}

#[test]
fn nothing_is_stubbed_or_written_on_an_older_copy_of_the_store() {
    let sandbox = Sandbox::new();
    sandbox.write("before", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let (store, backup) = (sandbox.store(), sandbox.path("backup"));
    let copy = |from: &Path, to: &Path| {
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
        assert!(done.success());
    };
    copy(&store, &backup);
    sandbox.write("since", &noise(2, 100_000));
    sandbox.policy(support::UPLOAD_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    sandbox.policy(support::EAGER_POLICY);
    std::fs::remove_dir_all(&store).expect("lost");
    copy(&backup, &store);

    sandbox.write("new", b"of today");
    for command in ["stub", "upload", "tier"] {
        sandbox.hsm([command]).exits(1).complains(&["has lost segments", "hsm rebuild"]);
    }
    assert_eq!(sandbox.read("since"), noise(2, 100_000));
    sandbox.hsm(["rebuild", "--force"]);
    sandbox.hsm(["tier"]);
    sandbox.hsm(["tier"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_eq!(sandbox.read("since"), noise(2, 100_000));
    sandbox.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn a_copy_of_the_catalog_that_is_damaged_deep_inside_is_made_anew() {
    let sandbox = Sandbox::new();
    for nth in 0..300 {
        sandbox.write(&format!("file-{nth}"), b"bytes");
    }
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["nodes"]).succeeds();
    let copy = sandbox.state_dir().join("catalog.db");
    let mut bytes = std::fs::read(&copy).expect("the copy");
    let half = bytes.len() / 2;
    bytes[half..].fill(0x5a);
    std::fs::write(&copy, bytes).expect("damaged");
    sandbox.on("history", &[], &["file-7"]).exits(1).complains(&["malformed", "made anew"]);
    sandbox.on("history", &[], &["file-7"]).succeeds();
}
