//! What was at each path over time, for whoever decides which versions end.

use super::error::{During, Result};
use super::mark::Marking;
use super::nodes::RootRef;
use crate::ids::NodeId;
use std::ops::ControlFlow;

/// The versions of one path, oldest first; at least one has ended and is not
/// expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// For [`Marking::end`].
    pub place: i64,
    pub path: Vec<u8>,
    pub spans: Vec<Span>,
}

/// A version, as far as its end is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from_seq: u64,
    /// The segment that ended it; `None` while it is current.
    pub to_seq: Option<u64>,
    /// When that was, by the writer's clock.
    pub to_ns: i64,
    pub expired: bool,
    pub size_bytes: u64,
    /// Equal for equal contents; `None` for what has none.
    pub content: Option<i64>,
    /// Its content was noted as needed.
    pub needed: bool,
}

const READING: &str = "reading what was at each path";

impl Marking<'_> {
    /// Visits the paths beneath a root at which a version has ended and is not
    /// expired.
    pub fn lives(
        &self,
        root: &RootRef,
        visit: &mut dyn FnMut(Life) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut select = self
            .db
            .conn
            .prepare_cached(
                "SELECT p.id, p.path, v.from_seq, v.to_seq, coalesce(v.to_ns, 0), v.expired,
                 v.size_bytes, v.content, EXISTS (SELECT 1 FROM content c
                 JOIN temp.mark_needed m ON m.content_id = c.content_id WHERE c.id = v.content)
                 FROM place p CROSS JOIN version v ON v.place = p.id
                 WHERE p.root = ?1 AND EXISTS (SELECT 1 FROM version e
                 WHERE e.place = p.id AND e.to_seq IS NOT NULL AND e.expired = 0)
                 ORDER BY p.id, v.from_seq",
            )
            .during(READING)?;
        let mut rows = select.query([root.id]).during(READING)?;
        let mut life: Option<Life> = None;
        while let Some(row) = rows.next().during(READING)? {
            let place: i64 = row.get(0).during(READING)?;
            if let Some(done) = life.take_if(|life| life.place != place)
                && visit(done)?.is_break()
            {
                return Ok(());
            }
            let read = || -> rusqlite::Result<Span> {
                Ok(Span {
                    from_seq: row.get::<_, i64>(2)? as u64,
                    to_seq: row.get::<_, Option<i64>>(3)?.map(|seq| seq as u64),
                    to_ns: row.get(4)?,
                    expired: row.get(5)?,
                    size_bytes: row.get::<_, i64>(6)? as u64,
                    content: row.get(7)?,
                    needed: row.get(8)?,
                })
            };
            let span = read().during(READING)?;
            match &mut life {
                Some(life) => life.spans.push(span),
                None => {
                    let path = row.get(1).during(READING)?;
                    life = Some(Life { place, path, spans: vec![span] });
                }
            }
        }
        match life {
            Some(last) => visit(last).map(drop),
            None => Ok(()),
        }
    }

    /// Number and time of each segment of a log, in order.
    pub fn segment_times(&self, node: NodeId) -> Result<Vec<(u64, i64)>> {
        let mut select = self
            .db
            .conn
            .prepare_cached(
                "SELECT s.seq, s.written_ns FROM segment s JOIN node n ON n.id = s.node
                 WHERE n.node_id = ?1 ORDER BY s.seq",
            )
            .during(READING)?;
        let rows = select
            .query_map([node.as_bytes()], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)));
        rows.and_then(Iterator::collect).during(READING)
    }
}
