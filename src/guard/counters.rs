//! What the guard has done since this process began, for who asks.
//!
//! Counted where a record is made, not where it is written: a state DB that does
//! not take records must not stop the numbers that tell of it. Atomics only;
//! nobody waits here.

use crate::state::{RECALLED, RecallRow};
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of `recorder::errno_name`; whatever else was told counts as the last.
const ERRNOS: [&str; 7] = ["EPERM", "EAGAIN", "EBUSY", "ETXTBSY", "ENOSPC", "EDQUOT", "EIO"];

/// Sums over recalls.
#[derive(Debug, Default)]
pub struct Counters {
    recalls: AtomicU64,
    recalled_bytes: AtomicU64,
    waited_ms: AtomicU64,
    denied: [AtomicU64; ERRNOS.len()],
}

impl Counters {
    pub fn count(&self, row: &RecallRow) {
        let add = |to: &AtomicU64, more| to.fetch_add(more, Ordering::Relaxed);
        if row.outcome == RECALLED {
            add(&self.recalls, 1);
            add(&self.recalled_bytes, row.bytes);
            add(&self.waited_ms, row.latency_ms);
            return;
        }
        let word = row.outcome.split(':').next().unwrap_or("");
        let at = ERRNOS.iter().position(|known| *known == word).unwrap_or(ERRNOS.len() - 1);
        add(&self.denied[at], 1);
    }

    pub fn recalls(&self) -> u64 {
        self.recalls.load(Ordering::Relaxed)
    }

    pub fn recalled_bytes(&self) -> u64 {
        self.recalled_bytes.load(Ordering::Relaxed)
    }

    /// How long programs waited for recalls that succeeded, together.
    pub fn waited_ms(&self) -> u64 {
        self.waited_ms.load(Ordering::Relaxed)
    }

    /// Programs that saw this error instead of their file.
    pub fn denied(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERRNOS.iter().zip(&self.denied).map(|(word, count)| (*word, count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::FileIdent;

    #[test]
    fn recalls_and_denials_are_counted_apart() {
        let counters = Counters::default();
        let row = |outcome: &str| RecallRow {
            at_ns: 0,
            ident: FileIdent { ino: 1, generation: 1 },
            roots: vec![],
            ctime_ns: None,
            mtime_ns: None,
            bytes: 100,
            latency_ms: 7,
            pid: 1,
            uid: 1,
            exe: String::new(),
            cgroup: String::new(),
            outcome: outcome.to_owned(),
        };
        for outcome in [RECALLED, RECALLED, "EAGAIN: budget", "EIO: store", "EWHAT"] {
            counters.count(&row(outcome));
        }
        let sums = (counters.recalls(), counters.recalled_bytes(), counters.waited_ms());
        assert_eq!(sums, (2, 200, 14));
        let denied: Vec<_> = counters.denied().filter(|(_, count)| *count > 0).collect();
        assert_eq!(denied, [("EAGAIN", 1), ("EIO", 2)]);
    }
}
