//! One recall as the deadlines see it: has it begun, has a byte come, when was
//! the last one.
//!
//! Bytes are written a whole run at a time, and a slow store needs long for one;
//! so what it has sent of a run counts too, from the moment somebody looks.

use crate::clock::Stopwatch;
use crate::errand::Errand;
use crate::monitor::{Monitor, Phase, Stop};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a recall, or a run that fills or frees files for others, has achieved.
#[derive(Debug)]
pub struct Job {
    clock: Stopwatch,
    /// Ends the recall early.
    pub stop: Stop,
    /// What the recall's threads do it as; it ends by `stop`.
    pub errand: Errand,
    /// Of the errand's bytes, those that counted as progress already.
    seen_bytes: AtomicU64,
    running: AtomicBool,
    bytes_came: AtomicBool,
    last_ms: AtomicU64,
}

impl Job {
    pub fn new(clock: Stopwatch) -> Self {
        let last_ms = AtomicU64::new(now_ms(clock));
        let (running, bytes_came) = (AtomicBool::new(false), AtomicBool::new(false));
        let stop = Stop::new();
        let errand = Errand::new(stop.clone());
        let seen_bytes = AtomicU64::new(0);
        Self { clock, stop, errand, seen_bytes, running, bytes_came, last_ms }
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
        self.notice_arrivals();
        self.bytes_came.load(Ordering::Relaxed)
    }

    pub fn last_ms(&self) -> u64 {
        self.notice_arrivals();
        self.last_ms.load(Ordering::Relaxed)
    }

    fn notice_arrivals(&self) {
        let arrived_bytes = self.errand.arrived_bytes();
        if self.seen_bytes.fetch_max(arrived_bytes, Ordering::Relaxed) < arrived_bytes {
            self.bytes_came.store(true, Ordering::Relaxed);
            self.progress();
        }
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
