//! A root on a loop file system with `hsm recall-guard` at work on it.
//!
//! State, store and configuration are elsewhere, in the sandbox: the guard
//! refuses to watch the file system that it needs itself. However a test ends,
//! keeper and guard are stopped or killed before the image is unmounted, and a
//! test that takes far too long has them killed under it, which lets go of every
//! process that waits for them (and fails the test). They are found by the
//! configuration in their environment, which no other process has.

#![allow(dead_code)] // each suite uses its part

use super::loopfs::{FsKind, LoopFs};
use super::support::notify::{Keep, Notify};
use super::support::running::{PATIENCE, Running, until};
use super::support::snapshot::is_stub;
use super::support::{Ran, Sandbox};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Everything is tiered at once, and only under a guard.
pub const GUARDED_POLICY: &str = r#"
[defaults]
min_stub_size = "4KiB"
quiet = "0s"
min_age_after_recall = "0s"

[[rule]]
name = "everything"
nlink_max = 100
action = "tier"
"#;

/// The file systems that a guard must be right on.
pub const GUARDED_KINDS: [FsKind; 3] = [FsKind::Ext4, FsKind::Xfs, FsKind::Btrfs];

/// After so long a test is given up and its guard killed.
const WHOLE_TEST: Duration = Duration::from_secs(400);

/// Marks and self-check of a small tree.
const READY: Duration = Duration::from_secs(30);

pub struct Guarded {
    pub sandbox: Sandbox,
    pub notify: Notify,
    keeper: Option<Running>,
    alarm: Alarm,
    // Last: unmounted when everything that uses it is gone.
    pub fs: LoopFs,
}

impl Guarded {
    /// With an empty root and a guard that said it is ready.
    pub fn new(test: &str, kind: FsKind) -> Option<Self> {
        let mut guarded = Self::idle(test, kind)?;
        guarded.start();
        Some(guarded)
    }

    /// The same before the guard is started.
    pub fn idle(test: &str, kind: FsKind) -> Option<Self> {
        let sandbox = Sandbox::empty();
        let url = sandbox.store_url();
        Some(Self::on(LoopFs::new(test, kind)?, sandbox, &["--store", &url]))
    }

    /// Initialised with the given store, the guard not started.
    pub fn on(fs: LoopFs, sandbox: Sandbox, store: &[&str]) -> Self {
        let notify = Notify::at(&sandbox.path("home/notify"));
        let alarm = Alarm::set(WHOLE_TEST, sandbox.config(), notify.keep());
        let guarded = Self { sandbox, notify, keeper: None, alarm, fs };
        let root = guarded.root();
        std::fs::create_dir_all(&root).expect("a directory on the image");
        let state = guarded.sandbox.state_dir();
        let mut init = guarded.sandbox.command(["init", "--state-dir"]);
        Ran::within(PATIENCE, init.arg(state).args(store).arg(root)).succeeds();
        guarded.sandbox.policy(GUARDED_POLICY);
        guarded
    }

    /// The managed tree.
    pub fn root(&self) -> PathBuf {
        self.fs.path().join("data")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// A directory on the same file system that nobody tiers.
    pub fn beside(&self, name: &str) -> PathBuf {
        let dir = self.fs.path().join("beside").join(name);
        std::fs::create_dir_all(&dir).expect("a directory on the image");
        dir
    }

    /// A directory on another file system.
    pub fn away(&self, name: &str) -> PathBuf {
        let dir = self.sandbox.path("away").join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        dir
    }

    /// A section or more at the end of the configuration.
    pub fn configure(&self, text: &str) {
        let known = std::fs::read_to_string(self.sandbox.config()).expect("the configuration");
        std::fs::write(self.sandbox.config(), format!("{known}\n{text}\n")).expect("written");
    }

    /// Starts the guard and waits until it says that it is ready.
    #[track_caller]
    pub fn start(&mut self) {
        if let Err(said) = self.try_start(&[]) {
            panic!("the guard does not start:\n{said}");
        }
    }

    /// The same with more options; the error is what it said instead.
    pub fn try_start(&mut self, options: &[&str]) -> Result<(), String> {
        let mut command = self.sandbox.command(["recall-guard"]);
        command.args(options);
        self.launch(&mut command)
    }

    /// Runs a command that becomes the keeper.
    pub fn launch(&mut self, command: &mut Command) -> Result<(), String> {
        assert!(self.keeper.is_none(), "there is a guard already");
        self.notify.forget();
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log");
        command.env("NOTIFY_SOCKET", &self.notify.path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut keeper = Running::start(command);
        let ready = self.notify.hears("READY=1", READY, || {
            keeper.ends_within(Duration::ZERO).is_some() // it will never be
        });
        if ready {
            self.keeper = Some(keeper);
            return Ok(());
        }
        let ended = keeper.ends_within(Duration::ZERO);
        keeper.kill();
        self.notify.keep().let_go();
        let code = ended.and_then(|status| status.code());
        Err(format!("{}\nexit {code:?}", self.said()))
    }

    fn log_path(&self) -> PathBuf {
        self.sandbox.path("home/guard.log")
    }

    /// Everything that keeper and guard have said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn keeper_pid(&self) -> u32 {
        self.keeper.as_ref().expect("a keeper").pid()
    }

    /// The keeper's only child, which it may just be starting again.
    #[track_caller]
    pub fn guard_pid(&self) -> u32 {
        let keeper = self.keeper_pid();
        let only = || child_of(keeper);
        until(PATIENCE, only).unwrap_or_else(|| panic!("no guard:\n{}", self.said()))
    }

    /// SIGKILL to the guard; returns the pid of the one that takes its place.
    #[track_caller]
    pub fn kill_guard(&self) -> u32 {
        let old = self.guard_pid();
        kill(old);
        let keeper = self.keeper_pid();
        until(PATIENCE, || child_of(keeper).filter(|pid| *pid != old))
            .unwrap_or_else(|| panic!("no guard takes the place of the dead one:\n{}", self.said()))
    }

    pub fn kill_keeper(&mut self) {
        let mut keeper = self.keeper.take().expect("a keeper");
        kill(keeper.pid());
        keeper.ends_within(PATIENCE).expect("SIGKILL ends it");
    }

    /// True when keeper and guard have ended by themselves.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let ended = self.keeper.as_mut().is_none_or(|keeper| keeper.ends_within(limit).is_some());
        if ended {
            self.keeper = None;
        }
        ended
    }

    /// `hsm recall-guard --stop`.
    pub fn stop(&self, options: &[&str]) -> Ran {
        let mut command = self.sandbox.command(["recall-guard", "--stop"]);
        Ran::within(PATIENCE, command.args(options))
    }

    /// Stops the guard whatever stubs there are.
    #[track_caller]
    pub fn stop_by_force(&mut self) {
        self.stop(&["--force"]).succeeds();
        assert!(self.ends_within(PATIENCE), "it does not end:\n{}", self.said());
    }

    #[track_caller]
    pub fn restart(&mut self) {
        self.stop_by_force();
        self.start();
    }

    /// SIGKILL to both, the guard first.
    pub fn kill_both(&mut self) {
        kill(self.guard_pid());
        self.kill_keeper();
        let config = self.sandbox.config();
        until(PATIENCE, || ours(&config).is_empty().then_some(())).expect("SIGKILL ends them");
    }

    /// `hsm` on names below the root, with a time limit.
    pub fn on_names(&self, command: &str, options: &[&str], names: &[&str]) -> Ran {
        let mut hsm = self.sandbox.command([command]);
        hsm.args(options).args(names.iter().map(|name| self.path(name)));
        Ran::within(PATIENCE, &mut hsm)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("its directory");
        std::fs::write(&path, bytes).expect("a file of the tree");
        path
    }

    pub fn is_stub(&self, name: &str) -> bool {
        is_stub(&self.path(name))
    }

    /// Makes stubs of these files. `not-open` may pass: a child that another
    /// test is just starting holds copies of this process's descriptors.
    #[track_caller]
    pub fn stub(&self, names: &[&str]) {
        self.on_names("upload", &[], names).succeeds();
        let mut said = String::new();
        let done = until(PATIENCE, || {
            let ran = self.on_names("stub", &["--json"], names).succeeds();
            said = ran.stdout();
            names.iter().all(|name| self.is_stub(name)).then_some(())
        });
        let left: Vec<_> = names.iter().filter(|name| !self.is_stub(name)).collect();
        assert!(done.is_some(), "{left:?} stay resident: {said}\n{}", self.said());
    }

    /// Asks once for a stub; why the file was left alone.
    #[track_caller]
    pub fn refusals(&self, name: &str) -> Vec<String> {
        let text = self.on_names("stub", &["--json"], &[name]).succeeds().stdout();
        let records = text.lines().map(|line| serde_json::from_str(line).expect("an object"));
        let roots = records.filter(|record: &serde_json::Value| record["type"] == "root");
        let refused = roots.filter_map(|root| root["refused"].as_object().cloned());
        refused.flat_map(|refused| refused.into_iter().map(|(name, _)| name)).collect()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let rang = self.alarm.disarm();
        let config = self.sandbox.config();
        if !ours(&config).is_empty() {
            let mut stop = self.sandbox.command(["recall-guard", "--stop", "--force"]);
            let _ = Ran::try_within(Duration::from_secs(10), &mut stop);
            let gone = until(Duration::from_secs(5), || ours(&config).is_empty().then_some(()));
            if gone.is_none() {
                kill_all(&config);
            }
        }
        self.keeper = None;
        // As long as we keep the group, everybody goes on waiting.
        self.notify.keep().let_go();
        let gone = until(Duration::from_secs(10), || ours(&config).is_empty().then_some(()));
        if std::thread::panicking() {
            eprintln!("what the guard said:\n{}", self.said());
            return;
        }
        assert!(!rang, "the test took more than {WHOLE_TEST:?}, its guard was killed");
        assert!(gone.is_some(), "processes survive: {:?}", ours(&config));
    }
}

/// The only child of a process.
fn child_of(pid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let children: Vec<u32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    match children[..] {
        [only] => Some(only),
        _ => None,
    }
}

/// SIGKILL to one process of ours.
pub fn kill(pid: u32) {
    signal(pid, rustix::process::Signal::KILL);
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
    let _ = rustix::process::kill_process(pid, signal);
}

/// The processes of `hsm` that run with this configuration.
fn ours(config: &Path) -> Vec<u32> {
    let wanted = [b"HSM_CONFIG=", config.as_os_str().as_bytes()].concat();
    let program = Path::new(env!("CARGO_BIN_EXE_hsm"));
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let is_hsm = std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
        is_hsm && environ.split(|byte| *byte == 0).any(|variable| variable == wanted)
    })
    .collect()
}

fn kill_all(config: &Path) {
    // A keeper may have started another guard meanwhile.
    let end = || {
        let left = ours(config);
        left.iter().for_each(|pid| kill(*pid));
        left.is_empty().then_some(())
    };
    if until(Duration::from_secs(20), end).is_none() {
        eprintln!("processes survive SIGKILL: {:?}", ours(config));
    }
}

/// Kills the guard of a test that is stuck, so that the test goes on and fails.
struct Alarm {
    state: Arc<(Mutex<AlarmState>, Condvar)>,
    bell: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct AlarmState {
    disarmed: bool,
    rang: bool,
}

impl Alarm {
    fn set(limit: Duration, config: PathBuf, keep: Keep) -> Self {
        let state: Arc<(Mutex<AlarmState>, Condvar)> = Arc::default();
        let waiting = Arc::clone(&state);
        let bell = std::thread::spawn(move || {
            let (state, changed) = &*waiting;
            let guard = state.lock().expect("no panic");
            let (mut guard, _) = changed
                .wait_timeout_while(guard, limit, |state| !state.disarmed)
                .expect("no panic");
            if !guard.disarmed {
                guard.rang = true;
                eprintln!("a guarded test is stuck: its guard is killed");
                kill_all(&config);
                keep.let_go();
            }
        });
        Self { state, bell: Some(bell) }
    }

    /// Whether it rang.
    fn disarm(&mut self) -> bool {
        let (state, changed) = &*self.state;
        state.lock().expect("no panic").disarmed = true;
        changed.notify_all();
        if let Some(bell) = self.bell.take() {
            let _ = bell.join();
        }
        state.lock().expect("no panic").rang
    }
}
