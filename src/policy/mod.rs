//! Policy types (stand-in).

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
