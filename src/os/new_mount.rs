//! Mounting without a moment in which the files can be reached unguarded.
//!
//! `mount(2)` makes a file system and shows it in one step; a mark set after it
//! comes too late for whoever was quicker, and a descriptor opened before the
//! mark never raises an event. The newer calls take the steps one by one:
//! `fsopen`, `fsconfig` and `fsmount` make a mount that no path leads to
//! ([`DetachedMount::create`]); the mark is set on [`DetachedMount::dir`]; only
//! then `move_mount` shows it ([`DetachedMount::attach`]). A detached mount that
//! is dropped is unmounted.
//!
//! A device that is mounted elsewhere already gives a second mount of the same
//! file system, as with mount(8), and files of it may be open.
//!
//! Errors carry what the kernel says about them in words: it keeps its lines
//! with the context descriptor, from which they are read. Needs
//! `CAP_SYS_ADMIN`. Device and options are the administrator's, never a user's.

use super::mount_options::{MountOption, Place, place};
use super::private_mount::open_dir;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Longer ones are refused by the kernel with `EMSGSIZE`.
const MESSAGE_BYTES: usize = 4096;

/// Name, place of the magic number in bytes, and the number.
const MAGICS: [(&str, u64, &[u8]); 3] = [
    ("ext4", 1080, &[0x53, 0xef]), // EXT4_SUPER_MAGIC, little-endian; ext2 and ext3 too
    ("xfs", 0, b"XFSB"),
    ("btrfs", 65_600, b"_BHRfS_M"),
];

/// A mounted file system that no path leads to yet.
#[derive(Debug)]
pub struct DetachedMount {
    /// `O_PATH`.
    mount: OwnedFd,
    dir: OwnedFd,
}

#[derive(Debug, thiserror::Error)]
#[error("{doing}{}", said(.messages))]
struct Refused {
    doing: String,
    /// The kernel's own lines, oldest first.
    messages: Vec<String>,
    source: io::Error,
}

impl DetachedMount {
    /// Mounts `source` (a device, `UUID=..`, `LABEL=..`), for nobody to see yet.
    /// Of `options` (see `mount_options::parse`) those of the mount and those of
    /// the file system go where they belong; those that only mount(8) and
    /// systemd know have no effect. `NotFound` if there is no such device.
    pub fn create(source: &Path, fs_type: &str, options: &[MountOption]) -> io::Result<Self> {
        let context = rustix::mount::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|errno| refused(&format!("mount a file system of type {fs_type}"), errno))?;
        let step = |doing: &str, result: rustix::io::Result<()>| {
            result.map_err(|errno| explained(doing, &context, errno))
        };
        let device = resolve(source);
        let doing = format!("mount {}", device.display());
        std::fs::metadata(&device)?;
        step(&doing, rustix::mount::fsconfig_set_string(&context, "source", &*device))?;
        let mut attributes = MountAttrFlags::empty();
        for option in options {
            let (name, value) = option;
            let place = place(name);
            if let Place::Mount { set, clear } | Place::Both { set, clear } = place {
                attributes = (attributes - clear) | set;
            }
            if let Place::FileSystem | Place::Both { .. } = place {
                let result = match value {
                    Some(value) => {
                        rustix::mount::fsconfig_set_string(&context, name.as_str(), value.as_str())
                    }
                    None => rustix::mount::fsconfig_set_flag(&context, name.as_str()),
                };
                step(&format!("{doing} with the option {name}"), result)?;
            }
        }
        step(&doing, rustix::mount::fsconfig_create(&context))?;
        let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .map_err(|errno| explained(&doing, &context, errno))?;
        let dir = open_dir(&mount)?;
        Ok(Self { mount, dir })
    }

    /// Its root, `O_RDONLY`. While this value lives, or a duplicate of the
    /// descriptor, the mount cannot be unmounted: drop it after attaching.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Shows it at the directory `target`, where it stays when this value is
    /// dropped. A symbolic link is not followed.
    pub fn attach(&self, target: &Path) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        Ok(rustix::mount::move_mount(&self.mount, c"", CWD, target, flags)?)
    }
}

/// By its magic number; a file with an image will do for a device. `None` if it
/// is none of the three that can be managed, or looks like several of them.
pub fn fs_type_of_device(source: &Path) -> io::Result<Option<&'static str>> {
    let device = File::open(resolve(source))?;
    let mut found = Vec::new();
    for (name, at, magic) in MAGICS {
        if has_at(&device, at, magic)? {
            found.push(name);
        }
    }
    Ok(if let [only] = found[..] { Some(only) } else { None })
}

/// The device that a `source` names: `UUID=`, `LABEL=`, `PARTUUID=` and
/// `PARTLABEL=` through the links that udev makes, anything else is a path.
pub fn resolve(source: &Path) -> PathBuf {
    let bytes = source.as_os_str().as_bytes();
    let tags = [
        ("UUID=", "by-uuid"),
        ("LABEL=", "by-label"),
        ("PARTUUID=", "by-partuuid"),
        ("PARTLABEL=", "by-partlabel"),
    ];
    let found = tags.iter().find_map(|(tag, dir)| Some((dir, bytes.strip_prefix(tag.as_bytes())?)));
    let Some((dir, value)) = found else { return source.to_owned() };
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let name = std::ffi::OsString::from_vec(escaped(quoted.unwrap_or(value)));
    Path::new("/dev/disk").join(dir).join(name)
}

/// As udev writes names of links: everything but letters, digits, `#+-.:=@_` and
/// what is not ASCII as `\x` and two hexadecimal digits.
fn escaped(name: &[u8]) -> Vec<u8> {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"#+-.:=@_".contains(&byte) || !byte.is_ascii();
    let mut written = Vec::new();
    for byte in name {
        match plain(*byte) {
            true => written.push(*byte),
            false => written.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    written
}

fn has_at(device: &File, at: u64, magic: &[u8]) -> io::Result<bool> {
    let mut found = vec![0; magic.len()];
    match device.read_exact_at(&mut found, at) {
        Ok(()) => Ok(found == magic),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn refused(doing: &str, errno: Errno) -> io::Error {
    with_messages(doing, Vec::new(), errno)
}

fn explained(doing: &str, context: &OwnedFd, errno: Errno) -> io::Error {
    with_messages(doing, messages(context), errno)
}

fn with_messages(doing: &str, messages: Vec<String>, errno: Errno) -> io::Error {
    let source = io::Error::from(errno);
    io::Error::new(source.kind(), Refused { doing: doing.to_owned(), messages, source })
}

/// Each read gives one message, `e ` and the text for an error, `w ` and `i `
/// for less; `ENODATA` when there are no more.
fn messages(context: &OwnedFd) -> Vec<String> {
    let mut lines = Vec::new();
    let mut buffer = [0; MESSAGE_BYTES];
    while let Ok(count @ 1..) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..count]);
        let text = line.trim_end().split_once(' ').map_or(&*line, |(_, text)| text);
        lines.push(text.replace(char::is_control, " "));
    }
    lines
}

fn said(messages: &[String]) -> String {
    if messages.is_empty() { String::new() } else { format!(" ({})", messages.join("; ")) }
}

#[cfg(test)]
#[path = "new_mount_tests.rs"]
mod tests;
