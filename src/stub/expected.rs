//! Is this still the file that was uploaded?
//!
//! Identity says it is the same inode, size and mtime that nobody wrote, ctime
//! that nobody wrote and then set the mtime back. A caller who has changed the
//! ctime itself takes the new one.

use crate::ids::FileIdent;
use crate::os::handle::file_ident;
use crate::os::stat::statx_fd;
use std::io;
use std::os::fd::AsFd;

/// A file as it was when its upload began, and still when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub ident: FileIdent,
    pub size_bytes: u64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

impl Expected {
    /// The file as it is now.
    pub fn of(file: impl AsFd) -> io::Result<Self> {
        let stat = statx_fd(&file)?;
        Ok(Self {
            ident: file_ident(&file)?,
            size_bytes: stat.size_bytes,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
        })
    }
}

/// The first field that differs.
#[derive(Debug, thiserror::Error)]
pub enum Changed {
    #[error("it is another file (inode {} generation {}, not {} generation {})",
        .found.ino, .found.generation, .expected.ino, .expected.generation)]
    Ident { expected: FileIdent, found: FileIdent },
    #[error("its size is {found} bytes, not {expected}")]
    Size { expected: u64, found: u64 },
    #[error("its mtime is {found} ns, not {expected}")]
    Mtime { expected: i64, found: i64 },
    #[error("its ctime is {found} ns, not {expected}")]
    Ctime { expected: i64, found: i64 },
    #[error("it cannot be looked at")]
    Unknown(#[source] io::Error),
}

/// Compares by descriptor, also one of `O_PATH`; what cannot be looked at counts
/// as changed.
pub fn check_unchanged(file: impl AsFd, expected: &Expected) -> Result<(), Changed> {
    let found = Expected::of(file).map_err(Changed::Unknown)?;
    if found.ident != expected.ident {
        return Err(Changed::Ident { expected: expected.ident, found: found.ident });
    }
    if found.size_bytes != expected.size_bytes {
        return Err(Changed::Size { expected: expected.size_bytes, found: found.size_bytes });
    }
    if found.mtime_ns != expected.mtime_ns {
        return Err(Changed::Mtime { expected: expected.mtime_ns, found: found.mtime_ns });
    }
    if found.ctime_ns != expected.ctime_ns {
        return Err(Changed::Ctime { expected: expected.ctime_ns, found: found.ctime_ns });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn each_field_is_compared_and_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("f");
        std::fs::write(&path, b"12345").expect("write");
        let file = File::open(&path).expect("open");
        let now = Expected::of(&file).expect("stat");
        check_unchanged(&file, &now).expect("nothing happened");
        let ident = FileIdent { generation: now.ident.generation ^ 1, ..now.ident };
        let cases = [
            (Expected { ident, ..now }, "it is another file"),
            (Expected { size_bytes: 4, ..now }, "its size is 5 bytes, not 4"),
            (Expected { mtime_ns: 7, ..now }, "its mtime is"),
            (Expected { ctime_ns: 7, ..now }, "its ctime is"),
        ];
        for (expected, text) in cases {
            let changed = check_unchanged(&file, &expected).expect_err(text).to_string();
            assert!(changed.starts_with(text), "{changed}");
        }
    }
}
