//! What `opendal` and SFTP call their failures, as [`ErrorKind`].

use crate::store::ErrorKind;
use std::fmt;

/// A failure before it is known for which operation on which object.
#[derive(Debug)]
pub(super) struct Trouble {
    pub kind: ErrorKind,
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl Trouble {
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, source: text.into().into() }
    }

    pub fn silent() -> Self {
        Self::new(ErrorKind::Unreachable, "the store did not answer in time")
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Causes are where the reason is.
        let mut texts = vec![first_line(&self.source.to_string())];
        let mut next = self.source.source();
        while let Some(error) = next {
            texts.push(first_line(&error.to_string()));
            next = error.source();
        }
        texts.dedup();
        f.write_str(&texts.join(": "))
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").chars().take(300).collect()
}

impl From<opendal::Error> for Trouble {
    fn from(error: opendal::Error) -> Self {
        use opendal::ErrorKind as Theirs;
        let kind = match error.kind() {
            Theirs::NotFound | Theirs::IsADirectory | Theirs::NotADirectory => ErrorKind::NotFound,
            Theirs::PermissionDenied => ErrorKind::Denied,
            Theirs::AlreadyExists | Theirs::ConditionNotMatch => ErrorKind::AlreadyExists,
            Theirs::RateLimited => ErrorKind::Throttled,
            Theirs::RangeNotSatisfied => ErrorKind::Integrity,
            Theirs::Unsupported => ErrorKind::Unsupported,
            Theirs::ConfigInvalid => ErrorKind::Denied,
            _ => unexpected(&error),
        };
        Self { kind, source: error.into() }
    }
}

/// `opendal` has one kind for all else; the text and the causes tell more.
fn unexpected(error: &opendal::Error) -> ErrorKind {
    let mut text = format!("{error}\n");
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text += &format!("{error}\n");
        next = error.source();
    }
    let has = |part: &str| text.contains(part);
    if has("status: 401") || has("credential") {
        ErrorKind::Denied
    } else if has("status: 507") {
        ErrorKind::Full
    } else if has("onnect error") || has("dns error") || has("onnection refused") {
        ErrorKind::Unreachable
    } else if error.is_temporary() {
        ErrorKind::Transient
    } else {
        ErrorKind::Other
    }
}

impl From<openssh::Error> for Trouble {
    fn from(error: openssh::Error) -> Self {
        let text = error.to_string();
        let denied = text.contains("ermission denied") || text.contains("Host key verification");
        let kind = if denied { ErrorKind::Denied } else { ErrorKind::Unreachable };
        Self { kind, source: error.into() }
    }
}

impl From<openssh_sftp_client::Error> for Trouble {
    fn from(error: openssh_sftp_client::Error) -> Self {
        use openssh_sftp_client::Error as Theirs;
        use openssh_sftp_client::error::SftpErrorKind as Status;
        let kind = match &error {
            Theirs::SftpError(Status::NoSuchFile, _) => ErrorKind::NotFound,
            Theirs::SftpError(Status::PermDenied, _) => ErrorKind::Denied,
            Theirs::SftpError(Status::OpUnsupported, _) | Theirs::UnsupportedExtension(_) => {
                ErrorKind::Unsupported
            }
            // A full disk, a link that exists, a directory in the way: one code.
            Theirs::SftpError(..) => ErrorKind::Other,
            _ => ErrorKind::Transient,
        };
        Self { kind, source: error.into() }
    }
}
