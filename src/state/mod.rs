//! The state DB (stand-in).

use crate::ids::{ContentId, FileIdent, NodeId, StoreId};
use crate::os::{FileKind, RelPath};
use crate::policy::{FileState, Pin};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no state database at {}", path.display())]
    Missing { path: PathBuf },
    #[error("cannot create the state database {}: it exists already", path.display())]
    Exists { path: PathBuf },
    #[error("the state database is of a newer hsm ({found}, this one knows {known})")]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("the state database is damaged ({detail})")]
    Corrupted { detail: String },
    #[error("no space left for the state database, {operation}")]
    Full { operation: &'static str },
    #[error("the state database is in use by another process, {operation}")]
    Busy { operation: &'static str },
}

pub type Result<T> = std::result::Result<T, Error>;

pub struct StateDb;

#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub states: Vec<(FileState, u64, u64)>,
    pub unmanaged_files: u64,
    pub unmanaged_bytes: u64,
}

#[derive(Debug, Clone)]
pub struct RunRow {
    pub command: String,
    pub started_ns: i64,
    pub finished_ns: i64,
    pub outcome: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootId(i64);

#[derive(Debug, Clone)]
pub struct RootRow {
    pub id: RootId,
    pub path: PathBuf,
    pub identity: String,
    pub last_complete_scan_ns: Option<i64>,
    pub entries: u64,
}

#[derive(Debug, Clone)]
pub struct EntryRow {
    pub root: RootId,
    pub path: RelPath,
    pub kind: FileKind,
    pub ino: u64,
    pub size_bytes: u64,
    pub allocated_bytes: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub atime_ns: i64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub btime_ns: i64,
    pub first_seen_ns: i64,
    pub file: Option<ManagedRow>,
}

#[derive(Debug, Clone)]
pub struct ManagedRow {
    pub root: RootId,
    pub ident: FileIdent,
    pub path: RelPath,
    pub state: FileState,
    pub content: Option<ContentId>,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub uploaded_ns: Option<i64>,
    pub stubbed_ns: Option<i64>,
    pub recalled_ns: Option<i64>,
    pub rule: Option<String>,
    pub reason: Option<String>,
}

pub type Visit<'v> = &'v mut dyn FnMut(EntryRow) -> ControlFlow<()>;

impl StateDb {
    pub fn create(_path: &Path, _store: StoreId, _node: NodeId, _now_ns: i64) -> Result<Self> {
        todo!("another room")
    }
    pub fn open(_path: &Path) -> Result<Self> {
        todo!("another room")
    }
    pub fn open_read_only(_path: &Path) -> Result<Self> {
        todo!("another room")
    }
    pub fn check(&self) -> Result<()> {
        todo!("another room")
    }
    pub fn store_id(&self) -> StoreId {
        todo!("another room")
    }
    pub fn node_id(&self) -> NodeId {
        todo!("another room")
    }
    pub fn setting(&self, _key: &str) -> Result<Option<String>> {
        todo!("another room")
    }
    pub fn set_setting(&mut self, _key: &str, _value: &str) -> Result<()> {
        todo!("another room")
    }
    pub fn add_root(&mut self, _path: &Path, _identity: &str, _now_ns: i64) -> Result<RootId> {
        todo!("another room")
    }
    pub fn roots(&self) -> Result<Vec<RootRow>> {
        todo!("another room")
    }
    pub fn for_each_entry(
        &self,
        _root: RootId,
        _under: Option<&RelPath>,
        _visit: Visit,
    ) -> Result<()> {
        todo!("another room")
    }
    pub fn entry_at(&self, _root: RootId, _path: &RelPath) -> Result<Option<EntryRow>> {
        todo!("another room")
    }
    pub fn counts(&self, _root: RootId) -> Result<Counts> {
        todo!("another room")
    }
    pub fn pins(&self, _root: RootId) -> Result<Vec<(RelPath, Pin)>> {
        todo!("another room")
    }
    pub fn set_pin(
        &mut self,
        _root: RootId,
        _path: &RelPath,
        _pin: Pin,
        _now_ns: i64,
    ) -> Result<()> {
        todo!("another room")
    }
    pub fn recent_runs(&self, _limit: usize) -> Result<Vec<RunRow>> {
        todo!("another room")
    }
    pub fn transient(&self, _root: RootId) -> Result<Vec<ManagedRow>> {
        todo!("another room")
    }
}
