//! What a backup of the roots does not contain, written down: so that the backup, this
//! list and the store together are everything.
//!
//! A backup that meets a stub has it recalled, or is denied, or copies a hole. Better it
//! is told beforehand what to leave out ([`Tool`]), and keeps a list of what it left out
//! and where that is ([`Header`], [`Row`]). A file is listed only when it was found on
//! disk to be that stub a moment ago: what is not listed is read by the backup, which is
//! always safe, and a new file at an old stub's path must never be left out.
//!
//! A list that is kept for a year is worth nothing if the store forgets after a month:
//! `hsm manifest --snapshot` names the point of the log that the list relies on, and
//! [`check`] tells, also years later and on another machine, whether the store still has
//! all of it.

mod check;
mod exclude;
mod reader;
mod row;
mod stubs;

pub use check::{CheckStats, Problem, check};
pub use exclude::Tool;
pub use reader::{Manifest, Rows};
pub use row::{End, Header, HeaderRest, Row, RowState, line};
pub use stubs::{Ground, Listed, ListedStats, each_stub};

use crate::ids::StoreId;
use crate::site::logs;
use crate::{catalog, state, store, stub};
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Logs(#[from] logs::Error),
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error("read the manifest")]
    Read(#[source] io::Error),
    #[error("line {line} of the manifest: {what}")]
    Mistake { line: u64, what: String },
    #[error("the manifest is of the store {wanted}, and this is the store {found}")]
    OtherStore { wanted: StoreId, found: StoreId },
    #[error("checking was stopped")]
    Stopped,
}

/// Of one file, which the run goes on without.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error(transparent)]
    Stub(#[from] stub::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}
