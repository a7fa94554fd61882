//! The only place that reads the time.
//!
//! Everything else takes `now_ns` as a value, so that a plan can be computed
//! for another day (`hsm plan --as-of`) and a test can fix the clock. Times are
//! nanoseconds since the Unix epoch in an `i64`, which reaches the year 2262.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of wall-clock time: the system's, or one fixed instant.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    fixed_ns: Option<i64>,
}

impl Clock {
    pub fn system() -> Self {
        Self { fixed_ns: None }
    }

    /// A clock that stands still.
    pub fn fixed(now_ns: i64) -> Self {
        Self { fixed_ns: Some(now_ns) }
    }

    /// It stands still: a test says what time it is.
    pub fn is_fixed(&self) -> bool {
        self.fixed_ns.is_some()
    }

    /// Nanoseconds since the Unix epoch.
    pub fn now_ns(&self) -> i64 {
        self.fixed_ns.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        })
    }
}

/// Measures how long something takes; never compared with file times.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
