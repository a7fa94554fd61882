//! The second store is away, emptied, another one, or spoilt.

use super::scene::{
    Away, all_recalled, begin_second, doubled, grow, no_stub_without_two_copies, packs, second,
    some_twice, stubs, twice,
};
use crate::support::snapshot::{is_stub, snapshot};
use crate::support::trees::noise;
use crate::support::{Sandbox, UPLOAD_POLICY};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn while_the_second_store_is_away_uploads_go_on_and_nothing_becomes_a_stub() {
    let sandbox = doubled();
    sandbox.policy(&some_twice());
    sandbox.write("twice/a", &noise(1, 100_000));
    sandbox.write("once/b", &noise(2, 100_000));
    let away = Away::of(&second(&sandbox));
    let ran = sandbox.hsm(["tier"]).exits(3);
    assert!(ran.stdout().contains("second-copy-proven"), "{}", ran.stdout());
    ran.complains(&["wait for their second copy: 1"]);
    assert_eq!(stubs(&sandbox), [sandbox.tree().join("once/b")]);
    sandbox.on("stub", &[], &["twice/a"]);
    assert_eq!(stubs(&sandbox).len(), 1, "not by name either");
    let told = sandbox.hsm(["status"]).stdout();
    assert!(told.contains("second copy"), "{told}");
    assert_eq!(packs(&sandbox.store()).len(), 2, "but they are uploaded");
    away.back();
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
    assert_eq!(stubs(&sandbox).len(), 2);
    no_stub_without_two_copies(&sandbox, "back");
}

#[test]
fn an_emptied_another_or_foreign_second_store_is_never_taken_for_it() {
    let sandbox = doubled();
    grow(&sandbox, 1);
    sandbox.hsm(["tier"]).succeeds();
    let url = format!("file://{}", second(&sandbox).display());
    // Empty, as a mount point.
    let away = Away::of(&second(&sandbox));
    fs::create_dir(second(&sandbox)).unwrap();
    sandbox.write("new", &noise(9, 50_000));
    sandbox.hsm(["tier"]).exits(3).complains(&["second store", "is its file system mounted"]);
    assert!(!is_stub(&sandbox.tree().join("new")));
    assert!(packs(&second(&sandbox)).is_empty());
    sandbox.hsm(["init", "--second-store", &url]).exits(1).complains(&["is empty", "--anew"]);
    // Another's.
    let other = Sandbox::new();
    begin_second(&other, &[]);
    fs::remove_dir(second(&sandbox)).unwrap();
    fs::rename(second(&other), second(&sandbox)).unwrap();
    sandbox.hsm(["tier"]).exits(3).complains(&["it belongs to the store"]);
    sandbox.hsm(["init", "--second-store", &url]).exits(1).complains(&["belongs to the store"]);
    assert!(!is_stub(&sandbox.tree().join("new")));
    // A first store.
    fs::remove_dir_all(second(&sandbox)).unwrap();
    fs::rename(other.store(), second(&sandbox)).unwrap();
    sandbox.hsm(["tier"]).exits(3);
    assert!(!is_stub(&sandbox.tree().join("new")));
    // Begun anew on purpose: everything is proven there again.
    fs::remove_dir_all(second(&sandbox)).unwrap();
    fs::create_dir(second(&sandbox)).unwrap();
    sandbox.hsm(["init", "--second-store", &url, "--anew"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
    assert!(is_stub(&sandbox.tree().join("new")));
    no_stub_without_two_copies(&sandbox, "anew");
    // The one from before comes back: it is not the one that is known now.
    fs::remove_dir_all(second(&sandbox)).unwrap();
    away.back();
    sandbox.write("newer", &noise(10, 50_000));
    sandbox.hsm(["tier"]).exits(3).complains(&["another second store than before"]);
    assert!(!is_stub(&sandbox.tree().join("newer")));
    begin_second(&sandbox, &[]);
    sandbox.hsm(["tier"]).succeeds();
    no_stub_without_two_copies(&sandbox, "changed over");
}

#[test]
fn one_store_cannot_be_both() {
    let sandbox = Sandbox::new();
    let first = sandbox.store_url();
    sandbox.hsm(["init", "--second-store", &first]).exits(1);
    let link = sandbox.path("link");
    std::os::unix::fs::symlink(sandbox.store(), &link).unwrap();
    let by_link = format!("file://{}", link.display());
    sandbox.hsm(["init", "--second-store", &by_link]).exits(1).complains(&["first store"]);
    let inside = format!("{first}/packs");
    sandbox.hsm(["init", "--second-store", &inside]).exits(1);
    // And a second store is nobody's first one.
    begin_second(&sandbox, &[]);
    let other = Sandbox::empty();
    let url = format!("file://{}", second(&sandbox).display());
    let state = other.state_dir();
    let (state, tree) = (state.to_str().unwrap().to_owned(), other.tree());
    let args = ["init", "--state-dir", &state, "--store", &url, tree.to_str().unwrap()];
    other.hsm(args).exits(1).complains(&["is a second store"]);
    let config = fs::read_to_string(sandbox.config()).unwrap();
    let (main, _) = config.split_once("[second_store]").unwrap();
    fs::write(sandbox.config(), main.replace(&first, &url)).unwrap();
    sandbox.hsm(["tier"]).exits(1).complains(&["is a second store"]);
}

#[test]
fn copies_that_vanish_or_rot_in_the_second_store_are_found_and_made_anew() {
    let sandbox = doubled();
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let good = packs(&second(&sandbox));
    let victims: Vec<PathBuf> = good.keys().map(|name| second(&sandbox).join(name)).collect();
    fs::remove_file(&victims[0]).unwrap();
    sandbox.hsm(["verify"]).exits(4);
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(packs(&second(&sandbox)), good);
    let mut rotten = fs::read(&victims[0]).unwrap();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    make_writable(&victims[0]);
    fs::write(&victims[0], rotten).unwrap();
    sandbox.hsm(["verify"]).succeeds();
    let told = sandbox.hsm(["verify", "--data"]).exits(4).stdout();
    assert!(told.contains("second copy of pack"), "{told}");
    assert!(!told.contains("LOST"), "{told}");
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(packs(&second(&sandbox)), good);
    no_stub_without_two_copies(&sandbox, "mended");
    all_recalled(&sandbox, &before);
}

pub fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// Before a file of two copies becomes a stub each store is asked for its pack again,
/// if that was long ago.
#[test]
fn a_second_copy_that_vanished_unnoticed_is_asked_for_before_a_stub_relies_on_it() {
    let mut sandbox = doubled();
    sandbox.write("a", &noise(1, 100_000));
    sandbox.policy(&UPLOAD_POLICY.replace("\"upload\"", "\"upload\"\ncopies = 2"));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.policy(&twice());
    assert_eq!(packs(&second(&sandbox)).len(), 1);
    for name in packs(&second(&sandbox)).keys() {
        fs::remove_file(second(&sandbox).join(name)).unwrap();
    }
    let later = hsm::clock::Clock::system().now_ns() + 2 * 86_400 * 1_000_000_000;
    sandbox.set_env("HSM_TEST_NOW", &later.to_string());
    sandbox.on("stub", &[], &["a"]);
    assert!(!is_stub(&sandbox.tree().join("a")));
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("a")));
    no_stub_without_two_copies(&sandbox, "asked again");
}
