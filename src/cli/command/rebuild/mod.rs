//! `hsm rebuild`: the state DB out of store and stubs.
//!
//! [`gather`] finds out what is known and which log is this server's; [`place`] deals
//! with the files of the old DB and the new one. The new one is made beside the old
//! one and takes its place with a rename, when the log has been told what was found:
//! a rebuild that dies before that is begun again and finds the log as it left it.

mod gather;
mod place;

use super::Outcome;
use crate::catalog::NodeRow;
use crate::cli::args::DryRun;
use crate::cli::context::{self, CAPABILITIES_SETTING, Context};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::job::own_places;
use crate::cli::output::{Name, escaped_path};
use crate::cli::report;
use crate::config::Config;
use crate::errand::Errand;
use crate::fault;
use crate::guard::client;
use crate::ids::NodeId;
use crate::monitor::Monitor;
use crate::os::{RootDir, process};
use crate::rebuild::{self, Difference, RebuildRoot, RebuildStats, Sources};
use crate::site::{Leases, Site, checkpoint};
use crate::state::{RunRow, StateDb};
use crate::store::{self, Capabilities};
use crate::tier::rescan::{ScanRequest, rescan};
use crate::tier::{renew, upload};
use crate::units::format_size;
use clap::Args;
use gather::Known;
use place::Place;
use serde_json::json;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  hsm rebuild --dry-run
  hsm rebuild
  hsm rebuild --force                     # the log has lost segments
  hsm rebuild --until-segment 4711 --force
Exit code 4 means that stubs were found of which no copy is known; each is named.";

/// Make the state DB anew from the store and the stubs
///
/// Losing the state DB costs this command, and never a byte. It reads this server's
/// log from the store, looks at every file of the configured roots (and opens none),
/// and compares: stubs and uploaded files are managed again; what is on disk and not
/// in the log is catalogued anew; what the log has and the disk has not is catalogued
/// as gone. Every difference is listed. A stub of which no log knows the content is
/// looked for in the packs that no log names.
///
/// An existing state DB that can be read is only replaced with --force; it is kept
/// beside the new one, and what only it knows is used. Pins and the log of recalls
/// come from it; they are in no store.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RebuildArgs {
    /// This server's node in the store: its id, the beginning of it, or its host name
    /// [default: the one whose log has the files that are here]
    #[arg(long, value_name = "ID|HOST")]
    pub node: Option<String>,

    /// Read the log up to this segment, because the next one is damaged; this server
    /// then goes on as a new node of the store
    #[arg(long, value_name = "N")]
    pub until_segment: Option<u64>,

    /// Replace a state DB that can be read, or continue another host's log
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub dry_run: DryRun,
}

pub fn run(context: &Context, args: &RebuildArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    if config.roots.is_empty() {
        return Err(Error::NotInitialised("the configuration names no root".into()));
    }
    let dry_run = args.dry_run.dry_run;
    let _locks = if dry_run { vec![] } else { locks(context, &config)? };
    let place = Place::new(&config, dry_run)?;
    let old = place.old(context, args.force || dry_run)?;
    let store = context.store(&config, None)?;
    let known = gather::gather(context, &config, args, &*store, old.as_ref())?;
    let roots = gather::open_roots(&config, old.as_ref())?;
    let mut site = site(context, &config, &known, &place, &*store, dry_run)?;
    let roots = scan(context, &config, &mut site, roots)?;
    let sources = Sources { catalog: &known.catalog, node: &known.node, old: old.as_ref() };
    let mut broken = None;
    let stats = rebuild::run(&mut site, &sources, &roots, &mut |difference| {
        if broken.is_none() {
            broken = tell(context, difference).err();
        }
    })?;
    broken.map_or(Ok(()), Err)?;
    if dry_run {
        return conclude(context, &known.node, &stats, None, dry_run);
    }
    let written = write_down(context, &mut site, &known, &roots, &stats);
    let renewed = (site.node_id != known.node.node).then_some(site.node_id);
    fault::point("rebuild.told");
    let Site { state, .. } = site;
    drop(old);
    let kept = place.replace(state, context.now_ns())?;
    if let Some(kept) = kept {
        context.out.remark(format!("the state DB before is {}", escaped_path(&kept)))?;
    }
    written?;
    conclude(context, &known.node, &stats, renewed, dry_run)
}

/// Nobody else works with the state DB meanwhile.
fn locks(context: &Context, config: &Config) -> Result<Vec<crate::os::lock::RunLock>, Error> {
    let mut locks = context.lock_paths(config, &config.roots)?;
    let dir = config.state_dir.join("locks");
    locks.push(context::acquire(&dir.join("catalog.lock"))?);
    locks.push(context::acquire(&dir.join("init.lock"))?);
    let guard = client::holder(&dir).map_err(Error::io("look at", &dir))?;
    if let Some(by) = guard {
        return Err(Error::refused(
            format!("a recall guard works with the state DB: {by}"),
            "systemctl stop hsm-recall-guard, and start it again afterwards: programs wait meanwhile \
             (docs/GUARD.md); hsm rebuild --dry-run can be run at any time",
        ));
    }
    Ok(locks)
}

fn site<'a>(
    context: &'a Context,
    config: &Config,
    known: &'a Known,
    place: &Place,
    store: &'a dyn store::Store,
    dry_run: bool,
) -> Result<Site<'a>, Error> {
    let (store_id, node_id) = (known.store_id, known.node.node);
    let mut state = StateDb::create(place.new_db(), store_id, node_id, context.now_ns())?;
    let capabilities = match dry_run {
        true => Capabilities::default(),
        false => store::probe(store, context.now_ns())?,
    };
    let text = serde_json::to_string(&capabilities).expect("flags make JSON");
    state.set_setting(CAPABILITIES_SETTING, &text)?;
    let cores = process::available_cores();
    Ok(Site {
        state,
        state_path: place.new_db().to_owned(),
        store,
        second: None,
        capabilities,
        protection: &known.protection,
        store_id,
        node_id,
        monitor: &context.progress,
        stop: context.stop.clone(),
        errand: Errand::new(context.stop.clone()),
        clock: context.clock,
        workers: config.upload.threads.unwrap_or(cores).max(1),
        memory_bytes: config.upload.memory_bytes,
        connections: config.store.concurrency.unwrap_or(4).max(1),
        offline: config.samba.offline,
        custody: &Leases,
        guard: None,
    })
}

/// Reads every root into the new DB.
fn scan(
    context: &Context,
    config: &Config,
    site: &mut Site<'_>,
    dirs: Vec<RootDir>,
) -> Result<Vec<RebuildRoot>, Error> {
    let mut roots = vec![];
    for dir in dirs {
        let identity = dir.identity().to_string();
        site.state.add_root(dir.path(), &identity, context.now_ns())?;
        let mut rows = site.state.roots()?.into_iter();
        let row = rows.find(|row| row.path == dir.path()).expect("it was just added");
        let request = ScanRequest { under: None, skip: own_places(config), threads: 0 };
        let stats = rescan(&mut site.ground(), &row, &dir, &request)?;
        if context.stop.requested() {
            return Err(Error::Interrupted);
        }
        let complete = stats.seen.complete;
        if !complete {
            let path = escaped_path(dir.path());
            let text = format!("{path} could not be read to the end: nothing there counts as gone");
            context.progress.notice(&text);
        }
        roots.push(RebuildRoot { row, dir, complete });
    }
    Ok(roots)
}

/// Tells the log what was found, so that it is in the store, too.
fn write_down(
    context: &Context,
    site: &mut Site<'_>,
    known: &Known,
    roots: &[RebuildRoot],
    stats: &RebuildStats,
) -> Result<(), Error> {
    if known.goes_on_anew {
        renew::run(site)?;
    }
    place::forget_catalog(&site.catalog_path())?;
    for root in roots {
        upload::run(site, root.row.id, &root.dir, std::iter::empty(), &|_, _| false)?;
    }
    if let Err(error) = checkpoint::write_if_due(site, true) {
        context.progress.notice(&format!("no checkpoint was written: {error}"));
    }
    let exit = if stats.problems > 0 { Exit::Problems } else { Exit::Done };
    let now_ns = context.now_ns();
    let outcome = json!({ "exit": exit.code(), "differences": stats.differences() }).to_string();
    site.state.record_run(&RunRow {
        command: "rebuild".to_owned(),
        root: None,
        started_ns: now_ns,
        finished_ns: now_ns,
        outcome,
        usage: None,
    })?;
    Ok(())
}

fn tell(context: &Context, difference: &Difference) -> Result<(), Error> {
    let (kind, word, path, more) = match difference {
        Difference::Gone { path } => ("gone", "gone", path, String::new()),
        Difference::Replaced { path } => ("replaced", "replaced", path, String::new()),
        Difference::Unrecorded { path } => {
            ("unrecorded", "unrecorded", path, " (its copy is known)".to_owned())
        }
        Difference::Recovered { path } => {
            ("recovered", "recovered", path, " (its copy was found in unnamed packs)".to_owned())
        }
        Difference::NoRecord { path, size_bytes } => {
            let size = format_size(*size_bytes);
            ("no-record", "NO COPY", path, format!(" ({size}): a stub without its record"))
        }
        Difference::BadMarker { path, why } => {
            ("bad-marker", "BAD MARK", path, format!(": its marker cannot be used: {why}"))
        }
    };
    context.out.line(format!("{word:<10}  {}{more}", escaped_path(path)))?;
    context.out.record(&json!({
        "type": "difference", "kind": kind, "path": Name::of(path),
        "problem": difference.is_problem(),
    }))
}

fn conclude(
    context: &Context,
    node: &NodeRow,
    stats: &RebuildStats,
    renewed: Option<NodeId>,
    dry_run: bool,
) -> Result<Outcome, Error> {
    let done = if dry_run { "would be rebuilt" } else { "rebuilt" };
    context.out.remark(format!(
        "{done} from the log of node {} up to segment {}: {} stubs, {} uploaded and {} changed \
         files, {} packs; {} differences, {} problems",
        node.node,
        node.head_seq,
        stats.stubs,
        stats.uploaded,
        stats.dirty,
        stats.packs,
        stats.differences(),
        stats.problems
    ))?;
    if stats.bad_packs > 0 {
        let bad = stats.bad_packs;
        context.out.remark(format!("{bad} packs are missing or damaged: hsm verify"))?;
    }
    if stats.problems > 0 {
        context.out.remark(
            "their data may still be in packs that no log names: no garbage collection before that \
             is settled",
        )?;
    }
    if stats.foreign > 0 {
        let foreign = stats.foreign;
        context.out.remark(format!("{foreign} copies of stubs belong to no file: hsm adopt"))?;
    }
    if let Some(new) = renewed {
        context.out.remark(format!("this server was node {} and is node {new} now", node.node))?;
        if !node.fenced {
            let (old, last) = (node.node, node.head_seq);
            context.out.remark(format!(
                "the damaged log keeps collections waiting until it is ended: hsm nodes retire {old} \
                 --until-segment {last} --force"
            ))?;
        }
    }
    let exit = if stats.problems > 0 { Exit::Problems } else { Exit::Done };
    Ok(Outcome::new(exit)
        .with("dry_run", dry_run)
        .with("node", renewed.unwrap_or(node.node))
        .with("from_node", node.node)
        .with("segments", node.head_seq)
        .with("packs", stats.packs)
        .with("others_packs", stats.others_packs)
        .with("bad_packs", stats.bad_packs)
        .with("stubs", stats.stubs)
        .with("uploaded", stats.uploaded)
        .with("dirty", stats.dirty)
        .with("foreign", stats.foreign)
        .with("differences", stats.differences())
        .with("gone", stats.gone)
        .with("replaced", stats.replaced)
        .with("unrecorded", stats.unrecorded)
        .with("recovered", stats.recovered)
        .with("problems", stats.problems))
}

/// One line for a person about what is not used.
fn warn(context: &Context, what: &str, path: &Path, error: &Error) {
    let why = report::one_line(error);
    context.progress.notice(&format!("{what} {}: {why}", escaped_path(path)));
}
