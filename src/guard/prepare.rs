//! Everything that has to be so before a guard watches: the file systems are fit
//! for it, the group is there, the marks are set.
//!
//! A file system that the guard mounts itself is marked while it is still
//! detached (fsmount(2)) and only then attached: no program can open a stub of
//! it before the mark. On one that is mounted already there is a time before
//! the mark; what was opened in it is reported ([`super::already_open`]).

use super::keeper::{Error, GROUP, Keeper, SLOTS};
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
    let (group, slots) = kept_or_new()?;
    let group = Arc::new(group);
    for mount in &task.mounts {
        mount_watched(&group, mount)?;
    }
    for row in &task.roots {
        mark_root(&group, row).map_err(|source| Error::Mark { path: row.path.clone(), source })?;
    }
    let listener = local_socket::listen(&task.section.run_dir, SOCKET)
        .map_err(Error::io("listen on the guard's socket"))?;
    let Task { roots, section, clock, .. } = task;
    let keeper = Keeper { group, slots, listener, roots, section, clock };
    keeper.deposit();
    Ok(keeper)
}

/// The group and the table that the service manager kept, if it did: events may
/// be waiting in them.
fn kept_or_new() -> Result<(Group, Slots), Error> {
    let mut stored =
        service_manager::stored().map_err(Error::io("take over what the service manager kept"))?;
    let mut take = |wanted: &str| -> Option<OwnedFd> {
        let at = stored.iter().position(|(name, _)| name == wanted)?;
        Some(stored.swap_remove(at).1)
    };
    let (group, table) = (take(GROUP), take(SLOTS));
    let slots = match table {
        Some(table) => SlotTable::adopt(table),
        None => SlotTable::create(MOST_WAITING),
    };
    let slots = Slots(Arc::new(slots.map_err(Error::io("make the table of waiting programs"))?));
    let group = match group {
        Some(group) => Group::from_fd(group),
        None => Group::new().map_err(Error::io("make a fanotify group"))?,
    };
    Ok((group, slots))
}

fn mount_watched(group: &Group, wanted: &NewMount) -> Result<(), Error> {
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
    mount.attach(&wanted.target).map_err(Error::io("attach the mount"))
}
