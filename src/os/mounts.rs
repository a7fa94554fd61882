//! Mount facts (stand-in).

use std::io;
use std::path::{Path, PathBuf};

pub enum AtimeMode {
    Never,
    Relative,
    Always,
}

pub struct Mount {
    pub fs_type: String,
}

impl Mount {
    pub fn read_only(&self) -> bool {
        todo!("another room")
    }

    pub fn atime(&self) -> AtimeMode {
        todo!("another room")
    }
}

pub struct MountFacts {
    pub mount: Mount,
    pub has_journal: Option<bool>,
    pub also_at: Vec<PathBuf>,
}

pub fn facts(_path: &Path) -> io::Result<MountFacts> {
    todo!("another room")
}
