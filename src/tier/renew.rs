//! Makes this server another node of its store.

use super::Error;
use crate::ids::NodeId;
use crate::site::{Site, catalog, log};

/// Whether a new log is a way out of what is wrong with the old one.
pub fn helps_against(error: &Error) -> bool {
    matches!(
        error,
        Error::OtherHost { .. }
            | Error::Retired { .. }
            | Error::Log(log::Error::Fenced { .. })
            | Error::Catalog(catalog::Error::Segment { .. })
    )
}

/// Gives the server a new id. Its log says nothing until the next run. The caller
/// holds the locks of all roots and of the catalog.
pub fn run(site: &mut Site<'_>) -> Result<NodeId, Error> {
    let node = NodeId::fresh();
    site.state.renew_node(node)?;
    site.node_id = node;
    Ok(node)
}
