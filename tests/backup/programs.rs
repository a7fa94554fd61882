//! The backup programs themselves.

use crate::support::{Ran, skip};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// False, loudly, where one of them is not there.
#[track_caller]
pub fn there(test: &str, programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        |program: &&&str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    let missing = programs.iter().find(|program| !found(program));
    missing.inspect(|program| skip(test, &format!("needs {program}"))).is_none()
}

/// A program in an environment of its own below `home`.
pub fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new(name);
    command.env_clear().stdin(Stdio::null()).env("HOME", home).env("LC_ALL", "C.UTF-8");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("RESTIC_PASSWORD", "a test").env("BORG_BASE_DIR", home);
    command.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
    command.env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes");
    // What a list must not be expanded to.
    command.env("STUB", "resident");
    command
}

#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    Ran::of(command).succeeds()
}

/// restic with a repository in `home`.
pub fn restic<A: AsRef<OsStr>>(home: &Path, args: impl IntoIterator<Item = A>) -> Command {
    let repo = home.join("restic");
    let mut command = program("restic", home);
    command.args(["--no-cache", "-q", "-r"]).arg(&repo);
    if !repo.exists() {
        let mut init = program("restic", home);
        run(init.args(["--no-cache", "-q", "-r"]).arg(&repo).arg("init"));
    }
    command.args(args);
    command
}

/// Every file below `dir`, by its path in it.
pub fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let entries = walkdir::WalkDir::new(dir).into_iter().map(|entry| entry.expect("readable"));
    let files = entries.filter(|entry| !entry.file_type().is_dir());
    files.map(|entry| entry.path().strip_prefix(dir).expect("below it").to_owned()).collect()
}
