//! Root works in a tree whose user exchanges files and directories for links all the
//! time: nothing outside is read, written, freed, given away or recorded.

use super::ordinary::{Swapper, USER, as_user, give};
use crate::support::running::PATIENCE;
use crate::support::snapshot::{Snapshot, allocated, assert_same, snapshot};
use crate::support::trees::noise;
use crate::support::{Ran, Sandbox, needs_root};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

const LEN: usize = 40_000;
const FILES: u64 = 4;
/// How often each command is run in the race.
const ROUNDS: usize = 4;

/// A tree of an ordinary user's; beside it a directory of root's that has the same
/// names, with other bytes of the same lengths.
struct Scene {
    sandbox: Sandbox,
    outside: Snapshot,
    blocks: Vec<u64>,
    inodes: BTreeSet<u64>,
}

/// What nobody but root has, in 32 bytes that no compression changes.
fn secret(file: u64) -> Vec<u8> {
    noise(1000 + file, LEN)
}

impl Scene {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let outside = sandbox.path("outside");
        fs::create_dir(&outside).expect("mkdir");
        for file in 0..FILES {
            sandbox.write(&format!("dir/f{file}"), &noise(file, LEN));
            fs::write(outside.join(format!("f{file}")), secret(file)).expect("write");
        }
        sandbox.write("file", &noise(50, LEN));
        sandbox.write("other", &noise(51, LEN));
        fs::set_permissions(&outside, PermissionsExt::from_mode(0o700)).expect("chmod");
        symlink(&outside, sandbox.tree().join("door")).expect("symlink");
        symlink(outside.join("f0"), sandbox.tree().join("leaf")).expect("symlink");
        mknodat(CWD, sandbox.tree().join("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
        give(&sandbox, "tree");
        as_user(|| {
            let refused = fs::read(outside.join("f0")).expect_err("it is root's");
            assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
        });
        let names = walkdir::WalkDir::new(&outside).into_iter().map(|entry| entry.expect("there"));
        let names: Vec<_> = names.map(|entry| entry.into_path()).collect();
        Self {
            outside: snapshot(&outside),
            blocks: names.iter().map(|name| allocated(name)).collect(),
            inodes: names.iter().map(|name| fs::metadata(name).expect("there").ino()).collect(),
            sandbox,
        }
    }

    fn swapper(&self, under: &str) -> Swapper {
        let at = |name: &str| self.sandbox.path(under).join(name);
        let pair = |one: &str, other: &str| (at(one), at(other));
        Swapper::begin(&[pair("dir", "door"), pair("file", "leaf"), pair("other", "pipe")])
    }

    /// Ends in time, and neither by a signal nor by a panic.
    fn hsm(&self, args: &[&str]) -> Ran {
        let ran = Ran::within(PATIENCE, &mut self.sandbox.command(args));
        let well = [0, 1, 3, 4].contains(&ran.code());
        assert!(well && !ran.stderr().contains("panicked"), "{args:?}: {}", ran.stderr());
        ran
    }

    #[track_caller]
    fn nothing_outside_happened(&self) {
        let outside = self.sandbox.path("outside");
        assert_same(&self.outside, &snapshot(&outside));
        let names = walkdir::WalkDir::new(&outside).into_iter().map(|entry| entry.expect("there"));
        for (entry, blocks) in names.zip(&self.blocks) {
            assert_eq!(allocated(entry.path()), *blocks, "{}", entry.path().display());
            let names: Vec<_> = xattr::list(entry.path()).expect("attributes").collect();
            assert!(names.is_empty(), "{} has {names:?}", entry.path().display());
        }
        for part in ["store", "home/state"] {
            for file in 0..FILES {
                nowhere(&self.sandbox.path(part), &secret(file)[100..132]);
            }
        }
        self.nothing_outside_is_recorded();
    }

    fn nothing_outside_is_recorded(&self) {
        let log = crate::segments::Log::of(&self.sandbox);
        for record in log.segments.iter().flat_map(|(_, records)| records) {
            let hsm::manifest::Record::File(file) = record else { continue };
            assert!(!self.inodes.contains(&file.ino), "{:?} is outside", file.path);
            assert!(
                !file.path_bytes().starts_with(b"door/") || file.kind == 'f',
                "{:?}",
                file.path
            );
        }
    }
}

/// The bytes are in no file below `dir`.
#[track_caller]
pub fn nowhere(dir: &std::path::Path, needle: &[u8]) {
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry.expect("a readable tree");
        if entry.file_type().is_file() {
            let bytes = fs::read(entry.path()).expect("readable");
            let found = memchr(&bytes, needle);
            assert!(!found, "{} has it", entry.path().display());
        }
    }
}

fn memchr(bytes: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| *byte == first) {
        at += next;
        if bytes[at..].starts_with(needle) {
            return true;
        }
        at += 1;
    }
    false
}

#[test]
fn files_swapped_for_links_while_they_are_tiered_and_recalled_lead_nowhere() {
    if !needs_root("files_swapped_for_links_while_they_are_tiered_and_recalled_lead_nowhere") {
        return;
    }
    let scene = Scene::new();
    let tree = scene.sandbox.tree();
    let tree = tree.to_str().expect("a plain path");
    let plan = scene.sandbox.path("plan.jsonl");
    let plan = plan.to_str().expect("a plain path");
    let swapper = scene.swapper("tree");
    for _ in 0..ROUNDS {
        scene.hsm(&["scan"]);
        scene.hsm(&["plan", "-o", plan]);
        scene.hsm(&["apply", plan]);
        scene.hsm(&["recall", "-r", tree]);
        scene.hsm(&["tier"]);
        scene.hsm(&["recall", "-r", tree]);
        scene.hsm(&["upload"]);
        scene.hsm(&["stub"]);
        scene.hsm(&["verify", "--data"]);
        scene.hsm(&["explain", &format!("{tree}/dir/f0")]);
        scene.hsm(&["pin", &format!("{tree}/file")]);
        scene.hsm(&["unpin", &format!("{tree}/file")]);
        scene.hsm(&["recall", &format!("{tree}/file"), &format!("{tree}/dir/f1")]);
    }
    swapper.end();
    scene.nothing_outside_happened();
    // And nothing inside was lost by it.
    scene.sandbox.hsm(["tier"]).succeeds();
    scene.sandbox.on("recall", &["-r"], &[""]).succeeds();
    for file in 0..FILES {
        let name = scene.sandbox.tree().join(format!("dir/f{file}"));
        assert_eq!(fs::read(&name).expect("read"), noise(file, LEN), "{}", name.display());
        assert_eq!(fs::metadata(&name).expect("there").uid(), USER);
    }
    scene.nothing_outside_happened();
}

#[test]
fn files_swapped_for_links_while_copies_are_adopted_lead_nowhere() {
    if !needs_root("files_swapped_for_links_while_copies_are_adopted_lead_nowhere") {
        return;
    }
    let scene = Scene::new();
    scene.sandbox.hsm(["tier"]).succeeds();
    let (tree, copies) = (scene.sandbox.tree(), scene.sandbox.tree().join("copies"));
    let mut cp = std::process::Command::new("cp");
    cp.args(["-a", "--sparse=always"]).args([tree.join("dir"), copies.clone()]);
    assert!(cp.status().expect("cp").success());
    symlink(scene.sandbox.path("outside"), tree.join("way")).expect("symlink");
    give(&scene.sandbox, "tree");
    let swapper = Swapper::begin(&[(copies.clone(), tree.join("way"))]);
    let names: Vec<String> =
        (0..FILES).map(|file| format!("{}/f{file}", copies.display())).collect();
    for _ in 0..2 * ROUNDS {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        scene.hsm(&[&["adopt"], &names[..]].concat());
        scene.hsm(&[&["adopt", "--data", "--dry-run"], &names[..]].concat());
        scene.hsm(&["scan"]);
    }
    swapper.end();
    scene.nothing_outside_happened();
}

#[test]
fn directories_swapped_for_links_while_files_are_undeleted_lead_nowhere() {
    if !needs_root("directories_swapped_for_links_while_files_are_undeleted_lead_nowhere") {
        return;
    }
    let scene = Scene::new();
    scene.sandbox.hsm(["tier"]).succeeds();
    let tree = scene.sandbox.tree();
    let dir = tree.join("dir");
    let restored = dir.to_str().expect("a plain path");
    for _ in 0..ROUNDS {
        for file in 0..FILES {
            let _ = fs::remove_file(dir.join(format!("f{file}")));
        }
        scene.sandbox.hsm(["scan"]).succeeds();
        scene.sandbox.hsm(["upload"]).succeeds();
        let swapper = scene.swapper("tree");
        for options in [&["undelete", restored][..], &["undelete", "--stubs", restored]] {
            // Options that a later version spells otherwise must not make this idle.
            assert_ne!(scene.hsm(options).code(), 2);
        }
        while swapper.count() <= 100 {
            scene.hsm(&["undelete", restored]);
        }
        swapper.end();
        scene.nothing_outside_happened();
    }
}

#[test]
fn directories_swapped_for_links_while_a_tree_is_restored_lead_nowhere() {
    if !needs_root("directories_swapped_for_links_while_a_tree_is_restored_lead_nowhere") {
        return;
    }
    let scene = Scene::new();
    scene.sandbox.hsm(["tier"]).succeeds();
    let (url, out) = (scene.sandbox.store_url(), scene.sandbox.path("out"));
    let to = out.to_str().expect("a plain path");
    let restore = ["restore", "--strip-root", "--overwrite", "always", "--to", to];
    Ran::within(PATIENCE, &mut scene.sandbox.command(restore)).succeeds();
    fs::remove_dir_all(out.join("dir")).expect("remove");
    for path in ["door", "leaf"] {
        let _ = fs::remove_file(out.join(path));
    }
    fs::create_dir(out.join("dir")).expect("mkdir");
    symlink(scene.sandbox.path("outside"), out.join("door")).expect("symlink");
    symlink(scene.sandbox.path("outside/f0"), out.join("leaf")).expect("symlink");
    give(&scene.sandbox, "out");
    let swapper = scene.swapper("out");
    for _ in 0..2 * ROUNDS {
        scene.hsm(&restore);
        scene.hsm(&[&restore[..], &["--store", &url, "--stubs"]].concat());
    }
    swapper.end();
    scene.nothing_outside_happened();
    let litter = |path: &PathBuf| path.to_string_lossy().contains(".hsm-restore-");
    assert!(!snapshot(&scene.sandbox.path("outside")).keys().any(litter));
}
