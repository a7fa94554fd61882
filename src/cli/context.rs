//! What a running command knows about the machine and the person: where the
//! configuration is, what time it is, whether to stop, and how to open the
//! policy, the state DB, the store and the locks.
//!
//! The environment is read here and, for credentials of the second store, in
//! `second`, nowhere else: `HSM_CONFIG` (by the argument parser), the XDG
//! directories, the variables with stores' credentials, and `HSM_TEST_NOW`, which
//! fixes the clock for tests (an
//! RFC 3339 time or nanoseconds since the epoch).
//!
//! Opening the state DB never creates it; only `hsm init` does. Locks are taken
//! per root, before the state DB is written, and never waited for.

use super::accounts::Accounts;
use super::args::{Global, PolicyFiles};
use super::command::Outcome;
use super::error::Error;
use super::exit::Exit;
use super::output::{Output, escaped_path};
use super::progress::{Detail, Progress};
use super::report;
use crate::clock::Clock;
use crate::config::{self, Config, ConfigPaths, StoreSection};
use crate::guard::client::{self, Client};
use crate::monitor::Stop;
use crate::os::{lock::LockError, lock::RunLock, private, process, signals::StopSignal};
use crate::policy::PolicySet;
use crate::state::{RootRow, StateDb};
use crate::store::{self, Capabilities, Store, StoreOptions};
use crate::units;
use aws_lc_rs::digest;
use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The state DB's setting that keeps what the store was found to do, as JSON of
/// `store::Capabilities`.
pub const CAPABILITIES_SETTING: &str = "store.capabilities";

/// The environment of one command.
pub struct Context {
    pub global: Global,
    /// The name of the command.
    pub command: &'static str,
    pub out: Output,
    pub clock: Clock,
    pub stop: Stop,
    pub progress: Progress,
    looked_through: Cell<bool>,
    _signals: StopSignal,
}

impl Context {
    pub fn new(global: Global, command: &'static str, out: Output) -> Result<Self, Error> {
        let stop = Stop::new();
        let signals = StopSignal::install(&stop)
            .map_err(Error::io("install signal handlers of", Path::new("hsm")))?;
        let detail = match (global.quiet, global.verbose) {
            (true, _) => Detail::Quiet,
            (false, 0) => Detail::Normal,
            (false, _) => Detail::Verbose,
        };
        let progress = Progress::new(out.clone(), detail);
        let looked_through = Cell::new(false);
        Ok(Self {
            global,
            command,
            out,
            clock: clock()?,
            stop,
            progress,
            looked_through,
            _signals: signals,
        })
    }

    pub fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    /// Adds what happened beside the command: failures of single files, a
    /// request to stop. A worse end found by the command itself stays.
    pub fn conclude(&self, mut outcome: Outcome) -> Outcome {
        self.progress.finish();
        let failed = self.progress.failed();
        if outcome.exit == Exit::Done && failed > 0 {
            outcome.exit = Exit::SomeFailed;
        }
        if self.stop.requested() {
            outcome.exit = Exit::Interrupted;
        }
        outcome.with("failed_files", failed)
    }

    /// The places of configuration, policies and state for this user;
    /// `--config` moves the policies with it.
    pub fn paths(&self) -> ConfigPaths {
        let named = self.global.config.as_ref();
        let env = |name: &str| match (name, named) {
            ("HSM_CONFIG", Some(file)) => Some(file.clone().into_os_string()),
            _ => std::env::var_os(name),
        };
        config::locate(&env, process::is_root())
    }

    /// Who changes files, for their log: the command, and by whom it was called
    /// where that is not simply the system.
    pub fn actor(&self) -> String {
        let user = match (process::uid(), std::env::var("SUDO_UID")) {
            (0, Ok(uid)) => uid.parse().ok(),
            (0, Err(_)) => None,
            (uid, _) => Some(uid),
        };
        let uid = user.map(|uid: u32| format!(" (uid {uid})")).unwrap_or_default();
        format!("{}{uid}", self.command)
    }

    /// The configuration; [`Error::NotInitialised`] when there is none.
    pub fn config(&self) -> Result<Config, Error> {
        let path = self.paths().config_file;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("there is no {}", escaped_path(&path));
                return Err(Error::NotInitialised(what));
            }
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let config = Config::parse(&path.to_string_lossy(), &text).map_err(Error::Config)?;
        self.look_through_guard(&config);
        Ok(config)
    }

    /// The directory of the rules in force; the default one where nothing is
    /// configured yet.
    pub fn policy_dir(&self) -> Result<PathBuf, Error> {
        match self.config() {
            Ok(config) => Ok(config.policy_dir),
            Err(Error::NotInitialised(_)) => Ok(self.paths().policy_dir),
            Err(error) => Err(error),
        }
    }

    /// The rules: those named on the command line, else policies.d in order of
    /// file name.
    pub fn policy(&self, config: &Config, named: &PolicyFiles) -> Result<PolicySet, Error> {
        let policy = load_policy(&files_of_policy(config, named)?)?;
        match &config.second_store {
            None if policy.wants_two_copies() => Err(Error::Policy(policy.without_second_store())),
            _ => Ok(policy),
        }
    }

    /// The files of [`Context::policy`] with their names, as they are written.
    pub fn policy_texts(
        &self,
        config: &Config,
        named: &PolicyFiles,
    ) -> Result<Vec<(String, String)>, Error> {
        policy_texts(&files_of_policy(config, named)?)
    }

    /// SHA-256 of the files of [`Context::policy`]: tells whether they are still
    /// what they were.
    pub fn policy_digest(&self, config: &Config, named: &PolicyFiles) -> Result<String, Error> {
        let mut digest = digest::Context::new(&digest::SHA256);
        for file in files_of_policy(config, named)? {
            let text = std::fs::read(&file).map_err(Error::io("read", &file))?;
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(&text);
        }
        Ok(hex::encode(digest.finish()))
    }

    /// The state DB for a command that writes it.
    pub fn state(&self, config: &Config) -> Result<StateDb, Error> {
        let mut state = StateDb::open(&existing_state(config)?)?;
        state.act_as(&self.actor(), self.clock);
        Ok(state)
    }

    /// The state DB for a command that only looks, also while another writes.
    pub fn state_read_only(&self, config: &Config) -> Result<StateDb, Error> {
        Ok(StateDb::open_read_only(&existing_state(config)?)?)
    }

    /// The store; what it was found to do comes from the state DB.
    pub fn store(&self, config: &Config, state: Option<&StateDb>) -> Result<Box<dyn Store>, Error> {
        open_store(&config.store, state, &self.stop)
    }

    /// The store's options out of the configuration; a stop ends its waits.
    pub fn store_options(&self, section: &StoreSection) -> StoreOptions {
        store_options(section, &self.stop)
    }

    /// The guard that watches the roots, if one does. From then on this process
    /// looks at them through the guard's own mounts, so that no look at a stub
    /// recalls it.
    pub fn guard(&self, config: &Config) -> Result<Option<Client>, Error> {
        let locks = config.state_dir.join("locks");
        if !process::is_root()
            || client::holder(&locks).map_err(Error::io("look at", &locks))?.is_none()
        {
            return Ok(None);
        }
        Ok(Some(Client::connect(&config.guard.run_dir, &self.actor())?))
    }

    /// For commands that only look; one that cannot reach the guard says so and
    /// goes on.
    fn look_through_guard(&self, config: &Config) {
        if self.looked_through.replace(true) {
            return;
        }
        if let Err(error) = self.guard(config) {
            let lines = report::lines(&error).join("; ");
            self.progress.warn(&format!("what opens a stub now recalls it: {lines}"));
        }
    }

    /// Locks these roots for this run; [`Error::Locked`] names who has one.
    pub fn lock(&self, config: &Config, roots: &[RootRow]) -> Result<Vec<RunLock>, Error> {
        let paths: Vec<PathBuf> = roots.iter().map(|root| root.path.clone()).collect();
        self.lock_paths(config, &paths)
    }

    /// The same by the roots' paths, for whoever has no state DB.
    pub fn lock_paths(&self, config: &Config, roots: &[PathBuf]) -> Result<Vec<RunLock>, Error> {
        let dir = config.state_dir.join("locks");
        private::make_dir(&config.state_dir)
            .and_then(|()| private::make_dir(&dir))
            .map_err(Error::io("make", &dir))?;
        lock_files(config, roots).iter().map(|path| acquire(path)).collect()
    }
}

/// What the store was found to do when it was last tried; `None` before that,
/// when nothing may be relied on.
pub fn capabilities(state: &StateDb) -> Result<Option<Capabilities>, Error> {
    let text = state.setting(CAPABILITIES_SETTING)?;
    // A later version's findings that this one cannot read are no findings.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Opens the store of the configuration.
pub fn open_store(
    section: &StoreSection,
    state: Option<&StateDb>,
    stop: &Stop,
) -> Result<Box<dyn Store>, Error> {
    let mut options = store_options(section, stop);
    let recorded = state.map(capabilities).transpose()?.flatten();
    options.conditional_create = recorded.map(|found| found.conditional_create);
    Ok(store::open(&options)?)
}

pub fn store_options(section: &StoreSection, stop: &Stop) -> StoreOptions {
    let mut options = StoreOptions::new(&section.url);
    options.endpoint.clone_from(&section.endpoint);
    options.region.clone_from(&section.region);
    options.variables = store::Variables::among(std::env::vars_os());
    options.path_style = section.path_style.then_some(true);
    options.storage_class.clone_from(&section.storage_class);
    options.sse.clone_from(&section.sse);
    options.profile.clone_from(&section.profile);
    options.checksums = match section.checksums {
        config::Checksums::Always => store::Checksums::Always,
        config::Checksums::WhenRequired => store::Checksums::WhenRequired,
    };
    options.bandwidth_bytes_per_s = section.bandwidth;
    options.concurrency = section.concurrency.unwrap_or(options.concurrency);
    options.stop = stop.clone();
    options
}

/// As [`acquire`], for a lock that others only look at: who looks holds it for
/// an instant.
pub fn acquire_soon(path: &Path) -> Result<RunLock, Error> {
    for _ in 0..20 {
        match acquire(path) {
            Err(Error::Locked { .. }) => std::thread::sleep(std::time::Duration::from_millis(25)),
            acquired => return acquired,
        }
    }
    acquire(path)
}

/// The lock files of these roots, in the order in which they are taken.
pub fn root_locks(config: &Config, roots: &[RootRow]) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = roots.iter().map(|root| root.path.clone()).collect();
    lock_files(config, &paths)
}

fn lock_files(config: &Config, roots: &[PathBuf]) -> Vec<PathBuf> {
    let dir = config.state_dir.join("locks");
    let mut names: Vec<String> = roots.iter().map(|root| lock_name(root)).collect();
    names.sort_unstable();
    names.dedup();
    names.iter().map(|name| dir.join(name)).collect()
}

/// Takes a lock that an ending process gives back.
pub fn acquire(path: &Path) -> Result<RunLock, Error> {
    RunLock::acquire(path, &process::holder()).map_err(|error| match error {
        LockError::Held { by } => Error::Locked { by },
        LockError::Io { path, source } => Error::io("lock", &path)(source),
    })
}

/// A file name for a root: its last component for people, a sum of the whole
/// path against two of one name. Two paths of one sum would only wait for each
/// other.
fn lock_name(root: &Path) -> String {
    let sum = crc32fast::hash(root.as_os_str().as_bytes());
    let last = root.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let readable: String =
        last.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    format!("{readable}-{sum:08x}.lock")
}

/// The state DB's file in a state directory.
pub fn state_file(state_dir: &Path) -> PathBuf {
    state_dir.join("state.db")
}

/// Parses policy files together, first file first.
pub fn load_policy(files: &[PathBuf]) -> Result<PolicySet, Error> {
    parse_policy(&policy_texts(files)?)
}

/// The files with their names.
fn policy_texts(files: &[PathBuf]) -> Result<Vec<(String, String)>, Error> {
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).map_err(Error::io("read", file))?;
        Ok((file.to_string_lossy().into_owned(), text))
    };
    files.iter().map(read).collect()
}

/// The same as [`load_policy`] of texts with their names.
pub fn parse_policy(texts: &[(String, String)]) -> Result<PolicySet, Error> {
    Accounts::read().with_names(|names| PolicySet::load(texts, names)).map_err(Error::Policy)
}

fn files_of_policy(config: &Config, named: &PolicyFiles) -> Result<Vec<PathBuf>, Error> {
    match named.files.as_slice() {
        [] => policy_files(&config.policy_dir),
        files => Ok(files.to_vec()),
    }
}

/// The `*.toml` files of a policy directory, sorted; none if it does not exist.
pub fn policy_files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", dir)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn existing_state(config: &Config) -> Result<PathBuf, Error> {
    let path = state_file(&config.state_dir);
    match path.symlink_metadata() {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::StateLost(path)),
        Err(error) => Err(Error::io("look at", &path)(error)),
    }
}

fn clock() -> Result<Clock, Error> {
    let Ok(text) = std::env::var("HSM_TEST_NOW") else { return Ok(Clock::system()) };
    fixed_time(&text).map(Clock::fixed).map_err(Error::Usage)
}

fn fixed_time(text: &str) -> Result<i64, String> {
    if let Ok(now_ns) = text.parse() {
        return Ok(now_ns);
    }
    units::parse_time(text, 0).map_err(|error| format!("HSM_TEST_NOW: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_time_is_nanoseconds_or_rfc_3339() {
        assert_eq!(fixed_time("1700000000000000001"), Ok(1_700_000_000_000_000_001));
        assert_eq!(fixed_time("2001-09-09T01:46:40Z"), Ok(1_000_000_000_000_000_000));
        assert!(fixed_time("yesterdayish").unwrap_err().starts_with("HSM_TEST_NOW: "));
    }

    #[test]
    fn every_root_has_a_lock_of_its_own() {
        let names = ["/srv/a", "/srv/b", "/mnt/a", "/"].map(|path| lock_name(Path::new(path)));
        let mut distinct = names.to_vec();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), names.len());
        assert!(names[0].starts_with("a-") && names[0].ends_with(".lock"));
    }

    #[test]
    fn policy_files_are_read_in_order_of_name() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["20-b.toml", "10-a.toml", "notes.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let files = policy_files(dir.path()).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap()).collect();
        assert_eq!(names, ["10-a.toml", "20-b.toml"]);
        assert!(policy_files(&dir.path().join("missing")).unwrap().is_empty());
    }
}
