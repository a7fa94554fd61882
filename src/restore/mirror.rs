//! What a mirror of another node's tree does beside bringing what is new: what is gone
//! there goes here, too.
//!
//! Only what is still as it was brought is taken away. A file that somebody changed
//! here stays, and so does a directory with something else in it; a mirror never
//! deletes what the other node has not had.

use super::error::{Error, FileError};
use super::judge::is_untouched;
use super::target::Target;
use crate::catalog::{CatalogDb, Change, Point, RootRef, Sight, Version};
use crate::manifest::FileRecord;
use crate::os::plant::{Plantation, Removed};
use crate::os::relpath::RelPath;
use crate::os::stat::FileKind;
use crate::site::{Catalog, Pick, Site, catalog};
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

/// What was taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MirrorStats {
    pub removed: u64,
    /// Changed here, and left.
    pub kept: u64,
    pub failed: u64,
}

/// Takes away what has gone from the picks since any of the segments `points`, up to
/// which the target was brought before, and what is of another type by now. Picks are
/// whole roots.
pub fn take_away(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    picks: &[Pick],
    target: &mut Target,
    points: &[u64],
    dry_run: bool,
) -> Result<MirrorStats, Error> {
    let mut stats = MirrorStats::default();
    for Pick { root, .. } in picks {
        let db = catalog.db(site)?;
        let mut dirs: BTreeMap<RelPath, Vec<FileRecord>> = BTreeMap::new();
        let mut seen: HashSet<RelPath> = HashSet::new();
        for point in points {
            let mut failed = None;
            db.changes(root, *point, &mut |change| {
                let Some(gone) = gone(change) else { return ControlFlow::Continue(()) };
                let Ok(path) = target.place(&root.path, gone.record.path_bytes()) else {
                    return ControlFlow::Continue(());
                };
                if points.len() > 1 && !seen.insert(path.clone()) {
                    return ControlFlow::Continue(());
                }
                let before = match brought(db, root, points, gone.record.path_bytes()) {
                    Ok(before) => before,
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                };
                if before.iter().any(|before| before.kind == 'd') {
                    // Behind what is in it.
                    dirs.insert(path, before);
                } else {
                    one(site, target, &path, &before, dry_run, &mut stats);
                }
                if site.stop.requested() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .map_err(catalog::Error::from)?;
            if let Some(error) = failed {
                return Err(catalog::Error::from(error).into());
            }
        }
        for (path, before) in dirs.into_iter().rev() {
            one(site, target, &path, &before, dry_run, &mut stats);
        }
    }
    Ok(stats)
}

/// What may have come to a path when the target was brought to these segments.
pub fn brought(
    db: &CatalogDb,
    root: &RootRef,
    points: &[u64],
    path: &[u8],
) -> crate::catalog::Result<Vec<FileRecord>> {
    let mut records: Vec<FileRecord> = vec![];
    for point in points {
        let version = db.version_at(root, Sight::At(Point::Seq(*point)), path)?;
        records.extend(version.map(|version| version.record));
    }
    Ok(records)
}

/// What was there and is there no more, not even as something of its type.
fn gone(change: Change) -> Option<Version> {
    let before = change.before?;
    match change.after {
        Some(after) if after.record.kind == before.record.kind => None,
        _ => Some(before),
    }
}

fn one(
    site: &Site<'_>,
    target: &mut Target,
    path: &RelPath,
    before: &[FileRecord],
    dry_run: bool,
    stats: &mut MirrorStats,
) {
    match remove(&mut target.plantation, path, before, dry_run) {
        Ok(None) => {}
        Ok(Some(Removed::Removed)) => stats.removed += 1,
        Ok(Some(Removed::Kept)) => {
            stats.kept += 1;
            let full = target.full(path);
            site.monitor.notice(&format!(
                "left in place: {}: it is gone there, and was changed here",
                full.display()
            ));
        }
        Err(error) => {
            stats.failed += 1;
            site.monitor.file_failed(&target.full(path), "remove", &error);
        }
    }
}

/// `None` if there is nothing.
fn remove(
    plantation: &mut Plantation,
    path: &RelPath,
    before: &[FileRecord],
    dry_run: bool,
) -> Result<Option<Removed>, FileError> {
    let Some(found) = plantation.lookup(path).map_err(FileError::Look)? else { return Ok(None) };
    let link = match found.stat.kind {
        FileKind::Symlink => Some(found.target().map_err(FileError::Look)?),
        _ => None,
    };
    if !before.iter().any(|before| is_untouched(before, &found, link.as_deref())) {
        return Ok(Some(Removed::Kept));
    }
    if dry_run {
        return Ok(Some(Removed::Removed));
    }
    plantation.remove(path, &found.stat).map(Some).map_err(FileError::Remove)
}
