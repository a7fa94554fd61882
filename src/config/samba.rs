//! The `[samba]` section: what Windows clients are shown of stubs.

use crate::document::Section;

const KEYS: [&str; 1] = ["offline"];

/// What is told to clients of Samba.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SambaSection {
    pub offline: OfflineBit,
}

/// Which stubs carry `FILE_ATTRIBUTE_OFFLINE` in `user.DOSATTRIB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OfflineBit {
    /// Those that have the attribute: Samba has written it.
    #[default]
    Auto,
    /// All; where there is no such attribute it is made, which costs a block of
    /// ext4 for each stub.
    Always,
    /// None.
    Never,
}

impl OfflineBit {
    const ALL: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}

/// The section, with the defaults for all that it does not say.
pub(super) fn read(top: &Section<'_, '_>) -> SambaSection {
    let section = top.item("samba").and_then(|item| item.section("[samba]", &KEYS));
    let offline = section
        .and_then(|section| section.item("offline"))
        .and_then(|item| item.word("offline", &OfflineBit::ALL));
    SambaSection { offline: offline.unwrap_or_default() }
}
