//! A new round: what is needed no more is written into the log, what is mostly dead is
//! written anew, and what then nobody needs is condemned.
//!
//! Everything is looked at before anything is written, so that an unusual round is
//! refused whole. Then this node's session: which versions ended, and the packs that
//! were made. Only what the logs say after that decides what the plan condemns; a
//! crash before it leaves versions that are expired and packs that are named.

use super::breaker::Share;
use super::proof::prove_doubles;
use super::protocol::{Step, next_step};
use super::repack::{Repacked, repack};
use super::second::Twice;
use super::sparse::Sparse;
use super::survey::{Survey, end_versions, survey};
use super::sweep::put_new;
use super::{Error, Options, facts};
use crate::catalog::{CatalogDb, Marked};
use crate::fault;
use crate::manifest::{Collection, Record};
use crate::site::{CatalogLog, Plans, Site, log};
use std::collections::HashSet;

/// Copies that turned out bad make others needed; so often that is followed up.
const MOST_PROOFS: usize = 8;

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Round {
    pub expired_versions: u64,
    /// Old packs that were written anew, and the bytes carried over.
    pub repacked_packs: u64,
    pub carried_bytes: u64,
    /// The plan that was put; `None` where there was nothing to condemn.
    pub generation: Option<u64>,
    pub condemned_packs: u64,
    pub condemned_bytes: u64,
    /// The part of the store that it would take.
    pub share_pct: f64,
    /// Another collector has put a plan meanwhile: it was faster.
    pub outrun: bool,
    pub lost_chunks: u64,
}

/// `now_ns` is no later than the store's own time.
pub fn run(
    site: &mut Site<'_>,
    db: &mut CatalogDb,
    options: &Options<'_>,
    now_ns: i64,
) -> Result<Round, Error> {
    let mut round = Round::default();
    let twice = Twice::look(site);
    facts::note(site, db)?;
    let heads = facts::read_logs(site, db)?;
    let (share, repacked) = {
        let marking = facts::moment(db, &heads)?;
        facts::check_own_end(site, &marking)?;
        let ended = end_versions(site, &marking, options)?;
        let marked = marking.mark()?;
        let found = survey(site, &marked, &twice, options, now_ns)?;
        let share = admitted(found.share(), options)?;
        (round.expired_versions, round.lost_chunks) = (ended.len() as u64, found.lost_chunks);
        if site.stop.requested() {
            return Ok(round);
        }
        (share, write(site, &marked, &ended, &found.sparse)?)
    };
    round.share_pct = share.pct();
    let Some(repacked) = repacked else {
        round.outrun = true;
        return Ok(round);
    };
    (round.repacked_packs, round.carried_bytes) = (repacked.packs, repacked.carried_bytes);
    if !site.stop.requested() {
        let found = look_again(site, db, options, now_ns, &repacked)?;
        condemn(site, &found, &repacked, share.total_bytes, options, &mut round)?;
    }
    Ok(round)
}

/// The share itself, where the breaker lets it pass.
fn admitted(share: Share, options: &Options<'_>) -> Result<Share, Error> {
    let most_pct = options.section.max_share_pct;
    if share.is_admitted(most_pct, options.confirmed_pct) {
        return Ok(share);
    }
    Err(Error::TooMuch { share, most_pct })
}

/// This node's session, if it has anything to say. `None` where another collector
/// turned out to have put a plan: nothing was written but the session itself.
fn write(
    site: &mut Site<'_>,
    marked: &Marked<'_>,
    ended: &[Record],
    sparse: &[Sparse],
) -> Result<Option<Repacked>, Error> {
    if ended.is_empty() && sparse.is_empty() {
        return Ok(Some(Repacked::default()));
    }
    let mut log = CatalogLog::open(site)?;
    let begun = log.begin(site)?;
    log::note(site, begun)?;
    log.look(site)?;
    log.acknowledge(site)?;
    let mut repacked = None;
    if !site.state.any_condemned()? {
        log::append_all(site, &mut log, ended)?;
        fault::point("gc.expired");
        repacked = Some(repack(site, marked, sparse)?);
        fault::point("gc.repacked");
    }
    log::name_packs(site, &mut log)?;
    let closed = log.close(site)?;
    log::note(site, closed)?;
    fault::point("gc.written");
    Ok(repacked)
}

/// What nobody needs by what the logs say now; every other copy of what is needed of
/// it has been read.
fn look_again(
    site: &Site<'_>,
    db: &mut CatalogDb,
    options: &Options<'_>,
    now_ns: i64,
    repacked: &Repacked,
) -> Result<Survey, Error> {
    db.note(|notes| {
        for pack in &repacked.made {
            // Proven when it was put.
            let Some(row) = site.state.pack(*pack)? else { continue };
            notes.seen(*pack, row.size_bytes, now_ns)?;
        }
        Ok::<_, Error>(())
    })?;
    let twice = Twice::look(site);
    facts::note_held(site, db)?;
    let heads = facts::read_logs(site, db)?;
    let made: HashSet<_> = repacked.made.iter().copied().collect();
    for last in (0..MOST_PROOFS).map(|nth| nth + 1 == MOST_PROOFS) {
        let (mut found, proof) = {
            let marking = facts::moment(db, &heads)?;
            facts::check_own_end(site, &marking)?;
            let marked = marking.mark()?;
            let found = survey(site, &marked, &twice, options, now_ns)?;
            let proof = prove_doubles(site, &marked, &found.doomed, &made)?;
            (found, proof)
        };
        if proof.bad.is_empty() || last {
            let all_proven = proof.bad.is_empty();
            found.doomed.retain(|pack| {
                !pack.is_double || (all_proven && !proof.unproven.contains(&pack.id))
            });
            return Ok(found);
        }
        db.note(|notes| {
            proof.bad.iter().try_for_each(|(pack, chunk)| notes.bad(*pack, Some(*chunk)))
        })?;
    }
    unreachable!("the last proof returns")
}

/// Puts the plan.
fn condemn(
    site: &mut Site<'_>,
    found: &Survey,
    repacked: &Repacked,
    total_bytes: u64,
    options: &Options<'_>,
    round: &mut Round,
) -> Result<(), Error> {
    let (packs, bytes) = found.condemned();
    if packs.is_empty() {
        return Ok(());
    }
    let dead_bytes = bytes.saturating_sub(repacked.carried_bytes);
    round.share_pct = admitted(Share { total_bytes, dead_bytes }, options)?.pct();
    let Step::Condemn(generation) = next_step(&Plans::list(site.store)?) else {
        round.outrun = true;
        return Ok(());
    };
    let condemned_packs = packs.len() as u64;
    let plan = Collection {
        store: site.store_id,
        node: site.node_id,
        generation,
        written_ns: site.clock.now_ns(),
        packs,
    };
    fault::point("gc.before-plan");
    if !put_new(site, &log::collection_key(generation), plan.encode())? {
        round.outrun = true;
        return Ok(());
    }
    fault::point("gc.plan-put");
    (round.condemned_packs, round.condemned_bytes) = (condemned_packs, bytes);
    round.generation = Some(generation);
    // This node's own uploads rely on none of it from now on.
    log::look(site)?;
    Ok(())
}
