//! Whole trees, there and back.

use super::scene::{
    figure, fresh, linked_policy, lose, no_litter, restore, restored, text, without_sockets,
};
use crate::s3_place::Place;
use crate::support::snapshot::{Snapshot, allocated, assert_same, is_stub, snapshot};
use crate::support::trees::{noise, ordinary, root_traps, traps};
use crate::support::{Sandbox, UPLOAD_POLICY};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A tree with everything odd in it, uploaded; as it was.
fn odd(init: &dyn Fn(&Sandbox), sandbox: &Sandbox) -> Snapshot {
    ordinary(&sandbox.tree());
    traps(&sandbox.tree());
    std::fs::create_dir_all(sandbox.tree().join("empty/nested")).expect("directories");
    if rustix::process::geteuid().is_root() {
        root_traps(&sandbox.tree());
    }
    for (dir, mode) in [("traps/deep", 0o2750), ("empty/nested", 0o500), ("dir1", 0o1777)] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(sandbox.tree().join(dir), mode).expect("a mode");
    }
    let _ = xattr::set(sandbox.tree().join("dir2"), "user.note", b"of a directory");
    let before = snapshot(&sandbox.tree());
    init(sandbox);
    sandbox.policy(&linked_policy());
    sandbox.hsm(["tier"]).succeeds();
    before
}

#[test]
fn an_odd_tree_comes_back_in_everything_a_user_sees() {
    let sandbox = Sandbox::empty();
    let before = without_sockets(odd(&|sandbox| sandbox.init(), &sandbox));
    lose(&sandbox);
    let ran = restore(&sandbox, &["--json"]).succeeds();
    assert_eq!(figure(&ran, "refused_attributes"), 0);
    assert_same(&before, &snapshot(&restored(&sandbox)));
    no_litter(&sandbox.path("out"));
    let again = restore(&sandbox, &["--json"]).succeeds();
    assert_eq!(figure(&again, "restored_files") + figure(&again, "directories"), 0);
    assert_eq!(figure(&again, "already_there"), before.len() as u64);
    assert_same(&before, &snapshot(&restored(&sandbox)));
}

#[test]
fn an_odd_tree_comes_back_as_stubs_and_each_is_recalled() {
    let sandbox = Sandbox::empty();
    let before = without_sockets(odd(&|sandbox| sandbox.init(), &sandbox));
    lose(&sandbox);
    if !rustix::process::geteuid().is_root() {
        restore(&sandbox, &["--stubs"]).exits(1).complains(&["hsm init --store"]);
        return;
    }
    restore(&sandbox, &["--stubs"]).succeeds();
    let root = restored(&sandbox);
    all_but_data(&before, &root);
    no_litter(&sandbox.path("out"));
    recall_all(&sandbox, &root, &[]);
    assert_same(&before, &snapshot(&root));
}

/// Everything as it was, but that files with data are stubs.
#[track_caller]
fn all_but_data(before: &Snapshot, root: &Path) {
    let bare = |tree: &Snapshot| {
        let mut tree = tree.clone();
        tree.values_mut().for_each(|entry| (entry.digest, entry.data) = (None, None));
        tree
    };
    assert_same(&bare(before), &bare(&snapshot(root)));
    for (path, entry) in before.iter().filter(|(_, entry)| entry.kind == 'f') {
        let full = root.join(path);
        let has_data = entry.size > 0 && entry.data.as_ref().is_none_or(|data| !data.is_empty());
        assert_eq!(is_stub(&full), has_data, "{}", path.display());
        assert!(allocated(&full) <= 4096, "{} has data", path.display());
    }
}

/// The new machine takes the tree as its own.
fn recall_all(sandbox: &Sandbox, root: &Path, init: &[&str]) {
    let (url, state) = (sandbox.store_url(), sandbox.state_dir());
    let args = ["init", "--store", &url, "--state-dir", text(&state)];
    sandbox.hsm([&args[..], init, &[text(root)]].concat()).succeeds();
    sandbox.hsm(["recall", "-r", text(root)]).succeeds();
    sandbox.hsm(["verify"]).succeeds();
}

#[test]
fn an_encrypted_store_needs_its_key_and_nothing_else() {
    let sandbox = Sandbox::empty();
    let key = sandbox.path("home/key");
    let init = |sandbox: &Sandbox| {
        let url = sandbox.store_url();
        sandbox.init_with(&["--store", &url, "--encrypt", "--key-file", text(&key)]);
    };
    let before = without_sockets(odd(&init, &sandbox));
    lose(&sandbox);
    restore(&sandbox, &[]).exits(1).complains(&["key"]);
    assert!(!sandbox.path("out").exists(), "nothing is made without the key");
    restore(&sandbox, &["--key-file", text(&key)]).succeeds();
    assert_same(&before, &snapshot(&restored(&sandbox)));
}

#[test]
fn a_bucket_is_restored_from_by_its_url() {
    let place = Place::in_process();
    let sandbox = place.sandbox();
    let before = odd(&|sandbox| place.init(sandbox, &[]), &sandbox);
    lose(&sandbox);
    let out = sandbox.path("out");
    let store = ["--store", &place.url, "--endpoint", &place.endpoint, "--path-style"];
    let to = ["--strip-root", "--to", text(&out)];
    fresh(&sandbox, [&["restore"], &store[..], &to[..]].concat()).succeeds();
    assert_same(&without_sockets(before), &snapshot(&out));
}

/// Part of this machine's own tree, as an administrator would see it:
/// `HSM_TEST_TREE_FILES` files at least, of 3,000 unless it says otherwise.
#[test]
fn a_real_tree_burns_down_and_comes_back_from_the_url_alone() {
    let sandbox = Sandbox::empty();
    let wanted = std::env::var("HSM_TEST_TREE_FILES").ok().and_then(|text| text.parse().ok());
    let sources = copy_of_the_machine(&sandbox.tree(), wanted.unwrap_or(3_000));
    let before = snapshot(&sandbox.tree());
    eprintln!("{} names", before.len());
    sandbox.init();
    sandbox.policy(&linked_policy().replace("action = \"tier\"", "action = \"upload\""));
    timed("upload", || sandbox.hsm(["tier", "-q"]).succeeds());
    lose(&sandbox);
    timed("restore", || restore(&sandbox, &["-q"]).succeeds());
    assert_same(&before, &snapshot(&restored(&sandbox)));
    for (nth, source) in sources.iter().enumerate() {
        same_by_diff(source, &restored(&sandbox).join(format!("{nth:03}")));
    }
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let stubs = sandbox.path("stubs");
    let url = sandbox.store_url();
    let args = ["restore", "-q", "--stubs", "--store", &url, "--strip-root", "--to", text(&stubs)];
    timed("restore --stubs", || fresh(&sandbox, args).succeeds());
    all_but_data(&before, &stubs);
    timed("recall", || recall_all(&sandbox, &stubs, &[]));
    assert_same(&before, &snapshot(&stubs));
    for (nth, source) in sources.iter().enumerate() {
        same_by_diff(source, &stubs.join(format!("{nth:03}")));
    }
    // The chunks are another node's, and are not sent again.
    sandbox.policy(UPLOAD_POLICY);
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) {
    let started = Instant::now();
    work();
    eprintln!("{what:<16} {:6.1} s", started.elapsed().as_secs_f64());
}

/// Whole directories of /usr until there are so many files.
fn copy_of_the_machine(tree: &Path, wanted: usize) -> Vec<PathBuf> {
    let (mut sources, mut files) = (vec![], 0);
    for top in ["/usr/share", "/usr/lib", "/usr/include", "/usr/src"] {
        let Ok(entries) = std::fs::read_dir(top) else { continue };
        let mut dirs: Vec<PathBuf> =
            entries.map(|entry| entry.expect("a readable directory").path()).collect();
        dirs.sort();
        for dir in dirs.into_iter().filter(|dir| dir.is_dir() && !dir.is_symlink()) {
            let Some((more, bytes)) = weight(&dir) else { continue };
            if files >= wanted || more > wanted || bytes > 300 << 20 {
                continue;
            }
            let mut cp = Command::new("cp");
            cp.args(["-a", "--no-target-directory"]).arg(&dir);
            cp.arg(tree.join(format!("{:03}", sources.len())));
            assert!(cp.status().expect("cp").success(), "{}", dir.display());
            files += more;
            sources.push(dir);
        }
    }
    assert!(files >= wanted.min(3_000), "this machine has only {files} files to copy");
    sources
}

/// Files and bytes; `None` where we may not read everything.
fn weight(dir: &Path) -> Option<(usize, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry.ok()?;
        let meta = entry.metadata().ok()?;
        if meta.is_file() {
            std::fs::File::open(entry.path()).ok()?;
            files += 1;
        }
        bytes += meta.len();
    }
    Some((files, bytes))
}

fn same_by_diff(source: &Path, copy: &Path) {
    let mut diff = Command::new("diff");
    diff.args(["-r", "--no-dereference"]).args([source, copy]);
    let output = diff.output().expect("diff starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {text:.2000}", source.display());
}

/// Many chunks, many packs: what is fetched beside each other comes to its place.
#[test]
fn large_and_sparse_files_come_back_with_their_holes() {
    let sandbox = Sandbox::new();
    sandbox.write("large", &noise(5, 70 << 20));
    sandbox.write("larger", &noise(6, (40 << 20) + 17));
    let sparse = std::fs::File::create(sandbox.tree().join("sparse")).expect("a file");
    sparse.set_len(1 << 40).expect("its size");
    let write = std::os::unix::fs::FileExt::write_all_at;
    write(&sparse, &noise(7, 5 << 20), 1 << 39).expect("data in the middle");
    drop(sparse);
    let before = tree_without_digest(&sandbox.tree());
    sandbox.policy(UPLOAD_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    lose(&sandbox);
    restore(&sandbox, &["--strip-root"]).succeeds();
    let out = sandbox.path("out");
    assert_eq!(before, tree_without_digest(&out));
    assert!(std::fs::read(out.join("large")).expect("read") == noise(5, 70 << 20));
    assert!(std::fs::read(out.join("larger")).expect("read") == noise(6, (40 << 20) + 17));
    let mut middle = vec![0; 5 << 20];
    let sparse = std::fs::File::open(out.join("sparse")).expect("open");
    std::os::unix::fs::FileExt::read_exact_at(&sparse, &mut middle, 1 << 39).expect("read");
    assert!(middle == noise(7, 5 << 20));
}

/// To read a terabyte of holes takes long.
fn tree_without_digest(root: &Path) -> Vec<(PathBuf, u64, u64, i64, u32)> {
    use std::os::unix::fs::MetadataExt;
    let mut found = vec![];
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.expect("a readable tree");
        let (path, meta) = (entry.path(), entry.metadata().expect("metadata"));
        let inside = path.strip_prefix(root).expect("below").to_owned();
        let blocks = if meta.is_file() { mebibytes(&meta) } else { 0 };
        let size = if meta.is_file() { meta.size() } else { 0 };
        found.push((inside, size, blocks, meta.mtime(), meta.mode()));
    }
    found
}

/// What a file takes, in whole MiB: the file system's own notes about its extents
/// are counted too, and differ.
fn mebibytes(meta: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    (meta.blocks() * 512) >> 20
}
