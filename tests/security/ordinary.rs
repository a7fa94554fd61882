//! A thread with the rights of an ordinary user, in a process that is root's.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Gid, Uid};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// `nobody` and `nogroup`.
pub const USER: u32 = 65534;

/// Runs `act` with no right that `nobody` has not. The system calls change the thread
/// alone; it ends with them.
pub fn as_user<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            become_user();
            act()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn become_user() {
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    rustix::thread::set_thread_groups(&[]).expect("root gives up its groups");
    rustix::thread::set_thread_res_gid(group, group, group).expect("root becomes another");
    rustix::thread::set_thread_res_uid(user, user, user).expect("root becomes another");
    std::fs::read("/etc/shadow").expect_err("nobody is no root");
}

/// Gives the user everything there, and the way to it.
pub fn give(sandbox: &crate::support::Sandbox, part: &str) {
    let mut chown = std::process::Command::new("chown");
    chown.args(["-hR", "65534:65534"]).arg(sandbox.path(part));
    assert!(chown.status().expect("chown").success());
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(sandbox.path(""), open).expect("chmod");
}

/// An ordinary user who exchanges names as fast as the kernel lets them.
pub struct Swapper {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    /// Of each pair the one takes the other's place, all the time.
    pub fn begin(pairs: &[(PathBuf, PathBuf)]) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, pairs) = (Arc::clone(&stop), Arc::clone(&count), pairs.to_vec());
        let thread = std::thread::spawn(move || {
            become_user();
            // Twice each time, so that everything is in its place in the end.
            while !stopped.load(Ordering::Relaxed) {
                for (one, other) in &pairs {
                    let both = swap(one, other) && swap(one, other);
                    counted.fetch_add(u64::from(both), Ordering::Relaxed);
                }
            }
        });
        Self { stop, count, thread: Some(thread) }
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Everything is where it was.
    pub fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("the swapper does not panic");
        assert!(self.count() > 100, "only {} exchanges", self.count());
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn swap(one: &Path, other: &Path) -> bool {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}
