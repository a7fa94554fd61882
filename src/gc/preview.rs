//! What a run would do, for `--dry-run`. Nothing is written but the local copy of the
//! catalog.

use super::second::Twice;
use super::standing::check_roots;
use super::survey::{Survey, end_versions, survey};
use super::{Error, Options, Waiting, facts, pending};
use crate::catalog::CatalogDb;
use crate::site::Site;

/// What a run would find.
#[derive(Debug)]
pub struct Preview {
    /// A plan of an earlier run, which must end first.
    pub pending: Option<PendingPlan>,
    /// Versions that would expire.
    pub ending_versions: u64,
    pub survey: Survey,
}

/// A plan that waits for its end.
#[derive(Debug)]
pub struct PendingPlan {
    pub generation: u64,
    pub packs: u64,
    /// `None` where nothing keeps it from its end.
    pub waiting: Option<Waiting>,
}

pub fn preview(site: &Site<'_>, options: &Options<'_>) -> Result<Preview, Error> {
    check_roots(site)?;
    let mut db = CatalogDb::open(&site.catalog_path(), site.store_id)?;
    facts::note(site, &mut db)?;
    let heads = facts::read_logs(site, &mut db)?;
    let pending = match pending::find(site)? {
        None => None,
        Some(plan) => {
            let (generation, packs) = (plan.generation, plan.packs.len() as u64);
            let marking = facts::moment(&mut db, &heads)?;
            let waiting = match pending::settling(site, options, &plan)? {
                Some(waiting) => Some(waiting),
                None => pending::held_up(&marking, generation)?,
            };
            Some(PendingPlan { generation, packs, waiting })
        }
    };
    let marking = facts::moment(&mut db, &heads)?;
    let ending = end_versions(site, &marking, options)?;
    let survey = survey(site, &marking.mark()?, &Twice::look(site), options, site.clock.now_ns())?;
    Ok(Preview { pending, ending_versions: ending.len() as u64, survey })
}
