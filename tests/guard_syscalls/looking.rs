//! Questions about a file: those that need its data must wait for it, the
//! others must leave the stub a stub.

use super::scene::{Played, Scene, checked, rest};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, Timespec, Timestamps, seek};
use std::fs::Permissions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

pub fn seek_data_and_hole(scene: &Scene) -> Played {
    let file = scene.open()?;
    let (mut found, mut at) = (vec![], 0);
    let len = scene.len() as u64;
    while at < len {
        let Ok(start) = seek(&file, SeekFrom::Data(at)) else { break };
        at = seek(&file, SeekFrom::Hole(start))?;
        found.push((start, at));
    }
    let wanted = scene.content.data(len);
    if found != wanted {
        return Err(format!("data at {found:?}, not at {wanted:?}").into());
    }
    scene.unchanged()
}

/// `struct fiemap` of `linux/fiemap.h` with room for some extents.
#[repr(C)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [Extent; 64],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved2: [u32; 3],
}

const FS_IOC_FIEMAP: libc::c_ulong = 0xC020_660B;
const FIEMAP_FLAG_SYNC: u32 = 1;
const FIEMAP_EXTENT_UNWRITTEN: u32 = 0x800;

/// Every byte of data lies in an extent that was written.
pub fn fiemap(scene: &Scene) -> Played {
    let file = scene.open()?;
    let mut map = Fiemap {
        start: 0,
        length: u64::MAX,
        flags: FIEMAP_FLAG_SYNC,
        mapped: 0,
        count: 64,
        reserved: 0,
        extents: [Extent::default(); 64],
    };
    // SAFETY: the structure that this request takes, with the room it names.
    checked(unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &mut map) }.into())?;
    let extents = &map.extents[..map.mapped as usize];
    let written = extents.iter().filter(|extent| extent.flags & FIEMAP_EXTENT_UNWRITTEN == 0);
    for (start, end) in scene.content.data(scene.len() as u64) {
        let covered: u64 = written
            .clone()
            .map(|extent| {
                let (from, to) = (extent.logical, extent.logical + extent.length);
                to.min(end).saturating_sub(from.max(start))
            })
            .sum();
        if covered != end - start {
            return Err(format!("only {covered} bytes of {start}..{end} have extents").into());
        }
    }
    scene.unchanged()
}

pub fn stat(scene: &Scene) -> Played {
    if std::fs::metadata(&scene.path)?.size() != scene.len() as u64 {
        return Err("another size".into());
    }
    scene.expect_still_a_stub(&scene.path)?;
    scene.unchanged()
}

pub fn list_and_get_xattrs(scene: &Scene) -> Played {
    for name in xattr::list(&scene.path)? {
        xattr::get(&scene.path, name)?;
    }
    scene.expect_still_a_stub(&scene.path)?;
    scene.unchanged()
}

pub fn path_descriptor(scene: &Scene) -> Played {
    let path = rustix::fs::open(&scene.path, OFlags::PATH, Mode::empty())?;
    if rustix::fs::fstat(&path)?.st_size != scene.len() as i64 {
        return Err("another size".into());
    }
    scene.expect_still_a_stub(&scene.path)?;
    scene.unchanged()
}

pub fn path_descriptor_opened_again(scene: &Scene) -> Played {
    let path = rustix::fs::open(&scene.path, OFlags::PATH, Mode::empty())?;
    let file = std::fs::File::open(format!("/proc/self/fd/{}", path.as_raw_fd()))?;
    scene.expect(&rest(file)?)?;
    scene.unchanged()
}

/// Mode, owner and attributes that a user sets on a stub stay with the file.
pub fn change_mode_owner_and_attributes(scene: &Scene) -> Played {
    std::fs::set_permissions(&scene.path, Permissions::from_mode(0o640))?;
    std::os::unix::fs::chown(&scene.path, Some(1234), Some(2345))?;
    xattr::set(&scene.path, "user.note", b"kept")?;
    scene.expect_still_a_stub(&scene.path)?;
    scene.expect_at_path(&scene.path)?;
    let meta = std::fs::metadata(&scene.path)?;
    let kept = (meta.mode() & 0o7777, meta.uid(), meta.gid());
    let note = xattr::get(&scene.path, "user.note")?;
    if kept != (0o640, 1234, 2345) || note.as_deref() != Some(b"kept") {
        return Err(format!("lost by the recall: {kept:?}, {note:?}").into());
    }
    scene.unchanged()
}

/// A time that a user sets on a stub, without opening it, stays with the file.
pub fn change_times(scene: &Scene) -> Played {
    let then = Timespec { tv_sec: 981_173_106, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: then, last_modification: then };
    rustix::fs::utimensat(CWD, &scene.path, &times, AtFlags::empty())?;
    scene.expect_still_a_stub(&scene.path)?;
    scene.expect_at_path(&scene.path)?;
    let meta = std::fs::metadata(&scene.path)?;
    if (meta.mtime(), meta.mtime_nsec()) != (then.tv_sec, then.tv_nsec) {
        return Err("the recall moved the mtime".into());
    }
    scene.unchanged()
}
