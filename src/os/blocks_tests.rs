//! Blocks on the four file systems that are promised.

use super::*;
use crate::os::loopfs::{FsKind, LoopFs};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn file_in(dir: &Path) -> File {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    options.open(dir.join("f")).expect("create")
}

/// Runs `check` in a directory of each file system, and where the temporary
/// directory is for those who are not root.
fn on_each(test: &str, check: impl Fn(&Path, Option<FsKind>)) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    check(dir.path(), None);
    for kind in FsKind::ALL {
        if let Some(fs) = LoopFs::new(test, kind) {
            check(fs.path(), Some(kind));
        }
    }
}

#[test]
fn data_and_holes_are_told_apart() {
    on_each("data_and_holes_are_told_apart", |dir, kind| {
        let file = file_in(dir);
        let block = 1 << 16;
        file.set_len(10 * block + 7).expect("size");
        assert!(is_all_hole(&file, 10 * block + 7).expect("seek"), "{kind:?}");
        assert!(!is_all_data(&file, 10 * block + 7).expect("seek"));
        file.write_all_at(&vec![1; block as usize], 2 * block).expect("write");
        file.write_all_at(b"tail", 10 * block + 3).expect("write");
        let extents = data_extents(&file, 10 * block + 7).expect("seek");
        assert_eq!(extents, [2 * block..3 * block, 10 * block..10 * block + 7], "{kind:?}");
        assert_eq!(rustix::fs::tell(&file).expect("tell"), 0);
        assert!(!is_all_hole(&file, 10 * block + 7).expect("seek"));
        // A size that was true a moment ago bounds the answer.
        let cut = data_extents(&file, 2 * block + 5).expect("seek");
        assert!(cut.iter().eq(std::iter::once(&(2 * block..2 * block + 5))), "{kind:?}: {cut:?}");
    });
}

#[test]
fn a_whole_file_is_all_data_and_reserved_blocks_are_not() {
    on_each("a_whole_file_is_all_data", |dir, kind| {
        let file = file_in(dir);
        file.write_all_at(&vec![1; 300_001], 0).expect("write");
        assert!(is_all_data(&file, 300_001).expect("seek"), "{kind:?}");
        file.set_len(600_000).expect("size");
        assert!(!is_all_data(&file, 600_000).expect("seek"), "{kind:?}");
        if allocate(&file, 0..600_000).expect("allocate") {
            assert!(!is_all_data(&file, 600_000).expect("seek"), "{kind:?}");
        }
    });
}

#[test]
fn punching_frees_every_block_and_keeps_the_size() {
    on_each("punching_frees_every_block", |dir, kind| {
        for size in [1u64, 5000, 1 << 20, (1 << 20) + 1] {
            let file = file_in(dir);
            file.write_all_at(&vec![7; size as usize], 0).expect("write");
            file.sync_all().expect("sync");
            punch_all(&file, size).expect("punch");
            let stat = statx_fd(&file).expect("stat");
            assert_eq!(stat.size_bytes, size, "{kind:?}");
            assert_eq!(stat.allocated_bytes, 0, "{kind:?} of {size}");
            assert!(is_all_hole(&file, size).expect("seek"), "{kind:?}");
            std::fs::remove_file(dir.join("f")).expect("remove");
        }
    });
}

#[test]
fn preallocation_beyond_the_end_is_given_back() {
    on_each("preallocation_beyond_the_end_is_given_back", |dir, kind| {
        let file = file_in(dir);
        file.write_all_at(&[7; 5000], 0).expect("write");
        if !allocate(&file, 0..8 << 20).expect("allocate") {
            return;
        }
        file.sync_all().expect("sync");
        assert!(statx_fd(&file).expect("stat").allocated_bytes >= 8 << 20, "{kind:?}");
        punch_all(&file, 5000).expect("punch");
        let stat = statx_fd(&file).expect("stat");
        assert_eq!((stat.size_bytes, stat.allocated_bytes), (5000, 0), "{kind:?}");
    });
}

#[test]
fn a_full_file_system_refuses_the_reservation() {
    for kind in FsKind::ALL {
        let Some(fs) = LoopFs::new("a_full_file_system_refuses", kind) else { continue };
        let file = file_in(fs.path());
        let error = allocate(&file, 0..2 << 30).expect_err("more than there is");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{kind:?}");
    }
}

#[test]
fn one_time_is_set_and_the_other_left() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = file_in(dir.path());
    let before = statx_fd(&file).expect("stat");
    for mtime in [1, 999_999_999, -1, -1_500_000_000, 4_000_000_000_123_456_789] {
        set_times(&file, None, Some(mtime)).expect("set");
        let stat = statx_fd(&file).expect("stat");
        assert_eq!((stat.mtime_ns, stat.atime_ns), (mtime, before.atime_ns));
    }
}
