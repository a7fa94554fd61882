//! What is known before anything is made: the store's keys, the logs, and which of
//! them this server wrote.

use super::RebuildArgs;
use crate::catalog::{CatalogDb, NodeRow};
use crate::chunk::Protection;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::key_file;
use crate::cli::opened::descriptor;
use crate::cli::report;
use crate::config::Config;
use crate::ids::{NodeId, StoreId};
use crate::monitor::Monitor;
use crate::os::{RootDir, process};
use crate::rebuild;
use crate::site::logs::{self, Reader};
use crate::site::selection::choose_node;
use crate::state::StateDb;
use crate::store::Store;
use crate::tier;
use crate::tier::rescan::open_root;

/// Where the new state DB comes from.
pub struct Known {
    pub store_id: StoreId,
    pub protection: Protection,
    pub catalog: CatalogDb,
    /// The log to be continued, as far as it is read.
    pub node: NodeRow,
    /// It cannot be continued: this server becomes another node.
    pub goes_on_anew: bool,
}

pub fn gather(
    context: &Context,
    config: &Config,
    args: &RebuildArgs,
    store: &dyn Store,
    old: Option<&StateDb>,
) -> Result<Known, Error> {
    let descriptor = descriptor(store)?;
    let store_id = descriptor.store_id;
    if let Some(other) = old.map(StateDb::store_id).filter(|other| *other != store_id) {
        return Err(Error::refused(
            format!("the state DB belongs to the store {other}, and this is {store_id}"),
            "correct store.url in the configuration",
        ));
    }
    let key = config.encryption.as_ref().map(|section| key_file::read(&section.key_file));
    let protection = descriptor.protection(key.transpose()?.as_ref())?;
    let mut catalog = CatalogDb::temporary(store_id)?;
    let reader = Reader { store, protection: &protection, store_id, stop: &context.stop };
    let mut damaged = logs::sync_what_can_be_read(&reader, &mut catalog)?;
    let mut node = node(config, args, &catalog, old)?;
    let own = damaged.iter().position(|(of, _)| *of == node.node);
    let own = own.map(|at| damaged.swap_remove(at).1);
    for (of, error) in damaged {
        let why = report::one_line(&error.into());
        context.progress.notice(&format!("the log of node {of} is damaged: {why}"));
    }
    match (own, args.until_segment) {
        (Some(error), None) => return Err(rebuild::Error::from(error).into()),
        (_, Some(until)) => node = cut(&reader, &mut catalog, &node, until)?,
        (None, None) => {}
    }
    if let Some(old) = old {
        tell_lost(context, &node, old)?;
    }
    let goes_on_anew = args.until_segment.is_some() || node.fenced;
    Ok(Known { store_id, protection, catalog, node, goes_on_anew })
}

/// This server's log, by what was asked for, by the state DB before, or by the files.
fn node(
    config: &Config,
    args: &RebuildArgs,
    catalog: &CatalogDb,
    old: Option<&StateDb>,
) -> Result<NodeRow, Error> {
    if let Some(wanted) = &args.node {
        return Ok(choose_node(catalog, NodeId([0; 16]), Some(wanted))?);
    }
    if let Some(old) = old {
        let known = catalog.node(old.node_id())?;
        return Ok(known.unwrap_or_else(|| NodeRow::unknown(old.node_id())));
    }
    let chosen = rebuild::choose(catalog, &open_roots(config, None)?)?.node;
    let here = process::hostname();
    if !args.force && chosen.host.as_ref().is_some_and(|host| *host != here) {
        return Err(rebuild::Error::OtherHost(Box::new(chosen)).into());
    }
    Ok(chosen)
}

/// The log up to and with a segment.
fn cut(
    reader: &Reader<'_>,
    catalog: &mut CatalogDb,
    node: &NodeRow,
    until: u64,
) -> Result<NodeRow, Error> {
    catalog.forget_node(node.node)?;
    logs::sync_node(reader, catalog, node.node, Some(until))?;
    let cut = catalog.node(node.node)?.unwrap_or_else(|| NodeRow::unknown(node.node));
    if cut.head_seq == until {
        return Ok(cut);
    }
    let what = format!("the log of node {} ends with segment {}", node.node, cut.head_seq);
    Err(Error::refused(what, "--until-segment with the last good one"))
}

/// The state DB before wrote more than the store has.
fn tell_lost(context: &Context, node: &NodeRow, old: &StateDb) -> Result<(), Error> {
    let written = old.log_head()?.next_seq - 1;
    if old.node_id() == node.node && written > node.head_seq {
        let (first, last) = (node.head_seq + 1, written);
        context.progress.notice(&format!(
            "segments {first} to {last} of this server's log are not used: what the state DB knows \
             of them is catalogued again"
        ));
    }
    Ok(())
}

/// The configured roots; each is the file system that it was, where that is known.
pub fn open_roots(config: &Config, old: Option<&StateDb>) -> Result<Vec<RootDir>, Error> {
    let before = old.map(StateDb::roots).transpose()?.unwrap_or_default();
    let open = |path: &std::path::PathBuf| match before.iter().find(|row| row.path == *path) {
        Some(row) => Ok(open_root(row)?),
        None => RootDir::open(path)
            .map_err(|source| tier::Error::OpenRoot { path: path.clone(), source }.into()),
    };
    config.roots.iter().map(open).collect()
}
