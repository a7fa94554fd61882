//! Scans of real trees in temporary directories.

use super::list::PART;
use super::*;
use crate::monitor::{Monitor, Phase, Silent, Stop};
use crate::os::{FileKind, RootDir};
use rustix::fs::{CWD, FileType, Mode};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Mutex;
use tempfile::TempDir;

/// Everything a scan said, by path.
#[derive(Default)]
struct Heard {
    entries: BTreeMap<Vec<u8>, Seen>,
    dirs: BTreeSet<Vec<u8>>,
    skipped: BTreeMap<Vec<u8>, Skip>,
    parts: Vec<(Vec<u8>, usize, bool, bool)>,
}

impl Sink for Heard {
    fn directory(&mut self, dir: DirBatch) -> Result<(), SinkError> {
        let path = dir.path.as_bytes();
        assert!(
            self.parts.is_empty() || dir.path.parent().is_none_or(|up| self.knows(up.as_bytes())),
            "{:?} before its parent",
            dir.path
        );
        assert!(dir.entries.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(dir.stat.kind, FileKind::Dir);
        self.parts.push((path.to_vec(), dir.entries.len(), dir.first, dir.last));
        for entry in dir.entries {
            let path = dir.path.join(&entry.name).as_bytes().to_vec();
            assert!(self.entries.insert(path, entry).is_none(), "seen twice");
        }
        for skipped in dir.skipped {
            let path = dir.path.join(&skipped.name).as_bytes().to_vec();
            self.skipped.insert(path, skipped.why);
        }
        self.dirs.insert(path.to_vec());
        Ok(())
    }
}

impl Heard {
    fn knows(&self, dir: &[u8]) -> bool {
        self.dirs.contains(dir) || self.parts[0].0 == dir
    }

    fn paths(&self) -> Vec<String> {
        self.entries.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }
}

/// Remembers what failed.
#[derive(Default)]
struct Failures(Mutex<Vec<String>>);

impl Monitor for Failures {
    fn begin(&self, _: Phase, _: u64, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
    fn end(&self) {}
    fn file_failed(&self, path: &Path, doing: &str, error: &dyn std::error::Error) {
        let text = format!("{doing} {}: {error}", path.display());
        self.0.lock().expect("no panic").push(text);
    }
    fn notice(&self, _: &str) {}
}

fn scan(dir: &TempDir, options: &Options) -> (Heard, Stats) {
    let root = RootDir::open(dir.path()).expect("open the root");
    let mut heard = Heard::default();
    let stats = run(&root, options, &Silent, &Stop::new(), &mut heard).expect("scan");
    (heard, stats)
}

/// Files f0.., in `dirs` directories d0...
fn tree(dirs: usize, files: usize) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for number in 0..dirs {
        let sub = dir.path().join(format!("d{number:03}"));
        fs::create_dir(&sub).expect("mkdir");
        for file in 0..files {
            fs::write(sub.join(format!("f{file:05}")), b"12345").expect("write");
        }
    }
    dir
}

#[test]
fn every_kind_of_thing_is_seen_as_it_is() {
    let dir = tree(2, 3);
    let at = |name: &[u8]| dir.path().join(std::ffi::OsStr::from_bytes(name));
    let mode = Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(CWD, at(b"fifo"), FileType::Fifo, mode, 0).expect("mknod");
    let _socket = std::os::unix::net::UnixListener::bind(at(b"socket")).expect("bind");
    symlink("..", at(b"up")).expect("symlink");
    symlink("/nowhere", at(b"dangling")).expect("symlink");
    let odd = [b"\xff\xfe\nx ".to_vec(), vec![b'n'; 255]];
    for name in &odd {
        fs::write(at(name), b"").expect("write");
    }
    fs::hard_link(at(b"d000/f00000"), at(b"d001/link")).expect("link");
    let (heard, stats) = scan(&dir, &Options::default());
    assert_eq!((stats.directories, stats.files, stats.others), (3, 9, 4));
    assert_eq!((stats.bytes, stats.errors, stats.complete), (35, 0, true));
    assert_eq!(heard.entries.len(), 15);
    for (path, seen) in &heard.entries {
        let std = fs::symlink_metadata(at(path)).expect("stat");
        let ours = (seen.stat.ino, seen.stat.size_bytes, seen.stat.mode, seen.stat.nlink);
        assert_eq!(ours, (std.ino(), std.size(), std.mode() & 0o7777, std.nlink() as u32));
        assert_eq!(seen.stat.kind == FileKind::Dir, std.is_dir());
        assert_eq!(seen.stat.kind == FileKind::Symlink, std.is_symlink());
    }
    assert!(odd.iter().all(|name| heard.entries.contains_key(name)));
    assert_eq!(heard.entries[&b"d001/link"[..]].stat.nlink, 2);
}

#[test]
fn any_number_of_threads_sees_the_same_and_no_atime_of_a_file_moves() {
    let dir = tree(30, 5);
    let file = dir.path().join("d000/f00000");
    let handle = fs::File::options().write(true).open(&file).expect("open");
    let times = fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH);
    handle.set_times(times).expect("set times");
    let (mut alone, one) = scan(&dir, &Options { threads: 1, ..Options::default() });
    let (mut crowd, many) = scan(&dir, &Options { threads: 99, ..Options::default() });
    for heard in [&mut alone, &mut crowd] {
        // Listing a directory may move its atime.
        let dirs = heard.entries.values_mut().filter(|seen| seen.stat.kind == FileKind::Dir);
        dirs.for_each(|seen| seen.stat.atime_ns = 0);
    }
    assert!(alone.entries == crowd.entries);
    assert_eq!(one, many);
    assert_eq!(fs::metadata(&file).expect("stat").atime(), 0);
}

#[test]
fn a_large_directory_comes_in_ordered_parts() {
    let dir = tree(1, PART + 10);
    fs::create_dir(dir.path().join("d000/f00100-sub")).expect("mkdir");
    let (heard, stats) = scan(&dir, &Options::default());
    assert_eq!(stats.files, PART as u64 + 10);
    assert_eq!(stats.directories, 3);
    let parts: Vec<_> = heard.parts.iter().filter(|part| part.0 == b"d000").collect();
    assert_eq!(parts.len(), 2);
    assert_eq!((parts[0].1, parts[0].2, parts[0].3), (PART, true, false));
    assert_eq!((parts[1].1, parts[1].2, parts[1].3), (11, false, true));
    let names: Vec<&Vec<u8>> = heard.entries.keys().collect();
    assert!(names.is_sorted());
}

#[test]
fn only_what_was_asked_for_is_read() {
    let dir = tree(3, 2);
    fs::create_dir(dir.path().join("d001/sub")).expect("mkdir");
    fs::write(dir.path().join("d001/sub/x"), b"").expect("write");
    let under = Some(RelPath::new("d001").expect("a path"));
    let (heard, stats) = scan(&dir, &Options { under, ..Options::default() });
    let expected = ["d001/f00000", "d001/f00001", "d001/sub", "d001/sub/x"];
    assert_eq!(heard.paths(), expected);
    assert_eq!(stats.directories, 2);

    let under = Some(RelPath::new("d001").expect("a path"));
    let (heard, stats) = scan(&dir, &Options { under, alone: true, ..Options::default() });
    assert_eq!(heard.paths(), expected[..3]);
    assert_eq!((stats.directories, stats.complete), (1, false));

    let root = RootDir::open(dir.path()).expect("open");
    let under = Some(RelPath::new("none").expect("a path"));
    let options = Options { under, ..Options::default() };
    let error = run(&root, &options, &Silent, &Stop::new(), &mut Heard::default());
    assert!(matches!(error, Err(Error::Root { path, .. }) if path.ends_with("none")));
}

#[test]
fn our_own_directories_are_passed_over_and_named() {
    let dir = tree(2, 2);
    let link = dir.path().join("to-d001");
    symlink("d001", &link).expect("symlink");
    let skip = vec![link, dir.path().join("d000/f00001"), dir.path().join("absent")];
    let (heard, stats) = scan(&dir, &Options { skip, ..Options::default() });
    assert_eq!(heard.paths(), ["d000", "d000/f00000", "to-d001"]);
    let expected = [(b"d000/f00001".to_vec(), Skip::Own), (b"d001".to_vec(), Skip::Own)];
    assert_eq!(heard.skipped, BTreeMap::from(expected));
    assert_eq!((stats.skipped_own, stats.complete), (2, true));
}

#[test]
fn a_mount_point_is_passed_over_and_named() {
    if !may_mount("a_mount_point_is_passed_over_and_named") {
        return;
    }
    let dir = tree(1, 1);
    let at = dir.path().join("d000");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &at, "tmpfs", flags, None).expect("mount");
    fs::write(at.join("inside"), b"").expect("write");
    let (heard, stats) = scan(&dir, &Options::default());
    rustix::mount::unmount(&at, rustix::mount::UnmountFlags::empty()).expect("unmount");
    assert!(heard.entries.is_empty());
    assert_eq!(heard.skipped, BTreeMap::from([(b"d000".to_vec(), Skip::Mount)]));
    assert_eq!((stats.skipped_mounts, stats.complete), (1, true));
}

fn may_mount(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("HSM_TEST_NO_SKIP").is_none(), "{test} needs root");
    eprintln!("SKIPPED {test}: needs root");
    false
}

/// Runs `body` on a thread that may not override permissions, also as root.
fn without_privilege<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let unprivileged = scope.spawn(|| {
            let mut sets = rustix::thread::capabilities(None).expect("capget");
            sets.effective = rustix::thread::CapabilitySet::empty();
            rustix::thread::set_capabilities(None, sets).expect("capset");
            body()
        });
        unprivileged.join().expect("no panic")
    })
}

#[test]
fn an_unreadable_directory_is_reported_and_the_rest_is_read() {
    let dir = tree(4, 2);
    let closed = dir.path().join("d002");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("chmod");
    let no_search = dir.path().join("d003");
    fs::set_permissions(&no_search, fs::Permissions::from_mode(0o400)).expect("chmod");
    let failures = Failures::default();
    let (heard, stats) = without_privilege(|| {
        let root = RootDir::open(dir.path()).expect("open");
        let mut heard = Heard::default();
        let stats = run(&root, &Options::default(), &failures, &Stop::new(), &mut heard);
        (heard, stats.expect("scan"))
    });
    for path in [closed, no_search] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("chmod");
    }
    assert!(!stats.complete && !stats.stopped);
    assert_eq!((stats.files, stats.errors), (4, 3));
    assert!(!heard.dirs.contains(&b"d002"[..]) && heard.dirs.contains(&b"d003"[..]));
    let failed = failures.0.into_inner().expect("no panic");
    let named = |part: &str| failed.iter().filter(|text| text.contains(part)).count();
    assert_eq!((named("d002: "), named("d003/f"), named("scan ")), (1, 2, 3), "{failed:?}");
}

/// Asks for a stop, or fails, after some batches.
struct Interrupts<'a> {
    stop: &'a Stop,
    after: usize,
    fail: bool,
    heard: usize,
}

impl Sink for Interrupts<'_> {
    fn directory(&mut self, _: DirBatch) -> Result<(), SinkError> {
        self.heard += 1;
        if self.heard < self.after {
            return Ok(());
        }
        if self.fail {
            return Err("the disk is full".into());
        }
        self.stop.request();
        Ok(())
    }
}

#[test]
fn a_stop_ends_the_scan_early_and_incomplete() {
    let dir = tree(200, 1);
    let root = RootDir::open(dir.path()).expect("open");
    let stop = Stop::new();
    let mut sink = Interrupts { stop: &stop, after: 3, fail: false, heard: 0 };
    let stats = run(&root, &Options::default(), &Silent, &stop, &mut sink).expect("scan");
    assert!(stats.stopped && !stats.complete);
    assert!(stats.directories < 200, "{stats:?}");
    let stats = run(&root, &Options::default(), &Silent, &stop, &mut sink).expect("scan");
    assert_eq!((stats.directories, stats.stopped), (0, true));
}

#[test]
fn a_failing_sink_ends_the_scan_with_its_error() {
    let dir = tree(200, 1);
    let root = RootDir::open(dir.path()).expect("open");
    let stop = Stop::new();
    let mut sink = Interrupts { stop: &stop, after: 2, fail: true, heard: 0 };
    let error = run(&root, &Options::default(), &Silent, &stop, &mut sink).expect_err("full");
    assert!(matches!(&error, Error::Sink { source } if source.to_string() == "the disk is full"));
    assert_eq!(sink.heard, 2);
}

/// Swaps the root for another directory while the scan runs.
struct Swaps<'a>(&'a Path);

impl Sink for Swaps<'_> {
    fn directory(&mut self, dir: DirBatch) -> Result<(), SinkError> {
        if dir.path.as_bytes().is_empty() {
            fs::rename(self.0, self.0.with_extension("old"))?;
            fs::create_dir(self.0)?;
        }
        Ok(())
    }
}

#[test]
fn a_root_that_is_swapped_is_noticed_before_and_after() {
    let dir = tree(2, 1);
    let path = dir.path().join("d000");
    let root = RootDir::open(&path).expect("open");
    let scan = |sink: &mut dyn Sink| run(&root, &Options::default(), &Silent, &Stop::new(), sink);
    let error = scan(&mut Swaps(&path)).expect_err("swapped during the scan");
    assert!(matches!(error, Error::RootChanged { .. }), "{error}");
    let mut heard = Heard::default();
    let error = scan(&mut heard).expect_err("swapped before the scan");
    assert!(matches!(error, Error::RootChanged { .. }), "{error}");
    assert!(heard.dirs.is_empty());
    fs::remove_dir(&path).expect("rmdir");
    let error = scan(&mut heard).expect_err("nothing there");
    assert!(matches!(error, Error::Root { .. }), "{error}");
}

#[test]
fn few_blocks_for_its_size_hint_at_a_marker() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sparse = fs::File::create(dir.path().join("sparse")).expect("create");
    sparse.set_len(1 << 20).expect("truncate");
    fs::write(dir.path().join("full"), vec![1; 1 << 20]).expect("write");
    fs::write(dir.path().join("empty"), b"").expect("write");
    symlink("sparse", dir.path().join("link")).expect("symlink");
    let (heard, _) = scan(&dir, &Options::default());
    let hinted: Vec<&Vec<u8>> =
        heard.entries.iter().filter(|(_, seen)| seen.marker_hint).map(|(path, _)| path).collect();
    assert_eq!(hinted, [b"sparse"]);
}
