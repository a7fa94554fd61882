//! Restore: a tree from the store alone.
//!
//! Everything is planned and made in path order, a page of the catalog at a time, so
//! memory is bounded whatever the tree. A restore that was killed leaves nothing half
//! done under a name: files are complete before they have one (`os::plant`), and the
//! same command again passes over what is there and goes on.
//!
//! * [`target`] says where a path comes to be, [`judge`] what is to be done there by
//!   what it finds. What differs is left alone unless the caller says otherwise.
//! * [`make`] makes what needs no data: stubs, links, FIFOs, devices. [`data`] fills
//!   files in batches, which share their requests. [`links`] gives second names.
//! * [`dirs`] describes directories at the end, behind what is in them.
//! * [`managed`] tells the state DB of stubs in a tree that it manages.
//!
//! The catalog is not trusted beyond what its records are checked for: a path that
//! leaves the target, or leads through something that is no directory, fails alone.

mod data;
mod dirs;
mod error;
mod judge;
mod links;
mod make;
mod managed;
pub mod mirror;
mod target;
mod told;

pub use error::{Error, FileError};
pub use judge::{Difference, Existing, Step};
pub use managed::Managed;
pub use target::Target;

use crate::catalog::{Sight, Version};
use crate::clock::Clock;
use crate::ids::FileIdent;
use crate::monitor::Phase;
use crate::os::plant::Plantation;
use crate::os::process;
use crate::os::relpath::RelPath;
use crate::site::{Catalog, Order, Pick, Site, Walk, catalog};
use crate::state::RootId;
use crate::stub::MarkerSpace;
use dirs::Directories;
use judge::Judge;
use links::{FirstNames, Link};
use make::{Disks, Entry, Made, Marking, NewStub, has_data, make};
use std::collections::HashSet;
use std::path::PathBuf;
use std::thread;
use told::Refusals;

/// Files in one batch of data...
const DATA_FILES: usize = 512;
/// ...or bytes; a larger file is a batch of its own.
const DATA_BYTES: u64 = 1 << 30;
/// Things in one batch that need no data.
const BATCH: usize = 4096;
/// Threads that make them; more wait for the directory's lock.
const MAKERS: usize = 4;
/// Stubs after which the disk is flushed.
const FLUSH_EVERY: u64 = 100_000;

/// What becomes of files that have data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Data,
    Stubs,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    pub existing: Existing,
    pub sight: Sight,
    /// Leave out what this root has at another path now.
    pub lost_of: Option<RootId>,
    /// Roots of this hsm that the restore goes to.
    pub managed: Vec<Managed>,
    /// The target was brought to these segments before, in whole or in part: what is
    /// still as it was then is replaced.
    pub mirrored: Vec<u64>,
}

/// What a restore did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreStats {
    /// With their data, or without any.
    pub files: u64,
    /// Of data, holes not counted.
    pub bytes: u64,
    pub stubs: u64,
    /// What the stubs stand for.
    pub stub_bytes: u64,
    pub directories: u64,
    /// Symbolic links, FIFOs and devices.
    pub others: u64,
    /// Second names.
    pub links: u64,
    /// Were there already.
    pub there: u64,
    /// Replaced what was there.
    pub replaced: u64,
    pub failed: u64,
    /// Of the failed ones, those that are there and differ.
    pub differing: u64,
    /// Sockets, which only their programs can make.
    pub sockets: u64,
    /// Devices, where only root could make them.
    pub devices: u64,
    /// Owners, attributes, modes and times that the system refused.
    pub refused_attributes: u64,
}

impl RestoreStats {
    /// Adds the figures of another part of the same restore.
    pub fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.stubs += other.stubs;
        self.stub_bytes += other.stub_bytes;
        self.directories += other.directories;
        self.others += other.others;
        self.links += other.links;
        self.there += other.there;
        self.replaced += other.replaced;
        self.failed += other.failed;
        self.differing += other.differing;
        self.sockets += other.sockets;
        self.devices += other.devices;
        self.refused_attributes += other.refused_attributes;
    }
}

/// One path of a plan.
pub struct Planned<'a> {
    pub path: PathBuf,
    pub version: &'a Version,
    pub step: &'a Step,
}

/// Who hears of a plan instead of having it done.
type Hear<'a> = dyn FnMut(Planned<'_>) + 'a;

/// Restores what `picks` name. An error ends it; what was made before is complete.
pub fn run(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    picks: &[Pick],
    target: &mut Target,
    options: Options,
) -> Result<RestoreStats, Error> {
    let (mut files, mut bytes) = (0, 0);
    if site.monitor.wants_totals() {
        for Pick { root, under } in picks {
            let db = catalog.db(site)?;
            let totals = db.tree_totals(root, options.sight, under)?;
            (files, bytes) = (files + totals.0, bytes + totals.1);
        }
    }
    bytes = if options.mode == Mode::Data { bytes } else { 0 };
    site.monitor.begin(Phase::Restoring, files, bytes);
    let mut run = Run::new(site, catalog, picks, target, options);
    let done = run.everything();
    run.site.monitor.end();
    run.refusals.tell(run.site.monitor);
    run.stats.refused_attributes = run.refusals.total;
    done.map(|()| run.stats)
}

/// Tells what [`run`] would do and changes nothing.
pub fn plan(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    picks: &[Pick],
    target: &mut Target,
    options: Options,
    hear: &mut Hear<'_>,
) -> Result<RestoreStats, Error> {
    let mut run = Run::new(site, catalog, picks, target, options);
    run.all_versions(Some(hear))?;
    Ok(run.stats)
}

pub(crate) struct Run<'r, 's> {
    site: &'r mut Site<'s>,
    catalog: &'r mut Catalog,
    picks: &'r [Pick],
    target: &'r mut Target,
    options: Options,
    judge: Judge,
    directories: Directories,
    first_names: FirstNames,
    refusals: Refusals,
    disks: Disks,
    /// Makers beside this thread.
    others: Vec<Plantation>,
    plain: Vec<Entry>,
    data: Vec<Entry>,
    data_bytes: u64,
    links: Vec<Link>,
    unflushed: u64,
    /// Inodes of directories that the root has now, where that is asked.
    living_dirs: Option<HashSet<u64>>,
    stats: RestoreStats,
}

impl<'r, 's> Run<'r, 's> {
    fn new(
        site: &'r mut Site<'s>,
        catalog: &'r mut Catalog,
        picks: &'r [Pick],
        target: &'r mut Target,
        options: Options,
    ) -> Self {
        // The system's own clock, as the times of what is there are by it.
        let judge = Judge::new(options.existing, Clock::system().now_ns());
        let makers = site.workers.clamp(1, MAKERS);
        let others = (1..makers).map(|_| target.plantation.another()).collect();
        Self {
            site,
            catalog,
            picks,
            target,
            options,
            judge,
            directories: Directories::default(),
            first_names: FirstNames::default(),
            refusals: Refusals::default(),
            disks: Disks::default(),
            others,
            plain: vec![],
            data: vec![],
            data_bytes: 0,
            links: vec![],
            unflushed: 0,
            living_dirs: None,
            stats: RestoreStats::default(),
        }
    }

    fn everything(&mut self) -> Result<(), Error> {
        self.all_versions(None)?;
        if self.site.stop.requested() {
            return self.flush();
        }
        self.describe_directories()?;
        self.flush()
    }

    fn all_versions(&mut self, mut hear: Option<&mut Hear<'_>>) -> Result<(), Error> {
        let mut walk = Walk::new(self.picks, self.options.sight, Order::Forwards);
        let mut at = 0;
        while let Some((pick, page)) = walk.next(self.catalog.db(self.site)?)? {
            if pick != at {
                at = pick;
                self.batch()?;
                self.judge.restart();
            }
            for version in page {
                if self.site.stop.requested() {
                    break;
                }
                self.version(pick, version, hear.as_deref_mut())?;
            }
            if self.site.stop.requested() {
                return Ok(());
            }
        }
        self.batch()
    }

    fn version(
        &mut self,
        pick: usize,
        version: Version,
        hear: Option<&mut Hear<'_>>,
    ) -> Result<(), Error> {
        let record = &version.record;
        let root = &self.picks[pick].root;
        if self.is_alive_elsewhere(&version)? || self.is_never_made(record.kind) {
            return Ok(());
        }
        let path = match self.target.place(&root.path, record.path_bytes()) {
            Ok(path) => path,
            Err(bad) => {
                let place = crate::site::selection::absolute(root, record.path_bytes());
                return self.fail_at(place, FileError::Path(bad));
            }
        };
        let step = match self.decide(pick, &path, &version)? {
            Ok(step) => step,
            Err(FileError::Differs(difference)) => Step::Differs(difference),
            Err(error) => return self.fail(&path, error),
        };
        if let Some(hear) = hear {
            self.count(&version, &step);
            hear(Planned { path: self.target.full(&path), version: &version, step: &step });
            return Ok(());
        }
        match step {
            Step::Make => self.take(Entry { path, pick, version, over: None }),
            Step::Replace(seen) => self.take(Entry { path, pick, version, over: Some(seen) }),
            Step::Differs(difference) => {
                self.stats.differing += 1;
                self.fail(&path, FileError::Differs(difference))
            }
            Step::There(found) => {
                self.stats.there += 1;
                match found.filter(|_| self.options.mode == Mode::Stubs) {
                    Some(found) => self.record_stub_that_is_there(&path, &version.record, &found),
                    None => Ok(()),
                }
            }
        }
    }

    /// What cannot be made at all, counted.
    fn is_never_made(&mut self, kind: char) -> bool {
        let devices = matches!(kind, 'c' | 'b') && !process::is_root();
        self.stats.devices += u64::from(devices);
        self.stats.sockets += u64::from(kind == 's');
        devices || kind == 's'
    }

    /// It was renamed: under the other name it is no loss.
    fn is_alive_elsewhere(&mut self, version: &Version) -> Result<bool, Error> {
        let Some(root) = self.options.lost_of else { return Ok(false) };
        let record = &version.record;
        if record.kind == 'd' {
            if self.living_dirs.is_none() {
                self.living_dirs = Some(self.site.state.directory_inodes(root)?);
            }
            let living = self.living_dirs.as_ref();
            return Ok(version.gone && living.is_some_and(|living| living.contains(&record.ino)));
        }
        let ident = FileIdent { ino: record.ino, generation: record.generation };
        let row = match record.kind {
            'f' => self.site.state.managed_by_ident(root, ident)?,
            _ => None,
        };
        Ok(row.is_some_and(|row| row.path.as_bytes() != record.path_bytes()))
    }

    fn decide(
        &mut self,
        pick: usize,
        path: &RelPath,
        version: &Version,
    ) -> Result<Result<Step, FileError>, Error> {
        let (mtime_ns, new) = match self.judge.enter(&mut self.target.plantation, path) {
            Ok((listed, new)) => (listed.mtime_ns, new),
            Err(error) => return Ok(Err(error)),
        };
        if new {
            self.entered(pick, &version.record, path, mtime_ns)?;
        }
        let db = self.catalog.db(self.site)?;
        let (root, points) = (&self.picks[pick].root, &self.options.mirrored);
        let mut failed = None;
        let before = &mut || {
            let brought = mirror::brought(db, root, points, version.record.path_bytes());
            brought.map_err(|error| failed = Some(error)).unwrap_or_default()
        };
        let step = self.judge.step(&mut self.target.plantation, path, &version.record, before);
        match failed {
            Some(error) => Err(catalog::Error::from(error).into()),
            None => Ok(step),
        }
    }

    fn take(&mut self, entry: Entry) -> Result<(), Error> {
        self.keep_mtime(&entry.path);
        let record = entry.record();
        if record.kind == 'd' {
            return match self.target.plantation.make_dirs(&entry.path) {
                Ok(()) => {
                    self.stats.directories += 1;
                    Ok(())
                }
                Err(error) => self.fail(&entry.path, FileError::Make(error)),
            };
        }
        let has_data = record.kind == 'f' && has_data(record);
        if has_data && self.options.mode == Mode::Stubs {
            let lasting = match entry.version.expired {
                true => Err(FileError::Expired),
                false => self.require_lasting(record)?,
            };
            if let Err(error) = lasting {
                return self.fail(&entry.path, error);
            }
        }
        let size_bytes = record.size_bytes;
        match self.as_link(entry)? {
            Ok(link) => self.links.push(link),
            Err(entry) if has_data && self.options.mode == Mode::Data => {
                if self.data_bytes > 0 && self.data_bytes + size_bytes > DATA_BYTES {
                    self.batch()?;
                }
                self.data_bytes += size_bytes;
                self.data.push(entry);
            }
            Err(entry) => self.plain.push(entry),
        }
        let full = self.data.len() >= DATA_FILES || self.data_bytes >= DATA_BYTES;
        if full || self.plain.len() + self.links.len() >= BATCH { self.batch() } else { Ok(()) }
    }

    /// Makes what has been gathered.
    fn batch(&mut self) -> Result<(), Error> {
        let plain = std::mem::take(&mut self.plain);
        self.make_plain(plain)?;
        let data = std::mem::take(&mut self.data);
        self.data_bytes = 0;
        if !data.is_empty() {
            self.fill(data)?;
        }
        let links = std::mem::take(&mut self.links);
        self.link(links)?;
        if self.unflushed >= FLUSH_EVERY { self.flush() } else { Ok(()) }
    }

    fn make_plain(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        let marking = Marking {
            space: MarkerSpace::for_this_process(),
            store_tag: self.site.store_id.tag(),
            offline: self.site.offline,
            recorded: !self.options.managed.is_empty(),
        };
        let marking = (self.options.mode == Mode::Stubs).then_some(&marking);
        let makers = 1 + self.others.len();
        let share = entries.len().div_ceil(makers).max(32);
        let (plantation, disks) = (&mut self.target.plantation, &self.disks);
        let makers = self.others.iter_mut().chain([plantation]);
        let made: Vec<Result<Made, FileError>> = thread::scope(|scope| {
            let making: Vec<_> = entries
                .chunks(share)
                .zip(makers)
                .map(|(entries, maker)| {
                    let work = move || {
                        let make = |entry| make(maker, entry, marking, disks);
                        entries.iter().map(make).collect::<Vec<_>>()
                    };
                    scope.spawn(work)
                })
                .collect();
            let join = |maker: thread::ScopedJoinHandle<'_, _>| maker.join().expect("no panic");
            making.into_iter().flat_map(join).collect()
        });
        let mut stubs: Vec<(Entry, NewStub)> = vec![];
        for (entry, made) in entries.into_iter().zip(made) {
            match made {
                Ok(made) => {
                    self.made(&entry);
                    self.refusals.add(&self.target.full(&entry.path), made.refusals);
                    stubs.extend(made.stub.map(|stub| (entry, stub)));
                }
                Err(error) => self.fail(&entry.path, error)?,
            }
        }
        if !stubs.is_empty() {
            self.record_stubs(&stubs)?;
        }
        Ok(())
    }

    fn made(&mut self, entry: &Entry) {
        self.unflushed += 1;
        self.stats.replaced += u64::from(entry.over.is_some());
        self.site.monitor.advance(1, 0);
        self.count_made(&entry.version);
    }

    /// As if the step had been taken.
    fn count(&mut self, version: &Version, step: &Step) {
        match step {
            Step::Make => self.count_made(version),
            Step::Replace(_) => {
                self.stats.replaced += 1;
                self.count_made(version);
            }
            Step::There(_) => self.stats.there += 1,
            Step::Differs(_) => {
                self.stats.differing += 1;
                self.stats.failed += 1;
            }
        }
    }

    fn count_made(&mut self, version: &Version) {
        let record = &version.record;
        match record.kind {
            'd' => self.stats.directories += 1,
            'f' if has_data(record) && self.options.mode == Mode::Stubs => {
                self.stats.stubs += 1;
                self.stats.stub_bytes += record.size_bytes;
            }
            'f' => {
                self.stats.files += 1;
                let data = record.pieces.iter().filter(|piece| piece.chunk.is_some());
                self.stats.bytes += data.map(|piece| piece.len).sum::<u64>();
            }
            _ => self.stats.others += 1,
        }
    }

    /// All that was made is durable.
    fn flush(&mut self) -> Result<(), Error> {
        self.unflushed = 0;
        let flushed = crate::fault::effect("restore.flush").and_then(|()| self.disks.flush());
        flushed.map_err(|source| Error::Flush { path: self.target.dir(), source })
    }

    fn fail(&mut self, path: &RelPath, error: FileError) -> Result<(), Error> {
        let path = self.target.full(path);
        self.fail_at(path, error)
    }

    /// One file's failure never stops a run, but no room is no room for all.
    fn fail_at(&mut self, path: PathBuf, error: FileError) -> Result<(), Error> {
        if error.is_full() {
            return Err(Error::Full { path, source: Box::new(error) });
        }
        self.stats.failed += 1;
        self.site.monitor.file_failed(&path, "restore", &error);
        Ok(())
    }
}
