//! `hsm demo`: the newcomer's one command.
//!
//! Root sees the whole of it: a file system of its own with a guard at work, and
//! an ordinary `cat` that opens a stub. Where that cannot be (another user, no
//! loop devices, an older kernel) the tour goes without a guard and says why.

mod guarded;
mod sample;

use super::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::output::escaped_path;
use crate::clock::Stopwatch;
use crate::os::private;
use clap::Args;
use guarded::Stage;
use sample::{allocated, sample_tree};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const EXAMPLES: &str = "\
Examples:
  hsm demo
  hsm demo ~/Pictures --keep";

/// See it work on a small tree
///
/// Builds a small tree, or copies DIR, in a temporary directory, tiers it to a
/// directory store with the real engine, shows the space freed, recalls
/// everything, compares it with the original and verifies the store.
///
/// As root the tree is on a file system of its own, in a loop device, with the
/// guard running: a stub is then opened with an ordinary `cat`.
///
/// It touches neither DIR nor any configuration, and removes what it made.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DemoArgs {
    /// Work on a copy of this directory
    pub dir: Option<PathBuf>,

    /// Leave tree, store and state for a look around
    #[arg(long)]
    pub keep: bool,
}

/// What the demo's policy says; the comment is shown.
const UNGUARDED: &str = r#"# Stubs without a guard: a program that opens one before `hsm recall` reads
# zeros. Nobody else opens the files of this demo.
unguarded = true

"#;

const POLICY: &str = r#"[defaults]
quiet = "0s"                # for real, 2 minutes
min_age_after_recall = "0s" # for real, a day

[[rule]]
name = "demo: large enough"
action = "tier"
min_size = "64KiB"
"#;

pub fn run(context: &Context, args: &DemoArgs) -> Result<Outcome, Error> {
    let clockwork = Stopwatch::start();
    let dir = private::temporary_dir("hsm-demo-")
        .map_err(Error::io("make a directory in", &std::env::temp_dir()))?;
    let mut demo = Demo { context, base: dir.path().to_owned(), stage: None };
    let done = demo.tour(args.dir.as_deref());
    // Before the directory goes: the file system is mounted in it.
    drop(demo.stage.take());
    done?;
    let place = escaped_path(&demo.base);
    if args.keep {
        let kept = dir.keep();
        context.out.line(format!("\nkept: {}", escaped_path(&kept)))?;
        context.out.line(format!("  export HSM_CONFIG={place}/config.toml"))?;
    } else {
        dir.close().map_err(Error::io("remove", &demo.base))?;
    }
    let seconds = clockwork.elapsed().as_secs_f64();
    context.out.line(format!("\nEverything came back equal, in {seconds:.1} s. For real:"))?;
    context.out.line("  hsm init --store s3://BUCKET/PREFIX DIRECTORY   # then: hsm plan")?;
    Ok(Outcome::done().with("kept", args.keep))
}

/// One tour in its own directory, told command by command.
struct Demo<'a> {
    context: &'a Context,
    base: PathBuf,
    /// A file system with a guard, where there can be one.
    stage: Option<Stage>,
}

impl Demo<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    fn say(&self, text: &str) -> Result<(), Error> {
        self.context.out.line(text)
    }

    fn tour(&mut self, from: Option<&Path>) -> Result<(), Error> {
        self.say("hsm demo: a real tree, a real store (a directory), the real engine.")?;
        match Stage::build(&self.base, from) {
            Ok(stage) => {
                self.say("A file system of its own for the tree, to be watched by the guard.")?;
                self.stage = Some(stage);
            }
            Err(why) => self.say(&format!("Without a guard: {why}."))?,
        }
        let original = self.path("original");
        let tree = self.stage.as_ref().map_or_else(|| self.path("tree"), Stage::tree);
        match from {
            Some(from) => self.copy(from, &tree)?,
            None => sample_tree(&tree)?,
        }
        self.copy(&tree, &original)?;
        self.make_dir("store")?;
        let store = format!("file://{}", self.path("store").display());
        let state = self.path("state");
        let tree_text = tree.to_string_lossy().into_owned();
        let options = ["--store", &store, "--state-dir", &state.to_string_lossy()];
        self.hsm("init", &[&options[..], &[tree_text.as_str()]].concat())?;
        self.make_dir("policies.d")?;
        let policy = self.path("policies.d/demo.toml");
        let unguarded = if self.stage.is_some() { "" } else { UNGUARDED };
        let text = format!("{unguarded}{POLICY}");
        std::fs::write(&policy, &text).map_err(Error::io("write", &policy))?;
        self.say(&format!("\n# The policy:\n{text}"))?;
        self.start_guard()?;
        self.hsm("scan", &[])?;
        self.hsm("plan", &["--quiet"])?;
        let before = allocated(&tree)?;
        self.hsm("tier", &[])?;
        let after = allocated(&tree)?;
        self.say(&format!(
            "\n# The tree took {} of disk, now {}; names, sizes and times are as before:",
            crate::units::format_size(before),
            crate::units::format_size(after)
        ))?;
        self.hsm("ls", &[&tree_text])?;
        self.open_a_stub(&original, &tree)?;
        self.hsm("recall", &["-r", &tree_text])?;
        self.compare(&original, &tree)?;
        self.hsm("tier", &[])?;
        self.say("# Nothing was sent the second time: the store has it all.")?;
        self.hsm("recall", &["-r", &tree_text])?;
        self.compare(&original, &tree)?;
        self.hsm("verify", &["--data"])
    }

    fn start_guard(&mut self) -> Result<(), Error> {
        let config = self.path("config.toml");
        let Some(stage) = &mut self.stage else { return Ok(()) };
        stage.start_guard(&config)?;
        self.say("\n$ hsm recall-guard &")?;
        self.say("# From now on a program that opens a stub waits until it is whole.")
    }

    /// What any program would do; only with a guard.
    fn open_a_stub(&self, original: &Path, tree: &Path) -> Result<(), Error> {
        if self.stage.is_none() {
            return Ok(());
        }
        let Some((name, stub)) = sample::first_stub(tree) else { return Ok(()) };
        let shown = stub.to_string_lossy().replace(&*self.base.to_string_lossy(), "$DEMO");
        self.say(&format!("\n$ cat '{shown}' | cmp - ORIGINAL"))?;
        let cat = guarded::foreign("cat").arg("--").arg(&stub).stdin(Stdio::null()).output();
        let bytes = cat.map_err(Error::io("run cat on", &stub))?.stdout;
        let kept = original.join(&name);
        if bytes != std::fs::read(&kept).map_err(Error::io("read", &kept))? {
            return Err(Error::refused(
                "an opened stub did not read as its file".to_owned(),
                "a report of this bug",
            ));
        }
        let text = crate::units::format_size(bytes.len() as u64);
        self.say(&format!("# {text}, equal: it was a stub, and no program could tell."))
    }

    fn make_dir(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        std::fs::create_dir_all(&path).map_err(Error::io("make", &path))
    }

    /// Runs this very program, as a person would type it.
    fn hsm(&self, command: &str, args: &[&str]) -> Result<(), Error> {
        let base = self.base.to_string_lossy();
        let shown: Vec<String> = args.iter().map(|arg| arg.replace(&*base, "$DEMO")).collect();
        self.say(&format!("\n$ hsm {command} {}", shown.join(" ")))?;
        self.context.out.flush()?;
        let program = std::env::current_exe().map_err(Error::io("find", Path::new("hsm")))?;
        let output = Command::new(&program)
            .arg(command)
            .args(args)
            .env("HSM_CONFIG", self.path("config.toml"))
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io("run", &program))?;
        for text in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(text).replace(&*base, "$DEMO");
            if !text.is_empty() {
                self.say(text.trim_end())?;
            }
        }
        if output.status.success() {
            return Ok(());
        }
        Err(Error::refused(
            format!("hsm {command} ended with {}", output.status),
            "hsm doctor; TMPDIR=DIR chooses another file system for the demo",
        ))
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let copied = guarded::foreign("cp").arg("-a").arg("--").args([from, to]).status();
        match copied {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Error::refused(
                format!("cannot copy {}", escaped_path(from)),
                "a directory that you may read",
            )),
        }
    }

    fn compare(&self, original: &Path, tree: &Path) -> Result<(), Error> {
        let compared = guarded::foreign("diff").arg("-r").arg("--").args([original, tree]).status();
        match compared {
            Ok(status) if status.success() => self.say("# diff -r: equal to the original."),
            _ => Err(Error::refused(
                "the tree differs from the original".to_owned(),
                "a report of this bug, with what diff printed",
            )),
        }
    }
}
