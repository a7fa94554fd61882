//! Which directories may be roots: none that holds, or lies in, another root or
//! a place that hsm itself writes to. A store or state DB inside a root would
//! tier itself away.

use crate::cli::output::escaped_path;
use std::path::{Path, PathBuf};

/// A place of hsm's own, with the word for messages.
#[derive(Debug, Clone)]
pub struct Own {
    pub what: &'static str,
    pub path: PathBuf,
}

/// Why `root` cannot be one, if so. All paths are resolved.
pub fn objection(root: &Path, others: &[PathBuf], own: &[Own]) -> Option<String> {
    let shown = escaped_path(root);
    if root.parent().is_none() {
        return Some("/ cannot be a root: name the directories that hold the data".to_owned());
    }
    if root.to_str().is_none() {
        return Some(format!("the root {shown} is not UTF-8, as the configuration must be"));
    }
    for Own { what, path } in own {
        if overlap(root, path) {
            let path = escaped_path(path);
            return Some(format!("the root {shown} and the {what} {path} overlap"));
        }
    }
    let nested = others.iter().find(|other| other.as_path() != root && overlap(root, other))?;
    Some(format!("the roots {shown} and {} overlap", escaped_path(nested)))
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// The directory of a `file:` store.
pub fn store_dir(url: &str) -> Option<&Path> {
    url.strip_prefix("file://").map(Path::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(root: &str) -> Option<String> {
        let own = [
            Own { what: "state directory", path: "/var/lib/hsm".into() },
            Own { what: "store", path: "/mnt/store".into() },
        ];
        objection(Path::new(root), &["/srv/a".into()], &own)
    }

    #[test]
    fn a_root_overlaps_nothing_of_ours_and_no_other_root() {
        assert_eq!(refused("/srv/b"), None);
        assert_eq!(refused("/srv/a"), None, "the same root again is no mistake");
        assert_eq!(refused("/srv/ab"), None);
        for bad in ["/", "/var", "/var/lib/hsm", "/var/lib/hsm/x", "/mnt", "/srv", "/srv/a/b"] {
            assert!(refused(bad).is_some(), "{bad}");
        }
        assert!(refused("/mnt").unwrap().contains("the store /mnt/store overlap"));
    }
}
