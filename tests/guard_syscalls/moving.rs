//! Copies that the kernel makes: from the stub, and into it.

use super::scene::{Played, Scene, checked, fill, rest, same};
use crate::support::trees::noise;
use rustix::fs::copy_file_range;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// Where and how much is copied into a stub; block-aligned, in a hole and in
/// data of the sparse content.
const INTO: (usize, usize) = (524_288, 131_072);

pub fn copy_file_range_from(scene: &Scene) -> Played {
    let (path, target) = scene.beside("copy", b"")?;
    let source = scene.open()?;
    while copy_file_range(&source, None, &target, None, 1 << 20)? > 0 {}
    scene.expect_at_path(&path)?;
    scene.unchanged()
}

pub fn copy_file_range_into(scene: &Scene) -> Played {
    let patch = noise(77, INTO.1);
    let (_, source) = scene.beside("source", &patch)?;
    let target = scene.open_rw()?;
    let (mut from, mut to) = (0, INTO.0 as u64);
    while from < INTO.1 as u64 {
        let left = INTO.1 - from as usize;
        if copy_file_range(&source, Some(&mut from), &target, Some(&mut to), left)? == 0 {
            return Err("the source ends early".into());
        }
    }
    Ok(Some(scene.patched(INTO.0, &patch)))
}

pub fn sendfile_to_a_file(scene: &Scene) -> Played {
    let (path, target) = scene.beside("copy", b"")?;
    let source = scene.open()?;
    while rustix::fs::sendfile(&target, &source, None, 1 << 20)? > 0 {}
    scene.expect_at_path(&path)?;
    scene.unchanged()
}

pub fn sendfile_to_a_socket(scene: &Scene) -> Played {
    let (ours, theirs) = UnixStream::pair()?;
    let reader = std::thread::spawn(move || rest(theirs));
    let source = scene.open()?;
    while rustix::fs::sendfile(&ours, &source, None, 1 << 20)? > 0 {}
    drop(ours);
    scene.expect(&reader.join().expect("no panic")?)?;
    scene.unchanged()
}

pub fn splice_to_a_pipe(scene: &Scene) -> Played {
    let (mut reader, writer) = io::pipe()?;
    let source = scene.open()?;
    let mut found = vec![0; scene.len()];
    let n = fill(&mut found, |part, _| {
        let (from, to, null) = (source.as_raw_fd(), writer.as_raw_fd(), std::ptr::null_mut());
        // SAFETY: no offsets are passed.
        let n = unsafe { libc::splice(from, null, to, null, part.len().min(65_536), 0) };
        let n = checked(n as libc::c_long)?;
        reader.read_exact(&mut part[..n])?;
        Ok(n)
    })?;
    scene.expect(&found[..n])?;
    scene.unchanged()
}

pub fn clone_whole(scene: &Scene) -> Played {
    let (path, target) = scene.beside("clone", b"")?;
    rustix::fs::ioctl_ficlone(&target, scene.open()?)?;
    scene.expect_at_path(&path)?;
    scene.unchanged()
}

pub fn clone_range_from(scene: &Scene) -> Played {
    let (path, target) = scene.beside("clone", b"")?;
    clone_range(&scene.open()?, 65_536, 131_072, &target, 0)?;
    scene.expect_at(65_536, &std::fs::read(path)?)?;
    scene.unchanged()
}

pub fn clone_range_into(scene: &Scene) -> Played {
    let patch = noise(78, INTO.1);
    let (_, source) = scene.beside("source", &patch)?;
    source.sync_all()?;
    clone_range(&source, 0, INTO.1 as u64, &scene.open_rw()?, INTO.0 as u64)?;
    Ok(Some(scene.patched(INTO.0, &patch)))
}

/// `FICLONE` over a stub replaces it whole.
pub fn clone_over(scene: &Scene) -> Played {
    let other = noise(79, scene.len());
    let (_, source) = scene.beside("source", &other)?;
    source.sync_all()?;
    rustix::fs::ioctl_ficlone(scene.open_rw()?, &source)?;
    Ok(Some(other))
}

fn clone_range(from: &File, start: u64, len: u64, to: &File, at: u64) -> io::Result<()> {
    let range = libc::file_clone_range {
        src_fd: from.as_raw_fd().into(),
        src_offset: start,
        src_length: len,
        dest_offset: at,
    };
    // SAFETY: the structure that this request takes.
    checked(unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONERANGE, &range) }.into()).map(drop)
}

/// `struct file_dedupe_range` of `linux/fs.h` with one target.
#[repr(C)]
struct Dedupe {
    src_offset: u64,
    src_length: u64,
    dest_count: u16,
    reserved: [u16; 3],
    dest_fd: i64,
    dest_offset: u64,
    bytes_deduped: u64,
    status: i32,
    reserved2: u32,
}

const FIDEDUPERANGE: libc::c_ulong = 0xC018_9436;
const DEDUPE_DIFFERS: i32 = 1;
const DEDUPE_LEN: u64 = 65_536;

/// Status of a deduplication of the first bytes of both.
fn dedupe(from: &File, to: &File) -> io::Result<i32> {
    let mut range = Dedupe {
        src_offset: 0,
        src_length: DEDUPE_LEN,
        dest_count: 1,
        reserved: [0; 3],
        dest_fd: to.as_raw_fd().into(),
        dest_offset: 0,
        bytes_deduped: 0,
        status: -1,
        reserved2: 0,
    };
    // SAFETY: the structure that this request takes, with room for one answer.
    checked(unsafe { libc::ioctl(from.as_raw_fd(), FIDEDUPERANGE, &mut range) }.into())?;
    Ok(range.status)
}

pub fn dedupe_with_zeros(scene: &Scene) -> Played {
    let (_, zeros) = scene.beside("zeros", &[0; DEDUPE_LEN as usize])?;
    let file = scene.open_rw()?;
    for (from, to) in [(&file, &zeros), (&zeros, &file)] {
        match dedupe(from, to)? {
            DEDUPE_DIFFERS => {}
            status => return Err(format!("zeros count as equal: {status}").into()),
        }
    }
    scene.unchanged()
}

pub fn dedupe_with_a_copy(scene: &Scene) -> Played {
    let (path, copy) = scene.beside("copy", &scene.bytes[..DEDUPE_LEN as usize])?;
    copy.sync_all()?;
    match dedupe(&copy, &scene.open_rw()?)? {
        0 => {}
        status => return Err(format!("a copy does not count as equal: {status}").into()),
    }
    same(&std::fs::read(path)?, &scene.bytes[..DEDUPE_LEN as usize])?;
    scene.unchanged()
}
