//! Names of objects that mean the same thing on every store.
//!
//! The rules are the intersection of what S3 servers take and what a directory
//! can hold, so that a key can never climb out of a store's directory, be
//! rewritten by a proxy, or vanish behind a backend's own files: segments
//! parted by `/`, none empty, none beginning with a dot (`.`, `..`, temporaries,
//! snapshot directories and NFS's `.nfs*` all do), no control character, at most
//! 255 bytes each (`NAME_MAX`) and 500 in all (S3 allows 1024, of which a store's
//! prefix in its bucket may take as many).

use std::fmt;
use std::str::FromStr;

const MAX_KEY_BYTES: usize = 500;
const MAX_SEGMENT_BYTES: usize = 255;

/// A valid name of an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// A text that cannot name an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an object key: {text:?}: {reason}")]
pub struct BadKey {
    text: String,
    reason: &'static str,
}

impl Key {
    pub fn new(text: impl Into<String>) -> Result<Self, BadKey> {
        let text = text.into();
        match fault_of(&text) {
            None => Ok(Self(text)),
            Some(reason) => Err(BadKey { text, reason }),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's last segment, and the segments before it (`""` when there is
    /// only one).
    pub(crate) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }
}

fn fault_of(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > MAX_KEY_BYTES {
        return Some("it is longer than 500 bytes");
    }
    if text.chars().any(char::is_control) {
        return Some("it has a control character");
    }
    text.split('/').find_map(|segment| match segment {
        "" => Some("it has an empty segment"),
        _ if segment.starts_with('.') => Some("a segment begins with a dot"),
        _ if segment.len() > MAX_SEGMENT_BYTES => Some("a segment is longer than 255 bytes"),
        _ => None,
    })
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.0)
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        Self::new(text)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_the_layout_are_keys() {
        for text in ["hsm-store.json", "packs/0a/0190-x", "nodes/n/log/00f", "ä b/+%"] {
            assert_eq!(Key::new(text).map(|key| key.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn nothing_that_leaves_or_hides_in_a_directory_is_a_key() {
        let long_segment = "x".repeat(256);
        let long = "abcdefg/".repeat(63) + "x";
        for text in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/./b",
            ".tmp",
            "a/.b",
            "a\nb",
            "a\0",
            "\u{7f}",
            &long_segment,
            &long,
        ] {
            assert!(Key::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong() {
        let error = Key::new("a//b").expect_err("empty segment");
        assert_eq!(error.to_string(), "not an object key: \"a//b\": it has an empty segment");
    }
}
