//! Is anyone using this file? Write leases answer it.
//!
//! A write lease (`F_SETLEASE`, fcntl(2)) is granted only while nobody else has
//! the file open or mapped, whether they read or write, in whatever mount or
//! namespace. As long as it is held, who opens the file waits until it is
//! released, at most `/proc/sys/fs/lease-break-time` (45 s); after that the
//! kernel takes it away, so [`WriteLease::intact`] has to be asked at the end of
//! what the lease was to cover.
//!
//! Breaking a lease sends `SIGIO`, whose default action kills; taking one
//! ignores that signal for the process first. A process that answers permission
//! events must not hold a lease over anything: it would wait for itself.
//!
//! Owner and root (`CAP_LEASE`) only; anyone else gets `EACCES`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Once;

/// A lease on a borrowed file; dropping it lets waiting openers go on.
#[derive(Debug)]
pub struct WriteLease<'f>(&'f File);

impl<'f> WriteLease<'f> {
    /// `None` if anyone else, or another descriptor of this process, has the
    /// file open or mapped.
    pub fn acquire(file: &'f File) -> io::Result<Option<Self>> {
        Ok(take(file)?.then_some(Self(file)))
    }

    /// Whether nobody has tried to open the file since.
    pub fn intact(&self) -> bool {
        is_held(self.0)
    }
}

impl Drop for WriteLease<'_> {
    fn drop(&mut self) {
        release(self.0);
    }
}

/// A lease with its file, for batches that hold hundreds.
#[derive(Debug)]
pub struct OwnedLease(Option<File>);

impl OwnedLease {
    /// `Err` gives the file back when it is in use by someone else.
    pub fn acquire(file: File) -> io::Result<Result<Self, File>> {
        Ok(if take(&file)? { Ok(Self(Some(file))) } else { Err(file) })
    }

    pub fn intact(&self) -> bool {
        is_held(self.file())
    }

    pub fn file(&self) -> &File {
        self.0.as_ref().expect("taken out only by into_file")
    }

    /// Releases the lease and gives the file back.
    pub fn into_file(mut self) -> File {
        let file = self.0.take().expect("taken out only here");
        release(&file);
        file
    }
}

impl Drop for OwnedLease {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            release(file);
        }
    }
}

/// Makes the signal of a broken lease harmless; once per process, at the first
/// lease. A process that wants `SIGIO` for itself must not take leases.
pub fn ignore_break_signal() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SIG_IGN is a valid disposition and runs no code of ours.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    });
}

fn take(file: &File) -> io::Result<bool> {
    ignore_break_signal();
    match set_lease(file, libc::F_WRLCK) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        taken => taken.map(|()| true),
    }
}

fn release(file: &File) {
    if let Err(error) = set_lease(file, libc::F_UNLCK) {
        // After a forced break there is none left, which is what we want.
        tracing::debug!(%error, "no lease to release");
    }
}

fn set_lease(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: F_SETLEASE takes an integer; the descriptor lives as long as `file`.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// While a lease is being broken the kernel already answers with what it will
/// become.
fn is_held(file: &File) -> bool {
    // SAFETY: F_GETLEASE takes no argument; the descriptor lives as long as `file`.
    let kind = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) };
    kind == libc::F_WRLCK
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::PathBuf;

    fn a_file() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("f");
        std::fs::write(&path, b"x").expect("write");
        (dir, path)
    }

    /// A process that another test is just starting holds copies of all our
    /// descriptors until it has executed its program.
    fn lease_of(file: &File) -> WriteLease<'_> {
        let granted = (0..1_000_000).find_map(|_| WriteLease::acquire(file).expect("probe"));
        granted.expect("nobody has it open")
    }

    #[test]
    fn a_lease_is_refused_while_anyone_else_has_the_file_open() {
        let (_dir, path) = a_file();
        let ours = File::open(&path).expect("open");
        let theirs = File::open(&path).expect("open");
        assert!(WriteLease::acquire(&ours).expect("probe").is_none());
        drop(theirs);
        let lease = lease_of(&ours);
        assert!(lease.intact());
    }

    /// The opener asks without waiting, so that the test needs no second thread.
    #[test]
    fn an_opener_breaks_the_lease_and_we_live() {
        let (_dir, path) = a_file();
        let ours = File::open(&path).expect("open");
        let lease = lease_of(&ours);
        let mut no_wait = File::options();
        no_wait.read(true).custom_flags(libc::O_NONBLOCK);
        let refused = no_wait.open(&path).expect_err("the lease stands in the way");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(!lease.intact());
        drop(lease);
        no_wait.open(&path).expect("released");
    }

    #[test]
    fn an_owned_lease_gives_its_file_back() {
        let (_dir, path) = a_file();
        let file = File::options().read(true).write(true).open(&path).expect("open");
        let mut tried = OwnedLease::acquire(file).expect("probe");
        // As in `lease_of`: a process that is just starting gives it back.
        for _ in 0..1_000_000 {
            let Err(file) = tried else { break };
            tried = OwnedLease::acquire(file).expect("probe");
        }
        let lease = tried.expect("free");
        assert!(lease.intact());
        let file = lease.into_file();
        let second = File::open(&path).expect("nobody waits any more");
        assert!(OwnedLease::acquire(file).expect("probe").is_err());
        drop(second);
    }
}
