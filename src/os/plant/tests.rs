//! What a restore makes, and everything that a hostile user or catalog could put
//! in its way.

use super::*;
use crate::os::loopfs::root_or_skip;
use rustix::thread::set_thread_res_uid;
use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;

mod hostile;
mod ordinary;

thread_local! {
    static ON_NFS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread's renames know no flags.
pub(super) fn as_on_nfs() -> bool {
    ON_NFS.get()
}

const THEN_NS: i64 = 981_173_106_123_456_789;
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A target directory and how a restore sees it.
struct Target {
    dir: tempfile::TempDir,
    plantation: Plantation,
}

impl Target {
    fn new() -> Self {
        Self::in_dir(tempfile::tempdir().expect("a temporary directory"))
    }

    fn in_dir(dir: tempfile::TempDir) -> Self {
        let plantation = Plantation::open(dir.path()).expect("open the target");
        Self { dir, plantation }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of these bytes, described but not linked.
    fn begun(&mut self, name: &str, bytes: &[u8]) -> Unnamed {
        let file = self.plantation.begin_file(&path(name)).expect("begin");
        file.file().write_all(bytes).expect("write");
        assert!(file.set(&plain(0o640)).expect("set").is_empty());
        file
    }

    /// As [`Target::begun`], on a file system without unnamed files.
    fn begun_named(&mut self, name: &str, bytes: &[u8]) -> Unnamed {
        let (dir, leaf) = self.plantation.place_of(&path(name)).expect("a parent");
        let file = Unnamed::begin_named(dir, leaf).expect("begin");
        file.file().write_all(bytes).expect("write");
        assert!(file.set(&plain(0o640)).expect("set").is_empty());
        file
    }

    fn file(&mut self, name: &str, bytes: &[u8]) {
        assert_eq!(self.begun(name, bytes).link().expect("link"), Placed::Placed);
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).expect("read")
    }

    fn found(&mut self, name: &str) -> Found {
        self.plantation.lookup(&path(name)).expect("lookup").expect("it is there")
    }

    /// The entries of a directory, sorted: also what was not to stay.
    fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(name)).expect("list");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).into_string().expect("text")).collect();
        names.sort();
        names
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a good path")
}

/// Belonging to whoever runs the test.
fn plain(mode: u32) -> Attributes<'static> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    Attributes { mode, uid, gid, mtime_ns: THEN_NS, atime_ns: None, xattrs: &[] }
}

fn of(uid: u32, mode: u32) -> Attributes<'static> {
    Attributes { uid, gid: uid + 1000, ..plain(mode) }
}

fn pair(name: &str, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value.to_vec())
}

/// Owner rw-, user 1234 rwx, group r--, mask rwx, others ---.
fn acl() -> Vec<u8> {
    let mut acl = 2u32.to_le_bytes().to_vec();
    let anybody = u32::MAX;
    for (tag, permissions, id) in [
        (0x01u16, 6u16, anybody),
        (0x02, 7, 1234),
        (0x04, 4, anybody),
        (0x10, 7, anybody),
        (0x20, 0, anybody),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}

fn made(planted: io::Result<Planted>) -> Vec<String> {
    match planted.expect("it is made") {
        Planted::Made(refusals) => refusals.iter().map(ToString::to_string).collect(),
        Planted::Exists => panic!("something is there"),
    }
}

fn exists(planted: io::Result<Planted>) {
    assert!(matches!(planted.expect("no error"), Planted::Exists));
}

fn nothing(refusals: Vec<String>) {
    assert_eq!(refusals, Vec::<String>::new());
}

fn xattr_of(path: &Path, name: &str) -> Option<Vec<u8>> {
    xattr::get(path, name).expect("getxattr")
}

/// Mode, owner, group, time.
fn look(path: &Path) -> (u32, u32, u32, i64) {
    let meta = fs::symlink_metadata(path).expect("metadata");
    let mtime_ns = meta.mtime() * 1_000_000_000 + meta.mtime_nsec();
    (meta.mode() & 0o7777, meta.uid(), meta.gid(), mtime_ns)
}

#[test]
fn every_kind_is_made_as_it_was_recorded() {
    if !root_or_skip("every_kind_is_made_as_it_was_recorded") {
        return;
    }
    let mut target = Target::new();
    let noted = [pair("user.note", b"\x00\xff"), pair("user.empty", b"")];
    let dusk_ns = 1_000_000_000_000_000_000;
    let odd = Attributes { xattrs: &noted, atime_ns: Some(dusk_ns), ..of(1234, 0o6555) };

    let file = target.plantation.begin_file(&path("a/b/file")).expect("begin");
    file.file().write_all(b"data").expect("write");
    assert!(!target.at("a/b/file").exists());
    assert!(file.set(&odd).expect("set").is_empty());
    let ident = file.ident().expect("identity");
    let inode = file.inode().expect("identity");
    let mut file = file;
    assert_eq!(file.link().expect("link"), Placed::Placed);
    drop(file);

    let plantation = &mut target.plantation;
    nothing(made(plantation.symlink(&path("a/link"), b"\xff/../..", &of(1234, 0o777), None)));
    nothing(made(plantation.fifo(&path("a/fifo"), &odd_mode(), None)));
    let (char, block) = (rustix::fs::makedev(1, 3), rustix::fs::makedev(259, 70_000));
    let char = (FileKind::CharDevice, char);
    nothing(made(plantation.device(&path("a/char"), char, &odd_mode(), None)));
    let block = (FileKind::BlockDevice, block);
    nothing(made(plantation.device(&path("a/block"), block, &odd_mode(), None)));
    nothing(made(plantation.hard_link(&path("a/b/file"), inode, &path("other/name"), None)));
    nothing(made(plantation.dir(&path("a/b"), &odd)));
    nothing(made(plantation.dir(&path("a"), &of(7, 0o1777))));
    nothing(made(plantation.dir(&path("new"), &odd)));

    for name in ["a/b/file", "a/b", "new"] {
        let found = target.at(name);
        assert_eq!(look(&found), (0o6555, 1234, 2234, THEN_NS), "{name}");
        assert_eq!(xattr_of(&found, "user.note").as_deref(), Some(&b"\x00\xff"[..]), "{name}");
        assert_eq!(xattr_of(&found, "user.empty").as_deref(), Some(&b""[..]), "{name}");
        assert_eq!(target.found(name).stat.atime_ns, dusk_ns, "{name}");
        assert_eq!(xattr_of(&found, xattrs::TRUSTED_UNFINISHED), None, "{name}");
    }
    assert_eq!(target.read("other/name"), b"data");
    assert_eq!(crate::os::file_ident(target.found("other/name")).expect("identity"), ident);
    assert_eq!(look(&target.at("a")), (0o1777, 7, 1007, THEN_NS));
    for (name, kind) in [
        ("a/fifo", FileKind::Fifo),
        ("a/char", FileKind::CharDevice),
        ("a/block", FileKind::BlockDevice),
    ] {
        assert_eq!(target.found(name).stat.kind, kind);
        assert_eq!(look(&target.at(name)), (0o2640, 1234, 2234, THEN_NS), "{name}");
    }
    assert_eq!(target.found("a/block").stat.rdev, rustix::fs::makedev(259, 70_000));
    assert_eq!(target.found("a/link").target().expect("a link"), b"\xff/../..");
    let (_, uid, gid, mtime_ns) = look(&target.at("a/link"));
    assert_eq!((uid, gid, mtime_ns), (1234, 2234, THEN_NS));
    assert_eq!(target.names("a"), ["b", "block", "char", "fifo", "link"]);
}

fn odd_mode() -> Attributes<'static> {
    of(1234, 0o2640)
}

#[test]
fn lists_and_capabilities_survive_the_other_attributes() {
    if !root_or_skip("lists_and_capabilities_survive_the_other_attributes") {
        return;
    }
    let mut target = Target::new();
    let listed = [
        pair("security.capability", &CAPABILITY),
        pair("system.posix_acl_access", &acl()),
        pair("trusted.note", b"seen"),
    ];
    let mut file = target.plantation.begin_file(&path("file")).expect("begin");
    let attributes = Attributes { xattrs: &listed, ..of(1234, 0o4670) };
    assert!(file.set(&attributes).expect("set").is_empty());
    file.link().expect("link");
    let both = [pair("system.posix_acl_access", &acl()), pair("system.posix_acl_default", &acl())];
    let attributes = Attributes { xattrs: &both, ..of(1234, 0o2670) };
    nothing(made(target.plantation.dir(&path("dir"), &attributes)));
    assert_eq!(look(&target.at("file")), (0o4670, 1234, 2234, THEN_NS));
    assert_eq!(look(&target.at("dir")), (0o2670, 1234, 2234, THEN_NS));
    for (name, pairs) in [("file", &listed[..]), ("dir", &both[..])] {
        for (attribute, value) in pairs {
            let attribute = std::str::from_utf8(attribute).expect("text");
            assert_eq!(xattr_of(&target.at(name), attribute).as_ref(), Some(value), "{attribute}");
        }
    }
}

/// Otherwise whoever owns a directory could let themselves read what is
/// restored into it.
#[test]
fn no_list_is_inherited() {
    let mut target = Target::new();
    fs::create_dir(target.at("d")).expect("mkdir");
    xattr::set(target.at("d"), "system.posix_acl_default", &acl()).expect("a default ACL");
    fs::write(target.at("d/control"), b"").expect("write");
    assert!(xattr_of(&target.at("d/control"), "system.posix_acl_access").is_some());
    target.file("d/file", b"data");
    nothing(made(target.plantation.dir(&path("d/dir"), &plain(0o770))));
    nothing(made(target.plantation.fifo(&path("d/fifo"), &plain(0o660), None)));
    for (name, mode) in [("d/file", 0o640), ("d/dir", 0o770), ("d/fifo", 0o660)] {
        assert_eq!(look(&target.at(name)).0, mode, "{name}");
        assert_eq!(xattr_of(&target.at(name), "system.posix_acl_access"), None, "{name}");
        assert_eq!(xattr_of(&target.at(name), "system.posix_acl_default"), None, "{name}");
    }
}

#[test]
fn what_is_there_is_never_replaced_unasked() {
    for nfs in [false, true] {
        ON_NFS.set(nfs);
        let mut target = Target::new();
        fs::create_dir(target.at("dir")).expect("mkdir");
        fs::write(target.at("file"), b"theirs").expect("write");
        symlink("file", target.at("link")).expect("symlink");
        symlink("nowhere", target.at("dangling")).expect("symlink");
        fs::write(target.at("source"), b"ours").expect("write");
        let inode = target.found("source").inode().expect("identity");
        for name in ["dir", "file", "link", "dangling"] {
            assert_eq!(target.begun(name, b"x").link().expect("link"), Placed::Exists, "{name}");
            let mut named = target.begun_named(name, b"x");
            assert_eq!(named.link().expect("link"), Placed::Exists, "{name}");
            drop(named);
            let plantation = &mut target.plantation;
            exists(plantation.symlink(&path(name), b"x", &plain(0o777), None));
            exists(plantation.fifo(&path(name), &plain(0o600), None));
            exists(plantation.hard_link(&path("source"), inode, &path(name), None));
            exists(plantation.dir(&path(name), &plain(0o777)));
        }
        nothing(made(target.plantation.dir(&path("new/d"), &plain(0o750))));
        assert_eq!(look(&target.at("new/d")).0, 0o750);
        assert_eq!(target.names(""), ["dangling", "dir", "file", "link", "new", "source"]);
        assert_eq!(target.read("file"), b"theirs");
        assert_eq!(target.names("dir"), Vec::<String>::new());
        assert_ne!(look(&target.at("dir")).3, THEN_NS);
        exists(target.plantation.dir(&RelPath::root(), &plain(0o777)));
        assert!(target.plantation.begin_file(&RelPath::root()).is_err());
    }
    ON_NFS.set(false);
}

#[test]
fn what_was_looked_at_is_replaced_and_nothing_that_came_later() {
    for (nfs, named) in [(false, false), (false, true), (true, false), (true, true)] {
        ON_NFS.set(nfs);
        let mut target = Target::new();
        let begin = if named { Target::begun_named } else { Target::begun };
        fs::write(target.at("file"), b"old").expect("write");
        let seen = target.found("file").stat;
        let mut file = begin(&mut target, "file", b"new");
        assert_eq!(file.link().expect("link"), Placed::Exists);
        assert_eq!(file.replace(&seen).expect("replace"), Placed::Placed);
        drop(file);
        assert_eq!(target.read("file"), b"new", "{nfs} {named}");
        // The one that was looked at is no longer there.
        let mut late = begin(&mut target, "file", b"newer");
        assert_eq!(late.replace(&seen).expect("replace"), Placed::Exists);
        // Written to since.
        let seen = target.found("file").stat;
        fs::write(target.at("file"), b"written").expect("write");
        assert_eq!(late.replace(&seen).expect("replace"), Placed::Exists);
        drop(late);
        assert_eq!(target.read("file"), b"written", "{nfs} {named}");
        // Gone since.
        let seen = target.found("file").stat;
        fs::remove_file(target.at("file")).expect("remove");
        let mut file = begin(&mut target, "file", b"again");
        assert_eq!(file.replace(&seen).expect("replace"), Placed::Placed);
        drop(file);
        assert_eq!(target.read("file"), b"again", "{nfs} {named}");
        assert_eq!(target.names(""), ["file"], "{nfs} {named}");
    }
    ON_NFS.set(false);
}

#[test]
fn other_kinds_are_replaced_too_and_a_directory_never() {
    for nfs in [false, true] {
        ON_NFS.set(nfs);
        let mut target = Target::new();
        fs::create_dir(target.at("dir")).expect("mkdir");
        fs::write(target.at("source"), b"ours").expect("write");
        fs::write(target.at("x"), b"theirs").expect("write");
        let inode = target.found("source").inode().expect("identity");
        for round in 0..2 {
            let seen = target.found("x").stat;
            let over = Some(&seen);
            let plantation = &mut target.plantation;
            made(plantation.symlink(&path("x"), b"target", &plain(0o777), over));
            exists(plantation.fifo(&path("x"), &plain(0o600), over));
            let seen = target.found("x").stat;
            made(target.plantation.fifo(&path("x"), &plain(0o600), Some(&seen)));
            for _ in 0..2 {
                // The second time both names have one inode.
                let seen = target.found("x").stat;
                let over = Some(&seen);
                made(target.plantation.hard_link(&path("source"), inode, &path("x"), over));
            }
            assert_eq!(target.read("x"), b"ours", "{round}");
        }
        let dir = target.found("dir").stat;
        assert!(target.begun("dir", b"x").replace(&dir).is_err());
        let file = target.found("x").stat;
        assert!(!matches!(target.begun("dir", b"x").replace(&file), Ok(Placed::Placed)));
        assert_eq!(target.names(""), ["dir", "source", "x"]);
        assert!(target.at("dir").is_dir());
    }
    ON_NFS.set(false);
}

#[test]
fn what_gets_no_name_is_gone() {
    let mut target = Target::new();
    drop(target.begun("unnamed", b"x"));
    let named = target.begun_named("named", b"x");
    assert_eq!(target.names("").len(), 1, "under its temporary name");
    drop(named);
    assert_eq!(target.names(""), Vec::<String>::new());
}

#[test]
fn a_file_can_be_read_back_before_it_has_its_name() {
    let mut target = Target::new();
    let file = target.begun("f", b"all of it");
    let mut text = String::new();
    io::Seek::rewind(&mut file.file()).expect("seek");
    file.file().read_to_string(&mut text).expect("read");
    assert_eq!(text, "all of it");
}

#[test]
fn the_times_of_a_directory_can_be_put_back() {
    let mut target = Target::new();
    nothing(made(target.plantation.dir(&path("d"), &plain(0o755))));
    target.file("d/late", b"x");
    assert_ne!(look(&target.at("d")).3, THEN_NS);
    target.plantation.set_times_of_dir(&path("d"), THEN_NS).expect("set times");
    assert_eq!(look(&target.at("d")).3, THEN_NS);
}

#[test]
fn what_is_there_is_found_and_nothing_is_no_error() {
    let mut target = Target::new();
    target.file("a/f", b"data");
    assert_eq!(target.found("a/f").stat.size_bytes, 4);
    assert_eq!(target.found("").stat.kind, FileKind::Dir);
    for absent in ["a/g", "b", "b/c/d"] {
        assert!(target.plantation.lookup(&path(absent)).expect("lookup").is_none(), "{absent}");
    }
    let error = target.plantation.lookup(&path("a/f/x")).expect_err("below a file");
    assert!(is(&error, Errno::NOTDIR));
    let error = target.plantation.begin_file(&path("a/f/x")).expect_err("below a file");
    assert!(is(&error, Errno::NOTDIR));
    let found = target.found("a/f");
    nothing(found.set(&plain(0o400)).expect("set").iter().map(ToString::to_string).collect());
    assert_eq!(look(&target.at("a/f")).0, 0o400);
}

#[test]
fn a_path_that_the_kernel_would_not_take_at_once_is_made() {
    let mut target = Target::new();
    let deep = vec!["d".repeat(200); 30].join("/");
    target.file(&format!("{deep}/file"), b"deep");
    let found = target.found(&format!("{deep}/file"));
    assert_eq!(found.stat.size_bytes, 4);
    assert!(deep.len() > 4096);
    // What empties temporary directories goes by paths.
    let mut command = std::process::Command::new("rm");
    assert!(command.arg("-rf").arg(target.at(&"d".repeat(200))).status().expect("rm").success());
}

/// Time is not measured: system calls per file are what must not grow.
#[test]
fn files_in_directory_order_resolve_each_directory_once() {
    let mut target = Target::new();
    target.plantation.make_dirs(&path("tree")).expect("make");
    let before = target.plantation.resolved;
    for dir in 0..10 {
        for file in 0..1000 {
            target.file(&format!("tree/{dir}/{file}"), b"");
        }
    }
    // Missing, then the one above it.
    assert_eq!(target.plantation.resolved - before, 20);
    assert_eq!(target.names("tree").len(), 10);
    assert_eq!(target.names("tree/9").len(), 1000);
}

#[test]
fn two_threads_share_what_they_made() {
    let mut target = Target::new();
    let mut others: Vec<Plantation> = (0..4).map(|_| target.plantation.another()).collect();
    std::thread::scope(|scope| {
        for (nth, other) in others.iter_mut().enumerate() {
            scope.spawn(move || {
                for dir in 0..50 {
                    let name = format!("a/{dir}/b/{nth}");
                    let mut file = other.begin_file(&path(&name)).expect("begin");
                    assert_eq!(file.link().expect("link"), Placed::Placed);
                }
            });
        }
    });
    for dir in 0..50 {
        assert_eq!(target.names(&format!("a/{dir}/b")), ["0", "1", "2", "3"]);
        nothing(made(target.plantation.dir(&path(&format!("a/{dir}/b")), &plain(0o755))));
    }
}

/// A mount that vanishes with the test.
struct Ramfs(PathBuf);

impl Ramfs {
    fn new(at: PathBuf) -> Self {
        fs::create_dir(&at).expect("a mount point");
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "ramfs", "none"]).arg(&at);
        assert!(mount.status().expect("mount").success());
        Self(at)
    }
}

impl Drop for Ramfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// ramfs takes no attributes: the process alone remembers.
#[test]
fn a_mount_is_crossed_and_a_directory_without_a_mark_is_remembered() {
    if !root_or_skip("a_mount_is_crossed_and_a_directory_without_a_mark_is_remembered") {
        return;
    }
    let mut target = Target::new();
    let _mount = Ramfs::new(target.at("mnt"));
    target.file("mnt/d/file", b"on another file system");
    assert_eq!(target.plantation.unmarked().len(), 1);
    let mut stranger = Plantation::open(target.dir.path()).expect("open");
    exists(stranger.dir(&path("mnt/d"), &plain(0o755)));
    let noted = [pair("user.note", b"x")];
    let attributes = Attributes { xattrs: &noted, ..plain(0o755) };
    let refused = made(target.plantation.dir(&path("mnt/d"), &attributes));
    assert!(refused.len() == 1 && refused[0].starts_with("attribute user.note: "), "{refused:?}");
    assert_eq!(look(&target.at("mnt/d")).0, 0o755);
    assert!(target.plantation.unmarked().is_empty());
    exists(target.plantation.dir(&path("mnt/d"), &plain(0o700)));
}
