//! Children that hold files in every way there is.

use super::*;
use crate::os::child::{ChildProcess, in_child};
use crate::os::loopfs::root_or_skip;
use crate::os::wait::readable;
use rustix::process::Signal;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;

const ATTRIBUTE: &str = "user.hsm-open-stubs-test";

fn marked(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let file = File::create(&path).expect("create");
    file.set_len(4096).expect("size");
    crate::os::xattrs::set(&file, ATTRIBUTE, b"x").expect("set");
    path
}

/// Until the test kills it. `hold` calls back when it holds everything.
fn holder(hold: impl FnOnce(&mut dyn FnMut())) -> ChildProcess {
    let (said, say) = std::io::pipe().expect("a pipe");
    let child = in_child(&[say.as_fd()], || {
        hold(&mut || {
            (&say).write_all(b"x").expect("the parent listens");
            loop {
                std::thread::park();
            }
        });
        1
    });
    assert_eq!(readable(&[said.as_fd()], None).expect("poll"), [true]);
    child
}

fn held_by(child: &ChildProcess, dir: &Path) -> Vec<OpenStub> {
    let device = std::fs::metadata(dir).expect("stat").dev();
    let stubs = open_stubs(&|dev| dev == device, ATTRIBUTE).expect("scan");
    assert!(!stubs.hidden.contains(&child.pid()));
    assert!(stubs.found.iter().all(|stub| stub.pid != std::process::id() as i32));
    stubs.found.into_iter().filter(|stub| stub.pid == child.pid()).collect()
}

fn map(file: &File) {
    let kind = libc::MAP_PRIVATE;
    // SAFETY: a new mapping at an address of the kernel's choice, never used.
    let base = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_READ, kind, file.as_raw_fd(), 0)
    };
    assert_ne!(base, libc::MAP_FAILED);
}

#[test]
fn descriptors_and_mappings_are_found() {
    if !root_or_skip("descriptors_and_mappings_are_found") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (open, mapped) = (marked(dir.path(), "open"), marked(dir.path(), "mapped"));
    let (named, plain) = (marked(dir.path(), "named"), dir.path().join("plain"));
    std::fs::write(&plain, b"x").expect("write");
    let child = holder(|hold| {
        let _plain = File::open(&plain).expect("open");
        let path_only = OFlags::PATH | OFlags::CLOEXEC;
        let _named = rustix::fs::open(&named, path_only, rustix::fs::Mode::empty()).expect("open");
        for _ in 0..2 {
            map(&File::open(&mapped).expect("open"));
        }
        let _open = File::open(&open).expect("open");
        hold();
    });
    let _ours = File::open(&open).expect("open");
    let found = held_by(&child, dir.path());
    let exe = std::env::current_exe().ok();
    assert!(found.iter().all(|stub| stub.exe == exe), "{found:?}");
    let held: Vec<_> = found.iter().map(|stub| (stub.path.as_path(), stub.how)).collect();
    let [(first, Held::Descriptor(fd)), second] = held[..] else { panic!("{held:?}") };
    assert!(fd > 2 && first == open, "{held:?}");
    assert_eq!(second, (mapped.as_path(), Held::Mapping));

    let elsewhere = open_stubs(&|_| false, ATTRIBUTE).expect("scan");
    assert_eq!(elsewhere.found, []);
    child.kill(Signal::KILL).expect("kill");
    child.wait().expect("wait");
    assert_eq!(held_by(&child, dir.path()), []);
}

#[test]
fn a_thread_with_descriptors_of_its_own_is_looked_into() {
    if !root_or_skip("a_thread_with_descriptors_of_its_own_is_looked_into") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = marked(dir.path(), "open");
    let child = holder(|hold| {
        let (held, wait) = std::sync::mpsc::channel();
        let _thread = std::thread::spawn(move || {
            // SAFETY: the thread uses no descriptor of the others afterwards.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            let _open = File::open(&open).expect("open");
            held.send(()).expect("it waits");
            loop {
                std::thread::park();
            }
        });
        wait.recv().expect("the thread holds it");
        hold();
    });
    assert_eq!(held_by(&child, dir.path()).len(), 1);
    child.kill(Signal::KILL).expect("kill");
    child.wait().expect("wait");
}

#[test]
fn a_deleted_file_is_still_held() {
    if !root_or_skip("a_deleted_file_is_still_held") {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let open = marked(dir.path(), "open");
    let child = holder(|hold| {
        let _open = File::open(&open).expect("open");
        std::fs::remove_file(&open).expect("remove");
        hold();
    });
    let found = held_by(&child, dir.path());
    assert_eq!(found.len(), 1);
    assert!(found[0].path.to_string_lossy().ends_with(" (deleted)"), "{found:?}");
    child.kill(Signal::KILL).expect("kill");
    child.wait().expect("wait");
}
