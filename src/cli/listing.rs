//! One entry of a tree as `ls`, `find` and `du` show it: its state in one word,
//! its bytes here and in the store, its record for `--json`.

use super::output::Name;
use crate::os::FileKind;
use crate::policy::FileState;
use crate::state::EntryRow;
use serde::Serialize;
use std::path::Path;

/// `file`, `dir`, `symlink`, ... of an entry.
pub fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Dir => "dir",
        FileKind::Symlink => "symlink",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::CharDevice => "char-device",
        FileKind::BlockDevice => "block-device",
    }
}

/// The state of a regular file; a file that is not managed is resident. Nothing
/// else has a state.
pub fn state(entry: &EntryRow) -> Option<FileState> {
    let unmanaged = (entry.kind == FileKind::File).then_some(FileState::Resident);
    entry.file.as_ref().map(|file| file.state).or(unmanaged)
}

/// The entry's state in one word, `-` where there is none.
pub fn state_word(entry: &EntryRow) -> &'static str {
    state(entry).map_or("-", FileState::as_str)
}

/// Bytes that a recall would bring back.
pub fn remote_bytes(entry: &EntryRow) -> u64 {
    match state(entry) {
        Some(FileState::Stub | FileState::Recalling) => entry.size_bytes,
        _ => 0,
    }
}

/// Bytes on this file system. The last scan may have seen the file before it
/// became a stub, or before a recall brought it back.
pub fn local_bytes(entry: &EntryRow) -> u64 {
    let recalled = entry.file.as_ref().is_some_and(|file| file.recalled_ns.is_some());
    match state(entry) {
        Some(FileState::Stub) => 0,
        Some(FileState::Uploaded) if entry.allocated_bytes == 0 && recalled => entry.size_bytes,
        _ => entry.allocated_bytes,
    }
}

/// An entry as a JSON record.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    r#type: &'static str,
    path: Name<'a>,
    kind: &'static str,
    state: Option<&'static str>,
    size_bytes: u64,
    allocated_bytes: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    mtime_ns: i64,
    atime_ns: i64,
    ctime_ns: i64,
    first_seen_ns: i64,
    content: Option<String>,
    uploaded_ns: Option<i64>,
    stubbed_ns: Option<i64>,
    recalled_ns: Option<i64>,
    rule: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// `path` is the entry's whole path.
    pub fn new(path: &'a Path, entry: &'a EntryRow) -> Self {
        let file = entry.file.as_ref();
        Self {
            r#type: "entry",
            path: Name::of(path),
            kind: kind_word(entry.kind),
            state: state(entry).map(FileState::as_str),
            size_bytes: entry.size_bytes,
            allocated_bytes: local_bytes(entry),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            nlink: entry.nlink,
            mtime_ns: entry.mtime_ns,
            atime_ns: entry.atime_ns,
            ctime_ns: entry.ctime_ns,
            first_seen_ns: entry.first_seen_ns,
            content: file.and_then(|file| file.content).map(|id| id.to_string()),
            uploaded_ns: file.and_then(|file| file.uploaded_ns),
            stubbed_ns: file.and_then(|file| file.stubbed_ns),
            recalled_ns: file.and_then(|file| file.recalled_ns),
            rule: file.and_then(|file| file.rule.as_deref()),
            reason: file.and_then(|file| file.reason.as_deref()),
        }
    }
}
