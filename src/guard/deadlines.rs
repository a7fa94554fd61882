//! Nobody waits for ever: a program whose recall does not move is denied.
//!
//! The clock of a program starts when it comes, and anew with each byte that
//! comes for its file. While a recall waits for a free worker, progress of any
//! other counts for it: a busy guard is no dead one. The worker itself is asked
//! to stop, but not waited for: a bucket is left at once, but a store that hangs
//! in the kernel cannot be hurried.

use super::inodes::Inodes;
use super::job::{Job, now_ms};
use super::waiter::Waiter;
use std::time::Duration;

/// How long a program waits.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Until the first byte of its file comes.
    pub first_byte: Duration,
    /// Between two bytes.
    pub idle: Duration,
}

impl Deadlines {
    /// Denies everybody who has waited too long; how many.
    pub fn enforce(&self, inodes: &Inodes) -> usize {
        let now = now_ms(inodes.clock);
        let elsewhere_ms = inodes.last_progress_ms();
        let late = inodes.take_overdue(|waiter, job| self.is_over(now, waiter, job, elsewhere_ms));
        let count = late.len();
        for waiter in late {
            let (name, pid) = (waiter.name(), waiter.pending.pid());
            waiter.pending.deny(libc::EIO);
            tracing::warn!(path = %name.display(), pid, "denied: its recall does not move");
        }
        count
    }

    fn is_over(&self, now_ms: u64, waiter: &Waiter, job: &Job, elsewhere_ms: u64) -> bool {
        self.over(now_ms, waiter.arrived_ms, job, elsewhere_ms)
    }

    fn over(&self, now_ms: u64, arrived_ms: u64, job: &Job, elsewhere_ms: u64) -> bool {
        let limit = if job.bytes_came() { self.idle } else { self.first_byte };
        let moved_ms = match (job.is_running(), job.bytes_came()) {
            (false, _) => elsewhere_ms,
            (true, true) => job.last_ms(),
            // A worker that began has brought nothing yet.
            (true, false) => 0,
        };
        let quiet_ms = now_ms.saturating_sub(arrived_ms.max(moved_ms));
        u128::from(quiet_ms) > limit.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stopwatch;
    use crate::errand::Errand;
    use crate::monitor::Monitor;

    const LIMITS: Deadlines =
        Deadlines { first_byte: Duration::from_secs(30), idle: Duration::from_secs(60) };

    #[test]
    fn the_first_byte_has_its_own_limit() {
        let job = Job::new(Stopwatch::start());
        job.begin();
        assert!(!LIMITS.over(30_000, 0, &job, 0));
        assert!(LIMITS.over(30_001, 0, &job, 0));
        assert!(!LIMITS.over(50_000, 20_000, &job, 0), "who comes later waits as long");
    }

    #[test]
    fn each_byte_starts_the_clock_anew() {
        let job = Job::new(Stopwatch::start());
        job.begin();
        job.advance(0, 1);
        let moved_ms = job.last_ms();
        assert!(!LIMITS.over(moved_ms + 60_000, 0, &job, 0));
        assert!(LIMITS.over(moved_ms + 60_001, 0, &job, 0));
    }

    #[test]
    fn what_the_store_has_sent_of_a_run_counts() {
        let clock = Stopwatch::start();
        let job = Job::new(clock);
        job.begin();
        assert!(LIMITS.over(50_000, 0, &job, 0));
        job.errand.run(|| Errand::arrive(1));
        assert!(!LIMITS.over(50_000, 0, &job, 0), "the first byte came");
        let moved_ms = job.last_ms();
        while now_ms(clock) == moved_ms {}
        assert_eq!(job.last_ms(), moved_ms, "a byte counts once");
        assert!(LIMITS.over(moved_ms + 60_001, 0, &job, 0));
    }

    #[test]
    fn who_waits_for_a_worker_waits_as_long_as_the_others_move() {
        let job = Job::new(Stopwatch::start());
        assert!(!LIMITS.over(100_000, 0, &job, 80_000));
        assert!(LIMITS.over(100_000, 0, &job, 60_000));
    }
}
