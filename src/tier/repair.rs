//! Uploads files again whose copy was found bad while their bytes are local.

use super::plan::state_of;
use super::rescan::open_root;
use super::upload::{self, How, Request};
use super::{Error, recover};
use crate::chunk::{self, Chunking};
use crate::monitor::Phase;
use crate::os::relpath::RelPath;
use crate::policy::FileState;
use crate::site::Site;
use crate::state::{RootId, RootRow};
use std::sync::Arc;

/// Uploads `files` and returns how many have a good copy now. Their chunks are
/// no longer offered by the damaged packs, so the bytes are really sent.
pub fn run(
    site: &mut Site<'_>,
    roots: &[RootRow],
    files: &[(RootId, RelPath)],
    chunking: Chunking,
) -> Result<u64, Error> {
    if files.is_empty() {
        return Ok(0);
    }
    recover::recover_store(site)?;
    let how = How {
        rule: None,
        storage_class: None,
        chunking,
        level: chunk::DEFAULT_LEVEL,
        dedup: true,
        // The next run of the policy makes those that are wanted.
        copies: crate::units::Copies::One,
    };
    let how = Arc::new(how);
    let mut repaired = 0;
    for row in roots {
        let root = open_root(row)?;
        let mut requests = vec![];
        for (_, path) in files.iter().filter(|(id, _)| *id == row.id) {
            let Some(entry) = site.state.entry_at(row.id, path)? else { continue };
            if state_of(&entry) != FileState::Damaged {
                continue;
            }
            let (path, how) = (path.clone(), Arc::clone(&how));
            let (ino, size_bytes, mtime_ns) = (entry.ino, entry.size_bytes, entry.mtime_ns);
            requests.push(Ok(Request { path, ino, size_bytes, mtime_ns, how }));
        }
        site.monitor.begin(Phase::Uploading, requests.len() as u64, 0);
        let stats = upload::run(site, row.id, &root, requests.into_iter(), &|_, _| false);
        site.monitor.end();
        repaired += stats?.files;
    }
    Ok(repaired)
}
