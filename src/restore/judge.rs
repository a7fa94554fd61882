//! What is to be done about one path, by what is there. Pure but for the looking.
//!
//! The names of the directory at hand are listed once, so that nothing is looked
//! for in a new directory. In path order all that is beneath a directory comes in
//! one piece, so the listings of the directories above the present one are enough.

use super::FileError;
use crate::manifest::FileRecord;
use crate::os::plant::{Found, Plantation};
use crate::os::relpath::RelPath;
use crate::os::stat::{FileKind, Stat};
use crate::units::format_time;
use std::collections::HashSet;
use std::fmt;
use std::io;

/// A directory with more names is not listed.
const MOST_NAMES: usize = 200_000;

/// What to do about something that differs from what is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays and is a failure.
    Refuse,
    /// It is replaced where it is older.
    ReplaceOlder,
    /// It is replaced.
    Replace,
    /// It stays, whatever it is.
    Leave,
}

/// In what way something that is there is not the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Kind {
        found: FileKind,
    },
    /// Something above it is no directory, or a link.
    Above,
    Size {
        found: u64,
        recorded: u64,
    },
    Mtime {
        found_ns: i64,
        recorded_ns: i64,
    },
    Target,
    Device,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { found } => write!(f, "it is a {}", found.as_str()),
            Self::Above => f.write_str("what is above it is no directory"),
            Self::Size { found, recorded } => {
                write!(f, "it has {found} bytes, the version has {recorded}")
            }
            Self::Mtime { found_ns, recorded_ns } => {
                let times = (format_time(*found_ns), format_time(*recorded_ns));
                write!(f, "it was modified {}, the version {}", times.0, times.1)
            }
            Self::Target => f.write_str("it points elsewhere"),
            Self::Device => f.write_str("it is another device"),
        }
    }
}

/// What is to be done.
#[derive(Debug)]
pub enum Step {
    Make,
    /// In place of what was looked at.
    Replace(Stat),
    /// It is there already. `None` where nobody asked what it is.
    There(Option<Found>),
    Differs(Difference),
}

/// What a mirror may have brought to the path at hand, if this is one.
pub type Before<'a> = dyn FnMut() -> Vec<FileRecord> + 'a;

/// Decides path after path, in path order.
pub struct Judge {
    existing: Existing,
    litter_before_ns: i64,
    /// Of the directories above the path at hand, the outermost first.
    listed: Vec<Listed>,
}

/// What is known of a directory as it was before the restore came to it.
pub struct Listed {
    pub dir: RelPath,
    names: Names,
    /// `None` if there was no such directory.
    pub mtime_ns: Option<i64>,
    /// What it is to be again when something has come in.
    keep_mtime_ns: Option<i64>,
}

enum Names {
    None,
    These(HashSet<Vec<u8>>),
    TooMany,
}

impl Judge {
    /// `litter_before_ns` is when this restore began.
    pub fn new(existing: Existing, litter_before_ns: i64) -> Self {
        Self { existing, litter_before_ns, listed: vec![] }
    }

    /// Forgets what it has listed: the paths begin anew.
    pub fn restart(&mut self) {
        self.listed.clear();
    }

    /// The directory that `path` is in, as it was; true if it is another one than
    /// that of the path before.
    pub fn enter(
        &mut self,
        plantation: &mut Plantation,
        path: &RelPath,
    ) -> Result<(&Listed, bool), FileError> {
        let dir = path.parent().unwrap_or_else(RelPath::root);
        while self.listed.last().is_some_and(|last| !dir.starts_with(&last.dir)) {
            self.listed.pop();
        }
        let new = self.listed.last().is_none_or(|last| last.dir != dir);
        if new {
            let listed = self.list(plantation, dir)?;
            self.listed.push(listed);
        }
        Ok((self.listed.last().expect("it was just pushed"), new))
    }

    fn list(&self, plantation: &mut Plantation, dir: RelPath) -> Result<Listed, FileError> {
        let known_missing = self.listed.last().is_some_and(|above| !above.may_have(&dir));
        let found = match known_missing {
            true => None,
            false => {
                plantation.list(&dir, MOST_NAMES, self.litter_before_ns).map_err(look_error)?
            }
        };
        let mtime_ns = found.as_ref().map(|found| found.stat.mtime_ns);
        let names = match found {
            None => Names::None,
            Some(found) => found.names.map_or(Names::TooMany, Names::These),
        };
        Ok(Listed { dir, names, mtime_ns, keep_mtime_ns: None })
    }

    /// Removes what a killed restore left in a directory that is never entered: one
    /// above the trees. Best effort, like all tidying.
    pub fn clear_away(&self, plantation: &mut Plantation, dir: &RelPath) {
        let _ = plantation.list(dir, 0, self.litter_before_ns);
    }

    /// When something comes into the directory that was entered, its mtime is to be
    /// put back.
    pub fn keep_mtime(&mut self, mtime_ns: i64) {
        if let Some(listed) = self.listed.last_mut() {
            listed.keep_mtime_ns = Some(mtime_ns);
        }
    }

    pub fn mtime_to_keep(&self) -> Option<i64> {
        self.listed.last()?.keep_mtime_ns
    }

    /// What to do about `path`, whose directory was entered.
    pub fn step(
        &self,
        plantation: &mut Plantation,
        path: &RelPath,
        record: &FileRecord,
        before: &mut Before<'_>,
    ) -> Result<Step, FileError> {
        if path.is_root() {
            return Ok(Step::There(None));
        }
        if self.listed.last().is_some_and(|dir| !dir.may_have(path)) {
            return Ok(Step::Make);
        }
        let Some(found) = plantation.lookup(path).map_err(look_error)? else {
            return Ok(Step::Make);
        };
        if self.existing == Existing::Leave {
            return Ok(Step::There(None));
        }
        let target = match found.stat.kind {
            FileKind::Symlink => Some(found.target().map_err(FileError::Look)?),
            _ => None,
        };
        let Some(difference) = difference(record, &found.stat, target.as_deref()) else {
            return Ok(Step::There(Some(found)));
        };
        let untouched = |before: &FileRecord| is_untouched(before, &found, target.as_deref());
        let may_replace = self.may_replace(record, &found.stat)
            || (is_replaceable(record, &found.stat) && before().iter().any(untouched));
        if may_replace {
            tracing::debug!(path = %path, %difference, "replaced");
            return Ok(Step::Replace(found.stat));
        }
        Ok(Step::Differs(difference))
    }

    fn may_replace(&self, record: &FileRecord, stat: &Stat) -> bool {
        is_replaceable(record, stat)
            && match self.existing {
                Existing::Replace => true,
                Existing::ReplaceOlder => stat.mtime_ns < record.mtime_ns,
                Existing::Refuse | Existing::Leave => false,
            }
    }
}

impl Listed {
    /// False if `path`, which is beneath this directory, was surely not there.
    fn may_have(&self, path: &RelPath) -> bool {
        let names = match &self.names {
            Names::None => return false,
            Names::TooMany => return true,
            Names::These(names) => names,
        };
        let start = match self.dir.as_bytes().len() {
            0 => 0,
            len => len + 1,
        };
        let below = path.as_bytes().get(start..).unwrap_or_default();
        let name = below.split(|&byte| byte == b'/').next().unwrap_or_default();
        names.contains(name)
    }
}

/// A directory is never replaced, nor is anything by a directory.
fn is_replaceable(record: &FileRecord, stat: &Stat) -> bool {
    stat.kind != FileKind::Dir && record.kind != FileKind::Dir.code()
}

/// Nobody has changed what came here as this version.
pub fn is_untouched(version: &FileRecord, found: &Found, target: Option<&[u8]>) -> bool {
    difference(version, &found.stat, target).is_none()
}

fn look_error(error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotADirectory => FileError::Differs(Difference::Above),
        _ if error.raw_os_error() == Some(libc::ELOOP) => FileError::Differs(Difference::Above),
        _ => FileError::Look(error),
    }
}

/// How what is there differs from the version, if it does: in its type, a file in
/// size or modification time, a link in where it points.
pub fn difference(record: &FileRecord, stat: &Stat, target: Option<&[u8]>) -> Option<Difference> {
    if stat.kind.code() != record.kind {
        return Some(Difference::Kind { found: stat.kind });
    }
    match stat.kind {
        FileKind::File if stat.size_bytes != record.size_bytes => {
            let (found, recorded) = (stat.size_bytes, record.size_bytes);
            Some(Difference::Size { found, recorded })
        }
        FileKind::File if stat.mtime_ns != record.mtime_ns => {
            let (found_ns, recorded_ns) = (stat.mtime_ns, record.mtime_ns);
            Some(Difference::Mtime { found_ns, recorded_ns })
        }
        FileKind::Symlink => {
            let recorded = record.target.as_ref().map(|target| target.as_bytes());
            (target != recorded).then_some(Difference::Target)
        }
        FileKind::CharDevice | FileKind::BlockDevice => {
            (record.rdev.unwrap_or(0) != stat.rdev).then_some(Difference::Device)
        }
        _ => None,
    }
}
