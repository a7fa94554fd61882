//! A second way into a mounted file system, which nobody else has.
//!
//! `open_tree(2)` with `OPEN_TREE_CLONE` makes a copy of a mount that is in no
//! mount namespace: no path leads to it, only the descriptors opened in it. An
//! ignore mark on such a mount (`fanotify_mark` with `FAN_MARK_MOUNT` and
//! `FAN_MARK_IGNORE_SURV`, given [`PrivateMount::dir`] and `"."`) takes what is
//! opened through it out of a group's events: opens below the directory as well
//! as opens by handle through it. That is how the guard reads and fills files
//! without waiting for itself, and how other processes to which it passes the
//! descriptor are spared the waiting too.
//!
//! The copy does not hold the visible mount: that can be unmounted as ever. It
//! does hold the file system, which stays alive, and its device busy, until the
//! last descriptor in the copy is closed. It is taken out of the visible
//! mount's peer group: what is mounted below one never shows in the other.
//! Whether one may write is as it was in the original at the time.
//!
//! Needs `CAP_SYS_ADMIN`.

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Ends with its last descriptor, also one that was passed on.
#[derive(Debug)]
pub struct PrivateMount {
    /// The root of the detached mount; `O_PATH`.
    _tree: OwnedFd,
    dir: OwnedFd,
}

impl PrivateMount {
    /// Of the mount that the directory `path` is on, from that directory down.
    /// Mounts below it are not in the copy: there the bare directories show.
    pub fn clone_of(path: &Path) -> io::Result<Self> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(CWD, path, flags)?;
        leave_peer_group(&tree)?;
        let dir = open_dir(&tree)?;
        Ok(Self { _tree: tree, dir })
    }

    /// The directory, `O_RDONLY`: for `openat2`, for marks, and as the mount of
    /// an open by handle.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// The root of a detached mount, given as `O_PATH`, opened for use.
pub(super) fn open_dir(tree: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(tree, ".", flags, Mode::empty())?)
}

/// `mount_setattr(2)` with `MS_PRIVATE`. Recent kernels (6.15) let no later mount
/// into a detached copy anyway, older ones do.
fn leave_peer_group(tree: &OwnedFd) -> io::Result<()> {
    let attr =
        libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    // SAFETY: the path is a NUL-terminated literal, `attr` is a `struct
    // mount_attr` of the size given; both outlive the call and are only read.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            AtFlags::EMPTY_PATH.bits(),
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::handle::Handle;
    use crate::os::loopfs::{FsKind, LoopFs};
    use crate::os::wait::readable;
    use std::fs::File;
    use std::io::Write;

    fn read_below(dir: BorrowedFd<'_>, name: &str) -> String {
        let fd = rustix::fs::openat(dir, name, OFlags::RDONLY, Mode::empty()).expect("open");
        std::io::read_to_string(File::from(fd)).expect("read")
    }

    #[test]
    fn what_is_written_through_one_is_seen_through_the_other() {
        for kind in FsKind::ALL {
            let test = "what_is_written_through_one_is_seen_through_the_other";
            let Some(fs) = LoopFs::new(test, kind) else { continue };
            std::fs::write(fs.path().join("f"), b"visible").expect("write");
            let private = PrivateMount::clone_of(fs.path()).expect("clone");
            assert_eq!(read_below(private.dir(), "f"), "visible");
            let handle = Handle::of(File::open(fs.path().join("f")).expect("open"));
            let mut file =
                handle.expect("handle").open(private.dir(), OFlags::RDWR).expect("open by handle");
            file.write_all(b"changed").expect("write");
            drop(file);
            assert_eq!(std::fs::read(fs.path().join("f")).expect("read"), b"changed");
        }
    }

    /// And the copy goes on, also when its tree descriptor is closed.
    #[test]
    fn the_visible_mount_can_be_unmounted_meanwhile() {
        for kind in FsKind::ALL {
            let test = "the_visible_mount_can_be_unmounted_meanwhile";
            let Some(mut fs) = LoopFs::new(test, kind) else { continue };
            std::fs::write(fs.path().join("f"), b"there").expect("write");
            let private = PrivateMount::clone_of(fs.path()).expect("clone");
            fs.unmount();
            assert_eq!(read_below(private.dir(), "f"), "there");
            let passed_on = private.dir().try_clone_to_owned().expect("dup");
            drop(private);
            assert_eq!(read_below(passed_on.as_fd(), "f"), "there");
        }
    }

    #[test]
    fn later_mounts_below_do_not_show() {
        let Some(fs) = LoopFs::new("later_mounts_below_do_not_show", FsKind::Ext4) else { return };
        let sub = fs.path().join("sub");
        std::fs::create_dir(&sub).expect("make a directory");
        std::fs::write(sub.join("f"), b"below").expect("write");
        let shared = rustix::mount::MountPropagationFlags::SHARED;
        rustix::mount::mount_change(fs.path(), shared).expect("share");
        let private = PrivateMount::clone_of(fs.path()).expect("clone");
        rustix::mount::mount_bind(fs.path(), &sub).expect("bind");
        let through = read_below(private.dir(), "sub/f");
        rustix::mount::unmount(&sub, rustix::mount::UnmountFlags::empty()).expect("unmount");
        assert_eq!(through, "below");
    }

    #[test]
    fn the_descriptor_is_a_real_one() {
        let Some(fs) = LoopFs::new("the_descriptor_is_a_real_one", FsKind::Ext4) else { return };
        let private = PrivateMount::clone_of(fs.path()).expect("clone");
        let flags = rustix::fs::fcntl_getfl(private.dir()).expect("flags");
        assert!(!flags.contains(OFlags::PATH));
        let names = rustix::fs::Dir::read_from(private.dir()).expect("list").count();
        assert!(names >= 2, "at least the dots");
    }

    const OPEN_AND_PRE_ACCESS: u64 = libc::FAN_OPEN_PERM | 0x0010_0000;
    /// `FAN_MARK_IGNORE_SURV`: `FAN_MARK_IGNORE` and surviving a write.
    const IGNORE_SURV: u32 = 0x400 | libc::FAN_MARK_IGNORED_SURV_MODIFY;

    fn mark(group: &OwnedFd, how: u32, dir: BorrowedFd<'_>) -> io::Result<()> {
        let flags = libc::FAN_MARK_ADD | how;
        let (group, dir) = (group.as_raw_fd(), dir.as_raw_fd());
        // SAFETY: the path is a NUL-terminated literal that is only read.
        let result =
            unsafe { libc::fanotify_mark(group, flags, OPEN_AND_PRE_ACCESS, dir, c".".as_ptr()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// `None` without a kernel that asks before a read.
    fn marked_group(fs: &LoopFs, private: &PrivateMount) -> Option<OwnedFd> {
        // SAFETY: takes two numbers and returns a descriptor of our own.
        let group = unsafe {
            let flags = libc::FAN_CLASS_PRE_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
            std::os::fd::FromRawFd::from_raw_fd(libc::fanotify_init(flags, 0))
        };
        let root = File::open(fs.path()).expect("open");
        match mark(&group, libc::FAN_MARK_FILESYSTEM, root.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return None,
            marked => marked.expect("mark the file system"),
        }
        mark(&group, libc::FAN_MARK_MOUNT | IGNORE_SURV, private.dir()).expect("mark the clone");
        Some(group)
    }

    /// Whether `act` asks the group before it is done. It is let go when the
    /// group is closed, which is here.
    fn asks(group: OwnedFd, act: impl FnOnce() + Send) -> bool {
        let (done, say) = io::pipe().expect("a pipe");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                act();
                drop(say);
            });
            let first = readable(&[group.as_fd(), done.as_fd()], None).expect("poll");
            drop(group);
            first[0]
        })
    }

    #[test]
    fn a_marked_clone_raises_no_events() {
        for kind in FsKind::ALL {
            let Some(fs) = LoopFs::new("a_marked_clone_raises_no_events", kind) else { continue };
            let visible = fs.path().join("f");
            std::fs::write(&visible, b"there").expect("write");
            let handle = Handle::of(File::open(&visible).expect("open")).expect("handle");
            let private = PrivateMount::clone_of(fs.path()).expect("clone");

            let Some(group) = marked_group(&fs, &private) else { return };
            let asked = asks(group, || drop(std::fs::read(&visible)));
            assert!(asked, "{kind:?}: the visible mount is watched");

            let Some(group) = marked_group(&fs, &private) else { return };
            let asked = asks(group, || {
                assert_eq!(read_below(private.dir(), "f"), "there");
                let mut file = handle.open(private.dir(), OFlags::RDWR).expect("open by handle");
                file.write_all(b"other").expect("write");
                file.set_len(3).expect("truncate");
                assert_eq!(read_below(private.dir(), "f"), "oth");
            });
            assert!(!asked, "{kind:?}");
        }
    }
}
