//! Checks a store from its own catalogs, on a machine that has nothing else:
//! every pack that a node's log names must be there with its recorded size,
//! and with a data check every chunk must have its hash.

use super::{Error, Problem, Sample, VerifyStats, reading};
use crate::catalog::CatalogDb;
use crate::chunk::{ChunkSlot, Protection};
use crate::ids::{PackId, StoreId};
use crate::manifest::keys;
use crate::monitor::Stop;
use crate::site::{catalog, logs, pack_key};
use crate::store::{ErrorKind, Store};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Calls `found` for each problem; records nothing anywhere.
pub fn store_alone(
    store: &dyn Store,
    protection: &Protection,
    store_id: StoreId,
    data: Option<Sample>,
    stop: &Stop,
    found: &mut dyn FnMut(&Problem),
) -> Result<VerifyStats, Error> {
    let mut stats = VerifyStats::default();
    let mut known = CatalogDb::temporary(store_id).map_err(catalog::Error::from)?;
    logs::sync(&logs::Reader { store, protection, store_id, stop }, &mut known)?;
    let mut named = named_packs(&known)?;
    stats.files = known.current_files().map_err(catalog::Error::from)?;
    let mut present = vec![];
    store.list("packs/", None, &mut |object| {
        if let Some(pack) = keys::parse_pack_key(object.key.as_str()) {
            present.push((pack, object.size_bytes));
        }
    })?;
    let total = present.iter().map(|(_, bytes)| bytes).sum();
    let mut budget = data.map_or(0, |sample| sample.budget_bytes(total));
    for (pack, found_bytes) in present {
        let Some(expected_bytes) = named.remove(&pack) else {
            stats.unowned_objects += 1;
            stats.unowned_bytes += found_bytes;
            continue;
        };
        stats.packs += 1;
        if expected_bytes != found_bytes {
            stats.problems += 1;
            found(&Problem::PackSize { pack, expected_bytes, found_bytes });
        }
        if budget > 0 {
            budget = budget.saturating_sub(found_bytes);
            let slots = known.pack_slots(pack).map_err(catalog::Error::from)?;
            read(store, protection, store_id, pack, &slots, &mut stats, found)?;
        }
    }
    for pack in named.into_keys() {
        stats.packs += 1;
        if is_there_after_all(store, pack)? {
            continue;
        }
        stats.problems += 1;
        found(&Problem::PackMissing { pack });
    }
    stats.stopped = stop.requested();
    Ok(stats)
}

/// The size of every pack that some log names.
fn named_packs(known: &CatalogDb) -> Result<HashMap<PackId, u64>, Error> {
    let mut named = HashMap::new();
    known
        .for_each_pack(&mut |pack| {
            named.insert(pack.id, pack.size_bytes);
            ControlFlow::Continue(())
        })
        .map_err(catalog::Error::from)?;
    Ok(named)
}

/// A listing can lag; only a direct "not found" makes a pack missing.
fn is_there_after_all(store: &dyn Store, pack: PackId) -> Result<bool, Error> {
    match store.head(&pack_key(pack)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn read(
    store: &dyn Store,
    protection: &Protection,
    store_id: StoreId,
    pack: PackId,
    slots: &[ChunkSlot],
    stats: &mut VerifyStats,
    found: &mut dyn FnMut(&Problem),
) -> Result<(), Error> {
    let problem = match reading::check(store, protection, store_id, pack, slots) {
        Ok(check) => {
            stats.packs_read += 1;
            stats.bytes_read += check.bytes;
            for (chunk, why) in check.damaged {
                stats.problems += 1;
                found(&Problem::ChunkDamaged { pack, chunk, why });
            }
            return Ok(());
        }
        // Listed, and gone when it was to be read.
        Err(error) if error.kind() == ErrorKind::NotFound => Problem::PackMissing { pack },
        Err(error) if error.kind() == ErrorKind::Integrity => {
            Problem::PackUnreadable { pack, why: error.to_string() }
        }
        // There, and not to be read: that says nothing about its bytes.
        Err(error) if error.kind() == ErrorKind::Archived => {
            stats.archived_packs += 1;
            return Ok(());
        }
        // Unreachable or denied is unknown, never "gone".
        Err(error) => return Err(error.into()),
    };
    stats.problems += 1;
    found(&problem);
    Ok(())
}
