//! Tiering: what makes files `uploaded` and then `stub`.
//!
//! * [`rescan`] brings the state DB up to date with the tree.
//! * [`plan`] decides, by policy, what should be uploaded and stubbed; it
//!   changes nothing and is what `--dry-run` prints.
//! * [`plan_file`] is a plan as a file, [`apply`] carries out what a person left
//!   of it.
//! * [`upload`] makes verified, catalogued copies.
//! * [`stubbing`] frees the blocks of uploaded files, each only through a
//!   [`VerifiedCopy`](crate::manifest::VerifiedCopy).
//! * [`recover`] finishes or undoes what a killed run left.
//!
//! The order of effects is the promise of the whole tool and is spelled out,
//! arrow by arrow, in docs/SEMANTICS.md.

pub mod apply;
pub mod candidates;
mod commit;
pub mod conditions;
mod describe;
pub mod examine;
pub mod freshness;
pub mod guarded;
mod marks;
pub mod neighbours;
pub mod plan;
pub mod plan_file;
pub mod recover;
pub mod renew;
pub mod repair;
pub mod rescan;
pub mod run;
pub mod second;
mod sightings;
pub mod standing;
pub mod stubbing;
mod suspects;
pub mod taking_in;
pub mod upload;

use crate::chunk;
use crate::ids::NodeId;
use crate::manifest;
use crate::scan;
use crate::site::{GuardError, catalog, log};
use crate::state;
use crate::store;
use crate::stub;
use std::io;
use std::path::PathBuf;

/// What stops a run as a whole. One file's failure is never one of these: it
/// goes to the monitor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open the root {}", path.display())]
    OpenRoot { path: PathBuf, source: io::Error },
    #[error("{} is not the file system that it was at hsm init (was {was}, is {is})", path.display())]
    OtherFileSystem { path: PathBuf, was: String, is: String },
    #[error(
        "{} is empty although {entries} entries are known below it; nothing was concluded to be deleted",
        path.display()
    )]
    RootLooksEmpty { path: PathBuf, entries: u64 },
    #[error("read {}", path.display())]
    ReadTree { path: PathBuf, source: io::Error },
    #[error("flush {}", path.display())]
    Flush { path: PathBuf, source: io::Error },
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Scan(#[from] scan::Error),
    #[error(transparent)]
    Stub(#[from] stub::Error),
    #[error(transparent)]
    Format(#[from] manifest::Error),
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Log(#[from] log::Error),
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error("{key} was written by another host, which has the same node id as this one")]
    OtherHost { key: String },
    #[error("this node was retired by node {by}: {key} ends its log")]
    Retired { key: String, by: NodeId },
    #[error("{failures} files failed: the run stops here (limits.stop_after_errors)")]
    TooManyFailures { failures: u64 },
    #[error("stubs are refused: {reason}")]
    Unguarded { reason: String },
    #[error("{0}")]
    PlanMistakes(plan_file::Mistakes),
    #[error("read the plan")]
    ReadPlan(#[source] io::Error),
    #[error("the plan is not for here: {why}")]
    ForeignPlan { why: String },
    #[error("{} is in no managed root", path.display())]
    OutsideRoots { path: PathBuf },
    #[error("{} is not known; run hsm scan", path.display())]
    NotScanned { path: PathBuf },
}
