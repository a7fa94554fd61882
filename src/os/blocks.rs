//! Data and holes (stand-in).

use std::fs::File;
use std::io;

pub fn punch_all(_file: &File, _size_bytes: u64) -> io::Result<()> {
    todo!("another room")
}

pub fn set_times(_file: &File, _atime_ns: Option<i64>, _mtime_ns: Option<i64>) -> io::Result<()> {
    todo!("another room")
}
