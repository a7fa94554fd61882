//! What a round finds: which versions end, which packs nobody needs, which are mostly
//! dead, and what lies about. Nothing is written.

use super::expire::{Keep, Times, ending};
use super::second::Twice;
use super::sparse::{Sieve, Sparse};
use super::{Error, Options, breaker::Share};
use crate::catalog::{Life, LoosePack, Marked, Marking, Span};
use crate::ids::PackId;
use crate::manifest::{Name, Record, collection};
use crate::site::Site;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Versions that end in one round at most; the others do in the next.
const MOST_ENDING: usize = 2_000_000;

/// A pack that nothing is needed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doomed {
    pub id: PackId,
    /// In the store.
    pub bytes: u64,
    /// Something in it is needed, and another pack holds it.
    pub is_double: bool,
}

/// What a round finds.
#[derive(Debug, Default)]
pub struct Survey {
    /// Packs and bytes in the store.
    pub total_packs: u64,
    pub total_bytes: u64,
    pub doomed: Vec<Doomed>,
    /// The emptiest first.
    pub sparse: Vec<Sparse>,
    /// Objects that no log names and that are old enough.
    pub unnamed: Vec<LoosePack>,
    /// Chunks that are needed and in no pack.
    pub lost_chunks: u64,
}

impl Survey {
    /// What of the store would be gone, without what only lies about since an
    /// earlier collection.
    pub fn share(&self) -> Share {
        let doomed: u64 = self.doomed.iter().map(|pack| pack.bytes).sum();
        let unnamed: u64 = self.unnamed.iter().map(|pack| pack.size_bytes).sum();
        let thinned = self.sparse.iter().map(|pack| pack.bytes.saturating_sub(pack.held_bytes));
        let dead_bytes = doomed + unnamed + thinned.sum::<u64>();
        Share { total_bytes: self.total_bytes, dead_bytes }
    }

    /// The packs of a plan, and their bytes.
    pub fn condemned(&self) -> (Vec<PackId>, u64) {
        let doomed = self.doomed.iter().map(|pack| (pack.id, pack.bytes));
        let unnamed = self.unnamed.iter().map(|pack| (pack.id, pack.size_bytes));
        let all = doomed.chain(unnamed).take(collection::MAX_PACKS);
        let (mut packs, mut bytes) = (vec![], 0);
        for (pack, size_bytes) in all {
            packs.push(pack);
            bytes += size_bytes;
        }
        (packs, bytes)
    }
}

/// Ends in `marking` what is needed no more; the records that say so.
pub fn end_versions(
    site: &Site<'_>,
    marking: &Marking<'_>,
    options: &Options<'_>,
) -> Result<Vec<Record>, Error> {
    let node = site.node_id;
    let snapshots = marking.snapshots(node)?.into_iter().map(|row| row.seq).collect();
    let grace_ns = nanos(options.section.grace_in_force());
    let now_ns = site.clock.now_ns();
    let times = Times::new(now_ns, grace_ns, marking.segment_times(node)?, snapshots);
    let mut records = vec![];
    for root in marking.roots(node)? {
        let name = Name::from_bytes(&root.path);
        let path = Path::new(OsStr::from_bytes(&root.path));
        marking.lives(&root, &mut |life: Life| {
            let keep = |span: &Span| {
                let kept = options.policy.retention(path, &life.path, span.size_bytes);
                Keep { versions: kept.keep_versions, for_ns: nanos(kept.keep_for) }
            };
            for from_seq in ending(&life, &times, &keep) {
                marking.end(life.place, from_seq)?;
                let path = Name::from_bytes(&life.path);
                records.push(Record::Expired { root: name.clone(), path, from_seq });
            }
            let go_on = records.len() < MOST_ENDING && !site.stop.requested();
            Ok(if go_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
    }
    Ok(records)
}

/// Sorts the packs; of those in `twice` only what nobody needs anything of goes.
/// `common_now_ns` is no later than the store's own time.
pub fn survey(
    site: &Site<'_>,
    marked: &Marked<'_>,
    twice: &Twice,
    options: &Options<'_>,
    common_now_ns: i64,
) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    let mut sieve = Sieve::new(site.node_id, options.section);
    marked.packs(&mut |pack| {
        let bytes = pack.stored_bytes.unwrap_or(0);
        survey.total_packs += u64::from(pack.stored_bytes.is_some());
        survey.total_bytes += bytes;
        if pack.held_chunks == 0 && !pack.in_session {
            let is_double = pack.live_chunks > 0;
            if !(is_double && twice.may_have(pack.id)) {
                survey.doomed.push(Doomed { id: pack.id, bytes, is_double });
            }
        } else if !twice.may_have(pack.id) {
            sieve.add(pack);
        }
        ControlFlow::Continue(())
    })?;
    survey.sparse = sieve.chosen();
    let min_age_ns = nanos(options.section.min_age);
    let mut unnamed = vec![];
    marked.unnamed(&mut |loose| {
        survey.total_packs += 1;
        survey.total_bytes += loose.size_bytes;
        let is_old = common_now_ns.saturating_sub(loose.modified_ns) >= min_age_ns;
        unnamed.extend(is_old.then_some(loose));
        ControlFlow::Continue(())
    })?;
    for loose in unnamed {
        // One that this node has sent, or is about to name, is its own to clear up.
        if site.state.pack(loose.id)?.is_none() {
            survey.unnamed.push(loose);
        }
    }
    marked.unheld(&mut |_, _| {
        survey.lost_chunks += 1;
        ControlFlow::Continue(())
    })?;
    Ok(survey)
}

/// As times are kept.
pub fn nanos(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
