//! The log of this server: every segment that it wrote must be there, or a checkpoint
//! that stands for it. With the data, each is read and must follow the one before.

use super::{Error, Problem, Verifier};
use crate::site::{logs, segment_key};

impl Verifier<'_, '_> {
    pub(super) fn segments(&mut self) -> Result<(), Error> {
        let node = self.site.node_id;
        let written = self.site.state.log_head()?.next_seq - 1;
        let reader = self.site.log_reader();
        let faults = match self.options.data {
            Some(_) => logs::faults(&reader, node, written)?,
            None => logs::missing(&reader, node, written)?
                .into_iter()
                .map(|seq| logs::Fault { key: segment_key(node, seq), why: None })
                .collect(),
        };
        for fault in faults {
            self.problem(Problem::Log { key: fault.key, why: fault.why });
        }
        Ok(())
    }
}
