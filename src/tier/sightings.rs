//! Makes sure that a pack which a file is about to rely on is still there.
//!
//! A dedup hit on a lost object would lose the new file too, and freeing blocks
//! against one would lose the old. A proof by content is made once, when the
//! pack is sent; here its presence and size are asked for again when the last
//! sighting is old. "Unreachable" or "denied" is unknown, never "gone".

use super::{Error, freshness};
use crate::ids::PackId;
use crate::manifest::SecondEvidence;
use crate::site::{Site, pack_key};
use crate::state::{ChunkPlace, PackStatus};
use crate::store::ErrorKind;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The answers of one run, so that each pack is asked for once.
#[derive(Default)]
pub struct Sightings {
    first: HashMap<PackId, bool>,
    second: HashMap<PackId, bool>,
}

impl Sightings {
    /// True when the pack at `place` was seen recently or answers now with its
    /// recorded size. A pack that is gone is recorded as lost, so that its
    /// chunks are sent again the next time they are met.
    pub fn still_there(&mut self, site: &mut Site<'_>, place: &ChunkPlace) -> Result<bool, Error> {
        if freshness::is_fresh(place.seen_ns, site.clock.now_ns()) && place.evidence.is_some() {
            return Ok(true);
        }
        if let Some(answer) = self.first.get(&place.pack) {
            return Ok(*answer);
        }
        let answer = ask(site, place.pack)?;
        self.first.insert(place.pack, answer);
        Ok(answer)
    }

    /// The proof of the second copy, where there is one, the second store answers in
    /// this run and, if it was not seen lately, says that it has it. A copy that is gone
    /// is forgotten, so that the next upload makes it anew.
    pub fn second_still_there(
        &mut self,
        site: &mut Site<'_>,
        place: &ChunkPlace,
    ) -> Result<Option<SecondEvidence>, Error> {
        let Some(evidence) = place.second else { return Ok(None) };
        if site.second_here().is_none() {
            return Ok(None);
        }
        if freshness::is_fresh(place.second_seen_ns, site.clock.now_ns()) {
            return Ok(Some(evidence));
        }
        let there = match self.second.entry(place.pack) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(ask_second(site, place.pack)?),
        };
        Ok(there.then_some(evidence))
    }
}

fn ask_second(site: &mut Site<'_>, pack: PackId) -> Result<bool, Error> {
    let Some(row) = site.state.pack(pack)? else { return Ok(false) };
    let Some(second) = site.second_here() else { return Ok(false) };
    let there = match second.store.head(&pack_key(pack)) {
        Ok(object) => object.size_bytes == row.size_bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => {
            site.second_is_away(&error.to_string());
            return Ok(false);
        }
    };
    if there {
        let now_ns = site.clock.now_ns();
        site.state.set_second_seen(pack, now_ns)?;
    } else {
        site.state.forget_second(pack)?;
    }
    Ok(there)
}

fn ask(site: &mut Site<'_>, pack: PackId) -> Result<bool, Error> {
    let now = site.clock.now_ns();
    let Some(row) = site.state.pack(pack)? else { return Ok(false) };
    match site.store.head(&pack_key(pack)) {
        Ok(object) if object.size_bytes == row.size_bytes => {
            site.state.set_packs_seen(&[pack], now)?;
            Ok(true)
        }
        Ok(_) => {
            site.state.mark_pack(pack, PackStatus::Damaged, now)?;
            Ok(false)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            site.state.mark_pack(pack, PackStatus::Lost, now)?;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
