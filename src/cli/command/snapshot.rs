//! `hsm snapshot`: names for what the store has at a moment.

use super::Outcome;
use super::restore::{self, RestoreArgs};
use crate::catalog::CatalogDb;
use crate::cli::args::DryRun;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::opened::{Catalog, with_site};
use crate::cli::output::escaped;
use crate::cli::report;
use crate::cli::selection::{AsOf, Source};
use crate::cli::table::{Align, Table};
use crate::monitor::Monitor;
use crate::site::selection::choose_node;
use crate::site::{Site, logs, snapshots};
use crate::tier::recover::recover_store;
use crate::units;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hsm tier && hsm snapshot create \"daily $(date +%F)\" --if-changed
  hsm snapshot list
  hsm snapshot seal \"year end 2026\" --until 2037-01-01
  hsm snapshot restore \"year end 2026\" --to /mnt/check
  hsm snapshot delete \"daily 2026-01-31\"";

/// Name what the store has at a moment, and keep it
///
/// A snapshot is a name for a point of this server's log. No data moves: what the
/// store has of each file then is kept for as long as the snapshot exists, whatever
/// happens to the file and whatever the policy's retention says. A file that has
/// no copy at that moment is not in it, so make one after `hsm tier`.
///
/// A sealed snapshot cannot be deleted before its date. In a bucket with Object
/// Lock every object that a restore of it needs is locked until then, and nobody
/// can lift that: not `hsm`, not the bucket's owner.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    pub command: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Give what the store has now a name
    Create {
        /// 1 to 200 bytes; no slash, no control character, no leading hyphen
        name: String,
        /// Make none where nothing has changed since the newest one
        #[arg(long)]
        if_changed: bool,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// List the snapshots of this server, or of all servers in the store
    List {
        /// Of every server that uses the store
        #[arg(long, conflicts_with = "node")]
        all: bool,
        #[command(flatten)]
        source: Source,
    },
    /// Bring back the files as a snapshot has them
    ///
    /// The same as `hsm restore --snapshot NAME`, which has more options.
    Restore {
        name: String,
        /// Files or directories, by their absolute paths on their server [default: all]
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Restore below this directory, which is made if it is missing
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Make stubs: all metadata now, the data on demand
        #[arg(long)]
        stubs: bool,
        /// Leave out the root's own path: its files come directly into --to
        #[arg(long)]
        strip_root: bool,
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Delete a snapshot
    ///
    /// Deletes a name. What only this snapshot kept is collected by `hsm gc`.
    Delete {
        name: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Keep a snapshot from being deleted before a date
    ///
    /// The date can be moved on later, never back. Where the store has Object Lock,
    /// what the snapshot needs is paid for until then, whatever happens: --dry-run
    /// tells how much that is.
    Seal {
        name: String,
        /// 2037-01-01, 2037-01-01T12:00:00Z, now+10y
        #[arg(long, value_name = "TIME")]
        until: String,
        #[command(flatten)]
        dry_run: DryRun,
    },
}

pub fn run(context: &Context, args: &SnapshotArgs) -> Result<Outcome, Error> {
    match &args.command {
        SnapshotCommand::Create { name, if_changed, dry_run } => {
            create(context, name, *if_changed, dry_run.dry_run)
        }
        SnapshotCommand::List { all, source } => {
            source.with_site(context, |site| list(context, site, *all, source))
        }
        SnapshotCommand::Restore { name, paths, to, stubs, strip_root, source, dry_run } => {
            let snapshot = Some(name.clone());
            let args = RestoreArgs {
                paths: paths.clone(),
                to: to.clone(),
                source: source.clone(),
                as_of: AsOf { snapshot, ..AsOf::default() },
                stubs: *stubs,
                data: !stubs,
                overwrite: None,
                strip_root: *strip_root,
                dry_run: dry_run.clone(),
            };
            restore::run(context, &args)
        }
        SnapshotCommand::Delete { name, dry_run } => delete(context, name, dry_run.dry_run),
        SnapshotCommand::Seal { name, until, dry_run } => {
            seal(context, name, until, dry_run.dry_run)
        }
    }
}

/// A site whose log may be written, and is as this server knows it.
fn writing<T>(
    context: &Context,
    dry_run: bool,
    work: impl FnOnce(&mut Site<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let config = context.config()?;
    with_site(context, &config, &[], Catalog::Written, |site| {
        if !dry_run {
            recover_store(site)?;
        }
        work(site)
    })
}

fn create(
    context: &Context,
    name: &str,
    if_changed: bool,
    dry_run: bool,
) -> Result<Outcome, Error> {
    let made =
        writing(context, dry_run, |site| Ok(snapshots::create(site, name, if_changed, dry_run)?))?;
    let (files, size) = (made.figures.files, units::format_size(made.figures.bytes));
    context.out.remark(match &made.unchanged_since {
        Some(other) => format!("nothing has changed since {}: none was made", quoted(other)),
        None if dry_run => format!("{}: would name {files} files ({size})", quoted(name)),
        None => format!("{}: {files} files ({size}) as of segment {}", quoted(name), made.seq),
    })?;
    Ok(Outcome::done()
        .with("dry_run", dry_run)
        .with("created", made.unchanged_since.is_none() && !dry_run)
        .with("unchanged_since", &made.unchanged_since)
        .with("segment", made.seq)
        .with("files", files)
        .with("size_bytes", made.figures.bytes))
}

fn delete(context: &Context, name: &str, dry_run: bool) -> Result<Outcome, Error> {
    writing(context, dry_run, |site| Ok(snapshots::delete(site, name, dry_run)?))?;
    let done = if dry_run { "would be deleted" } else { "deleted" };
    context.out.remark(format!("{}: {done}", quoted(name)))?;
    Ok(Outcome::done().with("dry_run", dry_run).with("deleted", !dry_run))
}

fn seal(context: &Context, name: &str, until: &str, dry_run: bool) -> Result<Outcome, Error> {
    let until_ns = units::parse_time(until, context.now_ns())
        .map_err(|error| Error::Usage(format!("--until: {error}; {}", error.mend())))?;
    let stats =
        writing(context, dry_run, |site| Ok(snapshots::seal(site, name, until_ns, dry_run)?))?;
    let (time, objects) = (units::format_time(until_ns), stats.objects);
    let size = units::format_size(stats.pack_bytes);
    let what = format!("{objects} objects ({size} of packs)");
    let text = match stats.locked {
        _ if dry_run => format!("would be sealed until {time}; it needs {what}"),
        0 => format!(
            "sealed until {time}; the store has no object lock, so it only binds hsm: {what} could \
             be deleted by whoever may write to the store"
        ),
        locked => format!("sealed until {time}; {locked} of {what} are locked"),
    };
    context.out.remark(format!("{}: {text}", quoted(name)))?;
    Ok(Outcome::done()
        .with("dry_run", dry_run)
        .with("until_ns", until_ns)
        .with("objects", stats.objects)
        .with("pack_bytes", stats.pack_bytes)
        .with("locked_objects", stats.locked))
}

fn list(context: &Context, site: &Site<'_>, all: bool, source: &Source) -> Result<Outcome, Error> {
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    for (node, error) in logs::sync_what_can_be_read(&site.log_reader(), &mut db)? {
        let why = report::one_line(&error.into());
        context.progress.notice(&format!("the log of node {node} is damaged: {why}"));
    }
    let node = match all {
        true => None,
        false => Some(choose_node(&db, site.node_id, source.node.as_deref())?.node),
    };
    let hosts = db.nodes()?;
    let found = db.snapshots(node)?;
    let mut table =
        Table::new(&[Align::Left, Align::Left, Align::Right, Align::Right, Align::Left]);
    for snapshot in &found {
        let figures = db.figures(snapshot.node, snapshot.seq)?;
        let host = hosts.iter().find(|row| row.node == snapshot.node);
        let host = host.and_then(|row| row.host.clone());
        let sealed = snapshot.sealed_until_ns.map(units::format_time);
        let mut last = sealed.map(|time| format!("sealed until {time}")).unwrap_or_default();
        if all {
            last = format!("{}  {last}", host.as_deref().unwrap_or("-"));
        }
        table.row([
            escaped(snapshot.name.as_bytes()),
            units::format_time(snapshot.at_ns),
            format!("{} files", figures.files),
            units::format_size(figures.bytes),
            last,
        ]);
        context.out.record(&json!({
            "type": "snapshot", "name": snapshot.name, "node": snapshot.node, "host": host,
            "segment": snapshot.seq, "at_ns": snapshot.at_ns, "files": figures.files,
            "size_bytes": figures.bytes, "sealed_until_ns": snapshot.sealed_until_ns,
        }))?;
    }
    table.print(&context.out, "")?;
    Ok(Outcome::done().with("snapshots", found.len()))
}

fn quoted(name: &str) -> String {
    format!("snapshot {:?}", escaped(name.as_bytes()))
}
