//! Users who own a part of the target, and catalogs that somebody made up.

use super::*;
use crate::os::plant::place::Temporary;
use std::os::unix::ffi::OsStrExt;

#[test]
fn no_symbolic_link_is_followed_wherever_it_stands() {
    let mut target = Target::new();
    let outside = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir_all(target.at("real/dir")).expect("mkdir");
    symlink(outside.path(), target.at("out")).expect("symlink");
    symlink("real", target.at("in")).expect("symlink");
    symlink("/proc/self/root", target.at("magic")).expect("symlink");
    for through in ["out/f", "in/f", "in/dir/f", "magic/tmp/f", "out/new/f"] {
        let plantation = &mut target.plantation;
        assert!(plantation.begin_file(&path(through)).is_err(), "{through}");
        assert!(plantation.make_dirs(&path(through)).is_err(), "{through}");
        assert!(plantation.dir(&path(through), &plain(0o777)).is_err(), "{through}");
        assert!(plantation.fifo(&path(through), &plain(0o777), None).is_err(), "{through}");
        assert!(plantation.symlink(&path(through), b"x", &plain(0o777), None).is_err());
        assert!(is(&plantation.lookup(&path(through)).expect_err(through), Errno::LOOP));
    }
    for leaf in ["out", "in", "magic"] {
        let plantation = &mut target.plantation;
        assert!(plantation.make_dirs(&path(leaf)).is_err(), "{leaf}");
        assert!(plantation.set_times_of_dir(&path(leaf), 1).is_err(), "{leaf}");
        exists(plantation.dir(&path(leaf), &plain(0o777)));
        assert_eq!(target.found(leaf).stat.kind, FileKind::Symlink);
    }
    assert_eq!(fs::read_dir(outside.path()).expect("list").count(), 0);
    assert_eq!(target.names("real"), ["dir"]);
}

#[test]
fn a_directory_swapped_for_a_link_while_it_is_open_leads_nowhere_else() {
    let mut target = Target::new();
    let outside = tempfile::tempdir().expect("a temporary directory");
    target.file("d/one", b"1");
    fs::rename(target.at("d"), target.at("moved")).expect("rename");
    symlink(outside.path(), target.at("d")).expect("symlink");
    target.file("d/two", b"2");
    assert_eq!(target.names("moved"), ["one", "two"]);
    assert_eq!(fs::read_dir(outside.path()).expect("list").count(), 0);
}

/// The paths of a catalog are `RelPath`s; these could not even be asked for.
#[test]
fn no_spelling_of_a_path_leaves_the_target() {
    for bad in ["..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a\0b"] {
        assert!(RelPath::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_missing_directory_is_nobody_elses_until_it_is_described() {
    let mut target = Target::new();
    target.file("a/b/f", b"secret");
    for name in ["a", "a/b"] {
        assert_eq!(look(&target.at(name)).0, 0o700, "{name}");
    }
    // A killed restore: another one knows its directories, and no others.
    fs::create_dir(target.at("a/theirs")).expect("mkdir");
    target.plantation = Plantation::open(target.dir.path()).expect("open");
    nothing(made(target.plantation.dir(&path("a/b"), &plain(0o755))));
    exists(target.plantation.dir(&path("a/b"), &plain(0o711)));
    exists(target.plantation.dir(&path("a/theirs"), &plain(0o711)));
    nothing(made(target.plantation.dir(&path("a"), &plain(0o755))));
    for name in ["a", "a/b"] {
        assert_eq!(look(&target.at(name)).0, 0o755, "{name}");
        let marks = xattr::list(target.at(name))
            .expect("list")
            .filter(|name| name.to_str().is_some_and(|name| name.contains("hsm")));
        assert_eq!(marks.count(), 0, "{name}");
    }
}

/// Whoever owns the directory above may rename what root made in it, and put
/// there what root would never give away.
#[test]
fn a_directory_put_in_the_place_of_ours_is_not_described() {
    if !root_or_skip("a_directory_put_in_the_place_of_ours_is_not_described") {
        return;
    }
    let mut target = Target::new();
    for (name, owner) in [("theirs", 1234), ("roots", 0)] {
        fs::create_dir(target.at(name)).expect("mkdir");
        fs::write(target.at(name).join("secret"), b"x").expect("write");
        fs::set_permissions(target.at(name), PermissionsExt::from_mode(0o700)).expect("chmod");
        chown(target.at(name), Some(owner), Some(owner)).expect("chown");
        xattr::set(target.at(name), xattrs::USER_UNFINISHED, b"").expect("a forged mark");
        target.plantation.make_dirs(&path("home/new")).expect("make");
        fs::rename(target.at("home/new"), target.at(&format!("ours-{name}"))).expect("rename");
        fs::rename(target.at(name), target.at("home/new")).expect("rename");
        exists(target.plantation.dir(&path("home/new"), &of(6666, 0o777)));
        assert_eq!(look(&target.at("home/new")).1, owner);
        assert_eq!(look(&target.at("home/new")).0, 0o700);
        fs::remove_dir_all(target.at("home/new")).expect("remove");
    }
}

/// The instant between making a node and describing it.
#[test]
fn what_was_put_in_the_place_of_a_new_node_is_not_described() {
    if !root_or_skip("what_was_put_in_the_place_of_a_new_node_is_not_described") {
        return;
    }
    let mut target = Target::new();
    let (dir, _) = target.plantation.place_of(&path("x")).expect("a parent");
    let fifo = |dir: BorrowedFd<'_>, name: &str| {
        rustix::fs::mknodat(dir, name, rustix::fs::FileType::Fifo, Mode::RWXU, 0)
    };
    let ours = || Temporary::make(&dir, FileKind::Fifo, fifo).expect("make").0;
    let name = || target.at(&target.names("")[0]);

    let temporary = ours();
    temporary.open(0).expect("nobody touched it");
    let another_device = temporary.open(1).expect_err("another");
    assert_eq!(another_device.kind(), io::ErrorKind::PermissionDenied);
    chown(name(), Some(1234), None).expect("somebody else's fifo");
    assert!(temporary.open(0).is_err());
    drop(temporary);

    let temporary = ours();
    fs::hard_link(name(), target.at("second")).expect("one with another name");
    assert!(temporary.open(0).is_err());
    drop(temporary);
    fs::remove_file(target.at("second")).expect("remove");

    let temporary = ours();
    let at = name();
    fs::remove_file(&at).expect("remove");
    symlink("/etc/passwd", &at).expect("symlink");
    assert!(temporary.open(0).is_err());
    drop(temporary);
    assert_eq!(target.names(""), Vec::<String>::new());
}

#[test]
fn a_second_name_is_only_given_to_the_file_that_was_meant() {
    let mut target = Target::new();
    target.file("theirs/one", b"restored");
    let inode = target.found("theirs/one").inode().expect("identity");
    let link = |target: &mut Target| {
        let (one, two) = (path("theirs/one"), path("victims/two"));
        target.plantation.hard_link(&one, inode, &two, None)
    };
    // Most file systems give the number of the removed one to the next.
    for _ in 0..20 {
        fs::remove_file(target.at("theirs/one")).expect("remove");
        fs::write(target.at("theirs/one"), b"evil").expect("write");
        let error = link(&mut target).expect_err("another file");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
    fs::remove_file(target.at("theirs/one")).expect("remove");
    symlink("/etc/passwd", target.at("theirs/one")).expect("symlink");
    link(&mut target).expect_err("a symbolic link");
    fs::remove_file(target.at("theirs/one")).expect("remove");
    assert_eq!(link(&mut target).expect_err("gone").kind(), io::ErrorKind::NotFound);
    assert!(!target.at("victims/two").exists());
}

#[test]
fn a_catalog_sets_no_attribute_of_our_own_and_no_impossible_owner() {
    let mut target = Target::new();
    let forged = [
        pair("trusted.hsm", b"a marker"),
        pair("user.hsm", b"a marker"),
        pair("trusted.hsm.undo", b"x"),
        pair("trusted.hsm.restoring", b""),
        pair("user.fine", b"x"),
        pair("nonsense", b"x"),
        pair("user.a\0b", b"x"),
    ];
    let attributes = Attributes { xattrs: &forged, uid: u32::MAX, ..plain(0o17_644) };
    let file = target.plantation.begin_file(&path("f")).expect("begin");
    let refusals = file.set(&attributes).expect("set");
    let refused: Vec<_> = refusals.into_iter().map(|refusal| refusal.what).collect();
    let (nonsense, nul) = (b"nonsense".to_vec(), b"user.a\0b".to_vec());
    let mut expected = vec![Attribute::Owner, Attribute::Xattr(nonsense), Attribute::Xattr(nul)];
    expected.push(Attribute::Mode);
    assert_eq!(refused, expected);
    let mut file = file;
    file.link().expect("link");
    assert_eq!(look(&target.at("f")).0, 0o3644, "the user's bit is not for us");
    let names: Vec<_> = xattr::list(target.at("f")).expect("list").collect();
    assert!(names.contains(&"user.fine".into()), "{names:?}");
    assert!(!names.iter().any(|name| name.as_bytes().windows(3).any(|part| part == b"hsm")));
}
