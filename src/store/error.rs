//! What can go wrong with a store, sorted so that callers need no knowledge of
//! backends.
//!
//! The kind decides everything: whether [`Retrying`](super::Retrying) tries
//! again, whether `verify` may call an object lost (only [`ErrorKind::NotFound`]
//! from a store that answered), and what a command tells a person to do next.

use super::Key;
use std::fmt;

pub type Result<T> = std::result::Result<T, Error>;

/// The sorts of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The store was asked and holds no such object.
    NotFound,
    /// A `create_new` met an object.
    AlreadyExists,
    /// Credentials are missing, wrong or not allowed to do this.
    Denied,
    /// The store asks for fewer requests.
    Throttled,
    /// A failure of the moment: a cut connection, an internal error.
    Transient,
    /// The store is away, not mounted, or not there at all: nothing is known.
    Unreachable,
    /// No space or quota left.
    Full,
    /// The store takes no writes.
    ReadOnly,
    /// The bytes are not the bytes: short, of another sum, or out of range.
    Integrity,
    /// The object is in an archive class and must be restored by the store
    /// before it can be read.
    Archived,
    /// The request makes no sense to the store.
    BadRequest,
    /// The store does not know this operation.
    Unsupported,
    /// Ended early because a stop was requested.
    Stopped,
    Other,
}

impl ErrorKind {
    /// Whether the same request may well succeed a little later.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Throttled | Self::Transient | Self::Unreachable | Self::Integrity)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "no such object",
            Self::AlreadyExists => "an object of this name exists already",
            Self::Denied => "access denied",
            Self::Throttled => "the store asks for fewer requests",
            Self::Transient => "failure of the moment",
            Self::Unreachable => "the store cannot be reached",
            Self::Full => "the store is full",
            Self::ReadOnly => "the store is read-only",
            Self::Integrity => "wrong bytes",
            Self::Archived => {
                "the object is in an archive class and must be thawed before it can be read"
            }
            Self::BadRequest => "bad request",
            Self::Unsupported => "the store does not support this",
            Self::Stopped => "stopped",
            Self::Other => "failed",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed operation on a store.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    /// A key, a prefix, or empty when the store as a whole is meant.
    subject: String,
    location: String,
    detail: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// `operation` is a verb (`"put"`); `subject` a key or prefix.
    pub fn new(
        kind: ErrorKind,
        operation: &'static str,
        subject: impl Into<String>,
        location: impl Into<String>,
    ) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            subject: subject.into(),
            location: location.into(),
            detail: String::new(),
            source: None,
        }))
    }

    /// Adds what the kind alone does not say.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the permission that was missing.
    pub(super) fn needing(mut self, permission: &str) -> Self {
        self.0.detail = format!("{} (the permission {permission} is needed)", self.0.detail);
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The object concerned, where there is one.
    pub fn key(&self) -> Option<Key> {
        Key::new(self.0.subject.as_str()).ok()
    }

    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, operation, subject, location, detail, .. } = &*self.0;
        write!(f, "{operation} ")?;
        if !subject.is_empty() {
            write!(f, "{subject} ")?;
        }
        write!(f, "in {location}: {kind}")?;
        if !detail.is_empty() {
            write!(f, ": {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn an_error_names_operation_object_and_store() {
        let error = Error::new(ErrorKind::Full, "put", "packs/ab/x", "file:///srv/store")
            .with_detail("the file system has no free blocks")
            .with_source(std::io::Error::from_raw_os_error(28));
        assert_eq!(
            error.to_string(),
            "put packs/ab/x in file:///srv/store: the store is full: \
             the file system has no free blocks"
        );
        assert_eq!(error.key(), Key::new("packs/ab/x").ok());
        assert!(error.source().expect("a cause").to_string().contains("No space left"));
    }

    #[test]
    fn no_error_that_time_does_not_heal_is_retried() {
        for kind in [
            ErrorKind::NotFound,
            ErrorKind::AlreadyExists,
            ErrorKind::Denied,
            ErrorKind::Full,
            ErrorKind::ReadOnly,
            ErrorKind::BadRequest,
            ErrorKind::Stopped,
        ] {
            assert!(!kind.is_retryable(), "{kind:?}");
        }
    }
}
