//! Asking the archive for packs, and knowing how it goes.
//!
//! For each pack that may be in an archive the store is asked first (HEAD): only it
//! knows, and an order of a run that died may have reached it. What is archived is
//! written down ([`StateDb::intend_thaws`]), then ordered, then noted as taken; a
//! crash in between costs one more look, never a second order. An order that the
//! store refuses is taken back: nobody is to wait for what will not come.
//!
//! [`StateDb::intend_thaws`]: crate::state::StateDb::intend_thaws

use super::{Site, pack_key};
use crate::classes::{self, Thaw};
use crate::fault;
use crate::ids::PackId;
use crate::state::{self, ThawRow};
use crate::store::{self, Access, ErrorKind, Thawing};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What stops it as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What was found out, once per pack and run.
#[derive(Debug, Default)]
pub struct Archive {
    order: Thaw,
    readable: BTreeMap<PackId, bool>,
    /// Orders that this run has placed.
    pub ordered: u64,
}

impl Archive {
    /// `order` is what is asked for where nobody has asked before.
    pub fn new(order: Thaw) -> Self {
        Self { order, readable: BTreeMap::new(), ordered: 0 }
    }

    /// Those of `packs` that cannot be read now, all of them ordered. A pack that the
    /// store does not have counts as readable: whoever reads it learns more.
    pub fn ask(
        &mut self,
        site: &mut Site<'_>,
        packs: &BTreeSet<PackId>,
    ) -> Result<Vec<PackId>, Error> {
        let unknown: Vec<PackId> =
            packs.iter().filter(|pack| !self.readable.contains_key(pack)).copied().collect();
        self.look(site, &unknown)?;
        let waits = |pack: &&PackId| self.readable.get(pack) == Some(&false);
        Ok(packs.iter().filter(waits).copied().collect())
    }

    fn look(&mut self, site: &mut Site<'_>, packs: &[PackId]) -> Result<(), Error> {
        let heads = side_by_side(site, packs, |store, pack| store.head(&pack_key(pack)));
        let now_ns = site.clock.now_ns();
        let (mut archived, mut thawing, mut thawed, mut free) = (vec![], vec![], vec![], vec![]);
        let mut under_way = vec![];
        for (pack, head) in heads {
            let info = match head {
                Ok(info) => info,
                Err(error) if error.is_not_found() => {
                    self.readable.insert(pack, true);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let known = site.state.thaw(pack)?;
            self.readable.insert(pack, info.access.is_readable());
            match info.access {
                Access::Now => {
                    free.extend(known.map(|_| pack));
                    site.state.note_pack_class(pack, info.storage_class.as_deref())?;
                }
                Access::Archived => {
                    archived.push((pack, info.storage_class, self.order_of(known.as_ref())));
                }
                Access::Thawing => {
                    if known.is_none() {
                        under_way.push((pack, info.storage_class, self.order));
                    }
                    thawing.push(pack);
                }
                Access::Thawed { until_ns } => {
                    if known.is_none() {
                        under_way.push((pack, info.storage_class, self.order));
                    }
                    thawed.push((pack, until_ns));
                }
            }
        }
        if !free.is_empty() {
            site.state.forget_thaws(&free)?;
        }
        if !under_way.is_empty() {
            // Somebody else has asked for them; it is written down all the same, for
            // those who wait.
            site.state.intend_thaws(&under_way, now_ns)?;
        }
        if !thawing.is_empty() {
            site.state.note_thawing(&thawing, now_ns)?;
        }
        if !thawed.is_empty() {
            site.state.note_thawed(&thawed, now_ns)?;
        }
        self.order_all(site, archived)
    }

    /// Asked for again as it was before, unless this run has other wishes.
    fn order_of(&self, known: Option<&ThawRow>) -> Thaw {
        match known {
            Some(row) if self.order == Thaw::default() => row.order,
            _ => self.order,
        }
    }

    fn order_all(
        &mut self,
        site: &mut Site<'_>,
        packs: Vec<(PackId, Option<String>, Thaw)>,
    ) -> Result<(), Error> {
        if packs.is_empty() {
            return Ok(());
        }
        site.state.intend_thaws(&packs, site.clock.now_ns())?;
        fault::point("thaw.intended");
        let orders: BTreeMap<PackId, Thaw> =
            packs.iter().map(|(pack, _, order)| (*pack, *order)).collect();
        let ids: Vec<PackId> = orders.keys().copied().collect();
        let answers =
            side_by_side(site, &ids, |store, pack| store.thaw(&pack_key(pack), orders[&pack]));
        fault::point("thaw.ordered");
        let (mut taken, mut refused, mut failure) = (vec![], vec![], None);
        let mut readable = vec![];
        for (pack, answer) in answers {
            match answer {
                Ok(Thawing::Ordered | Thawing::UnderWay) => taken.push(pack),
                Ok(Thawing::NotArchived) => {
                    self.readable.insert(pack, true);
                    readable.push((pack, None));
                }
                Err(error) => {
                    self.readable.remove(&pack);
                    refused.push(pack);
                    failure.get_or_insert(error);
                }
            }
        }
        self.ordered += taken.len() as u64;
        site.state.note_thawing(&taken, site.clock.now_ns())?;
        site.state.note_thawed(&readable, site.clock.now_ns())?;
        if !refused.is_empty() {
            site.state.forget_thaws(&refused)?;
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Of these packs, by their class or by an earlier order, those that may be
/// archived.
pub fn suspects(
    site: &Site<'_>,
    packs: &BTreeMap<PackId, bool>,
) -> Result<BTreeSet<PackId>, state::Error> {
    let mut suspects = BTreeSet::new();
    for (pack, archived) in packs {
        if *archived || site.state.thaw(*pack)?.is_some() {
            suspects.insert(*pack);
        }
    }
    Ok(suspects)
}

/// Asks for many at a time, in no order. A stop leaves out what was not asked yet.
fn side_by_side<T: Send>(
    site: &Site<'_>,
    packs: &[PackId],
    ask: impl Fn(&dyn store::Store, PackId) -> Result<T, store::Error> + Sync,
) -> Vec<(PackId, Result<T, store::Error>)> {
    let (next, answers) = (AtomicUsize::new(0), Mutex::new(vec![]));
    let (store, stop, errand) = (site.store, &site.stop, &site.errand);
    thread::scope(|scope| {
        for _ in 0..site.connections.clamp(1, packs.len().max(1)) {
            scope.spawn(|| {
                while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = match stop.requested() {
                        true => Err(stopped(store)),
                        false => errand.run(|| ask(store, *pack)),
                    };
                    answers.lock().expect("no holder panics").push((*pack, answer));
                }
            });
        }
    });
    answers.into_inner().expect("no asker panicked")
}

fn stopped(store: &dyn store::Store) -> store::Error {
    store::Error::new(ErrorKind::Stopped, "thaw", "", store.location())
}

/// How long these are typically awaited, for people.
pub fn typical(thaws: &[ThawRow]) -> Option<&'static str> {
    // The slowest decides: a deep archive before another, a cheap tier before a dear.
    let slowest = thaws.iter().max_by_key(|thaw| {
        let deep = thaw.class.as_deref() == Some("DEEP_ARCHIVE");
        let at = classes::Tier::ALL.iter().position(|tier| *tier == thaw.order.tier);
        (thaw.order.tier == classes::Tier::Bulk, deep, at)
    })?;
    Some(slowest.order.tier.typical(slowest.class.as_deref()))
}
