//! What ends a scan. A directory or a file that cannot be read does not: it is
//! reported to the monitor and counted.

use std::io;
use std::path::PathBuf;

/// A sink's own failure; it ends the scan and comes back in [`Error::Sink`].
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Every way a scan can end without its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot scan {}", path.display())]
    Root { path: PathBuf, source: io::Error },
    /// Another directory or file system is at the root's path now; nothing that
    /// this scan saw or did not see may be believed.
    #[error(
        "the root {} is not what it was: expected {expected}, found {found}; is its file system mounted?",
        path.display()
    )]
    RootChanged { path: PathBuf, expected: String, found: String },
    #[error("cannot start a scan thread")]
    Thread { source: io::Error },
    #[error("cannot record what the scan saw")]
    Sink { source: SinkError },
}
