//! A restore by an ordinary user: everything but what only root may set; stubs only
//! where a state DB of theirs vouches for them.

use super::scene::{figure, forget, linked_policy, no_litter, restored, text, without_sockets};
use crate::support::snapshot::{Snapshot, is_stub, snapshot};
use crate::support::trees::{noise, root_traps, traps};
use crate::support::{Sandbox, as_nobody, needs_root};
use std::fs;
use std::path::Path;

/// Of root and others, uploaded by root; then the machine is nobody's.
fn by_root() -> (Sandbox, Snapshot) {
    let sandbox = Sandbox::empty();
    traps(&sandbox.tree());
    root_traps(&sandbox.tree());
    let before = without_sockets(snapshot(&sandbox.tree()));
    sandbox.init();
    sandbox.policy(&linked_policy());
    sandbox.hsm(["tier"]).succeeds();
    fs::remove_dir_all(sandbox.tree()).expect("the tree");
    (sandbox, before)
}

#[test]
fn what_only_root_may_set_is_left_out_and_told_once() {
    if !needs_root("what_only_root_may_set_is_left_out_and_told_once") {
        return;
    }
    let (sandbox, before) = by_root();
    forget(&sandbox);
    let nobody = as_nobody(&sandbox);
    let (url, out) = (sandbox.store_url(), sandbox.path("out"));
    let ran = nobody(&["restore", "--json", "--store", &url, "--to", text(&out)]).succeeds();
    assert!(figure(&ran, "refused_attributes") > 10);
    assert_eq!(figure(&ran, "devices_left_out"), 2);
    let told = ran.stderr();
    assert_eq!(told.matches("owner not restored of ").count(), 1, "{told}");
    assert!(told.contains("attribute security.capability not restored of 1 files"), "{told}");
    let found = snapshot(&restored(&sandbox));
    for (path, entry) in before.iter().filter(|(_, entry)| !matches!(entry.kind, 'b' | 'c')) {
        let there = &found[path];
        let seen = |entry: &crate::support::snapshot::Entry| {
            let (size, target) = (entry.size, entry.target.clone());
            (entry.kind, size, entry.mtime, target, entry.digest.clone(), entry.data.clone())
        };
        assert_eq!(seen(there), seen(entry), "{}", path.display());
        assert_eq!((there.uid, there.gid), (65534, 65534), "{}", path.display());
        assert_eq!(there.mode & 0o1777, entry.mode & 0o1777, "{}", path.display());
        assert!(entry.kind == 'd' || there.mode & 0o6000 == 0, "{} is set-id", path.display());
    }
    no_litter(&out);
}

#[test]
fn an_ordinary_users_stubs_need_a_state_db_that_knows_them() {
    let sandbox = Sandbox::new();
    sandbox.write("a/one", &noise(1, 50_000));
    sandbox.write("a/read-only", &noise(2, 60_000));
    let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o444);
    fs::set_permissions(sandbox.tree().join("a/read-only"), read_only).expect("chmod");
    sandbox.hsm(["upload"]).succeeds();
    sandbox.hsm(["scan"]).succeeds();
    sandbox.hsm(["upload"]).succeeds();
    fs::remove_dir_all(sandbox.tree()).expect("the tree");
    forget(&sandbox);
    let nobody = as_nobody(&sandbox);
    let (url, out, state) = (sandbox.store_url(), sandbox.path("out"), sandbox.state_dir());
    let restore = ["restore", "--stubs", "--strip-root", "--to", text(&out)];
    if rustix::process::geteuid().is_root() {
        let ran = nobody(&[&restore[..], &["--store", &url]].concat()).exits(1);
        ran.complains(&["an ordinary user's stubs count only", "hsm init --store file://"]);
        assert!(!out.exists());
    }
    make_own(&out);
    nobody(&["init", "--store", &url, "--state-dir", text(&state), text(&out)]).succeeds();
    nobody(&restore).succeeds();
    let stub = out.join("a/one");
    assert!(is_stub(&stub) && is_stub(&out.join("a/read-only")));
    let listed = nobody(&["ls", "-r", text(&out)]).succeeds().stdout();
    assert_eq!(listed.matches("stub").count(), 2, "{listed}");
    nobody(&["verify"]).succeeds();
    nobody(&["recall", "-r", text(&out)]).succeeds();
    assert_eq!(fs::read(&stub).expect("read"), noise(1, 50_000));
    assert_eq!(fs::read(out.join("a/read-only")).expect("read"), noise(2, 60_000));
    no_litter(&out);
}

fn make_own(dir: &Path) {
    fs::create_dir(dir).expect("mkdir");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(dir, Some(65534), Some(65534)).expect("chown");
    }
}
