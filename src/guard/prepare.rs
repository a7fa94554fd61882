//! Everything that has to be so before a guard watches: the file systems are fit
//! for it, the group is there, the marks are set.
//!
//! A file system that the guard mounts itself is marked while it is still
//! detached (fsmount(2)) and only then attached: no program can open a stub of
//! it before the mark. On one that is mounted already there is a time before
//! the mark; what was opened in it is reported ([`super::already_open`]).

use super::keeper::{Attached, Error, GROUP, Keeper, SLOTS};
use super::protocol::SOCKET;
use super::slots::Slots;
use super::watched::{mark_file_system, mark_root};
use crate::clock::Clock;
use crate::config::GuardSection;
use crate::os::fanotify::Group;
use crate::os::new_mount::{self, DetachedMount};
use crate::os::slots::SlotTable;
use crate::os::{local_socket, mount_options, service_manager};
use crate::state::RootRow;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

/// Programs whose wait survives a guard's death; more wait as long, but are
/// denied if it dies.
const MOST_WAITING: usize = 4096;

/// A file system to be mounted by the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMount {
    /// A block device, or `UUID=` or `LABEL=` as in fstab(5).
    pub source: PathBuf,
    pub target: PathBuf,
    /// Found out from the device if not said.
    pub fs_type: Option<String>,
    /// As in fstab(5): `noatime,nodev`.
    pub options: String,
}

/// Whether the service manager holds a group for this process: programs may be
/// waiting.
pub fn is_expected() -> bool {
    service_manager::holds_something()
}

/// What a guard is to do.
pub struct Task {
    pub roots: Vec<RootRow>,
    pub mounts: Vec<NewMount>,
    pub section: GuardSection,
    pub clock: Clock,
}

/// Mounts, marks, and makes what a keeper keeps. The marks are set when it
/// returns, and every program that opens a file there waits until
/// [`super::keeper::keep`] runs.
pub fn prepare(task: Task) -> Result<Keeper, Error> {
    let (group, slots, inherited) = kept_or_new()?;
    let mut attached = Attached::default();
    let prepared = prepare_with(&group, &task, inherited, &mut attached);
    let listener = prepared.inspect_err(|_| attached.detach())?;
    let Task { roots, section, clock, .. } = task;
    Ok(Keeper { group, slots, listener, roots, section, clock, inherited, attached })
}

fn prepare_with(
    group: &Arc<Group>,
    task: &Task,
    inherited: bool,
    attached: &mut Attached,
) -> Result<UnixListener, Error> {
    if inherited {
        // A run without a guard may have made stubs of files that were ignored.
        group.heed_every_file().map_err(Error::io("watch every file again"))?;
    }
    let listener = local_socket::listen(&task.section.run_dir, SOCKET)
        .map_err(Error::io("listen on the guard's socket"))?;
    // All of them are marked before any can be seen.
    let detached: Vec<_> =
        task.mounts.iter().map(|mount| mount_watched(group, mount)).collect::<Result<_, _>>()?;
    for (mount, wanted) in detached.iter().zip(&task.mounts) {
        mount.attach(&wanted.target).map_err(Error::io("attach the mount"))?;
        attached.0.push(wanted.target.clone());
    }
    drop(detached);
    let mut failed = None;
    let mut marked = 0;
    for row in &task.roots {
        match mark_root(group, row) {
            Ok(_) => marked += 1,
            Err(source) => {
                let root = row.path.display();
                tracing::warn!(%root, error = %source, "not watched until it is there");
                failed.get_or_insert(Error::Mark { path: row.path.clone(), source });
            }
        }
    }
    match failed {
        // Programs may be waiting in a group that was kept: it is served.
        Some(error) if marked == 0 && !inherited => Err(error),
        _ => Ok(listener),
    }
}

/// The group and the table that the service manager kept, if it did: events may
/// be waiting in them. Without its table a group can still be served: whoever
/// waits is denied.
fn kept_or_new() -> Result<(Arc<Group>, Slots, bool), Error> {
    let mut stored =
        service_manager::stored().map_err(Error::io("take over what the service manager kept"))?;
    let mut take = |wanted: &str| -> Option<OwnedFd> {
        let at = stored.iter().position(|(name, _)| name == wanted)?;
        Some(stored.swap_remove(at).1)
    };
    let (group, table) = (take(GROUP), take(SLOTS));
    let adopted = table.filter(|_| group.is_some()).map(SlotTable::adopt);
    let adopted = adopted.and_then(|table| {
        table.inspect_err(|error| tracing::warn!(%error, "a kept table cannot be read")).ok()
    });
    let slots = match adopted {
        Some(table) => table,
        None => SlotTable::create(MOST_WAITING)
            .map_err(Error::io("make the table of waiting programs"))?,
    };
    let inherited = group.is_some();
    let group = match group {
        Some(group) => Group::from_fd(group),
        None => Group::new().map_err(Error::io("make a fanotify group"))?,
    };
    Ok((Arc::new(group), Slots(Arc::new(slots)), inherited))
}

fn mount_watched(group: &Group, wanted: &NewMount) -> Result<DetachedMount, Error> {
    let source = new_mount::resolve(&wanted.source);
    let fs_type = match &wanted.fs_type {
        Some(fs_type) => fs_type.clone(),
        None => new_mount::fs_type_of_device(&source)
            .map_err(Error::io("read the device"))?
            .ok_or_else(|| Error::io("tell the file system")(io::ErrorKind::Unsupported.into()))?
            .to_owned(),
    };
    let options = mount_options::parse(&wanted.options);
    let mount =
        DetachedMount::create(&source, &fs_type, &options).map_err(Error::io("make the mount"))?;
    mark_file_system(group, mount.dir()).map_err(Error::io("mark the file system"))?;
    Ok(mount)
}
