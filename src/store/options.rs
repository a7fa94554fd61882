//! Where a store is and how to talk to it, free of any backend's types.
//!
//! Credentials come from the AWS chain (environment, profile files, web
//! identity, container and instance roles) unless a program that embeds `hsm`,
//! or a test, passes a key of its own; other stores' are among `variables`. No configuration file holds one, and its
//! debug form shows no secret.

use super::Variables;
use crate::monitor::Stop;
use std::fmt;
use std::time::Duration;

/// How many SHA-256 sums an S3 store is sent. A sum is always computed before
/// sending and never as a trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksums {
    /// With every object and every part, and again when the parts are joined.
    #[default]
    Always,
    /// With whole objects only: for servers that refuse multipart uploads
    /// which name a sum.
    WhenRequired,
}

/// A key pair that replaces the AWS chain.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    pub id: String,
    pub secret: String,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessKey({})", self.id)
    }
}

/// Everything [`open`](super::open) needs to know.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `file:///dir`, `s3://bucket/prefix` or `swift://container/prefix`.
    pub url: String,
    /// The S3 server, `None` is AWS; for Swift where to log in, `None` asks the
    /// variables.
    pub endpoint: Option<String>,
    /// `None` asks the AWS chain, then takes `us-east-1`; or the variables.
    pub region: Option<String>,
    /// `None` asks the AWS chain.
    pub access_key: Option<AccessKey>,
    /// Of temporary credentials, with `access_key`.
    pub session_token: Option<String>,
    /// A profile for the AWS chain to read.
    pub profile: Option<String>,
    /// What the environment has of other stores' credentials.
    pub variables: Variables,
    /// Bucket in the path instead of the host name; `None` is path style for
    /// every endpoint of one's own.
    pub path_style: Option<bool>,
    /// Class of objects that name none; `STANDARD` is never sent.
    pub storage_class: Option<String>,
    /// `AES256`, `aws:kms` or `aws:kms:KEY`.
    pub sse: Option<String>,
    pub checksums: Checksums,
    /// What [`probe`](super::probe) found about conditional creation; `None`
    /// while it was not asked.
    pub conditional_create: Option<bool>,
    /// Both directions together.
    pub bandwidth_bytes_per_s: Option<u64>,
    /// Parts of one object in flight.
    pub concurrency: usize,
    /// Tries after the first one.
    pub retries: u32,
    pub connect_timeout: Duration,
    /// Until the first byte of an answer.
    pub read_timeout: Duration,
    /// Make the directory of a `file:` store if it is missing; for `init`.
    pub create: bool,
    /// Ends waits before a retry and for bandwidth.
    pub stop: Stop,
}

impl StoreOptions {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            endpoint: None,
            region: None,
            access_key: None,
            session_token: None,
            profile: None,
            variables: Variables::default(),
            path_style: None,
            storage_class: None,
            sse: None,
            checksums: Checksums::Always,
            conditional_create: None,
            bandwidth_bytes_per_s: None,
            concurrency: 4,
            retries: 6,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(120),
            create: false,
            stop: Stop::new(),
        }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self::new("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_in_the_debug_form() {
        let mut options = StoreOptions::new("s3://b/p");
        options.access_key = Some(AccessKey { id: "AKIA".into(), secret: "hush".into() });
        assert!(!format!("{options:?}").contains("hush"));
    }
}
