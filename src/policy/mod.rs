//! Policy types (stand-in).

use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileState {
    Resident,
    Uploaded,
    Stub,
    Dirty,
    Damaged,
    Uploading,
    Stubbing,
    Recalling,
}

impl FileState {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pin {
    None,
    Pinned,
    Excluded,
}

impl Pin {
    pub fn as_str(self) -> &'static str {
        todo!("another room")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}; {mend}")]
pub struct PolicyError {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
    pub what: String,
    pub mend: String,
}

pub struct Names<'n> {
    pub uid: &'n dyn Fn(&str) -> Option<u32>,
    pub gid: &'n dyn Fn(&str) -> Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Ignore,
    Upload,
    Tier,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        todo!("another room")
    }
}

#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub action: Action,
    pub storage_class: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    pub high_pct: f64,
    pub low_pct: f64,
}

#[derive(Debug, Default)]
pub struct PolicySet;

impl PolicySet {
    pub fn load<N: AsRef<str>, T: AsRef<str>>(
        _files: &[(N, T)],
        _names: &Names<'_>,
    ) -> Result<Self, Vec<PolicyError>> {
        Ok(Self)
    }

    pub fn rules(&self) -> &[Rule] {
        todo!("another room")
    }

    pub fn unguarded(&self) -> bool {
        todo!("another room")
    }

    pub fn watermark(&self) -> Option<&Watermark> {
        todo!("another room")
    }
}
