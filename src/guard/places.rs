//! Which file systems may be guarded, and why others may not.
//!
//! A guard watches whole file systems: its mark covers every bind mount,
//! subvolume and mount namespace that shows the same one. So roots are brought
//! together by the file system they are on, told apart by the device that
//! mountinfo shows; `st_dev` would count each btrfs subvolume as another.
//!
//! Refused is what could not hold its promise (no permission events), and what
//! could stop the machine: while no guard answers, every open of a file on a
//! guarded file system waits. A file system that also holds the system, what
//! the guard itself needs, or a store it reads from is refused unless the
//! administrator says otherwise. [`judge`] is pure; [`gather`] looks.

use crate::config::Config;
use crate::os::mounts::{self, Superblock};
use std::io;
use std::path::{Path, PathBuf};

/// Types on which the kernel has no permission events that can hold a reader,
/// or on which others change files behind its back.
const UNWATCHED: [&str; 10] =
    ["tmpfs", "ramfs", "overlay", "nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph"];
const ELSEWHERE: &str =
    "use `hsm recall`, and `unguarded = true` in the policy if stubs are wanted there";

/// Of what a file system also holds; the first reasons are the best.
const MOST_NAMED: usize = 3;

/// What is known about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    /// As mountinfo shows it: `ext4`, `nfs4`, `fuse.sshfs`.
    pub fs_type: String,
    pub superblock: Superblock,
}

/// Something that must not wait for a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// `the state directory`, or empty where the path says it.
    pub what: &'static str,
    pub path: PathBuf,
    pub superblock: Superblock,
}

/// Where everything is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub roots: Vec<Place>,
    /// What the system and the guard stand on.
    pub needs: Vec<Need>,
    /// The directory of a `file://` store.
    pub store: Option<Place>,
    /// Roots that could not be looked at, with the error.
    pub unseen: Vec<(PathBuf, String)>,
}

/// A file system to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    pub superblock: Superblock,
    pub fs_type: String,
    /// At least one, in the order of the configuration; any of them will do to
    /// set the mark.
    pub roots: Vec<PathBuf>,
}

/// Why one root cannot be guarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be guarded: {reason}; {instead}", .root.display())]
pub struct Refusal {
    pub root: PathBuf,
    pub reason: String,
    pub instead: String,
}

/// The answer; a root is either on one of the file systems or refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    pub file_systems: Vec<FileSystem>,
    pub refusals: Vec<Refusal>,
}

/// Judges every root by what is known.
pub fn judge(facts: &Facts, allow_system_fs: bool) -> Places {
    let unseen = facts.unseen.iter().map(|(root, error)| Refusal {
        root: root.clone(),
        reason: format!("it cannot be looked at: {error}"),
        instead: "mount it, or remove it from the roots".to_owned(),
    });
    let mut places = Places { file_systems: Vec::new(), refusals: unseen.collect() };
    for root in &facts.roots {
        let mut refusals: Vec<Refusal> = by_type(root).into_iter().collect();
        if refusals.is_empty() && !allow_system_fs {
            refusals.extend(by_needs(root, &facts.needs));
            refusals.extend(facts.store.as_ref().and_then(|store| by_store(root, store)));
        }
        if refusals.is_empty() {
            watch(&mut places.file_systems, root);
        }
        places.refusals.extend(refusals);
    }
    places
}

fn watch(file_systems: &mut Vec<FileSystem>, root: &Place) {
    let known = file_systems.iter_mut().find(|known| known.superblock == root.superblock);
    match known {
        Some(known) => known.roots.push(root.path.clone()),
        None => file_systems.push(FileSystem {
            superblock: root.superblock,
            fs_type: root.fs_type.clone(),
            roots: vec![root.path.clone()],
        }),
    }
}

fn by_type(root: &Place) -> Option<Refusal> {
    let kind = root.fs_type.as_str();
    let known = UNWATCHED.contains(&kind) || kind.starts_with("fuse");
    let instead = match kind {
        _ if !known => return None,
        "overlay" => format!("manage the directory below the overlay, or {ELSEWHERE}"),
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" => {
            format!("run hsm on the server that has the disks, or {ELSEWHERE}")
        }
        _ => ELSEWHERE.to_owned(),
    };
    let reason = format!("no permission events on {kind}");
    Some(Refusal { root: root.path.clone(), reason, instead })
}

fn by_needs(root: &Place, needs: &[Need]) -> Option<Refusal> {
    let here = needs.iter().filter(|need| need.superblock == root.superblock);
    let mut named: Vec<String> = Vec::new();
    for Need { what, path, .. } in here {
        let separator = if what.is_empty() { "" } else { " " };
        named.push(format!("{what}{separator}{}", path.display()));
    }
    if named.is_empty() {
        return None;
    }
    let more = match named.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    named.truncate(MOST_NAMED);
    Some(Refusal {
        root: root.path.clone(),
        reason: format!(
            "its file system also holds {}{more}: a guard that stops would stop everything that reads there",
            named.join(", ")
        ),
        instead: "put the data on a file system of its own, or allow it with --allow-system-fs"
            .to_owned(),
    })
}

fn by_store(root: &Place, store: &Place) -> Option<Refusal> {
    (root.superblock == store.superblock).then(|| Refusal {
        root: root.path.clone(),
        reason: format!(
            "the store {} is on the same file system: the guard would wait for itself",
            store.path.display()
        ),
        instead: "put the store on another one, or allow it with --allow-system-fs".to_owned(),
    })
}

/// What roots are judged beside.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'c> {
    pub state_dir: &'c Path,
    pub run_dir: &'c Path,
    /// The directory of a `file://` store.
    pub store_dir: Option<&'c Path>,
    /// The same of a second store.
    pub second_dir: Option<&'c Path>,
}

impl<'c> Surroundings<'c> {
    pub fn of(config: &'c Config) -> Self {
        Self {
            state_dir: &config.state_dir,
            run_dir: &config.guard.run_dir,
            store_dir: config.store.url.strip_prefix("file://").map(Path::new),
            second_dir: config
                .second_store
                .as_ref()
                .and_then(|store| store.url.strip_prefix("file://").map(Path::new)),
        }
    }
}

/// Looks at every path, opening nothing; what does not exist yet is where the
/// nearest directory above it is.
pub fn gather(roots: &[PathBuf], around: Surroundings<'_>) -> io::Result<Facts> {
    let mut facts = Facts { needs: needs(around)?, ..Facts::default() };
    for root in roots {
        match place_of(root) {
            Ok(place) => facts.roots.push(place),
            Err(error) => facts.unseen.push((root.clone(), error.to_string())),
        }
    }
    if let Some(directory) = around.store_dir {
        facts.store = Some(Place { path: directory.to_owned(), ..place_above(directory)? });
    }
    if let Some(directory) = around.second_dir {
        facts.needs.push(Need {
            what: "the second store",
            path: directory.to_owned(),
            superblock: place_above(directory)?.superblock,
        });
    }
    Ok(facts)
}

/// Of a path that exists.
pub fn place_of(path: &Path) -> io::Result<Place> {
    let mount = mounts::of(path)?;
    let superblock = mount.superblock();
    Ok(Place { path: path.to_owned(), fs_type: mount.fs_type, superblock })
}

fn needs(around: Surroundings<'_>) -> io::Result<Vec<Need>> {
    // The kernel's link leads to the program even after an upgrade replaced it.
    let exe = Path::new("/proc/self/exe");
    let shown = std::fs::read_link(exe).unwrap_or_else(|_| exe.to_owned());
    let here = |path: &'static str| ("", Path::new(path), Path::new(path));
    let paths = [
        here("/"),
        here("/usr"),
        here("/var"),
        here("/var/log"),
        ("the state directory", around.state_dir, around.state_dir),
        ("the run directory", around.run_dir, around.run_dir),
        ("the program", exe, &shown),
    ];
    let need = |(what, path, shown): (&'static str, &Path, &Path)| {
        let superblock = place_above(path)?.superblock;
        Ok(Need { what, path: shown.to_owned(), superblock })
    };
    paths.into_iter().map(need).collect()
}

/// Of the path, or of the nearest directory above it that exists.
fn place_above(path: &Path) -> io::Result<Place> {
    let mut tried = path;
    loop {
        match (place_of(tried), tried.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => tried = parent,
            (found, _) => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::loopfs::{FsKind, LoopFs};
    use std::process::Command;

    fn place(path: &str, fs_type: &str, minor: u32) -> Place {
        let superblock = Superblock { major: 8, minor };
        Place { path: path.into(), fs_type: fs_type.into(), superblock }
    }

    fn need(what: &'static str, path: &str, minor: u32) -> Need {
        Need { what, path: path.into(), superblock: Superblock { major: 8, minor } }
    }

    fn server() -> Facts {
        Facts {
            roots: vec![
                place("/srv/a", "ext4", 1),
                place("/srv/b", "xfs", 2),
                place("/srv/a2", "ext4", 1),
            ],
            needs: vec![
                need("", "/", 9),
                need("", "/var", 9),
                need("the state directory", "/var/lib/hsm", 9),
            ],
            store: Some(place("/backup/store", "ext4", 3)),
            unseen: Vec::new(),
        }
    }

    fn refusals(facts: &Facts, allow_system_fs: bool) -> Vec<String> {
        judge(facts, allow_system_fs).refusals.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn roots_of_one_file_system_are_watched_together() {
        let places = judge(&server(), false);
        let watched: Vec<(u32, &str, usize)> = places
            .file_systems
            .iter()
            .map(|fs| (fs.superblock.minor, fs.fs_type.as_str(), fs.roots.len()))
            .collect();
        assert_eq!(watched, [(1, "ext4", 2), (2, "xfs", 1)]);
        assert_eq!(places.refusals, []);
    }

    #[test]
    fn types_without_events_are_always_refused() {
        let types = ["tmpfs", "overlay", "nfs", "nfs4", "cifs", "fuse.sshfs", "fuseblk", "9p"];
        for kind in types {
            let facts = Facts { roots: vec![place("/srv", kind, 1)], ..Facts::default() };
            for allowed in [false, true] {
                let found = refusals(&facts, allowed);
                let begin = format!("/srv cannot be guarded: no permission events on {kind}; ");
                assert!(found[0].starts_with(&begin), "{found:?}");
                assert!(found[0].contains("`unguarded = true`"), "{found:?}");
            }
        }
    }

    #[test]
    fn what_the_system_or_the_guard_needs_is_refused_unless_allowed() {
        let mut facts = server();
        facts.roots.push(place("/home", "ext4", 9));
        assert_eq!(
            refusals(&facts, false),
            ["/home cannot be guarded: its file system also holds /, /var, the state directory \
              /var/lib/hsm: a guard that stops would stop everything that reads there; put the \
              data on a file system of its own, or allow it with --allow-system-fs"]
        );
        assert_eq!(judge(&facts, false).file_systems.len(), 2, "the others are guarded");
        assert_eq!(refusals(&facts, true), [""; 0]);
        assert_eq!(judge(&facts, true).file_systems.len(), 3);
    }

    #[test]
    fn a_store_on_a_guarded_file_system_is_refused_unless_allowed() {
        let mut facts = server();
        facts.store = Some(place("/srv/store", "xfs", 2));
        assert_eq!(
            refusals(&facts, false),
            ["/srv/b cannot be guarded: the store /srv/store is on the same file system: the \
              guard would wait for itself; put the store on another one, or allow it with \
              --allow-system-fs"]
        );
        assert_eq!(refusals(&facts, true), [""; 0]);
    }

    #[test]
    fn a_root_that_is_not_there_is_refused() {
        let facts = Facts { unseen: vec![("/srv/x".into(), "no".into())], ..server() };
        let found = refusals(&facts, true);
        let want = "it cannot be looked at: no; mount it, or remove it from the roots";
        assert_eq!(found, [format!("/srv/x cannot be guarded: {want}")]);
    }

    fn config(roots: &[&Path], state_dir: &Path, store: &str) -> Config {
        let roots: Vec<String> = roots.iter().map(|root| format!("{root:?}")).collect();
        let text = format!(
            "roots = [{}]\nstate_dir = {state_dir:?}\n[store]\nurl = {store:?}\n",
            roots.join(", ")
        );
        Config::parse("c.toml", &text).unwrap_or_else(|why| panic!("{why:#?}"))
    }

    #[test]
    fn the_facts_of_this_machine_are_found() {
        let config = config(&[Path::new("/nowhere/x")], Path::new("/nowhere/state"), "s3://b");
        let facts = gather(&config.roots, Surroundings::of(&config)).expect("facts");
        assert_eq!(facts.unseen.len(), 1);
        let root = place_of(Path::new("/")).expect("the root directory");
        let on_root: Vec<&Path> = facts
            .needs
            .iter()
            .filter(|need| need.superblock == root.superblock)
            .map(|need| need.path.as_path())
            .collect();
        assert!(on_root.contains(&Path::new("/")), "{on_root:?}");
        assert!(on_root.contains(&Path::new("/nowhere/state")), "{on_root:?}");
        let exe = std::env::current_exe().expect("a path");
        assert!(facts.needs.iter().any(|need| need.path == exe), "{:?}", facts.needs);
    }

    /// A bind mount is the same file system, another image is not, and neither
    /// is what lies in a directory of the machine's own.
    #[test]
    fn mounts_of_one_file_system_are_one_place() {
        let test = "mounts_of_one_file_system_are_one_place";
        for kind in FsKind::ALL {
            let (Some(one), Some(two)) = (LoopFs::new(test, kind), LoopFs::new(test, kind)) else {
                continue;
            };
            let dir = tempfile::tempdir().expect("a temporary directory");
            let bound = Bound::new(one.path(), dir.path());
            let data = two.path().join("data");
            std::fs::create_dir(&data).expect("mkdir");
            let paths = [one.path(), &data, dir.path()];
            let store = format!("file://{}", two.path().join("not/yet").display());
            let config = config(&paths, Path::new("/nowhere/s"), &store);
            let facts = gather(&config.roots, Surroundings::of(&config)).expect("facts");
            let places = judge(&facts, true);
            let roots: Vec<usize> = places.file_systems.iter().map(|fs| fs.roots.len()).collect();
            assert_eq!((roots, places.refusals.len()), (vec![2, 1], 0), "{kind:?}");
            assert_eq!(places.file_systems[0].fs_type, kind.fs_type());
            let refused = judge(&facts, false).refusals;
            assert!(refused[0].reason.starts_with("the store "), "{kind:?}: {refused:?}");
            assert_eq!((refused.len(), &*refused[0].root), (1, &*data), "{kind:?}");
            drop(bound);
        }
    }

    /// Subvolumes have device numbers of their own, mounted or not.
    #[test]
    fn subvolumes_are_one_place() {
        let Some(fs) = LoopFs::new("subvolumes_are_one_place", FsKind::Btrfs) else { return };
        let inner = fs.path().join("sub");
        let made = Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(&inner).status();
        assert!(made.expect("btrfs-progs").success());
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bound = Bound::new(&inner, dir.path());
        let device = |path: &Path| {
            std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path).expect("stat"))
        };
        assert_ne!(device(fs.path()), device(&inner), "else this test tests nothing");
        let found = [fs.path(), &inner, dir.path()].map(|path| place_of(path).expect("a place"));
        assert!(found.iter().all(|place| place.superblock == found[0].superblock), "{found:?}");
        drop(bound);
    }

    /// A bind mount for the length of a test.
    struct Bound<'d>(&'d Path);

    impl<'d> Bound<'d> {
        fn new(from: &Path, to: &'d Path) -> Self {
            let done = Command::new("mount").arg("--bind").args([from, to]).status();
            assert!(done.expect("mount").success());
            Self(to)
        }
    }

    impl Drop for Bound<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0).status();
        }
    }
}
