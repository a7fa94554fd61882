//! Verify: is every copy that the state DB promises really there, whole?
//!
//! * The fast pass lists the store and compares presence and size.
//! * The data pass reads packs, oldest proof first, and hashes every chunk.
//! * Then every managed file is checked in both directions: a stub must have
//!   its marker and a copy whose chunks are all good; an object should have an
//!   owner.
//!
//! A pack that was found bad before is looked at again: when it is whole, its
//! chunks count again.
//!
//! Findings are recorded (`damaged`, lost packs) unless it is a dry run, so
//! that nothing relies on a bad copy again. A bad copy of a file whose bytes
//! are still local is repaired by uploading it again.

mod elsewhere;
mod files;
mod left;
mod objects;
mod reading;
mod sample;
mod second;
mod segments;
mod store_alone;
mod strays;

pub use left::Left;
pub use sample::Sample;
pub use store_alone::store_alone;

use elsewhere::Elsewhere;

use crate::ids::{ChunkId, ContentId, PackId};
use crate::os::relpath::RelPath;
use crate::os::tree::RootDir;
use crate::site::{Site, catalog, log};
use crate::state::{RootId, RootRow};
use crate::store::Key;
use crate::{state, store, stub};
use std::collections::HashSet;
use std::path::PathBuf;

/// What stops a verification as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error(transparent)]
    Log(#[from] log::Error),
}

/// How much to check.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Read and hash packs: all, or a sample.
    pub data: Option<Sample>,
    /// Only files below this path, and only the packs they rely on.
    pub under: Option<(RootId, RelPath)>,
    /// Record nothing.
    pub dry_run: bool,
    /// Put good second copies where the first are lost or damaged.
    pub repair: bool,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The store does not have the pack.
    PackMissing { pack: PackId },
    /// The pack has another size than was written.
    PackSize { pack: PackId, expected_bytes: u64, found_bytes: u64 },
    /// The store gives fewer bytes than the pack has, or none that belong to it.
    PackUnreadable { pack: PackId, why: String },
    /// A chunk's bytes do not have the chunk's hash.
    ChunkDamaged { pack: PackId, chunk: ChunkId, why: String },
    /// What the second store was proven to have is not there, or not whole.
    SecondCopy { pack: PackId, why: String },
    /// The second store could not be looked at.
    SecondAway { why: String },
    /// The only copy is bad and the bytes are not local: they are lost unless
    /// another copy of the store has them.
    Lost { path: PathBuf, size_bytes: u64, content: Option<ContentId>, why: String },
    /// The copy is bad, the bytes are local: uploading again repairs it.
    Repairable { root: RootId, path: PathBuf, inside: RelPath, size_bytes: u64, why: String },
    /// An object of this server's log is not there, or (`why`) not what it must be.
    Log { key: Key, why: Option<String> },
    /// The file on disk is not the stub that the state DB says it is.
    NotTheStub { path: PathBuf, why: String },
    /// A stub that nobody manages: `hsm adopt` is for it.
    Stray { path: PathBuf, why: String },
}

/// Totals of one verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyStats {
    pub packs: u64,
    /// Packs read and hashed.
    pub packs_read: u64,
    pub bytes_read: u64,
    /// Packs that were to be read and are in an archive: there, and unread.
    pub archived_packs: u64,
    pub files: u64,
    pub stubs: u64,
    pub problems: u64,
    pub lost_files: u64,
    pub lost_bytes: u64,
    pub repairable_files: u64,
    /// Of those, uploaded again.
    pub repaired_files: u64,
    /// Objects that no node's catalog names: left by a killed run.
    pub unowned_objects: u64,
    pub unowned_bytes: u64,
    /// First copies that were put again from the second store.
    pub mended_packs: u64,
    /// Files that could not be checked (unreadable, vanished).
    pub unchecked: u64,
    /// Stubs that nobody manages.
    pub stray_stubs: u64,
    /// A stop was requested before everything was checked.
    pub stopped: bool,
}

impl VerifyStats {
    /// Adds the figures of another part of the same verification.
    pub fn add(&mut self, other: &Self) {
        self.packs += other.packs;
        self.packs_read += other.packs_read;
        self.bytes_read += other.bytes_read;
        self.archived_packs += other.archived_packs;
        self.files += other.files;
        self.stubs += other.stubs;
        self.problems += other.problems;
        self.lost_files += other.lost_files;
        self.lost_bytes += other.lost_bytes;
        self.repairable_files += other.repairable_files;
        self.repaired_files += other.repaired_files;
        self.unowned_objects += other.unowned_objects;
        self.unowned_bytes += other.unowned_bytes;
        self.mended_packs += other.mended_packs;
        self.unchecked += other.unchecked;
        self.stray_stubs += other.stray_stubs;
        self.stopped |= other.stopped;
    }
}

/// Verifies and calls `found` for each problem, in order of discovery.
pub fn run(
    site: &mut Site<'_>,
    roots: &[(RootRow, RootDir)],
    options: &Options,
    found: &mut dyn FnMut(&Problem),
) -> Result<VerifyStats, Error> {
    let (stats, elsewhere) = (VerifyStats::default(), Elsewhere::default());
    let mut verifier = Verifier { site, options, found, stats, elsewhere };
    if !options.dry_run {
        // What another node's collection deleted is not missing.
        log::look(verifier.site)?;
    }
    let scope = verifier.scope(roots)?;
    verifier.list(scope.as_ref())?;
    if scope.is_none() {
        verifier.segments()?;
    }
    if let Some(sample) = options.data {
        verifier.read_packs(sample, scope.as_ref())?;
    }
    verifier.second(scope.as_ref())?;
    for (row, root) in roots {
        verifier.files(row, root)?;
        verifier.strays(row, root)?;
    }
    verifier.stats.stopped = verifier.site.stop.requested();
    Ok(verifier.stats)
}

struct Verifier<'a, 's> {
    site: &'a mut Site<'s>,
    options: &'a Options,
    found: &'a mut dyn FnMut(&Problem),
    stats: VerifyStats,
    elsewhere: Elsewhere,
}

impl Verifier<'_, '_> {
    fn problem(&mut self, problem: Problem) {
        self.stats.problems += 1;
        match &problem {
            Problem::Lost { size_bytes, .. } => {
                self.stats.lost_files += 1;
                self.stats.lost_bytes += size_bytes;
            }
            Problem::Repairable { .. } => self.stats.repairable_files += 1,
            _ => {}
        }
        (self.found)(&problem);
    }

    /// The packs that the files below `under` rely on; `None` means all.
    fn scope(&self, roots: &[(RootRow, RootDir)]) -> Result<Option<HashSet<PackId>>, Error> {
        let Some((root_id, under)) = &self.options.under else { return Ok(None) };
        debug_assert!(roots.iter().any(|(row, _)| row.id == *root_id));
        let mut contents = HashSet::new();
        self.site.state.for_each_managed(*root_id, Some(under), &[], &mut |row| {
            contents.extend(row.content);
            std::ops::ControlFlow::Continue(())
        })?;
        let mut packs = HashSet::new();
        for id in contents {
            let Some((content, _)) = self.site.state.content(id)? else { continue };
            let ids: Vec<ChunkId> = content.chunk_ids().collect();
            packs.extend(self.site.state.find_chunks(&ids)?.into_iter().flatten().map(|p| p.pack));
        }
        Ok(Some(packs))
    }
}

/// Text for a stub whose file is not what it should be.
fn describe(placement: &stub::Placement) -> String {
    format!("it is {}", placement.describe())
}
