//! Permission events: the kernel asks before a file is opened or read, and waits
//! for the answer.
//!
//! [`Group`] owns the descriptor that events come from; [`event::parse`] turns
//! its bytes into values without trusting one of them; [`Pending`] is one event
//! that is answered exactly once, with a denial if nobody says anything else.
//!
//! The kernel fails open: when the last descriptor of a group is closed, every
//! waiting program is let in. Nothing here can prevent that; it is why the
//! group's descriptor is kept by a second process.
//!
//! Of the `fanotify` crate only `low_level::{fanotify_init, fanotify_mark}` and
//! constants are used: its reader misreads range records, closes descriptors it
//! returns, and panics on names that are not UTF-8.

pub mod event;
mod group;
mod pending;
mod probe;

pub use group::{Answer, Events, Group};
pub use pending::Pending;
pub use probe::{PreContent, pre_content_supported};

use fanotify::low_level;

// Of `include/uapi/linux/fanotify.h`, where the crate is older than they are.

/// Before the content of a file is read, written, mapped or truncated (Linux
/// 6.14).
pub const PRE_ACCESS: u64 = 0x0010_0000;
/// Before a file is opened.
pub const OPEN_PERM: u64 = low_level::FAN_OPEN_PERM;
/// An event whose descriptor could not be made says why (Linux 6.13).
const REPORT_FD_ERROR: u32 = 0x0000_2000;
/// Each event carries a pidfd of its process (Linux 5.15).
const REPORT_PIDFD: u32 = 0x0000_0080;
/// The mark does not keep its inode in memory (Linux 5.19).
const MARK_EVICTABLE: u32 = 0x0000_0200;
/// Together with `IGNORED_SURV_MODIFY` (0x40): the events are not wanted, also
/// after the file was written to (Linux 6.0).
const MARK_IGNORE_SURV: u32 = 0x0000_0400 | 0x0000_0040;
