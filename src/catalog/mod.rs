//! The catalog of all nodes of a store as a local SQLite DB: every version of every
//! path, contents, packs and chunks, as the logs in the store say.
//!
//! It is a copy, filled segment by segment ([`CatalogDb::apply_segment`]) or from a
//! checkpoint, and thrown away whenever it is in doubt. Nothing is decided here and
//! nothing is read from a store: `site::logs` brings the segments. What a log says is
//! never changed, so all answers are as of what has been applied; a version that was
//! replaced stays, with the segment that ended it, which is what makes a tree at any
//! point of the log a single query.

mod apply;
mod changes;
mod checkpoint;
mod contents;
mod error;
mod lives;
mod mark;
mod moves;
mod nodes;
mod open;
mod packs;
mod pages;
mod snapshots;
mod versions;

#[cfg(test)]
mod checkpoint_tests;
#[cfg(test)]
mod mark_tests;
#[cfg(test)]
mod tests;

pub use apply::Applied;
pub use changes::Change;
pub use checkpoint::Checkpoint;
pub use contents::Readers;
pub use error::{Error, Result};
pub use lives::{Life, Span};
pub use mark::{LoosePack, Marked, MarkedPack, Marking, Notes};
pub use nodes::{NodeRow, RootRef};
pub use open::CatalogDb;
pub use packs::CatalogPack;
pub use pages::Sight;
pub use snapshots::{Figures, Needs, SnapshotRow};
pub use versions::{Point, Version};
