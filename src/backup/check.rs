//! Is what a manifest relies on still in the store?
//!
//! Asked of the store alone: its logs say which contents there are and in which packs
//! their chunks lie, its listing says which packs it has and how large they are. A pack
//! that is not listed is asked for by name before it counts as missing. Nothing is read
//! of the packs themselves: that is `hsm verify --data`.

use super::Error;
use super::reader::Manifest;
use super::row::{Header, Row};
use crate::catalog::CatalogDb;
use crate::ids::{NodeId, PackId};
use crate::manifest::keys;
use crate::site::{Site, logs, pack_key};
use crate::store::ErrorKind;
use std::collections::{HashMap, HashSet};
use std::io::BufRead;
use std::ops::ControlFlow;

/// One thing that the store does not have any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The node has no log there.
    NoNode { node: NodeId },
    /// Its log cannot be read to the end.
    Log { node: NodeId, why: String },
    /// Its log ends before the manifest was made.
    Behind { node: NodeId, known: u64, wanted: u64 },
    /// The snapshot was deleted, so nothing keeps what is still there.
    NoSnapshot { name: String },
    /// The content is not whole.
    Missing { row: Box<Row>, why: String },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckStats {
    pub rows: u64,
    pub bytes: u64,
    pub missing_rows: u64,
    pub missing_bytes: u64,
    pub problems: u64,
}

/// Reads all of the manifest, and calls `found` for each problem. Writes to the local
/// copy of the catalog only.
pub fn check<R: BufRead>(
    site: &Site<'_>,
    manifest: Manifest<R>,
    found: &mut dyn FnMut(Problem),
) -> Result<CheckStats, Error> {
    let header = manifest.header().clone();
    if header.store != site.store_id {
        return Err(Error::OtherStore { wanted: header.store, found: site.store_id });
    }
    let mut stats = CheckStats::default();
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    let damaged = logs::sync_what_can_be_read(&site.log_reader(), &mut db)?;
    for (node, error) in damaged {
        stats.problems += 1;
        found(Problem::Log { node, why: error.to_string() });
    }
    for problem in about_the_log(&db, &header)? {
        stats.problems += 1;
        found(problem);
    }
    let whole = whole_packs(site, &db)?;
    for row in manifest.rows() {
        if site.stop.requested() {
            return Err(Error::Stopped);
        }
        let row = row?;
        stats.rows += 1;
        stats.bytes = stats.bytes.saturating_add(row.size_bytes);
        if let Some(why) = lacks(&db, &whole, &row)? {
            stats.problems += 1;
            stats.missing_rows += 1;
            stats.missing_bytes = stats.missing_bytes.saturating_add(row.size_bytes);
            found(Problem::Missing { row: Box::new(row), why });
        }
    }
    Ok(stats)
}

fn about_the_log(db: &CatalogDb, header: &Header) -> Result<Vec<Problem>, Error> {
    let (node, wanted) = (header.node, header.seq);
    let mut problems = vec![];
    match db.node(node)? {
        None if wanted > 0 => problems.push(Problem::NoNode { node }),
        Some(row) if row.head_seq < wanted => {
            problems.push(Problem::Behind { node, known: row.head_seq, wanted });
        }
        _ => {}
    }
    if let Some(name) = &header.snapshot {
        let kept = db.snapshots(Some(node))?;
        if !kept.iter().any(|kept| kept.name == *name && kept.seq >= wanted) {
            problems.push(Problem::NoSnapshot { name: name.clone() });
        }
    }
    Ok(problems)
}

/// The packs that the store has in the size that the logs say.
fn whole_packs(site: &Site<'_>, db: &CatalogDb) -> Result<HashSet<PackId>, Error> {
    let mut listed: HashMap<PackId, u64> = HashMap::new();
    site.store.list("packs/", None, &mut |object| {
        if let Some(pack) = keys::parse_pack_key(object.key.as_str()) {
            listed.insert(pack, object.size_bytes);
        }
    })?;
    let (mut whole, mut unlisted) = (HashSet::new(), vec![]);
    db.for_each_pack(&mut |pack| {
        match listed.get(&pack.id) {
            Some(size) if *size == pack.size_bytes => drop(whole.insert(pack.id)),
            Some(_) => {}
            None => unlisted.push((pack.id, pack.size_bytes)),
        }
        ControlFlow::Continue(())
    })?;
    // A listing can lag; only a direct "not found" makes a pack missing.
    for (pack, size_bytes) in unlisted {
        match site.store.head(&pack_key(pack)) {
            Ok(object) if object.size_bytes == size_bytes => drop(whole.insert(pack)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(whole)
}

/// Why the content of a row is not whole, if it is not.
fn lacks(db: &CatalogDb, whole: &HashSet<PackId>, row: &Row) -> Result<Option<String>, Error> {
    let Some(content) = db.content(row.content)? else {
        return Ok(Some(format!("no log has its content {}", row.content)));
    };
    if content.size_bytes != row.size_bytes {
        let (is, was) = (content.size_bytes, row.size_bytes);
        return Ok(Some(format!("its content has {is} bytes in the store, not {was}")));
    }
    for chunk in content.chunk_ids() {
        if db.chunk(&chunk, &|pack| !whole.contains(&pack))?.is_none() {
            return Ok(Some(format!("chunk {chunk} is in no pack that the store has whole")));
        }
    }
    Ok(None)
}
