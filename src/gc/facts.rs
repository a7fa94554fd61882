//! What a round must know beside the logs, and the moment at which it reads them.
//!
//! The order matters. The heads of the logs are listed first and the logs are read
//! then, so that what is read is at least what was there when the plan had been put;
//! the marking sees both in one moment and checks that it does. Another process may
//! forget a log of the shared local copy to read it anew: a moment in which it is not
//! all there counts for nothing.

use super::Error;
use crate::catalog::{CatalogDb, Marking};
use crate::ids::{NodeId, PackId};
use crate::manifest::keys;
use crate::monitor::Phase;
use crate::site::{Site, logs};
use crate::state::{self, PackStatus};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Notes what the store has and what this node needs, and forgets what was noted.
pub fn note(site: &Site<'_>, db: &mut CatalogDb) -> Result<(), Error> {
    db.forget_marks()?;
    site.monitor.begin(Phase::Collecting, 0, 0);
    let noted = db.note(|notes| {
        let mut failed = Ok(());
        site.store.list(keys::PACKS, None, &mut |object| {
            if let Some(pack) = keys::parse_pack_key(object.key.as_str())
                && failed.is_ok()
            {
                failed = notes.seen(pack, object.size_bytes, object.modified_ns);
                site.monitor.advance(1, object.size_bytes);
            }
        })?;
        failed.map_err(Error::from)
    });
    site.monitor.end();
    noted?;
    note_held(site, db)
}

/// Notes what this node needs whatever the logs say.
pub fn note_held(site: &Site<'_>, db: &mut CatalogDb) -> Result<(), Error> {
    db.note(|notes| {
        let mut unknown = vec![];
        let mut failed = Ok(());
        site.state.for_each_held_content(&mut |id| match notes.needs(id) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => {
                unknown.push(id);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        })?;
        failed?;
        for id in unknown {
            let Some((content, _)) = site.state.content(id)? else { continue };
            content.chunk_ids().try_for_each(|chunk| notes.needs_chunk(chunk))?;
        }
        bad_packs(site)?.into_iter().try_for_each(|pack| notes.bad(pack, None))?;
        Ok(())
    })
}

/// Packs of which this node knows that they are lost or damaged.
fn bad_packs(site: &Site<'_>) -> Result<Vec<PackId>, state::Error> {
    let mut bad = vec![];
    site.state.for_each_pack(&mut |row| {
        if matches!(row.status, PackStatus::Lost | PackStatus::Damaged) {
            bad.push(row.id);
        }
        ControlFlow::Continue(())
    })?;
    Ok(bad)
}

/// The last segment of each log, as a listing shows it.
pub type Heads = BTreeMap<NodeId, u64>;

/// Reads all that the logs have, on top of what is known of them.
pub fn read_logs(site: &Site<'_>, db: &mut CatalogDb) -> Result<Heads, Error> {
    let mut heads = Heads::new();
    site.store.list(keys::NODES, None, &mut |object| {
        if let Some((node, seq)) = keys::parse_segment_key(object.key.as_str()) {
            let head = heads.entry(node).or_default();
            *head = seq.max(*head);
        }
    })?;
    logs::sync(&site.log_reader(), db)?;
    Ok(heads)
}

/// The moment to decide in: the logs are at least as far as was listed.
pub fn moment<'db>(db: &'db mut CatalogDb, heads: &Heads) -> Result<Marking<'db>, Error> {
    let marking = db.marking()?;
    for (node, listed) in heads {
        let entered = head(&marking, *node)?;
        if entered < *listed {
            return Err(Error::Behind { node: *node, listed: *listed, entered });
        }
    }
    Ok(marking)
}

/// This node's own log ends where it has ended it.
pub fn check_own_end(site: &Site<'_>, marking: &Marking<'_>) -> Result<(), Error> {
    let written = site.state.log_head()?.next_seq - 1;
    let found = head(marking, site.node_id)?;
    if found == written { Ok(()) } else { Err(Error::OtherEnd { found, written }) }
}

fn head(marking: &Marking<'_>, node: NodeId) -> Result<u64, Error> {
    let nodes = marking.nodes()?;
    Ok(nodes.iter().find(|row| row.node == node).map_or(0, |row| row.head_seq))
}
