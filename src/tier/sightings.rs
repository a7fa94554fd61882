//! Makes sure that a pack which a file is about to rely on is still there.
//!
//! A dedup hit on a lost object would lose the new file too, and freeing blocks
//! against one would lose the old. A proof by content is made once, when the
//! pack is sent; here its presence and size are asked for again when the last
//! sighting is old. "Unreachable" or "denied" is unknown, never "gone".

use super::{Error, freshness};
use crate::ids::PackId;
use crate::site::{Site, pack_key};
use crate::state::{ChunkPlace, PackStatus};
use crate::store::ErrorKind;
use std::collections::HashMap;

/// The answers of one run, so that each pack is asked for once.
#[derive(Default)]
pub struct Sightings(HashMap<PackId, bool>);

impl Sightings {
    /// True when the pack at `place` was seen recently or answers now with its
    /// recorded size. A pack that is gone is recorded as lost, so that its
    /// chunks are sent again the next time they are met.
    pub fn still_there(&mut self, site: &mut Site<'_>, place: &ChunkPlace) -> Result<bool, Error> {
        if freshness::is_fresh(place.seen_ns, site.clock.now_ns()) && place.evidence.is_some() {
            return Ok(true);
        }
        if let Some(answer) = self.0.get(&place.pack) {
            return Ok(*answer);
        }
        let answer = ask(site, place.pack)?;
        self.0.insert(place.pack, answer);
        Ok(answer)
    }
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
