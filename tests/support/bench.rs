//! The library at work in the test's own process, on a sandbox: a site that is
//! opened like the command line opens it, with a custody and a guard of the
//! test's choice, and doubles of both that are stricter than the real ones.

#![allow(dead_code)] // each suite uses its part

use crate::support::Sandbox;
use hsm::chunk::Protection;
use hsm::clock::Clock;
use hsm::ids::FileIdent;
use hsm::monitor::{Monitor, Phase, Stop};
use hsm::os::{RelPath, RootDir, file_ident};
use hsm::policy::FileState;
use hsm::recall;
use hsm::site::guard::{Recalled, Stubbed, ToRecall, ToStub};
use hsm::site::{Custody, Guard, GuardError, Held, Leases, Secluded, Site};
use hsm::state::{ManagedRow, RootId, RootRow, StateDb};
use hsm::store::{self, StoreOptions};
use hsm::tier::{recover, stubbing};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

/// Opens a site on the sandbox for `work`.
pub fn with_site<T>(
    sandbox: &Sandbox,
    custody: &dyn Custody,
    guard: Option<&mut dyn Guard>,
    monitor: &dyn Monitor,
    work: impl FnOnce(&mut Site<'_>, &RootRow, &RootDir) -> T,
) -> T {
    let state = StateDb::open(&sandbox.state_db()).expect("the state DB");
    with_state(sandbox, state, custody, guard, monitor, work)
}

/// The same with a state DB that is open already.
pub fn with_state<T>(
    sandbox: &Sandbox,
    state: StateDb,
    custody: &dyn Custody,
    guard: Option<&mut dyn Guard>,
    monitor: &dyn Monitor,
    work: impl FnOnce(&mut Site<'_>, &RootRow, &RootDir) -> T,
) -> T {
    let store = store::open(&StoreOptions::new(sandbox.store_url())).expect("the store");
    let row = state.roots().expect("the roots").remove(0);
    let root = RootDir::open(&row.path).expect("the root");
    let mut site = Site {
        store_id: state.store_id(),
        node_id: state.node_id(),
        state_path: sandbox.state_db(),
        state,
        store: &*store,
        second: None,
        capabilities: Default::default(),
        protection: &Protection::Plain,
        monitor,
        stop: Stop::new(),
        errand: Default::default(),
        clock: Clock::system(),
        workers: 2,
        memory_bytes: 256 << 20,
        connections: 2,
        offline: Default::default(),
        custody,
        guard: guard.map(|guard| guard as &mut dyn Guard),
    };
    work(&mut site, &row, &root)
}

/// Everything that one root manages in these states.
pub fn rows(state: &StateDb, root: RootId, states: &[FileState]) -> Vec<ManagedRow> {
    let mut found = vec![];
    let visit = &mut |row| {
        found.push(row);
        ControlFlow::Continue(())
    };
    state.for_each_managed(root, None, states, visit).expect("managed files");
    found
}

/// State and stamps of one file.
pub fn row(sandbox: &Sandbox, name: &str) -> ManagedRow {
    let state = StateDb::open_read_only(&sandbox.state_db()).expect("the state DB");
    let root = state.roots().expect("the roots").remove(0);
    state.managed_at(root.id, &path(name)).expect("read").expect("managed")
}

pub fn path(name: &str) -> RelPath {
    RelPath::new(name).expect("a path")
}

pub fn ident(sandbox: &Sandbox, name: &str) -> FileIdent {
    file_ident(File::open(sandbox.tree().join(name)).expect("open")).expect("an identity")
}

/// Keeps what it is told.
#[derive(Default)]
pub struct Notes {
    /// Path below the tree's last component, what was done, the causes.
    pub failures: Mutex<Vec<String>>,
    pub progress: Mutex<(u64, u64)>,
}

impl Notes {
    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("no holder panics").clone()
    }
}

impl Monitor for Notes {
    fn begin(&self, _: Phase, _: u64, _: u64) {}

    fn advance(&self, files: u64, bytes: u64) {
        let mut progress = self.progress.lock().expect("no holder panics");
        *progress = (progress.0 + files, progress.1 + bytes);
    }

    fn end(&self) {}

    fn file_failed(&self, path: &Path, doing: &str, error: &dyn std::error::Error) {
        let mut text = format!("{} {doing}: {error}", path.display());
        let mut next = error.source();
        while let Some(cause) = next {
            text.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        self.failures.lock().expect("no holder panics").push(text);
    }

    fn notice(&self, _: &str) {}
}

/// For a process that leaves all inodes to a guard: must never be asked.
pub struct HandsOff;

impl Custody for HandsOff {
    fn seclude(&self, _: File) -> io::Result<Result<Box<dyn Secluded + '_>, File>> {
        panic!("this process must not free anything");
    }

    fn hold(&self, _: &File) -> io::Result<Box<dyn Held + '_>> {
        panic!("this process must not fill or mend anything");
    }

    fn guarded(&self) -> bool {
        true
    }
}

/// A custody that notices what would deadlock in a real one: a file held twice,
/// or one held while a later one of the same thread is.
#[derive(Default)]
pub struct Strict {
    held: Mutex<Vec<FileIdent>>,
    /// Every hold that was ever given.
    pub holds: Mutex<Vec<FileIdent>>,
    pub in_use: Mutex<Vec<FileIdent>>,
}

struct Keeping<'c>(&'c Strict, FileIdent);

impl Held for Keeping<'_> {}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        self.0.held.lock().expect("no holder panics").retain(|held| *held != self.1);
    }
}

impl Strict {
    pub fn is_free(&self) -> bool {
        self.held.lock().expect("no holder panics").is_empty()
    }
}

impl Custody for Strict {
    fn seclude(&self, file: File) -> io::Result<Result<Box<dyn Secluded + '_>, File>> {
        let ident = file_ident(&file)?;
        if self.in_use.lock().expect("no holder panics").contains(&ident) {
            return Ok(Err(file));
        }
        Leases.seclude(file).map(|taken| taken.map(|it| it as Box<dyn Secluded>))
    }

    fn hold(&self, file: &File) -> io::Result<Box<dyn Held + '_>> {
        let ident = file_ident(file)?;
        let mut held = self.held.lock().expect("no holder panics");
        assert!(held.iter().all(|other| *other < ident), "{ident:?} after {held:?}");
        held.push(ident);
        self.holds.lock().expect("no holder panics").push(ident);
        Ok(Box::new(Keeping(self, ident)))
    }

    fn guarded(&self) -> bool {
        true
    }
}

/// A guard in the same process, with a site of its own. Messages go through
/// their text form, as they do over a socket.
pub struct NearGuard<'s> {
    pub sandbox: &'s Sandbox,
    pub custody: Strict,
    pub watches: Result<(), String>,
    pub stubs: Vec<Vec<ToStub>>,
    pub recalls: Vec<ToRecall>,
    pub recoveries: u64,
    /// Done to the tree before a request to stub is worked on.
    pub before_stub: Option<Box<dyn FnMut() + Send + 's>>,
}

impl<'s> NearGuard<'s> {
    pub fn new(sandbox: &'s Sandbox) -> Self {
        Self {
            sandbox,
            custody: Strict::default(),
            watches: Ok(()),
            stubs: vec![],
            recalls: vec![],
            recoveries: 0,
            before_stub: None,
        }
    }

    fn work<T>(&self, work: impl FnOnce(&mut Site<'_>, &RootRow, &RootDir) -> T) -> T {
        let notes = Notes::default();
        let done = with_site(self.sandbox, &self.custody, None, &notes, work);
        assert!(self.custody.is_free(), "everything is let go at the end of a request");
        assert_eq!(notes.failures(), [""; 0], "failures go to who asked");
        done
    }
}

fn sent<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).expect("text")).expect("the value")
}

impl Guard for NearGuard<'_> {
    fn watches(&mut self, _: &RootRow) -> Result<(), String> {
        self.watches.clone()
    }

    fn stub(&mut self, root_id: RootId, files: &[ToStub]) -> Result<Stubbed, GuardError> {
        assert!((1..=1024).contains(&files.len()));
        self.stubs.push(files.to_vec());
        if let Some(before) = &mut self.before_stub {
            before();
        }
        let files: Vec<ToStub> = files.iter().map(sent).collect();
        let done = self.work(|site, _, root| stubbing::stub_requested(site, root_id, root, &files));
        done.map(|done| sent(&done)).map_err(|error| GuardError::Failed(error.to_string()))
    }

    fn recall(&mut self, root_id: RootId, work: &ToRecall) -> Result<Recalled, GuardError> {
        assert!((1..=256).contains(&work.paths.len()));
        self.recalls.push(work.clone());
        let work = sent(work);
        let done = self.work(|site, _, root| recall::recall_requested(site, root_id, root, &work));
        done.map(|done| sent(&done)).map_err(|error| GuardError::Failed(error.to_string()))
    }

    fn recover(&mut self, root_id: RootId) -> Result<u64, GuardError> {
        self.recoveries += 1;
        let done =
            self.work(|site, _, root| recover::recover_files(&mut site.ground(), root_id, root));
        done.map(|done| done.files).map_err(|error| GuardError::Failed(error.to_string()))
    }
}
