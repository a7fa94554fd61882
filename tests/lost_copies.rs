//! Copies, keys and records that are lost or wrong: what is lost is said
//! bluntly, nothing new relies on it, what can be mended is mended, and a copy
//! that comes back counts again.

#[path = "support/planted.rs"]
mod planted;
#[path = "support/s3_place.rs"]
mod s3_place;
#[path = "support/s3_server.rs"]
mod s3_server;
mod support;

use planted::*;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use support::trees::noise;
use support::{Sandbox, needs_root};

fn tomorrow_and_a_day() -> String {
    (hsm::clock::Clock::system().now_ns() + 2 * 86_400 * 1_000_000_000).to_string()
}

// --- stores that lose ------------------------------------------------------

#[test]
fn a_lost_pack_is_told_bluntly_and_never_deduplicated_onto() {
    let sandbox = Sandbox::new();
    sandbox.write("lost", &noise(1, 100_000));
    let of_lost = tier_and_tell_packs(&sandbox);
    sandbox.write("kept", &noise(2, 100_000));
    tier_and_tell_packs(&sandbox);
    for pack in &of_lost {
        std::fs::remove_file(pack).unwrap();
    }
    for round in 0..2 {
        let told = sandbox.hsm(["verify"]).exits(4).stdout();
        assert!(told.contains("1 files (97.7 KiB) are lost"), "{told}");
        assert!(round > 0 || told.contains("is not in the store"), "{told}");
        let lost: Vec<_> = told.lines().filter(|line| line.starts_with("LOST")).collect();
        assert!(lost.len() == 1 && lost[0].contains("tree/lost"), "{told}");
    }
    sandbox.on("recall", &[], &["lost"]).exits(3).complains(&["cannot recall", "tree/lost"]);
    assert!(is_stub(&sandbox.tree().join("lost")));
    sandbox.on("recall", &[], &["kept"]).succeeds();
    assert_eq!(sandbox.read("kept"), noise(2, 100_000));
    // The same bytes come by again: they are really sent, and heal the stub.
    sandbox.write("again", &noise(1, 100_000));
    let summary = sandbox.hsm(["tier", "--json"]).summary();
    assert!(summary["sent_bytes"].as_u64() > Some(100_000), "{summary}");
    assert!(is_stub(&sandbox.tree().join("again")));
    sandbox.hsm(["verify", "--data"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_eq!(sandbox.read("again"), noise(1, 100_000));
    assert_eq!(sandbox.read("lost"), noise(1, 100_000));
}

#[test]
fn a_pack_that_was_lost_unnoticed_is_asked_for_before_anything_relies_on_it() {
    let mut sandbox = Sandbox::new();
    sandbox.write("lost", &noise(1, 100_000));
    for pack in tier_and_tell_packs(&sandbox) {
        std::fs::remove_file(pack).unwrap();
    }
    sandbox.write("again", &noise(1, 100_000));
    sandbox.set_env("HSM_TEST_NOW", &tomorrow_and_a_day());
    // Whether this run or the next one sends the bytes: never a stub without.
    let ran = sandbox.hsm(["tier"]);
    if ran.code() != 0 {
        ran.exits(3).complains(&["again"]);
        assert!(!is_stub(&sandbox.tree().join("again")));
        sandbox.hsm(["tier"]).succeeds();
    }
    assert!(is_stub(&sandbox.tree().join("again")));
    assert_eq!(packs(&sandbox.store()).len(), 1, "the bytes are in the store again");
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_eq!(sandbox.read("again"), noise(1, 100_000));
    assert_eq!(sandbox.read("lost"), noise(1, 100_000));
}

#[test]
fn no_recalled_file_is_stubbed_again_on_a_pack_that_is_gone() {
    let mut sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 100_000));
    let packs = tier_and_tell_packs(&sandbox);
    sandbox.on("recall", &[], &["file"]).succeeds();
    for pack in packs {
        std::fs::remove_file(pack).unwrap();
    }
    sandbox.set_env("HSM_TEST_NOW", &tomorrow_and_a_day());
    for _ in 0..3 {
        sandbox.hsm(["tier"]);
        let path = sandbox.tree().join("file");
        assert!(!is_stub(&path) || !self::packs(&sandbox.store()).is_empty());
    }
    sandbox.hsm(["verify", "--repair"]);
    sandbox.hsm(["verify", "--data"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("file")));
    sandbox.on("recall", &[], &["file"]).succeeds();
    assert_eq!(sandbox.read("file"), noise(1, 100_000));
}

#[test]
fn a_file_whose_bytes_are_local_is_repaired() {
    let (sandbox, before) = directory();
    let packs = tier_and_tell_packs(&sandbox);
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    for pack in packs {
        std::fs::remove_file(pack).unwrap();
    }
    let told = sandbox.hsm(["verify"]).exits(4).stdout();
    assert!(told.contains("3 files can be repaired: hsm verify --repair"), "{told}");
    assert_eq!(told.matches("bad copy").count(), 3, "{told}");
    assert!(!told.contains("LOST"), "{told}");
    let told = sandbox.hsm(["verify", "--repair"]).exits(4).stdout();
    assert!(told.contains("3 files were uploaded again"), "{told}");
    sandbox.hsm(["verify", "--data"]).succeeds();
    all_is_well(&sandbox, &before);
}

#[test]
fn a_damaged_byte_concerns_only_the_files_that_hold_it() {
    let sandbox = Sandbox::new();
    for (name, seed) in [("good", 1), ("bad-stub", 2), ("bad-local", 3)] {
        sandbox.write(name, &noise(seed, 100_000));
    }
    let before = snapshot(&sandbox.tree());
    let packs = tier_and_tell_packs(&sandbox);
    assert_eq!(packs.len(), 1, "small files share a pack");
    sandbox.on("recall", &[], &["bad-local"]).succeeds();
    let pack = packs.first().unwrap();
    let whole = std::fs::read(pack).unwrap();
    let mut bytes = whole.clone();
    for seed in [2, 3] {
        let plain = &noise(seed, 100_000)[50_000..50_064];
        let at = bytes.windows(64).position(|window| window == plain).expect("stored raw");
        bytes[at] ^= 0x40;
    }
    std::fs::write(pack, &bytes).unwrap();
    sandbox.hsm(["verify"]).succeeds();
    let url = sandbox.store_url();
    let alone = Sandbox::empty().hsm(["verify", "--data", "--store", &url]).exits(4);
    assert_eq!(alone.stdout().matches("damaged   chunk").count(), 2, "{}", alone.stdout());
    let told = sandbox.hsm(["verify", "--data", "--repair"]).exits(4).stdout();
    assert_eq!(told.matches("damaged   chunk").count(), 2, "{told}");
    assert!(told.contains("LOST      ") && told.contains("tree/bad-stub"), "{told}");
    assert!(told.contains("bad copy  ") && told.contains("tree/bad-local"), "{told}");
    assert!(!told.contains("tree/good"), "{told}");
    assert!(
        told.contains("1 files were uploaded again")
            && told.contains("1 files (97.7 KiB) are lost")
    );
    sandbox.on("recall", &[], &["bad-stub"]).exits(3).complains(&["tree/bad-stub"]);
    sandbox.on("recall", &[], &["good"]).succeeds();
    sandbox.hsm(["tier"]);
    sandbox.on("recall", &[], &["bad-local", "good"]).succeeds();
    assert_eq!(sandbox.read("bad-local"), noise(3, 100_000));
    assert_eq!(sandbox.read("good"), noise(1, 100_000));
    // A person puts the pack back from a backup of the store.
    std::fs::write(pack, &whole).unwrap();
    sandbox.hsm(["verify", "--data"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
}

// --- other stores, other keys ----------------------------------------------

#[test]
fn another_store_at_the_same_place_is_refused() {
    let (sandbox, before) = directory();
    sandbox.hsm(["tier"]).succeeds();
    sandbox.write("new", &noise(9, 50_000));
    let aside = sandbox.path("aside");
    std::fs::rename(sandbox.store(), &aside).unwrap();
    let other = Sandbox::empty();
    other.init_with(&["--store", &sandbox.store_url()]);
    for command in ["tier", "upload", "verify"] {
        let ran = sandbox.hsm([command]).exits(1);
        ran.complains(&["is the store", "belongs to the store", "try:", "store.url"]);
    }
    sandbox.on("recall", &[], &["b/big"]).exits(1).complains(&["belongs to the store"]);
    sandbox.hsm(["init", sandbox.tree().to_str().unwrap()]).exits(1).complains(&["belongs to"]);
    assert!(packs(&sandbox.store()).is_empty());
    all_are_stubs(&sandbox, &before);
    std::fs::remove_dir_all(sandbox.store()).unwrap();
    std::fs::rename(&aside, sandbox.store()).unwrap();
    std::fs::remove_file(sandbox.tree().join("new")).unwrap();
    all_is_well(&sandbox, &without_root_mtime(&sandbox, before));
}

fn encrypted() -> (Sandbox, PathBuf, Snapshot) {
    let sandbox = Sandbox::empty();
    let key = sandbox.path("home/store.key");
    let (url, file) = (sandbox.store_url(), key.to_str().unwrap());
    sandbox.init_with(&["--store", &url, "--encrypt", "--key-file", file]);
    let before = plant(&sandbox);
    sandbox.hsm(["tier"]).succeeds();
    (sandbox, key, before)
}

#[test]
fn a_key_that_is_wrong_missing_or_open_to_others_is_refused() {
    let (sandbox, key, before) = encrypted();
    let (_other, other_key, _) = encrypted();
    let right = std::fs::read(&key).unwrap();
    let put = |bytes: &[u8], mode: u32| {
        std::fs::write(&key, bytes).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(mode)).unwrap();
    };
    let refuses = |words: &[&str]| {
        for command in [&["tier"][..], &["verify", "--data"]] {
            sandbox.hsm(command).exits(1).complains(words);
        }
        sandbox.on("recall", &["-r"], &[""]).exits(1).complains(words);
        all_are_stubs(&sandbox, &before);
    };
    put(&std::fs::read(other_key).unwrap(), 0o600);
    refuses(&["fingerprint", "try:", "the key file that was made with this store"]);
    put(&right, 0o640);
    refuses(&["can be read by others", "try: chmod 600"]);
    put(&right[..right.len() / 2], 0o600);
    refuses(&["key"]);
    std::fs::remove_file(&key).unwrap();
    refuses(&["key file", key.to_str().unwrap(), "try:"]);
    put(&right, 0o600);
    all_is_well(&sandbox, &before);
}

#[test]
fn a_store_is_verified_by_its_url_alone() {
    let (sandbox, before) = directory();
    sandbox.hsm(["tier"]).succeeds();
    let (stranger, url) = (Sandbox::empty(), sandbox.store_url());
    for options in [&[][..], &["--data"], &["--data", "--sample", "50%"]] {
        let args = [&["verify", "--json", "--store", &url][..], options].concat();
        let summary = stranger.hsm(args).succeeds().summary();
        assert!(summary["packs"].as_u64() > Some(0), "{summary}");
        assert_eq!(summary["files"], 3, "{summary}");
        assert_eq!(summary["packs_read"].as_u64() > Some(0), !options.is_empty(), "{summary}");
    }
    let pack = packs(&sandbox.store()).pop_first().unwrap();
    let aside = sandbox.path("aside");
    std::fs::rename(&pack, &aside).unwrap();
    let ran = stranger.hsm(["verify", "--store", &url]).exits(4);
    assert!(ran.stdout().contains("is not in the store"), "{}", ran.stdout());
    std::fs::rename(&aside, &pack).unwrap();
    stranger.hsm(["verify", "--store", "file:///nowhere/at/all"]).exits(1).complains(&["mounted?"]);
    all_is_well(&sandbox, &before);
}

#[test]
fn an_encrypted_store_is_verified_by_its_url_and_key() {
    let (sandbox, key, before) = encrypted();
    let (_other, other_key, _) = encrypted();
    let (stranger, url) = (Sandbox::empty(), sandbox.store_url());
    let verify = |key: Option<&Path>| {
        let mut command = vec!["verify", "--data", "--store", &url];
        if let Some(key) = key {
            command.extend(["--key-file", key.to_str().unwrap()]);
        }
        stranger.hsm(command)
    };
    verify(Some(&key)).succeeds();
    verify(None).exits(1).complains(&["encrypted", "no key was given", "try:", "--key-file"]);
    verify(Some(&other_key)).exits(1).complains(&["fingerprint", "try:"]);
    all_is_well(&sandbox, &before);
}

// --- a server that lost its state DB ---------------------------------------

#[test]
fn a_stub_comes_back_from_its_marker_and_the_catalog_alone() {
    let test = "a_stub_comes_back_from_its_marker_and_the_catalog_alone";
    if !needs_root(test) {
        return;
    }
    let (sandbox, before) = directory();
    lose_the_state(&sandbox, &before);
    sandbox.on("recall", &[], &["b/big"]).succeeds();
    assert_eq!(sandbox.read("b/big"), noise(3, 5 << 20));
    sandbox.on("recall", &[], &["a/one", "a/two"]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
    all_is_well(&sandbox, &before);
}

#[test]
fn a_tier_after_the_state_db_was_lost_takes_no_stub_for_a_file_of_zeros() {
    let (sandbox, before) = directory();
    lose_the_state(&sandbox, &before);
    let ran = sandbox.hsm(["tier", "--json"]);
    assert!(ran.code() == 0 || ran.code() == 3, "{}", ran.stderr());
    assert_eq!(ran.summary()["sent_bytes"], 0, "holes are not content");
    all_are_stubs(&sandbox, &before);
    if rustix::process::geteuid().is_root() {
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        assert_same(&before, &snapshot(&sandbox.tree()));
    } else {
        // Nothing is believed that the file's owner could forge, and said so.
        sandbox.on("recall", &["-r"], &[""]).exits(3).complains(&["b/big", "state DB"]);
        all_are_stubs(&sandbox, &before);
    }
}

#[test]
fn an_ordinary_users_marker_alone_is_not_believed() {
    if rustix::process::geteuid().is_root() {
        // Root's markers are in a place that nobody can forge.
        eprintln!("SKIPPED an_ordinary_users_marker_alone_is_not_believed: needs no root");
        return;
    }
    let (sandbox, before) = directory();
    lose_the_state(&sandbox, &before);
    sandbox.on("recall", &[], &["b/big"]).exits(3).complains(&["b/big", "state DB"]);
    all_are_stubs(&sandbox, &before);
}

/// Tiers, then begins anew with the same store and root.
fn lose_the_state(sandbox: &Sandbox, before: &Snapshot) {
    sandbox.hsm(["tier"]).succeeds();
    all_are_stubs(sandbox, before);
    std::fs::remove_dir_all(sandbox.state_dir()).unwrap();
    std::fs::remove_file(sandbox.config()).unwrap();
    sandbox.init();
}
