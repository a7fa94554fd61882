//! `hsm demo`: the newcomer's one command.

use super::Outcome;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::output::escaped_path;
use crate::clock::Stopwatch;
use clap::Args;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
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
const POLICY: &str = r#"# Stubs without a guard: a program that opens one before `hsm recall` reads
# zeros. Nobody else opens the files of this demo.
unguarded = true

[defaults]
quiet = "0s"                # for real, 2 minutes
min_age_after_recall = "0s" # for real, a day

[[rule]]
name = "demo: large enough"
action = "tier"
min_size = "64KiB"
"#;

pub fn run(context: &Context, args: &DemoArgs) -> Result<Outcome, Error> {
    let clockwork = Stopwatch::start();
    let dir = tempfile::Builder::new()
        .prefix("hsm-demo-")
        .tempdir()
        .map_err(Error::io("make a directory in", &std::env::temp_dir()))?;
    let demo = Demo { context, base: dir.path().to_owned() };
    demo.tour(args.dir.as_deref())?;
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
}

impl Demo<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    fn say(&self, text: &str) -> Result<(), Error> {
        self.context.out.line(text)
    }

    fn tour(&self, from: Option<&Path>) -> Result<(), Error> {
        let (tree, original) = (self.path("tree"), self.path("original"));
        self.say("hsm demo: a real tree, a real store (a directory), the real engine.\n")?;
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
        std::fs::write(&policy, POLICY).map_err(Error::io("write", &policy))?;
        self.say(&format!("\n# The policy:\n{POLICY}"))?;
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
        self.hsm("recall", &["-r", &tree_text])?;
        self.compare(&original, &tree)?;
        self.hsm("tier", &[])?;
        self.say("# Nothing was sent the second time: the store has it all.")?;
        self.hsm("recall", &["-r", &tree_text])?;
        self.compare(&original, &tree)?;
        self.hsm("verify", &["--data"])
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
        let copied = Command::new("cp").arg("-a").arg("--").args([from, to]).status();
        match copied {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Error::refused(
                format!("cannot copy {}", escaped_path(from)),
                "a directory that you may read",
            )),
        }
    }

    fn compare(&self, original: &Path, tree: &Path) -> Result<(), Error> {
        let compared = Command::new("diff").arg("-r").arg("--").args([original, tree]).status();
        match compared {
            Ok(status) if status.success() => self.say("# diff -r: equal to the original."),
            _ => Err(Error::refused(
                "the tree differs from the original".to_owned(),
                "a report of this bug, with what diff printed",
            )),
        }
    }
}

/// The blocks that a tree occupies, in bytes.
fn allocated(tree: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for entry in walkdir::WalkDir::new(tree) {
        let metadata = entry.and_then(|entry| entry.metadata());
        bytes += metadata.map_err(|e| Error::io("read", tree)(e.into()))?.blocks() * 512;
    }
    Ok(bytes)
}

/// A few directories with text, incompressible data, duplicates and a sparse
/// file: about 70 MiB.
fn sample_tree(tree: &Path) -> Result<(), Error> {
    let mut noise = 0x2545_F491_4F6C_DD1Du64;
    let mut random = |len: usize| {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            bytes.extend_from_slice(&noise.to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    };
    let film = random(40 << 20);
    let report = "Cold files belong in a cheap place. ".repeat(30_000).into_bytes();
    let files: [(&str, Vec<u8>); 6] = [
        ("films/holiday.mkv", film),
        ("films/trailer.mkv", random(9 << 20)),
        ("office/report.txt", report.clone()),
        ("office/old/report copy.txt", report),
        ("office/note.txt", b"too small to be worth a stub\n".to_vec()),
        ("data/measurements.bin", random(12 << 20)),
    ];
    for (name, bytes) in files {
        let path = tree.join(name);
        let dir = path.parent().expect("a name in the tree");
        std::fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
        std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
    }
    let sparse = tree.join("data/sparse.img");
    std::fs::File::create(&sparse)
        .and_then(|file| {
            file.set_len(64 << 20)?;
            std::os::unix::fs::FileExt::write_all_at(&file, &random(1 << 20), 16 << 20)
        })
        .map_err(Error::io("write", &sparse))
}
