//! Two trees in lock step: the one that `hsm` works on and a plain copy. What a
//! user does is done to both; times that the clock decides are copied over, so
//! that afterwards everything must compare equal.

use crate::support::snapshot::is_stub;
use rustix::fs::{FallocateFlags, Timespec, Timestamps, UTIME_OMIT};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A place by the roll of dice; what it names depends on what there is.
#[derive(Debug, Clone, Copy)]
pub struct Pick(pub u16);

impl Pick {
    pub fn of<'a, T>(&self, items: &'a [T]) -> Option<&'a T> {
        items.get(usize::from(self.0) % items.len().max(1))
    }
}

/// A name in some directory.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    pub dir: Pick,
    pub name: u8,
}

/// Made-up bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    pub seed: u8,
    pub len: u32,
}

impl Bytes {
    pub fn make(self) -> Vec<u8> {
        let noise = crate::support::trees::noise(u64::from(self.seed), self.len as usize);
        // Half of them compress.
        if self.seed.is_multiple_of(2) {
            noise
        } else {
            noise.iter().map(|byte| byte & 1).collect()
        }
    }
}

/// What a user does to a tree.
#[derive(Debug, Clone, Copy)]
pub enum Edit {
    Create(Slot, Bytes),
    /// In place; the file is recalled before.
    Overwrite(Pick, u32, Bytes),
    Append(Pick, Bytes),
    Truncate(Pick, u32),
    PunchHole(Pick, u32, u32),
    /// Truncated to nothing and written anew: a stub need not be recalled.
    Rewrite(Pick, Bytes),
    Chmod(Pick, u16),
    Touch(Pick, u32),
    Attribute(Pick, u8),
    MakeDir(Slot),
    RenameFile(Pick, Slot),
    RenameDir(Pick, Slot),
    /// Written beside it and renamed over it.
    Save(Pick, Bytes),
    ReplaceByAnother(Pick, Pick),
    HardLink(Pick, Slot),
    SymLink(Slot, u8),
    Delete(Pick),
    DeleteDir(Pick),
}

impl Edit {
    /// The file whose bytes it needs, if any.
    fn reads(&self) -> Option<Pick> {
        match self {
            Self::Overwrite(file, ..)
            | Self::Append(file, _)
            | Self::PunchHole(file, ..)
            | Self::Truncate(file, _) => Some(*file),
            _ => None,
        }
    }
}

pub struct Twins {
    pub tree: PathBuf,
    pub plain: PathBuf,
}

impl Twins {
    /// Regular files, by their names below the root.
    pub fn files(&self) -> Vec<PathBuf> {
        self.list(|kind| kind.is_file())
    }

    /// Directories, the root first.
    pub fn dirs(&self) -> Vec<PathBuf> {
        self.list(|kind| kind.is_dir())
    }

    fn list(&self, wanted: impl Fn(fs::FileType) -> bool) -> Vec<PathBuf> {
        walkdir::WalkDir::new(&self.plain)
            .sort_by_file_name()
            .into_iter()
            .map(|entry| entry.expect("a readable tree"))
            .filter(|entry| wanted(entry.file_type()))
            .map(|entry| entry.path().strip_prefix(&self.plain).expect("below it").to_owned())
            .collect()
    }

    pub fn stubs(&self) -> usize {
        self.files().iter().filter(|name| is_stub(&self.tree.join(name))).count()
    }

    /// The stub that has to be recalled before the edit may be done.
    pub fn to_recall_before(&self, edit: &Edit) -> Option<PathBuf> {
        let files = self.files();
        let name = edit.reads()?.of(&files)?;
        let path = self.tree.join(name);
        is_stub(&path).then_some(path)
    }

    /// Does it to both; an edit that makes no sense here does nothing.
    pub fn apply(&self, edit: &Edit) {
        let (files, dirs) = (self.files(), self.dirs());
        let place = |slot: &Slot| {
            let name = slot.dir.of(&dirs).expect("the root").join(format!("n{}", slot.name));
            let taken = fs::symlink_metadata(self.plain.join(&name)).is_ok();
            (!taken).then_some(name)
        };
        let act = Act { files: &files, dirs: &dirs, place: &place };
        let done: Vec<Option<()>> =
            [&self.tree, &self.plain].into_iter().map(|root| act.perform(root, edit)).collect();
        assert_eq!(done[0], done[1], "the trees differ in shape: {edit:?}");
        self.copy_times();
    }

    /// The clock ran between the two.
    fn copy_times(&self) {
        for name in self.list(|_| true) {
            let meta = fs::symlink_metadata(self.tree.join(&name)).expect("metadata");
            set_mtime(&self.plain.join(&name), meta.mtime(), meta.mtime_nsec());
        }
    }
}

/// One edit on one of the two.
struct Act<'a> {
    files: &'a [PathBuf],
    dirs: &'a [PathBuf],
    place: &'a dyn Fn(&Slot) -> Option<PathBuf>,
}

impl Act<'_> {
    fn perform(&self, root: &Path, edit: &Edit) -> Option<()> {
        let file = |pick: &Pick| pick.of(self.files).map(|name| root.join(name));
        let free = |slot: &Slot| (self.place)(slot).map(|name| root.join(name));
        match edit {
            Edit::Create(slot, bytes) => fs::write(free(slot)?, bytes.make()),
            Edit::Rewrite(pick, bytes) => rewrite(&file(pick)?, &bytes.make()),
            Edit::Overwrite(pick, at, bytes) => overwrite(&file(pick)?, *at, &bytes.make()),
            Edit::Append(pick, bytes) => {
                let path = file(pick)?;
                let end = fs::metadata(&path).expect("metadata").len();
                write_at(&path, end, &bytes.make())
            }
            Edit::Truncate(pick, len) => resize(&file(pick)?, u64::from(*len)),
            Edit::PunchHole(pick, at, len) => punch(&file(pick)?, *at, *len),
            Edit::Chmod(pick, mode) => {
                let mode = fs::Permissions::from_mode(0o600 | u32::from(*mode) & 0o177);
                fs::set_permissions(file(pick)?, mode)
            }
            Edit::Touch(pick, seconds) => {
                set_mtime(&file(pick)?, i64::from(*seconds), 123_456_789);
                Ok(())
            }
            Edit::Attribute(pick, value) => set_attribute(&file(pick)?, *value),
            Edit::SymLink(slot, target) => symlink(format!("n{target}"), free(slot)?),
            _ => return self.rearrange(root, edit),
        }
        .unwrap_or_else(|error| panic!("{edit:?}: {error}"));
        Some(())
    }

    /// Edits of directories only: they do not care what is a stub.
    fn rearrange(&self, root: &Path, edit: &Edit) -> Option<()> {
        let file = |pick: &Pick| pick.of(self.files).map(|name| root.join(name));
        let free = |slot: &Slot| (self.place)(slot).map(|name| root.join(name));
        let inner = |pick: &Pick| pick.of(&self.dirs[1..]).map(|name| root.join(name));
        match edit {
            Edit::MakeDir(slot) => fs::create_dir(free(slot)?),
            Edit::RenameFile(pick, slot) => fs::rename(file(pick)?, free(slot)?),
            Edit::RenameDir(pick, slot) => {
                let (from, to) = (inner(pick)?, free(slot)?);
                if to.starts_with(&from) {
                    return None;
                }
                fs::rename(from, to)
            }
            Edit::Save(pick, bytes) => {
                let (path, temporary) = (file(pick)?, root.join("~save"));
                fs::write(&temporary, bytes.make()).and_then(|()| fs::rename(temporary, path))
            }
            Edit::ReplaceByAnother(from, to) => fs::rename(file(from)?, file(to)?),
            Edit::HardLink(pick, slot) => fs::hard_link(file(pick)?, free(slot)?),
            Edit::Delete(pick) => fs::remove_file(file(pick)?),
            Edit::DeleteDir(pick) => fs::remove_dir_all(inner(pick)?),
            other => unreachable!("{other:?} is no edit of directories"),
        }
        .unwrap_or_else(|error| panic!("{edit:?}: {error}"));
        Some(())
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).open(path)
}

/// A longer file gets a hole for certain: xfs gives a writer space ahead of its
/// data, which would lie inside the file then, now in one twin and now in the other.
fn resize(path: &Path, len: u64) -> std::io::Result<()> {
    let file = open(path)?;
    let end = file.metadata()?.len();
    file.set_len(len)?;
    if len > end {
        use rustix::fs::FallocateFlags;
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, mode, end, len - end)?;
    }
    Ok(())
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    open(path)?.write_all_at(bytes, at)
}

fn overwrite(path: &Path, at: u32, bytes: &[u8]) -> std::io::Result<()> {
    let len = fs::metadata(path)?.len().max(1);
    write_at(path, u64::from(at) % len, bytes)
}

fn rewrite(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let file = File::options().write(true).truncate(true).open(path)?;
    file.write_all_at(bytes, 0)
}

fn punch(path: &Path, at: u32, len: u32) -> std::io::Result<()> {
    let file = open(path)?;
    let end = file.metadata()?.len();
    let start = u64::from(at) % end.max(1);
    let length = u64::from(len).min(end.saturating_sub(start));
    if length == 0 {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(&file, flags, start, length)?)
}

fn set_attribute(path: &Path, value: u8) -> std::io::Result<()> {
    xattr::set(path, "user.colour", &[value; 40])
}

fn set_mtime(path: &Path, tv_sec: i64, tv_nsec: i64) {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec, tv_nsec },
    };
    let itself = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, itself).expect("set the mtime");
}
