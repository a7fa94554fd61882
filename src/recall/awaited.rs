//! Files whose copy is in an archive: asked for, and written down as waiting.
//!
//! Which packs need it is told by their class or by an earlier order, before a stub
//! is touched. A pack that a lifecycle rule of the bucket has archived is noticed
//! when it is read; the fill is undone then, like any that failed.

use super::{Error, FileError, Wanted, content_by_id};
use crate::ids::{FileIdent, PackId};
use crate::manifest::Content;
use crate::os::relpath::RelPath;
use crate::site::archive::{self, Archive};
use crate::site::{Catalog, Site, fetch};
use crate::state::{Awaiting, RootId};
use std::collections::{BTreeMap, BTreeSet};

/// The packs of a content, with whether their class is an archive; none where they
/// are not known: who reads it learns more.
pub(super) fn packs_of(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    content: &Content,
) -> Result<BTreeMap<PackId, bool>, Error> {
    Ok(fetch::packs(site, catalog, content)?.unwrap_or_default())
}

/// A file that may have to wait.
#[derive(Debug)]
pub(super) struct Candidate {
    pub ident: FileIdent,
    pub path: RelPath,
    pub bytes: u64,
    /// What it needs of an archive.
    pub packs: BTreeSet<PackId>,
}

/// Asks for what these files need and records those that wait for it: for each
/// whether it does.
pub(super) fn ask_for(
    site: &mut Site<'_>,
    archive: &mut Archive,
    root: RootId,
    files: &[Candidate],
) -> Result<Vec<bool>, Error> {
    let all: BTreeSet<PackId> = files.iter().flat_map(|file| &file.packs).copied().collect();
    let missing: BTreeSet<PackId> = archive.ask(site, &all)?.into_iter().collect();
    let now_ns = site.clock.now_ns();
    let mut waits = vec![];
    for file in files {
        let packs: Vec<PackId> = file.packs.intersection(&missing).copied().collect();
        if !packs.is_empty() {
            let Candidate { ident, ref path, bytes, .. } = *file;
            let awaiting = Awaiting { ident, path, bytes, packs: &packs };
            site.state.await_packs(root, &awaiting, now_ns)?;
        }
        waits.push(!packs.is_empty());
    }
    Ok(waits)
}

/// Asks for all that a stub needs, for a program that was denied because of it.
/// Nothing is read and the stub is not touched; whether it still has to wait.
pub fn request(
    site: &mut Site<'_>,
    archive: &mut Archive,
    root: RootId,
    path: &RelPath,
    wanted: &Wanted,
) -> Result<bool, FileError> {
    let mut catalog = Catalog::default();
    let Wanted { ident, content } = *wanted;
    let content = content_by_id(site, &mut catalog, content)?
        .ok_or(FileError::UnknownContent(wanted.content))?;
    let packs = packs_of(site, &mut catalog, &content)?.into_keys().collect();
    let candidate = Candidate { ident, path: path.clone(), bytes: content.data_bytes(), packs };
    Ok(ask_for(site, archive, root, &[candidate])?[0])
}

/// Whether the state DB says that the archive must be asked before any of these can
/// be read: no store is asked, so that nobody waits for one.
pub(super) fn must_ask(site: &Site<'_>, packs: &BTreeMap<PackId, bool>) -> Result<bool, Error> {
    let now_ns = site.clock.now_ns();
    for pack in archive::suspects(site, packs)? {
        if !site.state.thaw(pack)?.is_some_and(|thaw| thaw.is_ready(now_ns)) {
            return Ok(true);
        }
    }
    Ok(false)
}
