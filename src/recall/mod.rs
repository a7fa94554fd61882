//! Recall: makes stubs resident again.
//!
//! Order per file, each arrow a crash point with a test: space checked ->
//! intent in the state DB -> marker says `filling` -> blocks allocated ->
//! fetch, decrypt, decompress, verify, write into the stub's own inode ->
//! data durable -> times and mode bits restored -> marker removed -> state
//! committed. A failure anywhere punches the partial fill away and leaves the
//! stub as it was; the store's copy stays.
//!
//! A file whose copy is in an archive is not touched: its packs are asked for and it
//! waits ([`awaited`]), until a later recall finds them readable.
//!
//! Two ways lead here. [`run`] recalls what a person named, in batches
//! ([`batch`]), or hands the names over to the guard that watches the root
//! ([`handover`]). [`fill`] recalls one open file for the guard, which keeps
//! its own record.

mod awaited;
mod batch;
mod error;
mod fill;
mod handover;
mod residue;
mod target;

pub use awaited::request;
pub use error::{Error, FileError, Wanted};
pub use fill::{Filled, fill};
pub use handover::recall_requested;
pub use target::Target;

use crate::classes::Thaw;
use crate::ids::ContentId;
use crate::manifest::Content;
use crate::os::relpath::RelPath;
use crate::os::tree::RootDir;
use crate::site::{Catalog, Site};
use crate::state::RootId;
use crate::stub::Marker;

/// What a recall did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecallStats {
    pub files: u64,
    /// Bytes written (holes not counted).
    pub bytes: u64,
    pub already_resident: u64,
    pub failed: u64,
    /// Stubs that wait for an archive; it was asked for all they need.
    pub waiting: Vec<RelPath>,
}

/// How to treat what is in the way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Overwrite data that was written over a stub while nobody watched.
    pub discard_local: bool,
    /// What an archive is asked for.
    pub thaw: Thaw,
}

/// Who is told of a file that could not be recalled.
type Tell<'a> = dyn Fn(&RelPath, &FileError) + 'a;

/// Recalls `targets` and returns when their state is committed.
pub fn run(
    site: &mut Site<'_>,
    root_id: RootId,
    root: &RootDir,
    targets: impl Iterator<Item = Result<Target, Error>>,
    options: Options,
) -> Result<RecallStats, Error> {
    if site.guard.is_some() {
        return handover::run(site, root_id, root, targets, options);
    }
    let monitor = site.monitor;
    let tell = |path: &RelPath, error: &FileError| {
        monitor.file_failed(&path.to_path(root.path()), "recall", error);
    };
    batch::run(site, root_id, root, targets, options, &tell)
}

/// The chunk list behind a marker. The state DB is disposable: stub and store
/// alone must be enough.
fn content_of(
    site: &Site<'_>,
    catalog: &mut Catalog,
    marker: &Marker,
) -> Result<Option<Content>, Error> {
    content_by_id(site, catalog, marker.content)
}

fn content_by_id(
    site: &Site<'_>,
    catalog: &mut Catalog,
    id: ContentId,
) -> Result<Option<Content>, Error> {
    if let Some((content, _)) = site.state.content(id)?
        && content.id() == id
    {
        return Ok(Some(content));
    }
    Ok(catalog.content(site, id)?)
}
