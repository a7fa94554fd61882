//! What is told and done without opening a file agrees with what an open file
//! tells, on every file system.

use super::testing::{STORE_TAG, Sample, on_each};
use super::*;
use crate::ids::StoreId;
use crate::os::handle::file_ident;
use crate::os::stat::statx_fd;
use crate::os::tree::RootDir;
use crate::os::{RelPath, xattrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

fn space() -> MarkerSpace {
    MarkerSpace::for_this_process()
}

/// By name only.
fn named(dir: &Path, name: &str) -> OwnedFd {
    let root = RootDir::open(dir).expect("the directory");
    root.open_path(&RelPath::new(name).expect("a name")).expect("it is there")
}

fn seen(dir: &Path, name: &str) -> Glance {
    glance(named(dir, name), space()).expect("glance")
}

#[test]
fn a_glance_says_no_more_than_is_sure() {
    on_each("a_glance_says_no_more_than_is_sure", |dir, kind| {
        let sample = Sample::whole(dir);
        assert_eq!(seen(dir, "sample"), Glance::Sure(Placement::Resident), "{kind:?}");
        let armed = sample.arm().expect("arm");
        assert!(matches!(seen(dir, "sample"), Glance::Unclear(_)), "{kind:?}: marked but whole");
        drop(armed.punch().expect("punch"));
        let file = sample.open();
        let sure = inspect(&file, space()).expect("inspect");
        assert_eq!(seen(dir, "sample"), Glance::Sure(sure.clone()), "{kind:?}");
        // Attributes may cost a block, and so may data.
        xattrs::set(&file, "user.long", &[7; 2000]).expect("set");
        let found = seen(dir, "sample");
        let likely = matches!(found, Glance::Likely(_) | Glance::Sure(Placement::Stub(_)));
        assert!(likely, "{kind:?}: {found:?}");
        file.write_all_at(&[1; 200_000], 0).expect("write");
        file.sync_all().expect("sync");
        assert!(matches!(seen(dir, "sample"), Glance::Unclear(_)), "{kind:?}");
        file.set_len(5).expect("truncate");
        assert!(matches!(seen(dir, "sample"), Glance::Unclear(_)), "{kind:?}");
        xattrs::set(&file, space().attribute(), b"no marker").expect("set");
        assert!(matches!(seen(dir, "sample"), Glance::Sure(Placement::Corrupt { .. })), "{kind:?}");
        std::fs::remove_file(&sample.path).expect("remove");
    });
}

#[test]
fn a_copied_marker_is_bound_to_its_inode_open_or_not() {
    on_each("a_copied_marker_is_bound", |dir, kind| {
        let sample = Sample::whole(dir);
        sample.free().expect("free");
        let marker = xattrs::get(&sample.open(), space().attribute()).expect("get").expect("one");
        let mut store = StoreId([9; 16]);
        store.0[..4].copy_from_slice(&STORE_TAG);
        for opened in [true, false] {
            let path = dir.join("copy");
            let copy = File::create_new(&path).expect("create");
            copy.set_len(sample.size_bytes).expect("size");
            xattrs::set(&copy, space().attribute(), &marker).expect("set");
            if opened {
                // A second attribute may cost a block, which then cannot be told.
                xattrs::set(&copy, space().undo_attribute(), b"the original's").expect("set");
            }
            let rebind = |store| match opened {
                true => rebind(&copy, space(), store),
                false => rebind_unopened(named(dir, "copy"), space(), store),
            };
            assert!(rebind(StoreId([1; 16])).is_err(), "{kind:?}: another store's");
            let bound = rebind(store).expect("bound");
            assert_eq!(bound.ident, file_ident(&copy).expect("an identity"));
            let found = inspect(&copy, space()).expect("inspect");
            assert_eq!(found, Placement::Stub(bound.clone()), "{kind:?} {opened}");
            let undo = xattrs::get(&copy, space().undo_attribute()).expect("get");
            assert_eq!(undo, None, "what was to be undone was the original's");
            assert_eq!(statx_fd(&copy).expect("stat").size_bytes, sample.size_bytes);
            assert!(rebind(store).is_err(), "{kind:?}: it is its own now");

            xattrs::set(&copy, space().attribute(), &marker).expect("set");
            copy.write_all_at(b"data", 4096).expect("write");
            copy.sync_all().expect("sync");
            assert!(rebind(store).is_err(), "{kind:?}: it holds data");
            copy.set_len(77).expect("truncate");
            assert!(rebind(store).is_err(), "{kind:?}: another size");
            std::fs::remove_file(&path).expect("remove");
        }
        std::fs::remove_file(&sample.path).expect("remove");
    });
}
