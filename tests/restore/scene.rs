//! A server that is lost, and the machine that comes after it.

use crate::support::snapshot::Snapshot;
use crate::support::{EAGER_POLICY, Ran, Sandbox};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files with several names are tiered, too.
pub fn linked_policy() -> String {
    EAGER_POLICY.replace("action", "nlink_max = 100000\naction")
}

/// The tree and everything that `hsm` keeps on the machine are gone.
pub fn lose(sandbox: &Sandbox) {
    std::fs::remove_dir_all(sandbox.tree()).expect("the tree");
    forget(sandbox);
}

/// Configuration and state are gone.
pub fn forget(sandbox: &Sandbox) {
    for part in ["home/state", "home/config"] {
        std::fs::remove_dir_all(sandbox.path(part)).expect("what hsm keeps");
    }
}

/// `hsm` on a machine without any configuration.
pub fn fresh_command<A: AsRef<OsStr>>(
    sandbox: &Sandbox,
    args: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = sandbox.command(args);
    command.env("HSM_CONFIG", sandbox.path("nowhere/config.toml"));
    command
}

pub fn fresh<A: AsRef<OsStr>>(sandbox: &Sandbox, args: impl IntoIterator<Item = A>) -> Ran {
    Ran::of(&mut fresh_command(sandbox, args))
}

/// `hsm restore --store URL --to out` with these options and paths.
pub fn restore_command(sandbox: &Sandbox, options: &[&str]) -> Command {
    let (url, out) = (sandbox.store_url(), sandbox.path("out"));
    let out = out.to_str().expect("a plain path");
    let args = [&["restore", "--store", &url, "--to", out], options].concat();
    fresh_command(sandbox, args)
}

pub fn restore(sandbox: &Sandbox, options: &[&str]) -> Ran {
    Ran::of(&mut restore_command(sandbox, options))
}

/// Where the tree comes to be below `out`.
pub fn restored(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("out").join(sandbox.tree().strip_prefix("/").expect("absolute"))
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// As a restore has it: sockets are their programs' to make.
pub fn without_sockets(mut tree: Snapshot) -> Snapshot {
    tree.retain(|_, entry| entry.kind != 's');
    tree
}

/// What a restore must not leave anywhere.
#[track_caller]
pub fn no_litter(dir: &Path) {
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry.expect("a readable tree");
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with(".hsm-restore-"), "{} was left", entry.path().display());
        for mark in ["trusted.hsm.restoring", "user.hsm.restoring"] {
            let marked = xattr::get(entry.path(), mark).ok().flatten().is_some();
            assert!(!marked, "{} is unfinished", entry.path().display());
        }
    }
}

/// A JSON run's figure.
#[track_caller]
pub fn figure(ran: &Ran, name: &str) -> u64 {
    let summary = ran.summary();
    summary[name].as_u64().unwrap_or_else(|| panic!("no {name} in {summary}"))
}
