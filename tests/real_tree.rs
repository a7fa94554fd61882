//! A real tree: part of /usr/share as every machine has it (symlinks, hard
//! links, thousands of small files), out to a directory store and back.
//!
//! `HSM_TEST_REAL_TREE=DIR[:DIR]` takes whole trees of the machine's instead.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use support::Sandbox;
use support::snapshot::{Snapshot, assert_same, is_stub, snapshot};

/// What a test of every day copies at most.
const MOST_FILES: u64 = 10_000;
const MOST_BYTES: u64 = 150 << 20;

#[test]
fn a_real_tree_goes_out_and_comes_back_and_a_second_tier_sends_nothing() {
    let sources = sources();
    let sandbox = Sandbox::empty();
    let policy = support::EAGER_POLICY.replace("action", "nlink_max = 1000\naction");
    timed("cp -a", || copy(&sources, &sandbox.tree()));
    let before = snapshot(&sandbox.tree());
    say_what_it_is(&before);
    sandbox.init();
    sandbox.policy(&policy);
    timed("scan", || sandbox.hsm(["scan"]).succeeds());
    let first = timed("tier", || sandbox.hsm(["tier", "--json"]).succeeds().summary());
    eprintln!("{first}");
    let stubs = count_stubs(&sandbox.tree(), &before);
    assert_eq!(stubs, with_data(&before), "every file with data is a stub");
    timed("recall -r", || sandbox.on("recall", &["-r"], &[""]).succeeds());
    assert_same(&before, &snapshot(&sandbox.tree()));
    timed("diff -r", || assert_no_difference(&sources, &sandbox.tree()));
    timed("verify --data", || sandbox.hsm(["verify", "--data"]).succeeds());
    let objects = snapshot(&sandbox.store());
    let second = timed("second tier", || sandbox.hsm(["tier", "--json"]).succeeds().summary());
    assert_eq!(second["sent_bytes"], 0, "{second}");
    assert_eq!(second["uploaded_files"], 0, "{second}");
    assert_same(&objects, &snapshot(&sandbox.store()));
    assert_eq!(count_stubs(&sandbox.tree(), &before), stubs);
    timed("second recall", || sandbox.on("recall", &["-r"], &[""]).succeeds());
    assert_same(&before, &snapshot(&sandbox.tree()));
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let done = work();
    eprintln!("{what:<14} {:6.1} s", started.elapsed().as_secs_f64());
    done
}

/// The directories to copy; each becomes one below the root.
fn sources() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("HSM_TEST_REAL_TREE") {
        return std::env::split_paths(&named).collect();
    }
    let (mut files, mut bytes, mut chosen) = (0, 0, vec![]);
    let mut dirs: Vec<PathBuf> = std::fs::read_dir("/usr/share")
        .expect("every system has one")
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|path| path.is_dir() && !path.is_symlink())
        .collect();
    dirs.sort();
    for dir in dirs {
        let Some(weight) = weight(&dir) else { continue };
        if files + weight.0 <= MOST_FILES && bytes + weight.1 <= MOST_BYTES {
            files += weight.0;
            bytes += weight.1;
            chosen.push(dir);
        }
    }
    assert!(files > 100, "there is nothing in /usr/share");
    chosen
}

/// Names and bytes; `None` where we may not read everything.
fn weight(dir: &Path) -> Option<(u64, u64)> {
    let (mut names, mut bytes) = (0, 0);
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry.ok()?;
        let meta = entry.metadata().ok()?;
        if meta.is_file() {
            std::fs::File::open(entry.path()).ok()?;
        }
        names += 1;
        bytes += meta.len();
    }
    Some((names, bytes))
}

/// Where the copy of the n-th source is.
fn place(tree: &Path, nth: usize) -> PathBuf {
    tree.join(format!("{nth:03}"))
}

fn copy(sources: &[PathBuf], tree: &Path) {
    for (nth, source) in sources.iter().enumerate() {
        let mut cp = Command::new("cp");
        cp.args(["-a", "--no-target-directory"]).arg(source).arg(place(tree, nth));
        let output = cp.output().expect("cp starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", source.display());
    }
}

fn assert_no_difference(sources: &[PathBuf], tree: &Path) {
    for (nth, source) in sources.iter().enumerate() {
        let mut diff = Command::new("diff");
        diff.args(["-r", "--no-dereference"]).arg(source).arg(place(tree, nth));
        let output = diff.output().expect("diff starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {text:.2000}", source.display());
    }
}

fn say_what_it_is(tree: &Snapshot) {
    let count = |kind| tree.values().filter(|entry| entry.kind == kind).count();
    let links = tree.values().filter(|entry| entry.kind == 'f' && entry.nlink > 1).count();
    let bytes: u64 = tree.values().map(|entry| entry.size).sum();
    eprintln!(
        "{} files ({links} of them hard links), {} directories, {} symlinks, {} MiB",
        count('f'),
        count('d'),
        count('l'),
        bytes >> 20
    );
}

fn with_data(tree: &Snapshot) -> usize {
    tree.values().filter(|entry| entry.kind == 'f' && entry.size > 0).count()
}

fn count_stubs(tree: &Path, before: &Snapshot) -> usize {
    let files = before.iter().filter(|(_, entry)| entry.kind == 'f');
    files.filter(|(path, _)| is_stub(&tree.join(path))).count()
}
