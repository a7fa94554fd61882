//! What became of a tree between two points of its log.

use super::error::Result;
use super::nodes::RootRef;
use super::open::CatalogDb;
use super::versions::Version;
use std::ops::ControlFlow;

/// One path that is another now, or is new, or is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub before: Option<Version>,
    pub after: Option<Version>,
}

impl CatalogDb {
    /// Visits every path of which the log has said something after the segment
    /// `since`, in path order.
    pub fn changes(
        &self,
        root: &RootRef,
        since: u64,
        visit: &mut dyn FnMut(Change) -> ControlFlow<()>,
    ) -> Result<()> {
        let held = "((v.to_seq IS NULL AND v.from_seq > ?4)
                     OR (v.to_seq > ?4 AND v.from_seq <= ?4))";
        let mut half: Option<Version> = None;
        let mut stopped = false;
        self.ranges(root, b"", held, since as i64, &mut |version| {
            let before = half.take();
            let flow = match (before, version.to_seq.is_some()) {
                // The old version of a path comes right before its new one.
                (Some(before), false) if before.record.path == version.record.path => {
                    visit(Change { before: Some(before), after: Some(version) })
                }
                (before, ended) => {
                    let gone = before.map(|before| Change { before: Some(before), after: None });
                    let flow = gone.map_or(ControlFlow::Continue(()), &mut *visit);
                    match (flow, ended) {
                        (ControlFlow::Continue(()), true) => {
                            half = Some(version);
                            ControlFlow::Continue(())
                        }
                        (ControlFlow::Continue(()), false) => {
                            visit(Change { before: None, after: Some(version) })
                        }
                        (flow, _) => flow,
                    }
                }
            };
            stopped = flow.is_break();
            flow
        })?;
        if let Some(before) = half.filter(|_| !stopped) {
            let _ = visit(Change { before: Some(before), after: None });
        }
        Ok(())
    }
}
