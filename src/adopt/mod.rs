//! Adoption: makes stubs of their own of copies of stubs.
//!
//! A marker names the inode it was made for, so a stub that is copied with its
//! attributes and without its data (`cp -a` where no guard watched, a restored
//! backup) is refused by everything else. Here a person says that it is to be a
//! stub; it becomes one if it is nothing but a hole of the right size and every
//! chunk of the content that the marker names is in the store.
//!
//! Order: copy looked for -> marker bound to the inode -> durable -> state DB.
//! A crash between two leaves a stub that a second adoption records, or that the
//! next recall finds by its marker. Only attributes are written. Without a guard
//! a write lease keeps others away meanwhile; where a guard watches nobody can
//! open such a file, this process neither, so it is bound without being opened.

mod copies;
mod copy;

pub use copies::copies;

use crate::catalog::Readers;
use crate::ids::ContentId;
use crate::manifest::Content;
use crate::os::lease::WriteLease;
use crate::os::relpath::RelPath;
use crate::os::stat::{FileKind, Stat, statx_fd};
use crate::os::tree::RootDir;
use crate::os::{blocks, file_ident};
use crate::site::{Catalog, Site, catalog};
use crate::state::{AdoptedStub, RootId};
use crate::stub::{self, Glance, Marker, MarkerSpace, Placement};
use crate::{chunk, state, store};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// What stops an adoption as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
}

/// Why one file is not adopted. Nothing about it has changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("open the file")]
    Open(#[source] io::Error),
    #[error("make it durable")]
    Sync(#[source] io::Error),
    #[error("a program has it open or mapped")]
    InUse,
    #[error(
        "it holds data where a stub is a hole ({local_bytes} bytes); recall the original and copy \
         it again, or remove the attribute {attribute} if these bytes are right"
    )]
    Mixed { local_bytes: u64, attribute: &'static str },
    #[error(
        "it has {allocated_bytes} bytes in blocks, of data or of attributes; to tell which it would \
         have to be opened, and the guard refuses that"
    )]
    Untold { allocated_bytes: u64 },
    #[error(
        "it is full of zeros, as a copy of a stub's hole is; fallocate --dig-holes makes a hole \
         of them, or remove the attribute {attribute} if zeros are right"
    )]
    Zeros { attribute: &'static str },
    #[error("it is {0}")]
    NotACopy(&'static str),
    #[error("its size is {found_bytes} bytes, its content has {expected_bytes}")]
    Size { found_bytes: u64, expected_bytes: u64 },
    #[error("its marker names content {0}, which neither the state DB nor the catalog knows")]
    UnknownContent(ContentId),
    #[error(
        "users can read it who cannot read any file that its content is known of; give it the owner \
         and the mode of the original, or --any-reader if they may have it"
    )]
    MoreReaders,
    #[error("the copy is incomplete: {0}")]
    NoCopy(String),
    #[error("a chunk of the copy is bad")]
    Chunk(#[from] chunk::Error),
    #[error(transparent)]
    Stub(#[from] stub::Error),
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Read and verify the copy; else its packs are only asked for.
    pub data: bool,
    /// Find out, change nothing.
    pub dry_run: bool,
    /// Whoever can read the file may have the content.
    pub any_reader: bool,
}

/// What the file is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    Stub {
        content: ContentId,
        size_bytes: u64,
        record: Record,
    },
    /// All its bytes are there; a marker is on it no more.
    Resident,
}

/// Whether the state DB has an adopted stub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    Managed,
    /// A scan has to see the file first, and a second adoption to record it.
    NotScanned,
    /// Its copy is known from the catalog only, by which a recall finds it.
    CatalogOnly,
}

/// Adopts one file.
pub fn adopt(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    root_id: RootId,
    root: &RootDir,
    path: &RelPath,
    options: Options,
) -> Result<Result<Adopted, FileError>, Error> {
    let mut adoption = Adoption {
        site,
        catalog,
        root_id,
        root,
        path,
        options,
        space: MarkerSpace::for_this_process(),
    };
    adoption.run()
}

struct Adoption<'a, 's> {
    site: &'a mut Site<'s>,
    catalog: &'a mut Catalog,
    root_id: RootId,
    root: &'a RootDir,
    path: &'a RelPath,
    options: Options,
    space: MarkerSpace,
}

/// A copied stub.
struct Orphan {
    fd: OwnedFd,
    /// Where no guard watches, open for writing.
    file: Option<File>,
    marker: Marker,
    /// Bound to this inode already; only the state DB may not know it.
    own: bool,
}

impl Adoption<'_, '_> {
    fn run(&mut self) -> Result<Result<Adopted, FileError>, Error> {
        let orphan = match self.look() {
            Ok(Some(orphan)) => orphan,
            Ok(None) => return Ok(Ok(Adopted::Resident)),
            Err(error) => return Ok(Err(error)),
        };
        let content = match self.copy_of(&orphan.marker)? {
            Ok(content) => content,
            Err(error) => return Ok(Err(error)),
        };
        if !self.may_have(&orphan)? {
            return Ok(Err(FileError::MoreReaders));
        }
        let record = match self.options.dry_run {
            true => self.foretell(&orphan, &content)?,
            false => match self.bind(&orphan) {
                Ok(stat) => self.manage(&orphan, &stat, &content)?,
                Err(error) => return Ok(Err(error)),
            },
        };
        let (content, size_bytes) = (orphan.marker.content, orphan.marker.size_bytes);
        Ok(Ok(Adopted::Stub { content, size_bytes, record }))
    }

    /// `None` for a file whose bytes are all there.
    fn look(&self) -> Result<Option<Orphan>, FileError> {
        let fd = self.root.open_path(self.path).map_err(FileError::Open)?;
        if statx_fd(&fd).map_err(FileError::Open)?.kind == FileKind::Dir {
            return Err(FileError::NotACopy("a directory; hsm adopt -r takes what is in it"));
        }
        let marker = match stub::glance(&fd, self.space)? {
            Glance::Sure(Placement::Resident) => return Ok(None),
            Glance::Sure(Placement::Foreign(marker)) => marker,
            Glance::Sure(Placement::Stub(marker)) | Glance::Likely(marker) => {
                return Ok(Some(Orphan { fd, file: None, marker, own: true }));
            }
            Glance::Sure(other) => return Err(FileError::NotACopy(other.describe())),
            Glance::Unclear(_) => return Err(FileError::NotACopy("a stub that was written to")),
        };
        let Stat { size_bytes, allocated_bytes, .. } = statx_fd(&fd).map_err(FileError::Open)?;
        if self.site.guard.is_some() && allocated_bytes == 0 {
            return Ok(Some(Orphan { fd, file: None, marker, own: false }));
        }
        let file = match self.root.open_write(self.path) {
            Ok(file) => file,
            // The guard refuses it: not all of its bytes are there.
            Err(_) if self.site.guard.is_some() => {
                return Err(FileError::Untold { allocated_bytes });
            }
            Err(error) => return Err(FileError::Open(error)),
        };
        if blocks::is_all_hole(&file, size_bytes).map_err(FileError::Open)? {
            return Ok(Some(Orphan { fd, file: Some(file), marker, own: false }));
        }
        self.drop_foreign(&file, size_bytes)?;
        Ok(None)
    }

    /// The data came along: the marker means nothing. A guard that let us open
    /// the file has taken it off already.
    fn drop_foreign(&self, file: &File, size_bytes: u64) -> Result<(), FileError> {
        if !blocks::is_all_data(file, size_bytes).map_err(FileError::Open)? {
            let extents = blocks::data_extents(file, size_bytes).map_err(FileError::Open)?;
            let local_bytes = extents.iter().map(|extent| extent.end - extent.start).sum();
            return Err(FileError::Mixed { local_bytes, attribute: self.space.attribute() });
        }
        if blocks::reads_as_zeros(file).map_err(FileError::Open)? {
            return Err(FileError::Zeros { attribute: self.space.attribute() });
        }
        if !self.options.dry_run {
            stub::drop_marker(file, self.space)?;
        }
        Ok(())
    }

    /// The content that the marker names, if its copy is there.
    fn copy_of(&mut self, marker: &Marker) -> Result<Result<Content, FileError>, Error> {
        if marker.store_tag != self.site.store_id.tag() {
            return Ok(Err(FileError::NotACopy("a stub of another store")));
        }
        let known = match self.site.state.content(marker.content)? {
            Some((content, _)) if content.id() == marker.content => Some(content),
            _ => self.catalog.content(self.site, marker.content)?,
        };
        let Some(content) = known else {
            return Ok(Err(FileError::UnknownContent(marker.content)));
        };
        if content.size_bytes != marker.size_bytes {
            let (found_bytes, expected_bytes) = (marker.size_bytes, content.size_bytes);
            return Ok(Err(FileError::Size { found_bytes, expected_bytes }));
        }
        let found = copy::require(self.site, self.catalog, &content, self.options.data)?;
        Ok(found.map(|()| content))
    }

    /// A marker that another file has, or that an ordinary user could write, is no proof
    /// that whoever owns this file may have what it names: an archive with attributes
    /// that was unpacked by root can hold any. So nobody gets to read by an adoption
    /// what they could not read before. Of directories above nothing is known.
    fn may_have(&mut self, orphan: &Orphan) -> Result<bool, Error> {
        let is_ours = orphan.own && self.space == MarkerSpace::Trusted;
        if is_ours || self.options.any_reader {
            return Ok(true);
        }
        let Ok(Stat { uid, gid, mode, .. }) = statx_fd(&orphan.fd) else { return Ok(false) };
        let readers = Readers { uid, gid, mode };
        Ok(self.catalog.may_be_read(self.site, orphan.marker.content, readers)?)
    }

    /// Only then do the checks of the state DB find the copy, too.
    fn is_known_here(&self, content: &Content) -> Result<bool, Error> {
        let ids: Vec<_> = content.chunk_ids().collect();
        let in_packs = self.site.state.find_chunks(&ids)?.iter().all(Option::is_some);
        Ok(in_packs && self.site.state.content(content.id())?.is_some())
    }

    /// Durable on return.
    fn bind(&self, orphan: &Orphan) -> Result<Stat, FileError> {
        let store = self.site.store_id;
        match &orphan.file {
            _ if orphan.own => {}
            Some(file) => {
                let lease = WriteLease::acquire(file).map_err(FileError::Open)?;
                let _lease = lease.ok_or(FileError::InUse)?;
                stub::rebind(file, self.space, store)?;
                file.sync_all().map_err(FileError::Sync)?;
            }
            None => {
                stub::rebind_unopened(&orphan.fd, self.space, store)?;
                blocks::syncfs(self.root).map_err(FileError::Sync)?;
            }
        }
        statx_fd(&orphan.fd).map_err(FileError::Open)
    }

    /// What [`Self::manage`] would say.
    fn foretell(&self, orphan: &Orphan, content: &Content) -> Result<Record, Error> {
        let entry = self.site.state.entry_at(self.root_id, self.path)?;
        let ino = statx_fd(&orphan.fd).map(|stat| stat.ino).ok();
        Ok(match () {
            () if !self.is_known_here(content)? => Record::CatalogOnly,
            () if entry.map(|entry| entry.ino) == ino => Record::Managed,
            () => Record::NotScanned,
        })
    }

    fn manage(&mut self, orphan: &Orphan, stat: &Stat, content: &Content) -> Result<Record, Error> {
        if !self.is_known_here(content)? {
            return Ok(Record::CatalogOnly);
        }
        let Ok(ident) = file_ident(&orphan.fd) else { return Ok(Record::NotScanned) };
        let row = self.site.state.managed_by_ident(self.root_id, ident)?;
        if row.is_some_and(|row| row.content == Some(orphan.marker.content)) {
            return Ok(Record::Managed);
        }
        let stub = AdoptedStub {
            ident,
            btime_ns: stat.btime_ns,
            path: self.path.clone(),
            content: orphan.marker.content,
            size_bytes: stat.size_bytes,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
        };
        let now_ns = self.site.clock.now_ns();
        Ok(match self.site.state.adopt_stub(self.root_id, &stub, now_ns)? {
            true => Record::Managed,
            false => Record::NotScanned,
        })
    }
}
