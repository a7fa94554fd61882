//! One run at a time: a lock file that names who holds it.
//!
//! The lock itself is `flock(2)` on the open file, so it dies with the process,
//! however it dies, and a reboot cannot leave a stale one. The text inside is
//! only for the message of whoever comes second. The file is never removed:
//! between an unlink and the next open two runs could each lock a file of that
//! name.

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Enough of the holder's text for a message.
const HOLDER_BYTES: usize = 256;

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("locked by another run ({by})")]
    Held { by: String },
    #[error("lock {}", .path.display())]
    Io { path: std::path::PathBuf, source: io::Error },
}

/// Held until dropped.
#[derive(Debug)]
pub struct RunLock(File);

impl RunLock {
    /// Never waits. `holder` says who we are (`process::holder()`); it is one
    /// line that the next comer gets to read.
    pub fn acquire(path: &Path, holder: &str) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(opened.map_err(|errno| io(errno.into()))?);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held { by: holder_of(&file) }),
            Err(errno) => return Err(io(errno.into())),
        }
        file.set_len(0).and_then(|()| file.write_all_at(holder.as_bytes(), 0)).map_err(io)?;
        Ok(Self(file))
    }
}

impl RunLock {
    /// Whether somebody holds the lock, without taking it: [`LockError::Held`]
    /// says who. Two who look do not see each other; one who takes it in that
    /// very instant may be refused, and should try again.
    pub fn look(path: &Path) -> Result<(), LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        let file = File::from(opened.map_err(|errno| io(errno.into()))?);
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(()),
            Err(Errno::WOULDBLOCK) => Err(LockError::Held { by: holder_of(&file) }),
            Err(errno) => Err(io(errno.into())),
        }
    }
}

/// Any number of users of a file, or one who makes it anew.
#[derive(Debug)]
pub struct UseLock(File);

/// Between two attempts to be alone.
const PAUSE: Duration = Duration::from_millis(20);

impl UseLock {
    /// As one of several users; waits for who is making the file.
    pub fn shared(path: &Path) -> io::Result<Self> {
        let lock = Self::open(path)?;
        lock.share()?;
        Ok(lock)
    }

    /// Alone. [`io::ErrorKind::WouldBlock`] if others use the file all the time.
    pub fn alone(path: &Path, patience: Duration) -> io::Result<Self> {
        let lock = Self::open(path)?;
        let mut left = patience;
        loop {
            match rustix::fs::flock(&lock.0, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if !left.is_zero() => {
                    std::thread::sleep(PAUSE);
                    left = left.saturating_sub(PAUSE);
                }
                Err(Errno::INTR) => {}
                other => return other.map(|()| lock).map_err(io::Error::from),
            }
        }
    }

    /// Lets other users in.
    pub fn share(&self) -> io::Result<()> {
        loop {
            match rustix::fs::flock(&self.0, FlockOperation::LockShared) {
                Err(Errno::INTR) => {}
                other => return other.map_err(io::Error::from),
            }
        }
    }

    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?)))
    }
}

impl Drop for UseLock {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // The text stays: it is read only while somebody holds the lock, who has
        // then written it anew. (To truncate it here would wait for a guard that
        // watches this file system and has not begun.) Also for a child that another thread is just starting: until it has
        // executed its program it has a copy of the descriptor.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

fn holder_of(file: &File) -> String {
    let mut text = [0; HOLDER_BYTES];
    let length = file.read_at(&mut text, 0).unwrap_or(0);
    match String::from_utf8_lossy(&text[..length]).trim() {
        "" => "one that just began".to_owned(),
        by => by.escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_run_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("lock");
        let first = RunLock::acquire(&path, "pid 1 boot a").expect("free");
        match RunLock::acquire(&path, "pid 2 boot a") {
            Err(LockError::Held { by }) => assert_eq!(by, "pid 1 boot a"),
            other => panic!("{other:?}"),
        }
        drop(first);
        RunLock::acquire(&path, "pid 3 boot a").expect("free again");
    }

    #[test]
    fn who_looks_sees_the_holder_and_takes_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("lock");
        let held = RunLock::acquire(&path, "pid 1 boot a").expect("free");
        assert!(
            matches!(RunLock::look(&path), Err(LockError::Held { by }) if by == "pid 1 boot a")
        );
        drop(held);
        RunLock::look(&path).expect("free");
        RunLock::acquire(&path, "pid 2 boot a").expect("still free");
    }

    #[test]
    fn a_lock_that_cannot_be_made_names_its_path() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let error = RunLock::acquire(&dir.path().join("no/lock"), "x").expect_err("no directory");
        assert!(error.to_string().ends_with("no/lock"), "{error}");
        std::os::unix::fs::symlink("elsewhere", dir.path().join("l")).expect("symlink");
        assert!(matches!(RunLock::acquire(&dir.path().join("l"), "x"), Err(LockError::Io { .. })));
    }

    #[test]
    fn nobody_makes_a_file_anew_that_another_uses() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let one = UseLock::shared(&path).expect("shared");
        let another = UseLock::shared(&path).expect("shared");
        let refused = UseLock::alone(&path, Duration::ZERO).expect_err("they use it");
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop((one, another));
        let alone = UseLock::alone(&path, Duration::ZERO).expect("nobody does");
        alone.share().expect("shared");
        UseLock::shared(&path).expect("shared again");
    }
}
