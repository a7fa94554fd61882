//! Pre-content events (stand-in).

use std::io;
use std::path::Path;

pub enum PreContent {
    Supported,
    NotPermitted,
    NotInKernel,
    NotOnThisFileSystem,
}

pub fn pre_content_supported(_dir: &Path) -> io::Result<PreContent> {
    todo!("another room")
}
