//! Which file system and root directory a path is (stand-in).

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsIdentity {
    pub kind: String,
    pub uuid: String,
    pub root_ino: u64,
    pub root_generation: u32,
}

impl fmt::Display for FsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.kind, self.uuid, self.root_ino, self.root_generation)
    }
}
