//! What other users of the same file system do while the guard is at work:
//! leases, odd names, crowds.

use super::PATIENT;
use super::lifecycle::with_stubs;
use super::reader::{Got, Reader, content, right};
use crate::guard::Guarded;
use crate::loopfs::FsKind;
use crate::support::Ran;
use crate::support::actor::{Actor, leave, order, report, wait_for_word};
use crate::support::snapshot::is_stub;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const F_SETLEASE: i32 = 1024;

/// The part of another process: holds a lease on a file and does not give it up.
pub fn act() {
    let Some(path) = order("LEASE") else { return };
    // Its breaking is announced by a signal that would end this process.
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    let file = File::options().read(true).write(true).open(path).expect("its own file");
    // SAFETY: no memory is involved.
    let leased = unsafe { libc::fcntl(file.as_raw_fd(), F_SETLEASE, libc::F_WRLCK) };
    report(if leased == 0 { "leased" } else { "refused" });
    wait_for_word();
    leave(Ok(()));
}

/// The kernel breaks a lease when it makes the guard's descriptor of an event:
/// that must stall nobody but who opened that file.
#[test]
fn somebody_elses_lease_stalls_only_its_own_file() {
    let test = "somebody_elses_lease_stalls_only_its_own_file";
    let Some(guarded) = with_stubs(test, FsKind::Ext4, 2) else { return };
    let leased = guarded.write("leased", &content(7));
    let mut holder = Actor::start(&[("LEASE", leased.to_str().expect("a plain path"))]);
    assert_eq!(holder.says(PATIENT), "leased");
    let unlucky = Reader::of(&leased);
    for seed in 0..2 {
        let begun = Instant::now();
        let got = Reader::of(&guarded.path(&seed.to_string())).got(PATIENT);
        assert_eq!(got, right(seed), "{}", guarded.said());
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "the guard was stalled for {took:?}");
    }
    holder.go_on();
    holder.ends(PATIENT).expect("the holder gives it up");
    // It waited for the lease, or was told no; it saw nothing else.
    let got = unlucky.got(PATIENT);
    assert!(got == right(7) || matches!(got, Got::Errno(_)), "{got:?}");
    assert_eq!(Reader::of(&leased).got(PATIENT), right(7));
}

#[test]
fn names_that_are_no_text_are_names() {
    let test = "names_that_are_no_text_are_names";
    let Some(guarded) = Guarded::new(test, FsKind::Xfs) else { return };
    let names: [&[u8]; 4] = [b"not-\xff\xfe-utf8", b"with\nnewline", b" ", b"-n"];
    for (seed, name) in names.iter().enumerate() {
        let path = guarded.root().join(OsStr::from_bytes(name));
        std::fs::write(path, content(seed as u64)).expect("a file");
    }
    guarded.on_names("tier", &[], &[""]).succeeds();
    for (seed, name) in names.iter().enumerate() {
        let path = guarded.root().join(OsStr::from_bytes(name));
        assert!(is_stub(&path), "{}", path.display());
        let mut cat = Command::new("cat");
        let ran = Ran::within(PATIENT, cat.arg("--").arg(&path)).succeeds();
        assert!(ran.output.stdout == content(seed as u64), "{}", path.display());
    }
}

/// More readers than descriptors or workers that the guard could have for them.
#[test]
fn a_crowd_is_served() {
    let test = "a_crowd_is_served";
    let Some(guarded) = with_stubs(test, FsKind::Ext4, 12) else { return };
    let path = |seed: u64| guarded.path(&seed.to_string());
    let mut crowd: Vec<Reader> = (0..12).map(|seed| Reader::many(&path(seed), 100)).collect();
    for (seed, readers) in crowd.iter_mut().enumerate() {
        for _ in 0..100 {
            assert_eq!(readers.next(PATIENT), right(seed as u64), "{}", guarded.said());
        }
    }
}

/// Nearly as deep as a path can name it.
#[test]
fn a_stub_deep_below_is_recalled() {
    let Some(guarded) = Guarded::new("a_stub_deep_below_is_recalled", FsKind::Btrfs) else {
        return;
    };
    let name = vec!["d".repeat(200); 15].join("/") + "/file";
    guarded.write(&name, &content(1));
    guarded.stub(&[&name]);
    assert!(Path::new(&name).as_os_str().len() > 3000);
    assert_eq!(Reader::of(&guarded.path(&name)).got(PATIENT), right(1), "{}", guarded.said());
}
