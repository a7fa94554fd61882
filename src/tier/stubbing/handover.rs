//! Stubbing where a guard watches the root: this process decides, the guard does.
//!
//! What a run knows and the guard does not is the policy. So a run proves the
//! copies and judges each file as it is now, without opening it, and sends what
//! passed with the stamps it had. The guard ([`stub_requested`], on its side)
//! takes nothing else on trust: it proves and checks all over again at the
//! moment of action, and leaves a file alone whose stamps are others by then,
//! because nobody has judged that one.

use super::{BATCH_FILES, NotStubbed, Refusal, StubStats, Stubbing, Target};
use crate::ids::FileIdent;
use crate::os::relpath::RelPath;
use crate::os::stat::Stat;
use crate::os::tree::{RootDir, is_gone};
use crate::policy::FileState;
use crate::site::Site;
use crate::site::guard::{Failure, Stubbed, ToStub};
use crate::state::{ManagedRow, RootId};
use crate::tier::{Error, conditions};
use crate::units::Copies;
use std::cell::RefCell;
use std::collections::HashMap;

/// Has the guard stub what passes here.
pub(super) fn run(
    site: &mut Site<'_>,
    stubbing: &mut Stubbing<'_>,
    rows: impl Iterator<Item = Result<ManagedRow, Error>>,
) -> Result<(), Error> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() && !stubbing.is_over(site) {
        let mut files = vec![];
        for target in stubbing.gather(site, &mut rows, BATCH_FILES)? {
            match judged(stubbing, &target) {
                Ok(file) => files.push(file),
                Err(error) => stubbing.refuse(&target.row, &error),
            }
        }
        if files.is_empty() {
            continue;
        }
        let guard = site.guard.as_deref_mut().expect("who calls this has a guard");
        let done = guard.stub(stubbing.root_id, &files)?;
        count(site, stubbing, &done);
    }
    Ok(())
}

/// The file as the policy has judged it just now.
fn judged(stubbing: &Stubbing<'_>, target: &Target) -> Result<ToStub, NotStubbed> {
    let row = &target.row;
    let stat = match stubbing.root.stat(&row.path) {
        Ok(stat) => stat,
        Err(error) if is_gone(&error) => return Err(unchanged("it was deleted or renamed")),
        Err(source) => return Err(NotStubbed::Io { doing: "stat the file", source }),
    };
    require_recorded(&stat, row)?;
    conditions::mutable(&stat)?;
    let wanted = (stubbing.judge)(&row.path, &stat, row)?;
    let copy = target.copy.lock().expect("no holder panics");
    if copy.as_ref().is_none_or(|copy| copy.copies() < wanted) {
        return Err(Refusal::new(conditions::SECOND_COPY, "only one copy was looked for").into());
    }
    let Stat { size_bytes, mtime_ns, ctime_ns, .. } = stat;
    Ok(ToStub { ident: row.ident, size_bytes, mtime_ns, ctime_ns })
}

fn require_recorded(stat: &Stat, row: &ManagedRow) -> Result<(), NotStubbed> {
    match () {
        () if stat.ino != row.ident.ino => Err(unchanged("it was replaced")),
        () if stat.size_bytes != row.size_bytes => Err(unchanged("its size is another")),
        () if stat.mtime_ns != row.mtime_ns => Err(unchanged("it was written to")),
        () if stat.ctime_ns != row.ctime_ns => Err(unchanged("its metadata changed")),
        () => Ok(()),
    }
}

fn unchanged(why: &str) -> NotStubbed {
    Refusal::new(conditions::UNCHANGED, why).into()
}

fn count(site: &Site<'_>, stubbing: &mut Stubbing<'_>, done: &Stubbed) {
    let stats = &mut stubbing.stats;
    stats.files += done.files;
    stats.freed_bytes += done.freed_bytes;
    for (name, files) in &done.refused {
        *stats.refused.entry(conditions::named(name)).or_default() += files;
    }
    stats.failed += done.failures.len() as u64;
    for failure in &done.failures {
        let path = failure.path.to_path(stubbing.root.path());
        site.monitor.file_failed(&path, &failure.doing, &failure.error());
    }
    site.monitor.advance(done.files, done.freed_bytes);
}

/// The guard's side: stubs what a run asks for, in this process. The guard does
/// one request of a root at a time, as a run does without it.
pub fn stub_requested(
    site: &mut Site<'_>,
    root_id: RootId,
    root: &RootDir,
    files: &[ToStub],
) -> Result<Stubbed, Error> {
    let asked: HashMap<FileIdent, &ToStub> = files.iter().map(|file| (file.ident, file)).collect();
    let mut refused = 0;
    let mut rows = Vec::with_capacity(files.len());
    for file in files {
        match site.state.managed_by_ident(root_id, file.ident)? {
            Some(row) if row.state == FileState::Uploaded => rows.push(Ok(row)),
            _ => refused += 1,
        }
    }
    let judge = |_: &RelPath, _: &Stat, row: &ManagedRow| match asked.get(&row.ident) {
        Some(file) => as_judged(file, row),
        None => Err(Refusal::new(conditions::UNCHANGED, "nobody asked for it")),
    };
    let failures = RefCell::new(vec![]);
    let tell = |path: &RelPath, error: &NotStubbed| {
        if !matches!(error, NotStubbed::Refused(_)) {
            failures.borrow_mut().push(Failure::new(path, "stub", error));
        }
    };
    let mut stubbing = Stubbing::new(root_id, root, &judge, &tell, None);
    stubbing.run(site, rows.into_iter())?;
    let StubStats { files, freed_bytes, refused: by_name, .. } = stubbing.stats;
    let mut done = Stubbed { files, freed_bytes, ..Stubbed::default() };
    done.refused = by_name.into_iter().map(|(name, files)| (name.to_owned(), files)).collect();
    if refused > 0 {
        *done.refused.entry(conditions::UPLOADED.to_owned()).or_default() += refused;
    }
    done.failures = failures.into_inner();
    Ok(done)
}

/// The file itself is compared with its row, so the row is what has to be as it
/// was judged.
fn as_judged(file: &ToStub, row: &ManagedRow) -> Result<Copies, Refusal> {
    let judged = (file.size_bytes, file.mtime_ns, file.ctime_ns);
    if judged == (row.size_bytes, row.mtime_ns, row.ctime_ns) {
        // What the policy wants of the content the run has written into the state DB.
        return Ok(Copies::One);
    }
    Err(Refusal::new(conditions::UNCHANGED, "it is not as the policy judged it"))
}
