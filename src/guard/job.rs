//! One recall as the deadlines see it: has it begun, has a byte come, when was
//! the last one.

use crate::clock::Stopwatch;
use crate::monitor::{Monitor, Phase, Stop};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a recall, or a run that fills or frees files for others, has achieved.
#[derive(Debug)]
pub struct Job {
    clock: Stopwatch,
    /// Ends the recall early.
    pub stop: Stop,
    running: AtomicBool,
    bytes_came: AtomicBool,
    last_ms: AtomicU64,
}

impl Job {
    pub fn new(clock: Stopwatch) -> Self {
        let last_ms = AtomicU64::new(now_ms(clock));
        let (running, bytes_came) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { clock, stop: Stop::new(), running, bytes_came, last_ms }
    }

    /// A worker has taken it up.
    pub fn begin(&self) {
        self.running.store(true, Ordering::Relaxed);
        self.progress();
    }

    pub fn progress(&self) {
        self.last_ms.store(now_ms(self.clock), Ordering::Relaxed);
    }

    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    pub fn bytes_came(&self) -> bool {
        self.bytes_came.load(Ordering::Relaxed)
    }

    pub fn last_ms(&self) -> u64 {
        self.last_ms.load(Ordering::Relaxed)
    }
}

/// Milliseconds since the guard's process started.
pub fn now_ms(clock: Stopwatch) -> u64 {
    u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Monitor for Job {
    fn begin(&self, _: Phase, _: u64, _: u64) {}

    fn advance(&self, _: u64, bytes: u64) {
        if bytes > 0 {
            self.bytes_came.store(true, Ordering::Relaxed);
        }
        self.progress();
    }

    fn end(&self) {}
    fn file_failed(&self, _: &Path, _: &str, _: &dyn std::error::Error) {}
    fn notice(&self, _: &str) {}
}
