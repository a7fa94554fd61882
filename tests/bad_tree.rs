//! Bad input, the tree as a whole: a root that is missing, empty or another
//! one, directories that cannot be read, what is swapped in between two looks,
//! command lines about nothing. Each gets a clear error, nothing is concluded
//! to be deleted, and nothing is lost.
//!
//! What is wrong with single files is in `bad_files.rs`; state DB, policies,
//! disk and signals are in `bad_surroundings.rs`.

mod support;

#[path = "support/loopfs.rs"]
mod loopfs;

use loopfs::{FsKind, LoopFs};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use support::held::Held;
use support::snapshot::{assert_same, is_stub, snapshot};
use support::trees::noise;
use support::{Sandbox, needs_root};

/// Three files in two directories, tiered.
fn tiered() -> Sandbox {
    let sandbox = Sandbox::new();
    fill(&sandbox);
    sandbox.hsm(["tier"]).succeeds();
    sandbox
}

fn fill(sandbox: &Sandbox) {
    sandbox.write("a/one", &noise(1, 100_000));
    sandbox.write("a/two", &noise(2, 100_000));
    sandbox.write("b/three", &noise(3, 100_000));
}

/// The names that the state DB knows, with their states.
fn known(sandbox: &Sandbox) -> String {
    sandbox.hsm(["ls", "-r"]).succeeds().stdout()
}

/// Every command that looks at the tree ends with these words, and the state
/// DB knows what it knew.
#[track_caller]
fn everything_stops(sandbox: &Sandbox, words: &[&str]) {
    let before = known(sandbox);
    assert!(before.contains("a/one"), "{before}");
    let tree = sandbox.tree();
    let tree = tree.to_str().expect("a plain path");
    let below = format!("{tree}/a");
    for args in [
        &["scan"][..],
        &["tier"],
        &["upload"],
        &["stub"],
        &["plan"],
        &["tier", "--dry-run"],
        &["verify"],
        &["recall", "-r", tree],
        &["scan", &below],
        &["tier", &below],
    ] {
        sandbox.hsm(args).exits(1).complains(words).complains(&["try: "]);
        assert_eq!(before, known(sandbox), "{args:?}");
    }
    let status = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(status.contains("is missing or another file system now"), "{status}");
    let doctor = sandbox.hsm(["doctor"]).exits(1).stdout();
    assert!(doctor.contains(tree), "{doctor}");
}

/// The tree is back: all of it comes home.
#[track_caller]
fn all_is_well(sandbox: &Sandbox) {
    sandbox.hsm(["scan"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_eq!(sandbox.read("a/one"), noise(1, 100_000));
    assert_eq!(sandbox.read("a/two"), noise(2, 100_000));
    assert_eq!(sandbox.read("b/three"), noise(3, 100_000));
    sandbox.hsm(["verify", "--data"]).succeeds();
}

/// Two of the three stubs are found wanting; asking opened none of them.
#[test]
fn doctor_looks_at_stubs_without_opening_them() {
    let sandbox = tiered();
    let sound = sandbox.hsm(["doctor"]).succeeds().stdout();
    assert!(sound.contains("good     stubs        3 of the stubs looked at"), "{sound}");
    assert!(sound.contains("not guaranteed: that a program that opens a stub"), "{sound}");
    let root = rustix::process::geteuid().is_root();
    let marker = if root { "trusted.hsm" } else { "user.hsm" };
    let at = |name: &str| sandbox.tree().join(name);
    let other = xattr::get(at("b/three"), marker).unwrap().unwrap();
    xattr::remove(at("a/one"), marker).unwrap();
    xattr::set(at("a/two"), marker, &other).unwrap();
    // The probe file moves the root's own mtime.
    let before = snapshot(&at("a"));
    let told = sandbox.hsm(["doctor"]).exits(1).stdout();
    assert!(told.contains("bad      stubs-lost"), "{told}");
    assert!(told.contains("such as a/one"), "{told}");
    assert!(told.contains("warning  stubs-alien"), "{told}");
    assert!(told.contains("1 of the stubs looked at have their markers"), "{told}");
    assert_same(&before, &snapshot(&at("a")));
}

#[test]
fn a_missing_root_stops_every_run_and_nothing_is_concluded() {
    let sandbox = tiered();
    fs::rename(sandbox.tree(), sandbox.path("away")).unwrap();
    everything_stops(&sandbox, &["open the root", "mount the file system that belongs there"]);
    fs::rename(sandbox.path("away"), sandbox.tree()).unwrap();
    all_is_well(&sandbox);
}

#[test]
fn a_root_that_was_replaced_is_another_root_whatever_it_holds() {
    let sandbox = tiered();
    fs::rename(sandbox.tree(), sandbox.path("away")).unwrap();
    fs::create_dir(sandbox.tree()).unwrap();
    everything_stops(&sandbox, &["is not the file system that it was at hsm init"]);
    // Even one that looks right: a copy has other inodes.
    sandbox.write("a/one", b"something else");
    sandbox.write("b/three", b"something else");
    everything_stops(&sandbox, &["is not the file system that it was at hsm init"]);
    fs::remove_dir_all(sandbox.tree()).unwrap();

    fs::write(sandbox.tree(), b"a file").unwrap();
    everything_stops(&sandbox, &["open the root", "not a directory"]);
    fs::remove_file(sandbox.tree()).unwrap();

    symlink("away", sandbox.tree()).unwrap();
    for command in ["scan", "tier", "plan", "verify"] {
        sandbox.hsm([command]).exits(1).complains(&["a root may not be a symbolic link"]);
    }
    fs::remove_file(sandbox.tree()).unwrap();

    fs::rename(sandbox.path("away"), sandbox.tree()).unwrap();
    all_is_well(&sandbox);
}

#[test]
fn a_root_that_lost_everything_in_it_stops_the_run_until_somebody_says_so() {
    let sandbox = tiered();
    let before = known(&sandbox);
    for dir in ["a", "b"] {
        fs::rename(sandbox.tree().join(dir), sandbox.path(dir)).unwrap();
    }
    for command in ["scan", "tier"] {
        sandbox.hsm([command]).exits(1).complains(&[
            "is empty although 5 entries are known below it",
            "nothing was concluded to be deleted",
            "put a file there",
        ]);
        assert_eq!(before, known(&sandbox));
    }
    for dir in ["a", "b"] {
        fs::rename(sandbox.path(dir), sandbox.tree().join(dir)).unwrap();
    }
    all_is_well(&sandbox);
    // Its own advice, when it really was emptied.
    for dir in ["a", "b"] {
        fs::remove_dir_all(sandbox.tree().join(dir)).unwrap();
    }
    sandbox.write("here", b"still in use");
    sandbox.hsm(["scan"]).succeeds();
    assert!(!known(&sandbox).contains("a/one"));
}

#[test]
fn a_mount_that_vanished_stops_the_run() {
    let test = "a_mount_that_vanished_stops_the_run";
    let Some(mut mount) = LoopFs::new(test, FsKind::Ext4) else { return };
    let sandbox = Sandbox::empty();
    fs::remove_dir(sandbox.tree()).unwrap();
    // The root is the mount point itself, as /srv/media usually is.
    let root = mount.path().to_owned();
    let state = sandbox.state_dir();
    let init = ["init", "--state-dir", state.to_str().unwrap(), "--store", &sandbox.store_url()];
    sandbox.hsm(init.iter().copied().chain([root.to_str().unwrap()])).succeeds();
    sandbox.policy(support::EAGER_POLICY);
    fs::write(root.join("film"), noise(7, 300_000)).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&root.join("film")));
    let before = known(&sandbox);

    mount.unmount();
    let refused = |what: &str| {
        for command in ["scan", "tier", "upload", "stub", "plan", "verify"] {
            let ran = sandbox.hsm([command]).exits(1);
            ran.complains(&["is not the file system that it was at hsm init", "try: mount"]);
            assert_eq!(before, known(&sandbox), "{what}: {command}");
        }
    };
    refused("nothing is mounted");
    let status = |command: &mut Command| assert!(command.status().unwrap().success());
    status(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&root));
    refused("another file system, empty");
    fs::write(root.join("film"), noise(7, 300_000)).unwrap();
    refused("another file system with a file of that name");
    status(Command::new("umount").arg(&root));

    mount.mount();
    sandbox.hsm(["scan"]).succeeds();
    assert_eq!(before, known(&sandbox));
    sandbox.hsm(["recall", root.join("film").to_str().unwrap()]).succeeds();
    assert_eq!(fs::read(root.join("film")).unwrap(), noise(7, 300_000));
}

#[test]
fn a_mount_that_vanishes_in_the_middle_of_a_run_deletes_nothing() {
    let sandbox = tiered();
    sandbox.write("b/four", &noise(4, 100_000));
    let held = Held::at(&sandbox, "tier.scanned", &["tier"]);
    fs::rename(sandbox.tree(), sandbox.path("away")).unwrap();
    fs::create_dir(sandbox.tree()).unwrap();
    let ran = held.finish();
    assert!(ran.code() == 0 || ran.code() == 3, "{}", ran.stderr());
    fs::remove_dir(sandbox.tree()).unwrap();
    fs::rename(sandbox.path("away"), sandbox.tree()).unwrap();
    let known = known(&sandbox);
    assert!(known.contains("a/one") && known.contains("b/four"), "{known}");
    sandbox.hsm(["tier"]).succeeds();
    all_is_well(&sandbox);
    assert_eq!(sandbox.read("b/four"), noise(4, 100_000));
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_cannot_be_read_is_named_and_all_else_is_done() {
    let sandbox = Sandbox::empty();
    fill(&sandbox);
    sandbox.write("closed/inner/deep", &noise(5, 100_000));
    sandbox.write("closed/flat", &noise(6, 100_000));
    sandbox.write("z/unreadable", &noise(8, 100_000));
    let hsm = support::as_nobody(&sandbox);
    let (state, store) = (sandbox.state_dir(), sandbox.store_url());
    let tree = sandbox.tree();
    let tree = tree.to_str().unwrap();
    hsm(&["init", "--state-dir", state.to_str().unwrap(), "--store", &store, tree]).succeeds();
    sandbox.policy(support::EAGER_POLICY);
    hsm(&["scan"]).succeeds();
    mode(&sandbox.tree().join("closed"), 0o000);
    mode(&sandbox.tree().join("z/unreadable"), 0o000);
    // Gone, but a scan that did not see everything may not conclude it.
    fs::remove_file(sandbox.tree().join("a/two")).unwrap();

    let scan = hsm(&["scan"]).exits(3);
    assert!(scan.stdout().contains("nothing was concluded to be deleted"), "{}", scan.stdout());
    let ran = hsm(&["tier"]).exits(3);
    ran.complains(&[
        "cannot scan",
        "tree/closed: Permission denied",
        "cannot upload",
        "z/unreadable",
    ]);
    let status = hsm(&["status"]).succeeds().stdout();
    assert!(status.contains("exit 3"), "the log of runs says so too: {status}");
    let listed = hsm(&["ls", "-r"]).succeeds().stdout();
    for name in ["closed/inner/deep", "closed/flat", "z/unreadable", "a/two"] {
        assert!(listed.contains(name), "{name} is forgotten:\n{listed}");
    }
    mode(&sandbox.tree().join("closed"), 0o755);
    mode(&sandbox.tree().join("z/unreadable"), 0o644);
    assert!(is_stub(&sandbox.tree().join("a/one")) && is_stub(&sandbox.tree().join("b/three")));
    assert!(!is_stub(&sandbox.tree().join("closed/flat")));
    assert_eq!(sandbox.read("closed/inner/deep"), noise(5, 100_000));

    hsm(&["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("closed/inner/deep")));
    assert!(!hsm(&["ls", "-r"]).stdout().contains("a/two"), "now its deletion is certain");
    hsm(&["recall", "-r", tree]).succeeds();
    assert_eq!(sandbox.read("closed/inner/deep"), noise(5, 100_000));
    assert_eq!(sandbox.read("z/unreadable"), noise(8, 100_000));
}

#[test]
fn a_link_swapped_in_for_a_directory_leads_nowhere() {
    let sandbox = Sandbox::new();
    fill(&sandbox);
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).unwrap();
    // The same name, size and time: only the way there differs.
    fs::copy(sandbox.tree().join("a/one"), outside.join("one")).unwrap();
    fs::copy(sandbox.tree().join("a/two"), outside.join("two")).unwrap();
    let secret = snapshot(&outside);
    for point in ["tier.scanned", "tier.uploaded"] {
        let held = Held::at(&sandbox, point, &["tier"]);
        fs::rename(sandbox.tree().join("a"), sandbox.path("real")).unwrap();
        symlink(&outside, sandbox.tree().join("a")).unwrap();
        // Nothing beyond the link is touched; the files count as renamed.
        let ran = held.finish().succeeds();
        if point == "tier.scanned" {
            ran.complains(&["a/one", "a/two", "deleted or renamed"]);
        }
        assert_same(&secret, &snapshot(&outside));
        assert!(is_stub(&sandbox.tree().join("b/three")), "{point}: the rest is done");
        fs::remove_file(sandbox.tree().join("a")).unwrap();
        fs::rename(sandbox.path("real"), sandbox.tree().join("a")).unwrap();
        assert!(!is_stub(&sandbox.tree().join("a/one")), "{point}");
    }
    sandbox.hsm(["tier"]).succeeds();
    // A recall is led astray no more than an upload.
    let tree = sandbox.tree();
    let held = Held::at(&sandbox, "recall.intended", &["recall", "-r", tree.to_str().unwrap()]);
    fs::rename(sandbox.tree().join("a"), sandbox.path("real")).unwrap();
    symlink(&outside, sandbox.tree().join("a")).unwrap();
    let code = held.finish().code();
    assert!(code == 0 || code == 3, "{code}");
    assert_same(&secret, &snapshot(&outside));
    sandbox.on("recall", &[], &["a/one"]).exits(1).complains(&["is below no root"]);
    fs::remove_file(sandbox.tree().join("a")).unwrap();
    fs::rename(sandbox.path("real"), sandbox.tree().join("a")).unwrap();
    all_is_well(&sandbox);
}

#[test]
fn what_is_mounted_below_a_root_is_not_part_of_it() {
    let test = "what_is_mounted_below_a_root_is_not_part_of_it";
    if !needs_root(test) {
        return;
    }
    let sandbox = tiered();
    let before = known(&sandbox);
    // Something mounted over a known directory hides it; it is not gone.
    let status = |command: &mut Command| assert!(command.status().unwrap().success());
    status(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(sandbox.tree().join("a")));
    sandbox.write("a/intruder", &noise(9, 100_000));
    let tier = sandbox.hsm(["tier"]);
    let during = known(&sandbox);
    let intruder = is_stub(&sandbox.tree().join("a/intruder"));
    status(Command::new("umount").arg(sandbox.tree().join("a")));
    tier.succeeds();
    assert_eq!(before, during);
    assert!(!intruder);
    all_is_well(&sandbox);
}

#[test]
fn commands_before_init_say_what_to_do_first() {
    let sandbox = Sandbox::empty();
    let tree = sandbox.tree();
    let tree = tree.to_str().unwrap();
    for args in [
        &["scan"][..],
        &["plan"],
        &["tier"],
        &["upload"],
        &["stub"],
        &["recall", tree],
        &["verify"],
        &["status"],
        &["ls"],
        &["find"],
        &["du"],
        &["explain", tree],
        &["pin", tree],
        &["pin", "--list"],
        &["unpin", tree],
        &["doctor"],
    ] {
        let ran = sandbox.hsm(args).exits(10);
        ran.complains(&["not initialised", "config.toml", "try: hsm init"]);
    }
    assert!(!sandbox.path("home/config").exists() && !sandbox.state_dir().exists());
}

#[test]
fn names_that_are_not_there_are_errors_and_not_silence() {
    let sandbox = tiered();
    let nothing = sandbox.tree().join("no/such file");
    let nothing = nothing.to_str().unwrap();
    for command in ["tier", "upload", "stub", "verify", "pin"] {
        sandbox.hsm([command, nothing]).exits(1).complains(&["there is no", "no/such file"]);
    }
    for command in ["ls", "du"] {
        sandbox.hsm([command, nothing]).exits(1).complains(&["no scan has seen", "try: hsm scan"]);
    }
    sandbox.hsm(["explain", nothing]).exits(1).complains(&["is not known", "hsm scan"]);
    sandbox.hsm(["recall", nothing]).exits(3).complains(&["no/such file", "No such file"]);
    sandbox.hsm(["scan", nothing]).exits(1).complains(&["cannot scan", "no/such file"]);
    for command in ["tier", "recall", "ls", "explain", "pin", "scan", "verify"] {
        let ran = sandbox.hsm([command, "/proc/self/status"]).exits(1);
        ran.complains(&["/proc/self/status is below no root", "tree"]);
    }
    sandbox.hsm(["recall", "--files-from", nothing]).exits(1).complains(&["no/such file"]);
    sandbox.hsm(["tier", "--policy", nothing]).exits(1).complains(&["no/such file"]);
}

#[test]
fn a_command_line_that_means_nothing_is_a_usage_error() {
    let sandbox = tiered();
    let tree = sandbox.tree();
    let dir = tree.join("a");
    let dir = dir.to_str().unwrap();
    sandbox
        .hsm(["recall", dir])
        .exits(2)
        .complains(&[dir, "is a directory; -r recalls all below it"]);
    assert!(is_stub(&sandbox.tree().join("a/one")));
    for args in [
        &["recall"][..],
        &["init"],
        &["frobnicate"],
        &["tier", "--frobnicate"],
        &["plan", "--as-of", "yesterday"],
        &["find", "--larger", "12x"],
        &["find", "--state", "frozen"],
        &["verify", "--data", "--sample", "much"],
    ] {
        let ran = sandbox.hsm(args).exits(2);
        assert!(ran.stderr().starts_with("error: "), "{args:?}: {}", ran.stderr());
    }
}

#[test]
fn explain_says_what_is_no_file() {
    let sandbox = tiered();
    symlink("a/one", sandbox.tree().join("link")).unwrap();
    sandbox.hsm(["scan"]).succeeds();
    for (name, kind) in [("a", "directory"), ("link", "symbolic link"), ("", "directory")] {
        let said = sandbox.on("explain", &[], &[name]).succeeds().stdout();
        assert!(said.contains(&format!("a {kind}: only regular files are tiered")), "{said}");
    }
}

#[test]
fn init_refuses_what_cannot_work_and_writes_nothing() {
    let sandbox = Sandbox::empty();
    fs::create_dir_all(sandbox.tree().join("sub")).unwrap();
    fs::create_dir(sandbox.store().join("inside")).unwrap();
    fs::write(sandbox.path("file"), b"").unwrap();
    let at = |part: &str| sandbox.path(part).to_str().unwrap().to_owned();
    let (tree, store, state) = (at("tree"), format!("file://{}", at("store")), at("home/state"));
    let in_tree = format!("file://{tree}/store");
    let none = at("none");
    let table: &[(&str, &str, &[&str], &[&str])] = &[
        (&state, &store, &[&none], &["there is no directory", "none", "hsm init again"]),
        (&state, &store, &[&at("file")], &["cannot open the root", "not a directory"]),
        (&state, &store, &["/"], &["/ cannot be a root"]),
        (&state, &store, &[&tree, &at("tree/sub")], &["the roots", "overlap"]),
        (&state, &store, &[&at("tree/sub"), &tree], &["the roots", "overlap"]),
        (&state, &store, &[&at("store/inside")], &["and the store", "overlap"]),
        (&state, &store, &[&at("")], &["overlap"]),
        (&state, &in_tree, &[&tree], &["and the store", "overlap"]),
        (&at("tree/state"), &store, &[&tree], &["and the state directory", "overlap"]),
        (
            &state,
            "ftp://host/x",
            &[&tree],
            &["ftp://host/x", "file:///path, s3://bucket/prefix or swift://"],
        ),
        (&state, "/just/a/path", &[&tree], &["file:///path, s3://bucket/prefix or swift://"]),
        (&state, "file://relative", &[&tree], &["file:///absolute/path"]),
    ];
    for (state, store, roots, words) in table {
        let mut args = vec!["init", "--state-dir", state, "--store", store];
        args.extend(*roots);
        sandbox.hsm(args).exits(1).complains(words);
        assert!(!sandbox.config().exists(), "{roots:?} {store} left a configuration");
        assert!(!sandbox.state_db().exists(), "{roots:?} {store} left a state DB");
        assert!(fs::read_dir(sandbox.tree()).unwrap().count() == 1, "the root is untouched");
    }
    sandbox.init();
    // Later ones are held to the same.
    sandbox.hsm(["init", &at("tree/sub")]).exits(1).complains(&["the roots", "overlap"]);
    let again = sandbox.hsm(["init", &tree]).succeeds().stdout();
    assert!(again.contains("was one already"), "{again}");
    let other = format!("file://{}", at("store2"));
    sandbox.hsm(["init", "--store", &other, &tree]).exits(1).complains(&["its store is", &store]);
}
