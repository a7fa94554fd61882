//! The directories still to be read.
//!
//! Last in, first out: the walk goes deep before it goes wide, so the queue
//! holds the siblings along one path and not a whole level of the tree. The
//! walk is over when nothing is queued and nobody works on what may queue more.

use crate::os::RelPath;
use std::sync::{Condvar, Mutex, MutexGuard};

#[derive(Debug, Default)]
struct Inner {
    todo: Vec<RelPath>,
    /// Directories taken and not yet returned with [`Queue::done`].
    busy: usize,
    closed: bool,
}

/// Shared by the threads of one walk.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Queue {
    pub fn new(first: RelPath) -> Self {
        let inner = Inner { todo: vec![first], ..Inner::default() };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// The next directory; waits while others may still find some. `None` when
    /// the walk is over.
    pub fn take(&self) -> Option<RelPath> {
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(path) = inner.todo.pop() {
                inner.busy += 1;
                return Some(path);
            }
            if inner.busy == 0 {
                return None;
            }
            inner = self.changed.wait(inner).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// A taken directory is read; `found` is beneath it.
    pub fn done(&self, found: Vec<RelPath>) {
        let mut inner = self.lock();
        inner.busy -= 1;
        inner.todo.extend(found);
        drop(inner);
        self.changed.notify_all();
    }

    /// Ends the walk early.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
