//! The threads of a walk.
//!
//! Each thread takes a directory, sends its batch, and only then queues the
//! directories beneath it: the channel keeps order, so the sink hears of parents
//! first. The channel is short; a slow sink holds the threads back and memory
//! stays bounded.

use super::batch::{DirBatch, Skip};
use super::error::{Error, SinkError};
use super::list::{Hearer, Lister};
use super::queue::Queue;
use super::{Options, Sink, Stats};
use crate::monitor::{Monitor, Phase, Stop};
use crate::os::stat::statx_fd;
use crate::os::{FileKind, RelPath, RootDir};
use crossbeam_channel::{Receiver, Sender};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

/// More threads than this do not help on any storage that was measured.
const MOST_THREADS: usize = 16;

/// Scans `root` and hands every directory to `sink`.
///
/// What could not be read is reported to `monitor` and counted; a request of
/// `stop` ends the scan between two directories. Either makes
/// [`Stats::complete`] false.
///
/// # Errors
/// The root or [`Options::under`] cannot be read, the root's path leads to
/// something else before or after the scan, or the sink failed.
pub fn run(
    root: &RootDir,
    options: &Options,
    monitor: &dyn Monitor,
    stop: &Stop,
    sink: &mut dyn Sink,
) -> Result<Stats, Error> {
    check_root(root)?;
    let start = options.under.clone().unwrap_or_else(RelPath::root);
    let unreadable = |source| Error::Root { path: start.to_path(root.path()), source };
    let first = root.open_dir(&start).map_err(unreadable)?;
    let root_dev = statx_fd(&first).map_err(unreadable)?.dev;
    let skip = own_places(&options.skip);
    let walk = Walk {
        lister: Lister { root, root_dev, skip: &skip },
        queue: Queue::new(start),
        alone: options.alone,
        tally: Mutex::new(Stats::default()),
        monitor,
        stop,
    };
    monitor.begin(Phase::Scanning, 0, 0);
    let heard = walk.hear(thread_count(options.threads), sink);
    monitor.end();
    heard?;
    check_root(root)?;
    let mut stats = walk.tally.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    stats.complete = stats.errors == 0 && !stats.stopped && !options.alone;
    Ok(stats)
}

fn thread_count(asked: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if asked == 0 { 2 * cores } else { asked };
    threads.clamp(1, MOST_THREADS)
}

/// The root's path must lead to the directory that is open.
fn check_root(root: &RootDir) -> Result<(), Error> {
    let path = root.path();
    let now =
        RootDir::open(path).map_err(|source| Error::Root { path: path.to_owned(), source })?;
    if now.identity() == root.identity() {
        return Ok(());
    }
    Err(Error::RootChanged {
        path: path.to_owned(),
        expected: root.identity().to_string(),
        found: now.identity().to_string(),
    })
}

/// (device, inode) of each path that exists; the others cannot be met.
fn own_places(paths: &[PathBuf]) -> Vec<(u64, u64)> {
    let place = |path| {
        let stat = statx_fd(File::open(path).ok()?).ok()?;
        Some((stat.dev, stat.ino))
    };
    paths.iter().filter_map(place).collect()
}

/// What the threads share.
struct Walk<'a> {
    lister: Lister<'a>,
    queue: Queue,
    /// Nothing is queued.
    alone: bool,
    tally: Mutex<Stats>,
    monitor: &'a dyn Monitor,
    stop: &'a Stop,
}

impl Walk<'_> {
    /// Runs the threads and feeds the sink until the walk is over.
    fn hear(&self, threads: usize, sink: &mut dyn Sink) -> Result<(), Error> {
        let (sender, receiver) = crossbeam_channel::bounded(threads);
        thread::scope(|scope| {
            for number in 0..threads {
                let mut worker = Worker { walk: self, sender: sender.clone(), found: Vec::new() };
                let started = thread::Builder::new()
                    .name(format!("scan-{number}"))
                    .spawn_scoped(scope, move || worker.run());
                if let Err(source) = started {
                    self.queue.close();
                    return Err(Error::Thread { source });
                }
            }
            drop(sender);
            let fed = feed(&receiver, sink);
            if fed.is_err() {
                self.queue.close();
            }
            // Threads that wait to send wake up and see that nobody listens.
            drop(receiver);
            fed.map_err(|source| Error::Sink { source })
        })
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.tally.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    fn failed(&self, path: &RelPath, error: &io::Error) {
        self.count(|stats| stats.errors += 1);
        self.monitor.file_failed(&path.to_path(self.lister.root.path()), "scan", error);
    }
}

fn feed(receiver: &Receiver<DirBatch>, sink: &mut dyn Sink) -> Result<(), SinkError> {
    receiver.iter().try_for_each(|batch| sink.directory(batch))
}

struct Worker<'a> {
    walk: &'a Walk<'a>,
    sender: Sender<DirBatch>,
    /// Directories beneath the one being read.
    found: Vec<RelPath>,
}

impl Worker<'_> {
    fn run(&mut self) {
        while let Some(path) = self.walk.queue.take() {
            if self.walk.stop.requested() {
                self.walk.count(|stats| stats.stopped = true);
                self.walk.queue.close();
            } else {
                self.read(&path);
            }
            self.walk.queue.done(std::mem::take(&mut self.found));
        }
    }

    fn read(&mut self, path: &RelPath) {
        let lister = &self.walk.lister;
        match lister.list(path, self) {
            Ok(()) => {}
            Err(error) if is_no_directory(&error) => self.vanished(),
            Err(error) => self.walk.failed(path, &error),
        }
    }
}

/// Removed, or replaced by something else, since its name was listed.
fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(libc::ELOOP)
}

impl Hearer for Worker<'_> {
    fn part(&mut self, batch: DirBatch) -> bool {
        let mut here = Stats { directories: batch.first.into(), ..Stats::default() };
        for entry in &batch.entries {
            match entry.stat.kind {
                FileKind::Dir if self.walk.alone => {}
                FileKind::Dir => self.found.push(batch.path.join(&entry.name)),
                FileKind::File => {
                    here.files += 1;
                    here.bytes += entry.stat.size_bytes;
                }
                _ => here.others += 1,
            }
        }
        for skipped in &batch.skipped {
            match skipped.why {
                Skip::Mount => here.skipped_mounts += 1,
                Skip::Own => here.skipped_own += 1,
            }
        }
        if let Some(error) = &batch.error {
            self.walk.failed(&batch.path, error);
        }
        self.walk.monitor.advance(here.files, here.bytes);
        let more = !batch.last && self.walk.stop.requested();
        self.walk.count(|stats| {
            stats.add(&here);
            stats.stopped |= more;
        });
        let sent = self.sender.send(batch).is_ok();
        sent && !more
    }

    fn failed(&mut self, path: &RelPath, error: io::Error) {
        self.walk.failed(path, &error);
    }

    fn vanished(&mut self) {
        self.walk.count(|stats| stats.vanished += 1);
    }
}

impl Stats {
    fn add(&mut self, more: &Stats) {
        self.directories += more.directories;
        self.files += more.files;
        self.others += more.others;
        self.bytes += more.bytes;
        self.skipped_mounts += more.skipped_mounts;
        self.skipped_own += more.skipped_own;
    }
}
