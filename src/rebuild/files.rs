//! What each file on disk is, by its marker, its stamps and the log.
//!
//! Only the name's descriptor is opened (`O_PATH`): nothing is recalled, no lease is
//! broken, no atime moves. What is not certain is recorded so that the next scan
//! looks at it again: with stamps that are not the file's.

use super::search::Homeless;
use super::{Difference, Error, FileError, Rebuild, RebuildRoot};
use crate::catalog::{Point, RootRef, Sight, Version};
use crate::ids::FileIdent;
use crate::manifest::{Content, FileRecord};
use crate::os::stat::{FileKind, Stat, statx_fd};
use crate::os::tree::is_gone;
use crate::os::{RelPath, file_ident, xattrs};
use crate::policy::FileState;
use crate::state::{EntryRow, ManagedRow, RebuiltFile, RootId};
use crate::stub::{self, Glance, Marker, MarkerSpace, Placement};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Names that are looked at before what was found is written down.
const PAGE: usize = 4096;
/// Beyond this many allocated bytes a file has data.
const MOST_ALLOCATED_OF_A_STUB_BYTES: u64 = 64 << 10;

/// One root while it is looked through.
pub(super) struct Place<'a> {
    pub root: &'a RebuildRoot,
    pub in_log: Option<RootRef>,
    /// Its number in the state DB before.
    pub before: Option<RootId>,
}

/// A file as it is on disk.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub root: RootId,
    pub full: PathBuf,
    pub path: RelPath,
    pub ident: FileIdent,
    pub btime_ns: i64,
    pub stat: Stat,
    pub before: Option<ManagedRow>,
}

/// What was found in one page.
#[derive(Default)]
struct Batch {
    files: Vec<RebuiltFile>,
    dirs: Vec<RelPath>,
    specials: Vec<RelPath>,
}

/// How a file is to be managed.
struct As {
    state: FileState,
    former: Option<FileState>,
    /// Its stamps are what they were when that became so; else a scan finds out.
    certain: bool,
    seq: Option<u64>,
}

impl Rebuild<'_, '_> {
    /// An empty directory where there was a tree is a vanished mount.
    pub(super) fn refuse_emptied(&self, root: &RebuildRoot) -> Result<(), Error> {
        let Some(of) = self.in_log(&root.row)? else { return Ok(()) };
        let mut entries = std::fs::read_dir(root.dir.path()).into_iter().flatten();
        let files = self.sources.catalog.figures_of(&of)?.files;
        if files > 0 && entries.next().is_none() {
            return Err(Error::RootLooksEmpty { path: root.row.path.clone(), files });
        }
        Ok(())
    }

    pub(super) fn place<'r>(&self, root: &'r RebuildRoot) -> Result<Place<'r>, Error> {
        let before = match self.sources.old {
            Some(old) => old.roots()?.into_iter().find(|row| row.path == root.row.path),
            None => None,
        };
        let in_log = self.in_log(&root.row)?;
        Ok(Place { root, in_log, before: before.map(|row| row.id) })
    }

    /// Enters what the last scan saw in a root.
    pub(super) fn files(&mut self, root: &RebuildRoot) -> Result<(), Error> {
        let place = self.place(root)?;
        let mut batch = Batch::default();
        self.directory(&place, &RelPath::root(), root.dir.stat(&RelPath::root()).ok(), &mut batch)?;
        let mut after = None;
        loop {
            self.check_stop()?;
            let page = self.site.state.entries_page(root.row.id, None, after.as_ref(), PAGE)?;
            for entry in &page {
                self.entry(&place, entry, &mut batch)?;
            }
            let Batch { files, dirs, specials } = std::mem::take(&mut batch);
            self.site.state.enter_files(root.row.id, &files)?;
            self.site.state.enter_catalogued(root.row.id, &dirs, &specials)?;
            self.site.monitor.advance(page.len() as u64, 0);
            if page.len() < PAGE {
                return Ok(());
            }
            after = page.last().map(|entry| entry.path.clone());
        }
    }

    fn version(&self, place: &Place<'_>, path: &RelPath) -> Result<Option<Version>, Error> {
        let Some(of) = &place.in_log else { return Ok(None) };
        Ok(self.sources.catalog.version_at(of, Sight::At(Point::Now), path.as_bytes())?)
    }

    fn entry(
        &mut self,
        place: &Place<'_>,
        entry: &EntryRow,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        match entry.kind {
            FileKind::File => self.file(place, entry, batch),
            FileKind::Dir => {
                let stat = place.root.dir.stat(&entry.path).ok();
                self.directory(place, &entry.path, stat, batch)
            }
            kind => {
                let version = self.version(place, &entry.path)?.map(|version| version.record);
                let same = |record: &FileRecord| {
                    record.kind == kind.code() && record.ctime_ns == entry.ctime_ns
                };
                if version.as_ref().is_some_and(same) {
                    batch.specials.push(entry.path.clone());
                }
                Ok(())
            }
        }
    }

    fn directory(
        &self,
        place: &Place<'_>,
        path: &RelPath,
        stat: Option<Stat>,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let version = self.version(place, path)?.map(|version| version.record);
        let same = |record: &FileRecord, stat: &Stat| {
            record.kind == 'd' && record.ctime_ns == stat.ctime_ns
        };
        if let (Some(record), Some(stat)) = (version, stat)
            && same(&record, &stat)
        {
            batch.dirs.push(path.clone());
        }
        Ok(())
    }

    fn file(
        &mut self,
        place: &Place<'_>,
        entry: &EntryRow,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let version = self.version(place, &entry.path)?;
        let version = version.filter(|version| version.record.content.is_some());
        let hint = entry.allocated_bytes < entry.size_bytes
            && entry.allocated_bytes <= MOST_ALLOCATED_OF_A_STUB_BYTES;
        if !hint && version.is_none() && place.before.is_none() {
            return Ok(());
        }
        let full = entry.path.to_path(place.root.dir.path());
        let (fd, stat, ident, glance) = match look(place, entry) {
            Ok(Some(looked)) => looked,
            Ok(None) => return Ok(()),
            Err(error) => {
                self.stats.failed += 1;
                self.site.monitor.file_failed(&full, "look at", &error);
                return Ok(());
            }
        };
        let before = match (self.sources.old, place.before) {
            (Some(old), Some(root)) => old.managed_by_ident(root, ident)?,
            _ => None,
        };
        let found = Found {
            root: place.root.row.id,
            full,
            path: entry.path.clone(),
            ident,
            btime_ns: stat.btime_ns,
            stat,
            before,
        };
        let way = |state, former, certain| As { state, former, certain, seq: None };
        match glance {
            Glance::Sure(Placement::Resident) => {
                return self.resident(&found, version.as_ref(), batch);
            }
            Glance::Sure(Placement::Foreign(_)) => self.stats.foreign += 1,
            Glance::Sure(Placement::Corrupt { why, .. }) => {
                self.tell(Difference::BadMarker { path: found.full, why });
            }
            Glance::Sure(Placement::Stub(marker)) | Glance::Likely(marker) => {
                let way = way(FileState::Stub, None, true);
                self.stub(found, &fd, &marker, version.as_ref(), way, batch)?;
            }
            Glance::Sure(Placement::Filling(marker)) => {
                let way = way(FileState::Recalling, Some(FileState::Stub), false);
                self.stub(found, &fd, &marker, version.as_ref(), way, batch)?;
            }
            Glance::Sure(Placement::Marked(marker)) => {
                let way = way(FileState::Stubbing, Some(FileState::Uploaded), false);
                self.stub(found, &fd, &marker, version.as_ref(), way, batch)?;
            }
            Glance::Unclear(marker)
            | Glance::Sure(Placement::Rewritten(marker) | Placement::Changed { marker, .. }) => {
                let way = way(FileState::Stub, None, false);
                self.stub(found, &fd, &marker, version.as_ref(), way, batch)?;
            }
        }
        Ok(())
    }

    /// A file whose marker is its own: the marker says which content it is.
    fn stub(
        &mut self,
        found: Found,
        fd: &OwnedFd,
        marker: &Marker,
        version: Option<&Version>,
        mut way: As,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        if marker.store_tag != self.site.store_id.tag() {
            let why = "it belongs to another store".to_owned();
            self.tell(Difference::BadMarker { path: found.full, why });
            return Ok(());
        }
        if !self.is_believed(&found, marker)? {
            let why = "its owner could have set it, and no log says that this file was uploaded so";
            self.tell(Difference::BadMarker { path: found.full, why: why.to_owned() });
            return Ok(());
        }
        let here = version.filter(|version| {
            version.record.content == Some(marker.content) && is_same_inode(version, found.ident)
        });
        if let Some(version) = here
            && let Some(content) = version.record.content_list()
        {
            if way.state == FileState::Stub && is_half_punched(&version.record, &found.stat) {
                (way.state, way.former) = (FileState::Stubbing, Some(FileState::Uploaded));
                way.certain = false;
            }
            let same = way.certain && is_described(&version.record, &found.stat, fd);
            way.seq = same.then_some(version.from_seq);
            let cut = version.record.chunking.clone().unwrap_or_default();
            batch.files.push(self.managed(&found, content, cut, &way, Some(version)));
            return Ok(());
        }
        let known = match self.sources.catalog.content_as_cut(marker.content)? {
            Some((content, cut)) => Some((content, cut.unwrap_or_default())),
            None => self.old_copy(marker.content)?,
        };
        let Some((content, cut)) = known else {
            let (content, size_bytes) = (marker.content, marker.size_bytes);
            let (state, former, certain) = (way.state, way.former, way.certain);
            self.homeless.push(Homeless { found, content, size_bytes, state, former, certain });
            return Ok(());
        };
        if content.size_bytes != marker.size_bytes {
            let why = "it names a content of another size".to_owned();
            self.tell(Difference::BadMarker { path: found.full, why });
            return Ok(());
        }
        batch.files.push(self.managed(&found, content, cut, &way, None));
        self.tell(Difference::Unrecorded { path: found.full });
        Ok(())
    }

    /// An ordinary user's marker can be set by whoever may write the file; it counts
    /// only where something else says the same of this inode.
    fn is_believed(&self, found: &Found, marker: &Marker) -> Result<bool, Error> {
        if MarkerSpace::for_this_process() == MarkerSpace::Trusted {
            return Ok(true);
        }
        let before = found.before.as_ref().and_then(|row| row.content);
        let known = before == Some(marker.content);
        Ok(known || self.sources.catalog.was_uploaded(marker.content, found.ident)?)
    }

    /// A file without a marker: all its bytes are here, and what was uploaded of it is
    /// its copy as long as its stamps say so.
    fn resident(
        &mut self,
        found: &Found,
        version: Option<&Version>,
        batch: &mut Batch,
    ) -> Result<(), Error> {
        let stamps = |size: u64, mtime_ns: i64, ctime_ns: i64| {
            let stat = &found.stat;
            (size, mtime_ns, ctime_ns) == (stat.size_bytes, stat.mtime_ns, stat.ctime_ns)
        };
        let own = version.filter(|version| is_same_inode(version, found.ident));
        let way = |state, seq| As { state, former: None, certain: true, seq };
        if let Some(version) = own
            && let record = &version.record
            && let Some(content) = record.content_list()
            && stamps(record.size_bytes, record.mtime_ns, record.ctime_ns)
        {
            let cut = record.chunking.clone().unwrap_or_default();
            let way = way(FileState::Uploaded, Some(version.from_seq));
            batch.files.push(self.managed(found, content, cut, &way, Some(version)));
            return Ok(());
        }
        // A recall moved the ctime, or the segment that has the file is lost.
        let before = found.before.clone().filter(|row| {
            row.state == FileState::Uploaded && stamps(row.size_bytes, row.mtime_ns, row.ctime_ns)
        });
        if let Some(id) = before.and_then(|row| row.content) {
            let in_log = own.filter(|version| version.record.content == Some(id));
            let known = match in_log.and_then(|version| version.record.content_list()) {
                Some(content) => Some((content, String::new())),
                None => self.old_copy(id)?,
            };
            if let Some((content, cut)) = known {
                let way = way(FileState::Uploaded, in_log.map(|version| version.from_seq));
                batch.files.push(self.managed(found, content, cut, &way, in_log));
                if in_log.is_none() {
                    self.tell(Difference::Unrecorded { path: found.full.clone() });
                }
                return Ok(());
            }
        }
        if let Some(version) = own
            && let Some(content) = version.record.content_list()
        {
            let cut = version.record.chunking.clone().unwrap_or_default();
            let way = way(FileState::Dirty, Some(version.from_seq));
            let mut file = self.managed(found, content, cut, &way, Some(version));
            let record = &version.record;
            (file.size_bytes, file.mtime_ns) = (record.size_bytes, record.mtime_ns);
            file.ctime_ns = record.ctime_ns;
            batch.files.push(file);
        }
        Ok(())
    }

    fn managed(
        &mut self,
        found: &Found,
        content: Content,
        chunking: String,
        way: &As,
        version: Option<&Version>,
    ) -> RebuiltFile {
        match way.state {
            FileState::Uploaded => self.stats.uploaded += 1,
            FileState::Dirty => self.stats.dirty += 1,
            _ => self.stats.stubs += 1,
        }
        rebuilt(found, content, chunking, (way.state, way.former, way.certain), way.seq, version)
    }
}

/// The row of a file as it was found; with a ctime that no file has where it is not
/// certain.
pub(super) fn rebuilt(
    found: &Found,
    content: Content,
    chunking: String,
    (state, former_state, certain): (FileState, Option<FileState>, bool),
    segment_seq: Option<u64>,
    version: Option<&Version>,
) -> RebuiltFile {
    let before = found.before.as_ref().filter(|row| row.content == Some(content.id()));
    RebuiltFile {
        ident: found.ident,
        btime_ns: found.btime_ns,
        path: found.path.clone(),
        state,
        former_state,
        size_bytes: content.size_bytes,
        mtime_ns: version.map_or(found.stat.mtime_ns, |version| match certain {
            true => found.stat.mtime_ns,
            false => version.record.mtime_ns,
        }),
        ctime_ns: if certain { found.stat.ctime_ns } else { 0 },
        content,
        chunking,
        uploaded_ns: before
            .and_then(|row| row.uploaded_ns)
            .or(version.map(|version| version.from_ns)),
        stubbed_ns: before.and_then(|row| row.stubbed_ns),
        recalled_ns: before.and_then(|row| row.recalled_ns),
        rule: before.and_then(|row| row.rule.clone()),
        segment_seq,
    }
}

type Looked = (OwnedFd, Stat, FileIdent, Glance);

/// `None` for what is gone or another file since the scan.
fn look(place: &Place<'_>, entry: &EntryRow) -> Result<Option<Looked>, FileError> {
    let fd = match place.root.dir.open_path(&entry.path) {
        Ok(fd) => fd,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (stat, ident) = (statx_fd(&fd)?, file_ident(&fd)?);
    if ident.ino != entry.ino {
        return Ok(None);
    }
    let glance = stub::glance(&fd, MarkerSpace::for_this_process())?;
    Ok(Some((fd, stat, ident, glance)))
}

fn is_same_inode(version: &Version, ident: FileIdent) -> bool {
    (version.record.ino, version.record.generation) == (ident.ino, ident.generation)
}

/// A punch sets both times to one moment, and a run that died could not put the mtime
/// back: it is the content's, which is in the record. A bare `touch` of a stub looks
/// the same, and is undone.
fn is_half_punched(record: &FileRecord, stat: &Stat) -> bool {
    stat.mtime_ns == stat.ctime_ns && stat.mtime_ns != record.mtime_ns
}

/// The record says all that a restore would bring back; the ctime of a stub is not
/// that of the file it was.
fn is_described(record: &FileRecord, stat: &Stat, fd: &OwnedFd) -> bool {
    let plain = (record.mode, record.uid, record.gid, record.mtime_ns, record.nlink)
        == (stat.mode, stat.uid, stat.gid, stat.mtime_ns, stat.nlink);
    plain && has_attributes(fd, &record.xattrs).unwrap_or(false)
}

/// In any order; our own are no part of a record.
fn has_attributes(fd: &OwnedFd, recorded: &[(Vec<u8>, Vec<u8>)]) -> io::Result<bool> {
    let found = xattrs::list_path_fd(fd)?.into_iter().filter(|(name, _)| !xattrs::is_own(name));
    let mut found: Vec<_> = found.map(|(name, value)| (name.into_vec(), value)).collect();
    stub::leave_out(fd, MarkerSpace::for_this_process(), &mut found);
    Ok(found.len() == recorded.len() && found.iter().all(|pair| recorded.contains(pair)))
}
