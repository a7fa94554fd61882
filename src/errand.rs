//! What a thread does for somebody who may give up waiting: bytes that arrive for
//! it are counted, and it can be asked to stop inside a call that takes long.
//!
//! A store is told neither for whom it works nor whether that one still waits:
//! its methods are the same for all. So whoever sends a thread into a store sets
//! the thread's errand around the call ([`Errand::run`]), and the store, where it
//! waits, asks the errand of the thread that it blocks. A thread without an
//! errand is never asked to stop. An errand is not inherited by threads that its
//! thread starts; each of them sets it anew.

use crate::monitor::Stop;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static CURRENT: RefCell<Option<Errand>> = const { RefCell::new(None) };
}

/// One piece of work, on however many threads. Clones share all of it.
#[derive(Debug, Clone, Default)]
pub struct Errand {
    stop: Stop,
    arrived_bytes: Arc<AtomicU64>,
}

impl Errand {
    /// Ends when `stop` is requested.
    pub fn new(stop: Stop) -> Self {
        Self { stop, arrived_bytes: Arc::default() }
    }

    /// The same count, another stop.
    pub fn with_stop(&self, stop: Stop) -> Self {
        Self { stop, arrived_bytes: Arc::clone(&self.arrived_bytes) }
    }

    /// All that has arrived for it so far, on all its threads; also what was
    /// thrown away because the rest never came.
    pub fn arrived_bytes(&self) -> u64 {
        self.arrived_bytes.load(Ordering::Relaxed)
    }

    /// Does `work` as this errand. The thread's errand before it is set again
    /// afterwards, also after a panic.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _before = Before(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// So many bytes more have come for what this thread is doing.
    pub fn arrive(bytes: usize) {
        CURRENT.with_borrow(|current| {
            if let Some(errand) = current {
                errand.arrived_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
        });
    }

    /// Whether nobody wants any more what this thread is doing.
    pub fn stop_requested() -> bool {
        CURRENT.with_borrow(|current| current.as_ref().is_some_and(|it| it.stop.requested()))
    }
}

/// The errand to go back to.
struct Before(Option<Errand>);

impl Drop for Before {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_counts_on_its_own_threads_only() {
        let (errand, stop) = (Errand::default(), Stop::new());
        let errand = errand.with_stop(stop.clone());
        stop.request();
        errand.run(|| {
            assert!(Errand::stop_requested());
            Errand::arrive(3);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    assert!(!Errand::stop_requested());
                    Errand::arrive(5);
                    errand.run(|| Errand::arrive(4));
                });
            });
        });
        Errand::arrive(6);
        assert!(!Errand::stop_requested());
        assert_eq!(errand.arrived_bytes(), 7);
    }

    #[test]
    fn the_errand_before_is_gone_back_to_even_after_a_panic() {
        let (outer, inner) = (Errand::default(), Errand::default());
        outer.run(|| {
            let panicked = std::panic::catch_unwind(|| {
                inner.run(|| {
                    Errand::arrive(1);
                    std::panic::resume_unwind(Box::new("on the way"));
                })
            });
            panicked.expect_err("it panicked");
            Errand::arrive(2);
        });
        assert_eq!((outer.arrived_bytes(), inner.arrived_bytes()), (2, 1));
    }
}
