//! Programs that people use, on stubs under a real guard on ext4, xfs and btrfs:
//! what they make of a stub is what they would make of the file.
//!
//! The scripts are tried on ordinary files first, where all must be content,
//! and on stubs without a guard, where most must complain.

mod guard_programs {
    pub mod table;
}
#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
mod support;

use guard::{GUARDED_POLICY, Guarded};
use guard_programs::table::{PROGRAMS, Program};
use loopfs::FsKind;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::Ran;
use support::running::PATIENCE;
use support::snapshot::{allocated, is_stub};
use support::trees::noise;

/// Programs that are right about a stub that nobody watches: they never ask for
/// its bytes, or write all that differ.
const BLIND: [&str; 2] = ["cp over it", "rsync --inplace onto it"];

/// A program with the places of its scripts.
struct Stage {
    program: &'static Program,
    env: Vec<(&'static str, PathBuf)>,
}

impl Stage {
    fn new(guarded: &Guarded, program: &'static Program) -> Self {
        let dir = program.name.replace([' ', '='], "-");
        let file = guarded.path(&dir).join("file");
        std::fs::create_dir_all(file.parent().expect("its directory")).expect("a directory");
        let want = guarded.away(&format!("want/{dir}")).join("file");
        let env = vec![
            ("F", file),
            ("WANT", want),
            ("DIR", guarded.beside(&dir)),
            ("AWAY", guarded.away(&dir)),
        ];
        Self { program, env }
    }

    fn place(&self, name: &str) -> &Path {
        &self.env.iter().find(|(known, _)| *known == name).expect("a known place").1
    }

    fn name_below(&self, root: &Path) -> String {
        let below = self.place("F").strip_prefix(root).expect("below the root");
        below.to_str().expect("a plain path").to_owned()
    }

    fn run(&self, script: &str) -> Result<(), String> {
        let mut shell = Command::new("sh");
        shell.args(["-euc", script]).stdin(Stdio::null()).env_clear();
        shell.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        shell.env("HOME", self.place("AWAY")).env("LC_ALL", "C").envs(self.env.iter().cloned());
        let ran = Ran::try_within(PATIENCE, &mut shell)?;
        match ran.code() {
            0 => Ok(()),
            code => Err(format!("exit {code}\n{}{}", ran.stdout(), ran.stderr())),
        }
    }

    fn make(&self, seed: u64) {
        match self.program.make {
            "" => std::fs::write(self.place("F"), noise(seed, 2_100_000)).expect("a file"),
            script => self.run(script).unwrap_or_else(|e| panic!("{}: {e}", self.program.name)),
        }
        std::fs::copy(self.place("F"), self.place("WANT")).expect("a plain copy");
    }

    /// Runs the program; nothing that it made is a stub.
    fn play(&self) -> Result<(), String> {
        self.run(self.program.script)?;
        for dir in ["DIR", "AWAY"] {
            for entry in walkdir::WalkDir::new(self.place(dir)) {
                let path = entry.expect("a readable directory").into_path();
                if path.is_file() && is_stub(&path) && allocated(&path) == 0 {
                    return Err(format!("{} is a stub", path.display()));
                }
            }
        }
        Ok(())
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

/// The programs of a file system that are installed, with their files made.
fn stages(guarded: &Guarded) -> Vec<Stage> {
    let mut stages = vec![];
    for program in PROGRAMS.iter().filter(|program| program.kinds.contains(&guarded.fs.kind)) {
        match program.needs.iter().find(|needed| !is_installed(needed)) {
            Some(missing) => support::skip(program.name, &format!("needs {missing}")),
            None => stages.push(Stage::new(guarded, program)),
        }
    }
    for (seed, stage) in stages.iter().enumerate() {
        stage.make(500 + seed as u64);
    }
    stages
}

/// Name and complaint of the programs that went wrong.
fn play_all(stages: &[Stage]) -> Vec<(&'static str, String)> {
    let played = stages.iter().map(|stage| (stage.program.name, stage.play()));
    played.filter_map(|(name, result)| Some((name, result.err()?))).collect()
}

#[track_caller]
fn nothing_was_wrong(complaints: &[(&str, String)]) {
    let lines: Vec<_> = complaints.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    assert!(lines.is_empty(), "{} programs went wrong:\n{}", lines.len(), lines.join("\n"));
}

fn programs_get_the_right_bytes(kind: FsKind) {
    let Some(mut guarded) = Guarded::new("programs_get_the_right_bytes", kind) else { return };
    let stages = stages(&guarded);
    let names: Vec<String> = stages.iter().map(|s| s.name_below(&guarded.root())).collect();
    guarded.stub(&names.iter().map(String::as_str).collect::<Vec<_>>());
    nothing_was_wrong(&play_all(&stages));
    // What they made is the same to a guard that has never seen it.
    let made = digests(&stages);
    assert!(made.len() > 35, "{kind:?}: only {} files", made.len());
    guarded.restart();
    let after = digests(&stages);
    let differing: Vec<_> =
        made.iter().filter(|(path, digest)| after.get(*path) != Some(digest)).collect();
    assert!(differing.is_empty(), "{kind:?}: {differing:?}\n{}", guarded.said());
}

/// What `sha256sum` says of each file that a program left.
fn digests(stages: &[Stage]) -> BTreeMap<String, String> {
    let mut sha256sum = Command::new("find");
    sha256sum.args(stages.iter().flat_map(|stage| [stage.place("DIR"), stage.place("AWAY")]));
    sha256sum.args(["-type", "f", "-exec", "sha256sum", "{}", "+"]);
    let ran = Ran::within(PATIENCE, &mut sha256sum);
    let text = format!("{}{}", ran.stdout(), ran.stderr());
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    lines.map(|(digest, path)| (path.to_owned(), digest.to_owned())).collect()
}

#[test]
fn on_ext4() {
    programs_get_the_right_bytes(FsKind::Ext4);
}

#[test]
fn on_xfs() {
    programs_get_the_right_bytes(FsKind::Xfs);
}

#[test]
fn on_btrfs() {
    programs_get_the_right_bytes(FsKind::Btrfs);
}

#[test]
fn on_ordinary_files_no_script_complains() {
    let test = "on_ordinary_files_no_script_complains";
    let Some(guarded) = Guarded::idle(test, FsKind::Btrfs) else { return };
    nothing_was_wrong(&play_all(&stages(&guarded)));
}

#[test]
fn on_stubs_without_a_guard_every_script_complains() {
    let test = "on_stubs_without_a_guard_every_script_complains";
    let Some(guarded) = Guarded::idle(test, FsKind::Btrfs) else { return };
    let stages = stages(&guarded);
    guarded.sandbox.policy(&format!("unguarded = true\n{GUARDED_POLICY}"));
    guarded.sandbox.hsm(["tier"]).succeeds();
    let complaints = play_all(&stages);
    let complained = |name| complaints.iter().any(|(other, _)| *other == name);
    let names = stages.iter().map(|stage| stage.program.name);
    let content: Vec<_> = names.filter(|name| !complained(*name)).collect();
    let expected: Vec<_> = BLIND.iter().copied().filter(|name| content.contains(name)).collect();
    assert_eq!(content, expected, "zeros, and no complaint");
}
