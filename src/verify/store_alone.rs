//! Checks a store from its own catalogs, on a machine that has nothing else:
//! every pack that a node's log names must be there with its recorded size,
//! and with a data check every chunk must have its hash.

use super::{Error, Problem, Sample, VerifyStats, reading};
use crate::chunk::{ChunkSlot, Protection};
use crate::ids::{PackId, StoreId};
use crate::manifest::{Record, decode_segment, keys};
use crate::site::{catalog, pack_key};
use crate::store::{ErrorKind, Store};
use std::collections::HashMap;

type Packs = HashMap<PackId, (u64, Vec<ChunkSlot>)>;

/// Calls `found` for each problem; records nothing anywhere.
pub fn store_alone(
    store: &dyn Store,
    protection: &Protection,
    store_id: StoreId,
    data: Option<Sample>,
    found: &mut dyn FnMut(&Problem),
) -> Result<VerifyStats, Error> {
    let mut stats = VerifyStats::default();
    let mut named = named_packs(store, protection, &mut stats)?;
    let mut present = vec![];
    store.list("packs/", None, &mut |object| {
        if let Some(pack) = keys::parse_pack_key(object.key.as_str()) {
            present.push((pack, object.size_bytes));
        }
    })?;
    let total = present.iter().map(|(_, bytes)| bytes).sum();
    let mut budget = data.map_or(0, |sample| sample.budget_bytes(total));
    for (pack, found_bytes) in present {
        let Some((expected_bytes, slots)) = named.remove(&pack) else {
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
    Ok(stats)
}

/// A listing can lag; only a direct "not found" makes a pack missing.
fn is_there_after_all(store: &dyn Store, pack: PackId) -> Result<bool, Error> {
    match store.head(&pack_key(pack)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn named_packs(
    store: &dyn Store,
    protection: &Protection,
    stats: &mut VerifyStats,
) -> Result<Packs, Error> {
    let mut segments = vec![];
    store.list("nodes/", None, &mut |object| {
        if keys::parse_segment_key(object.key.as_str()).is_some() {
            segments.push(object.key);
        }
    })?;
    let mut packs = Packs::new();
    for key in segments {
        let bytes = store.get(&key, None)?;
        let (_, records) = decode_segment(&bytes, protection)
            .map_err(|source| catalog::Error::Segment { key: key.to_string(), source })?;
        for record in records {
            match record {
                Record::Pack(pack) => drop(packs.insert(pack.id, (pack.bytes, pack.chunks))),
                Record::File(file) => stats.files += u64::from(file.content.is_some()),
                _ => {}
            }
        }
    }
    Ok(packs)
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
        // Unreachable or denied is unknown, never "gone".
        Err(error) => return Err(error.into()),
    };
    stats.problems += 1;
    found(&problem);
    Ok(())
}
