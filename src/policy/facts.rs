//! What a policy may know of one file, and the words it answers with.
//!
//! A policy never looks at the disk: whoever asks collects the facts (from the
//! state DB while planning, from a descriptor just before acting), so that one
//! decision can be repeated for another day or against another policy.

use std::fmt;
use std::str::FromStr;

/// What is known of one file. Sizes in bytes, times in nanoseconds since the
/// Unix epoch.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Absolute path of the root, without a slash at its end.
    pub root: &'a [u8],
    /// Path inside the root, `/`-separated, without a slash at its start.
    pub path: &'a [u8],
    /// Last component of `path`.
    pub name: &'a [u8],
    /// `f` regular file, `d` directory, `l` symlink, `p` fifo, `s` socket,
    /// `c` and `b` devices. Rules only ever match `f`.
    pub kind: char,
    pub size_bytes: u64,
    /// Bytes that the file system has allocated for it.
    pub allocated_bytes: u64,
    pub uid: u32,
    pub gid: u32,
    /// Permission bits, 0o7777.
    pub mode: u32,
    /// Number of hard links.
    pub nlink: u32,
    pub atime_ns: i64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    /// When a scan first met the file.
    pub first_seen_ns: i64,
    /// When `hsm` last brought its bytes back; `None` is never.
    pub last_recall_ns: Option<i64>,
    pub state: FileState,
    /// Reads one extended attribute; asked only when a rule needs it and
    /// everything else of that rule has matched.
    pub xattr: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Facts")
            .field("path", &String::from_utf8_lossy(self.path))
            .field("kind", &self.kind)
            .field("size_bytes", &self.size_bytes)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Where a file's bytes are. The last three are written as an intent before the
/// effect and are settled at the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileState {
    /// Bytes local, no copy counted.
    Resident,
    /// Bytes local and a verified copy in the store.
    Uploaded,
    /// Only the placeholder is local.
    Stub,
    /// Changed since its upload.
    Dirty,
    /// The copy is known bad.
    Damaged,
    Uploading,
    Stubbing,
    Recalling,
}

impl FileState {
    pub const ALL: [Self; 8] = [
        Self::Resident,
        Self::Uploaded,
        Self::Stub,
        Self::Dirty,
        Self::Damaged,
        Self::Uploading,
        Self::Stubbing,
        Self::Recalling,
    ];

    /// Those in which some of the file's bytes may be in the store only.
    pub const NOT_ALL_HERE: [Self; 4] =
        [Self::Stub, Self::Stubbing, Self::Recalling, Self::Damaged];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resident => "resident",
            Self::Uploaded => "uploaded",
            Self::Stub => "stub",
            Self::Dirty => "dirty",
            Self::Damaged => "damaged",
            Self::Uploading => "uploading",
            Self::Stubbing => "stubbing",
            Self::Recalling => "recalling",
        }
    }
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no [`FileState`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown file state {0:?}")]
pub struct UnknownState(pub String);

impl FromStr for FileState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// What a rule does with the files it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Leave the file alone.
    Ignore,
    /// Keep a verified copy in the store and the bytes here.
    Upload,
    /// Upload, then free the local blocks.
    Tier,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Upload => "upload",
            Self::Tier => "tier",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A person's word on a file, stronger than any rule; directories hand it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Pin {
    #[default]
    None,
    /// The bytes stay here; uploading is welcome.
    Pinned,
    /// `hsm` keeps away altogether.
    Excluded,
}

impl Pin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pinned => "pinned",
            Self::Excluded => "excluded",
        }
    }

    /// What is left of an action under this pin.
    pub fn limit(self, action: Action) -> Action {
        match self {
            Self::None => action,
            Self::Pinned => action.min(Action::Upload),
            Self::Excluded => Action::Ignore,
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Nanoseconds from `then_ns` to `now_ns`; a timestamp of the future counts as
/// now, so that a wrong clock makes a file young and never cold.
pub(super) fn age_ns(now_ns: i64, then_ns: i64) -> i64 {
    now_ns.saturating_sub(then_ns).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_survive_their_words() {
        for state in FileState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("Stub".parse::<FileState>().is_err());
    }

    #[test]
    fn a_pin_only_ever_takes_away() {
        for action in [Action::Ignore, Action::Upload, Action::Tier] {
            assert_eq!(Pin::None.limit(action), action);
            assert!(Pin::Pinned.limit(action) <= Action::Upload);
            assert_eq!(Pin::Excluded.limit(action), Action::Ignore);
        }
        assert_eq!(Pin::Pinned.limit(Action::Tier), Action::Upload);
        assert_eq!(Pin::Pinned.limit(Action::Ignore), Action::Ignore);
    }

    #[test]
    fn the_future_is_now_and_nothing_overflows() {
        assert_eq!(age_ns(100, 40), 60);
        assert_eq!(age_ns(100, 140), 0);
        assert_eq!(age_ns(i64::MAX, i64::MIN), i64::MAX);
        assert_eq!(age_ns(i64::MIN, i64::MAX), 0);
    }
}
