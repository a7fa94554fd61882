//! `hsm manifest`: what a backup of these roots does not contain, and whether the store
//! still has it.

use super::Outcome;
use super::manifest_check;
use crate::backup::{
    End, Ground, Header, HeaderRest, Listed, ListedStats, Row, RowState, Tool, each_stub, line,
};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::locate::{self, Place};
use crate::cli::opened::{Catalog, with_site};
use crate::cli::output::escaped_path;
use crate::cli::whole_file::WholeFile;
use crate::config::Config;
use crate::manifest::Name;
use crate::monitor::Monitor;
use crate::os::RelPath;
use crate::site::snapshots;
use crate::state::{RootRow, StateDb};
use crate::tier::recover::recover_store;
use crate::tier::rescan::open_root;
use crate::units;
use clap::{Args, ValueEnum};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hsm manifest -o stubs.jsonl
  hsm manifest --snapshot \"backup $(date +%F)\" -o stubs.jsonl \\
      --exclude-for restic --exclude-to stubs.exclude
  restic backup --exclude-file stubs.exclude /srv/media stubs.jsonl
  hsm manifest --exclude-for rsync --base /srv/media -o stubs.rsync
  hsm manifest --check stubs.jsonl --store s3://bucket/prefix
Exit code 4 means that copies are damaged, that stubs are not in the log yet, or, with
--check, that the store lacks something.";

/// Write what a backup of these roots does not contain
///
/// Names every stub with its content's id, size and time, one JSON object per line
/// (docs/FORMATS.md), so that a backup, this file and the store together are
/// complete. Each file is looked at on disk, without opening it, and listed only
/// while it surely is that stub: whatever else is there is for the backup to read.
///
/// The store forgets what was deleted or replaced after a while. --snapshot names this
/// moment of the log, so that garbage collection keeps all that the manifest relies on
/// until `hsm snapshot delete`: delete it when the backup is deleted.
///
/// --exclude-for writes the list of the same files that a backup program takes, each
/// name such that it means exactly itself. A name that the program cannot be told is
/// left out, and so is read by it. docs/BACKUP.md has the whole recipe.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ManifestArgs {
    /// Roots, directories or files [default: all roots]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Write to FILE, which only its owner may read; - is standard output, the default
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Write the list of files to leave out for this program in place of the manifest
    #[arg(long, value_name = "PROGRAM")]
    pub exclude_for: Option<ExcludeFor>,

    /// Write that list to FILE, beside the manifest
    #[arg(long, value_name = "FILE", requires = "exclude_for")]
    pub exclude_to: Option<PathBuf>,

    /// The directory that rsync or tar is told to copy: rsync DIR/ TO, tar -C DIR .
    /// [default: /, for names with their whole path]
    #[arg(long, value_name = "DIR", requires = "exclude_for")]
    pub base: Option<PathBuf>,

    /// Make a snapshot of this name, which keeps what the manifest relies on
    #[arg(long, value_name = "NAME")]
    pub snapshot: Option<String>,

    /// Check that the store still has everything that this manifest names
    #[arg(long, value_name = "FILE", conflicts_with_all =
          ["paths", "output", "exclude_for", "exclude_to", "base", "snapshot"])]
    pub check: Option<PathBuf>,

    #[command(flatten)]
    pub store: manifest_check::StoreArgs,
}

/// The programs of `--exclude-for`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExcludeFor {
    Restic,
    Borg,
    Rsync,
    Tar,
}

impl ExcludeFor {
    fn tool(self) -> Tool {
        match self {
            Self::Restic => Tool::Restic,
            Self::Borg => Tool::Borg,
            Self::Rsync => Tool::Rsync,
            Self::Tar => Tool::Tar,
        }
    }
}

pub fn run(context: &Context, args: &ManifestArgs) -> Result<Outcome, Error> {
    if let Some(file) = &args.check {
        return manifest_check::run(context, file, &args.store);
    }
    let config = context.config()?;
    let state = context.state_read_only(&config)?;
    let places = locate::existing_places(&state.roots()?, &args.paths)?;
    let list = List { context, config: &config, roots: merged(&places), base: base(args)? };
    let Some(name) = &args.snapshot else {
        let seq = state.log_head()?.next_seq - 1;
        let (written, stats) = list.write(args, &state, seq)?;
        written.close()?;
        return list.conclude(args, &stats, seq);
    };
    drop(state);
    // Nobody else writes the log meanwhile: what is listed is what is named.
    with_site(context, &config, &[], Catalog::Written, |site| {
        recover_store(site)?;
        let seq = snapshots::create(site, name, false, true)?.seq;
        let state = context.state_read_only(&config)?;
        let (written, stats) = list.write(args, &state, seq)?;
        snapshots::create(site, name, false, false)?;
        if let Err(error) = written.close() {
            // Nobody would know what it is for; the next run wants the name again.
            let _ = snapshots::delete(site, name, false);
            return Err(error);
        }
        list.conclude(args, &stats, seq)
    })
}

/// The parts of each root, none inside another.
fn merged(places: &[Place]) -> Vec<(RootRow, Vec<RelPath>)> {
    let mut roots: Vec<(RootRow, Vec<RelPath>)> = vec![];
    for Place { root, path } in places {
        match roots.iter_mut().find(|(known, _)| known.id == root.id) {
            Some((_, unders)) => unders.push(path.clone()),
            None => roots.push((root.clone(), vec![path.clone()])),
        }
    }
    for (_, unders) in &mut roots {
        unders.sort();
        let all = std::mem::take(unders);
        for under in all {
            let inside = |outer: &RelPath| {
                outer.is_root()
                    || Path::new(std::ffi::OsStr::from_bytes(under.as_bytes()))
                        .starts_with(std::ffi::OsStr::from_bytes(outer.as_bytes()))
            };
            if !unders.iter().any(inside) {
                unders.push(under);
            }
        }
    }
    roots
}

/// Without its slash at the end: nothing for `/`.
fn base(args: &ManifestArgs) -> Result<Vec<u8>, Error> {
    let Some(base) = &args.base else { return Ok(Vec::new()) };
    if let Some(tool) = args.exclude_for.map(ExcludeFor::tool).filter(|tool| !tool.is_relative()) {
        let what = format!("--base: {} goes by whole paths", tool.as_str());
        return Err(Error::Usage(what));
    }
    let full = base.canonicalize().map_err(Error::io("look at", base))?;
    Ok(if full == Path::new("/") { Vec::new() } else { full.as_os_str().as_bytes().to_vec() })
}

/// What is listed, and how.
struct List<'a> {
    context: &'a Context,
    config: &'a Config,
    roots: Vec<(RootRow, Vec<RelPath>)>,
    base: Vec<u8>,
}

/// Both files, not named yet.
struct Written<'a> {
    manifest: Option<WholeFile<'a>>,
    excludes: Option<(WholeFile<'a>, Tool)>,
    end: End,
}

#[derive(Default)]
struct Stats {
    listed: ListedStats,
    excluded: u64,
    /// Names that the program cannot be told.
    unsayable: u64,
    guarded: bool,
}

impl Written<'_> {
    fn close(self) -> Result<(), Error> {
        if let Some(file) = self.manifest {
            file.close()?;
        }
        self.excludes.map_or(Ok(()), |(file, _)| file.close())
    }

    fn line(&mut self, mut line: Vec<u8>) -> Result<(), Error> {
        line.push(b'\n');
        self.manifest.as_mut().map_or(Ok(()), |file| file.write(&line))
    }
}

impl<'a> List<'a> {
    fn write(
        &self,
        args: &ManifestArgs,
        state: &StateDb,
        seq: u64,
    ) -> Result<(Written<'a>, Stats), Error> {
        let mut written = self.files(args)?;
        let header = self.header(state, seq, args.snapshot.clone());
        written.line(line(&header))?;
        // Who cannot tell looks as if there were one.
        let guarded = !matches!(self.context.guard(self.config), Ok(None));
        let mut stats = Stats { guarded, ..Stats::default() };
        for (row, unders) in &self.roots {
            let root = open_root(row)?;
            let ground = Ground { row, root: &root, unders, guarded };
            let mut failed = None;
            let (stop, monitor) = (&self.context.stop, &self.context.progress);
            let found = each_stub(state, &ground, stop, monitor, &mut |listed| match self.one(
                &mut written,
                &mut stats,
                &listed,
            ) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            })?;
            failed.map_or(Ok(()), Err)?;
            stats.listed.add(&found);
        }
        if stats.listed.stopped {
            return Err(Error::Interrupted);
        }
        let end = line(&written.end);
        written.line(end)?;
        Ok((written, stats))
    }

    fn files(&self, args: &ManifestArgs) -> Result<Written<'a>, Error> {
        let open = |path: &Path| WholeFile::open(self.context, path);
        let output = args.output.as_deref().unwrap_or(Path::new("-"));
        let tool = args.exclude_for.map(ExcludeFor::tool);
        let (manifest, excludes) = match (tool, &args.exclude_to) {
            (None, _) => (Some(open(output)?), None),
            (Some(tool), None) => (None, Some((open(output)?, tool))),
            (Some(_), Some(path)) if locate::resolve(path)? == locate::resolve(output)? => {
                let what = "--output and --exclude-to are one file".to_owned();
                return Err(Error::Usage(what));
            }
            (Some(tool), Some(path)) => (Some(open(output)?), Some((open(path)?, tool))),
        };
        Ok(Written { manifest, excludes, end: End { rows: 0, size_bytes: 0 } })
    }

    fn header(&self, state: &StateDb, seq: u64, snapshot: Option<String>) -> Header {
        let of_root = |(row, unders): &(RootRow, Vec<RelPath>)| {
            let name = |under: &RelPath| under.to_path(&row.path).into_os_string();
            let names = unders.iter().map(name);
            names.map(|name| Name::from_bytes(name.as_bytes())).collect::<Vec<_>>()
        };
        Header::of(HeaderRest {
            store: state.store_id(),
            url: self.config.store.url.clone(),
            encrypted: self.config.encryption.is_some(),
            node: state.node_id(),
            made: units::format_time(self.context.now_ns()),
            seq,
            snapshot,
            roots: self.roots.iter().flat_map(of_root).collect(),
        })
    }

    fn one(
        &self,
        written: &mut Written<'_>,
        stats: &mut Stats,
        listed: &Listed,
    ) -> Result<(), Error> {
        if let Some(why) = &listed.damaged {
            let path = escaped_path(&listed.path);
            self.context.progress.warn(&format!("damaged   {path}: {why}"));
        }
        let path = listed.path.as_os_str().as_bytes();
        written.line(line(&Row {
            path: Name::from_bytes(path),
            content: listed.content,
            size_bytes: listed.size_bytes,
            mtime_ns: listed.mtime_ns,
            state: if listed.damaged.is_some() { RowState::Damaged } else { RowState::Stub },
            logged: listed.logged,
        }))?;
        written.end.rows += 1;
        written.end.size_bytes = written.end.size_bytes.saturating_add(listed.size_bytes);
        let Some((file, tool)) = &mut written.excludes else { return Ok(()) };
        // What is beside the directory that is copied is not copied.
        let beneath = path.strip_prefix(&self.base[..]).is_some_and(|rest| rest.starts_with(b"/"));
        if !beneath {
            return Ok(());
        }
        let entry = tool.entry(path, &self.base);
        stats.excluded += u64::from(entry.is_some());
        stats.unsayable += u64::from(entry.is_none());
        entry.map_or(Ok(()), |entry| file.write(&entry))
    }

    /// On stderr where the data go to standard output.
    fn say(&self, args: &ManifestArgs, text: String) -> Result<(), Error> {
        match args.output.as_deref().is_none_or(|path| path.as_os_str() == "-") {
            true => self.context.progress.notice(&text),
            false => self.context.out.remark(text)?,
        }
        Ok(())
    }

    fn conclude(&self, args: &ManifestArgs, stats: &Stats, seq: u64) -> Result<Outcome, Error> {
        let Stats { listed, excluded, unsayable, guarded } = stats;
        let size = units::format_size(listed.bytes);
        let mut text = format!("{} stubs ({size}) as of segment {seq}", listed.names);
        if let Some(name) = &args.snapshot {
            text += &format!(", kept by the snapshot {name:?}");
        }
        self.say(args, text)?;
        let warn = |count: u64, what: &str| match count {
            0 => {}
            count => self.context.progress.warn(&format!("{count} {what}")),
        };
        warn(listed.damaged, "stubs have damaged copies, and are listed: hsm verify");
        warn(
            listed.unlogged,
            "stubs were moved or adopted since the last upload, and the log does not have them \
             where they are: hsm tier first",
        );
        warn(listed.passed_over, "stubs have changed or gone, and are not listed: hsm scan first");
        if let Some(tool) = args.exclude_for.map(ExcludeFor::tool) {
            self.say(args, format!("{excluded} names for {}", tool.option()))?;
            let what = format!("names cannot be told to {}, which reads them", tool.as_str());
            warn(*unsayable, &what);
        }
        if !guarded && *unsayable + listed.passed_over > 0 {
            self.context.progress.warn("no guard is at work: a stub that is read gives zeros");
        }
        let is_problem = listed.damaged + listed.unlogged > 0;
        let exit = if is_problem { Exit::Problems } else { Exit::Done };
        Ok(Outcome::new(exit)
            .with("stubs", listed.names)
            .with("size_bytes", listed.bytes)
            .with("damaged", listed.damaged)
            .with("unlogged", listed.unlogged)
            .with("passed_over", listed.passed_over)
            .with("excluded", excluded)
            .with("unsayable", unsayable)
            .with("segment", seq)
            .with("snapshot", &args.snapshot))
    }
}
