//! The table of inodes that somebody works on, and of the programs that wait for
//! them: the one place where it is decided who gets in.
//!
//! An inode is in the table while it is recalled, freed or mended; all others
//! are open to everyone. One lock guards the table, and every decision about one
//! event (is it in the table, does it carry a marker, may its events be ignored
//! from now on) is taken under it. That is what keeps an ignore mark from being
//! set on a file that is becoming a stub: a stubber enters the inode here before
//! it removes the mark, and from then on no mark is set.
//!
//! Freeing, seen from an opener: until [`super::custody`] closes the inode the
//! file is whole, so the opener gets in and the freeing is called off; after it
//! the opener waits for the recall.
//!
//! Nothing here waits for a disk or a store. A file's marker is read under the
//! lock: an attribute inside the inode.

use super::job::{Job, now_ms};
use super::waiter::Waiter;
use crate::clock::Stopwatch;
use crate::os::fanotify::{Group, Pending};
use crate::os::handle::Handle;
use crate::os::xattrs;
use crossbeam_channel::Sender;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// An inode of a watched file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode {
    pub dev: u64,
    pub ino: u64,
}

impl Inode {
    pub fn of(file: &File) -> io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self { dev: stat.st_dev, ino: stat.st_ino })
    }
}

/// What is being done with an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// To be freed, and still whole: an opener calls it off.
    Secluded,
    /// Somebody has opened it: it stays whole.
    CalledOff,
    /// Being freed.
    Closed,
    /// Wanted; nobody has begun.
    Queued,
    /// A worker fills it.
    Recalling,
    /// Filled or mended for a run.
    Held,
}

pub(super) struct Entry {
    pub stage: Stage,
    pub handle: Handle,
    pub waiters: Vec<Waiter>,
    pub job: Arc<Job>,
}

/// A recall for a worker to do.
pub struct Task {
    pub inode: Inode,
    pub handle: Handle,
    pub job: Arc<Job>,
    /// As the first program that waits sees it.
    pub name: std::path::PathBuf,
    /// The descriptor of its event, where there still is one.
    pub event_file: Option<File>,
}

/// The table.
pub struct Inodes {
    pub(super) group: Arc<Group>,
    /// Held while events are read: making an event's descriptor counts as an
    /// opening of its file, which would make a lease fail.
    pub(super) reading: Mutex<()>,
    table: Mutex<HashMap<Inode, Entry>>,
    changed: Condvar,
    /// No run is at work that does not know of this guard: such a run could make
    /// a stub of a file whose events are ignored.
    may_ignore: AtomicBool,
    /// Inodes with programs that nobody has looked at yet.
    porter: Sender<Inode>,
    pub(super) clock: Stopwatch,
}

impl Inodes {
    pub fn new(group: Arc<Group>, porter: Sender<Inode>, clock: Stopwatch) -> Self {
        Self {
            group,
            reading: Mutex::new(()),
            table: Mutex::default(),
            changed: Condvar::new(),
            may_ignore: AtomicBool::new(false),
            porter,
            clock,
        }
    }

    pub fn may_ignore(&self) -> bool {
        self.may_ignore.load(Ordering::Relaxed)
    }

    /// From here on files without a marker may be ignored.
    pub fn allow_ignoring(&self) {
        self.may_ignore.store(true, Ordering::Relaxed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Inode, Entry>> {
        self.table.lock().expect("no holder of the table panics")
    }

    /// Programs that wait.
    pub fn waiting(&self) -> usize {
        self.lock().values().map(|entry| entry.waiters.len()).sum()
    }

    /// Decides about one event: lets it in, or keeps it until the file is
    /// whole. `remember` is called before it is kept.
    pub fn admit(&self, pending: Pending, remember: impl FnOnce(&mut Pending, Inode, &Handle)) {
        if let Some(pending) = self.decide(pending, remember) {
            pending.allow();
        }
    }

    /// `Some` is to be let in. One that cannot be judged is dropped, which
    /// denies it with `EIO`.
    fn decide(
        &self,
        mut pending: Pending,
        remember: impl FnOnce(&mut Pending, Inode, &Handle),
    ) -> Option<Pending> {
        let file = pending.file()?;
        let stat = rustix::fs::fstat(file).ok()?;
        let inode = Inode { dev: stat.st_dev, ino: stat.st_ino };
        let mut table = self.lock();
        if let Some(entry) = table.get_mut(&inode) {
            if matches!(entry.stage, Stage::Secluded | Stage::CalledOff) {
                entry.stage = Stage::CalledOff;
                return Some(pending);
            }
            remember(&mut pending, inode, &entry.handle);
            entry.waiters.push(Waiter::new(pending, now_ms(self.clock)));
            return None;
        }
        if !is_marked(file).ok()? {
            // A file without blocks may be the copy of a stub that is just being
            // made, its marker still to come: it stays watched.
            if stat.st_blocks > 0 && self.may_ignore() {
                // Best effort: without the mark the next event comes again.
                let _ = self.group.ignore_file(file);
            }
            return Some(pending);
        }
        let handle = Handle::of(file).ok()?;
        remember(&mut pending, inode, &handle);
        let waiter = Waiter::new(pending, now_ms(self.clock));
        table.insert(inode, self.wanted(handle, vec![waiter]));
        drop(table);
        self.call_porter(inode);
        None
    }

    /// Programs that waited when the guard before this one died.
    pub fn admit_inherited(&self, inode: Inode, handle: Handle, pending: Pending) {
        let waiter = Waiter::new(pending, now_ms(self.clock));
        let mut table = self.lock();
        match table.entry(inode) {
            Place::Occupied(mut entry) => entry.get_mut().waiters.push(waiter),
            Place::Vacant(place) => {
                place.insert(self.wanted(handle, vec![waiter]));
                drop(table);
                self.call_porter(inode);
            }
        }
    }

    fn wanted(&self, handle: Handle, waiters: Vec<Waiter>) -> Entry {
        Entry { stage: Stage::Queued, handle, waiters, job: Arc::new(Job::new(self.clock)) }
    }

    fn call_porter(&self, inode: Inode) {
        // Without a porter the guard is ending, and the drop denies.
        let _ = self.porter.send(inode);
    }

    /// The programs of a queued inode that were not looked at yet.
    pub fn unvetted(&self, inode: Inode) -> Vec<Waiter> {
        let mut table = self.lock();
        let Some(entry) = table.get_mut(&inode).filter(|entry| entry.stage == Stage::Queued) else {
            return vec![];
        };
        let (vetted, unvetted) =
            std::mem::take(&mut entry.waiters).into_iter().partition(|waiter| waiter.vetted);
        entry.waiters = vetted;
        unvetted
    }

    /// Somebody whose recall was admitted waits for it already.
    pub fn is_paid(&self, inode: Inode) -> bool {
        self.lock().get(&inode).is_some_and(|entry| entry.waiters.iter().any(|w| w.vetted))
    }

    /// Gives back those that may recall. Whether the inode is to be recalled: if
    /// nobody is left who may, it leaves the table.
    pub fn vetted(&self, inode: Inode, admitted: Vec<Waiter>) -> bool {
        let mut table = self.lock();
        let Some(entry) = table.get_mut(&inode) else { return false };
        entry.waiters.extend(admitted);
        if entry.waiters.iter().any(|waiter| waiter.vetted) {
            return true;
        }
        self.put_back(table, inode);
        false
    }

    /// A worker takes a queued inode up. Not if everybody who was looked at has been
    /// denied meanwhile: a recall that nobody waits for is stopped by nobody, and a
    /// store that hangs would keep the worker for it.
    pub fn begin(&self, inode: Inode) -> Option<Task> {
        let mut table = self.lock();
        let entry = table.get_mut(&inode).filter(|entry| entry.stage == Stage::Queued)?;
        if !entry.waiters.iter().any(|waiter| waiter.vetted) {
            self.put_back(table, inode);
            return None;
        }
        entry.stage = Stage::Recalling;
        entry.job.begin();
        let name = entry.waiters.first().map(Waiter::name).unwrap_or_default();
        let event_file = entry.waiters.iter().find_map(|waiter| waiter.pending.file());
        let event_file = event_file.and_then(|file| file.try_clone().ok());
        Some(Task { inode, handle: entry.handle, job: Arc::clone(&entry.job), name, event_file })
    }

    /// A queued inode without a program that may recall it: whoever came in the
    /// meantime is looked at first, and with nobody it leaves the table.
    fn put_back(&self, mut table: MutexGuard<'_, HashMap<Inode, Entry>>, inode: Inode) {
        let again = table.get(&inode).is_some_and(|entry| !entry.waiters.is_empty());
        if again {
            drop(table);
            self.call_porter(inode);
        } else {
            table.remove(&inode);
            drop(table);
            self.changed.notify_all();
        }
    }

    /// The inode leaves the table; who waited for it is returned, to be
    /// answered.
    pub fn finish(&self, inode: Inode) -> Vec<Waiter> {
        let entry = self.lock().remove(&inode);
        self.changed.notify_all();
        entry.map(|entry| entry.waiters).unwrap_or_default()
    }

    /// Enters a file that is to be freed; `false` if it is in the table, or
    /// marked by now: then it may be a stub already, and nobody gets in.
    pub(super) fn seclude(
        &self,
        file: &File,
        inode: Inode,
        handle: Handle,
        job: &Arc<Job>,
    ) -> io::Result<bool> {
        let mut table = self.lock();
        if table.contains_key(&inode) || is_marked(file)? {
            return Ok(false);
        }
        let (stage, job) = (Stage::Secluded, Arc::clone(job));
        table.insert(inode, Entry { stage, handle, waiters: vec![], job });
        Ok(true)
    }

    /// Enters an inode for its custodian, once it is free.
    pub(super) fn enter_in_turn(&self, inode: Inode, handle: Handle, job: &Arc<Job>) {
        let mut table = self.lock();
        while table.contains_key(&inode) {
            let waited = self.changed.wait_timeout(table, Duration::from_secs(1));
            table = waited.expect("no holder of the table panics").0;
        }
        let job = Arc::clone(job);
        table.insert(inode, Entry { stage: Stage::Held, handle, waiters: vec![], job });
    }

    /// From [`Stage::Secluded`] to [`Stage::Closed`], unless it was called off.
    pub(super) fn close(&self, inode: Inode) -> bool {
        let mut table = self.lock();
        match table.get_mut(&inode) {
            Some(entry) if entry.stage == Stage::Secluded => {
                entry.stage = Stage::Closed;
                true
            }
            _ => false,
        }
    }

    /// The custodian is done. Whoever waits gets a recall of their own, which
    /// looks at the file as it is then.
    pub(super) fn leave(&self, inode: Inode) {
        let mut table = self.lock();
        let waiters = match table.get_mut(&inode) {
            Some(entry) if !entry.waiters.is_empty() => std::mem::take(&mut entry.waiters),
            _ => {
                table.remove(&inode);
                drop(table);
                self.changed.notify_all();
                return;
            }
        };
        if let Some(entry) = table.get_mut(&inode) {
            *entry = self.wanted(entry.handle, waiters);
        }
        drop(table);
        self.call_porter(inode);
    }

    /// Takes out every program for which `overdue` says so.
    pub fn take_overdue(&self, overdue: impl Fn(&Waiter, &Job) -> bool) -> Vec<Waiter> {
        let mut taken = vec![];
        for entry in self.lock().values_mut() {
            let (late, patient): (Vec<_>, Vec<_>) = std::mem::take(&mut entry.waiters)
                .into_iter()
                .partition(|waiter| overdue(waiter, &entry.job));
            if !late.is_empty() && patient.is_empty() && entry.stage == Stage::Recalling {
                entry.job.stop.request();
            }
            entry.waiters = patient;
            taken.extend(late);
        }
        taken
    }

    /// When the workers as a whole last made progress.
    pub fn last_progress_ms(&self) -> u64 {
        let running =
            |entry: &Entry| (entry.stage == Stage::Recalling).then(|| entry.job.last_ms());
        self.lock().values().filter_map(running).max().unwrap_or(0)
    }
}

/// Whether the file carries root's marker, readable or not.
fn is_marked(file: &File) -> io::Result<bool> {
    let mut value = [0; 1];
    match rustix::fs::fgetxattr(file, xattrs::TRUSTED_MARKER, &mut value) {
        Ok(_) | Err(rustix::io::Errno::RANGE) => Ok(true),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        inodes: Inodes,
        calls: crossbeam_channel::Receiver<Inode>,
        _dir: tempfile::TempDir,
        file: File,
        handle: Handle,
    }

    const INODE: Inode = Inode { dev: 1, ino: 2 };

    impl Bench {
        /// A table whose group is nobody's: no event is ever answered through it.
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let file = File::create(dir.path().join("f")).expect("create");
            let handle = Handle::of(&file).expect("a handle");
            let clone = file.try_clone().expect("a descriptor");
            let group = Arc::new(Group::from_fd(clone.into()));
            let (porter, calls) = crossbeam_channel::unbounded();
            let inodes = Inodes::new(group, porter, Stopwatch::start());
            Self { inodes, calls, _dir: dir, file, handle }
        }

        fn job(&self) -> Arc<Job> {
            Arc::new(Job::new(self.inodes.clock))
        }

        fn seclude(&self) -> bool {
            let entered = self.inodes.seclude(&self.file, INODE, self.handle, &self.job());
            entered.expect("its attributes are readable")
        }

        fn hold(&self) {
            self.inodes.enter_in_turn(INODE, self.handle, &self.job());
        }

        /// An event by number alone: its answer goes nowhere.
        fn program(&self) -> Pending {
            Pending::inherited(&self.inodes.group, 1, 1)
        }

        fn comes(&self) {
            self.inodes.admit_inherited(INODE, self.handle, self.program());
        }

        /// One who may have the file recalled.
        fn comes_vetted(&self) {
            self.comes();
            let mut table = self.inodes.lock();
            let entry = table.get_mut(&INODE).expect("somebody waits");
            entry.waiters.last_mut().expect("who just came").vetted = true;
        }
    }

    #[test]
    fn who_waited_for_the_guard_before_is_looked_at_again() {
        let bench = Bench::new();
        bench.comes();
        assert!(!bench.inodes.is_paid(INODE));
        assert_eq!(bench.calls.try_recv(), Ok(INODE));
        assert_eq!(bench.inodes.unvetted(INODE).len(), 1);
    }

    #[test]
    fn an_inode_has_one_custodian() {
        let bench = Bench::new();
        assert!(bench.seclude());
        assert!(!bench.seclude());
        bench.inodes.leave(INODE);
        bench.hold();
        assert!(!bench.seclude());
    }

    #[test]
    fn a_closed_inode_was_not_called_off() {
        let bench = Bench::new();
        assert!(!bench.inodes.close(INODE), "nobody is its custodian");
        bench.seclude();
        assert!(bench.inodes.close(INODE));
        assert!(!bench.inodes.close(INODE), "once");
    }

    #[test]
    fn programs_that_wait_for_one_file_cause_one_recall() {
        let bench = Bench::new();
        bench.comes_vetted();
        bench.comes_vetted();
        assert_eq!(bench.calls.try_iter().count(), 1);
        assert!(bench.inodes.vetted(INODE, bench.inodes.unvetted(INODE)));
        let task = bench.inodes.begin(INODE).expect("queued");
        assert!(bench.inodes.begin(INODE).is_none(), "taken up once");
        bench.comes_vetted();
        assert!(task.job.is_running());
        assert_eq!(bench.inodes.finish(INODE).len(), 3, "also who came late");
        assert_eq!(bench.inodes.waiting(), 0);
    }

    #[test]
    fn who_waits_for_a_custodian_gets_a_recall_afterwards() {
        let bench = Bench::new();
        bench.seclude();
        assert!(bench.inodes.close(INODE));
        bench.comes_vetted();
        assert_eq!(bench.calls.try_iter().count(), 0);
        bench.inodes.leave(INODE);
        assert_eq!(bench.calls.try_iter().collect::<Vec<_>>(), [INODE]);
        assert!(bench.inodes.vetted(INODE, vec![]), "it was looked at before");
        assert!(bench.inodes.begin(INODE).is_some());
    }

    #[test]
    fn an_inode_for_which_nobody_may_recall_leaves_the_table() {
        let bench = Bench::new();
        bench.comes();
        assert_eq!(bench.inodes.unvetted(INODE).len(), 1);
        assert!(!bench.inodes.vetted(INODE, vec![]));
        assert!(bench.seclude(), "it is free");
    }

    #[test]
    fn a_recall_that_nobody_waits_for_any_more_is_not_begun() {
        let bench = Bench::new();
        bench.comes_vetted();
        assert!(bench.inodes.vetted(INODE, vec![]), "a worker is to have it");
        assert_eq!(bench.inodes.take_overdue(|_, _| true).len(), 1);
        assert!(bench.inodes.begin(INODE).is_none());
        assert!(bench.seclude(), "it has left the table");
    }

    #[test]
    fn who_comes_after_all_others_were_denied_is_looked_at_first() {
        let bench = Bench::new();
        bench.comes_vetted();
        bench.inodes.vetted(INODE, vec![]);
        bench.inodes.take_overdue(|_, _| true);
        bench.comes();
        assert_eq!(bench.calls.try_iter().count(), 1);
        assert!(bench.inodes.begin(INODE).is_none());
        assert_eq!(bench.calls.try_iter().collect::<Vec<_>>(), [INODE]);
        assert_eq!(bench.inodes.unvetted(INODE).len(), 1);
    }

    #[test]
    fn a_recall_that_nobody_waits_for_any_more_is_stopped() {
        let bench = Bench::new();
        bench.comes_vetted();
        let task = {
            bench.inodes.vetted(INODE, vec![]);
            bench.inodes.begin(INODE).expect("queued")
        };
        assert_eq!(bench.inodes.take_overdue(|_, _| false).len(), 0);
        assert!(!task.job.stop.requested());
        assert_eq!(bench.inodes.take_overdue(|_, _| true).len(), 1);
        assert!(task.job.stop.requested());
    }

    #[test]
    fn who_holds_in_turn_waits_for_the_one_before() {
        let bench = Bench::new();
        bench.hold();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                bench.inodes.enter_in_turn(INODE, bench.handle, &bench.job());
            });
            bench.inodes.leave(INODE);
            second.join().expect("it got its turn");
        });
        assert!(!bench.seclude());
    }
}
