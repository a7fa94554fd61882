//! The directory backend: the contract, and what disks and mounts do to it.

use super::super::contract::{self, collect_keys, key, noise, prepared_directory};
use super::super::{Faulty, Limited, RetryPlan, Retrying, StoreOptions, open};
use super::*;
use crate::monitor::Stop;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

const NEW: PutOptions = PutOptions { create_new: true, storage_class: None };

pub(super) fn fresh_store() -> (tempfile::TempDir, DirectoryStore) {
    prepared_directory()
}

/// Says loudly that a test did not run, or fails where none may be skipped.
fn skip(test: &str, why: &str) {
    assert!(std::env::var_os("HSM_TEST_NO_SKIP").is_none(), "{test} cannot be skipped: {why}");
    eprintln!("SKIPPED {test}: {why}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_directory_keeps_the_contract() {
    let (_dir, store) = fresh_store();
    contract::check(&store);
    contract::check_paging(&store, 300);
    contract::check_races(&store);
}

#[test]
fn wrappers_keep_the_contract() {
    let (_dir, store) = fresh_store();
    let limited = Limited::new(Faulty::lenient(store), 1 << 40, Stop::new());
    contract::check(&Retrying::new(limited, RetryPlan::default(), Stop::new()));
}

#[test]
fn an_opened_url_is_a_store() {
    let (dir, _) = fresh_store();
    let store = open(&StoreOptions {
        bandwidth_bytes_per_s: Some(1 << 40),
        ..StoreOptions::new(format!("file://{}", dir.path().display()))
    })
    .expect("open");
    contract::check(&*store);
}

#[test]
fn a_missing_directory_is_unreachable_and_made_only_when_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store");
    let error = DirectoryStore::open(&path, false).expect_err("missing");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("mounted"), "{error}");
    DirectoryStore::open(&path, true).expect("made");
    DirectoryStore::open(&path, true).expect("there already");
    let error = DirectoryStore::open(&dir.path().join("no/parent"), true).expect_err("no parent");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
}

#[test]
fn an_empty_mount_point_is_not_an_empty_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = DirectoryStore::open(dir.path(), false).expect("open");
    let pack = key("packs/aa/one");
    for error in [
        store.get(&pack, None).expect_err("unknown"),
        store.head(&pack).expect_err("unknown"),
        store.put(&pack, Bytes::new(), &NEW).expect_err("unknown"),
        store.delete(&pack).expect_err("unknown"),
        store.list("", None, &mut |_| ()).expect_err("unknown"),
        store.sweep(i64::MAX).expect_err("unknown"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
    assert!(store.get(&key(DESCRIPTOR_KEY), None).expect_err("not yet").is_not_found());
    assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 0, "nothing was written");
}

#[test]
fn a_store_removed_or_unmounted_while_open_is_unreachable() {
    let (dir, store) = fresh_store();
    let pack = key("packs/aa/one");
    store.put(&pack, noise(10, 1), &NEW).expect("put");
    std::fs::rename(dir.path().join("packs"), dir.path().join("elsewhere")).expect("move");
    assert!(store.get(&pack, None).expect_err("moved").is_not_found());
    std::fs::remove_file(dir.path().join(DESCRIPTOR_KEY)).expect("remove");
    assert_eq!(store.get(&pack, None).expect_err("no store").kind(), ErrorKind::Unreachable);
    std::fs::remove_dir_all(dir.path()).expect("remove");
    for error in [
        store.get(&pack, None).expect_err("no root"),
        store.put(&pack, noise(10, 1), &NEW).expect_err("no root"),
        store.list("packs/", None, &mut |_| ()).expect_err("no root"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
}

#[test]
fn no_link_in_the_store_leads_out_of_it() {
    let (dir, store) = fresh_store();
    let outside = tempfile::tempdir().expect("a directory");
    std::fs::write(outside.path().join("secret"), b"secret").expect("write");
    symlink(outside.path(), dir.path().join("out")).expect("link");
    symlink(outside.path().join("secret"), dir.path().join("file")).expect("link");
    for name in ["out/secret", "file"] {
        let error = store.get(&key(name), None).expect_err("a link");
        assert_eq!(error.kind(), ErrorKind::BadRequest, "{name}: {error}");
    }
    store.put(&key("out/new"), noise(1, 1), &NEW).expect_err("a link");
    store.delete(&key("out/secret")).expect_err("a link");
    assert_eq!(std::fs::read(outside.path().join("secret")).expect("read"), b"secret");
    assert_eq!(std::fs::read_dir(outside.path()).expect("read").count(), 1);
    let listed = collect_keys(&store, "", None).expect("list");
    assert_eq!(listed, [DESCRIPTOR_KEY], "links are no objects");
}

#[test]
fn what_is_not_ours_is_not_listed() {
    let (dir, store) = fresh_store();
    for name in [".hsm-tmp-0123456789abcdef", ".nfs0001", "tab\tname"] {
        std::fs::write(dir.path().join(name), b"x").expect("write");
    }
    for name in [".snapshots", "lost+found"] {
        std::fs::create_dir(dir.path().join(name)).expect("mkdir");
        std::fs::write(dir.path().join(name).join("x"), b"x").expect("write");
    }
    assert_eq!(collect_keys(&store, "", None).expect("list"), [DESCRIPTOR_KEY]);
    assert!(store.head(&key("lost+found")).expect_err("a directory").is_not_found());
}

#[test]
fn a_sweep_removes_stale_temporaries_only() {
    let (dir, store) = fresh_store();
    store.put(&key("packs/aa/one"), noise(10, 1), &NEW).expect("put");
    let stale = dir.path().join("packs/aa/.hsm-tmp-00000000000000aa");
    std::fs::write(&stale, b"12345").expect("write");
    let written_ns = modified_ns(&rustix::fs::stat(&stale).expect("stat"));
    assert_eq!(store.sweep(written_ns).expect("too young"), SweepStats::default());
    let swept = store.sweep(written_ns + 1).expect("sweep");
    assert_eq!(swept, SweepStats { removed: 1, freed_bytes: 5 });
    assert!(!stale.exists());
    assert_eq!(collect_keys(&store, "packs/", None).expect("list"), ["packs/aa/one"]);
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let (dir, store) = fresh_store();
    store.put(&key("packs/one"), noise(10, 1), &NEW).expect("put");
    store.put(&key("packs/one"), noise(20, 2), &NEW).expect_err("it exists");
    let error = store.put(&key("packs/one/two"), noise(1, 1), &NEW).expect_err("not a directory");
    assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
    assert!(store.get(&key("packs/one/two"), None).expect_err("no").is_not_found());
    assert_eq!(std::fs::read_dir(dir.path().join("packs")).expect("read").count(), 1);
}

#[test]
fn objects_are_for_their_owner_only() {
    let (dir, store) = fresh_store();
    store.put(&key("packs/one"), noise(10, 1), &NEW).expect("put");
    let mode = |name: &str| {
        let meta = std::fs::metadata(dir.path().join(name)).expect("stat");
        meta.permissions().mode() & 0o777
    };
    assert_eq!(mode("packs/one") & 0o177, 0);
    assert_eq!(mode("packs") & 0o077, 0);
}

#[test]
fn a_directory_without_permission_is_denied() {
    const TEST: &str = "a_directory_without_permission_is_denied";
    if is_root() {
        return skip_as_root(TEST);
    }
    let (dir, store) = fresh_store();
    let packs = dir.path().join("packs");
    std::fs::create_dir(&packs).expect("mkdir");
    std::fs::set_permissions(&packs, PermissionsExt::from_mode(0o000)).expect("chmod");
    let put = store.put(&key("packs/one"), noise(10, 1), &NEW);
    let get = store.get(&key("packs/one"), None);
    let list = store.list("", None, &mut |_| ());
    std::fs::set_permissions(&packs, PermissionsExt::from_mode(0o700)).expect("chmod");
    assert_eq!(put.expect_err("denied").kind(), ErrorKind::Denied);
    assert_eq!(get.expect_err("denied").kind(), ErrorKind::Denied);
    assert_eq!(list.expect_err("a partial listing is an error").kind(), ErrorKind::Denied);
}

/// Root passes every permission check: not a skip for want of privilege.
fn skip_as_root(test: &str) {
    eprintln!("SKIPPED {test}: runs as an ordinary user only");
}

/// A file system of its own, unmounted when dropped.
struct Mount(tempfile::TempDir);

impl Mount {
    /// `None` unless this process may mount.
    fn tmpfs(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "hsm-test"])
            .arg(dir.path())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(dir))
    }

    fn store(&self) -> DirectoryStore {
        let store = DirectoryStore::open(self.0.path(), false).expect("open");
        store.put(&key(DESCRIPTOR_KEY), Bytes::from_static(b"{}"), &NEW).expect("descriptor");
        store
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.0.path())
            .status();
        assert!(status.expect("mount runs").success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Its output: a test may have unmounted already.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_store_says_so_and_keeps_what_it_has() {
    let Some(mount) = Mount::tmpfs("size=1m") else {
        return skip("a_full_store_says_so_and_keeps_what_it_has", "needs root");
    };
    let store = mount.store();
    store.put(&key("packs/a"), noise(600 << 10, 1), &NEW).expect("it fits");
    let error = store.put(&key("packs/b"), noise(600 << 10, 2), &NEW).expect_err("full");
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(collect_keys(&store, "packs/", None).expect("list"), ["packs/a"]);
    assert_eq!(store.get(&key("packs/a"), None).expect("get"), noise(600 << 10, 1));
    store.put(&key("packs/c"), noise(300 << 10, 3), &NEW).expect("the failed write left nothing");
}

#[test]
fn a_read_only_store_reads() {
    let Some(mount) = Mount::tmpfs("size=1m") else {
        return skip("a_read_only_store_reads", "needs root");
    };
    let store = mount.store();
    store.put(&key("packs/a"), noise(100, 1), &NEW).expect("put");
    mount.remount("ro");
    let error = store.put(&key("packs/b"), noise(100, 2), &NEW).expect_err("read-only");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert_eq!(store.delete(&key("packs/a")).expect_err("no").kind(), ErrorKind::ReadOnly);
    assert_eq!(store.get(&key("packs/a"), None).expect("get"), noise(100, 1));
}

#[test]
fn a_mount_gone_before_opening_is_unreachable() {
    let Some(mount) = Mount::tmpfs("size=1m") else {
        return skip("a_mount_gone_before_opening_is_unreachable", "needs root");
    };
    drop(mount.store());
    let status = Command::new("umount").arg(mount.0.path()).status();
    assert!(status.expect("umount runs").success());
    let store = DirectoryStore::open(mount.0.path(), false).expect("the mount point is there");
    let error = store.get(&key("packs/a"), None).expect_err("not mounted");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}
