//! Everything about a tree that a user could see, in a form that compares.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: char,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u64,
    pub size: u64,
    pub mtime: (i64, i64),
    pub rdev: u64,
    pub target: Option<PathBuf>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// SHA-256 of the bytes.
    pub digest: Option<Vec<u8>>,
    /// Ranges that hold data, for a file with holes.
    pub data: Option<Vec<(u64, u64)>>,
}

/// A whole tree; directories' own mtimes are part of it.
pub type Snapshot = BTreeMap<PathBuf, Entry>;

pub fn snapshot(root: &Path) -> Snapshot {
    let mut found = Snapshot::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.expect("a readable tree");
        let inside = entry.path().strip_prefix(root).expect("below the root").to_owned();
        found.insert(inside, describe(entry.path()));
    }
    found
}

/// Panics with the first differences.
#[track_caller]
pub fn assert_same(before: &Snapshot, after: &Snapshot) {
    let mut differences = vec![];
    for (path, entry) in before {
        match after.get(path) {
            None => differences.push(format!("{} is missing", path.display())),
            Some(other) if other != entry => {
                differences.push(format!("{}:\n  {entry:?}\n  {other:?}", path.display()));
            }
            Some(_) => {}
        }
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        differences.push(format!("{} is new", path.display()));
    }
    assert!(differences.is_empty(), "{}", differences[..differences.len().min(5)].join("\n"));
}

fn describe(path: &Path) -> Entry {
    let meta = std::fs::symlink_metadata(path).expect("metadata");
    let kind = kind(&meta);
    let file = kind == 'f';
    Entry {
        kind,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        nlink: meta.nlink(),
        size: if file { meta.size() } else { 0 },
        mtime: (meta.mtime(), meta.mtime_nsec()),
        rdev: meta.rdev(),
        target: (kind == 'l').then(|| std::fs::read_link(path).expect("a link")),
        xattrs: if file || kind == 'd' { xattrs(path) } else { BTreeMap::new() },
        digest: file.then(|| digest(path)),
        // Not judged by the blocks: attributes that do not fit the inode are some.
        data: (file.then(|| data_ranges(path, meta.size())))
            .filter(|ranges| *ranges != [(0, meta.size())]),
    }
}

fn kind(meta: &std::fs::Metadata) -> char {
    let kind = meta.file_type();
    match () {
        () if kind.is_file() => 'f',
        () if kind.is_dir() => 'd',
        () if kind.is_symlink() => 'l',
        () if kind.is_fifo() => 'p',
        () if kind.is_socket() => 's',
        () if kind.is_char_device() => 'c',
        () => 'b',
    }
}

/// All attributes but the marker.
fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let Ok(names) = xattr::list(path) else { return BTreeMap::new() };
    names
        .filter(|name| name != "trusted.hsm" && name != "user.hsm")
        .filter_map(|name| {
            let value = xattr::get(path, &name).ok()??;
            Some((name.as_bytes().to_vec(), value))
        })
        .collect()
}

pub fn digest(path: &Path) -> Vec<u8> {
    let mut file = File::open(path).unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
        if n == 0 {
            return context.finish().as_ref().to_vec();
        }
        context.update(&buffer[..n]);
    }
}

fn data_ranges(path: &Path, size: u64) -> Vec<(u64, u64)> {
    use rustix::fs::{SeekFrom, seek};
    let file = File::open(path).expect("a readable file");
    let (mut ranges, mut at) = (vec![], 0);
    while at < size {
        let Ok(start) = seek(&file, SeekFrom::Data(at)) else { break };
        let end = seek(&file, SeekFrom::Hole(start)).expect("every extent ends");
        ranges.push((start, end));
        at = end;
    }
    ranges
}

/// The blocks that a file occupies, in bytes.
pub fn allocated(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).expect("metadata").blocks() * 512
}

/// The file carries a marker.
pub fn is_stub(path: &Path) -> bool {
    ["trusted.hsm", "user.hsm"]
        .iter()
        .any(|name| xattr::get(path, name).is_ok_and(|value| value.is_some()))
}
