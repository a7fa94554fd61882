//! Tries again what may succeed a little later.
//!
//! Which failures those are is the kind's to say; how long to wait is decided
//! here: exponential backoff with full jitter (Brooker, "Exponential Backoff And
//! Jitter", AWS 2015), so that many writers that a store has thrown out do not
//! come back together. A requested stop, the store's or that of the thread's
//! [`Errand`], ends the wait and returns the failure.
//!
//! The trap is a write whose answer was lost. With `create_new`, the next try
//! then meets the object of the first one; it counts as ours only if its bytes
//! are, byte by byte, the ones sent, or, in an archive, if their sum is.

use super::sums::sha256;
use super::{
    Error, ErrorKind, Key, ObjectInfo, Precaution, Protections, PutOptions, PutReceipt, Result,
};
use super::{Sha256Sum, Store, SweepStats, Thawing};
use crate::classes::Thaw;
use crate::errand::Errand;
use crate::monitor::Stop;
use bytes::Bytes;
use std::ops::Range;
use std::time::Duration;

/// How often and how patiently to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPlan {
    /// Tries after the first one.
    pub retries: u32,
    /// The longest first wait; it doubles from try to try.
    pub first_wait: Duration,
    pub longest_wait: Duration,
}

impl Default for RetryPlan {
    fn default() -> Self {
        Self {
            retries: 6,
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(20),
        }
    }
}

impl RetryPlan {
    /// Wrong bytes may have been spoilt on the way, but seldom often: verifying
    /// a damaged store should not wait long for each object.
    fn retries_of(&self, kind: ErrorKind) -> u32 {
        match kind {
            ErrorKind::Integrity => self.retries.min(2),
            kind if kind.is_retryable() => self.retries,
            _ => 0,
        }
    }

    /// The wait before try `attempt` (the first retry is 1), with `jitter`
    /// drawn evenly from all of `u64`.
    fn wait(&self, attempt: u32, jitter: u64) -> Duration {
        let doubled = self.first_wait.saturating_mul(1 << (attempt - 1).min(20));
        let ceiling = doubled.min(self.longest_wait);
        ceiling.mul_f64(jitter as f64 / u64::MAX as f64)
    }
}

/// Waits this long unless a stop is requested, by `stop` or by the thread's
/// errand; true if it was.
pub(super) fn wait_unless_stopped(stop: &Stop, mut wait: Duration) -> bool {
    const SLICE: Duration = Duration::from_millis(50);
    while !stop.requested() && !Errand::stop_requested() {
        if wait.is_zero() {
            return false;
        }
        let slice = wait.min(SLICE);
        std::thread::sleep(slice);
        wait -= slice;
    }
    true
}

/// A store whose passing failures are tried again.
#[derive(Debug)]
pub struct Retrying<S> {
    inner: S,
    plan: RetryPlan,
    stop: Stop,
}

impl<S: Store> Retrying<S> {
    pub fn new(inner: S, plan: RetryPlan, stop: Stop) -> Self {
        Self { inner, plan, stop }
    }

    /// `run` is told which try it is, from 0.
    fn retry<T>(&self, mut run: impl FnMut(u32) -> Result<T>) -> Result<T> {
        let mut attempt = 0;
        loop {
            let error = match run(attempt) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if attempt >= self.plan.retries_of(error.kind()) {
                return Err(error);
            }
            attempt += 1;
            tracing::debug!("try {attempt} of {} failed: {error}", self.plan.retries + 1);
            let jitter = getrandom::u64().expect("the kernel's random source answers once booted");
            if wait_unless_stopped(&self.stop, self.plan.wait(attempt, jitter)) {
                return Err(error);
            }
        }
    }

    /// The receipt of an object that an earlier try of ours has written, or
    /// `exists` back if it is another's.
    fn own_earlier_try(&self, key: &Key, body: &Bytes, exists: Error) -> Result<PutReceipt> {
        let sent_sha256 = match self.inner.get(key, None) {
            Ok(stored) if stored == *body => None,
            Ok(_) => return Err(exists),
            // What it holds is compared by the sum, when the copy is proven.
            Err(error) if error.kind() == ErrorKind::Archived => {
                Some(Sha256Sum::Whole(sha256(body)))
            }
            Err(error) => return Err(error),
        };
        let info = self.inner.head(key)?;
        Ok(PutReceipt {
            key: key.clone(),
            size_bytes: info.size_bytes,
            etag: info.etag,
            server_sha256: info.sha256,
            // What the first try declared is not known any more: `prove` goes by the
            // ETag, or reads the object back once more where it can be read.
            sent_sha256,
        })
    }
}

impl<S: Store> Store for Retrying<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        let mut may_have_written = false;
        self.retry(|_| match self.inner.put(key, body.clone(), options) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && may_have_written => {
                self.own_earlier_try(key, &body, error)
            }
            Err(error) => {
                may_have_written |= error.kind().is_retryable();
                Err(error)
            }
            done => done,
        })
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.retry(|_| self.inner.get(key, range.clone()))
    }

    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        self.retry(|_| self.inner.head(key))
    }

    /// A listing that broke goes on behind the last object visited, so that
    /// none is visited twice.
    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        let mut last = start_after.cloned();
        self.retry(|_| {
            let resume_after = last.clone();
            self.inner.list(prefix, resume_after.as_ref(), &mut |info| {
                last = Some(info.key.clone());
                visit(info);
            })
        })
    }

    fn delete(&self, key: &Key) -> Result<()> {
        self.retry(|_| self.inner.delete(key))
    }

    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
        self.retry(|_| self.inner.sweep(older_than_ns))
    }

    fn lock_until(&self, key: &Key, until_ns: i64) -> Result<bool> {
        self.retry(|_| self.inner.lock_until(key, until_ns))
    }

    fn protections(&self) -> Result<Protections> {
        self.retry(|_| self.inner.protections())
    }

    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        self.retry(|_| self.inner.honours(precaution, scratch))
    }

    fn pack_class(&self, wanted: Option<&str>) -> Option<String> {
        self.inner.pack_class(wanted)
    }

    fn thaw(&self, key: &Key, order: Thaw) -> Result<Thawing> {
        self.retry(|_| self.inner.thaw(key, order))
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{collect_keys, key, prepared_directory};
    use super::super::{Fault, Faulty, Operation};
    use super::*;

    const QUICK: RetryPlan = RetryPlan {
        retries: 3,
        first_wait: Duration::from_micros(10),
        longest_wait: Duration::from_micros(100),
    };

    fn create_new() -> PutOptions {
        PutOptions { create_new: true, storage_class: None }
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_are_jittered() {
        let plan = RetryPlan::default();
        assert_eq!(plan.wait(1, u64::MAX), Duration::from_millis(200));
        assert_eq!(plan.wait(3, u64::MAX), Duration::from_millis(800));
        assert_eq!(plan.wait(40, u64::MAX), Duration::from_secs(20));
        assert_eq!(plan.wait(5, 0), Duration::ZERO);
    }

    #[test]
    fn passing_failures_are_tried_again_and_lasting_ones_are_not() {
        let (_dir, store) = prepared_directory();
        let store = Retrying::new(Faulty::new(store), QUICK, Stop::new());
        let faulty = &store.inner;
        faulty.on(Operation::Put, 1, Fault::Fail(ErrorKind::Throttled));
        faulty.on(Operation::Put, 2, Fault::Fail(ErrorKind::Transient));
        store.put(&key("packs/a"), Bytes::from_static(b"a"), &create_new()).expect("third try");
        faulty.on(Operation::Get, 1, Fault::Fail(ErrorKind::Denied));
        let error = store.get(&key("packs/a"), None).expect_err("denied");
        assert_eq!((error.kind(), faulty.count(Operation::Get)), (ErrorKind::Denied, 1));
    }

    #[test]
    fn it_gives_up_after_the_planned_tries_with_the_last_failure() {
        let (_dir, store) = prepared_directory();
        let store = Retrying::new(Faulty::new(store), QUICK, Stop::new());
        store.inner.every(Operation::Head, Fault::Fail(ErrorKind::Throttled));
        let error = store.head(&key("packs/a")).expect_err("always throttled");
        assert_eq!(error.kind(), ErrorKind::Throttled);
        assert_eq!(store.inner.count(Operation::Head), 4);
    }

    #[test]
    fn a_stop_ends_the_tries() {
        let (_dir, store) = prepared_directory();
        let stop = Stop::new();
        let store = Retrying::new(Faulty::new(store), QUICK, stop.clone());
        store.inner.every(Operation::Head, Fault::Fail(ErrorKind::Throttled));
        stop.request();
        store.head(&key("packs/a")).expect_err("throttled, then stopped");
        assert_eq!(store.inner.count(Operation::Head), 1);
    }

    #[test]
    fn nothing_is_tried_again_for_an_errand_that_was_stopped() {
        let (_dir, store) = prepared_directory();
        let store = Retrying::new(Faulty::new(store), QUICK, Stop::new());
        store.inner.every(Operation::Head, Fault::Fail(ErrorKind::Throttled));
        let stop = Stop::new();
        stop.request();
        Errand::new(stop).run(|| store.head(&key("packs/a")).expect_err("throttled"));
        assert_eq!(store.inner.count(Operation::Head), 1);
    }

    #[test]
    fn a_lost_answer_to_a_creation_is_no_conflict_with_oneself() {
        let (_dir, store) = prepared_directory();
        let store = Retrying::new(Faulty::new(store), QUICK, Stop::new());
        store.inner.on(Operation::Put, 1, Fault::FailAfter(ErrorKind::Transient));
        let receipt = store.put(&key("packs/a"), Bytes::from_static(b"mine"), &create_new());
        assert_eq!(receipt.expect("ours").size_bytes, 4);
    }

    #[test]
    fn another_writers_object_stays_a_conflict_after_a_failed_try() {
        let (_dir, store) = prepared_directory();
        store.put(&key("packs/a"), Bytes::from_static(b"theirs"), &create_new()).expect("put");
        let store = Retrying::new(Faulty::new(store), QUICK, Stop::new());
        store.inner.on(Operation::Put, 1, Fault::Fail(ErrorKind::Transient));
        let error = store.put(&key("packs/a"), Bytes::from_static(b"mine"), &create_new());
        assert_eq!(error.expect_err("taken").kind(), ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_lock_is_tried_again_and_its_absence_is_an_answer() {
        let (_dir, store) = prepared_directory();
        let store = Retrying::new(Faulty::new(store), QUICK, Stop::new());
        store.inner.on(Operation::Lock, 1, Fault::Fail(ErrorKind::Transient));
        assert!(!store.lock_until(&key("packs/a"), 1).expect("a directory has no locks"));
        assert_eq!(store.inner.count(Operation::Lock), 2);
        store.inner.every(Operation::Lock, Fault::Fail(ErrorKind::Denied));
        let error = store.lock_until(&key("packs/a"), 1).expect_err("denied");
        assert_eq!((error.kind(), store.inner.count(Operation::Lock)), (ErrorKind::Denied, 3));
    }

    #[test]
    fn a_broken_listing_goes_on_where_it_broke() {
        let (_dir, store) = prepared_directory();
        for name in ["l/a", "l/b", "l/c", "l/d"] {
            store.put(&key(name), Bytes::new(), &create_new()).expect("put");
        }
        let store = Retrying::new(Faulty::new(store), QUICK, Stop::new());
        store.inner.on(Operation::List, 1, Fault::FailAfter(ErrorKind::Transient));
        let keys = collect_keys(&store, "l/", None).expect("second try");
        assert_eq!(keys, ["l/a", "l/b", "l/c", "l/d"]);
        assert_eq!(store.inner.count(Operation::List), 2);
    }
}
