//! A recall where a guard watches the root: this process sends names, the guard
//! makes the files whole and records it ([`recall_requested`], on its side).

use super::target::Target;
use super::{Error, FileError, Options, RecallStats, batch};
use crate::os::file_ident;
use crate::os::relpath::RelPath;
use crate::os::tree::RootDir;
use crate::site::Site;
use crate::site::guard::{Failure, Recalled, ToRecall};
use crate::state::RootId;
use std::cell::RefCell;

/// Names in one request; a stop is heeded between two.
const REQUEST_FILES: usize = 256;

/// Has the guard recall the targets.
pub(super) fn run(
    site: &mut Site<'_>,
    root_id: RootId,
    root: &RootDir,
    targets: impl Iterator<Item = Result<Target, Error>>,
    options: Options,
) -> Result<RecallStats, Error> {
    let mut stats = RecallStats::default();
    let mut targets = targets.peekable();
    while targets.peek().is_some() && !site.stop.requested() {
        let next = targets.by_ref().take(REQUEST_FILES);
        let paths = next.map(|target| Ok(target?.path)).collect::<Result<_, Error>>()?;
        let Options { discard_local, thaw } = options;
        let work = ToRecall { paths, discard_local, thaw };
        let guard = site.guard.as_deref_mut().expect("who calls this has a guard");
        let done = guard.recall(root_id, &work)?;
        stats.files += done.files;
        stats.bytes += done.bytes;
        stats.already_resident += done.already_resident;
        stats.failed += done.failures.len() as u64;
        stats.waiting.extend(done.waiting);
        for failure in &done.failures {
            let path = failure.path.to_path(root.path());
            site.monitor.file_failed(&path, &failure.doing, &failure.error());
        }
        site.monitor.advance(done.files, done.bytes);
    }
    Ok(stats)
}

/// The guard's side: recalls what a run asks for, in this process. The guard
/// does one request of a root at a time, as a run does without it.
pub fn recall_requested(
    site: &mut Site<'_>,
    root_id: RootId,
    root: &RootDir,
    work: &ToRecall,
) -> Result<Recalled, Error> {
    let mut targets = Vec::with_capacity(work.paths.len());
    for path in &work.paths {
        // What is not there fails when it is opened.
        let row = match root.open_path(path).and_then(file_ident) {
            Ok(ident) => site.state.managed_by_ident(root_id, ident)?,
            Err(_) => None,
        };
        targets.push(Ok(Target { path: path.clone(), row }));
    }
    let failures = RefCell::new(vec![]);
    let tell = |path: &RelPath, error: &FileError| {
        failures.borrow_mut().push(Failure::new(path, "recall", error));
    };
    let options = Options { discard_local: work.discard_local, thaw: work.thaw };
    let stats = batch::run(site, root_id, root, targets.into_iter(), options, &tell)?;
    let RecallStats { files, bytes, already_resident, waiting, .. } = stats;
    Ok(Recalled { files, bytes, already_resident, waiting, failures: failures.into_inner() })
}
