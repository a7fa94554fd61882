//! tests/restore.py, which reads a store without hsm.
//!
//! Needs `python3`, a way to read zstd and, for an encrypted store, the module
//! `cryptography`; without them the tests say loudly that they skip, and fail
//! under `HSM_TEST_NO_SKIP=1`.

#![allow(dead_code)] // each suite uses its part

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether it can run here, for stores of both kinds.
pub fn script_runs(test: &str) -> bool {
    let needs = "import importlib.util as u, shutil, sys\n\
                 zstd = u.find_spec('zstandard') or shutil.which('zstd')\n\
                 sys.exit(not (zstd and u.find_spec('cryptography')))";
    let found = Command::new("python3").args(["-c", needs]).status().is_ok_and(|s| s.success());
    if !found {
        let why = "needs python3 with cryptography, and zstandard or the zstd program";
        assert!(std::env::var_os("HSM_TEST_NO_SKIP").is_none_or(|v| v != "1"), "{test} {why}");
        eprintln!("SKIPPED {test}: {why}");
    }
    found
}

/// One store, and how the script reads it.
#[derive(Debug, Clone)]
pub struct Script {
    pub store: PathBuf,
    pub key: Option<PathBuf>,
}

impl Script {
    /// Into `out`, which is empty or missing.
    pub fn restore<A: AsRef<OsStr>>(&self, options: &[A], out: &Path) -> Output {
        self.command(options).arg(&self.store).arg(out).output().expect("python3 runs")
    }

    pub fn check(&self) -> Output {
        self.command(&["--check"]).arg(&self.store).output().expect("python3 runs")
    }

    fn command<A: AsRef<OsStr>>(&self, options: &[A]) -> Command {
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/restore.py"));
        if let Some(key) = &self.key {
            command.arg("--key-file").arg(key);
        }
        command.args(options);
        command
    }
}

#[track_caller]
pub fn succeeded(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "restore.py failed: {stderr}");
}

#[track_caller]
pub fn failed_saying(output: &Output, text: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains(text), "{:?} {stderr}", output.status);
    assert!(!stderr.contains("Traceback"), "{stderr}");
}
