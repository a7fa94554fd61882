//! Recalling what a person named, in batches, so that small neighbours in one
//! pack come with one request and one flush makes many files durable.
//!
//! Each file of a batch is kept from other threads from before it is looked at
//! until its marker is gone or it is a stub again. They are taken in the order
//! of their inodes, so that two batches cannot wait for each other; an inode
//! that two names reach is taken once.

use super::awaited::{self, Candidate, packs_of};
use super::target::{self, Named, Opened, Opening, Target};
use super::{Error, FileError, Options, RecallStats, Tell, content_of};
use crate::ids::FileIdent;
use crate::manifest::Content;
use crate::os::blocks;
use crate::os::relpath::RelPath;
use crate::os::space::{FreeSpace, RESERVE_BYTES};
use crate::os::tree::RootDir;
use crate::policy::FileState;
use crate::site::archive::{self, Archive};
use crate::site::{Catalog, Held, Site, fetch};
use crate::state::{ManagedRow, RootId};
use crate::stub::{Filler, MarkerSpace};
use std::collections::HashSet;

/// Files in one batch...
const BATCH_FILES: usize = 512;
/// ...or bytes; a larger file is a batch of its own.
const BATCH_BYTES: u64 = 1 << 30;
/// From this many files a batch is flushed with one `syncfs`; below it each
/// file's own data is, which spares unrelated dirty data.
const FLUSH_TOGETHER: usize = 8;

type Keeping<'c> = Box<dyn Held + 'c>;

/// One file being filled. Dropped unfinished, its data are punched away before
/// others get at it.
struct Fill<'c> {
    path: RelPath,
    row: Option<ManagedRow>,
    content: Content,
    ident: FileIdent,
    filler: Filler,
    held: Keeping<'c>,
}

pub(super) fn run(
    site: &mut Site<'_>,
    root_id: RootId,
    root: &RootDir,
    targets: impl Iterator<Item = Result<Target, Error>>,
    options: Options,
    tell: &Tell<'_>,
) -> Result<RecallStats, Error> {
    crate::os::lease::ignore_break_signal();
    let mut recall = Recall {
        site,
        root_id,
        root,
        options,
        tell,
        space: MarkerSpace::for_this_process(),
        stats: RecallStats::default(),
        catalog: Catalog::default(),
        archive: Archive::new(options.thaw),
        gathered: HashSet::new(),
    };
    let (mut batch, mut bytes) = (vec![], 0);
    for target in targets {
        if recall.site.stop.requested() {
            break;
        }
        let Some(named) = recall.open(target?) else { continue };
        bytes += named.missing_bytes;
        batch.push(named);
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
    tell: &'a Tell<'a>,
    space: MarkerSpace,
    stats: RecallStats,
    catalog: Catalog,
    archive: Archive,
    /// The files of the batch: one that is named twice, or by two of its names,
    /// must not be filled twice at once.
    gathered: HashSet<FileIdent>,
}

impl<'s> Recall<'_, 's> {
    /// `None` when the file is in the batch already or the failure was reported.
    fn open(&mut self, target: Target) -> Option<Named> {
        let path = target.path.clone();
        match target::open(self.root, target) {
            Ok(named) => self.gathered.insert(named.ident).then_some(named),
            Err(error) => self.fail(&path, &error),
        }
    }

    fn fail<T>(&mut self, path: &RelPath, error: &FileError) -> Option<T> {
        self.stats.failed += 1;
        (self.tell)(path, error);
        None
    }

    fn batch(&mut self, batch: Vec<Named>) -> Result<(), Error> {
        self.gathered.clear();
        let mut opened = vec![];
        for (named, held) in self.keep(batch) {
            opened.extend(self.examine(named)?.map(|opened| (opened, held)));
        }
        let opened = self.readable(opened)?;
        if opened.is_empty() {
            return Ok(());
        }
        self.check_space(&opened)?;
        let rows = opened.iter().filter_map(|(opened, _)| opened.row.as_ref());
        let idents: Vec<FileIdent> = rows.map(|row| row.ident).collect();
        let refused = self.site.state.begin_recalls(self.root_id, &idents)?;
        crate::fault::point("recall.intended");
        let (mut fills, mut failed) = (vec![], vec![]);
        for (mut opened, held) in opened {
            // The state DB did not know that it is a stub; the next scan finds
            // the file as it is then.
            opened.row = opened.row.filter(|row| !refused.contains(&row.ident));
            let Opened { path, row, content, .. } = &opened;
            let (path, row, content) = (path.clone(), row.clone(), content.clone());
            let ident = opened.ident();
            match opened.begin(self.space) {
                Ok(filler) => fills.push(Fill { path, row, content, ident, filler, held }),
                Err(error) => {
                    self.fail::<()>(&path, &error);
                    failed.extend(row.map(|row| row.ident));
                }
            }
        }
        let filling: Vec<fetch::Filling<'_>> = fills
            .iter()
            .map(|fill| fetch::Filling { content: &fill.content, sink: &fill.filler })
            .collect();
        let outcomes = fetch::fill_all(self.site, &mut self.catalog, &filling)?;
        self.finish(fills, outcomes, failed)
    }

    /// Those that can be read now. The others are let go as they are: what they need
    /// was asked for.
    fn readable(
        &mut self,
        opened: Vec<(Opened, Keeping<'s>)>,
    ) -> Result<Vec<(Opened, Keeping<'s>)>, Error> {
        let mut candidates = vec![];
        for (file, _) in &opened {
            let packs = packs_of(self.site, &mut self.catalog, &file.content)?;
            candidates.push(Candidate {
                ident: file.ident(),
                path: file.path.clone(),
                bytes: file.content.data_bytes(),
                packs: archive::suspects(self.site, &packs)?,
            });
        }
        let waits = self.ask_for(&candidates)?;
        let kept = opened.into_iter().zip(waits).filter(|(_, waits)| *waits == Some(false));
        Ok(kept.map(|(file, _)| file).collect())
    }

    /// Which of these files wait, now that the archive was asked; `None` for those
    /// whose failure was reported.
    fn ask_for(&mut self, files: &[Candidate]) -> Result<Vec<Option<bool>>, Error> {
        let error = match awaited::ask_for(self.site, &mut self.archive, self.root_id, files) {
            Ok(waits) => {
                let waiting = files.iter().zip(&waits).filter(|(_, waits)| **waits);
                self.stats.waiting.extend(waiting.map(|(file, _)| file.path.clone()));
                return Ok(waits.into_iter().map(Some).collect());
            }
            Err(Error::Store(error)) => error,
            Err(error) => return Err(error),
        };
        // What the store refuses, or cannot be asked, concerns those that need it.
        let (text, mut error) = (error.to_string(), Some(error));
        let mut answers = vec![];
        for file in files {
            answers.push(match file.packs.is_empty() {
                true => Some(false),
                false => {
                    let first = error.take().map(FileError::Store);
                    let why = first.unwrap_or_else(|| FileError::Conflict(text.clone()));
                    self.fail(&file.path, &why)
                }
            });
        }
        Ok(answers)
    }

    /// What turned out to be archived only when it was read: all that these files need
    /// is asked for. Those that do not wait have failed.
    fn late(&mut self, late: Vec<(RelPath, FileIdent, Content)>) -> Result<(), Error> {
        let mut candidates = vec![];
        for (path, ident, content) in late {
            let packs = packs_of(self.site, &mut self.catalog, &content)?.into_keys().collect();
            candidates.push(Candidate { ident, path, bytes: content.data_bytes(), packs });
        }
        for (file, waits) in candidates.iter().zip(self.ask_for(&candidates)?) {
            if waits == Some(false) {
                let why = "the archive brought its copy just now; the next recall reads it";
                self.fail::<()>(&file.path, &FileError::Conflict(why.to_owned()));
            }
        }
        Ok(())
    }

    /// Takes custody of every file; the batch keeps its order.
    fn keep(&mut self, batch: Vec<Named>) -> Vec<(Named, Keeping<'s>)> {
        let custody = self.site.custody;
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.sort_unstable_by_key(|at| batch[*at].ident);
        let mut held: Vec<Option<std::io::Result<Keeping<'s>>>> = vec![];
        held.resize_with(batch.len(), || None);
        for at in order {
            held[at] = Some(custody.hold(batch[at].file()));
        }
        let mut kept = vec![];
        for (named, held) in batch.into_iter().zip(held) {
            match held.expect("each file of the batch was asked for") {
                Ok(held) => kept.push((named, held)),
                Err(error) => drop(self.fail::<()>(&named.path, &FileError::Custody(error))),
            }
        }
        kept
    }

    /// Looks at a target and finds its content; `None` when there is nothing to
    /// do or the failure was reported. An unreadable catalog concerns only the
    /// files that need it.
    fn examine(&mut self, named: Named) -> Result<Option<Opened>, Error> {
        let path = named.path.clone();
        match self.try_examine(named) {
            Err(Error::Catalog(error)) => Ok(self.fail(&path, &FileError::Catalog(error))),
            opened => opened,
        }
    }

    fn try_examine(&mut self, named: Named) -> Result<Option<Opened>, Error> {
        let (path, row) = (named.path.clone(), named.row.clone());
        let guarded = self.site.custody.guarded();
        let found = match named.inspect(self.root, self.space, guarded, self.options) {
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
        if !found.vouched && !self.catalog.was_uploaded(self.site, marker.content, marker.ident)? {
            return Ok(self.fail(&path, &FileError::Unvouched));
        }
        let Some(content) = content_of(self.site, &mut self.catalog, marker)? else {
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

    fn flush(&self) -> Result<(), Error> {
        blocks::syncfs(self.root)
            .map_err(|source| Error::Flush { path: self.root.path().to_owned(), source })
    }

    fn check_space(&self, batch: &[(Opened, Keeping<'s>)]) -> Result<(), Error> {
        let path = || self.root.path().to_owned();
        let needed_bytes: u64 = batch.iter().map(|(opened, _)| opened.content.data_bytes()).sum();
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
        fills: Vec<Fill<'s>>,
        outcomes: Vec<Result<(), fetch::FileError>>,
        mut failed: Vec<FileIdent>,
    ) -> Result<(), Error> {
        let together = fills.len() >= FLUSH_TOGETHER;
        if together {
            self.flush()?;
        }
        let (mut done, mut late) = (vec![], vec![]);
        for (fill, outcome) in fills.into_iter().zip(outcomes) {
            let Fill { path, row, content, ident, filler, held } = fill;
            // A filler that is dropped unfinished punches its data away.
            let finished = match outcome {
                Ok(()) if together => filler.finish_after_syncfs(content.id()),
                Ok(()) => filler.finish(content.id()),
                Err(fetch::FileError::Archived(_)) => {
                    drop(filler);
                    failed.extend(row.map(|row| row.ident));
                    late.push((path, ident, content));
                    continue;
                }
                Err(error) => {
                    drop(filler);
                    self.fail::<()>(&path, &error.into());
                    failed.extend(row.map(|row| row.ident));
                    continue;
                }
            };
            drop(held);
            match finished {
                Ok(stat) => {
                    self.stats.files += 1;
                    self.stats.bytes += content.data_bytes();
                    self.site.monitor.advance(1, 0);
                    done.extend(row.map(|row| (row.ident, stat.ctime_ns, stat.mtime_ns)));
                }
                Err(error) => {
                    self.fail::<()>(&path, &error.into());
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
        self.late(late)
    }
}
