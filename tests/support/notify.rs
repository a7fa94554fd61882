//! The socket that systemd gives to a service: hears `READY=1`, and keeps the
//! descriptors that come with `FDSTORE=1`, as the service manager does.
//!
//! It is always listened to, because a datagram that nobody takes makes the
//! sender wait after the tenth.

use super::running::until;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Default)]
pub struct Heard {
    lines: Mutex<Vec<String>>,
    kept: Mutex<Vec<(String, OwnedFd)>>,
    enough: AtomicBool,
}

/// The socket and the thread that listens to it.
pub struct Notify {
    pub path: PathBuf,
    heard: Arc<Heard>,
    listener: Option<JoinHandle<()>>,
}

impl Notify {
    pub fn at(path: &Path) -> Self {
        let _ = std::fs::remove_file(path);
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        let heard = Arc::new(Heard::default());
        let ears = Arc::clone(&heard);
        let listener = std::thread::spawn(move || {
            while !ears.enough.load(Ordering::SeqCst) {
                if let Some((text, fds)) = receive(&socket) {
                    ears.take(&text, fds);
                }
            }
        });
        Self { path: path.to_owned(), heard, listener: Some(listener) }
    }

    pub fn has_heard(&self, line: &str) -> bool {
        self.times_heard(line) > 0
    }

    pub fn times_heard(&self, line: &str) -> usize {
        let lines = self.heard.lines.lock().expect("no panic");
        lines.iter().filter(|heard| *heard == line).count()
    }

    /// Waits for a line; false when it does not come, or `over` says why it
    /// never will.
    pub fn hears(&self, line: &str, limit: Duration, mut over: impl FnMut() -> bool) -> bool {
        let answer = until(limit, || match self.has_heard(line) {
            true => Some(true),
            false => over().then_some(false),
        });
        answer.unwrap_or(false) || self.has_heard(line)
    }

    /// Forgets what it heard; the descriptors stay.
    pub fn forget(&self) {
        self.heard.lines.lock().expect("no panic").clear();
    }

    pub fn keep(&self) -> Keep {
        Keep(Arc::clone(&self.heard))
    }

    /// Names and numbers of the descriptors that were given for keeping.
    pub fn kept(&self) -> Vec<(String, i32)> {
        let kept = self.heard.kept.lock().expect("no panic");
        kept.iter().map(|(name, fd)| (name.clone(), fd.as_raw_fd())).collect()
    }
}

/// Lets go of the descriptors, also while somebody else has the [`Notify`].
#[derive(Clone)]
pub struct Keep(Arc<Heard>);

impl Keep {
    pub fn let_go(&self) {
        self.0.kept.lock().expect("no panic").clear();
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        self.heard.enough.store(true, Ordering::SeqCst);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Heard {
    fn take(&self, text: &str, fds: Vec<OwnedFd>) {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let name = value("FDNAME=").unwrap_or("stored").to_owned();
        let mut kept = self.kept.lock().expect("no panic");
        if text.lines().any(|line| line == "FDSTOREREMOVE=1") {
            kept.retain(|(other, _)| *other != name);
        }
        if text.lines().any(|line| line == "FDSTORE=1") {
            kept.extend(fds.into_iter().map(|fd| (name.clone(), fd)));
        }
        self.lines.lock().expect("no panic").extend(text.lines().map(str::to_owned));
    }
}

/// One datagram with the descriptors in it; `None` when none came in time.
fn receive(socket: &UnixDatagram) -> Option<(String, Vec<OwnedFd>)> {
    let mut text = vec![0u8; 8192];
    let mut control = [0u64; 128];
    let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
    // SAFETY: all zeros is a valid msghdr without an address.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message points to live buffers of the lengths it names.
    let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
    let n = usize::try_from(n).ok()?;
    // SAFETY: the kernel has just filled this message.
    let fds = unsafe { descriptors(&message) };
    Some((String::from_utf8_lossy(&text[..n]).into_owned(), fds))
}

/// # Safety
/// `message` was filled by `recvmsg`, and its descriptors belong to nobody yet.
unsafe fn descriptors(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut found = vec![];
    // SAFETY: the CMSG macros walk inside the control buffer of a received message.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let first = libc::CMSG_DATA(header).cast::<i32>();
                for nth in 0..bytes / size_of::<i32>() {
                    found.push(OwnedFd::from_raw_fd(first.add(nth).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    found
}
