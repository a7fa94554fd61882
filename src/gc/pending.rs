//! A plan that waits for its end: whether its time has come, and for whom it waits.

use super::protocol::{Standing, holds_up};
use super::survey::nanos;
use super::{Error, Options};
use crate::catalog::{Marking, NodeRow};
use crate::manifest::Collection;
use crate::site::{Plans, Site, log};

/// Why a plan is not ended yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// It is too young.
    Settling { generation: u64, until_ns: i64 },
    /// These nodes have a session open and have not acknowledged it.
    Nodes { generation: u64, nodes: Vec<NodeRow> },
}

/// The plan without an end, if there is one.
pub fn find(site: &Site<'_>) -> Result<Option<Collection>, Error> {
    let Some(generation) = Plans::list(site.store)?.pending() else { return Ok(None) };
    Ok(Some(log::read_plan(site, generation)?))
}

/// Whether the plan is too young. Nothing is safer for it where listings show what is
/// there; where they may lag, as in a directory of a network file system, a plan must
/// be older than they do. A plan from the future is as old as its object.
pub fn settling(
    site: &Site<'_>,
    options: &Options<'_>,
    plan: &Collection,
) -> Result<Option<Waiting>, Error> {
    let now_ns = site.clock.now_ns();
    let mut put_ns = plan.written_ns;
    if put_ns > now_ns {
        put_ns = site.store.head(&log::collection_key(plan.generation))?.modified_ns;
    }
    let until_ns = put_ns.saturating_add(nanos(options.section.settle));
    let generation = plan.generation;
    Ok((now_ns < until_ns).then_some(Waiting::Settling { generation, until_ns }))
}

/// For whom the plan waits.
pub fn held_up(marking: &Marking<'_>, generation: u64) -> Result<Option<Waiting>, Error> {
    let nodes: Vec<NodeRow> =
        marking.nodes()?.into_iter().filter(|row| holds_up(standing(row), generation)).collect();
    Ok((!nodes.is_empty()).then_some(Waiting::Nodes { generation, nodes }))
}

/// What the log of a node says of it.
fn standing(row: &NodeRow) -> Standing {
    Standing { ack_gen: row.ack_gen, open: row.open_session.is_some(), fenced: row.fenced }
}
