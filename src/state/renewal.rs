//! Going on under another node id: what the old log said is said again in a new one.
//!
//! For a server whose log somebody else continues (a clone), or another ended, or
//! that cannot be read any more. Packs and copies stay what they are; only where they
//! are catalogued is forgotten, so that the next run writes a record of every file and
//! every pack into the new log and sends no data. No plan of a garbage collection
//! counts as acknowledged: the new log has not said that it refers to nothing in it.

use super::collections::OPEN_SESSION;
use super::error::{During, Result};
use super::open::StateDb;
use crate::ids::NodeId;

const RENEWING: &str = "taking another node id";

impl StateDb {
    /// This server is `node` from now on, whose log has nothing yet. Durable on
    /// return.
    pub fn renew_node(&mut self, node: NodeId) -> Result<()> {
        self.write_durably(RENEWING, |tx| {
            tx.execute("UPDATE meta SET node_id = ?1", [node.as_bytes()]).during(RENEWING)?;
            for sql in [
                "DELETE FROM segment",
                "DELETE FROM session",
                "DELETE FROM special",
                "UPDATE dir SET catalogued_ctime_ns = NULL",
                "UPDATE file SET segment_seq = NULL",
                "UPDATE pack SET segment_seq = NULL WHERE node_id IS NULL",
                // Whatever is wrong may be wrong with them: they are asked for.
                "UPDATE pack SET seen_ns = 0 WHERE seen_ns IS NOT NULL",
                // A log that never had a path need not say that it is gone.
                "UPDATE gone SET segment_seq = 0 WHERE segment_seq IS NULL",
                "UPDATE collection SET acknowledged = 0",
            ] {
                tx.execute(sql, []).during(RENEWING)?;
            }
            tx.execute(
                "DELETE FROM setting WHERE key IN (?1, 'catalog.checkpoint')",
                [OPEN_SESSION],
            )
            .during(RENEWING)?;
            Ok(())
        })?;
        self.set_node(node);
        Ok(())
    }
}
