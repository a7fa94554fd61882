//! `hsm nodes`: the servers that share a store.

use super::Outcome;
use crate::catalog::{CatalogDb, NodeRow};
use crate::cli::args::DryRun;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::opened::{Catalog, with_site};
use crate::cli::report;
use crate::cli::selection::Source;
use crate::cli::table::{Align, Table};
use crate::ids::NodeId;
use crate::monitor::Monitor;
use crate::site::selection::choose_node;
use crate::site::{Site, logs, nodes};
use crate::tier::recover::recover_store;
use crate::tier::renew;
use crate::units;
use clap::{Args, Subcommand};
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  hsm nodes
  hsm nodes list --store s3://bucket/hsm
  hsm nodes retire 4f1c2e9a-0b7d-4c55-9a53-0f6f1c1b7a20 --yes
  hsm nodes renew";

/// Show and manage the servers that share a store
///
/// Every server that uploads to a store is a node of it, with a log of its own
/// that nobody else writes. Without a subcommand it lists them: host, last segment,
/// files, a run that has not ended, the last garbage collection acknowledged.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct NodesArgs {
    #[command(subcommand)]
    pub command: Option<NodesCommand>,
}

#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// List the nodes of a store
    List {
        #[command(flatten)]
        source: Source,
    },
    /// End the log of a server that is lost
    ///
    /// Puts a fence into the lost server's log, where its next segment would be: if
    /// it comes back it can write no more, and says so. Garbage collections no longer
    /// wait for it. Its files stay in the store and can be restored.
    Retire {
        /// The whole id; without --yes its beginning or the host name, to see what
        /// would be done
        #[arg(value_name = "NODE")]
        node: String,
        /// Its files are needed no more either: the next collections delete what only
        /// it referred to, and nothing brings that back
        #[arg(long)]
        forget: bool,
        /// The last good segment of a log that is damaged: it is ended behind it, and
        /// what came after is kept, but says nothing any more
        #[arg(long, value_name = "N")]
        until_segment: Option<u64>,
        /// Really do it
        #[arg(long)]
        yes: bool,
        /// Also a server that was at work within the last hour, or in a store that
        /// cannot refuse to replace an object
        #[arg(long)]
        force: bool,
    },
    /// Make this server a new node of the store
    ///
    /// For a server that was cloned, so that two servers write one log; for one that
    /// was retired and is back; for one whose log is damaged. It gets a new id and an
    /// empty log, and its next run writes a record of every file into that. No data is
    /// sent again, and no file changes.
    Renew {
        /// Also if nothing is wrong with this server's log: the other of two clones
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        dry_run: DryRun,
    },
}

pub fn run(context: &Context, args: &NodesArgs) -> Result<Outcome, Error> {
    match &args.command {
        None => list(context, &Source::default()),
        Some(NodesCommand::List { source }) => list(context, source),
        Some(NodesCommand::Retire { node, forget, until_segment, yes, force }) => {
            let options = nodes::Options {
                forget: *forget,
                force: *force,
                until: *until_segment,
                dry_run: !yes,
            };
            retire(context, node, options)
        }
        Some(NodesCommand::Renew { force, dry_run }) => renew(context, *force, dry_run.dry_run),
    }
}

fn list(context: &Context, source: &Source) -> Result<Outcome, Error> {
    source.with_site(context, |site| {
        let db = read(context, site)?;
        let wanted = match &source.node {
            Some(wanted) => Some(choose_node(&db, site.node_id, Some(wanted))?.node),
            None => None,
        };
        let mut rows = db.nodes()?;
        rows.retain(|row| wanted.is_none_or(|wanted| row.node == wanted));
        show(context, site, &db, &rows)?;
        Ok(Outcome::done().with("nodes", rows.len()).with("node", site.node_id))
    })
}

/// The catalog, as far as it can be read.
fn read(context: &Context, site: &Site<'_>) -> Result<CatalogDb, Error> {
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    for (node, error) in logs::sync_what_can_be_read(&site.log_reader(), &mut db)? {
        let why = report::one_line(&error.into());
        context.progress.notice(&format!("the log of node {node} is damaged: {why}"));
    }
    Ok(db)
}

fn show(context: &Context, site: &Site<'_>, db: &CatalogDb, rows: &[NodeRow]) -> Result<(), Error> {
    use Align::{Left, Right};
    let mut table = Table::new(&[Left, Left, Left, Right, Right, Right, Left]);
    table.row(["NODE", "HOST", "LAST WRITTEN", "SEGMENTS", "FILES", "SIZE", ""]);
    for row in rows {
        let figures = db.figures(row.node, row.head_seq)?;
        let snapshots = db.snapshots(Some(row.node))?.len();
        table.row([
            row.node.to_string(),
            row.host.clone().unwrap_or_else(|| "-".to_owned()),
            units::format_time(row.written_ns),
            row.head_seq.to_string(),
            figures.files.to_string(),
            units::format_size(figures.bytes),
            notes(site, row, snapshots).join(", "),
        ]);
        context.out.record(&json!({
            "type": "node", "node": row.node, "host": row.host, "own": row.node == site.node_id,
            "written_ns": row.written_ns, "segments": row.head_seq, "files": figures.files,
            "size_bytes": figures.bytes, "open_session": row.open_session,
            "acknowledged": row.ack_gen, "retired": row.fenced, "forgotten": row.forgotten,
            "checkpoint": row.checkpoint_seq, "snapshots": snapshots,
        }))?;
    }
    table.print(&context.out, "")
}

fn notes(site: &Site<'_>, row: &NodeRow, snapshots: usize) -> Vec<String> {
    let mut notes = vec![];
    let mut note = |holds: bool, text: String| {
        if holds {
            notes.push(text);
        }
    };
    note(row.node == site.node_id, "this server".to_owned());
    note(row.fenced && !row.forgotten, "retired".to_owned());
    note(row.forgotten, "retired and forgotten".to_owned());
    note(row.open_session.is_some(), "a run has not ended".to_owned());
    note(snapshots > 0, format!("{snapshots} snapshots"));
    note(row.ack_gen > 0, format!("acknowledged collection {}", row.ack_gen));
    notes
}

fn retire(context: &Context, wanted: &str, options: nodes::Options) -> Result<Outcome, Error> {
    let config = context.config()?;
    let row = with_site(context, &config, &[], Catalog::Untouched, |site| {
        let db = read(context, site)?;
        let node = match wanted.parse::<NodeId>() {
            Ok(node) => node,
            Err(_) if options.dry_run => choose_node(&db, site.node_id, Some(wanted))?.node,
            Err(_) => {
                let what = format!("--yes wants the whole id of a node, not {wanted:?}");
                return Err(Error::refused(what, "hsm nodes, and the id as it stands there"));
            }
        };
        let row = nodes::retire(site, node, options)?;
        let figures = db.figures(node, row.head_seq)?;
        Ok((row, figures))
    })?;
    let (row, figures) = row;
    let host = row.host.as_deref().unwrap_or("-");
    let what = format!(
        "node {} ({host}, last written {}, {} files, {})",
        row.node,
        units::format_time(row.written_ns),
        figures.files,
        units::format_size(figures.bytes)
    );
    let forget =
        if options.forget { " and forgotten: what only it has will be deleted" } else { "" };
    if options.dry_run {
        context.out.remark(format!("would be retired{forget}: {what}"))?;
        let until = options.until.map(|seq| format!(" --until-segment {seq}"));
        let forget = if options.forget { " --forget" } else { "" };
        let options = format!("{forget}{}", until.unwrap_or_default());
        context.out.remark(format!("to do it: hsm nodes retire {}{options} --yes", row.node))?;
    } else {
        context.out.remark(format!("retired{forget}: {what}"))?;
    }
    Ok(Outcome::done()
        .with("node", row.node)
        .with("retired", !options.dry_run)
        .with("forgotten", options.forget && !options.dry_run))
}

fn renew(context: &Context, force: bool, dry_run: bool) -> Result<Outcome, Error> {
    let config = context.config()?;
    let roots = context.state_read_only(&config)?.roots()?;
    with_site(context, &config, &roots, Catalog::Written, |site| {
        let old = site.node_id;
        match recover_store(site) {
            Ok(_) if !force => {
                return Err(Error::refused(
                    format!("nothing is wrong with the log of node {old}, which is this server"),
                    "hsm nodes renew --force on the one of two clones that is to be another node",
                ));
            }
            Err(error) if !renew::helps_against(&error) => return Err(error.into()),
            _ => {}
        }
        if dry_run {
            context.out.remark(format!("node {old} would become another one"))?;
            return Ok(Outcome::done().with("dry_run", true).with("old_node", old));
        }
        let new = renew::run(site)?;
        context.out.remark(format!("this server was node {old} and is node {new} now"))?;
        context.out.remark("next: hsm tier, which writes its files into the new log")?;
        let retire = format!("if no other server goes on as {old}: hsm nodes retire {old}");
        context.out.remark(retire)?;
        Ok(Outcome::done().with("old_node", old).with("node", new))
    })
}
