//! A marker names a content; it must not give that to somebody who may not read it.

use super::ordinary::{USER, as_user, give};
use crate::support::snapshot::allocated;
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Sandbox, as_nobody, needs_root};
use hsm::os::file_ident;
use hsm::stub::Marker;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

const LEN: usize = 50_000;

/// A stub of root's that nobody else may read, and a hole of the same size that an
/// ordinary user owns, with the marker that root's archive program gave it.
fn planted() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.write("secret", &noise(1, LEN));
    let secret = sandbox.tree().join("secret");
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).expect("chmod");
    sandbox.hsm(["tier"]).succeeds();
    let marker = xattr::get(&secret, "trusted.hsm").expect("read").expect("a stub");
    let planted = sandbox.tree().join("planted");
    File::create(&planted).and_then(|file| file.set_len(LEN as u64)).expect("a hole");
    chown(&planted, Some(USER), Some(USER)).expect("chown");
    xattr::set(&planted, "trusted.hsm", &marker).expect("mark");
    (sandbox, planted)
}

#[test]
fn a_planted_marker_gives_nobody_what_they_may_not_read() {
    if !needs_root("a_planted_marker_gives_nobody_what_they_may_not_read") {
        return;
    }
    let (sandbox, planted) = planted();
    let adopt = |options: &[&str]| sandbox.on("adopt", options, &["planted"]);
    for mode in [0o600, 0o644, 0o666] {
        fs::set_permissions(&planted, PermissionsExt::from_mode(mode)).expect("chmod");
        sandbox.on("recall", &[], &["planted"]).exits(3);
        adopt(&[]).exits(3).complains(&["users can read it who cannot read", "--any-reader"]);
        adopt(&["--dry-run"]).exits(3);
        assert_eq!(allocated(&planted), 0);
    }
    // Not by its owner, either, whose the group is that may read it.
    chown(&planted, Some(0), Some(USER)).expect("chown");
    fs::set_permissions(&planted, PermissionsExt::from_mode(0o640)).expect("chmod");
    adopt(&[]).exits(3);
    // Of the original's owner and mode it is a copy like any other.
    fs::set_permissions(&planted, PermissionsExt::from_mode(0o600)).expect("chmod");
    adopt(&[]).succeeds();
    sandbox.on("recall", &[], &["planted"]).succeeds();
    assert_eq!(fs::read(&planted).expect("read"), noise(1, LEN));
}

#[test]
fn only_a_person_can_say_that_anybody_may_have_it() {
    if !needs_root("only_a_person_can_say_that_anybody_may_have_it") {
        return;
    }
    let (sandbox, planted) = planted();
    sandbox.on("adopt", &["--any-reader"], &["planted"]).succeeds();
    sandbox.on("recall", &[], &["planted"]).succeeds();
    assert_eq!(fs::read(&planted).expect("read"), noise(1, LEN));
}

/// In the tree of an ordinary user's hsm whoever may write a file may write its marker,
/// also one that names the very inode.
#[test]
fn a_marker_that_a_neighbour_wrote_is_neither_recalled_nor_adopted() {
    let sandbox = Sandbox::empty();
    for (name, mode) in [("secret", 0o600), ("shared", 0o666)] {
        sandbox.write(name, &noise(mode.into(), LEN));
        let path = sandbox.tree().join(name);
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
    }
    let hsm = as_nobody(&sandbox);
    let tree = sandbox.tree();
    let at = |name: &str| tree.join(name).to_str().expect("a plain path").to_owned();
    let (state, store) = (sandbox.state_dir(), sandbox.store_url());
    let state = state.to_str().expect("a plain path");
    hsm(&["init", "--state-dir", state, "--store", &store, &at("")]).succeeds();
    sandbox.policy(EAGER_POLICY);
    hsm(&["tier"]).succeeds();
    let marker = |name: &str| {
        let bytes = xattr::get(at(name), "user.hsm").expect("read").expect("a stub");
        Marker::decode(&bytes).expect("a marker")
    };
    let (secret, shared) = (marker("secret"), marker("shared"));
    // In the place of the file, and as a new one beside it.
    File::create(at("new")).and_then(|file| file.set_len(LEN as u64)).expect("a hole");
    fs::set_permissions(at("new"), PermissionsExt::from_mode(0o666)).expect("chmod");
    let ident = file_ident(File::open(at("new")).expect("open")).expect("an identity");
    for (name, ident) in [("shared", shared.ident), ("new", ident), ("new", secret.ident)] {
        let forged = Marker { ident, ..secret.clone() };
        xattr::set(at(name), "user.hsm", &forged.encode()).expect("mark");
        hsm(&["recall", &at(name)]).exits(3);
        hsm(&["adopt", &at(name)]).exits(3).complains(&["users can read it who cannot read"]);
        hsm(&["scan"]);
        hsm(&["tier"]);
        hsm(&["recall", "-r", &at("")]);
        assert_eq!(allocated(&tree.join(name)), 0, "{name}");
    }
}

/// Root believes what only root can write; a user's own attribute is not even looked at
/// as a stub's.
#[test]
fn an_ordinary_user_can_neither_see_nor_write_roots_markers() {
    if !needs_root("an_ordinary_user_can_neither_see_nor_write_roots_markers") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("secret", &noise(1, LEN));
    sandbox.write("mine", &noise(2, LEN));
    sandbox.hsm(["tier"]).succeeds();
    give(&sandbox, "tree");
    let at = |name: &str| sandbox.tree().join(name);
    let secret = xattr::get(at("secret"), "trusted.hsm").expect("read").expect("a stub");
    let own = xattr::get(at("mine"), "trusted.hsm").expect("read").expect("a stub");
    let forged = Marker {
        content: Marker::decode(&secret).expect("a marker").content,
        ..Marker::decode(&own).expect("a marker")
    };
    as_user(|| {
        assert!(!xattr::list(at("mine")).expect("list").any(|name| name == "trusted.hsm"));
        assert_eq!(xattr::get(at("mine"), "trusted.hsm").ok().flatten(), None);
        xattr::set(at("mine"), "trusted.hsm", &forged.encode()).expect_err("it is root's");
        xattr::remove(at("mine"), "trusted.hsm").expect_err("it is root's");
        for name in ["user.hsm", "user.hsm.undo", "user.hsm.restoring"] {
            xattr::set(at("mine"), name, &forged.encode()).expect("their own");
        }
        fs::write(at("new"), b"").expect("their own");
        let new = File::options().write(true).open(at("new")).expect("open");
        new.set_len(LEN as u64).expect("a hole");
        xattr::set(at("new"), "user.hsm", &forged.encode()).expect("their own");
    });
    sandbox.hsm(["scan"]).succeeds();
    sandbox.hsm(["tier"]);
    sandbox.on("adopt", &[], &["new"]);
    sandbox.on("recall", &["-r"], &[""]);
    assert_eq!(sandbox.read("mine"), noise(2, LEN));
    assert_eq!(sandbox.read("new"), vec![0; LEN]);
    assert_eq!(sandbox.read("secret"), noise(1, LEN));
}
