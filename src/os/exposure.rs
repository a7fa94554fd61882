//! By which other ways files of a file system are read: as the lower or upper
//! directory of an overlay, and as the backing file of a loop device.
//!
//! For `doctor`. An overlay that cannot be resolved (its directories were given
//! relative to somebody's working directory) is not found.

use super::mounts::{self, Superblock};
use std::io;
use std::path::{Path, PathBuf};

/// Where overlays are mounted that have a directory of this file system.
pub fn overlays_over(superblock: Superblock) -> io::Result<Vec<PathBuf>> {
    let here = |dir: &PathBuf| mounts::of(dir).is_ok_and(|m| m.superblock() == superblock);
    let overlays = mounts::all()?.into_iter().filter(|mount| mount.fs_type == "overlay");
    let over = overlays.filter(|mount| layers(&mount.super_options).iter().any(here));
    Ok(over.map(|mount| mount.mount_point).collect())
}

/// The absolute directories among `lowerdir`, `lowerdir+` and `upperdir` of
/// the kernel's documentation of overlayfs.
fn layers(super_options: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for option in super_options {
        let Some((key, value)) = option.split_once('=') else { continue };
        match key {
            "lowerdir" => found.extend(split_lower(value)),
            "lowerdir+" | "datadir+" | "upperdir" => found.push(value.to_owned()),
            _ => {}
        }
    }
    found.into_iter().map(PathBuf::from).filter(|path| path.is_absolute()).collect()
}

/// At colons, of which two in a row begin data-only layers; a colon that is
/// part of a name is escaped.
fn split_lower(value: &str) -> Vec<String> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for letter in value.chars() {
        match letter {
            '\\' if !escaped => escaped = true,
            ':' if !escaped => parts.push(std::mem::take(&mut part)),
            _ => {
                part.push(letter);
                escaped = false;
            }
        }
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    parts
}

/// Backing files of loop devices, as sysfs shows them.
pub fn loop_files() -> Vec<PathBuf> {
    let Ok(devices) = std::fs::read_dir("/sys/block") else { return Vec::new() };
    let backing = devices.filter_map(|device| {
        let file = device.ok()?.path().join("loop/backing_file");
        let shown = std::fs::read_to_string(file).ok()?;
        Some(Path::new(shown.trim_end_matches('\n')).to_owned())
    });
    backing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::loopfs::{FsKind, LoopFs};

    #[test]
    fn the_layers_of_an_overlay_are_told_apart() {
        let options =
            ["rw", "lowerdir=/a:/b\\:c::/d:rel", "upperdir=/u", "lowerdir+=/e", "uuid=on"]
                .map(str::to_owned);
        let want = ["/a", "/b:c", "/d", "/u", "/e"].map(PathBuf::from);
        assert_eq!(layers(&options), want);
    }

    #[test]
    fn a_loop_device_is_seen_by_its_file() {
        let Some(fs) = LoopFs::new("a_loop_device_is_seen_by_its_file", FsKind::Ext4) else {
            return;
        };
        let image = fs.path().with_file_name("image");
        assert!(loop_files().contains(&image), "{:?}", loop_files());
    }

    #[test]
    fn an_overlay_is_found_by_its_lower_directory() {
        let test = "an_overlay_is_found_by_its_lower_directory";
        let (Some(fs), Some(other)) =
            (LoopFs::new(test, FsKind::Ext4), LoopFs::new(test, FsKind::Ext4))
        else {
            return;
        };
        let dirs = ["lower", "upper", "work"].map(|name| other.path().join(name));
        dirs.iter().for_each(|dir| std::fs::create_dir(dir).expect("mkdir"));
        let seen = tempfile::tempdir().expect("a temporary directory");
        let [lower, upper, work] = dirs.map(|dir| dir.display().to_string());
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options]).arg(seen.path());
        assert!(mount.status().expect("mount").success());
        let of = |fs: &LoopFs| mounts::of(fs.path()).expect("a mount").superblock();
        let found = (overlays_over(of(&other)), overlays_over(of(&fs)));
        let undone = std::process::Command::new("umount").arg(seen.path()).status();
        assert!(undone.expect("umount").success());
        assert_eq!(found.0.expect("mountinfo"), [seen.path()]);
        assert_eq!(found.1.expect("mountinfo"), [""; 0].map(PathBuf::from));
    }
}
