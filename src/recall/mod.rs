//! Recall: makes stubs resident again.
//!
//! Order per file, each arrow a crash point with a test: space checked ->
//! intent in the state DB -> marker says `filling` -> blocks allocated ->
//! fetch, decrypt, decompress, verify, write into the stub's own inode ->
//! data durable -> times and mode bits restored -> marker removed -> state
//! committed. A failure anywhere punches the partial fill away and leaves the
//! stub as it was; the store's copy stays.
//!
//! Files are worked on in batches so that small neighbours in one pack come
//! with one request and one flush makes many files durable.

mod fetch;
mod layout;
mod residue;
mod target;

pub use target::Target;

use crate::ids::FileIdent;
use crate::manifest::Content;
use crate::os::blocks;
use crate::os::relpath::RelPath;
use crate::os::space::FreeSpace;
use crate::os::tree::RootDir;
use crate::policy::FileState;
use crate::site::{Catalog, Site, catalog};
use crate::state::{ManagedRow, RootId};
use crate::stub::{Filler, MarkerSpace};
use crate::{chunk, state, store, stub};
use std::collections::HashSet;
use std::io;
use target::{Opened, Opening};

/// Files in one batch...
const BATCH_FILES: usize = 512;
/// ...or bytes; a larger file is a batch of its own.
const BATCH_BYTES: u64 = 1 << 30;
/// Free space that a recall leaves to everybody else.
const RESERVE_BYTES: u64 = 64 << 20;
/// From this many files a batch is flushed with one `syncfs`; below it each
/// file's own data is, which spares unrelated dirty data.
const FLUSH_TOGETHER: usize = 8;

/// What stops a recall as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error("read the free space of {}", path.display())]
    Space { path: std::path::PathBuf, source: io::Error },
    #[error("flush {}", path.display())]
    Flush { path: std::path::PathBuf, source: io::Error },
    #[error(
        "{} has {} free, the recall needs {} and leaves {} to others",
        path.display(),
        crate::units::format_size(*available_bytes),
        crate::units::format_size(*needed_bytes),
        crate::units::format_size(RESERVE_BYTES)
    )]
    NoSpace { path: std::path::PathBuf, needed_bytes: u64, available_bytes: u64 },
}

/// Why one file stays a stub.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("open the file")]
    Open(#[source] io::Error),
    #[error("it was deleted or replaced meanwhile")]
    Replaced,
    #[error(transparent)]
    Stub(#[from] stub::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("a chunk of its copy is bad")]
    Chunk(#[from] chunk::Error),
    #[error("{0}")]
    Conflict(String),
    #[error("its marker names content {0}, which neither the state DB nor the catalog knows")]
    UnknownContent(crate::ids::ContentId),
    #[error("chunk {0} of its copy is in no pack that is known to be good")]
    ChunkLost(crate::ids::ChunkId),
    #[error(
        "its marker is not what hsm recorded of it, neither in the state DB nor in the catalog"
    )]
    Unvouched,
    #[error("the state DB does not say where its copy is")]
    Catalog(#[source] catalog::Error),
    #[error("write the file")]
    Write(#[source] io::Error),
    #[error("the recall was stopped")]
    Stopped,
}

/// What a recall did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecallStats {
    pub files: u64,
    /// Bytes written (holes not counted).
    pub bytes: u64,
    pub already_resident: u64,
    pub failed: u64,
}

/// How to treat what is in the way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Overwrite data that was written over a stub while nobody watched.
    pub discard_local: bool,
}

/// One file being filled.
struct Fill {
    path: RelPath,
    row: Option<ManagedRow>,
    content: Content,
    filler: Filler,
}

/// Recalls `targets` and returns when their state is committed.
pub fn run(
    site: &mut Site<'_>,
    root_id: RootId,
    root: &RootDir,
    targets: impl Iterator<Item = Result<Target, Error>>,
    options: Options,
) -> Result<RecallStats, Error> {
    crate::os::lease::ignore_break_signal();
    let mut recall = Recall {
        site,
        root_id,
        root,
        options,
        space: MarkerSpace::for_this_process(),
        stats: RecallStats::default(),
        catalog: Catalog::default(),
        gathered: HashSet::new(),
    };
    let (mut batch, mut bytes) = (vec![], 0);
    for target in targets {
        if recall.site.stop.requested() {
            break;
        }
        let Some(opened) = recall.open(target?)? else { continue };
        bytes += opened.content.data_bytes();
        batch.push(opened);
        if batch.len() >= BATCH_FILES || bytes >= BATCH_BYTES {
            recall.batch(std::mem::take(&mut batch))?;
            bytes = 0;
        }
    }
    recall.batch(batch)?;
    Ok(recall.stats)
}

struct Recall<'a, 's> {
    site: &'a mut Site<'s>,
    root_id: RootId,
    root: &'a RootDir,
    options: Options,
    space: MarkerSpace,
    stats: RecallStats,
    catalog: Catalog,
    /// The files of the batch: one that is named twice, or by two of its names,
    /// must not be filled twice at once.
    gathered: HashSet<FileIdent>,
}

impl Recall<'_, '_> {
    /// Opens a target and finds its content; `None` when there is nothing to do
    /// or the failure was reported. An unreadable catalog concerns only the
    /// files that need it.
    fn open(&mut self, target: Target) -> Result<Option<Opened>, Error> {
        let path = target.path.clone();
        match self.try_open(target) {
            Err(Error::Catalog(error)) => Ok(self.fail(&path, &FileError::Catalog(error))),
            opened => opened,
        }
    }

    fn try_open(&mut self, target: Target) -> Result<Option<Opened>, Error> {
        let (path, row) = (target.path.clone(), target.row.clone());
        let found = match target::open(self.root, self.space, target, self.options) {
            Ok(Opening::Stub(found)) => found,
            Ok(Opening::Resident) => {
                self.stats.already_resident += 1;
                return Ok(None);
            }
            Ok(Opening::Whole) => {
                self.stats.already_resident += 1;
                self.no_longer_a_stub(row)?;
                return Ok(None);
            }
            Err(error) => return Ok(self.fail(&path, &error)),
        };
        let marker = &found.marker;
        if !self.gathered.insert(marker.ident) {
            return Ok(None);
        }
        if !found.vouched && !self.catalog.was_uploaded(self.site, marker.content, marker.ident)? {
            return Ok(self.fail(&path, &FileError::Unvouched));
        }
        let Some(content) = self.content_of(&found.marker)? else {
            let error = FileError::UnknownContent(found.marker.content);
            return Ok(self.fail(&path, &error));
        };
        match found.with_content(content, self.site, &mut self.catalog, self.space)? {
            Ok(opened) => Ok(Some(opened)),
            Err(error) => Ok(self.fail(&path, &error)),
        }
    }

    /// Its bytes may be others than the copy's: they are uploaded again.
    fn no_longer_a_stub(&mut self, row: Option<ManagedRow>) -> Result<(), Error> {
        match row.filter(|row| row.state == FileState::Stub) {
            Some(row) => {
                let ident = row.ident;
                Ok(self.site.state.set_state(self.root_id, ident, FileState::Dirty, None)?)
            }
            None => Ok(()),
        }
    }

    fn content_of(&mut self, marker: &stub::Marker) -> Result<Option<Content>, Error> {
        if let Some((content, _)) = self.site.state.content(marker.content)?
            && content.id() == marker.content
        {
            return Ok(Some(content));
        }
        // The state DB is disposable: stub and store alone must be enough.
        Ok(self.catalog.content(self.site, marker.content)?)
    }

    fn fail<T>(&mut self, path: &RelPath, error: &FileError) -> Option<T> {
        self.stats.failed += 1;
        self.site.monitor.file_failed(&path.to_path(self.root.path()), "recall", error);
        None
    }

    fn batch(&mut self, batch: Vec<Opened>) -> Result<(), Error> {
        self.gathered.clear();
        if batch.is_empty() {
            return Ok(());
        }
        self.check_space(&batch)?;
        let idents: Vec<_> = batch.iter().filter_map(|o| o.row.as_ref().map(|r| r.ident)).collect();
        let refused = self.site.state.begin_recalls(self.root_id, &idents)?;
        crate::fault::point("recall.intended");
        let (mut fills, mut failed) = (vec![], vec![]);
        for mut opened in batch {
            // The state DB did not know that it is a stub; the next scan finds
            // the file as it is then.
            opened.row = opened.row.filter(|row| !refused.contains(&row.ident));
            let (path, row) = (opened.path.clone(), opened.row.clone());
            match opened.begin(self.space) {
                Ok(fill) => fills.push(fill),
                Err(error) => {
                    self.fail::<()>(&path, &error);
                    failed.extend(row.map(|row| row.ident));
                }
            }
        }
        let outcomes = fetch::fill_all(self.site, &mut self.catalog, &fills)?;
        self.finish(fills, outcomes, failed)
    }

    fn flush(&self) -> Result<(), Error> {
        blocks::syncfs(self.root)
            .map_err(|source| Error::Flush { path: self.root.path().to_owned(), source })
    }

    fn check_space(&self, batch: &[Opened]) -> Result<(), Error> {
        let path = || self.root.path().to_owned();
        let needed_bytes: u64 = batch.iter().map(|opened| opened.content.data_bytes()).sum();
        let free =
            FreeSpace::of(self.root).map_err(|source| Error::Space { path: path(), source })?;
        let available_bytes = free.available_bytes;
        if needed_bytes > 0 && needed_bytes.saturating_add(RESERVE_BYTES) > available_bytes {
            return Err(Error::NoSpace { path: path(), needed_bytes, available_bytes });
        }
        Ok(())
    }

    fn finish(
        &mut self,
        fills: Vec<Fill>,
        outcomes: Vec<Result<(), FileError>>,
        mut failed: Vec<FileIdent>,
    ) -> Result<(), Error> {
        let together = fills.len() >= FLUSH_TOGETHER;
        if together {
            self.flush()?;
        }
        let mut done = vec![];
        for (fill, outcome) in fills.into_iter().zip(outcomes) {
            let Fill { path, row, content, filler } = fill;
            // A filler that is dropped unfinished punches its data away.
            let finished = outcome.and_then(|()| {
                Ok(match together {
                    true => filler.finish_after_syncfs(content.id())?,
                    false => filler.finish(content.id())?,
                })
            });
            match finished {
                Ok(stat) => {
                    self.stats.files += 1;
                    self.stats.bytes += content.data_bytes();
                    self.site.monitor.advance(1, 0);
                    done.extend(row.map(|row| (row.ident, stat.ctime_ns, stat.mtime_ns)));
                }
                Err(error) => {
                    self.fail::<()>(&path, &error);
                    failed.extend(row.map(|row| row.ident));
                }
            }
        }
        if together {
            self.flush()?;
        }
        crate::fault::point("recall.markers-removed");
        self.site.state.cancel_recalls(self.root_id, &failed)?;
        self.site.state.finish_recalls(self.root_id, &done, self.site.clock.now_ns())?;
        Ok(())
    }
}
