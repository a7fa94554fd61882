//! The kernel's edge: every system call that is not plain reading and writing,
//! and all `unsafe` of the project.
//!
//! Invariant: a managed file is reached through [`tree::RootDir`] and from then
//! on only by its descriptor. Managed trees belong to hostile users who may
//! swap a directory for a symbolic link, or a file for a FIFO, between any two
//! calls; a path that was checked and is then used again is a hole, a
//! descriptor is not.
//!
//! Functions return `io::Result` with the kernel's own error inside, so that a
//! caller can tell `ENOSPC` from `EACCES`; rooms above add the path.

pub mod blocks;
pub mod child;
pub mod descriptors;
pub mod exposure;
pub mod fanotify;
pub mod handle;
pub mod identity;
pub mod lease;
pub mod local_socket;
pub mod lock;
pub mod mount_options;
pub mod mounts;
pub mod new_mount;
pub mod open_stubs;
pub mod owner_write;
pub mod plant;
pub mod private;
pub mod private_mount;
pub mod process;
pub mod processes;
pub mod quota;
pub mod relpath;
pub mod service_manager;
pub mod signals;
pub mod slots;
pub mod space;
pub mod stat;
pub mod terminal;
pub mod tree;
pub mod wait;
pub mod xattrs;

pub use handle::{file_ident, generation};
pub use identity::FsIdentity;
pub use relpath::RelPath;
pub use stat::{FileKind, Stat};
pub use tree::RootDir;

#[cfg(test)]
#[path = "../../tests/support/loopfs.rs"]
pub(crate) mod loopfs;
