//! A path inside a root, as the bytes the kernel has it in.
//!
//! File names are bytes, not text, and nothing here assumes otherwise. A
//! [`RelPath`] is checked once, when it is made: no leading `/`, no empty
//! component, no `.` or `..`, no NUL. So joining it to a root can never leave
//! the root by its spelling; that no symbolic link leaves it either is
//! [`super::tree`]'s part.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A spelling that is not a path inside a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a path inside a root: {}: {}", .path.escape_ascii(), .why)]
pub struct BadPath {
    pub path: Vec<u8>,
    pub why: &'static str,
}

/// `/`-separated components relative to a root; empty is the root itself.
/// Sorts by bytes, so a directory sorts before what it holds.
///
/// In messages between processes it is base64, which any file name survives.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelPath(Vec<u8>);

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        STANDARD.encode(&path.0)
    }
}

impl TryFrom<String> for RelPath {
    type Error = BadPath;

    fn try_from(text: String) -> Result<Self, BadPath> {
        let bytes = STANDARD.decode(&text);
        bytes
            .map_err(|_| BadPath { path: text.into_bytes(), why: "it is not base64" })
            .and_then(Self::new)
    }
}

impl RelPath {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, BadPath> {
        let bytes = bytes.into();
        match fault_in(&bytes) {
            Some(why) => Err(BadPath { path: bytes, why }),
            None => Ok(Self(bytes)),
        }
    }

    /// The root itself.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The entry `name` of the directory `self`.
    ///
    /// # Panics
    /// If `name` is not one component. Names read from a directory always are.
    pub fn join(&self, name: &[u8]) -> Self {
        let one = !name.is_empty() && !name.contains(&b'/') && fault_in(name).is_none();
        assert!(one, "not a directory entry's name: {}", name.escape_ascii());
        let mut joined = Vec::with_capacity(self.0.len() + 1 + name.len());
        joined.extend_from_slice(&self.0);
        if !joined.is_empty() {
            joined.push(b'/');
        }
        joined.extend_from_slice(name);
        Self(joined)
    }

    /// `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The last component; empty for the root.
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// Whether `self` is `dir` or lies below it, by whole components.
    pub fn starts_with(&self, dir: &Self) -> bool {
        dir.is_root()
            || self
                .0
                .strip_prefix(dir.as_bytes())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }

    /// For messages and for tools that only take paths; never to open a managed
    /// file with.
    pub fn to_path(&self, root: &Path) -> PathBuf {
        if self.is_root() { root.to_owned() } else { root.join(OsStr::from_bytes(&self.0)) }
    }
}

/// What is wrong with the spelling, if anything.
fn fault_in(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return None;
    }
    if bytes.contains(&0) {
        return Some("it holds a NUL byte");
    }
    bytes.split(|&byte| byte == b'/').find_map(|component| match component {
        b"" => Some("it holds an empty component"),
        b"." | b".." => Some("it holds a dot component"),
        _ => None,
    })
}

impl fmt::Display for RelPath {
    /// Printable on any terminal: bytes that are not text are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if !text.chars().any(char::is_control) => f.write_str(text),
            _ => self.0.escape_ascii().fmt(f),
        }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).expect("a good path")
    }

    #[test]
    fn every_spelling_that_could_leave_the_root_is_refused() {
        for bad in ["/a", "a//b", "a/", "..", "a/../b", "./a", "a/.", "/", "a\0b"] {
            let error = RelPath::new(bad).expect_err(bad);
            assert_eq!(error.path, bad.as_bytes());
        }
        for good in ["", "a", "a/b", "...", "a/..b", ".hidden", "a b/\u{fc}"] {
            assert_eq!(path(good).as_bytes(), good.as_bytes());
        }
        assert!(RelPath::new(b"\xff\xfe/x".to_vec()).is_ok());
    }

    #[test]
    fn parent_undoes_join() {
        let dir = path("a/b");
        let file = dir.join(b"c\xff");
        assert_eq!(file.as_bytes(), b"a/b/c\xff");
        assert_eq!(file.parent(), Some(dir.clone()));
        assert_eq!(file.file_name(), b"c\xff");
        assert_eq!(RelPath::root().join(b"x"), path("x"));
        assert_eq!(path("x").parent(), Some(RelPath::root()));
        assert_eq!(RelPath::root().parent(), None);
        assert_eq!(RelPath::root().file_name(), b"");
    }

    #[test]
    #[should_panic(expected = "not a directory entry's name")]
    fn joining_more_than_a_name_is_a_bug() {
        path("a").join(b"b/../../etc");
    }

    #[test]
    fn a_prefix_counts_only_by_whole_components() {
        assert!(path("a/b").starts_with(&path("a")));
        assert!(path("a").starts_with(&path("a")));
        assert!(path("a").starts_with(&RelPath::root()));
        assert!(!path("ab").starts_with(&path("a")));
        assert!(!path("a").starts_with(&path("a/b")));
    }

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        let nasty = RelPath::new(b"a\x1b[31m\nb\xff".to_vec()).expect("legal on disk");
        assert_eq!(nasty.to_string(), r"a\x1b[31m\nb\xff");
        assert_eq!(path("gr\u{fc}n").to_string(), "gr\u{fc}n");
        assert_eq!(path("a").to_path(Path::new("/r")), Path::new("/r/a"));
        assert_eq!(RelPath::root().to_path(Path::new("/r")), Path::new("/r"));
    }
}
