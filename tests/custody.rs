//! Freeing and filling where something else than a lease keeps others off the
//! inodes: every way in which openers and the work on a file can meet.

#[path = "support/bench.rs"]
mod bench;
mod support;

use bench::{Notes, Strict, path, row, rows, with_site, with_state};
use hsm::ids::FileIdent;
use hsm::monitor::Silent;
use hsm::os::file_ident;
use hsm::policy::FileState;
use hsm::recall::{self, FileError, Filled, Target};
use hsm::site::{Catalog, Custody, Held, Leases, Secluded};
use hsm::state::{RECALLED, RecallRow, StateDb};
use hsm::stub::{self, MarkerSpace, Placement};
use hsm::tier::stubbing::{self, StubStats};
use hsm::tier::{conditions, recover};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use support::snapshot::{allocated, is_stub};
use support::trees::noise;
use support::{EAGER_POLICY, Sandbox, UPLOAD_POLICY, needs_root};

const LEN: usize = 100_000;

/// Files `f0`, `f1`... uploaded.
fn uploaded(files: u64) -> Sandbox {
    let sandbox = Sandbox::empty();
    for file in 0..files {
        sandbox.write(&format!("f{file}"), &noise(file, LEN));
    }
    sandbox.init();
    sandbox.policy(UPLOAD_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    sandbox
}

fn stubbed(files: u64) -> Sandbox {
    let sandbox = uploaded(files);
    sandbox.policy(EAGER_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    sandbox
}

fn stub_all(sandbox: &Sandbox, custody: &dyn Custody) -> StubStats {
    let notes = Notes::default();
    let stats = with_site(sandbox, custody, None, &notes, |site, row, root| {
        let rows = rows(&site.state, row.id, &[FileState::Uploaded]).into_iter().map(Ok);
        stubbing::run(site, row.id, root, rows, &|_, _, _| Ok(hsm::units::Copies::One), None)
            .expect("stubbing")
    });
    assert_eq!(notes.failures(), [""; 0]);
    stats
}

fn open(sandbox: &Sandbox, name: &str) -> File {
    let path = sandbox.tree().join(name);
    File::options().read(true).write(true).open(path).expect("open")
}

fn placement(sandbox: &Sandbox, name: &str) -> Placement {
    stub::inspect(&open(sandbox, name), MarkerSpace::for_this_process()).expect("inspect")
}

/// As a guard's worker does it: a state DB that it only reads.
fn fill(sandbox: &Sandbox, file: File, name: &str) -> Result<Filled, FileError> {
    let state = StateDb::open_read_only(&sandbox.state_db()).expect("the state DB");
    let name = sandbox.tree().join(name);
    with_state(sandbox, state, &Leases, None, &Silent, |site, _, _| {
        recall::fill(site, &mut Catalog::default(), file, &name)
    })
}

fn fill_named(sandbox: &Sandbox, name: &str) -> Result<Filled, FileError> {
    fill(sandbox, open(sandbox, name), name)
}

// --- freeing ---------------------------------------------------------------

#[test]
fn a_file_that_custody_says_is_in_use_is_left_alone_by_name() {
    let sandbox = uploaded(3);
    let custody = Strict::default();
    custody.in_use.lock().unwrap().push(bench::ident(&sandbox, "f1"));
    let before = row(&sandbox, "f1");
    let stats = stub_all(&sandbox, &custody);
    assert_eq!(stats.files, 2);
    assert_eq!(stats.refused, [(conditions::NOT_OPEN, 1)].into_iter().collect());
    assert_eq!(placement(&sandbox, "f1"), Placement::Resident);
    assert_eq!(row(&sandbox, "f1"), before);
}

/// Somebody opens one file after it was secluded.
struct Opened(FileIdent);

struct Noticed<'c> {
    secluded: Box<dyn Secluded + 'c>,
    opened: bool,
}

impl Secluded for Noticed<'_> {
    fn file(&self) -> &File {
        self.secluded.file()
    }

    fn close(&self) -> bool {
        self.secluded.close() && !self.opened
    }
}

impl Custody for Opened {
    fn seclude(&self, file: File) -> io::Result<Result<Box<dyn Secluded + '_>, File>> {
        let opened = file_ident(&file)? == self.0;
        let secluded = Leases.seclude(file)?;
        Ok(secluded.map(|it| Box::new(Noticed { secluded: it, opened }) as Box<dyn Secluded>))
    }

    fn hold(&self, file: &File) -> io::Result<Box<dyn Held + '_>> {
        Leases.hold(file).map(|held| held as Box<dyn Held>)
    }

    fn guarded(&self) -> bool {
        true
    }
}

#[test]
fn an_opener_before_the_punch_keeps_the_file_whole_and_clean() {
    let sandbox = uploaded(2);
    let custody = Opened(bench::ident(&sandbox, "f0"));
    let stats = stub_all(&sandbox, &custody);
    assert_eq!(stats.files, 1);
    assert_eq!(stats.refused, [(conditions::NOT_OPEN, 1)].into_iter().collect());
    assert_eq!(placement(&sandbox, "f0"), Placement::Resident, "its marker is off again");
    assert_eq!(sandbox.read("f0"), noise(0, LEN));
    // Marker on, marker off: the ctime moved, and that is no change of the file.
    sandbox.hsm(["scan"]).succeeds();
    assert_eq!(row(&sandbox, "f0").state, FileState::Uploaded);
    assert_eq!(stub_all(&sandbox, &Leases).files, 1);
}

/// Every file is opened the moment it is let go, and recalled for that: what a
/// guard does, before the batch is committed.
struct Impatient<'s> {
    sandbox: &'s Sandbox,
    /// Recorded at once, or when the batch is over.
    records: bool,
    recalls: Mutex<Vec<RecallRow>>,
}

struct Awaited<'c> {
    custody: &'c Impatient<'c>,
    secluded: Option<Box<dyn Secluded + 'c>>,
    closed: AtomicBool,
}

impl Secluded for Awaited<'_> {
    fn file(&self) -> &File {
        self.secluded.as_ref().expect("until it is dropped").file()
    }

    fn close(&self) -> bool {
        self.closed.store(true, Ordering::SeqCst);
        self.secluded.as_ref().expect("until it is dropped").close()
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        assert!(self.closed.load(Ordering::SeqCst), "nothing went wrong before");
        let file = self.file().try_clone().expect("a descriptor");
        let ident = file_ident(&file).expect("an identity");
        drop(self.secluded.take());
        let sandbox = self.custody.sandbox;
        let stat = match fill(sandbox, file, "a stub") {
            Ok(Filled::Recalled { bytes, stat }) if bytes == LEN as u64 => stat,
            other => panic!("{other:?}"),
        };
        let mut state = StateDb::open(&sandbox.state_db()).expect("the state DB");
        let recall = RecallRow {
            at_ns: 1,
            ident,
            roots: state.roots().expect("the roots").iter().map(|row| row.id).collect(),
            ctime_ns: Some(stat.ctime_ns),
            mtime_ns: Some(stat.mtime_ns),
            bytes: LEN as u64,
            latency_ms: 1,
            pid: 1,
            uid: 0,
            exe: "/bin/impatient".to_owned(),
            cgroup: String::new(),
            outcome: RECALLED.to_owned(),
        };
        if self.custody.records {
            state.record_recalls(std::slice::from_ref(&recall)).expect("record");
        }
        self.custody.recalls.lock().unwrap().push(recall);
    }
}

impl Custody for Impatient<'_> {
    fn seclude(&self, file: File) -> io::Result<Result<Box<dyn Secluded + '_>, File>> {
        let secluded = Leases.seclude(file)?;
        Ok(secluded.map(|it| {
            let (secluded, closed) = (Some(it), AtomicBool::new(false));
            Box::new(Awaited { custody: self, secluded, closed }) as Box<dyn Secluded>
        }))
    }

    fn hold(&self, _: &File) -> io::Result<Box<dyn Held + '_>> {
        panic!("nothing is left half-way here");
    }

    fn guarded(&self) -> bool {
        true
    }
}

#[test]
fn files_that_are_recalled_before_their_batch_is_committed_are_whole_for_the_state_db_too() {
    for records in [true, false] {
        let sandbox = uploaded(5);
        let custody = Impatient { sandbox: &sandbox, records, recalls: Mutex::default() };
        assert_eq!(stub_all(&sandbox, &custody).files, 5);
        if !records {
            let mut state = StateDb::open(&sandbox.state_db()).expect("the state DB");
            assert_eq!(row(&sandbox, "f3").state, FileState::Stub);
            state.record_recalls(&custody.recalls.lock().unwrap()).expect("record");
        }
        for file in 0..5 {
            let name = format!("f{file}");
            assert_eq!(sandbox.read(&name), noise(file, LEN));
            assert_eq!(row(&sandbox, &name).state, FileState::Uploaded);
        }
        // Nothing looks changed to the next scan.
        sandbox.hsm(["scan"]).succeeds();
        assert_eq!(row(&sandbox, "f4").state, FileState::Uploaded);
        let status = sandbox.hsm(["status"]).succeeds().stdout();
        assert!(!status.contains("impatient"), "that was long ago: {status}");
    }
}

// --- filling one file ------------------------------------------------------

#[test]
fn a_stub_is_filled_without_a_word_to_the_state_db() {
    let sandbox = stubbed(1);
    let before = row(&sandbox, "f0");
    let filled = fill_named(&sandbox, "f0").expect("filled");
    let Filled::Recalled { bytes, stat } = filled else { panic!("{filled:?}") };
    assert_eq!((bytes, stat.size_bytes, stat.mtime_ns), (LEN as u64, LEN as u64, before.mtime_ns));
    assert_eq!(sandbox.read("f0"), noise(0, LEN));
    assert_eq!(row(&sandbox, "f0"), before);
    assert_eq!(fill_named(&sandbox, "f0").expect("nothing to do"), Filled::Resident);
}

/// A descriptor left open for writing would make it `ETXTBSY`.
#[test]
fn a_program_that_was_filled_can_be_executed_at_once() {
    let sandbox = Sandbox::empty();
    sandbox.write("true", &std::fs::read("/bin/true").expect("a program"));
    let program = sandbox.tree().join("true");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("chmod");
    sandbox.init();
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&program));
    fill_named(&sandbox, "true").expect("filled");
    // Another test that is just starting a program may hold our descriptors.
    let ran = (0..1000).find_map(|_| match Command::new(&program).status() {
        Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => None,
        ran => Some(ran.expect("it runs").success()),
    });
    assert_eq!(ran, Some(true));
}

#[test]
fn a_marker_over_data_that_are_all_here_is_taken_off() {
    let sandbox = stubbed(2);
    // Written anew to another size while nobody watched.
    let file = open(&sandbox, "f0");
    file.set_len(0).expect("truncate");
    file.write_all_at(b"anew", 0).expect("write");
    assert_eq!(fill(&sandbox, file, "f0").expect("filled"), Filled::Whole);
    assert_eq!(placement(&sandbox, "f0"), Placement::Resident);
    assert_eq!(sandbox.read("f0"), b"anew");
    // The next scan takes it for the file that it is now.
    sandbox.hsm(["scan"]).succeeds();
    assert_eq!(row(&sandbox, "f0").state, FileState::Dirty);
}

#[test]
fn a_stub_that_was_written_to_is_refused_and_left() {
    let sandbox = stubbed(1);
    open(&sandbox, "f0").write_all_at(b"local", 50_000).expect("write");
    let held = allocated(&sandbox.tree().join("f0"));
    let error = fill_named(&sandbox, "f0").expect_err("local data");
    assert!(error.to_string().contains("--discard-local"), "{error}");
    assert_eq!((error.errno(), allocated(&sandbox.tree().join("f0"))), (libc::EIO, held));
}

#[test]
fn a_copied_marker_is_never_filled_and_means_nothing_over_data() {
    if !needs_root("a_copied_marker_is_never_filled_and_means_nothing_over_data") {
        return;
    }
    let sandbox = stubbed(1);
    let marker = xattr::get(sandbox.tree().join("f0"), "trusted.hsm").expect("read").expect("set");
    let plant = |name: &str, bytes: &[u8], size: u64| {
        sandbox.write(name, bytes);
        open(&sandbox, name).set_len(size).expect("size");
        xattr::set(sandbox.tree().join(name), "trusted.hsm", &marker).expect("mark");
    };
    plant("hole", b"", LEN as u64);
    plant("mixed", &noise(7, 8192), LEN as u64);
    plant("zeros", &[0; LEN], LEN as u64);
    for name in ["hole", "mixed", "zeros"] {
        let error = fill_named(&sandbox, name).expect_err(name);
        assert!(matches!(error, FileError::Foreign { .. }), "{error:?}");
        let text = error.to_string();
        let command = format!("hsm adopt {}", sandbox.tree().join(name).display());
        assert!(text.contains(&command), "{text}");
        assert!(matches!(placement(&sandbox, name), Placement::Foreign(_)));
    }
    plant("whole", &noise(7, LEN), LEN as u64);
    plant("empty", b"", 0);
    assert_eq!(fill_named(&sandbox, "whole").expect("its bytes came along"), Filled::Whole);
    assert_eq!(placement(&sandbox, "whole"), Placement::Resident);
    // Whoever receives a copy extends it only now: it keeps its marker.
    assert_eq!(fill_named(&sandbox, "empty").expect("nothing to read"), Filled::Resident);
    assert!(matches!(placement(&sandbox, "empty"), Placement::Foreign(_)));
    assert_eq!(sandbox.read("whole"), noise(7, LEN));
}

#[test]
fn a_fill_that_is_stopped_or_finds_no_copy_leaves_the_stub() {
    let sandbox = stubbed(1);
    let name = sandbox.tree().join("f0");
    let state = StateDb::open_read_only(&sandbox.state_db()).expect("the state DB");
    let error = with_state(&sandbox, state, &Leases, None, &Silent, |site, _, _| {
        site.stop.request();
        recall::fill(site, &mut Catalog::default(), open(&sandbox, "f0"), &name)
    });
    let error = error.expect_err("stopped");
    assert_eq!(error.errno(), libc::EAGAIN, "{error}");
    assert!(is_stub(&name));
    std::fs::remove_dir_all(sandbox.store().join("packs")).expect("remove the packs");
    let error = fill_named(&sandbox, "f0").expect_err("lost");
    assert_eq!(error.errno(), libc::EIO, "{error}");
    assert!(is_stub(&name) && matches!(placement(&sandbox, "f0"), Placement::Stub(_)));
}

/// A punch moves the mtime, and a crash in that instant leaves it moved.
#[test]
fn a_stub_of_a_killed_run_gets_its_time_back() {
    let sandbox = stubbed(1);
    let before = row(&sandbox, "f0");
    open(&sandbox, "f0").set_modified(std::time::SystemTime::now()).expect("touch");
    let mut state = StateDb::open(&sandbox.state_db()).expect("the state DB");
    state.set_state(before.root, before.ident, FileState::Stubbing, None).expect("set");
    let filled = fill_named(&sandbox, "f0").expect("filled");
    let Filled::Recalled { stat, .. } = filled else { panic!("{filled:?}") };
    assert_eq!(stat.mtime_ns, before.mtime_ns);
}

#[test]
fn progress_is_told_while_bytes_arrive() {
    let sandbox = Sandbox::new();
    sandbox.write("large", &noise(1, 20 << 20));
    sandbox.hsm(["tier"]).succeeds();
    let notes = Notes::default();
    let state = StateDb::open_read_only(&sandbox.state_db()).expect("the state DB");
    with_state(&sandbox, state, &Leases, None, &notes, |site, _, _| {
        let file = open(&sandbox, "large");
        recall::fill(site, &mut Catalog::default(), file, &sandbox.tree().join("large"))
    })
    .expect("filled");
    assert_eq!(*notes.progress.lock().unwrap(), (0, 20 << 20));
}

// --- waiting for others ----------------------------------------------------

/// What is held was changed by another thread in the meantime.
struct Meanwhile<'s>(&'s Sandbox, Mutex<Option<Change>>);

type Change = Box<dyn FnOnce(&Sandbox) + Send>;

impl Custody for Meanwhile<'_> {
    fn seclude(&self, _: File) -> io::Result<Result<Box<dyn Secluded + '_>, File>> {
        panic!("nothing is freed here");
    }

    fn hold(&self, file: &File) -> io::Result<Box<dyn Held + '_>> {
        if let Some(act) = self.1.lock().unwrap().take() {
            act(self.0);
        }
        Leases.hold(file).map(|held| held as Box<dyn Held>)
    }

    fn guarded(&self) -> bool {
        true
    }
}

#[test]
fn what_another_thread_made_of_a_file_while_we_waited_is_what_counts() {
    let sandbox = stubbed(1);
    let filled = |sandbox: &Sandbox| drop(fill_named(sandbox, "f0").expect("filled"));
    let custody = Meanwhile(&sandbox, Mutex::new(Some(Box::new(filled))));
    let stats = with_site(&sandbox, &custody, None, &Silent, |site, row, root| {
        let managed = site.state.managed_at(row.id, &path("f0")).expect("read");
        let targets = [Ok(Target { path: path("f0"), row: managed })];
        let options = recall::Options::default();
        recall::run(site, row.id, root, targets.into_iter(), options).expect("recall")
    });
    assert_eq!((stats.files, stats.already_resident, stats.failed), (0, 1, 0));

    let sandbox = stubbed(1);
    let managed = row(&sandbox, "f0");
    let mut state = StateDb::open(&sandbox.state_db()).expect("the state DB");
    state.begin_recalls(managed.root, &[managed.ident]).expect("begin");
    drop(state);
    let ended = move |sandbox: &Sandbox| {
        let mut state = StateDb::open(&sandbox.state_db()).expect("the state DB");
        let stamp = (managed.ident, managed.mtime_ns, 77);
        state.set_state(managed.root, managed.ident, FileState::Uploaded, None).expect("set");
        state.settle(managed.root, &[stamp]).expect("settle");
    };
    let custody = Meanwhile(&sandbox, Mutex::new(Some(Box::new(ended))));
    with_site(&sandbox, &custody, None, &Silent, |site, row, root| {
        recover::recover_files(&mut site.ground(), row.id, root).expect("recovery");
    });
    let left = row(&sandbox, "f0");
    assert_eq!((left.state, left.ctime_ns), (FileState::Uploaded, 77), "it had ended already");
}
