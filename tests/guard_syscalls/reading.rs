//! The ways to read an open file.

use super::scene::{Block, Played, Scene, aligned, checked, fill, rest};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

pub fn read_whole(scene: &Scene) -> Played {
    scene.expect(&rest(scene.open()?)?)?;
    scene.unchanged()
}

pub fn read_first_page_then_the_rest(scene: &Scene) -> Played {
    let mut file = scene.open()?;
    let mut page = [0; 4096];
    file.read_exact(&mut page)?;
    scene.expect_at(0, &page)?;
    scene.expect_at(4096, &rest(file)?)?;
    scene.unchanged()
}

pub fn read_nothing_and_at_the_end(scene: &Scene) -> Played {
    let mut file = scene.open()?;
    if file.read(&mut [])? != 0 || file.read_at(&mut [0; 4096], scene.len() as u64)? != 0 {
        return Err("read what is not there".into());
    }
    scene.expect(&rest(file)?)?;
    scene.unchanged()
}

pub fn pread_unaligned(scene: &Scene) -> Played {
    let file = scene.open()?;
    for at in [8193, 650_001, scene.len() - 5000] {
        let mut buffer = [0; 5000];
        file.read_exact_at(&mut buffer, at as u64)?;
        scene.expect_at(at, &buffer)?;
    }
    scene.unchanged()
}

pub fn readv(scene: &Scene) -> Played {
    let mut file = scene.open()?;
    let (mut short, mut long) = ([0; 48], [0; 5000]);
    let mut parts = [io::IoSliceMut::new(&mut short), io::IoSliceMut::new(&mut long)];
    let n = file.read_vectored(&mut parts)?;
    scene.expect_at(0, &[&short[..], &long[..]].concat()[..n])?;
    scene.expect_at(n, &rest(file)?)?;
    scene.unchanged()
}

/// `EAGAIN` is an honest answer: not in memory.
pub fn preadv2_nowait(scene: &Scene) -> Played {
    let file = scene.open()?;
    let mut buffer = vec![0; 65_536];
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: one live buffer of the length that is named.
    let n = unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, 614_400, libc::RWF_NOWAIT) };
    match checked(n as libc::c_long) {
        Ok(n) => scene.expect_at(614_400, &buffer[..n])?,
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
        Err(error) => return Err(error.into()),
    }
    scene.unchanged()
}

pub fn open_without_waiting(scene: &Scene) -> Played {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&scene.path)?;
    scene.expect(&rest(file)?)?;
    scene.unchanged()
}

fn direct(scene: &Scene) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECT).open(&scene.path)
}

pub fn direct_one_block(scene: &Scene) -> Played {
    let file = direct(scene)?;
    let mut block = [Block([0; 4096])];
    file.read_exact_at(aligned(&mut block), 618_496)?;
    scene.expect_at(618_496, &block[0].0)?;
    scene.unchanged()
}

pub fn direct_whole(scene: &Scene) -> Played {
    let file = direct(scene)?;
    let mut blocks = vec![Block([0; 4096]); scene.len().div_ceil(4096)];
    let buffer = aligned(&mut blocks);
    let n = fill(buffer, |part, done| {
        // A short read at the end leaves an offset that O_DIRECT refuses.
        if done % 512 == 0 { file.read_at(part, done as u64) } else { Ok(0) }
    })?;
    scene.expect(&buffer[..n])?;
    scene.unchanged()
}

pub fn readahead(scene: &Scene) -> Played {
    let file = scene.open()?;
    // SAFETY: no memory is involved.
    checked(unsafe { libc::readahead(file.as_raw_fd(), 0, scene.len()) } as libc::c_long)?;
    scene.expect(&rest(file)?)?;
    scene.unchanged()
}

pub fn fadvise_willneed(scene: &Scene) -> Played {
    let file = scene.open()?;
    let len = scene.len() as i64;
    // SAFETY: no memory is involved.
    let errno = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, len, libc::POSIX_FADV_WILLNEED) };
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno).into());
    }
    scene.expect(&rest(file)?)?;
    scene.unchanged()
}

/// Two descriptors, the second opened while the first is held.
pub fn two_readers(scene: &Scene) -> Played {
    let first = scene.open()?;
    let second = scene.open()?;
    scene.expect(&rest(second)?)?;
    scene.expect(&rest(first)?)?;
    scene.unchanged()
}

/// A duplicate of a descriptor that another thread reads at the same time.
pub fn two_threads(scene: &Scene) -> Played {
    let read = |file: File| -> Result<Vec<u8>, String> {
        let mut buffer = vec![0; scene.len()];
        file.read_exact_at(&mut buffer, 0).map_err(|error| error.to_string())?;
        Ok(buffer)
    };
    let file = scene.open()?;
    let duplicate = file.try_clone()?;
    let (one, other) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| read(duplicate));
        (read(file), beside.join().expect("no panic"))
    });
    scene.expect(&one?)?;
    scene.expect(&other?)?;
    scene.unchanged()
}
