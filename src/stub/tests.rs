//! The whole way of a file out and back, and every reason to refuse a step.

use super::testing::{MTIME_NS, STORE_TAG, Sample, copy_of, on_each};
use super::*;
use crate::config::OfflineBit;
use crate::ids::{ContentId, FileIdent};
use crate::os::loopfs::{FsKind, LoopFs, root_or_skip};
use crate::os::stat::statx_fd;
use crate::os::{blocks, xattrs};
use std::os::unix::fs::{FileExt, PermissionsExt};

fn space() -> MarkerSpace {
    MarkerSpace::for_this_process()
}

fn sample() -> (tempfile::TempDir, Sample) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sample = Sample::whole(dir.path());
    (dir, sample)
}

/// Everything about a file that a user can see, but for its ctime and blocks.
fn visible(file: &File) -> (Stat, Vec<(std::ffi::OsString, Vec<u8>)>) {
    let mut stat = statx_fd(file).expect("stat");
    (stat.ctime_ns, stat.allocated_bytes) = (0, 0);
    (stat, xattrs::list(file).expect("list"))
}

#[test]
fn a_file_goes_out_and_comes_back_as_it_was() {
    on_each("a_file_goes_out_and_comes_back_as_it_was", |dir, kind| {
        for make in [Sample::whole, Sample::sparse] {
            let sample = make(dir);
            let file = sample.open();
            xattrs::set(&file, "user.colour", b"blue").expect("set");
            std::fs::set_permissions(&sample.path, PermissionsExt::from_mode(0o640))
                .expect("chmod");
            let (before, allocated) =
                (visible(&file), statx_fd(&file).expect("stat").allocated_bytes);
            let punched = sample.free().expect("free");
            // A second attribute may cost ext4 a block.
            let left = punched.stat.allocated_bytes;
            assert!(left <= 4096, "{kind:?}: {left}");
            assert_eq!(punched.freed_bytes, allocated - left, "{kind:?}");
            assert_eq!(punched.stat, statx_fd(&file).expect("stat"));
            assert_eq!(visible(&file), before, "{kind:?}");
            let placement = inspect(&file, space()).expect("inspect");
            let Placement::Stub(marker) = placement else { panic!("{placement:?}") };
            assert_eq!((marker.content, marker.store_tag), (sample.content(), STORE_TAG));
            let stat = sample.fill().expect("fill");
            assert_eq!(stat, statx_fd(&file).expect("stat"));
            assert_eq!(visible(&file), before, "{kind:?}");
            assert_eq!(inspect(&file, space()).expect("inspect"), Placement::Resident);
            sample.assert_whole("recalled");
            let extents = blocks::data_extents(&file, sample.size_bytes).expect("seek");
            assert_eq!(extents, sample.data, "{kind:?}: holes come back as holes");
            std::fs::remove_file(&sample.path).expect("remove");
        }
    });
}

#[test]
fn stubs_of_small_files_cost_no_block_after_a_remount() {
    let test = "stubs_of_small_files_cost_no_block";
    for kind in FsKind::ALL {
        let Some(mut fs) = LoopFs::new(test, kind) else { continue };
        let sample = Sample::whole(fs.path());
        drop(sample.free().expect("free"));
        fs.remount();
        let stat = statx_fd(sample.open()).expect("stat");
        assert_eq!((stat.allocated_bytes, stat.mtime_ns), (0, MTIME_NS), "{kind:?}");
        sample.fill().expect("fill");
        fs.remount();
        sample.assert_whole("recalled and remounted");
    }
}

/// Two fills of one inode, by two of its names or two state DBs: the one that
/// gives up punches what the other has written.
#[test]
fn a_fill_that_somebody_rolled_back_never_takes_the_marker_off() {
    let (_dir, sample) = sample();
    drop(sample.free().expect("free"));
    let begin = || {
        let file = sample.open();
        let placement = inspect(&file, space()).expect("inspect");
        let marker = placement.marker().expect("a stub").clone();
        begin_fill(file, space(), &marker, &sample.data).expect("begin")
    };
    for flushed in [false, true] {
        let (one, other) = (begin(), begin());
        other.write_at(0, &vec![7; 1_048_577]).expect("write");
        drop(one);
        let content = sample.content();
        let finished =
            if flushed { other.finish_after_syncfs(content) } else { other.finish(content) };
        assert!(matches!(finished, Err(Error::NotAStub { .. })), "{finished:?}");
        let placement = inspect(&sample.open(), space()).expect("inspect");
        assert!(matches!(placement, Placement::Stub(_)), "{placement:?}");
    }
    sample.fill().expect("fill");
    sample.assert_whole("recalled after all");
}

#[test]
fn a_file_that_changed_since_its_upload_is_not_armed() {
    let (_dir, sample) = sample();
    let expected = Expected::of(sample.open()).expect("stat");
    sample.open().write_all_at(b"new", 5).expect("write");
    let refused =
        arm(sample.open(), space(), &expected, sample.copy(), STORE_TAG, OfflineBit::Auto);
    assert!(matches!(refused, Err(Error::Changed(Changed::Mtime { .. }))), "{refused:?}");
    // Someone who sets the mtime back does not hide it.
    blocks::set_times(&sample.open(), None, Some(MTIME_NS)).expect("times");
    let refused =
        arm(sample.open(), space(), &expected, sample.copy(), STORE_TAG, OfflineBit::Auto);
    assert!(matches!(refused, Err(Error::Changed(Changed::Ctime { .. }))), "{refused:?}");
    assert_eq!(inspect(&sample.open(), space()).expect("inspect"), Placement::Resident);
}

#[test]
fn a_file_that_changes_between_arming_and_punching_keeps_its_bytes() {
    let (_dir, sample) = sample();
    let armed = sample.arm().expect("arm");
    sample.open().write_all_at(b"new", 0).expect("write");
    let refused = armed.punch();
    assert!(matches!(refused, Err(Error::Changed(_))), "{refused:?}");
    let bytes = std::fs::read(&sample.path).expect("read");
    assert_eq!(bytes[..3], *b"new");
    assert_eq!(inspect(&sample.open(), space()).expect("inspect"), Placement::Resident);
}

#[test]
fn disarming_or_dropping_takes_the_marker_off() {
    on_each("disarming_or_dropping_takes_the_marker_off", |dir, _| {
        for make in [Sample::whole, Sample::sparse] {
            let sample = make(dir);
            let armed = sample.arm().expect("arm");
            let marked = inspect(armed.file(), space()).expect("inspect");
            assert!(matches!(marked, Placement::Marked(_)), "{marked:?}");
            let twice = sample.arm();
            assert!(matches!(twice, Err(Error::AlreadyMarked { .. })), "{twice:?}");
            let file = armed.disarm().expect("disarm");
            assert_eq!(inspect(&file, space()).expect("inspect"), Placement::Resident);
            drop(sample.arm().expect("arm"));
            assert_eq!(inspect(&file, space()).expect("inspect"), Placement::Resident);
            sample.assert_whole("disarmed");
            assert_eq!(sample.mtime_ns(), MTIME_NS);
            std::fs::remove_file(&sample.path).expect("remove");
        }
    });
}

#[test]
fn a_proof_of_another_size_frees_nothing() {
    let (dir, sample) = sample();
    let expected = Expected::of(sample.open()).expect("stat");
    let refused = arm(sample.open(), space(), &expected, copy_of(5), STORE_TAG, OfflineBit::Auto);
    assert!(matches!(refused, Err(Error::WrongCopy { proven_bytes: 5, .. })), "{refused:?}");
    let empty = File::create_new(dir.path().join("empty")).expect("create");
    let expected = Expected::of(&empty).expect("stat");
    let refused = arm(empty, space(), &expected, copy_of(0), STORE_TAG, OfflineBit::Auto);
    assert!(matches!(refused, Err(Error::Unsuitable { .. })), "{refused:?}");
}

#[test]
fn a_recall_that_gives_up_leaves_the_stub_as_it_was() {
    on_each("a_recall_that_gives_up_leaves_the_stub", |dir, kind| {
        let sample = Sample::whole(dir);
        sample.free().expect("free");
        let before = visible(&sample.open());
        let filler = sample.begin_fill().expect("begin");
        filler.write_at(0, b"half").expect("write");
        let half = inspect(&sample.open(), space()).expect("inspect");
        assert!(matches!(half, Placement::Filling(_)), "{half:?}");
        drop(filler);
        let placement = sample.recover_and_assert_nothing_lost("dropped");
        assert!(matches!(placement, Placement::Stub(_)), "{kind:?}: {placement:?}");
        assert_eq!(visible(&sample.open()), before, "{kind:?}");
        assert_eq!(statx_fd(sample.open()).expect("stat").allocated_bytes, 0, "{kind:?}");
    });
}

#[test]
fn data_of_another_content_are_not_let_in() {
    let (_dir, sample) = sample();
    sample.free().expect("free");
    let filler = sample.begin_fill().expect("begin");
    sample.write_into(&filler).expect("write");
    let refused = filler.finish(ContentId([9; 32]));
    assert!(matches!(refused, Err(Error::WrongContent { .. })), "{refused:?}");
    let placement = sample.recover_and_assert_nothing_lost("wrong content");
    assert!(matches!(placement, Placement::Stub(_)));
}

#[test]
fn a_recall_never_writes_beyond_the_end() {
    let (_dir, sample) = sample();
    sample.free().expect("free");
    let filler = sample.begin_fill().expect("begin");
    assert!(filler.write_at(sample.size_bytes, b"x").is_err());
    assert!(filler.write_at(sample.size_bytes - 1, b"xy").is_err());
    assert!(filler.write_at(u64::MAX, b"x").is_err());
    filler.write_at(sample.size_bytes - 1, b"x").expect("the last byte");
    drop(filler);
    let file = sample.open();
    let Placement::Stub(marker) = inspect(&file, space()).expect("inspect") else {
        panic!("not a stub")
    };
    let beyond = 0..sample.size_bytes + 1;
    let refused = begin_fill(file, space(), &marker, std::slice::from_ref(&beyond));
    assert!(matches!(refused, Err(Error::Allocate { .. })), "{refused:?}");
}

#[test]
fn a_batch_is_recalled_with_two_syncs() {
    let (_dir, sample) = sample();
    sample.free().expect("free");
    let filler = sample.begin_fill().expect("begin");
    sample.write_into(&filler).expect("write");
    blocks::syncfs(filler.file()).expect("syncfs");
    let stat = filler.finish_after_syncfs(sample.content()).expect("finish");
    assert_eq!(stat.mtime_ns, MTIME_NS);
    sample.assert_whole("recalled");
    assert_eq!(inspect(&sample.open(), space()).expect("inspect"), Placement::Resident);
}

#[test]
fn a_copied_marker_makes_no_stub_of_another_file() {
    let (dir, sample) = sample();
    sample.free().expect("free");
    let marker = xattrs::get(&sample.open(), space().attribute()).expect("get").expect("a marker");
    let copy = File::create_new(dir.path().join("copy")).expect("create");
    copy.set_len(sample.size_bytes).expect("size");
    xattrs::set(&copy, space().attribute(), &marker).expect("set");
    let found = recover(&copy, space()).expect("recover");
    let Placement::Foreign(marker) = found else { panic!("{found:?}") };
    let refused = begin_fill(copy, space(), &marker, &[]);
    assert!(matches!(refused, Err(Error::NotAStub { .. })), "{refused:?}");
}

#[test]
fn a_stub_that_someone_wrote_to_is_never_overwritten() {
    on_each("a_stub_that_someone_wrote_to", |dir, kind| {
        let sample = Sample::whole(dir);
        sample.free().expect("free");
        sample.open().write_all_at(b"precious", 500_000).expect("write");
        let found = recover(&sample.open(), space()).expect("recover");
        assert!(matches!(found, Placement::Changed { .. }), "{kind:?}: {found:?}");
        assert!(matches!(sample.begin_fill(), Err(Error::NotAStub { .. })));
        let bytes = std::fs::read(&sample.path).expect("read");
        assert_eq!(bytes[500_000..500_008], *b"precious");
        sample.open().set_len(5).expect("truncate");
        let found = inspect(&sample.open(), space()).expect("inspect");
        assert!(matches!(found, Placement::Changed { .. }), "{kind:?}: {found:?}");
    });
}

#[test]
fn a_rest_of_an_interrupted_punch_is_discarded_only_with_its_proof() {
    let (_dir, sample) = sample();
    drop(sample.free().expect("free"));
    let mtime_ns = sample.mtime_ns();
    sample.open().write_all_at(b"rest", 500_000).expect("write");
    blocks::set_times(&sample.open(), None, Some(mtime_ns)).expect("times");
    let other = discard_residue(&sample.open(), space(), copy_of(sample.size_bytes - 1));
    assert!(matches!(other, Err(Error::NotAStub { .. })), "{other:?}");
    discard_residue(&sample.open(), space(), sample.copy()).expect("discard");
    let placement = sample.recover_and_assert_nothing_lost("discarded");
    assert!(matches!(placement, Placement::Stub(_)), "{placement:?}");
    assert_eq!(sample.mtime_ns(), mtime_ns);
}

#[test]
fn an_unreadable_marker_is_reported_and_left() {
    let (_dir, sample) = sample();
    sample.free().expect("free");
    let file = sample.open();
    let mut newer = xattrs::get(&file, space().attribute()).expect("get").expect("a marker");
    newer[2] = 9;
    xattrs::set(&file, space().attribute(), &newer).expect("set");
    let found = recover(&file, space()).expect("recover");
    let Placement::Corrupt { why, .. } = found else { panic!("{found:?}") };
    assert_eq!(why, "the marker was written by a newer hsm (version 9)");
    assert_eq!(xattrs::get(&file, space().attribute()).expect("get"), Some(newer));
}

#[test]
fn a_marker_for_another_store_or_content_is_not_filled() {
    let (_dir, sample) = sample();
    sample.free().expect("free");
    let file = sample.open();
    let Placement::Stub(marker) = inspect(&file, space()).expect("inspect") else {
        panic!("not a stub")
    };
    let others = [
        Marker { store_tag: *b"othr", ..marker.clone() },
        Marker { content: ContentId([1; 32]), ..marker.clone() },
        Marker { ident: FileIdent { ino: 1, ..marker.ident }, ..marker },
    ];
    for other in others {
        let refused = begin_fill(sample.open(), space(), &other, &[]);
        assert!(matches!(refused, Err(Error::NotAStub { .. })), "{refused:?}");
    }
}

#[test]
fn what_a_write_strips_is_put_back() {
    let test = "what_a_write_strips_is_put_back";
    // cap_net_raw+ep, `struct vfs_cap_data` revision 2.
    let capability = hex::decode("0100000200200000000000000000000000000000").expect("hex");
    for kind in FsKind::ALL {
        let Some(fs) = LoopFs::new(test, kind) else { continue };
        let sample = Sample::whole(fs.path());
        let file = sample.open();
        crate::os::owner_write::set_mode(&file, 0o6755).expect("chmod");
        xattrs::set(&file, xattrs::CAPABILITY, &capability).expect("set");
        let before = visible(&file);
        sample.free().expect("free");
        assert_eq!(visible(&file), before, "{kind:?}");
        sample.fill().expect("fill");
        assert_eq!(visible(&file), before, "{kind:?}");
        sample.free().expect("free");
        drop(sample.begin_fill().expect("begin"));
        assert_eq!(visible(&file), before, "{kind:?}");
        assert_eq!(xattrs::get(&file, xattrs::TRUSTED_UNDO).expect("get"), None);
    }
}

#[test]
fn an_immutable_file_is_refused_up_front() {
    let test = "an_immutable_file_is_refused_up_front";
    let Some(fs) = LoopFs::new(test, FsKind::Ext4) else { return };
    let sample = Sample::whole(fs.path());
    let file = sample.open();
    for flag in [rustix::fs::IFlags::IMMUTABLE, rustix::fs::IFlags::APPEND] {
        let flags = rustix::fs::ioctl_getflags(&file).expect("flags");
        rustix::fs::ioctl_setflags(&file, flags | flag).expect("chattr");
        let now = Expected::of(&file).expect("stat");
        let again = file.try_clone().expect("dup");
        let refused = arm(again, space(), &now, sample.copy(), STORE_TAG, OfflineBit::Auto);
        rustix::fs::ioctl_setflags(&file, flags).expect("chattr");
        assert!(matches!(refused, Err(Error::Unsuitable { .. })), "{refused:?}");
    }
}

#[test]
fn a_full_disk_is_known_before_anything_is_fetched() {
    let test = "a_full_disk_is_known_before_anything_is_fetched";
    for kind in FsKind::ALL {
        let Some(fs) = LoopFs::new(test, kind) else { continue };
        let big = File::create_new(fs.path().join("big")).expect("create");
        big.set_len(8 << 30).expect("size");
        let ident = crate::os::file_ident(&big).expect("identity");
        let (content, size_bytes) = (copy_of(8 << 30).content(), 8 << 30);
        let marker = Marker {
            content,
            size_bytes,
            ident,
            store_tag: STORE_TAG,
            filling: false,
            offline: false,
        };
        xattrs::set(&big, space().attribute(), &marker.encode()).expect("set");
        let big = File::options().read(true).write(true).open(fs.path().join("big")).expect("open");
        let before = visible(&big);
        let again = big.try_clone().expect("dup");
        let all = 0..size_bytes;
        let refused = begin_fill(again, space(), &marker, std::slice::from_ref(&all));
        let refused = refused.expect_err("no room");
        assert!(refused.is_out_of_space(), "{kind:?}: {refused:?}");
        assert_eq!(inspect(&big, space()).expect("inspect"), Placement::Stub(marker), "{kind:?}");
        assert_eq!(visible(&big), before, "{kind:?}");
    }
}

/// A file the kernel swaps to, until dropped.
struct SwappedTo<'p>(&'p std::path::Path);

impl<'p> SwappedTo<'p> {
    fn new(path: &'p std::path::Path) -> Self {
        for program in ["mkswap", "swapon"] {
            let done = std::process::Command::new(program).arg(path).output().expect(program);
            assert!(done.status.success(), "{done:?}");
        }
        Self(path)
    }
}

impl Drop for SwappedTo<'_> {
    fn drop(&mut self) {
        let done = std::process::Command::new("swapoff").arg(self.0).status();
        assert!(done.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// The kernel refuses to punch what it swaps to; the marker must not stay on a
/// file that never became a stub.
#[test]
fn a_file_that_cannot_be_punched_keeps_no_marker() {
    let test = "a_file_that_cannot_be_punched_keeps_no_marker";
    let Some(fs) = LoopFs::new(test, FsKind::Ext4) else { return };
    let sample = Sample::whole(fs.path());
    std::fs::set_permissions(&sample.path, PermissionsExt::from_mode(0o600)).expect("chmod");
    sample.open().sync_all().expect("sync");
    let swapped_to = SwappedTo::new(&sample.path);
    let refused = sample.free();
    drop(swapped_to);
    let Err(Error::Punch(error)) = &refused else { panic!("{refused:?}") };
    assert_eq!(error.raw_os_error(), Some(libc::ETXTBSY));
    assert_eq!(inspect(&sample.open(), space()).expect("inspect"), Placement::Resident);
}

#[test]
fn root_sees_that_a_file_is_an_ordinary_users_stub() {
    if !root_or_skip("root_sees_that_a_file_is_an_ordinary_users_stub") {
        return;
    }
    let (_dir, sample) = sample();
    let file = sample.open();
    assert!(!is_marked_elsewhere(&file, MarkerSpace::Trusted).expect("get"));
    let expected = Expected::of(&file).expect("stat");
    let armed = arm(
        sample.open(),
        MarkerSpace::User,
        &expected,
        sample.copy(),
        STORE_TAG,
        OfflineBit::Auto,
    );
    armed.expect("arm").punch().expect("punch");
    assert_eq!(inspect(&file, MarkerSpace::Trusted).expect("inspect"), Placement::Resident);
    assert!(is_marked_elsewhere(&file, MarkerSpace::Trusted).expect("get"));
}
