//! Which store, which node, as of when: the options that every command which reads
//! old files shares, and what they come to.
//!
//! Such a command works on a machine that has nothing but the store's URL and, where
//! the store is encrypted, its key. A log that is damaged is read as far as it goes;
//! what is asked for from behind that is refused, and all else is not.

use super::context::Context;
use super::error::Error;
use super::locate;
use super::opened::{StorePlace, with_reading_site};
use super::report;
use crate::catalog::{CatalogDb, NodeRow, Point};
use crate::ids::NodeId;
use crate::monitor::Monitor;
use crate::site::selection::{self, Moment, choose_node};
use crate::site::{Catalog, Selection, Site, logs};
use crate::units;
use clap::Args;
use std::path::PathBuf;

/// A store and a node of it.
#[derive(Debug, Clone, Default, Args)]
pub struct Source {
    /// Read this store; no configuration is needed [default: the configured one]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,

    /// The key file of an encrypted --store
    #[arg(long, value_name = "FILE", requires = "store")]
    pub key_file: Option<PathBuf>,

    /// Another S3 server than AWS or the Swift login, for --store
    #[arg(long, value_name = "URL", requires = "store")]
    pub endpoint: Option<String>,

    /// The region, for --store
    #[arg(long, requires = "store")]
    pub region: Option<String>,

    /// Put the bucket in the path, not in the host name, for --store
    #[arg(long, requires = "store")]
    pub path_style: bool,

    /// The server that had the files: its host name, or the beginning of its id
    ///
    /// [default: this one; in a store that has the files of only one server, that
    /// one]
    #[arg(long, value_name = "ID|HOST")]
    pub node: Option<String>,
}

/// A point of a node's log; now without any.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "moment", multiple = false)]
pub struct AsOf {
    /// The files as they were in the store at this time (2026-01-31,
    /// 2026-01-31T14:00:00Z, now-90d)
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<String>,

    /// The files as they were when this snapshot was made
    #[arg(long, value_name = "NAME")]
    pub snapshot: Option<String>,

    /// This version of the one path that is named, by its number in hsm history
    #[arg(long, value_name = "NUMBER", requires = "paths")]
    pub version: Option<u64>,
}

impl AsOf {
    fn moment(&self, now_ns: i64) -> Result<Moment, Error> {
        let time = self.as_of.as_deref().map(|text| units::parse_time(text, now_ns));
        let at_ns = time
            .transpose()
            .map_err(|error| Error::Usage(format!("--as-of: {error}; {}", error.mend())))?;
        Ok(Moment { at_ns, snapshot: self.snapshot.clone(), version: self.version })
    }
}

impl Source {
    /// The store that was named, if one was.
    pub fn place(&self) -> Option<StorePlace<'_>> {
        self.store.as_deref().map(|url| StorePlace {
            url,
            key: self.key_file.as_deref(),
            endpoint: self.endpoint.as_deref(),
            region: self.region.as_deref(),
            path_style: self.path_style,
        })
    }

    /// Runs `work` on the store that was named, or on the configured one. No root is
    /// locked.
    pub fn with_site<T>(
        &self,
        context: &Context,
        work: impl FnOnce(&mut Site<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        with_reading_site(context, self.place(), work)
    }
}

/// What the options come to, and the catalog, up to date.
pub fn resolve(
    context: &Context,
    site: &Site<'_>,
    source: &Source,
    as_of: &AsOf,
    paths: &[PathBuf],
) -> Result<(Selection, Catalog), Error> {
    let (node, db, damaged) = read(context, site, source)?;
    let moment = as_of.moment(context.now_ns())?;
    let select = |paths: &[PathBuf]| Selection::new(&db, node.clone(), &moment, paths);
    let absolute =
        |path: &PathBuf| std::path::absolute(path).map_err(Error::io("make absolute", path));
    let named: Vec<PathBuf> = paths.iter().map(absolute).collect::<Result<_, _>>()?;
    let selection = match select(&named) {
        // A name on this machine may lead there by a symbolic link.
        Err(selection::Error::Outside { .. }) => {
            let resolved = paths.iter().map(|path| locate::resolve(path));
            select(&resolved.collect::<Result<Vec<_>, _>>()?)
        }
        selected => selected,
    }?;
    match damaged {
        // The next segment is there, and so younger than the point.
        Some(error) if !is_before(selection.point, &node) => Err(error.into()),
        _ => Ok((selection, Catalog::of(db))),
    }
}

/// The node, the catalog, and what is wrong with the node's own log.
pub fn read(
    context: &Context,
    site: &Site<'_>,
    source: &Source,
) -> Result<(NodeRow, CatalogDb, Option<logs::Error>), Error> {
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    let mut damaged = logs::sync_what_can_be_read(&site.log_reader(), &mut db)?;
    let node = choose_node(&db, site.node_id, source.node.as_deref())?;
    let own = damaged.iter().position(|(of, _)| *of == node.node);
    let own = own.map(|at| damaged.swap_remove(at).1);
    for (of, error) in damaged {
        tell_damage(context, of, error);
    }
    Ok((node, db, own))
}

/// The catalog, in which this node's own log is whole.
pub fn own_catalog(context: &Context, site: &Site<'_>) -> Result<CatalogDb, Error> {
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    for (node, error) in logs::sync_what_can_be_read(&site.log_reader(), &mut db)? {
        if node == site.node_id {
            return Err(error.into());
        }
        tell_damage(context, node, error);
    }
    Ok(db)
}

fn tell_damage(context: &Context, node: NodeId, error: logs::Error) {
    let why = report::one_line(&error.into());
    let text = format!("the log of node {node} is damaged, files of others are not: {why}");
    context.progress.notice(&text);
}

/// The log as it was read says all that it said then.
fn is_before(point: Point, node: &NodeRow) -> bool {
    matches!(point, Point::Seq(seq) if seq < node.head_seq)
}
