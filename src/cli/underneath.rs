//! Which lower room's error a command's error really is.
//!
//! Operations pass on what the store, the state DB or the logs told them; exit code
//! and hint are the same whichever operation it was.

use super::error::Error;
use crate::site::{log, logs, nodes, snapshots};
use crate::{adopt, export, gc, rebuild, recall, restore, state, store, tier, verify};

/// The store's own error.
pub fn store(error: &Error) -> Option<&store::Error> {
    match error {
        Error::Store(error)
        | Error::Tier(tier::Error::Store(error))
        | Error::Recall(recall::Error::Store(error))
        | Error::Adopt(adopt::Error::Store(error))
        | Error::Verify(verify::Error::Store(error))
        | Error::Collect(gc::Error::Store(error))
        | Error::Rebuild(rebuild::Error::Store(error))
        | Error::Nodes(nodes::Error::Store(error))
        | Error::Snapshot(snapshots::Error::Store(error)) => Some(error),
        error => match (logs(error), log(error)) {
            (Some(logs::Error::Store(error)), _) | (_, Some(log::Error::Store(error))) => {
                Some(error)
            }
            _ => None,
        },
    }
}

/// The state DB's own error.
pub fn state(error: &Error) -> Option<&state::Error> {
    match error {
        Error::State(error)
        | Error::Tier(tier::Error::State(error))
        | Error::Recall(recall::Error::State(error))
        | Error::Adopt(adopt::Error::State(error))
        | Error::Verify(verify::Error::State(error))
        | Error::Restore(restore::Error::State(error))
        | Error::Export(export::Error::State(error))
        | Error::Collect(gc::Error::State(error))
        | Error::Rebuild(rebuild::Error::State(error))
        | Error::Snapshot(snapshots::Error::State(error)) => Some(error),
        error => match log(error) {
            Some(log::Error::State(error)) => Some(error),
            _ => None,
        },
    }
}

/// What reading the logs of the store's nodes ran into.
pub fn logs(error: &Error) -> Option<&logs::Error> {
    match error {
        Error::Logs(error)
        | Error::Tier(tier::Error::Catalog(error))
        | Error::Recall(recall::Error::Catalog(error))
        | Error::Adopt(adopt::Error::Catalog(error))
        | Error::Verify(verify::Error::Catalog(error))
        | Error::Restore(restore::Error::Catalog(error))
        | Error::Export(export::Error::Catalog(error))
        | Error::Collect(gc::Error::Logs(error))
        | Error::Rebuild(rebuild::Error::Logs(error))
        | Error::Nodes(nodes::Error::Logs(error))
        | Error::Snapshot(snapshots::Error::Logs(error)) => Some(error),
        _ => None,
    }
}

/// What writing this node's own log ran into.
pub fn log(error: &Error) -> Option<&log::Error> {
    match error {
        Error::Tier(tier::Error::Log(error))
        | Error::Verify(verify::Error::Log(error))
        | Error::Collect(gc::Error::Log(error))
        | Error::Rebuild(rebuild::Error::Log(error))
        | Error::Nodes(nodes::Error::Log(error))
        | Error::Snapshot(snapshots::Error::Log(error)) => Some(error),
        _ => None,
    }
}
