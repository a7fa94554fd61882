//! The file systems and roots that a guard watches.
//!
//! For each root it has a mount of its own that nobody else can see. What is
//! opened through it raises no event, so the guard never waits for itself, and
//! the visible mount can be unmounted as if there were no guard. Other `hsm`
//! processes get a descriptor of it (see [`super::client`]).
//!
//! A file system that was unmounted everywhere is let go, so that its device is
//! free; one that comes back is marked at once. Between its mounting and that
//! there is a moment in which a stub can be opened unseen: only a mount that the
//! guard makes itself has none.

use crate::os::fanotify::Group;
use crate::os::handle::Handle;
use crate::os::mounts::{self, Superblock};
use crate::os::private_mount::PrivateMount;
use crate::os::tree::RootDir;
use crate::state::{RootId, RootRow};
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

/// A root and the mount through which the guard works on it.
pub struct Root {
    pub row: RootRow,
    private: PrivateMount,
    dev: u64,
    mounted: Superblock,
    /// Reads on open files are seen, not only opens.
    reads_seen: AtomicBool,
    /// A stub of the guard's own was opened here and was whole.
    trusted: AtomicBool,
}

impl Root {
    /// Marks the file system and opens the guard's own way to the root.
    fn open(group: &Group, row: &RootRow) -> io::Result<Self> {
        let reads_seen = mark_root(group, row)?;
        let mount = mounts::facts(&row.path)?.mount;
        let private = PrivateMount::clone_of(&row.path)?;
        group.ignore_mount(private.dir())?;
        RootDir::pass_through(&row.path, private.dir().try_clone_to_owned()?);
        let dev = rustix::fs::fstat(private.dir())?.st_dev;
        let mounted = mount.superblock();
        let (reads_seen, trusted) = (reads_seen.into(), false.into());
        Ok(Self { row: row.clone(), private, dev, mounted, reads_seen, trusted })
    }

    pub fn dir(&self) -> BorrowedFd<'_> {
        self.private.dir()
    }

    pub fn dev(&self) -> u64 {
        self.dev
    }

    /// Whether programs can reach its files: the file system is still mounted.
    pub fn is_visible(&self) -> bool {
        let same = |mount: &mounts::Mount| mount.superblock() == self.mounted;
        // What cannot be told counts as mounted.
        mounts::all().map_or(true, |all| all.iter().any(same))
    }

    /// Stubs may be made here.
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    pub fn trust(&self) {
        self.trusted.store(true, Ordering::Relaxed);
    }

    pub fn watches_reads(&self) -> bool {
        self.reads_seen.load(Ordering::Relaxed)
    }

    /// The kernel took the mark, and yet a read was not seen.
    pub fn distrust_reads(&self) {
        self.reads_seen.store(false, Ordering::Relaxed);
    }
}

/// Marks the file system of a root that is what it was at `hsm init`.
pub fn mark_root(group: &Group, row: &RootRow) -> io::Result<bool> {
    let root = RootDir::open(&row.path)?;
    if root.identity().to_string() != row.identity {
        let what = "another file system or directory is there than at hsm init";
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    mark_file_system(group, &root)
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
    group: Arc<Group>,
    rows: Vec<RootRow>,
    roots: RwLock<Vec<Arc<Root>>>,
}

/// What [`Watched::refresh`] noticed.
pub enum Change {
    LetGo(PathBuf),
    Back(Arc<Root>),
}

impl Watched {
    /// Opens every root that is there.
    pub fn open(group: Arc<Group>, rows: Vec<RootRow>) -> Self {
        let watched = Self { group, rows, roots: RwLock::default() };
        for row in &watched.rows {
            match Root::open(&watched.group, row) {
                Ok(root) => watched.write(|roots| roots.push(Arc::new(root))),
                Err(error) => {
                    tracing::warn!(root = %row.path.display(), %error, "not watched until it is there");
                }
            }
        }
        watched
    }

    /// All that are to be watched.
    pub fn rows(&self) -> &[RootRow] {
        &self.rows
    }

    /// Whether programs can reach the root's files, watched or not.
    pub fn is_visible(&self, row: &RootRow) -> bool {
        match self.root(row.id) {
            Some(root) => root.is_visible(),
            None => {
                RootDir::open(&row.path).is_ok_and(|dir| dir.identity().to_string() == row.identity)
            }
        }
    }

    /// Those that are there now.
    pub fn roots(&self) -> Vec<Arc<Root>> {
        self.roots.read().expect("no holder panics").clone()
    }

    fn write<T>(&self, change: impl FnOnce(&mut Vec<Arc<Root>>) -> T) -> T {
        change(&mut self.roots.write().expect("no holder panics"))
    }

    pub fn root(&self, id: RootId) -> Option<Arc<Root>> {
        self.roots().into_iter().find(|root| root.row.id == id)
    }

    /// The roots that a file of this device can be in.
    pub fn roots_on(&self, dev: u64) -> Vec<RootId> {
        self.roots().iter().filter(|root| root.dev == dev).map(|root| root.row.id).collect()
    }

    /// The file behind a handle, for reading and writing, on whichever of the
    /// file systems it is: `dev` is the device that the event's file was on. A
    /// handle alone does not say; on another file system it may be another file.
    pub fn open_file(&self, handle: &Handle, dev: u64) -> io::Result<File> {
        let mut last = io::Error::from_raw_os_error(libc::ESTALE);
        for root in self.roots() {
            let flags = OFlags::RDWR | OFlags::NOATIME | OFlags::NONBLOCK | OFlags::LARGEFILE;
            match handle.open(root.dir(), flags) {
                Ok(file) if is_on(&file, dev) => return Ok(file),
                Ok(_) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Lets go of what was unmounted and watches what came back.
    pub fn refresh(&self) -> Vec<Change> {
        let mut changes = vec![];
        for root in self.roots() {
            if !root.is_visible() {
                RootDir::pass_no_longer(&root.row.path);
                self.write(|roots| roots.retain(|kept| kept.row.id != root.row.id));
                changes.push(Change::LetGo(root.row.path.clone()));
            }
        }
        for row in &self.rows {
            if self.root(row.id).is_none()
                && let Ok(root) = Root::open(&self.group, row)
            {
                let root = Arc::new(root);
                self.write(|roots| roots.push(Arc::clone(&root)));
                changes.push(Change::Back(root));
            }
        }
        changes
    }

    /// What was found out about each root, one byte each, for the next guard: 1
    /// for trusted, 2 for its reads seen.
    pub fn findings(&self) -> Vec<u8> {
        let found = |row: &RootRow| {
            let root = self.root(row.id);
            root.map_or(0, |root| {
                u8::from(root.is_trusted()) | (u8::from(root.watches_reads()) << 1)
            })
        };
        self.rows.iter().map(found).collect()
    }

    /// What the guard before this one had found out.
    pub fn recall_findings(&self, notes: &[u8]) {
        for (row, found) in self.rows.iter().zip(notes) {
            let Some(root) = self.root(row.id) else { continue };
            if found & 1 != 0 {
                root.trust();
            }
            if found & 2 == 0 {
                root.distrust_reads();
            }
        }
    }
}

fn is_on(file: &File, dev: u64) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_dev == dev)
}
