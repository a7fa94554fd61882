//! No room for the bytes: the reader learns why, the stub stays, and once there
//! is room it is recalled.

use super::reader::{Got, Reader};
use super::{Intact, PATIENT, intact};
use crate::guard::{GUARDED_KINDS, Guarded};
use crate::loopfs::{FsKind, LoopFs};
use crate::support::Ran;
use crate::support::Sandbox;
use crate::support::running::PATIENCE;
use crate::support::trees::noise;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const BIG: usize = 24 << 20;

/// Writes until nothing more fits.
fn fill_up(path: &Path) {
    let mut file = File::create(path).expect("a file");
    let mut piece = noise(4711, 1 << 20);
    while !piece.is_empty() {
        match file.write_all(&piece).and_then(|()| file.sync_data()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                piece.truncate(piece.len() / 4);
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

#[test]
fn a_full_file_system_is_enospc_until_there_is_room() {
    for kind in GUARDED_KINDS {
        let test = "a_full_file_system_is_enospc_until_there_is_room";
        let Some(guarded) = Guarded::new(test, kind) else { return };
        let bytes = noise(1, BIG);
        guarded.write("big", &bytes);
        guarded.stub(&["big"]);
        let filler = guarded.beside("filler").join("file");
        fill_up(&filler);
        let before = Intact::of(&guarded, "big");
        let got = Reader::of(&guarded.path("big")).got(PATIENT);
        assert_eq!(got, Got::Errno(libc::ENOSPC), "{kind:?}: {}", guarded.said());
        intact(&guarded, "big", &before);
        std::fs::remove_file(&filler).expect("room again");
        let got = Reader::of(&guarded.path("big")).got(PATIENT);
        assert_eq!(got, Got::all_of(&bytes), "{kind:?}: {}", guarded.said());
    }
}

fn btrfs(args: &[&str], path: &Path) {
    let mut command = Command::new("btrfs");
    Ran::within(PATIENCE, command.arg("-q").args(args).arg(path)).succeeds();
}

#[test]
fn an_exceeded_quota_is_edquot_until_it_is_raised() {
    let test = "an_exceeded_quota_is_edquot_until_it_is_raised";
    let Some(fs) = LoopFs::new(test, FsKind::Btrfs) else { return };
    btrfs(&["quota", "enable"], fs.path());
    btrfs(&["subvolume", "create"], &fs.path().join("data"));
    let sandbox = Sandbox::empty();
    let url = sandbox.store_url();
    let mut guarded = Guarded::on(fs, sandbox, &["--store", &url]);
    guarded.start();
    let bytes = noise(2, BIG);
    guarded.write("big", &bytes);
    guarded.stub(&["big"]);
    rustix::fs::syncfs(File::open(guarded.root()).expect("the root")).expect("syncfs");
    btrfs(&["qgroup", "limit", "8M"], &guarded.root());
    let before = Intact::of(&guarded, "big");
    let got = Reader::of(&guarded.path("big")).got(PATIENT);
    assert_eq!(got, Got::Errno(libc::EDQUOT), "{}", guarded.said());
    intact(&guarded, "big", &before);
    btrfs(&["qgroup", "limit", "none"], &guarded.root());
    let got = Reader::of(&guarded.path("big")).got(PATIENT);
    assert_eq!(got, Got::all_of(&bytes), "{}", guarded.said());
}
