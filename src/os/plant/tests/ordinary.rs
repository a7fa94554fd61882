//! A restore by somebody who is not root gets as far as the kernel lets them.

use super::*;

const NOBODY: u32 = 65534;

/// Runs `act` in a thread without privileges, on a target of its own. A thread
/// has its own user id for the kernel; the C library's call would change all.
fn as_nobody(act: impl FnOnce(Target) + Send) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    if rustix::process::geteuid().is_root() {
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let group = rustix::process::Gid::from_raw(NOBODY);
                rustix::thread::set_thread_groups(&[]).expect("setgroups");
                rustix::thread::set_thread_res_gid(group, group, group).expect("setresgid");
                let user = rustix::process::Uid::from_raw(NOBODY);
                set_thread_res_uid(user, user, user).expect("setresuid");
            }
            act(Target::in_dir(dir));
        });
    });
}

fn refused(refusals: &[Refusal]) -> Vec<Attribute> {
    refusals.iter().map(|refusal| refusal.what.clone()).collect()
}

#[test]
fn what_only_root_may_set_is_refused_and_the_rest_is_set() {
    as_nobody(|mut target| {
        let mixed = [
            pair("user.note", b"kept"),
            pair("security.capability", &CAPABILITY),
            pair("trusted.note", b"x"),
            pair("system.posix_acl_access", &acl()),
        ];
        let theirs = Attributes { xattrs: &mixed, ..of(1234, 0o6670) };
        let mut file = target.plantation.begin_file(&path("d/f")).expect("begin");
        let refusals = file.set(&theirs).expect("set");
        let xattr = |name: &str| Attribute::Xattr(name.as_bytes().to_vec());
        assert_eq!(
            refused(&refusals),
            [
                Attribute::Owner,
                xattr("security.capability"),
                xattr("trusted.note"),
                Attribute::Mode
            ]
        );
        file.link().expect("link");
        let (mode, uid, gid, mtime_ns) = look(&target.at("d/f"));
        let me = rustix::process::geteuid().as_raw();
        let my_group = rustix::process::getegid().as_raw();
        assert_eq!((mode, uid, gid, mtime_ns), (0o670, me, my_group, THEN_NS));
        assert_eq!(xattr_of(&target.at("d/f"), "user.note").as_deref(), Some(&b"kept"[..]));
        assert_eq!(xattr_of(&target.at("d/f"), "system.posix_acl_access"), Some(acl()));
    });
}

#[test]
fn what_is_ones_own_is_complete() {
    as_nobody(|mut target| {
        let noted = [pair("user.note", b"kept")];
        let own = Attributes { xattrs: &noted, ..plain(0o4444) };
        let mut file = target.plantation.begin_file(&path("d/e/f")).expect("begin");
        assert!(file.set(&own).expect("set").is_empty());
        assert_eq!(file.link().expect("link"), Placed::Placed);
        nothing(made(target.plantation.symlink(&path("d/l"), b"f", &plain(0o777), None)));
        nothing(made(target.plantation.fifo(&path("d/p"), &plain(0o640), None)));
        let inode = file.inode().expect("identity");
        nothing(made(target.plantation.hard_link(&path("d/e/f"), inode, &path("d/h"), None)));
        // A killed restore: its directories are known, also the unwritable one.
        target.plantation = Plantation::open(target.dir.path()).expect("open");
        let read_only = Attributes { xattrs: &noted, ..plain(0o555) };
        nothing(made(target.plantation.dir(&path("d/e"), &read_only)));
        nothing(made(target.plantation.dir(&path("d"), &read_only)));
        assert_eq!(look(&target.at("d/e/f")).0, 0o4444);
        assert_eq!(look(&target.at("d")).0, 0o555);
        assert_eq!(xattr_of(&target.at("d/e"), "user.note").as_deref(), Some(&b"kept"[..]));
        assert_eq!(xattr_of(&target.at("d/e"), xattrs::USER_UNFINISHED), None);
        for name in ["d/e", "d"] {
            fs::set_permissions(target.at(name), PermissionsExt::from_mode(0o700)).expect("chmod");
        }
    });
}

#[test]
fn a_device_and_an_unwritable_directory_are_errors() {
    as_nobody(|mut target| {
        let null = (FileKind::CharDevice, rustix::fs::makedev(1, 3));
        let error = target.plantation.device(&path("null"), null, &plain(0o666), None);
        assert!(is(&error.expect_err("not root"), Errno::PERM));
        fs::create_dir(target.at("d")).expect("mkdir");
        fs::set_permissions(target.at("d"), PermissionsExt::from_mode(0o555)).expect("chmod");
        let error = target.plantation.begin_file(&path("d/f")).expect_err("unwritable");
        assert!(is(&error, Errno::ACCESS));
        assert_eq!(target.names(""), ["d"]);
    });
}

#[test]
fn a_listing_tells_the_names_and_clears_what_a_killed_restore_left() {
    let mut target = Target::new();
    target.file("d/one", b"1");
    target.file("d/two", b"2");
    let litter = ".hsm-restore-0123456789abcdef";
    fs::write(target.at("d").join(litter), b"replaced").expect("write");
    symlink("x", target.at("d/.hsm-restore-00000000000000aa")).expect("symlink");
    fs::create_dir(target.at("d/.hsm-restore-00000000000000bb")).expect("mkdir");
    fs::create_dir_all(target.at("d/.hsm-restore-00000000000000cc/full")).expect("mkdir");
    fs::write(target.at("d/.hsm-restore-mine"), b"another's name").expect("write");
    let count = |target: &Target| fs::read_dir(target.at("d")).expect("list").count();
    let names = |found: Option<Listing>| {
        let mut names: Vec<Vec<u8>> = found?.names?.into_iter().collect();
        names.sort();
        Some(names)
    };
    let expected = [&b".hsm-restore-mine"[..], b"one", b"two"].map(<[u8]>::to_vec);
    let found = target.plantation.list(&path("d"), 3, 0).expect("list");
    assert_eq!(names(found).as_deref(), Some(&expected[..]));
    assert_eq!(count(&target), 7, "what is younger stays");
    assert!(names(target.plantation.list(&path("d"), 2, i64::MAX).expect("list")).is_none());
    assert_eq!(count(&target), 4, "a directory with something in it stays, too");
    assert!(target.plantation.list(&path("e/f"), 9, 0).expect("list").is_none());
    assert!(target.plantation.list(&path("d/one"), 9, 0).is_err());
}
