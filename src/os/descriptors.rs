//! Which descriptor numbers the kernel hands out next.
//!
//! The answer to a permission event names it by the number its descriptor had
//! in the process that read it, and the kernel gives an answer to the oldest
//! event of that number. A successor of a dead guard that read a new event
//! under an old number would answer for the wrong waiter. So each generation
//! uses numbers of its own: it fills everything below its range, and the kernel,
//! which always takes the lowest free number, hands out higher ones.

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Descriptors that only keep their numbers taken, until dropped. They lead to
/// `/dev/null` and are closed on exec.
#[derive(Debug)]
pub struct Occupied(Vec<OwnedFd>);

impl Occupied {
    /// How many numbers it keeps.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Takes every number below `number` that is free now. One that was in use and
/// is closed later is free again; what is to stay out of reach should be
/// opened before or above. With other threads opening and closing, the promise
/// is only that no number was seen free. `EMFILE` if `number` is beyond the
/// limit of open files; then nothing is taken.
pub fn occupy_below(number: u32) -> io::Result<Occupied> {
    let null = OFlags::RDWR | OFlags::CLOEXEC;
    let mut next = rustix::fs::open("/dev/null", null, Mode::empty())?;
    let mut taken = Vec::new();
    while next.as_raw_fd() < i32::try_from(number).unwrap_or(i32::MAX) {
        let another = rustix::io::fcntl_dupfd_cloexec(&next, 0)?;
        taken.push(std::mem::replace(&mut next, another));
    }
    Ok(Occupied(taken))
}

/// Sets the limit of open files of this process (`RLIMIT_NOFILE`, one more than
/// the highest number) to `number`, raising the hard limit too where that is
/// allowed (`CAP_SYS_RESOURCE`, at most `/proc/sys/fs/nr_open`). Returns what
/// it is now, which may be less. Descriptors above stay open.
pub fn limit_to(number: u64) -> io::Result<u64> {
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    let set = |current: u64, maximum: Option<u64>| {
        let limit = Rlimit { current: Some(current), maximum };
        rustix::process::setrlimit(Resource::Nofile, limit).map(|()| current)
    };
    let allowed = hard.unwrap_or(u64::MAX);
    if number > allowed && set(number, Some(number)).is_ok() {
        return Ok(number);
    }
    Ok(set(number.min(allowed), hard)?)
}

/// As [`limit_to`], and lowers the hard limit with it: nothing in this process
/// raises it again by mistake. Root still may.
pub fn confine_to(number: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(number), maximum: Some(number) };
    Ok(rustix::process::setrlimit(Resource::Nofile, limit)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::child::{ExitKind, in_child};
    use std::fs::File;

    /// Descriptors and limits belong to the process, so each test has its own.
    fn succeeds(act: impl FnOnce() -> bool) {
        let child = in_child(&[], || if act() { 0 } else { 1 });
        assert_eq!(child.wait().expect("wait"), ExitKind::Code(0));
    }

    #[test]
    fn new_descriptors_are_above_what_is_occupied() {
        succeeds(|| {
            let occupied = occupy_below(300).expect("occupy");
            let above = File::open("/dev/null").expect("open");
            let taken = (0..300).all(|fd| {
                // SAFETY: only asks for the flags of a number that may be unused.
                unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
            });
            let count = occupied.len();
            drop(occupied);
            let below = File::open("/dev/null").expect("open");
            taken && count <= 300 && above.as_raw_fd() >= 300 && below.as_raw_fd() < 300
        });
    }

    #[test]
    fn nothing_is_taken_when_the_range_is_beyond_the_limit() {
        succeeds(|| {
            limit_to(200).expect("lower it");
            let before = File::open("/dev/null").expect("open").as_raw_fd();
            let error = occupy_below(300).expect_err("beyond");
            let after = File::open("/dev/null").expect("open").as_raw_fd();
            error.raw_os_error() == Some(libc::EMFILE) && before == after
        });
    }

    #[test]
    fn the_limit_is_what_is_reported() {
        succeeds(|| {
            let soft = || rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
            let lower = limit_to(100).expect("lower it") == 100 && soft() == 100;
            let raised = limit_to(5000).expect("raise it") == 5000 && soft() == 5000;
            let reported = limit_to(u64::MAX - 1).expect("as far as it goes");
            lower && raised && reported == soft()
        });
    }
}
