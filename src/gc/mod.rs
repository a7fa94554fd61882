//! `hsm gc`: deletes from the store what nobody needs any more.
//!
//! No lock, no server: collectors and writers meet in the store alone. A collector
//! puts a *plan*, which condemns packs; a later run, when every writer that was at
//! work then has said that it knows, looks again, puts the plan's *end*, which says
//! what goes, and deletes that. docs/FORMATS.md has the protocol and why it is safe,
//! [`protocol`] its decisions, tests/gc_model.rs tries them out in every order.
//!
//! [`sweep`] ends the plan of an earlier run, [`round`] is a new one: [`expire`] says
//! which versions are needed no more, [`survey`] sorts the packs by what the catalog
//! has marked as needed, [`repack`] writes anew what is mostly dead ([`sparse`]), [`breaker`] stops
//! an unusual round, [`proof`] reads the other copy before one of two is given up, and
//! [`standing`] makes sure that this node knows what it has.
//!
//! Whatever cannot be read, is missing or contradicts stops a run before it has
//! decided anything: nothing is ever concluded from absence.

pub mod breaker;
pub mod expire;
mod facts;
mod pending;
mod preview;
mod proof;
pub mod protocol;
mod repack;
mod round;
mod second;
mod sparse;
mod standing;
mod survey;
mod sweep;

pub use pending::Waiting;
pub use preview::{PendingPlan, Preview, preview};
pub use round::Round;
pub use sparse::Sparse;
pub use standing::Doubt;
pub use survey::{Doomed, Survey};
pub use sweep::Swept;

use crate::catalog::{self, CatalogDb};
use crate::config::GcSection;
use crate::ids::NodeId;
use crate::policy::PolicySet;
use crate::site::{Site, checkpoint, log, logs};
use crate::{manifest, state, store};
use breaker::Share;
use std::path::PathBuf;

/// What stops a collection as a whole. Nothing is deleted that a plan's end has not
/// given up before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Logs(#[from] logs::Error),
    #[error(transparent)]
    Local(#[from] catalog::Error),
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error(transparent)]
    Format(#[from] manifest::Error),
    #[error("nothing is given up while the root {} is in doubt", path.display())]
    Root {
        path: PathBuf,
        #[source]
        doubt: Doubt,
    },
    #[error(
        "{:.1}% of the store would go ({} of {}), more than max_share ({most_pct}%)",
        share.pct(),
        crate::units::format_size(share.dead_bytes),
        crate::units::format_size(share.total_bytes)
    )]
    TooMuch { share: Share, most_pct: f64 },
    #[error("the store cannot refuse to replace an object: two collectors could not be told apart")]
    NoConditions,
    #[error("the store's listings do not show what was just written")]
    ListsLate,
    #[error("the clock of this server is {apart} {ahead} the store's: nothing has a known age")]
    Clocks { apart: String, ahead: &'static str },
    #[error(
        "the log of node {node} is known up to segment {entered}, and segment {listed} is there"
    )]
    Behind { node: NodeId, listed: u64, entered: u64 },
    #[error("the log in the store ends with segment {found}, and this server wrote {written}")]
    OtherEnd { found: u64, written: u64 },
}

/// What a collection goes by.
pub struct Options<'p> {
    pub section: &'p GcSection,
    pub policy: &'p PolicySet,
    /// A share of the store that a person has agreed to.
    pub confirmed_pct: Option<f64>,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collected {
    /// The plan of an earlier run that was ended.
    pub swept: Option<Swept>,
    /// The plan of an earlier run that waits: there was no new round.
    pub waiting: Option<Waiting>,
    pub round: Option<Round>,
    /// Bytes of objects that an earlier collection gave up and had not deleted.
    pub left_over_bytes: u64,
    /// Bytes of packs deleted from the second store.
    pub second_bytes: u64,
    /// Temporaries of writers that died.
    pub temporaries: u64,
}

/// Ends a plan of an earlier run, if its time has come, and does a new round, if no
/// plan is pending then.
///
/// Whoever calls has recovered the log (`tier::recover`) and holds the lock of the
/// catalog.
pub fn run(site: &mut Site<'_>, options: &Options<'_>) -> Result<Collected, Error> {
    standing::check_store(site, options)?;
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    let mut collected = Collected::default();
    if let Some(plan) = pending::find(site)? {
        collected.waiting = pending::settling(site, options, &plan)?;
        if collected.waiting.is_none() {
            match sweep::sweep(site, &mut db, &plan)? {
                Ok(swept) => collected.swept = Some(swept),
                Err(waiting) => collected.waiting = Some(waiting),
            }
        }
    }
    if collected.waiting.is_some() || site.stop.requested() {
        return Ok(collected);
    }
    standing::check_roots(site)?;
    let now_ns = standing::common_now_ns(site)?;
    let round = round::run(site, &mut db, options, now_ns)?;
    let wrote = round.expired_versions + round.repacked_packs > 0;
    collected.round = Some(round);
    collected.left_over_bytes = sweep::delete(site, &mut db)?;
    collected.second_bytes = second::sweep(site, &db, options, now_ns)?;
    match site.store.sweep(now_ns.saturating_sub(DAY_NS)) {
        Ok(swept) => collected.temporaries = swept.removed,
        // Some servers cannot tell what was left unfinished.
        Err(error) => site.monitor.notice(&format!("nothing unfinished was swept: {error}")),
    }
    if let Err(error) = checkpoint::write_if_due(site, wrote) {
        // The log says all of it.
        site.monitor.notice(&format!("no checkpoint was written: {error}"));
    }
    Ok(collected)
}

/// No living writer takes so long for one object.
const DAY_NS: i64 = 86_400_000_000_000;
