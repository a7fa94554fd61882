//! Trees to work on: made-up bytes that can be told apart, and the traps that a
//! tiering tool falls into.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

/// Bytes that no compressor shrinks, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Text that compresses well.
pub fn prose(seed: u64, len: usize) -> Vec<u8> {
    let words = ["cold ", "file ", "stub ", "store ", "recall ", "verify ", "chunk ", "pack\n"];
    let mut bytes = Vec::with_capacity(len + 8);
    for byte in noise(seed, len / 4 + 8) {
        bytes.extend_from_slice(words[usize::from(byte % 8)].as_bytes());
        if bytes.len() >= len {
            break;
        }
    }
    bytes.resize(len, b'.');
    bytes
}

/// A small ordinary tree: nested, mixed sizes, duplicates, text and noise.
pub fn ordinary(root: &Path) {
    for dir in 0..4u64 {
        let dir_path = root.join(format!("dir{dir}/sub"));
        fs::create_dir_all(&dir_path).expect("a directory");
        for file in 0..6u64 {
            let seed = dir * 100 + file;
            let len = 1usize << (file * 3 + 4);
            let bytes = if file % 2 == 0 { noise(seed, len) } else { prose(seed, len) };
            fs::write(dir_path.join(format!("file{file}.dat")), &bytes).expect("a file");
            fs::write(root.join(format!("dir{dir}/copy{file}.dat")), &bytes).expect("a file");
        }
    }
    fs::write(root.join("large.bin"), noise(4711, 9 << 20)).expect("a file of several chunks");
}

/// Everything odd that an ordinary user can make.
pub fn traps(root: &Path) {
    fs::create_dir_all(root.join("traps/deep/er")).expect("a directory");
    let at = |name: &str| root.join("traps").join(name);
    fs::write(at("empty"), b"").expect("an empty file");
    fs::write(at("one-byte"), b"x").expect("a file");
    fs::write(root.join("traps").join(OsStr::from_bytes(b"not-\xff\xfe-utf8")), noise(1, 5000))
        .expect("a name that is not UTF-8");
    fs::write(at("with\nnewline"), noise(2, 5000)).expect("a name with a newline");
    fs::write(at("with \"quotes\" and 'more' $HOME *"), noise(3, 5000)).expect("a name");
    fs::write(at(&"n".repeat(255)), noise(4, 5000)).expect("a name of 255 bytes");
    sparse(&at("sparse"));
    all_hole(&at("all-hole"));
    symlink("one-byte", at("link")).expect("a link");
    symlink("/nowhere/at all", at("dangling")).expect("a dangling link");
    symlink("..", at("up")).expect("a link to a directory");
    fs::write(at("names-a"), noise(5, 70_000)).expect("a file");
    fs::hard_link(at("names-a"), at("deep/names-b")).expect("a hard link");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    )
    .expect("a FIFO");
    UnixListener::bind(at("socket")).map(drop).expect("a socket");
    fs::write(at("read-only"), noise(6, 70_000)).expect("a file");
    fs::set_permissions(at("read-only"), fs::Permissions::from_mode(0o444)).expect("its mode");
    fs::write(at("program"), noise(7, 70_000)).expect("a file");
    fs::set_permissions(at("program"), fs::Permissions::from_mode(0o4755)).expect("its mode");
    fs::write(at("attributed"), noise(8, 70_000)).expect("a file");
    let _ = xattr::set(at("attributed"), "user.comment", b"kept\0as it is");
    old(&at("deep/er/old"));
}

/// The traps that only root can set.
pub fn root_traps(root: &Path) {
    fs::create_dir_all(root.join("roots")).expect("a directory");
    let at = |name: &str| root.join("roots").join(name);
    for (name, kind, device) in [
        ("char", rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("block", rustix::fs::FileType::BlockDevice, rustix::fs::makedev(7, 200)),
    ] {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at(name), kind, mode, device).expect("a device");
    }
    fs::write(at("owned"), noise(20, 70_000)).expect("a file");
    std::os::unix::fs::chown(at("owned"), Some(1234), Some(2345)).expect("its owner");
    fs::write(at("setuid"), noise(21, 70_000)).expect("a file");
    std::os::unix::fs::chown(at("setuid"), Some(1234), Some(2345)).expect("its owner");
    fs::set_permissions(at("setuid"), fs::Permissions::from_mode(0o6755)).expect("its mode");
    fs::write(at("capable"), noise(22, 70_000)).expect("a file");
    // cap_net_raw=ep, as `setcap` writes it (version 2, little endian).
    let capability = [1u8, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(at("capable"), "security.capability", &capability).expect("a capability");
    fs::write(at("listed"), noise(23, 70_000)).expect("a file");
    let acl = Command::new("setfacl").args(["-m", "u:1234:rw"]).arg(at("listed")).status();
    if !acl.is_ok_and(|status| status.success()) {
        super::skip("the file with an ACL", "needs setfacl (package acl)");
    }
}

fn sparse(path: &Path) {
    let file = File::create(path).expect("a file");
    file.set_len(8 << 20).expect("its size");
    file.write_all_at(&noise(9, 100_000), 1 << 20).expect("data in the middle");
    file.write_all_at(&noise(10, 8192), (6 << 20) + 4096).expect("more data");
}

fn all_hole(path: &Path) {
    File::create(path).expect("a file").set_len(3 << 20).expect("its size");
}

fn old(path: &Path) {
    fs::write(path, noise(11, 70_000)).expect("a file");
    let file = File::options().write(true).open(path).expect("the file");
    let then = std::time::UNIX_EPOCH + std::time::Duration::new(981_173_106, 123_456_789);
    file.set_modified(then).expect("its mtime");
}
