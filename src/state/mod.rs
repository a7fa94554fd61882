//! The local state DB (SQLite): what the last scan saw, which inodes are
//! managed, where chunks lie, and what this node has written to the catalog.
//!
//! It is disposable. Marker, extents and store are the truth; the DB saves
//! looking at them. Transient states (`uploading`, `stubbing`, `recalling`) are
//! committed as intent before the effect, and a run that finds one left behind
//! decides by looking at the file, never by trusting the row. That is also why
//! `synchronous=NORMAL` mostly suffices: a power cut may lose the last commits
//! of the WAL, never its consistency, and a lost commit is an effect to be
//! looked at again. The intents of stubs and recalls are made durable: without
//! its row a stub would be taken for a file that somebody changed.
//!
//! Identity of a file: (root, inode, birth time) in the scan, where asking for
//! the generation of every file would cost one more system call each, and
//! (root, inode, generation) as soon as it is managed. A managed inode number
//! seen with another birth time is another file; the old one is gone. Where the
//! file system has no birth times (0) the generation decides at the next upload.
//!
//! One process writes at a time (the run lock is the callers'); readers never
//! wait for it. All SQL of `hsm` is in this room.

mod adopted;
mod bitmap;
mod collections;
mod contents;
mod digest;
mod dirs;
mod entries;
mod error;
mod events;
mod files;
mod gone;
mod held;
mod history;
mod learned;
mod migrations;
mod open;
mod packs;
mod pins;
mod rebuilt;
mod recalls;
mod renewal;
mod roots;
mod rows;
mod runs;
mod sample;
mod scan_compare;
mod scan_finish;
mod scan_judge;
mod scan_rows;
mod scan_writer;
mod second;
mod segments;
mod settings;
mod sums;
mod thaws;
mod transitions;
mod uploads;

pub use adopted::{AdoptedStub, RestoredStub};
pub use collections::Heard;
pub use entries::{Counts, EntryRow};
pub use error::{Error, Result};
pub use events::{EventRow, what};
pub use files::ManagedRow;
pub use gone::GoneRow;
pub use held::ScanStanding;
pub use history::Happening;
pub use learned::LearnedPack;
pub use open::StateDb;
pub use packs::{ChunkPlace, PackRow, PackStatus};
pub use rebuilt::{RebuiltFile, RebuiltGone, RebuiltPack};
pub use recalls::{RECALLED, RecallLogRow, RecallRow, Recaller};
pub use roots::{RootId, RootRow};
pub use runs::{RunRow, Usage};
pub use scan_writer::{Part, ScanChanges, ScanWriter, SeenEntry};
pub use second::{SecondRow, Waiting};
pub use segments::{LogHead, SegmentCommit, Uploaded};
pub use sums::{RecallDay, StoredSum};
pub use thaws::{AwaitedFile, Awaiting, ThawRow};
pub use uploads::UploadIntent;

#[cfg(test)]
mod tests;
