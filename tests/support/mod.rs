//! What the black-box suites share: a sandbox with its own configuration,
//! state, store and tree, the real `hsm` run in it with a cleared environment,
//! and a snapshot that tells two trees apart by everything a user could see.

#![allow(dead_code)] // each suite uses its part

pub mod actor;
pub mod dice;
pub mod held;
pub mod notify;
pub mod running;
pub mod snapshot;
pub mod trees;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Stubs without a guard are what these suites are about; no age, no size
/// limit, no quiet time, so that one run does everything.
pub const EAGER_POLICY: &str = r#"
unguarded = true

[defaults]
min_stub_size = "0"
quiet = "0s"
min_age_after_recall = "0s"

[[rule]]
name = "everything"
action = "tier"
"#;

/// The same without stubs.
pub const UPLOAD_POLICY: &str = r#"
[defaults]
quiet = "0s"

[[rule]]
name = "everything"
action = "upload"
"#;

/// A place where one test has everything to itself.
pub struct Sandbox {
    dir: tempfile::TempDir,
    extra_env: BTreeMap<String, String>,
}

impl Sandbox {
    /// Empty tree, empty store directory, nothing initialised.
    pub fn empty() -> Self {
        Self::in_dir(tempfile::tempdir().expect("a temporary directory"))
    }

    /// The same below a directory of the caller's (a loop file system).
    pub fn below(parent: &Path) -> Self {
        Self::in_dir(tempfile::tempdir_in(parent).expect("a directory on the image"))
    }

    fn in_dir(dir: tempfile::TempDir) -> Self {
        let sandbox = Self { dir, extra_env: BTreeMap::new() };
        for part in ["tree", "store", "home"] {
            std::fs::create_dir(sandbox.path(part)).expect("a fresh directory");
        }
        sandbox
    }

    /// Initialised on a directory store, with [`EAGER_POLICY`].
    pub fn new() -> Self {
        let sandbox = Self::empty();
        sandbox.init();
        sandbox
    }

    pub fn init(&self) {
        let url = self.store_url();
        self.init_with(&["--store", &url]);
    }

    /// `hsm init` with these options on the tree, then [`EAGER_POLICY`].
    pub fn init_with(&self, options: &[&str]) {
        let tree = self.tree();
        let state = self.state_dir();
        let mut args: Vec<&OsStr> = vec!["init".as_ref(), "--state-dir".as_ref(), state.as_ref()];
        args.extend(options.iter().map(OsStr::new));
        args.push(tree.as_os_str());
        self.hsm(args).succeeds();
        self.policy(EAGER_POLICY);
    }

    pub fn set_env(&mut self, name: &str, value: &str) {
        self.extra_env.insert(name.into(), value.into());
    }

    pub fn path(&self, part: &str) -> PathBuf {
        self.dir.path().join(part)
    }

    pub fn tree(&self) -> PathBuf {
        self.path("tree")
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    pub fn store_url(&self) -> String {
        format!("file://{}", self.store().display())
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("home/state")
    }

    pub fn state_db(&self) -> PathBuf {
        self.state_dir().join("state.db")
    }

    pub fn config(&self) -> PathBuf {
        self.path("home/config/config.toml")
    }

    /// Replaces all policies by this one.
    pub fn policy(&self, text: &str) {
        let dir = self.path("home/config/policies.d");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("the policy directory");
        std::fs::write(dir.join("test.toml"), text).expect("the policy");
    }

    /// The command with the sandbox's environment and nothing else.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hsm"));
        command.env_clear().args(args).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path("home"));
        command.env("HSM_CONFIG", self.config());
        command.envs(&self.extra_env);
        command
    }

    pub fn hsm<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        Ran::of(&mut self.command(args))
    }

    /// `hsm` with relative names below the tree turned into paths.
    pub fn on(&self, command: &str, options: &[&str], names: &[&str]) -> Ran {
        let mut args: Vec<PathBuf> = vec![command.into()];
        args.extend(options.iter().map(PathBuf::from));
        args.extend(names.iter().map(|name| self.tree().join(name)));
        self.hsm(args)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.tree().join(name);
        std::fs::create_dir_all(path.parent().expect("inside the tree")).expect("its directory");
        std::fs::write(path, bytes).expect("a file of the tree");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.tree().join(name)).expect("a readable file")
    }
}

/// What a run of `hsm` said.
pub struct Ran {
    what: String,
    pub output: Output,
}

impl Ran {
    /// Runs any command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the command starts");
        Self { what: format!("{command:?}"), output }
    }

    pub fn code(&self) -> i32 {
        self.output.status.code().unwrap_or(-1)
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.output.status.code(),
            Some(code),
            "{}\n-- stdout\n{}\n-- stderr\n{}",
            self.what,
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// Standard error says all of this, somewhere.
    #[track_caller]
    pub fn complains(self, words: &[&str]) -> Self {
        let text = self.stderr();
        for word in words {
            assert!(text.contains(word), "{}\nno {word:?} in:\n{text}", self.what);
        }
        self
    }

    /// The last object of `--json` output.
    #[track_caller]
    pub fn summary(&self) -> serde_json::Value {
        let text = self.stdout();
        let last = text.lines().last().unwrap_or_else(|| panic!("no output: {}", self.what));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {last}"))
    }
}

/// The sandbox's `hsm` run by an ordinary user, also when the test runs as root,
/// who may read everything: the sandbox then belongs to nobody from here on.
pub fn as_nobody(sandbox: &Sandbox) -> impl Fn(&[&str]) -> Ran + '_ {
    let is_root = rustix::process::geteuid().is_root();
    let program = sandbox.path("home/hsm");
    if is_root {
        // Where cargo builds, nobody may not be able to go. Copied by another
        // process: a child that a test beside us is just starting would hold
        // our descriptor, and a program that is open for writing does not run.
        let mut copy = Command::new("cp");
        copy.arg(env!("CARGO_BIN_EXE_hsm")).arg(&program);
        assert!(copy.status().expect("cp").success());
        let box_dir = sandbox.path("");
        let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(&box_dir).status();
        assert!(chown.expect("chown").success());
    }
    move |args: &[&str]| {
        if !is_root {
            return sandbox.hsm(args);
        }
        let plain = sandbox.command(args);
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command.args(args).env_clear().stdin(Stdio::null());
        for (name, value) in plain.get_envs() {
            command.env(name, value.expect("only set variables"));
        }
        Ran::of(&mut command)
    }
}

/// True when the process may do what root may. Says loudly when not, and makes
/// the skip a failure where `HSM_TEST_NO_SKIP=1`.
#[track_caller]
pub fn needs_root(test: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    skip(test, "needs root");
    false
}

#[track_caller]
pub fn skip(test: &str, why: &str) {
    assert!(
        std::env::var_os("HSM_TEST_NO_SKIP").is_none_or(|value| value != "1"),
        "{test} must not be skipped here: {why}"
    );
    eprintln!("SKIPPED {test}: {why}");
}
