//! Whoever can write to the store, or to the directory that a restore works in,
//! gains nothing outside it.

use super::scene::{lose, no_litter, restore, restored, text};
use super::segments::{bare, forge};
use crate::support::held::Held;
use crate::support::trees::noise;
use crate::support::{Sandbox, needs_root};
use hsm::manifest::{FileRecord, Name, Record};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

fn record(root: &str, path: &str, kind: char) -> FileRecord {
    FileRecord { mode: 0o4777, ..bare(root, path.as_bytes(), kind) }
}

fn link(root: &str, path: &str, target: &Path) -> Record {
    let target = Some(Name::from_bytes(text(target).as_bytes()));
    Record::File(Box::new(FileRecord { target, ..record(root, path, 'l') }))
}

fn plain(root: &str, path: &str, kind: char) -> Record {
    Record::File(Box::new(record(root, path, kind)))
}

/// A directory that nobody named, and how to see that it was left alone.
fn victim(sandbox: &Sandbox) -> std::path::PathBuf {
    let victim = sandbox.path("victim");
    fs::create_dir(&victim).expect("mkdir");
    fs::write(victim.join("file"), b"theirs").expect("write");
    fs::set_permissions(&victim, PermissionsExt::from_mode(0o711)).expect("chmod");
    victim
}

#[track_caller]
fn untouched(victim: &Path) {
    let names: Vec<_> =
        fs::read_dir(victim).expect("list").map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read(victim.join("file")).expect("read"), b"theirs");
    assert_eq!(fs::metadata(victim).expect("metadata").mode() & 0o7777, 0o711);
    assert_eq!(fs::metadata(victim.join("file")).expect("metadata").mode() & 0o7777, 0o644);
}

/// A link, and then something beneath it; roots that are no paths.
#[test]
fn a_hostile_catalog_does_not_lead_out_of_the_target() {
    let sandbox = Sandbox::empty();
    let victim = victim(&sandbox);
    let (root, both) = ("/srv/data", "/srv/both");
    forge(
        &sandbox,
        vec![
            plain(root, "", 'd'),
            link(root, "door", &victim),
            plain(root, "door/file", 'f'),
            plain(root, "door/new", 'f'),
            link(root, "door/link", Path::new("x")),
            plain(root, "late/file", 'f'),
            plain(root, "good", 'f'),
            // A link and a directory at once.
            link(both, "door", &victim),
            plain(both, "door/file", 'f'),
            plain(both, "door/sub", 'd'),
            plain(both, "door/sub/file", 'f'),
            plain("/../victim", "file", 'f'),
            plain("/a/../../victim", "new", 'f'),
            plain("//victim", "new", 'f'),
        ],
    );
    lose(&sandbox);
    for options in [&[][..], &["--overwrite", "always"], &["--strip-root", "/srv/both"]] {
        let ran = restore(&sandbox, options).exits(3);
        if options.len() != 2 || options[0] != "--strip-root" {
            ran.complains(&["data/door/file", "data/door/new", "its path cannot be made here"]);
        }
        untouched(&victim);
    }
    let out = sandbox.path("out/srv/data");
    assert!(out.join("good").is_file() && out.join("door").is_symlink());
    // Nobody knows who may see what is in a directory that the catalog says nothing of.
    assert_eq!(fs::metadata(out.join("late")).expect("made").mode() & 0o7777, 0o700);
    no_litter(&sandbox.path("out"));
}

/// A directory and a link of one name: the log has one thing at each path, but what
/// the store says first may be there from a restore before.
#[test]
fn a_link_in_the_place_of_a_directory_is_not_gone_through() {
    let sandbox = Sandbox::empty();
    let victim = victim(&sandbox);
    let root = "/srv/data";
    let records = [plain(root, "", 'd'), plain(root, "dir", 'd'), plain(root, "dir/file", 'f')];
    forge(&sandbox, records.into());
    lose(&sandbox);
    let place = sandbox.path("out/srv/data");
    for (at, what) in [("out/srv/data/dir", "dir"), ("out/srv/data", "data"), ("out/srv", "srv")] {
        let _ = fs::remove_dir_all(sandbox.path("out"));
        let at = sandbox.path(at);
        fs::create_dir_all(at.parent().expect("above")).expect("mkdir");
        symlink(&victim, &at).expect("symlink");
        restore(&sandbox, &["--overwrite", "always"]).exits(3);
        untouched(&victim);
        assert!(at.is_symlink(), "{what}");
    }
    // The target itself is the operator's word.
    fs::remove_dir_all(sandbox.path("out")).expect("remove");
    let elsewhere = sandbox.path("elsewhere");
    fs::create_dir(&elsewhere).expect("mkdir");
    symlink(&elsewhere, sandbox.path("out")).expect("symlink");
    restore(&sandbox, &[]).succeeds();
    assert!(elsewhere.join("srv/data/dir/file").is_file());
    assert!(place.is_dir());
}

/// While root works in a directory of another user's, that one swaps it.
#[test]
fn a_directory_that_is_swapped_for_a_link_meanwhile_leads_nowhere() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/one", &noise(1, 30_000));
    sandbox.write("dir/two", &noise(2, 30_000));
    sandbox.hsm(["tier"]).succeeds();
    lose(&sandbox);
    let victim = victim(&sandbox);
    let (url, out) = (sandbox.store_url(), sandbox.path("out"));
    let args = ["restore", "--store", &url, "--to", text(&out)];
    let held = Held::at(&sandbox, "restore.data-durable", &args);
    let dir = restored(&sandbox).join("dir");
    fs::rename(&dir, sandbox.path("taken")).expect("rename");
    symlink(&victim, &dir).expect("symlink");
    held.finish();
    untouched(&victim);
}

/// An owner that the catalog claims is only root's to give, and what is set-uid is
/// its owner's and nobody else's.
#[test]
fn what_hsm_keeps_for_itself_does_not_come_from_a_catalog() {
    if !needs_root("what_hsm_keeps_for_itself_does_not_come_from_a_catalog") {
        return;
    }
    let sandbox = Sandbox::empty();
    let own = ["trusted.hsm", "trusted.hsm.undo", "trusted.hsm.restoring", "user.hsm"];
    let xattrs: Vec<_> = own.iter().map(|name| (name.as_bytes().to_vec(), vec![1; 64])).collect();
    let root = "/srv/data";
    let file = FileRecord { xattrs: xattrs.clone(), ..record(root, "file", 'f') };
    let dir = FileRecord { xattrs, ..record(root, "dir", 'd') };
    let records = vec![Record::File(Box::new(file)), Record::File(Box::new(dir))];
    forge(&sandbox, records);
    lose(&sandbox);
    restore(&sandbox, &[]).succeeds();
    for name in ["file", "dir"] {
        let path = sandbox.path("out/srv/data").join(name);
        for attribute in own {
            assert_eq!(xattr::get(&path, attribute).expect("get"), None, "{name} {attribute}");
        }
    }
}
