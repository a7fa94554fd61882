//! The file systems and roots that a guard watches.
//!
//! For each root it has a mount of its own that nobody else can see. What is
//! opened through it raises no event, so the guard never waits for itself, and
//! the visible mount can be unmounted as if there were no guard. Other `hsm`
//! processes get a descriptor of it (see [`super::client`]).

use crate::os::fanotify::Group;
use crate::os::handle::Handle;
use crate::os::mounts;
use crate::os::private_mount::PrivateMount;
use crate::os::tree::RootDir;
use crate::state::{RootId, RootRow};
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// A root and the mount through which the guard works on it.
pub struct Root {
    pub row: RootRow,
    private: PrivateMount,
    /// The type and the source of its mount.
    mounted: (String, std::ffi::OsString),
    /// Reads on open files are seen, not only opens.
    pre_access: AtomicBool,
}

impl Root {
    /// Opens the guard's own way to a root.
    pub fn open(row: &RootRow) -> io::Result<Self> {
        let mount = mounts::facts(&row.path)?.mount;
        let private = PrivateMount::clone_of(&row.path)?;
        let pre_access = AtomicBool::new(false);
        Ok(Self { row: row.clone(), private, mounted: (mount.fs_type, mount.source), pre_access })
    }

    /// Marks the file system; where the kernel knows no events before a read,
    /// its opens alone.
    pub fn mark(&self, group: &Group) -> io::Result<()> {
        group.ignore_mount(self.private.dir())?;
        let reads_seen = mark_file_system(group, self.private.dir())?;
        self.pre_access.store(reads_seen, Ordering::Relaxed);
        Ok(())
    }

    pub fn dir(&self) -> BorrowedFd<'_> {
        self.private.dir()
    }

    pub fn dev(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(self.private.dir())?.st_dev)
    }

    pub fn watches_reads(&self) -> bool {
        self.pre_access.load(Ordering::Relaxed)
    }

    /// Whether programs can reach its files: the file system is still mounted.
    pub fn is_visible(&self) -> bool {
        let same = |mount: &mounts::Mount| {
            (&mount.fs_type, &mount.source) == (&self.mounted.0, &self.mounted.1)
        };
        // What cannot be told counts as mounted.
        mounts::all().map_or(true, |all| all.iter().any(same))
    }

    /// The kernel took the mark, and yet a read was not seen.
    pub fn distrust_reads(&self) {
        self.pre_access.store(false, Ordering::Relaxed);
    }
}

/// Marks the whole file system of a directory. Where the kernel knows no events
/// before a read only its opens are seen, and the answer is `false`.
pub fn mark_file_system(group: &Group, dir: impl AsFd) -> io::Result<bool> {
    match group.mark_file_system(&dir, true) {
        Err(error) if is_unsupported(&error) => group.mark_file_system(&dir, false).map(|()| false),
        marked => marked.map(|()| true),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// All of them.
pub struct Watched {
    pub roots: Vec<Root>,
}

impl Watched {
    /// The file behind a handle, for reading and writing, on whichever of the
    /// file systems it is: `dev` is the device that the event's file was on.
    /// A handle alone does not say; on another file system it may be another file.
    pub fn open(&self, handle: &Handle, dev: u64) -> io::Result<File> {
        let mut last = io::Error::from_raw_os_error(libc::ESTALE);
        for root in &self.roots {
            match self.open_on(root, handle) {
                Ok(file) if is_on(&file, dev) => return Ok(file),
                Ok(_) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn open_on(&self, root: &Root, handle: &Handle) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::NOATIME | OFlags::NONBLOCK | OFlags::LARGEFILE;
        handle.open(root.dir(), flags)
    }

    /// The roots that a file of this device can be in.
    pub fn roots_on(&self, dev: u64) -> Vec<RootId> {
        let on = |root: &&Root| root.dev().is_ok_and(|own| own == dev);
        self.roots.iter().filter(on).map(|root| root.row.id).collect()
    }

    pub fn root(&self, id: RootId) -> Option<&Root> {
        self.roots.iter().find(|root| root.row.id == id)
    }

    /// What was found out about each root, one byte each, for the next guard.
    pub fn findings(&self) -> Vec<u8> {
        self.roots.iter().map(|root| u8::from(root.watches_reads())).collect()
    }

    /// What the guard before this one had found out.
    pub fn recall_findings(&self, notes: &[u8]) {
        for (root, seen) in self.roots.iter().zip(notes) {
            root.pre_access.store(*seen == 1, Ordering::Relaxed);
        }
    }

    /// From here on this process reaches its roots by the guard's own mounts.
    pub fn look_through(&self) -> io::Result<()> {
        for root in &self.roots {
            RootDir::pass_through(&root.row.path, root.dir().as_fd().try_clone_to_owned()?);
        }
        Ok(())
    }
}

fn is_on(file: &File, dev: u64) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_dev == dev)
}
