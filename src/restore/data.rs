//! Files with their data: filled before they have a name.
//!
//! Unnamed file -> space reserved -> fetched, verified, written -> durable -> owner,
//! attributes, mode, times -> name. A batch shares its requests to the store and its
//! flush; what fails has no name and is gone.

use super::make::{Entry, attributes, name, set_size};
use super::{Error, FileError, Run};
use crate::fault;
use crate::manifest::Content;
use crate::os::blocks;
use crate::os::plant::Unnamed;
use crate::os::space::{FreeSpace, RESERVE_BYTES};
use crate::os::stat::statx_fd;
use crate::site::fetch::{self, Filling, Sink, SinkError};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// From this many files a batch is flushed with one `syncfs`; below it each file is
/// by itself, which spares unrelated dirty data.
const FLUSH_TOGETHER: usize = 8;
/// After so many bytes a file is flushed while it is written: the wait at the end
/// stays short.
const FLUSH_BYTES: u64 = 256 << 20;

/// A file that is about to be filled.
struct Begun {
    entry: Entry,
    content: Content,
    file: Unnamed,
    dev: u64,
}

/// Writes into the unnamed file.
struct IntoFile<'f> {
    file: &'f File,
    written: AtomicU64,
}

impl Sink for IntoFile<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        fault::effect("restore.pwrite")?;
        self.file.write_all_at(bytes, offset)?;
        let length = bytes.len() as u64;
        let before = self.written.fetch_add(length, Ordering::Relaxed);
        if before / FLUSH_BYTES != (before + length) / FLUSH_BYTES {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl Run<'_, '_> {
    pub(super) fn fill(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        let mut begun = vec![];
        for entry in entries {
            let path = entry.path.clone();
            match self.begin(entry) {
                Ok(file) => begun.push(file),
                Err(error) => self.fail(&path, error)?,
            }
        }
        self.check_space(&begun)?;
        begun = self.reserve(begun)?;
        let outcomes = self.fetch(&begun)?;
        fault::point("restore.data-written");
        let mut whole = vec![];
        for (file, outcome) in begun.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => whole.push(file),
                Err(_) if self.site.stop.requested() => {}
                Err(fetch::FileError::ChunkLost(_)) if file.entry.version.expired => {
                    self.fail(&file.entry.path, FileError::Deleted)?;
                }
                Err(error) => self.fail(&file.entry.path, FileError::Fetch(error))?,
            }
        }
        self.flush_data(&whole)?;
        fault::point("restore.data-durable");
        for Begun { entry, content, mut file, .. } in whole {
            match name(&mut file, &entry, &attributes(entry.record())) {
                Ok(refusals) => {
                    self.refusals.add(&self.target.full(&entry.path), refusals);
                    self.stats.files += 1;
                    self.stats.replaced += u64::from(entry.over.is_some());
                    self.stats.bytes += content.data_bytes();
                    self.site.monitor.advance(1, 0);
                }
                Err(error) => self.fail(&entry.path, error)?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, entry: Entry) -> Result<Begun, FileError> {
        let content = entry.record().content_list().ok_or(FileError::NoContent)?;
        let file = self.target.plantation.begin_file(&entry.path).map_err(FileError::Make)?;
        let dev = statx_fd(file.file()).map_err(FileError::Make)?.dev;
        self.disks.note(dev, file.file()).map_err(FileError::Make)?;
        set_size(file.file(), content.size_bytes)?;
        Ok(Begun { entry, content, file, dev })
    }

    /// Of each file system that the batch goes to.
    fn check_space(&self, begun: &[Begun]) -> Result<(), Error> {
        let mut devices: Vec<u64> = begun.iter().map(|file| file.dev).collect();
        devices.sort_unstable();
        devices.dedup();
        for dev in devices {
            let mut there = begun.iter().filter(|file| file.dev == dev).peekable();
            let Some(first) = there.peek() else { continue };
            let path = || self.target.full(&first.entry.path);
            let free = FreeSpace::of(first.file.file())
                .map_err(|source| Error::Space { path: path(), source })?;
            let (path, available_bytes) = (path(), free.available_bytes);
            let needed_bytes: u64 = there.map(|file| file.content.data_bytes()).sum();
            if needed_bytes > 0 && needed_bytes.saturating_add(RESERVE_BYTES) > available_bytes {
                return Err(Error::NoSpace { path, needed_bytes, available_bytes });
            }
        }
        Ok(())
    }

    /// A full disk is known before anything is fetched.
    fn reserve(&mut self, begun: Vec<Begun>) -> Result<Vec<Begun>, Error> {
        let mut kept = vec![];
        for file in begun {
            let ranges = file.content.data_ranges();
            let reserved = ranges.into_iter().try_for_each(|range| {
                fault::effect("restore.fallocate")?;
                blocks::allocate(file.file.file(), range).map(drop)
            });
            match reserved {
                Ok(()) => kept.push(file),
                Err(error) => self.fail(&file.entry.path, FileError::Write(error))?,
            }
        }
        Ok(kept)
    }

    fn fetch(&mut self, begun: &[Begun]) -> Result<Vec<Result<(), fetch::FileError>>, Error> {
        let sinks: Vec<IntoFile<'_>> = begun
            .iter()
            .map(|file| IntoFile { file: file.file.file(), written: AtomicU64::new(0) })
            .collect();
        let filling: Vec<Filling<'_>> = begun
            .iter()
            .zip(&sinks)
            .map(|(file, sink)| Filling { content: &file.content, sink })
            .collect();
        Ok(fetch::fill_all(self.site, self.catalog, &filling)?)
    }

    fn flush_data(&self, whole: &[Begun]) -> Result<(), Error> {
        let Some(first) = whole.first() else { return Ok(()) };
        let flushed = fault::effect("restore.flush").and_then(|()| {
            if whole.len() >= FLUSH_TOGETHER {
                return self.disks.flush();
            }
            whole.iter().try_for_each(|file| file.file.file().sync_data())
        });
        let path = || self.target.full(&first.entry.path);
        flushed.map_err(|source| Error::Flush { path: path(), source })
    }
}
