//! The real `hsm` in a directory of its own: environment cleared, clock fixed,
//! configuration, state and store below one temporary directory.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// 2026-01-31T14:00:00Z.
pub const NOW: &str = "2026-01-31T14:00:00Z";

/// One server: a root `tree`, and nothing initialised yet.
pub struct Server {
    dir: TempDir,
}

/// What a run of `hsm` left behind.
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Server {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("tree")).expect("the root");
        Self { dir }
    }

    /// A server after `hsm init tree`.
    pub fn initialised() -> Self {
        let server = Self::new();
        server.run(["init", &server.text("tree")]).ok();
        server
    }

    /// A path of this server, symlinks resolved as `hsm` has them.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().canonicalize().expect("it exists").join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary paths are UTF-8").to_owned()
    }

    /// A command that has its configuration and state here.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hsm"));
        command
            .env_clear()
            .env("HSM_TEST_NOW", NOW)
            .env("HSM_CONFIG", self.path("etc/config.toml"))
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("xdg-state"))
            .current_dir(self.dir.path());
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let is_init = args.first().is_some_and(|first| first == "init");
        command.args(args);
        if is_init {
            // Root's default would be /var/lib/hsm.
            command.arg("--state-dir").arg(self.path("state"));
        }
        command
    }

    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        let Output { status, stdout, stderr } = self.command(args).output().expect("hsm starts");
        Ran {
            code: status.code().expect("no signal"),
            stdout,
            stderr: String::from_utf8(stderr).expect("messages are UTF-8"),
        }
    }
}

impl Ran {
    /// Itself, if the run was a success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}\n{}", self.text(), self.stderr);
        self
    }

    /// Itself, if the run ended with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.text(), self.stderr);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The records of a `--json` run; the last one must be the summary, and
    /// its exit code the process's.
    #[track_caller]
    pub fn records(&self) -> Vec<Value> {
        let lines = self.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let records: Vec<Value> =
            lines.map(|line| serde_json::from_slice(line).expect("one object per line")).collect();
        let last = records.last().expect("a summary");
        assert_eq!(last["type"], "summary");
        assert_eq!(last["exit"], self.code);
        assert!(records[..records.len() - 1].iter().all(|record| record["type"] != "summary"));
        records
    }
}
