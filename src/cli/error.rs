//! What can end a command. The rooms below have their own errors; this one
//! gathers them for [`super::report`], which alone decides wording of hints and
//! the exit code.

use super::output::escaped_path;
use crate::config::ConfigError;
use crate::policy::PolicyError;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Understood by clap, but wrong: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// No configuration, no state DB, or a root that `init` never recorded.
    #[error("not initialised: {0}")]
    NotInitialised(String),
    /// There is a configuration, so there was a state DB.
    #[error("there is no state DB {}", escaped_path(.0))]
    StateLost(PathBuf),
    #[error("another run is at work: {by}")]
    Locked { by: String },
    #[error("interrupted")]
    Interrupted,
    /// A precondition that this command checks itself failed; `hint` says what
    /// to do instead.
    #[error("{what}")]
    Refused { what: String, hint: String },
    #[error("cannot {doing} {}", escaped_path(path))]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// Of one file that was asked for.
    #[error("{} cannot be read whole", escaped_path(path))]
    NotWhole { path: PathBuf, source: Box<crate::site::fetch::FileError> },
    #[error(transparent)]
    Export(#[from] crate::export::Error),
    #[error("the configuration has {} error(s)\n{}", .0.len(), listed(.0))]
    Config(Vec<ConfigError>),
    #[error("the policy has {} error(s)\n{}", .0.len(), listed(.0))]
    Policy(Vec<PolicyError>),
    #[error(transparent)]
    State(#[from] crate::state::Error),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error(transparent)]
    Manifest(#[from] crate::manifest::Error),
    #[error(transparent)]
    Key(#[from] crate::chunk::Error),
    #[error(transparent)]
    Tier(#[from] crate::tier::Error),
    #[error(transparent)]
    Recall(#[from] crate::recall::Error),
    #[error(transparent)]
    Adopt(#[from] crate::adopt::Error),
    #[error(transparent)]
    Verify(#[from] crate::verify::Error),
    #[error(transparent)]
    Restore(#[from] crate::restore::Error),
    #[error(transparent)]
    Collect(#[from] crate::gc::Error),
    #[error(transparent)]
    Backup(crate::backup::Error),
    #[error(transparent)]
    Scan(#[from] crate::scan::Error),
    #[error(transparent)]
    Logs(#[from] crate::site::logs::Error),
    #[error(transparent)]
    LocalCatalog(#[from] crate::catalog::Error),
    #[error(transparent)]
    Selection(#[from] crate::site::selection::Error),
    #[error(transparent)]
    Rebuild(crate::rebuild::Error),
    #[error(transparent)]
    Report(crate::report::Error),
    #[error(transparent)]
    Snapshot(crate::site::snapshots::Error),
    #[error(transparent)]
    Nodes(crate::site::nodes::Error),
    #[error(transparent)]
    Guard(#[from] crate::site::GuardError),
    #[error(transparent)]
    Keeper(#[from] crate::guard::keeper::Error),
    #[error("the configuration of the guard is not usable here")]
    Admission(#[from] crate::guard::admission::AdmissionError),
}

impl Error {
    /// For `map_err`: `fs::read(path).map_err(Error::io("read", path))`.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    pub fn refused(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), hint: hint.into() }
    }
}

impl From<crate::rebuild::Error> for Error {
    fn from(error: crate::rebuild::Error) -> Self {
        use crate::rebuild::Error as Rebuild;
        match error {
            Rebuild::State(error) => error.into(),
            Rebuild::Store(error) => error.into(),
            Rebuild::Local(error) => error.into(),
            Rebuild::Log(error) => Self::Tier(error.into()),
            Rebuild::Logs(error) if !error.is_damage() => error.into(),
            Rebuild::Stopped => Self::Interrupted,
            other => Self::Rebuild(other),
        }
    }
}

impl From<crate::report::Error> for Error {
    fn from(error: crate::report::Error) -> Self {
        use crate::report::Error as Report;
        match error {
            Report::Tier(error) => error.into(),
            Report::State(error) => error.into(),
            Report::Policy(problems) => Self::Policy(problems),
            Report::Stopped => Self::Interrupted,
            error @ Report::Template { .. } => Self::Report(error),
        }
    }
}

impl From<crate::backup::Error> for Error {
    fn from(error: crate::backup::Error) -> Self {
        use crate::backup::Error as Backup;
        match error {
            Backup::State(error) => error.into(),
            Backup::Store(error) => error.into(),
            Backup::Logs(error) => error.into(),
            Backup::Catalog(error) => error.into(),
            Backup::Stopped => Self::Interrupted,
            other => Self::Backup(other),
        }
    }
}

impl From<crate::site::snapshots::Error> for Error {
    fn from(error: crate::site::snapshots::Error) -> Self {
        use crate::site::snapshots::Error as Snapshot;
        match error {
            Snapshot::State(error) => error.into(),
            Snapshot::Store(error) => error.into(),
            Snapshot::Log(error) => Self::Tier(error.into()),
            Snapshot::Logs(error) => error.into(),
            Snapshot::Local(error) => error.into(),
            other => Self::Snapshot(other),
        }
    }
}

impl From<crate::site::nodes::Error> for Error {
    fn from(error: crate::site::nodes::Error) -> Self {
        use crate::site::nodes::Error as Nodes;
        match error {
            Nodes::Store(error) => error.into(),
            Nodes::Logs(error) => error.into(),
            Nodes::Local(error) => error.into(),
            Nodes::Log(error) => Self::Tier(error.into()),
            other => Self::Nodes(other),
        }
    }
}

fn listed<E: std::fmt::Display>(errors: &[E]) -> String {
    errors.iter().map(|error| format!("  {error}")).collect::<Vec<_>>().join("\n")
}

impl From<crate::site::archive::Error> for Error {
    fn from(error: crate::site::archive::Error) -> Self {
        match error {
            crate::site::archive::Error::State(error) => Self::State(error),
            crate::site::archive::Error::Store(error) => Self::Store(error),
        }
    }
}
