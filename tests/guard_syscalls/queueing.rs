//! Reads that the kernel does on behalf of a process that does not wait:
//! io_uring and the older asynchronous interface.

use super::scene::{Block, Played, Scene, aligned, checked, fill};
use crate::support::actor::report;
use io_uring::{IoUring, opcode, types};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// `None`, reported, where the kernel forbids rings.
fn ring() -> io::Result<Option<IoUring>> {
    match IoUring::new(8) {
        Ok(ring) => Ok(Some(ring)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            report(&format!("skip io_uring: {error}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reads all of the file by single requests made by `entry`.
fn read_by(
    scene: &Scene,
    ring: &mut IoUring,
    entry: impl Fn(*mut u8, u32, u64) -> io_uring::squeue::Entry,
) -> Played {
    let mut found = vec![0; scene.len()];
    let n = fill(&mut found, |part, done| {
        let len = part.len().min(300_000) as u32;
        let entry = entry(part.as_mut_ptr(), len, done as u64);
        // SAFETY: the buffer outlives the request, which is waited for below.
        unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        let result = ring.completion().next().expect("it was waited for").result();
        usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
    })?;
    scene.expect(&found[..n])?;
    scene.unchanged()
}

pub fn uring_read(scene: &Scene) -> Played {
    let Some(mut ring) = ring()? else { return scene.unchanged() };
    let file = scene.open()?;
    let fd = types::Fd(file.as_raw_fd());
    read_by(scene, &mut ring, |at, len, offset| {
        opcode::Read::new(fd, at, len).offset(offset).build()
    })
}

pub fn uring_read_of_a_registered_file(scene: &Scene) -> Played {
    let Some(mut ring) = ring()? else { return scene.unchanged() };
    let file = scene.open()?;
    ring.submitter().register_files(&[file.as_raw_fd()])?;
    drop(file);
    read_by(scene, &mut ring, |at, len, offset| {
        opcode::Read::new(types::Fixed(0), at, len).offset(offset).build()
    })
}

/// `struct iocb` of `linux/aio_abi.h`, little endian.
#[repr(C)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    len: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    result_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct IoEvent {
    data: u64,
    object: u64,
    result: i64,
    result2: i64,
}

const IOCB_CMD_PREAD: u16 = 0;

pub fn aio_pread(scene: &Scene) -> Played {
    let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(&scene.path)?;
    let mut blocks = vec![Block([0; 4096]); 24];
    let buffer = aligned(&mut blocks);
    let mut request = Iocb {
        data: 0,
        key: 0,
        rw_flags: 0,
        opcode: IOCB_CMD_PREAD,
        priority: 0,
        fd: file.as_raw_fd().cast_unsigned(),
        buffer: buffer.as_mut_ptr() as u64,
        len: buffer.len() as u64,
        offset: 614_400,
        reserved: 0,
        flags: 0,
        result_fd: 0,
    };
    let (mut context, mut done) = (0u64, IoEvent::default());
    let requests = [&raw mut request];
    let no_limit = std::ptr::null::<libc::timespec>();
    // SAFETY: the structures that these calls take; the only request is waited
    // for before its buffer goes.
    unsafe {
        checked(libc::syscall(libc::SYS_io_setup, 1, &mut context))?;
        checked(libc::syscall(libc::SYS_io_submit, context, 1, requests.as_ptr()))?;
        checked(libc::syscall(libc::SYS_io_getevents, context, 1, 1, &mut done, no_limit))?;
        checked(libc::syscall(libc::SYS_io_destroy, context))?;
    }
    match usize::try_from(done.result) {
        Ok(n) if n == buffer.len() => scene.expect_at(614_400, buffer)?,
        Ok(n) => return Err(format!("only {n} bytes").into()),
        Err(_) => return Err(io::Error::from_raw_os_error(-done.result as i32).into()),
    }
    scene.unchanged()
}
