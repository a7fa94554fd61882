//! Markers that a copying program brought to another file: nobody reads zeros,
//! nothing is overwritten, and `hsm adopt` says whose bytes they are.

use super::PATIENT;
use super::lifecycle::with_stubs;
use super::reader::{Got, Reader, content, right};
use crate::guard::{GUARDED_KINDS, Guarded};
use crate::loopfs::FsKind;
use crate::support::Ran;
use crate::support::running::PATIENCE;
use crate::support::snapshot::allocated;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// A stub and a copy of it with all attributes, made while nobody watched.
fn with_copied_stub(test: &str, kind: FsKind) -> Option<Guarded> {
    let mut guarded = with_stubs(test, kind, 1)?;
    guarded.stop_by_force();
    let mut cp = Command::new("cp");
    cp.args(["-a", "--sparse=always"]).arg(guarded.path("0")).arg(guarded.path("copy"));
    Ran::within(PATIENCE, &mut cp).succeeds();
    assert!(guarded.is_stub("copy") && allocated(&guarded.path("copy")) <= 4096);
    guarded.start();
    Some(guarded)
}

#[test]
fn a_copied_stub_is_eio_until_it_is_adopted() {
    for kind in GUARDED_KINDS {
        let Some(guarded) = with_copied_stub("a_copied_stub_is_eio_until_adopted", kind) else {
            return;
        };
        let got = Reader::of(&guarded.path("copy")).got(PATIENT);
        assert_eq!(got, Got::Errno(libc::EIO), "{kind:?}: {}", guarded.said());
        assert!(guarded.is_stub("copy"), "{kind:?}: its marker is the only trace of its bytes");
        guarded.on_names("adopt", &[], &["copy"]).succeeds();
        assert_eq!(Reader::of(&guarded.path("copy")).got(PATIENT), right(0), "{}", guarded.said());
        assert_eq!(Reader::of(&guarded.path("0")).got(PATIENT), right(0), "{}", guarded.said());
    }
}

/// A user who writes to it must not make zeros of the rest.
#[test]
fn a_copied_stub_cannot_be_written_to_either() {
    let test = "a_copied_stub_cannot_be_written_to_either";
    let Some(guarded) = with_copied_stub(test, FsKind::Ext4) else { return };
    for script in ["echo x >>$F", "truncate -s 10 $F", "printf x | dd of=$F conv=notrunc"] {
        let mut shell = Command::new("sh");
        let ran = Ran::within(PATIENCE, shell.args(["-c", script]).env("F", guarded.path("copy")));
        assert_ne!(ran.code(), 0, "{script}");
        assert_eq!(allocated(&guarded.path("copy")) / 8192, 0, "{script} left bytes");
    }
    guarded.on_names("adopt", &[], &["copy"]).succeeds();
    assert_eq!(Reader::of(&guarded.path("copy")).got(PATIENT), right(0), "{}", guarded.said());
}

/// `rsync -X` and `tar --xattrs` bring the marker along with the bytes.
#[test]
fn a_whole_file_with_a_foreign_marker_is_resident() {
    for kind in GUARDED_KINDS {
        let test = "a_whole_file_with_a_foreign_marker_is_resident";
        let Some(mut guarded) = with_stubs(test, kind, 1) else { return };
        let marker = xattr::get(guarded.path("0"), "trusted.hsm").expect("a marker").expect("one");
        // So that it does not know the file from before it was marked.
        guarded.stop_by_force();
        let path = guarded.write("whole", &content(9));
        rustix::fs::syncfs(File::open(guarded.root()).expect("the root")).expect("syncfs");
        xattr::set(&path, "trusted.hsm", &marker).expect("a foreign marker");
        guarded.start();
        let got = Reader::of(&path).got(PATIENT);
        assert_eq!(got, right(9), "{kind:?}: {}", guarded.said());
        assert!(!guarded.is_stub("whole"), "{kind:?}: it keeps a marker that is not its own");
    }
}

/// The same for what is no marker at all.
#[test]
fn a_whole_file_with_rubbish_for_a_marker_is_resident() {
    let test = "a_whole_file_with_rubbish_for_a_marker_is_resident";
    let Some(mut guarded) = Guarded::idle(test, FsKind::Ext4) else { return };
    let rubbish = [&b""[..], b"x", b"hS\x01\x00", &[0xff; 64]];
    for (seed, rubbish) in rubbish.into_iter().enumerate() {
        let path = guarded.write(&format!("whole{seed}"), &content(seed as u64));
        rustix::fs::syncfs(File::open(guarded.root()).expect("the root")).expect("syncfs");
        xattr::set(&path, "trusted.hsm", rubbish).expect("an attribute");
    }
    guarded.start();
    for (seed, rubbish) in rubbish.into_iter().enumerate() {
        let got = Reader::of(&guarded.path(&format!("whole{seed}"))).got(PATIENT);
        assert_eq!(got, right(seed as u64), "{rubbish:?}: {}", guarded.said());
    }
}

#[test]
fn a_partly_filled_file_with_a_foreign_marker_is_eio_and_keeps_its_bytes() {
    let test = "a_partly_filled_file_with_a_foreign_marker_is_eio_and_keeps_its_bytes";
    let Some(mut guarded) = with_stubs(test, FsKind::Xfs, 1) else { return };
    guarded.stop_by_force();
    let marker = xattr::get(guarded.path("0"), "trusted.hsm").expect("a marker").expect("one");
    let path = guarded.path("mixed");
    let file = File::create(&path).expect("a file");
    file.set_len(1 << 20).expect("its size");
    file.write_all_at(&[b'u'; 65_536], 262_144).expect("bytes of a user");
    file.sync_all().expect("on the disk");
    xattr::set(&path, "trusted.hsm", &marker).expect("a foreign marker");
    drop(file);
    guarded.start();
    assert_eq!(Reader::of(&path).got(PATIENT), Got::Errno(libc::EIO), "{}", guarded.said());
    assert!(allocated(&path) >= 65_536, "the user's bytes are gone");
}

/// A stream of a snapshot holds the holes and the markers.
#[test]
fn what_btrfs_receives_never_reads_as_zeros() {
    let test = "what_btrfs_receives_never_reads_as_zeros";
    let Some(guarded) = with_stubs(test, FsKind::Btrfs, 3) else { return };
    let (snapshot, stream) = (guarded.beside("sent").join("snapshot"), guarded.away("").join("s"));
    let btrfs = |args: &[&str], paths: &[&Path]| {
        let mut command = Command::new("btrfs");
        Ran::within(PATIENCE, command.arg("-q").args(args).args(paths))
    };
    btrfs(&["subvolume", "snapshot", "-r"], &[guarded.fs.path(), &snapshot]).succeeds();
    btrfs(&["send", "-f"], &[&stream, &snapshot]).succeeds();
    let into = guarded.beside("received");
    let received = btrfs(&["receive", "-f"], &[&stream, &into]);
    let mut seen = 0;
    for seed in 0..3 {
        let path = into.join("snapshot/data").join(seed.to_string());
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        if meta.len() == 0 {
            continue;
        }
        seen += 1;
        match Reader::of(&path).got(PATIENT) {
            Got::Errno(libc::EIO) => {}
            got => assert_eq!(got, right(seed), "{}\n{}", received.stderr(), guarded.said()),
        }
    }
    // Where the receiver itself was refused, it said so.
    assert!(seen == 3 || received.code() != 0, "{seen} files: {}", received.stderr());
}
