//! Brings the state DB up to date with one root.
//!
//! Nothing is ever concluded to be deleted from a root that is missing, is
//! another file system, looks empty, or could not be read to the end.

use super::Error;
use crate::os::relpath::RelPath;
use crate::os::stat::statx_fd;
use crate::os::tree::RootDir;
use crate::policy::FileState;
use crate::scan;
use crate::site::Site;
use crate::state::{ManagedRow, RootId, RootRow, ScanChanges};
use crate::stub::{self, MarkerSpace, Placement};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

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

/// Scans `under` (the whole root when `None`) into the state DB.
pub fn rescan(
    site: &mut Site<'_>,
    row: &RootRow,
    root: &RootDir,
    under: Option<&RelPath>,
    skip: &[PathBuf],
    threads: Option<usize>,
) -> Result<RescanStats, Error> {
    if under.is_none() {
        refuse_emptied(row, root)?;
    }
    let mut options = scan::Options { under: under.cloned(), skip: skip.to_vec(), ..Default::default() };
    if let Some(threads) = threads {
        options.threads = threads;
    }
    let now_ns = site.clock.now_ns();
    let (monitor, stop) = (site.monitor, site.stop.clone());
    let mut writer = site.state.begin_scan(row.id, under, now_ns)?;
    let seen = scan::scan(root, &options, monitor, &stop, &mut writer)?;
    // The tree was read through one descriptor; if the mount went away and
    // something else is at that path now, what was not seen is not deleted.
    let complete = seen.complete && root_is_unchanged(row);
    let changes = writer.finish(complete, site.clock.now_ns())?;
    examine_suspects(site, row.id, root, &changes)?;
    Ok(RescanStats { seen, changes })
}

/// An empty directory where there was a tree is a vanished mount, not a
/// deletion.
fn refuse_emptied(row: &RootRow, root: &RootDir) -> Result<(), Error> {
    let read = |source| Error::ReadTree { path: row.path.clone(), source };
    let empty = root.is_empty().map_err(read)?;
    if empty && row.entries > 0 {
        return Err(Error::RootLooksEmpty { path: row.path.clone(), entries: row.entries });
    }
    Ok(())
}

fn root_is_unchanged(row: &RootRow) -> bool {
    RootDir::open(&row.path).is_ok_and(|again| same_root(row, &again).is_ok())
}

/// Files that are stubs by the state DB but look different now.
fn examine_suspects(
    site: &mut Site<'_>,
    root_id: RootId,
    root: &RootDir,
    changes: &ScanChanges,
) -> Result<(), Error> {
    for row in &changes.suspects {
        let verdict = match open_managed(root, row) {
            Ok(Some(file)) => examine(&file, row),
            Ok(None) => continue,
            Err(source) => Err(stub::Error::from_io("open", source)),
        };
        match verdict {
            Ok(Suspect::StillStub { ctime_ns }) => {
                site.state.finish_stubs(root_id, &[(row.ident, ctime_ns)], site.clock.now_ns())?;
            }
            Ok(Suspect::Rewritten) => {
                site.state.set_state(root_id, row.ident, FileState::Dirty, None)?;
            }
            Ok(Suspect::Conflict(why)) => {
                let path = row.path.to_path(root.path());
                site.monitor.notice(&format!("{}: {why}", path.display()));
                site.state.set_state(root_id, row.ident, FileState::Stub, Some(&why))?;
            }
            Err(error) => {
                site.monitor.file_failed(&row.path.to_path(root.path()), "examine", &error);
            }
        }
    }
    Ok(())
}

enum Suspect {
    /// Only its metadata changed (chmod, chown, rename).
    StillStub { ctime_ns: i64 },
    /// Somebody truncated it and wrote new content: that is the file now.
    Rewritten,
    /// Local data stands over a hole; nobody but a person can merge that.
    Conflict(String),
}

fn examine(file: &File, row: &ManagedRow) -> Result<Suspect, stub::Error> {
    let space = MarkerSpace::for_this_process();
    let stat = statx_fd(file).map_err(|source| stub::Error::from_io("stat", source))?;
    match stub::inspect(file, space)? {
        Placement::Stub(marker) if marker.size_bytes == stat.size_bytes => {
            if stat.mtime_ns != row.mtime_ns {
                // `touch` on a stub: the new time is what a recall restores.
                return Ok(Suspect::Conflict("its mtime was changed while it was a stub".into()));
            }
            Ok(Suspect::StillStub { ctime_ns: stat.ctime_ns })
        }
        Placement::Resident => Ok(Suspect::Rewritten),
        Placement::Changed { why, fully_local: true, .. } => {
            let _ = why;
            stub::drop_marker(file, space)?;
            Ok(Suspect::Rewritten)
        }
        other => Ok(Suspect::Conflict(format!("it is {}", other.describe()))),
    }
}

/// Opens the file of a managed row if it is still that inode; `None` when it is
/// gone or replaced.
pub fn open_managed(root: &RootDir, row: &ManagedRow) -> io::Result<Option<File>> {
    let file = match root.open_write(&row.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let ident = crate::os::file_ident(&file)?;
    Ok((ident == row.ident).then_some(file))
}

/// The registered root that holds `path`, and the path inside it.
pub fn locate(roots: &[RootRow], path: &Path) -> Result<(RootRow, RelPath), Error> {
    let outside = || Error::OutsideRoots { path: path.to_owned() };
    let owner = roots.iter().find(|row| path.starts_with(&row.path)).ok_or_else(outside)?;
    let inside = path.strip_prefix(&owner.path).map_err(|_| outside())?;
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(inside.as_os_str());
    Ok((owner.clone(), RelPath::new(bytes).map_err(|_| outside())?))
}
