//! Operations that look at bytes.

use super::pattern::check;
use super::world::{Did, Mapped, Outcome, Trouble, World};
use rustix::fs::{SeekFrom, seek};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::{Command, Stdio};

fn all_of(mut file: File) -> Result<Vec<u8>, Trouble> {
    let mut bytes = vec![];
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub fn read(world: &mut World) -> Outcome {
    let file = world.any_file();
    world.verify_whole(file, || all_of(world.open_to_read(file)?))
}

pub fn pread(world: &mut World) -> Outcome {
    let file = world.any_file();
    let (from, len) = (world.dice.below(100_000) as usize, 1 + world.dice.below(30_000) as usize);
    world.verify(file, from, len, || {
        let mut bytes = vec![0; len];
        let n = world.open_to_read(file)?.read_at(&mut bytes, from as u64)?;
        bytes.truncate(n);
        Ok(bytes)
    })
}

#[repr(align(4096))]
#[derive(Clone, Copy)]
struct Block {
    _bytes: [u8; 4096],
}

/// Told only where nobody writes meanwhile: between a write and its blocks the
/// disk has nothing to show.
pub fn direct(world: &mut World) -> Outcome {
    let file = world.any_file();
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_DIRECT);
    let opened = world.open(file, &options)?;
    let before = world.file(file).current();
    let mut blocks = vec![Block { _bytes: [0; 4096] }; before.len().div_ceil(4096)];
    let len = size_of_val(&blocks[..]);
    // SAFETY: blocks are plain bytes without padding.
    let buffer = unsafe { std::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast::<u8>(), len) };
    let n = opened.read_at(buffer, 0)?;
    let after = world.file(file).writing();
    if before != after {
        return Ok(Did::Nothing);
    }
    if n != before.len() {
        return Err(Trouble::Wrong(format!("file {file}: {n} bytes of {before:?}, direct")));
    }
    check(file, &(before.number..=before.number), 0, &buffer[..n]).map_err(Trouble::Wrong)?;
    Ok(Did::Verified)
}

/// A mapping of the file's first `len` bytes; `None` while it is being cut.
fn map(world: &World, file: usize, opened: &File, len: usize) -> Result<Option<Mapped>, Trouble> {
    let of = world.file(file);
    if !of.map() {
        return Ok(None);
    }
    // Counted from here on: it can only grow.
    let there = opened.metadata().map(|meta| meta.len() as usize);
    let len = len.min(there.unwrap_or(0));
    let (protection, fd) = (libc::PROT_READ, opened.as_raw_fd());
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = match len {
        0 => libc::MAP_FAILED,
        len => unsafe {
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd, 0)
        },
    };
    if at == libc::MAP_FAILED {
        let error = io::Error::last_os_error();
        of.unmap();
        return if len == 0 { Ok(None) } else { Err(error.into()) };
    }
    Ok(Some(Mapped { at, len, of, file }))
}

fn verify_map(world: &World, map: &Mapped) -> Outcome {
    let before = world.file(map.file).current();
    let bytes = map.bytes().to_vec();
    let after = world.file(map.file).writing();
    let bytes = &bytes[..bytes.len().min(before.len())];
    check(map.file, &(before.number..=after.number), 0, bytes).map_err(Trouble::Wrong)?;
    Ok(Did::Verified)
}

pub fn mmap(world: &mut World) -> Outcome {
    let file = world.any_file();
    let opened = world.open_to_read(file)?;
    match map(world, file, &opened, usize::MAX)? {
        Some(map) => verify_map(world, &map),
        None => Ok(Did::Nothing),
    }
}

pub fn mremap(world: &mut World) -> Outcome {
    let file = world.any_file();
    let opened = world.open_to_read(file)?;
    let Some(mut map) = map(world, file, &opened, 4096)? else { return Ok(Did::Nothing) };
    verify_map(world, &map)?;
    let len = opened.metadata()?.len() as usize;
    // SAFETY: our own mapping, borrowed by nobody.
    let at = unsafe { libc::mremap(map.at, map.len, len, libc::MREMAP_MAYMOVE) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error().into());
    }
    (map.at, map.len) = (at, len);
    verify_map(world, &map)
}

pub fn sendfile(world: &mut World) -> Outcome {
    let file = world.any_file();
    let copy = world.away.join(format!("sent-{}", world.slot));
    world.verify_whole(file, || {
        let source = world.open_to_read(file)?;
        let target = File::create(&copy)?;
        while rustix::fs::sendfile(&target, &source, None, 1 << 20)? > 0 {}
        Ok(std::fs::read(&copy)?)
    })
}

pub fn copy_file_range(world: &mut World) -> Outcome {
    let file = world.any_file();
    let copy = world.beside.join(format!("copied-{}", world.slot));
    world.verify_whole(file, || {
        let source = world.open_to_read(file)?;
        let target = File::create(&copy)?;
        while rustix::fs::copy_file_range(&source, None, &target, None, 1 << 20)? > 0 {}
        Ok(std::fs::read(&copy)?)
    })
}

/// Nobody writes holes here, so there are none.
pub fn seek_data(world: &mut World) -> Outcome {
    let file = world.any_file();
    let opened = world.open_to_read(file)?;
    let before = world.file(file).current();
    let data = seek(&opened, SeekFrom::Data(0));
    let hole = seek(&opened, SeekFrom::Hole(0));
    if before != world.file(file).writing() {
        return Ok(Did::Nothing);
    }
    if data != Ok(0) || hole != Ok(before.len() as u64) {
        let found = format!("data at {data:?}, a hole at {hole:?}");
        return Err(Trouble::Wrong(format!("file {file}, {before:?}: {found}")));
    }
    Ok(Did::Verified)
}

/// Keeps a descriptor for a while before it is read.
pub fn held_descriptor(world: &mut World) -> Outcome {
    if let Some((opened, file)) = world.held_file.take() {
        return world.verify_whole(file, || all_of(opened));
    }
    let file = world.any_file();
    world.held_file = Some((world.open_to_read(file)?, file));
    Ok(Did::Nothing)
}

/// Keeps a mapping for a while before it is looked at.
pub fn held_mapping(world: &mut World) -> Outcome {
    if let Some(map) = world.held_map.take() {
        return verify_map(world, &map);
    }
    let file = world.any_file();
    let opened = world.open_to_read(file)?;
    world.held_map = map(world, file, &opened, usize::MAX)?;
    Ok(Did::Nothing)
}

/// Small programs that are stubs most of the time.
pub const PROGRAMS: usize = 4;

pub fn program_text(nth: usize) -> String {
    let padding = "# a line that nobody runs\n".repeat(400);
    format!("#!/bin/sh\n{padding}echo program {nth}\n")
}

pub fn execute(world: &mut World) -> Outcome {
    let nth = world.dice.below(PROGRAMS as u64) as usize;
    let mut command = Command::new(world.root.join(format!("program{nth}")));
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
    if output.stdout == format!("program {nth}\n").as_bytes() {
        return Ok(Did::Verified);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("Input/output error") || said.contains("Resource temporarily unavailable") {
        // The shell was let in and then refused.
        return Err(io::Error::from_raw_os_error(libc::EIO).into());
    }
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    Err(Trouble::Wrong(format!("program {nth}: {} {stdout:?} {said:?}", output.status)))
}
