//! From a path that a person typed to a root and a path inside it.
//!
//! The last component is never followed, so that a symlink can be named itself;
//! everything before it is resolved, because roots are recorded resolved. A
//! directory that is gone is taken as it was typed, for files that exist only
//! in the state DB.

use super::error::Error;
use super::output::escaped_path;
use crate::os::RelPath;
use crate::state::{RootId, RootRow};
use crate::tier::rescan::open_root;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::ErrorKind::NotFound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// A path that belongs to a root.
#[derive(Debug, Clone)]
pub struct Place {
    pub root: RootRow,
    pub path: RelPath,
}

/// The root that holds `path`, and the path inside it.
pub fn place(roots: &[RootRow], path: &Path) -> Result<Place, Error> {
    let full = resolve(path)?;
    let found = roots.iter().find_map(|root| Some((root, inside(&root.path, &full)?)));
    let (root, path) = found.ok_or_else(|| outside(roots, path))?;
    Ok(Place { root: root.clone(), path })
}

/// `full` relative to `root`, if it is at or below it.
fn inside(root: &Path, full: &Path) -> Option<RelPath> {
    RelPath::new(full.strip_prefix(root).ok()?.as_os_str().as_bytes()).ok()
}

/// [`place`] for each path; all roots whole where no path is named.
pub fn places(roots: &[RootRow], paths: &[PathBuf]) -> Result<Vec<Place>, Error> {
    if paths.is_empty() {
        let whole = |root: &RootRow| Place { root: root.clone(), path: RelPath::root() };
        return Ok(roots.iter().map(whole).collect());
    }
    paths.iter().map(|path| place(roots, path)).collect()
}

/// [`places`] that are there, of any kind. A root that is missing or another
/// one is left to whoever opens it, which says more.
pub fn existing_places(roots: &[RootRow], paths: &[PathBuf]) -> Result<Vec<Place>, Error> {
    let places = places(roots, paths)?;
    for place in &places {
        let full = place.path.to_path(&place.root.path);
        let gone = full.symlink_metadata().is_err_and(|error| error.kind() == NotFound);
        if gone && open_root(&place.root).is_ok() {
            let what = format!("there is no {}", escaped_path(&full));
            return Err(Error::refused(what, "hsm ls, to see the names that are known"));
        }
    }
    Ok(places)
}

/// Without those that lie inside another, so that nothing is counted twice.
pub fn outermost(places: Vec<Place>) -> Vec<Place> {
    let mut taken: HashSet<(RootId, PathBuf)> = HashSet::new();
    let key = |place: &Place| (place.root.id, place.path.to_path(Path::new("/")));
    let all: HashSet<_> = places.iter().map(key).collect();
    let is_inside = |(root, path): &(RootId, PathBuf)| {
        path.ancestors().skip(1).any(|above| all.contains(&(*root, above.to_owned())))
    };
    let mut outermost = places;
    outermost.retain(|place| {
        let key = key(place);
        !is_inside(&key) && taken.insert(key)
    });
    outermost
}

fn outside(roots: &[RootRow], path: &Path) -> Error {
    let known: Vec<String> = roots.iter().map(|root| escaped_path(&root.path)).collect();
    let hint = match known.as_slice() {
        [] => "hsm init ROOT".to_owned(),
        known => format!("a path below {}, or hsm init for another root", known.join(" or ")),
    };
    Error::refused(format!("{} is below no root", escaped_path(path)), hint)
}

/// An absolute path whose last component is taken literally and whose other
/// components hold no symlink, `.` or `..`, as far as they exist.
pub fn resolve(path: &Path) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(path).map_err(Error::io("make absolute", path))?;
    let ends_in_name = !ends_in_dots(path);
    let (parent, name) = match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) if ends_in_name => (parent, name.to_owned()),
        _ => (absolute.as_path(), OsString::new()),
    };
    let mut full = resolve_parents(parent);
    if !name.is_empty() {
        full.push(name);
    }
    Ok(full)
}

/// `std::path::absolute` drops a trailing `.`, which must still follow a link.
fn ends_in_dots(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let last = bytes.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty());
    matches!(last, None | Some(b"." | b".."))
}

/// Component by component: links are followed where there is something, names
/// are kept where there is not.
fn resolve_parents(path: &Path) -> PathBuf {
    let mut full = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(full.pop()),
            Component::CurDir => {}
            other => full.push(other),
        }
        if let Ok(real) = full.canonicalize() {
            full = real;
        }
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_resolved_and_the_name_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        std::os::unix::fs::symlink("nowhere", real.join("dangling")).unwrap();
        assert_eq!(resolve(&link.join("dangling")).unwrap(), real.join("dangling"));
        assert_eq!(resolve(&link.join("gone")).unwrap(), real.join("gone"));
        assert_eq!(resolve(&link.join(".")).unwrap(), real);
        assert_eq!(resolve(&link.join("../link/x/..")).unwrap(), real);
    }

    #[test]
    fn a_path_is_inside_by_components_not_by_letters() {
        let relative = |full: &str| inside(Path::new("/srv/a"), Path::new(full));
        assert_eq!(relative("/srv/a/b/c").expect("inside").as_bytes(), b"b/c");
        assert_eq!(relative("/srv/a"), Some(RelPath::root()));
        assert_eq!(relative("/srv/ab"), None);
        assert_eq!(relative("/srv"), None);
    }

    #[test]
    fn a_path_below_no_root_is_refused_with_the_next_command() {
        let error = place(&[], Path::new("/nowhere/x")).unwrap_err();
        assert_eq!(error.to_string(), "/nowhere/x is below no root");
    }
}
