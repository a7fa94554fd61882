//! Mappings: page faults raise no event, so `open` or `mmap` must have waited.

use super::scene::{Done, Played, Scene, checked, same};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// A mapping from the start of a file.
pub struct Map {
    at: *mut libc::c_void,
    len: usize,
}

impl Map {
    pub fn new(file: &File, len: usize, protection: i32, flags: i32) -> io::Result<Self> {
        let fd = file.as_raw_fd();
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { at, len }) }
    }

    pub fn shared(file: &File, len: usize) -> io::Result<Self> {
        Self::new(file, len, libc::PROT_READ, libc::MAP_SHARED)
    }

    /// The bytes; the mapping must be readable and the file as long.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for `len` bytes until `self` is dropped.
        unsafe { std::slice::from_raw_parts(self.at.cast(), self.len) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the same, and only asked of writable mappings.
        unsafe { std::slice::from_raw_parts_mut(self.at.cast(), self.len) }
    }

    fn protect(&self, protection: i32) -> io::Result<()> {
        // SAFETY: our own mapping.
        match unsafe { libc::mprotect(self.at, self.len, protection) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn grow(&mut self, len: usize) -> io::Result<()> {
        // SAFETY: our own mapping, which nobody has borrowed.
        let at = unsafe { libc::mremap(self.at, self.len, len, libc::MREMAP_MAYMOVE) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        (self.at, self.len) = (at, len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        // SAFETY: our own mapping.
        match unsafe { libc::msync(self.at, self.len, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: our own mapping; no slice of it outlives `self`.
        unsafe { libc::munmap(self.at, self.len) };
    }
}

fn seen_through(scene: &Scene, protection: i32, flags: i32) -> Played {
    let map = Map::new(&scene.open()?, scene.len(), protection, flags)?;
    scene.expect(map.bytes())?;
    scene.unchanged()
}

pub fn shared(scene: &Scene) -> Played {
    seen_through(scene, libc::PROT_READ, libc::MAP_SHARED)
}

pub fn private(scene: &Scene) -> Played {
    seen_through(scene, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE)
}

pub fn populated(scene: &Scene) -> Played {
    seen_through(scene, libc::PROT_READ, libc::MAP_SHARED | libc::MAP_POPULATE)
}

pub fn unreadable_then_mprotect(scene: &Scene) -> Played {
    let map = Map::new(&scene.open()?, scene.len(), libc::PROT_NONE, libc::MAP_SHARED)?;
    map.protect(libc::PROT_READ)?;
    scene.expect(map.bytes())?;
    scene.unchanged()
}

pub fn one_page_then_mremap(scene: &Scene) -> Played {
    let mut map = Map::shared(&scene.open()?, 4096)?;
    scene.expect_at(0, map.bytes())?;
    map.grow(scene.len())?;
    scene.expect(map.bytes())?;
    scene.unchanged()
}

/// Only mappings that could be written to have their pages moved.
pub fn remap_file_pages(scene: &Scene) -> Played {
    let map = Map::shared(&scene.open_rw()?, 16 * 4096)?;
    scene.expect_at(0, map.bytes())?;
    // SAFETY: a part of our own mapping gets other pages of the same file.
    let result = unsafe {
        libc::syscall(libc::SYS_remap_file_pages, map.at, 8 * 4096_usize, 0_usize, 150_usize, 0)
    };
    checked(result)?;
    scene.expect_at(150 * 4096, &map.bytes()[..8 * 4096])?;
    scene.expect_at(8 * 4096, &map.bytes()[8 * 4096..])?;
    scene.unchanged()
}

pub fn written_through(scene: &Scene) -> Played {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let mut map = Map::new(&scene.open_rw()?, scene.len(), protection, libc::MAP_SHARED)?;
    map.bytes_mut()[700_000..700_010].copy_from_slice(b"written to");
    map.sync()?;
    let wanted = scene.patched(700_000, b"written to");
    same(map.bytes(), &wanted)?;
    Ok(Some(wanted))
}

/// The mapping outlives the descriptor.
pub fn descriptor_closed(scene: &Scene) -> Played {
    let map = {
        let file = scene.open()?;
        Map::shared(&file, scene.len())?
    };
    scene.expect(map.bytes())?;
    scene.unchanged()
}

/// A write whose source is the mapping of the file.
pub fn as_source_of_a_write(scene: &Scene) -> Played {
    let map = Map::shared(&scene.open()?, scene.len())?;
    let path = scene.dir.join("written");
    std::fs::write(&path, map.bytes())?;
    scene.expect_at_path(&path)?;
    scene.unchanged()
}

/// What a held mapping shows.
pub fn still_right(scene: &Scene, map: &Map) -> Done {
    scene.expect(map.bytes())
}
