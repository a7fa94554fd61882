//! Unix stream sockets in a directory of our own, with descriptors in messages.
//!
//! Who may connect is decided by the directory: it belongs to us and nobody
//! else may write in it, so a socket in it was made by us (or by root), and
//! nobody can put another in its place between the check and the bind. All
//! names are resolved below its descriptor.
//!
//! A socket address holds 108 bytes, less than a run directory's path may have.
//! So addresses are written as `/proc/self/fd/<directory>/<name>` (`/proc` must
//! be mounted); a name may have 80 bytes.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// More in one message are refused on both sides. The kernel's own limit is 253.
pub const MAX_FDS: usize = 16;

const BACKLOG: i32 = 128;
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// Who made the other end, as the kernel saw it at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// 0 if it is in a process namespace that we do not see into.
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// Listens at `name` in `dir`, which is made if it is missing (mode 0700; its
/// parents are not). The socket has mode 0600 from its first moment. One that
/// nobody listens at any more is replaced, `AddrInUse` if somebody does;
/// `PermissionDenied` for a directory that others can write or own.
pub fn listen(dir: &Path, name: &str) -> io::Result<UnixListener> {
    Ok(bound(dir, name)?.0)
}

/// The same, and whoever can enter the directory may connect. The directories above may
/// be anybody's: none is looked up a second time, where a link could lead elsewhere.
pub fn listen_to_all(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let (listener, dir) = bound(dir, name)?;
    rustix::fs::chmodat(&dir, name, Mode::from_raw_mode(0o666), AtFlags::empty())?;
    Ok(listener)
}

/// The socket, and its directory.
fn bound(dir: &Path, name: &str) -> io::Result<(UnixListener, OwnedFd)> {
    match rustix::fs::mkdirat(CWD, dir, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let dir = open_dir(dir)?;
    refuse_shared(&dir)?;
    let address = address(&dir, name)?;
    remove_stale(&dir, name, &address)?;
    let socket = new_socket(SocketFlags::CLOEXEC)?;
    // unix(7) does not say it: the mode of the file is that of the socket.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok((socket.into(), dir))
}

/// `NotFound` or `ConnectionRefused` if nobody listens there.
pub fn connect(dir: &Path, name: &str) -> io::Result<UnixStream> {
    let dir = open_dir(dir)?;
    let socket = new_socket(SocketFlags::CLOEXEC)?;
    let address = address(&dir, name)?;
    rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    Ok(socket.into())
}

/// Credentials of who called `connect` (for a listener's stream) or `listen`.
pub fn peer(stream: &UnixStream) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `found`, a struct
    // of integers; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer { pid: found.pid, uid: found.uid, gid: found.gid })
}

/// Sends all of `bytes`, at least one, and `fds` (at most [`MAX_FDS`]) with the
/// first of them. A closed peer is `BrokenPipe`, never a signal.
pub fn send_with_fds(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.is_empty() || fds.len() > MAX_FDS {
        let why = "a message has at least one byte and at most 16 descriptors";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut sent = 0;
    while sent < bytes.len() {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if sent == 0 && !fds.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(fds));
            debug_assert!(fits, "the buffer has room for MAX_FDS");
        }
        let rest = [IoSlice::new(&bytes[sent..])];
        match rustix::net::sendmsg(stream, &rest, &mut control, SendFlags::NOSIGNAL) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// What is there, at most `buffer`, and the descriptors that came with it, all
/// close-on-exec. 0 bytes are the end. Bytes of one `send_with_fds` may come in
/// several pieces, the descriptors with the first. `InvalidData` if more than
/// [`MAX_FDS`] came or there was no room for them; they are closed.
pub fn recv_with_fds(stream: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            fds.extend(some);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        let why = "a message brought more descriptors than can be taken";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok((received.bytes, fds))
}

fn open_dir(dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(dir, flags, Mode::empty())?)
}

fn refuse_shared(dir: &OwnedFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(dir)?;
    let others = (Mode::WGRP | Mode::WOTH).bits();
    let ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & others == 0;
    let why = "others own or can write the directory";
    if ours { Ok(()) } else { Err(io::Error::new(io::ErrorKind::PermissionDenied, why)) }
}

/// A full queue of connections counts as somebody who listens.
fn remove_stale(dir: &OwnedFd, name: &str, address: &SocketAddrUnix) -> io::Result<()> {
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        stat => stat?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(Errno::EXIST.into());
    }
    let socket = new_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    match rustix::net::connect(&socket, address) {
        Err(Errno::CONNREFUSED) => {}
        _ => return Err(Errno::ADDRINUSE.into()),
    }
    Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
}

fn new_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

fn address(dir: &OwnedFd, name: &str) -> io::Result<SocketAddrUnix> {
    if name.is_empty() || name.contains('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket's name has no slash"));
    }
    let path = format!("/proc/self/fd/{}/{name}", dir.as_fd().as_raw_fd());
    Ok(SocketAddrUnix::new(path)?)
}

#[cfg(test)]
#[path = "local_socket_tests.rs"]
mod tests;
