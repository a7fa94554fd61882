//! Brings the state DB up to date with one root.
//!
//! Nothing is ever concluded to be deleted from a root that is missing, is
//! another file system, looks empty, or could not be read to the end.

use super::{Error, suspects};
use crate::os::relpath::RelPath;
use crate::os::tree::{RootDir, is_gone};
use crate::scan::{self, DirBatch, Seen, Sink, SinkError};
use crate::site::Ground;
use crate::state::{ManagedRow, Part, RootRow, ScanChanges, ScanWriter, SeenEntry};
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// What a scan saw and what it changed.
#[derive(Debug, Clone, Default)]
pub struct RescanStats {
    pub seen: scan::Stats,
    pub changes: ScanChanges,
}

/// Opens a root and makes sure that it is the one that was registered.
pub fn open_root(row: &RootRow) -> Result<RootDir, Error> {
    let root = RootDir::open(&row.path)
        .map_err(|source| Error::OpenRoot { path: row.path.clone(), source })?;
    same_root(row, &root)?;
    Ok(root)
}

fn same_root(row: &RootRow, root: &RootDir) -> Result<(), Error> {
    let is = root.identity().to_string();
    if is == row.identity {
        return Ok(());
    }
    Err(Error::OtherFileSystem { path: row.path.clone(), was: row.identity.clone(), is })
}

/// What to scan, and how.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// A directory; `None` is the whole root.
    pub under: Option<RelPath>,
    /// Directories of our own, which are passed over.
    pub skip: Vec<PathBuf>,
    /// 0 chooses.
    pub threads: usize,
}

/// Scans into the state DB.
pub fn rescan(
    ground: &mut Ground<'_>,
    row: &RootRow,
    root: &RootDir,
    request: &ScanRequest,
) -> Result<RescanStats, Error> {
    let under = request.under.as_ref();
    if under.is_none() {
        refuse_emptied(row, root)?;
    }
    let options = scan::Options {
        under: under.cloned(),
        alone: false,
        skip: request.skip.clone(),
        threads: request.threads,
    };
    record(ground, row, root, &options)
}

/// Scans one directory and nothing beneath it, so that the names in it are known;
/// nothing is concluded to be deleted.
pub fn note_directory(
    ground: &mut Ground<'_>,
    row: &RootRow,
    root: &RootDir,
    dir: &RelPath,
    skip: &[PathBuf],
) -> Result<RescanStats, Error> {
    let options =
        scan::Options { under: Some(dir.clone()), alone: true, skip: skip.to_vec(), threads: 1 };
    record(ground, row, root, &options)
}

fn record(
    ground: &mut Ground<'_>,
    row: &RootRow,
    root: &RootDir,
    options: &scan::Options,
) -> Result<RescanStats, Error> {
    let under = options.under.as_ref();
    let now_ns = ground.clock.now_ns();
    let (monitor, stop) = (ground.monitor, ground.stop);
    let (seen, changes) = {
        let mut recorder = Recorder(ground.state.begin_scan(row.id, under, now_ns)?);
        let seen = scan::run(root, options, monitor, stop, &mut recorder)?;
        // The tree was read through one descriptor; if the mount went away and
        // something else is at that path now, what was not seen is not deleted.
        let complete = seen.complete && root_is_unchanged(row);
        let is_part = options.alone && seen.errors == 0 && !seen.stopped;
        let changes = if is_part && root_is_unchanged(row) {
            recorder.0.finish_part(ground.clock.now_ns())?
        } else {
            recorder.0.finish(complete, ground.clock.now_ns())?
        };
        (seen, changes)
    };
    suspects::examine(ground, row.id, root, &changes.suspects)?;
    Ok(RescanStats { seen, changes })
}

/// Hands what the scan sees to the state DB.
struct Recorder<'db>(ScanWriter<'db>);

impl Sink for Recorder<'_> {
    fn directory(&mut self, dir: DirBatch) -> Result<(), SinkError> {
        let seen = dir.entries.iter().map(|Seen { name, stat, .. }| SeenEntry { name, stat });
        let entries: Vec<SeenEntry<'_>> = seen.collect();
        let part = Part { first: dir.first, last: dir.last };
        self.0.directory(&dir.path, &dir.stat, &entries, part)?;
        for skipped in &dir.skipped {
            self.0.keep(&dir.path.join(&skipped.name))?;
        }
        Ok(())
    }
}

/// An empty directory where there was a tree is a vanished mount, not a
/// deletion.
fn refuse_emptied(row: &RootRow, root: &RootDir) -> Result<(), Error> {
    let read = |source| Error::ReadTree { path: row.path.clone(), source };
    let empty = is_empty(root).map_err(read)?;
    if empty && row.entries > 0 {
        return Err(Error::RootLooksEmpty { path: row.path.clone(), entries: row.entries });
    }
    Ok(())
}

fn is_empty(root: &RootDir) -> io::Result<bool> {
    Ok(std::fs::read_dir(root.path())?.next().is_none())
}

fn root_is_unchanged(row: &RootRow) -> bool {
    RootDir::open(&row.path).is_ok_and(|again| same_root(row, &again).is_ok())
}

/// Opens the file of a managed row if it is still that inode; `None` when it is
/// gone or replaced.
pub fn open_managed(root: &RootDir, row: &ManagedRow) -> io::Result<Option<File>> {
    let file = match root.open_write(&row.path) {
        Ok(file) => file,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let ident = crate::os::file_ident(&file)?;
    Ok((ident == row.ident).then_some(file))
}
