//! What `hsm recall-guard --mount` asks for.
//!
//! `--mount SOURCE TARGET` says all of it; `--mount TARGET` leaves source, type
//! and options to /etc/fstab. Which of the two is meant can be told, because a
//! source is a device, `UUID=` or `LABEL=` and never a directory. A target that
//! is mounted already is left as it is: a guard that is started again finds its
//! own mounts.

use crate::cli::error::Error;
use crate::cli::output::escaped_path;
use crate::guard::fstab::{self, FstabLine};
use crate::guard::prepare::NewMount;
use crate::os::mounts;
use std::path::{Path, PathBuf};

/// As the command line says it.
pub struct Asked<'a> {
    /// Every value of every `--mount`, in order.
    pub values: &'a [PathBuf],
    pub fs_type: Option<&'a str>,
    /// Beside those of fstab, if those hold.
    pub options: &'a str,
}

/// What is to be mounted, without what is mounted already.
pub fn wanted(asked: &Asked<'_>) -> Result<Vec<NewMount>, Error> {
    if asked.values.is_empty() {
        return Ok(Vec::new());
    }
    let file = Path::new("/etc/fstab");
    let lines = fstab::parse_fstab(&std::fs::read(file).unwrap_or_default());
    let mut wanted = understand(asked, &lines, &|path| path.is_dir())?;
    for mount in &mut wanted {
        let target = std::fs::canonicalize(&mount.target);
        mount.target = target.map_err(Error::io("find the directory", &mount.target))?;
    }
    wanted.retain(|mount| !is_mount_point(&mount.target));
    Ok(wanted)
}

fn is_mount_point(target: &Path) -> bool {
    mounts::of(target).is_ok_and(|mount| mount.mount_point == target)
}

fn understand(
    asked: &Asked<'_>,
    lines: &[FstabLine],
    is_dir: &dyn Fn(&Path) -> bool,
) -> Result<Vec<NewMount>, Error> {
    let mut mounts = Vec::new();
    let mut values = asked.values.iter();
    while let Some(value) = values.next() {
        mounts.push(if is_dir(value) {
            by_fstab(value, asked, lines)?
        } else {
            let target = values.next().ok_or_else(|| no_target(value))?;
            NewMount {
                source: value.clone(),
                target: target.clone(),
                fs_type: asked.fs_type.map(str::to_owned),
                options: asked.options.to_owned(),
            }
        });
    }
    Ok(mounts)
}

fn no_target(value: &Path) -> Error {
    let shown = escaped_path(value);
    Error::Usage(format!("--mount {shown}: no directory to mount at, and a source needs a TARGET"))
}

fn by_fstab(target: &Path, asked: &Asked<'_>, lines: &[FstabLine]) -> Result<NewMount, Error> {
    let Some(line) = fstab::line_for(lines, target) else {
        let what = format!("/etc/fstab has no line for {}", escaped_path(target));
        return Err(Error::refused(what, "add one with noauto, or --mount SOURCE TARGET"));
    };
    let found = (line.fs_type != "auto").then(|| line.fs_type.clone());
    let mut options = line.options_text();
    if !asked.options.is_empty() {
        options = format!("{options},{}", asked.options);
    }
    Ok(NewMount {
        source: PathBuf::from(&line.source),
        target: target.to_owned(),
        fs_type: asked.fs_type.map(str::to_owned).or(found),
        options,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FSTAB: &[u8] = b"UUID=1-2 /srv/a xfs noauto,noatime\nLABEL=b /srv/b auto noauto\n";

    fn understood(values: &[&str], fs_type: Option<&str>, options: &str) -> Result<String, Error> {
        let values: Vec<PathBuf> = values.iter().map(PathBuf::from).collect();
        let is_dir = |path: &Path| path.starts_with("/srv");
        let asked = Asked { values: &values, fs_type, options };
        let mounts = understand(&asked, &fstab::parse_fstab(FSTAB), &is_dir)?;
        let told = |mount: &NewMount| {
            let (source, target) = (mount.source.display(), mount.target.display());
            let fs_type = mount.fs_type.as_deref().unwrap_or("?");
            format!("{source} {target} {fs_type} {}", mount.options)
        };
        Ok(mounts.iter().map(told).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn a_directory_alone_is_looked_up_and_a_source_brings_its_target() {
        let told = understood(&["/srv/a", "/dev/sdc", "/srv/c", "/srv/b/"], None, "").unwrap();
        assert_eq!(
            told,
            "UUID=1-2 /srv/a xfs noauto,noatime; /dev/sdc /srv/c ? ; LABEL=b /srv/b/ ? noauto"
        );
        let told = understood(&["/srv/b", "UUID=3", "/srv/c"], Some("btrfs"), "ro").unwrap();
        assert_eq!(told, "LABEL=b /srv/b btrfs noauto,ro; UUID=3 /srv/c btrfs ro");
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let error = understood(&["/srv/none"], None, "").unwrap_err();
        assert_eq!(error.to_string(), "/etc/fstab has no line for /srv/none");
        let error = understood(&["/srv/a", "/dev/sdc"], None, "").unwrap_err();
        assert!(error.to_string().contains("--mount /dev/sdc: no directory"), "{error}");
    }

    #[test]
    fn the_root_directory_is_mounted() {
        assert!(is_mount_point(Path::new("/")));
        assert!(!is_mount_point(Path::new("/nowhere")));
    }
}
