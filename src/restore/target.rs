//! Where things come back: a directory, and each file's place beneath it.
//!
//! The directory may be missing; then it is made like any other. It is therefore
//! reached from the directory above it, and everything from there on by
//! `os::plant`, which follows no symbolic link and leads nowhere else.

use super::error::Error;
use crate::os::plant::Plantation;
use crate::os::relpath::{BadPath, RelPath};
use crate::os::tree::RootDir;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// An open target.
pub struct Target {
    pub(super) plantation: Plantation,
    /// What the plantation is open at.
    top: PathBuf,
    /// The target from there.
    prefix: RelPath,
    strip_root: bool,
    /// A root that the plantation is open at instead.
    within: Option<PathBuf>,
}

impl Target {
    /// `strip_root`: a root's own path is left out, so that its files come directly
    /// into `dir`.
    pub fn open(dir: &Path, strip_root: bool) -> Result<Self, Error> {
        let named = |source| Error::Target { path: dir.to_owned(), source };
        let absolute = std::path::absolute(dir).map_err(named)?;
        let (top, prefix) = split(&absolute).map_err(named)?;
        let prefix = RelPath::new(prefix.as_os_str().as_bytes())
            .map_err(|_| Error::TargetName { path: dir.to_owned() })?;
        let plantation = Plantation::open(&top).map_err(named)?;
        Ok(Self { plantation, top, prefix, strip_root, within: None })
    }

    /// The same target for what of it lies in a managed root, by the way into that
    /// root which this process has: where a guard watches, one that it does not see.
    pub fn within(&self, root: &RootDir) -> Result<Self, Error> {
        let path = root.path().to_owned();
        let plantation =
            Plantation::at(root).map_err(|source| Error::Target { path: path.clone(), source })?;
        let (top, prefix, strip_root) = (self.top.clone(), self.prefix.clone(), self.strip_root);
        Ok(Self { plantation, top, prefix, strip_root, within: Some(path) })
    }

    /// What everything is made beneath.
    fn open_at(&self) -> &Path {
        self.within.as_deref().unwrap_or(&self.top)
    }

    /// The target itself.
    pub fn dir(&self) -> PathBuf {
        self.prefix.to_path(&self.top)
    }

    /// Where a path of a root comes to be. A root is absolute, and of the catalog:
    /// it may be anything.
    pub fn place(&self, root: &[u8], path: &[u8]) -> Result<RelPath, BadPath> {
        let root = if self.strip_root { &[] } else { root.strip_prefix(b"/").unwrap_or(root) };
        let parts = [self.prefix.as_bytes(), root, path];
        let parts: Vec<&[u8]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let path = RelPath::new(parts.join(&b'/'))?;
        let Some(root) = &self.within else { return Ok(path) };
        let full = path.to_path(&self.top);
        let inside = full.strip_prefix(root).map(|inside| inside.as_os_str().as_bytes().to_vec());
        let outside = |_| BadPath { path: path.as_bytes().to_vec(), why: "it is in no such root" };
        RelPath::new(inside.map_err(outside)?)
    }

    /// For messages, and to compare with roots.
    pub fn full(&self, path: &RelPath) -> PathBuf {
        path.to_path(self.open_at())
    }

    /// An absolute path as seen from what is open; `None` if it is elsewhere.
    pub fn relative(&self, full: &Path) -> Option<RelPath> {
        RelPath::new(full.strip_prefix(self.open_at()).ok()?.as_os_str().as_bytes()).ok()
    }
}

/// The deepest directory that is there and is above `dir`, links resolved, and what
/// leads from it to `dir`.
fn split(dir: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let mut missing: Vec<OsString> = vec![];
    let mut at = dir.to_owned();
    let mut real = loop {
        match at.canonicalize() {
            Ok(real) => break real,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(error) => match at.components().next_back() {
                Some(Component::Normal(name)) => missing.push(name.to_owned()),
                _ => return Err(error),
            },
        }
        at.pop();
    };
    if !real.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if missing.is_empty()
        && let Some(name) = real.file_name().map(ToOwned::to_owned)
    {
        missing.push(name);
        real.pop();
    }
    Ok((real, missing.into_iter().rev().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(dir: &Path) -> (PathBuf, String) {
        let target = Target::open(dir, false).expect("open");
        (target.top.clone(), target.prefix.to_string())
    }

    #[test]
    fn a_target_is_reached_from_what_is_there_above_it() {
        let temp = tempfile::tempdir().expect("a directory");
        let real = temp.path().canonicalize().expect("it is there").join("real");
        std::fs::create_dir(&real).expect("mkdir");
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&real, &link).expect("symlink");
        let above = real.parent().expect("above").to_owned();
        assert_eq!(seen(&real), (above.clone(), "real".to_owned()));
        assert_eq!(seen(&link), (above, "real".to_owned()));
        assert_eq!(seen(&link.join("a/b")), (real.clone(), "a/b".to_owned()));
        assert_eq!(seen(Path::new("/")), ("/".into(), String::new()));
        std::fs::write(real.join("f"), b"").expect("write");
        assert!(Target::open(&real.join("f"), false).is_err());
        assert!(Target::open(&real.join("x/../y"), false).is_err());
        let dangling = temp.path().join("dangling");
        std::os::unix::fs::symlink(real.join("nowhere"), &dangling).expect("symlink");
        let mut target = Target::open(&dangling, false).expect("it names nothing");
        let made = target.plantation.make_dirs(&RelPath::new("dangling/x").expect("a path"));
        assert!(made.is_err(), "the link was followed");
        assert!(!real.join("nowhere").exists());
    }

    #[test]
    fn a_file_keeps_its_whole_path_unless_the_roots_is_left_out() {
        let temp = tempfile::tempdir().expect("a directory");
        let place = |strip, root: &str, path: &str| {
            let target = Target::open(&temp.path().join("t"), strip).expect("open");
            target.place(root.as_bytes(), path.as_bytes()).map(|path| path.to_string())
        };
        assert_eq!(place(false, "/srv/media", "a/b").expect("inside"), "t/srv/media/a/b");
        assert_eq!(place(true, "/srv/media", "a/b").expect("inside"), "t/a/b");
        assert_eq!(place(true, "/srv/media", "").expect("inside"), "t");
        assert_eq!(place(false, "/", "a").expect("inside"), "t/a");
        for hostile in ["/../etc", "/a/../../etc", "//etc", "/a/./b"] {
            assert!(place(false, hostile, "x").is_err(), "{hostile}");
        }
    }
}
