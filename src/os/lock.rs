//! One run at a time (stand-in).

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("locked by another run ({by})")]
    Held { by: String },
    #[error("lock {}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

pub struct RunLock;

impl RunLock {
    pub fn acquire(_path: &Path, _holder: &str) -> Result<Self, LockError> {
        todo!("another room")
    }
}
