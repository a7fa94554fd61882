//! A file's blocks: which are there, giving them back, getting them again.
//!
//! Guards against two ways of leaving space behind (found by experiment on
//! ext4, xfs and btrfs): a punch frees only whole blocks, so its end is rounded
//! up beyond the end of the file; and preallocation beyond the end stays after
//! it. Size and mode are never changed here. A punch changes mtime and ctime;
//! [`set_times`] can put the first back, nothing can the second.

use super::stat::statx_fd;
use rustix::fs::{FallocateFlags, SeekFrom, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// No file system has larger blocks or allocation units; rounding the end of a
/// punch up further costs nothing, as there is nothing behind the end.
const ROUND_BYTES: u64 = 1 << 20;

/// What may stay allocated after everything was punched: extended attributes
/// that do not fit the inode count as blocks of the file.
pub const LEFTOVER_BYTES: u64 = 64 << 10;

/// The parts of `0..size_bytes` that hold data, ascending, not touching each
/// other; on a file system that cannot tell, all of it. Data not yet written
/// back counts; preallocated blocks without data do not. The file's position is
/// as it was.
pub fn data_extents(file: &File, size_bytes: u64) -> io::Result<Vec<Range<u64>>> {
    let position = rustix::fs::tell(file)?;
    let mut extents = Vec::new();
    let mut at = 0;
    while let Some(extent) = next_extent(file, at, size_bytes)? {
        at = extent.end;
        extents.push(extent);
    }
    rustix::fs::seek(file, SeekFrom::Start(position))?;
    Ok(extents)
}

/// Whether nothing of `0..size_bytes` holds data.
pub fn is_all_hole(file: &File, size_bytes: u64) -> io::Result<bool> {
    first_extent(file, size_bytes).map(|first| first.is_none())
}

/// Whether `0..size_bytes` has no hole anywhere.
pub fn is_all_data(file: &File, size_bytes: u64) -> io::Result<bool> {
    Ok(size_bytes == 0 || first_extent(file, size_bytes)? == Some(0..size_bytes))
}

fn first_extent(file: &File, size_bytes: u64) -> io::Result<Option<Range<u64>>> {
    let position = rustix::fs::tell(file)?;
    let first = next_extent(file, 0, size_bytes)?;
    rustix::fs::seek(file, SeekFrom::Start(position))?;
    Ok(first)
}

fn next_extent(file: &File, from: u64, size_bytes: u64) -> io::Result<Option<Range<u64>>> {
    if from >= size_bytes {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) if start < size_bytes => start,
        Ok(_) | Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(from..size_bytes)),
        Err(errno) => return Err(errno.into()),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
    Ok(Some(start..end.min(size_bytes)))
}

/// Whether there is no other byte in the file; reads up to the first that is.
pub fn reads_as_zeros(file: &File) -> io::Result<bool> {
    let (mut buffer, mut at) = (vec![0; 1 << 20], 0);
    loop {
        let read = file.read_at(&mut buffer, at)?;
        if buffer[..read].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
        at += read as u64;
    }
}

/// Frees every block of the file and keeps its size, `size_bytes`. On return
/// the change is visible, not durable.
///
/// ext4 gives preallocation beyond the end back only to a truncation to the
/// same size, which would cut off what someone appends in that very moment: so
/// it is done only if there is much to gain and the size is unchanged, and a
/// caller who holds a lease meanwhile excludes even that.
pub fn punch_all(file: &File, size_bytes: u64) -> io::Result<()> {
    let end = size_bytes.checked_next_multiple_of(ROUND_BYTES).unwrap_or(i64::MAX as u64);
    punch_range(file, 0..end.min(i64::MAX as u64))?;
    if statx_fd(file)?.allocated_bytes <= LEFTOVER_BYTES {
        return Ok(());
    }
    // xfs and btrfs take a range far beyond the end; ext4 ignores or refuses it.
    match punch_range(file, 0..1 << 62) {
        Ok(()) => {}
        Err(error) if is(&error, Errno::FBIG) || is(&error, Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    let stat = statx_fd(file)?;
    if stat.allocated_bytes > LEFTOVER_BYTES && stat.size_bytes == size_bytes {
        rustix::fs::ftruncate(file, size_bytes)?;
    }
    Ok(())
}

/// Makes a hole; the parts of blocks at its ends are zeroed. The file keeps its
/// size.
pub fn punch_range(file: &File, range: Range<u64>) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let length = range.end - range.start;
    let punch = || rustix::fs::fallocate(file, flags, range.start, length);
    Ok(rustix::io::retry_on_intr(punch)?)
}

/// Reserves blocks for a range, so that writing it cannot fail for want of
/// space. `false` where the file system cannot; `ENOSPC` and `EDQUOT` come as
/// errors.
pub fn allocate(file: &File, range: Range<u64>) -> io::Result<bool> {
    if range.is_empty() {
        return Ok(true);
    }
    let length = range.end - range.start;
    let reserve = || rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, range.start, length);
    match rustix::io::retry_on_intr(reserve) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        reserved => Ok(reserved.map(|()| true)?),
    }
}

/// Makes everything written to the file system so far durable, data and
/// metadata: one wait for a whole batch.
pub fn syncfs(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fd)?)
}

/// Sets the times that are given and leaves the others exactly as they are.
/// Needs the owner or root.
pub fn set_times(file: &File, atime_ns: Option<i64>, mtime_ns: Option<i64>) -> io::Result<()> {
    let times =
        Timestamps { last_access: timespec(atime_ns), last_modification: timespec(mtime_ns) };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// `None` leaves the time as it is.
pub(super) fn timespec(time_ns: Option<i64>) -> Timespec {
    match time_ns {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(ns) => {
            Timespec { tv_sec: ns.div_euclid(1_000_000_000), tv_nsec: ns.rem_euclid(1_000_000_000) }
        }
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

#[cfg(test)]
#[path = "blocks_tests.rs"]
mod tests;
