//! Writes, truncations and allocations: what was there before must be there
//! around them, and what was cut off must never come back.

use super::scene::{Block, Played, Scene, aligned, checked};
use rustix::fs::FallocateFlags;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

const PATCH: &[u8] = b"bytes of the user's own";

pub fn write_at_the_start(scene: &Scene) -> Played {
    File::options().write(true).open(&scene.path)?.write_all(PATCH)?;
    Ok(Some(scene.patched(0, PATCH)))
}

pub fn pwrite_in_the_middle(scene: &Scene) -> Played {
    scene.open_rw()?.write_all_at(PATCH, 620_001)?;
    Ok(Some(scene.patched(620_001, PATCH)))
}

pub fn pwrite_beyond_the_end(scene: &Scene) -> Played {
    let at = scene.len() + 100_000;
    scene.open_rw()?.write_all_at(PATCH, at as u64)?;
    Ok(Some(scene.patched(at, PATCH)))
}

pub fn append(scene: &Scene) -> Played {
    File::options().append(true).open(&scene.path)?.write_all(PATCH)?;
    Ok(Some(scene.patched(scene.len(), PATCH)))
}

pub fn direct_pwrite(scene: &Scene) -> Played {
    let file = File::options().write(true).custom_flags(libc::O_DIRECT).open(&scene.path)?;
    let mut block = [Block([b'd'; 4096])];
    file.write_all_at(aligned(&mut block), 622_592)?;
    drop(file);
    Ok(Some(scene.patched(622_592, &[b'd'; 4096])))
}

pub fn splice_into(scene: &Scene) -> Played {
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(PATCH)?;
    let mut file = scene.open_rw()?;
    file.seek(SeekFrom::Start(630_000))?;
    let (from, to, null) = (reader.as_raw_fd(), file.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: no offsets are passed.
    let n = unsafe { libc::splice(from, null, to, null, PATCH.len(), 0) };
    if checked(n as libc::c_long)? != PATCH.len() {
        return Err("a short splice".into());
    }
    Ok(Some(scene.patched(630_000, PATCH)))
}

/// Zeros between the new bytes and the new end: no old byte may come back.
pub fn truncating_open_write_extend(scene: &Scene) -> Played {
    let mut file = File::options().write(true).truncate(true).open(&scene.path)?;
    file.write_all(PATCH)?;
    file.set_len(scene.len() as u64)?;
    let mut wanted = PATCH.to_vec();
    wanted.resize(scene.len(), 0);
    Ok(Some(wanted))
}

pub fn truncating_open(scene: &Scene) -> Played {
    File::options().write(true).truncate(true).open(&scene.path)?;
    Ok(Some(vec![]))
}

fn resized(scene: &Scene, lens: &[usize], resize: impl Fn(usize) -> io::Result<()>) -> Played {
    let mut wanted = scene.bytes.clone();
    for len in lens {
        resize(*len)?;
        wanted.resize(*len, 0);
    }
    Ok(Some(wanted))
}

fn by_descriptor(scene: &Scene, lens: &[usize]) -> Played {
    let file = scene.open_rw()?;
    resized(scene, lens, |len| file.set_len(len as u64))
}

/// `truncate(2)` opens nothing.
fn by_path(scene: &Scene, lens: &[usize]) -> Played {
    let path = CString::new(scene.path.as_os_str().as_bytes())?;
    resized(scene, lens, |len| {
        // SAFETY: a C string that lives as long as the call.
        checked(unsafe { libc::truncate(path.as_ptr(), len as i64) }.into()).map(drop)
    })
}

pub fn ftruncate_shrink(scene: &Scene) -> Played {
    by_descriptor(scene, &[500_000])
}

pub fn ftruncate_grow(scene: &Scene) -> Played {
    by_descriptor(scene, &[1_500_000])
}

pub fn ftruncate_to_nothing_and_back(scene: &Scene) -> Played {
    by_descriptor(scene, &[0, 1 << 20])
}

pub fn truncate_shrink(scene: &Scene) -> Played {
    by_path(scene, &[500_000])
}

pub fn truncate_shrink_and_grow(scene: &Scene) -> Played {
    by_path(scene, &[650_001, 1 << 20])
}

pub fn truncate_grow(scene: &Scene) -> Played {
    by_path(scene, &[1_500_000])
}

pub fn truncate_to_nothing(scene: &Scene) -> Played {
    by_path(scene, &[0])
}

pub fn truncate_to_nothing_and_back(scene: &Scene) -> Played {
    by_path(scene, &[0, 1 << 20])
}

fn allocate(scene: &Scene, mode: FallocateFlags, at: u64, len: u64) -> Result<(), io::Error> {
    Ok(rustix::fs::fallocate(scene.open_rw()?, mode, at, len)?)
}

pub fn fallocate_beyond_the_end(scene: &Scene) -> Played {
    let end = scene.len() as u64 + 50_000;
    allocate(scene, FallocateFlags::empty(), 0, end)?;
    let mut wanted = scene.bytes.clone();
    wanted.resize(end as usize, 0);
    Ok(Some(wanted))
}

pub fn fallocate_keep_size(scene: &Scene) -> Played {
    allocate(scene, FallocateFlags::KEEP_SIZE, 0, 2 << 20)?;
    scene.unchanged()
}

/// In data of both contents, unaligned at both ends.
const CUT: (usize, usize) = (620_001, 70_000);

fn zeroed(scene: &Scene) -> Vec<u8> {
    scene.patched(CUT.0, &vec![0; CUT.1])
}

pub fn fallocate_punch_hole(scene: &Scene) -> Played {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    allocate(scene, mode, CUT.0 as u64, CUT.1 as u64)?;
    Ok(Some(zeroed(scene)))
}

pub fn fallocate_zero_range(scene: &Scene) -> Played {
    allocate(scene, FallocateFlags::ZERO_RANGE, CUT.0 as u64, CUT.1 as u64)?;
    Ok(Some(zeroed(scene)))
}

pub fn fallocate_collapse(scene: &Scene) -> Played {
    allocate(scene, FallocateFlags::COLLAPSE_RANGE, 131_072, 65_536)?;
    let mut wanted = scene.bytes.clone();
    wanted.drain(131_072..131_072 + 65_536);
    Ok(Some(wanted))
}

pub fn fallocate_insert(scene: &Scene) -> Played {
    allocate(scene, FallocateFlags::INSERT_RANGE, 131_072, 65_536)?;
    let mut wanted = scene.bytes.clone();
    wanted.splice(131_072..131_072, std::iter::repeat_n(0, 65_536));
    Ok(Some(wanted))
}
