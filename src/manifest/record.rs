//! The records of a catalog: one JSON object per line, told apart by `"t"`.
//!
//! Readers ignore fields they do not know (a later version may add optional
//! ones) but refuse a record type they do not know: skipping it could restore
//! a tree that never was. A new type therefore means a new format version.
//!
//! In the sequence of a log a later record about a path replaces an earlier
//! one; `gone` removes the record of exactly its path.

use super::content::{self, Content, Piece};
use super::copy::ProofMethod;
use super::name::{self, Name};
use crate::chunk::ChunkSlot;
use crate::ids::{ContentId, NodeId, PackId};
use serde::{Deserialize, Serialize};

/// One line of a catalog object after its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub enum Record {
    /// A writer begins; until its `close` its packs may be unreferenced.
    Open {
        session: String,
        /// The writer's host name, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    Close {
        session: String,
    },
    /// A pack that is durable in the store.
    Pack(Box<PackRecord>),
    /// A file, or a directory, symlink, FIFO, socket or device.
    File(Box<FileRecord>),
    /// The path no longer exists.
    Gone {
        root: Name,
        path: Name,
        content: Option<ContentId>,
        when_ns: i64,
    },
    /// What a superseded record of this log, the one in segment `from_seq` about
    /// this path, had as its content is needed no more. Final.
    Expired {
        root: Name,
        path: Name,
        from_seq: u64,
    },
    /// A name for this log up to and with the segment `seq`.
    Snapshot {
        name: String,
        seq: u64,
        at_ns: i64,
    },
    /// The snapshot may not be deleted before `until_ns`.
    Sealed {
        name: String,
        until_ns: i64,
    },
    Unsnapshot {
        name: String,
    },
    /// Another node ended this log: its owner is lost and writes no more.
    /// `forget`: what it referred to is needed no more either.
    Fence {
        by: NodeId,
        forget: bool,
    },
    /// In a checkpoint only: the records that follow are of this segment.
    At {
        seq: u64,
        written_ns: i64,
    },
}

/// A pack and everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackRecord {
    pub id: PackId,
    /// `small` (many files) or `large` (a run of one file).
    pub kind: String,
    /// Storage class; `None` is the store's default.
    pub class: Option<String>,
    /// Length of the object.
    pub bytes: u64,
    /// How its writer had it proven; other nodes rely on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<PackProof>,
    pub chunks: Vec<ChunkSlot>,
}

/// A proof as a record states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackProof {
    pub method: ProofMethod,
    pub at_ns: i64,
}

/// Everything a restore needs to know of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The root's absolute path.
    pub root: Name,
    /// Beneath the root, `/`-separated; empty for the root itself.
    pub path: Name,
    /// `os::stat::FileKind::code`: f d l p s c b.
    #[serde(rename = "type")]
    pub kind: char,
    /// Permission bits, 07777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub ino: u64,
    #[serde(rename = "gen")]
    pub generation: u32,
    pub nlink: u32,
    #[serde(rename = "size")]
    pub size_bytes: u64,
    /// Name and raw value, ACLs and capabilities included, hsm's marker never.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "name::xattrs")]
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a symlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Name>,
    /// Names of one root with the same link group and content are hard links
    /// to one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<u64>,
    /// Of a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rdev: Option<u64>,
    /// Of a regular file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "content::pieces")]
    pub pieces: Vec<Piece>,
    /// How it was cut (`chunk::Chunking`); restoring does not need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunking: Option<String>,
}

impl FileRecord {
    pub fn path_bytes(&self) -> &[u8] {
        self.path.as_bytes()
    }

    /// The content list of a regular file.
    pub fn content_list(&self) -> Option<Content> {
        self.content?;
        Some(Content { size_bytes: self.size_bytes, pieces: self.pieces.clone() })
    }

    /// What is wrong with it, if anything.
    fn fault(&self) -> Option<String> {
        if let Some(why) = place_fault(&self.root, &self.path) {
            return Some(why.to_owned());
        }
        if !"fdlpscb".contains(self.kind) {
            return Some(format!("there is no file type {:?}", self.kind));
        }
        if self.mode > 0o7777 {
            return Some(format!("mode {:o} has more than permission bits", self.mode));
        }
        if self.target.is_some() != (self.kind == 'l') {
            return Some("a symlink has a target, and nothing else has".to_owned());
        }
        if self.target.as_ref().is_some_and(|target| target.as_bytes().contains(&0)) {
            return Some("the symlink's target has a NUL byte".to_owned());
        }
        self.content_fault()
    }

    fn content_fault(&self) -> Option<String> {
        if self.content.is_some() != (self.kind == 'f') {
            return Some("a regular file has a content, and nothing else has".to_owned());
        }
        let Some(id) = self.content else {
            return (!self.pieces.is_empty()).then(|| "only a file has pieces".to_owned());
        };
        let list = self.content_list()?;
        match list.fault() {
            Some(why) => Some(format!("content {id}: {why}")),
            None if list.id() != id => Some(format!("content {id}: its pieces have another id")),
            None => None,
        }
    }
}

impl PackRecord {
    fn fault(&self) -> Option<String> {
        let wrong = self.chunks.iter().find(|slot| {
            let end = slot.offset.checked_add(slot.stored_len.into());
            end.is_none_or(|end| end > self.bytes) || !slot.is_possible()
        })?;
        Some(format!("pack {}: chunk {} does not fit into it", self.id, wrong.id))
    }
}

impl Record {
    /// About the memory that it takes.
    pub(super) fn held_bytes(&self) -> usize {
        let of_names = |a: &Name, b: &Name| a.as_bytes().len() + b.as_bytes().len();
        let more = match self {
            Self::Pack(pack) => {
                size_of::<PackRecord>() + pack.chunks.capacity() * size_of::<ChunkSlot>()
            }
            Self::File(file) => {
                let pair = size_of::<(Vec<u8>, Vec<u8>)>() + 2 * 16;
                let values = file.xattrs.iter().map(|(name, value)| name.len() + value.len());
                size_of::<FileRecord>()
                    + of_names(&file.root, &file.path)
                    + file.pieces.capacity() * size_of::<Piece>()
                    + file.xattrs.capacity() * pair
                    + values.sum::<usize>()
            }
            Self::Gone { root, path, .. } | Self::Expired { root, path, .. } => {
                of_names(root, path)
            }
            _ => 0,
        };
        size_of::<Self>() + more
    }

    /// What is wrong with it, if anything: asked before a record is written
    /// and after it is read.
    pub(super) fn fault(&self) -> Option<String> {
        match self {
            Self::Open { .. } | Self::Close { .. } | Self::Fence { .. } | Self::At { .. } => None,
            Self::Snapshot { name, .. } | Self::Sealed { name, .. } | Self::Unsnapshot { name } => {
                snapshot_fault(name).map(str::to_owned)
            }
            Self::Pack(pack) => pack.fault(),
            Self::File(file) => {
                file.fault().map(|why| format!("{:?} in {:?}: {why}", file.path, file.root))
            }
            Self::Gone { root, path, .. } | Self::Expired { root, path, .. } => {
                place_fault(root, path).map(str::to_owned)
            }
        }
    }
}

/// Why a snapshot cannot have this name, if it cannot: it is typed by people
/// and stands in lists.
pub fn snapshot_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > 200 {
        return Some("a snapshot's name has 1 to 200 bytes");
    }
    let bad = name.starts_with('-') || name.chars().any(|c| c.is_control() || c == '/');
    bad.then_some("a snapshot's name has no slash, no control character and no leading hyphen")
}

/// A root is absolute; a path stays beneath it.
fn place_fault(root: &Name, path: &Name) -> Option<&'static str> {
    let (root, path) = (root.as_bytes(), path.as_bytes());
    if !root.starts_with(b"/") || root.contains(&0) {
        return Some("the root is not an absolute path");
    }
    if path.contains(&0) {
        return Some("the path has a NUL byte");
    }
    let leaves = |part: &[u8]| matches!(part, b"" | b"." | b"..");
    let bad = !path.is_empty() && path.split(|&byte| byte == b'/').any(leaves);
    bad.then_some("the path is not a plain path beneath its root")
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    t: std::borrow::Cow<'a, str>,
}

/// Why a line is no record.
pub(super) enum BadLine {
    Json(serde_json::Error),
    Record(String),
}

/// Reads one line. The two long kinds are read directly: serde's own way of
/// telling variants apart would copy each of them first.
///
/// Those that are neither a file nor a pack may have `max_short` bytes.
pub(super) fn parse(line: &[u8], max_short: usize) -> Result<Record, BadLine> {
    let tag: Tag<'_> = serde_json::from_slice(line).map_err(BadLine::Json)?;
    let record = match tag.t.as_ref() {
        "file" => serde_json::from_slice(line).map(|file| Record::File(Box::new(file))),
        "pack" => serde_json::from_slice(line).map(|pack| Record::Pack(Box::new(pack))),
        short if line.len() > max_short => {
            let why = format!("a record of type {short:?} has {} bytes", line.len());
            return Err(BadLine::Record(why));
        }
        "open" | "close" | "gone" | "expired" | "snapshot" | "sealed" | "unsnapshot" | "fence"
        | "at" => serde_json::from_slice(line),
        other => {
            let why = format!("a record of type {other:?} is unknown; a newer hsm wrote it");
            return Err(BadLine::Record(why));
        }
    }
    .map_err(BadLine::Json)?;
    match record.fault() {
        None => Ok(record),
        Some(why) => Err(BadLine::Record(why)),
    }
}
