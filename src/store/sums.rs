//! SHA-256 and MD5 of objects, in the forms in which S3 speaks of them.
//!
//! A whole object's sum travels as base64. A multipart object has a composite
//! sum: the SHA-256 over the binary sums of its parts, written `BASE64-N` (AWS,
//! "Checking object integrity", composite checksums). Both are compared in
//! binary, never as text.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use std::fmt;

/// A SHA-256 of an object in one of the two forms a store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sha256Sum {
    /// Of the object's bytes.
    Whole([u8; 32]),
    /// Of the concatenated sums of its parts.
    Composite { digest: [u8; 32], parts: u32 },
}

impl Sha256Sum {
    /// The composite of these parts.
    pub(crate) fn of_parts(parts: &[[u8; 32]]) -> Self {
        let digest = sha256(&parts.concat());
        let parts = u32::try_from(parts.len()).expect("S3 allows 10000 parts");
        Self::Composite { digest, parts }
    }

    /// Reads `BASE64` or `BASE64-N`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (sum, parts) = match text.rsplit_once('-') {
            Some((sum, parts)) => (sum, Some(parts.parse().ok()?)),
            None => (text, None),
        };
        let digest = STANDARD.decode(sum).ok()?.try_into().ok()?;
        Some(match parts {
            Some(parts) => Self::Composite { digest, parts },
            None => Self::Whole(digest),
        })
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(digest) => f.write_str(&STANDARD.encode(digest)),
            Self::Composite { digest, parts } => {
                write!(f, "{}-{parts}", STANDARD.encode(digest))
            }
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// As S3 writes a single-part ETag.
pub(crate) fn md5_hex(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_survive_their_text_form() {
        let whole = Sha256Sum::Whole(sha256(b"abc"));
        assert_eq!(whole.to_string(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        let composite = Sha256Sum::of_parts(&[sha256(b"a"), sha256(b"b")]);
        for sum in [whole, composite] {
            assert_eq!(Sha256Sum::parse(&sum.to_string()), Some(sum));
        }
        assert_ne!(composite, Sha256Sum::of_parts(&[sha256(b"b"), sha256(b"a")]));
        assert_eq!(Sha256Sum::parse("YWJj"), None);
    }

    #[test]
    fn md5_is_written_as_an_etag() {
        assert_eq!(md5_hex(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
    }
}
