//! Making one thing that needs nothing from the store: a stub, an empty or hollow
//! file, a symbolic link, a FIFO, a device.
//!
//! A stub is complete before it has a name: unnamed file -> size -> marker -> owner,
//! attributes, mode, times -> name. Size before marker: to a guard, which sees the
//! change of size, a marked file of no size is a stub that somebody emptied. A hole
//! without a marker exists only here, where nobody can get at it.

use super::FileError;
use crate::catalog::Version;
use crate::config::OfflineBit;
use crate::fault;
use crate::ids::{ContentId, FileIdent};
use crate::manifest::FileRecord;
use crate::os::handle::generation;
use crate::os::plant::{Attributes, Placed, Plantation, Planted, Refusal, Unnamed};
use crate::os::relpath::RelPath;
use crate::os::stat::{FileKind, Stat, statx_fd};
use crate::stub::{self, Marker, MarkerSpace};
use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// One path to be made.
pub struct Entry {
    pub path: RelPath,
    /// The number of its pick.
    pub pick: usize,
    pub version: Version,
    /// What it takes the place of.
    pub over: Option<Stat>,
}

/// What all stubs have in common.
pub struct Marking {
    pub space: MarkerSpace,
    pub store_tag: [u8; 4],
    pub offline: OfflineBit,
    /// Whether their last change is asked for.
    pub recorded: bool,
}

/// A descriptor on each file system that something was made on.
#[derive(Default)]
pub struct Disks(Mutex<Vec<(u64, File)>>);

/// What was made.
pub struct Made {
    pub refusals: Vec<Refusal>,
    pub stub: Option<NewStub>,
}

/// A stub, as a state DB records it.
#[derive(Debug, Clone, Copy)]
pub struct NewStub {
    pub ident: FileIdent,
    pub btime_ns: i64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

impl Entry {
    pub fn record(&self) -> &FileRecord {
        &self.version.record
    }
}

/// How a record wants its object to look.
pub fn attributes(record: &FileRecord) -> Attributes<'_> {
    Attributes {
        mode: record.mode,
        uid: record.uid,
        gid: record.gid,
        mtime_ns: record.mtime_ns,
        atime_ns: None,
        xattrs: &record.xattrs,
    }
}

/// Whether the file has bytes in the store.
pub fn has_data(record: &FileRecord) -> bool {
    record.pieces.iter().any(|piece| piece.chunk.is_some())
}

/// Makes it; `marking` is for files that have data.
pub fn make(
    plantation: &mut Plantation,
    entry: &Entry,
    marking: Option<&Marking>,
    disks: &Disks,
) -> Result<Made, FileError> {
    let record = entry.record();
    let (path, over, wanted) = (&entry.path, entry.over.as_ref(), attributes(record));
    let planted = match FileKind::from_code(record.kind) {
        Some(FileKind::File) => return file(plantation, entry, marking, disks),
        Some(FileKind::Symlink) => {
            let target = record.target.as_ref().map(|target| target.as_bytes()).unwrap_or_default();
            plantation.symlink(path, target, &wanted, over)
        }
        Some(FileKind::Fifo) => plantation.fifo(path, &wanted, over),
        Some(kind) => plantation.device(path, (kind, record.rdev.unwrap_or(0)), &wanted, over),
        None => Ok(Planted::Exists),
    };
    match planted.map_err(FileError::Make)? {
        Planted::Made(refusals) => Ok(Made { refusals, stub: None }),
        Planted::Exists => Err(FileError::Appeared),
    }
}

/// A file without its data: a stub, or one that has none.
fn file(
    plantation: &mut Plantation,
    entry: &Entry,
    marking: Option<&Marking>,
    disks: &Disks,
) -> Result<Made, FileError> {
    let record = entry.record();
    let mut file = plantation.begin_file(&entry.path).map_err(FileError::Make)?;
    let stat = statx_fd(file.file()).map_err(FileError::Make)?;
    disks.note(stat.dev, file.file()).map_err(FileError::Make)?;
    set_size(file.file(), record.size_bytes)?;
    fault::point("restore.sized");
    let mut shown = None;
    let marked = match marking.zip(record.content).filter(|_| has_data(record)) {
        Some((marking, content)) => {
            shown = stub::shown(&record.xattrs, marking.offline);
            let offline = shown.is_some();
            Some((marking, mark(&file, &stat, record, marking, content, offline)?))
        }
        None => None,
    };
    let xattrs = shown.as_deref().unwrap_or(&record.xattrs);
    let refusals = name(&mut file, entry, &Attributes { xattrs, ..attributes(record) })?;
    let Some((_, ident)) = marked.filter(|(marking, _)| marking.recorded) else {
        return Ok(Made { refusals, stub: None });
    };
    let Stat { mtime_ns, ctime_ns, btime_ns, .. } =
        statx_fd(file.file()).map_err(FileError::Look)?;
    Ok(Made { refusals, stub: Some(NewStub { ident, btime_ns, mtime_ns, ctime_ns }) })
}

fn mark(
    file: &Unnamed,
    stat: &Stat,
    record: &FileRecord,
    marking: &Marking,
    content: ContentId,
    offline: bool,
) -> Result<FileIdent, FileError> {
    let generation = generation(file.file()).map_err(FileError::Identity)?;
    let ident = FileIdent { ino: stat.ino, generation };
    let (size_bytes, store_tag) = (record.size_bytes, marking.store_tag);
    let marker = Marker { content, size_bytes, ident, store_tag, filling: false, offline };
    stub::set_marker(file.file(), marking.space, &marker).map_err(FileError::Mark)?;
    fault::point("restore.marked");
    Ok(ident)
}

/// Its holes are holes from then on.
pub fn set_size(file: &File, size_bytes: u64) -> Result<(), FileError> {
    if size_bytes == 0 {
        return Ok(());
    }
    fault::effect("restore.ftruncate")
        .and_then(|()| file.set_len(size_bytes))
        .map_err(FileError::Write)
}

/// Describes a file whose data is there, and gives it its name.
pub fn name(
    file: &mut Unnamed,
    entry: &Entry,
    wanted: &Attributes<'_>,
) -> Result<Vec<Refusal>, FileError> {
    let refusals = file.set(wanted).map_err(FileError::Make)?;
    fault::point("restore.described");
    let placed = match &entry.over {
        None => file.link(),
        Some(seen) => file.replace(seen),
    };
    match placed.map_err(FileError::Make)? {
        Placed::Placed => {
            fault::point("restore.named");
            Ok(refusals)
        }
        Placed::Exists => Err(FileError::Appeared),
    }
}

impl Disks {
    /// Remembers the file system that `file` is on.
    pub fn note(&self, dev: u64, file: &File) -> std::io::Result<()> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.iter().all(|(of, _)| *of != dev) {
            known.push((dev, file.try_clone()?));
        }
        Ok(())
    }

    /// Makes all that was written durable.
    pub fn flush(&self) -> std::io::Result<()> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().try_for_each(|(_, file)| crate::os::blocks::syncfs(file))
    }
}
