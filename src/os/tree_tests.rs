//! Everything a user of the tree could put in the way of an open.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

fn tree() -> (tempfile::TempDir, RootDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir_all(dir.path().join("a/b")).expect("mkdir");
    std::fs::write(dir.path().join("a/b/f"), b"inside").expect("write");
    let root = RootDir::open(dir.path()).expect("open the root");
    (dir, root)
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a good path")
}

fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

#[test]
fn a_file_is_opened_and_described() {
    let (_dir, root) = tree();
    let file = root.open_read(&path("a/b/f")).expect("open");
    assert!(!owner_write::is_writable(&file).expect("flags"));
    assert_eq!(std::io::read_to_string(file).expect("read"), "inside");
    let file = root.open_write(&path("a/b/f")).expect("open");
    assert!(owner_write::is_writable(&file).expect("flags"));
    assert_eq!(root.stat(&path("a/b/f")).expect("stat").size_bytes, 6);
    assert_eq!(root.stat(&RelPath::root()).expect("stat").ino, root.identity().root_ino);
    root.open_dir(&RelPath::root()).expect("open the root as a directory");
    root.open_dir(&path("a/b")).expect("open");
}

#[test]
fn no_symbolic_link_is_followed_wherever_it_stands() {
    let (dir, root) = tree();
    symlink("b", dir.path().join("a/dir")).expect("symlink");
    symlink("f", dir.path().join("a/b/file")).expect("symlink");
    symlink("/etc/passwd", dir.path().join("out")).expect("symlink");
    for through in ["a/dir/f", "a/b/file", "out"] {
        assert!(root.open_read(&path(through)).is_err(), "{through}");
        assert!(root.open_write(&path(through)).is_err(), "{through}");
    }
    assert_eq!(errno(&root.stat(&path("a/dir/f")).expect_err("link")), Some(Errno::LOOP));
    assert!(root.open_dir(&path("a/dir")).is_err());
    assert_eq!(root.stat(&path("out")).expect("stat").kind, FileKind::Symlink);
    assert_eq!(root.read_link(&path("out")).expect("readlink"), b"/etc/passwd");
}

#[test]
fn only_a_regular_file_is_opened_and_nothing_hangs() {
    let (dir, root) = tree();
    let fifo = dir.path().join("fifo");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0)
        .expect("mkfifo");
    let _socket = UnixListener::bind(dir.path().join("socket")).expect("bind");
    for (name, kind) in [("fifo", "fifo"), ("socket", "socket"), ("a", "directory")] {
        for error in [root.open_read(&path(name)), root.open_write(&path(name))] {
            let error = error.expect_err(name);
            assert_eq!(error.to_string(), format!("not a regular file but a {kind}"));
        }
    }
}

/// The look before the open can be raced; the one after it cannot.
#[test]
fn a_fifo_swapped_in_after_the_look_is_found_by_its_descriptor() {
    let (dir, root) = tree();
    let fifo = dir.path().join("fifo");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0)
        .expect("mkfifo");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = root.resolve_quietly(&path("fifo"), flags).expect("opens without a writer");
    assert!(require_regular(&statx_fd(opened).expect("stat")).is_err());
}

#[test]
fn a_missing_file_is_not_found() {
    let (_dir, root) = tree();
    let error = root.open_read(&path("a/none")).expect_err("missing");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let error = root.open_read(&path("a/b/f/x")).expect_err("below a file");
    assert_eq!(errno(&error), Some(Errno::NOTDIR));
}

#[test]
fn a_root_that_is_none_is_refused_by_what_it_is() {
    let (dir, _root) = tree();
    let open = |name: &str| RootDir::open(&dir.path().join(name)).expect_err(name);
    assert_eq!(open("none").kind(), io::ErrorKind::NotFound);
    assert_eq!(open("a/b/f").to_string(), "not a directory");
    symlink("a", dir.path().join("link")).expect("symlink");
    assert!(open("link").to_string().starts_with("a root may not be a symbolic link"));
}

#[test]
fn a_file_that_its_owner_made_read_only_is_opened_and_stays_read_only() {
    let (dir, root) = tree();
    let file = dir.path().join("a/b/f");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o444)).expect("chmod");
    let opened = root.open_write(&path("a/b/f")).expect("open");
    assert!(owner_write::is_writable(&opened).expect("flags"));
    assert_eq!(root.stat(&path("a/b/f")).expect("stat").mode, 0o444);
}

#[test]
fn opening_for_freeing_changes_nothing_about_the_file() {
    let (dir, root) = tree();
    let file = dir.path().join("a/b/f");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o444)).expect("chmod");
    let before = root.stat(&path("a/b/f")).expect("stat");
    root.open_free(&path("a/b/f")).expect("open");
    assert_eq!(root.stat(&path("a/b/f")).expect("stat"), before);
}

#[test]
fn reading_leaves_the_access_time_alone() {
    let (dir, root) = tree();
    let old = 1_000_000_000_000_000_000;
    let file = std::fs::File::open(dir.path().join("a/b/f")).expect("open");
    crate::os::blocks::set_times(&file, Some(old), None).expect("set times");
    let ours = root.open_read(&path("a/b/f")).expect("open");
    std::io::read_to_string(ours).expect("read");
    assert_eq!(root.stat(&path("a/b/f")).expect("stat").atime_ns, old);
}

#[test]
fn a_mount_below_the_root_is_not_entered() {
    let test = "a_mount_below_the_root_is_not_entered";
    let Some(fs) = crate::os::loopfs::LoopFs::new(test, crate::os::loopfs::FsKind::Ext4) else {
        return;
    };
    std::fs::write(fs.path().join("f"), b"another file system").expect("write");
    let above = fs.path().parent().expect("it is mounted somewhere");
    let name = fs.path().file_name().expect("it has a name");
    let root = RootDir::open(above).expect("open");
    let below = RelPath::new(name.as_encoded_bytes()).expect("a good path");
    let error = root.open_read(&below.join(b"f")).expect_err("another mount");
    assert_eq!(errno(&error), Some(Errno::XDEV));
    assert_eq!(errno(&root.open_dir(&below).expect_err("another mount")), Some(Errno::XDEV));
}

#[test]
fn a_subvolume_below_the_root_is_not_entered() {
    let test = "a_subvolume_below_the_root_is_not_entered";
    let Some(fs) = crate::os::loopfs::LoopFs::new(test, crate::os::loopfs::FsKind::Btrfs) else {
        return;
    };
    let sub = fs.path().join("sub");
    let mut create = std::process::Command::new("btrfs");
    let made = create.args(["-q", "subvolume", "create"]).arg(&sub).output().expect("run btrfs");
    assert!(made.status.success(), "{made:?}");
    std::fs::write(sub.join("f"), b"another inode space").expect("write");
    let root = RootDir::open(fs.path()).expect("open");
    let error = root.open_read(&path("sub/f")).expect_err("another subvolume");
    assert_eq!(errno(&error), Some(Errno::XDEV));
    let own = RootDir::open(&sub).expect("it may be a root of its own");
    assert_ne!(own.identity(), root.identity());
    own.open_read(&path("f")).expect("open");
}
