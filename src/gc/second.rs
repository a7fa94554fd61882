//! The second store in a collection: what has a copy there, and what goes there.
//!
//! A pack that is in both stores is given up only when nothing in it is needed, never
//! because another pack holds the same: that one may have no second copy, and a stub
//! would be left with one. For the same reason it is not rewritten. Where the second
//! store cannot be listed every pack is taken to be in it.
//!
//! In the second store goes what an end in the first gives up, after it, and what no
//! log names and the first store does not have.

use super::{Error, Options};
use crate::catalog::CatalogDb;
use crate::ids::PackId;
use crate::manifest::keys;
use crate::site::{Site, mirror, pack_key};
use crate::store::Store;
use std::collections::{HashMap, HashSet};

/// The packs that are in the second store.
pub struct Twice(Option<HashSet<PackId>>);

impl Twice {
    pub fn look(site: &Site<'_>) -> Self {
        let Some(second) = &site.second else { return Self(Some(HashSet::new())) };
        if let Some(why) = &second.away {
            site.monitor.notice(&format!("no pack is rewritten: the second store is away: {why}"));
            return Self(None);
        }
        match list(second.store) {
            Ok(found) => Self(Some(found.into_keys().collect())),
            Err(error) => {
                site.monitor.notice(&format!("no pack is rewritten: {error}"));
                Self(None)
            }
        }
    }

    /// Whether the pack has, or may have, a second copy.
    pub fn may_have(&self, pack: PackId) -> bool {
        self.0.as_ref().is_none_or(|packs| packs.contains(&pack))
    }
}

type Found = HashMap<PackId, (u64, i64)>;

fn list(store: &dyn Store) -> Result<Found, crate::store::Error> {
    let mut found = Found::new();
    store.list(keys::PACKS, None, &mut |object| {
        if let Some(pack) = keys::parse_pack_key(object.key.as_str()) {
            found.insert(pack, (object.size_bytes, object.modified_ns));
        }
    })?;
    Ok(found)
}

/// Deletes from the second store what is garbage there; returns the bytes. What is
/// wrong with that store is told, and left for a later run.
pub fn sweep(
    site: &Site<'_>,
    db: &CatalogDb,
    options: &Options<'_>,
    now_ns: i64,
) -> Result<u64, Error> {
    if site.second_here().is_none() {
        return Ok(0);
    }
    let swept = mirror::mirror(site).map_err(Error::from).and_then(|mirrored| {
        if mirrored.astray.is_empty() { delete(site, db, options, now_ns) } else { Ok(0) }
    });
    match swept {
        Err(Error::Store(error)) => {
            site.monitor.notice(&format!("garbage stays in the second store: {error}"));
            Ok(0)
        }
        swept => swept,
    }
}

fn delete(
    site: &Site<'_>,
    db: &CatalogDb,
    options: &Options<'_>,
    now_ns: i64,
) -> Result<u64, Error> {
    let Some(second) = site.second_here() else { return Ok(0) };
    let there = list(second.store)?;
    // After it: whoever puts a second copy has put the first before.
    let first = list(site.store)?;
    let min_age_ns = super::survey::nanos(options.section.min_age);
    let mut bytes = 0;
    for (pack, (size_bytes, modified_ns)) in there {
        if site.stop.requested() {
            break;
        }
        let is_old = now_ns.saturating_sub(modified_ns) >= min_age_ns;
        let goes = db.is_given_up(pack)?
            || (is_old
                && !first.contains_key(&pack)
                && db.pack(pack)?.is_none()
                && site.state.pack(pack)?.is_none());
        if goes {
            second.store.delete(&pack_key(pack))?;
            crate::fault::point("gc.second-deleted");
            bytes += size_bytes;
        }
    }
    Ok(bytes)
}
