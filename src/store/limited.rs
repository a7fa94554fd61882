//! Keeps transfers below a number of bytes per second, both directions and all
//! threads together.
//!
//! Each transfer books its share of the line and waits for its turn before it
//! starts; an idle line saves nothing up. A `get` of unknown size pays
//! afterwards, so the next one waits for it. Waits end when a stop is
//! requested, of the store or of the thread's errand.

use super::retrying::wait_unless_stopped;
use super::{
    Error, ErrorKind, Key, ObjectInfo, Precaution, Protections, PutOptions, PutReceipt, Result,
};
use super::{Store, SweepStats, Thawing};
use crate::classes::Thaw;
use crate::clock::Stopwatch;
use crate::monitor::Stop;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

/// A store behind a line of limited width.
#[derive(Debug)]
pub struct Limited<S> {
    inner: S,
    line: Line,
    stop: Stop,
}

#[derive(Debug)]
struct Line {
    bytes_per_s: u64,
    clock: Stopwatch,
    /// When the line is free again, on `clock`.
    free_at: Mutex<Duration>,
}

impl Line {
    /// Books `bytes` at time `now`; how long to wait for one's turn.
    fn book(&self, bytes: u64, now: Duration) -> Duration {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        let mut free_at = self.free_at.lock().expect("no panic while held");
        let start = now.max(*free_at);
        *free_at = start + takes;
        start - now
    }
}

impl<S: Store> Limited<S> {
    /// A rate of 0 is taken for 1.
    pub fn new(inner: S, bytes_per_s: u64, stop: Stop) -> Self {
        let line = Line {
            bytes_per_s: bytes_per_s.max(1),
            clock: Stopwatch::start(),
            free_at: Mutex::default(),
        };
        Self { inner, line, stop }
    }

    fn wait_for(&self, bytes: u64, operation: &'static str, key: &Key) -> Result<()> {
        let wait = self.line.book(bytes, self.line.clock.elapsed());
        if wait_unless_stopped(&self.stop, wait) && !wait.is_zero() {
            return Err(Error::new(ErrorKind::Stopped, operation, key.as_str(), self.location()));
        }
        Ok(())
    }
}

impl<S: Store> Store for Limited<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        self.wait_for(body.len() as u64, "put", key)?;
        self.inner.put(key, body, options)
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let known = range.as_ref().map_or(0, |range| range.end.saturating_sub(range.start));
        self.wait_for(known, "get", key)?;
        let bytes = self.inner.get(key, range)?;
        if known == 0 {
            self.line.book(bytes.len() as u64, self.line.clock.elapsed());
        }
        Ok(bytes)
    }

    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        self.inner.head(key)
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        self.inner.list(prefix, start_after, visit)
    }

    fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(key)
    }

    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
        self.inner.sweep(older_than_ns)
    }

    fn lock_until(&self, key: &Key, until_ns: i64) -> Result<bool> {
        self.inner.lock_until(key, until_ns)
    }

    fn protections(&self) -> Result<Protections> {
        self.inner.protections()
    }

    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        self.inner.honours(precaution, scratch)
    }

    fn pack_class(&self, wanted: Option<&str>) -> Option<String> {
        self.inner.pack_class(wanted)
    }

    fn thaw(&self, key: &Key, order: Thaw) -> Result<Thawing> {
        self.inner.thaw(key, order)
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{key, prepared_directory};
    use super::*;

    fn line(bytes_per_s: u64) -> Line {
        Line { bytes_per_s, clock: Stopwatch::start(), free_at: Mutex::default() }
    }

    #[test]
    fn transfers_queue_behind_each_other_at_the_rate() {
        let line = line(1000);
        let second = Duration::from_secs(1);
        assert_eq!(line.book(2000, Duration::ZERO), Duration::ZERO);
        assert_eq!(line.book(500, Duration::ZERO), 2 * second);
        assert_eq!(line.book(1, second), second + second / 2);
    }

    #[test]
    fn an_idle_line_saves_nothing_up() {
        let line = line(1000);
        let late = Duration::from_secs(3600);
        assert_eq!(line.book(5000, late), Duration::ZERO);
        assert_eq!(line.book(1, late), Duration::from_secs(5));
    }

    #[test]
    fn a_stop_ends_the_wait_with_its_own_kind() {
        let (_dir, store) = prepared_directory();
        let stop = Stop::new();
        let store = Limited::new(store, 1, stop.clone());
        let put =
            |name| store.put(&key(name), Bytes::from_static(b"ten bytes!"), &Default::default());
        put("packs/a").expect("the line is free");
        stop.request();
        assert_eq!(put("packs/b").expect_err("stopped").kind(), ErrorKind::Stopped);
    }
}
