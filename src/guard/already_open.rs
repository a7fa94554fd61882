//! What was open before the guard came.
//!
//! A descriptor or a mapping that a program had of a stub before the mark was
//! set raises no event, ever: what it reads are zeros, and nothing can be done
//! but to tell. A file system that is mounted by the guard has none.

use super::watched::Root;
use crate::os::open_stubs::{Held, open_stubs};
use crate::os::xattrs;
use std::sync::Arc;

/// Logs each of them.
pub fn report(roots: &[Arc<Root>]) {
    let devices: Vec<u64> = roots.iter().map(|root| root.dev()).collect();
    let is_ours = |dev: u64| devices.contains(&dev);
    match open_stubs(&is_ours, xattrs::TRUSTED_MARKER) {
        Ok(open) => {
            for open in open.found {
                let program = open.exe.unwrap_or_default();
                let how = match open.how {
                    Held::Descriptor(_) => "has it open",
                    Held::Mapping => "has it mapped",
                };
                tracing::warn!(
                    pid = open.pid, program = %program.display(), path = %open.path.display(),
                    "a stub is in use since before the guard came: this program {how} and reads \
                     zeros until it opens the file again"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "cannot look for stubs that are open already"),
    }
}
