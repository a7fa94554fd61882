//! A counting semaphore in bytes: what keeps the pipeline's memory bounded.
//!
//! The feeder takes before it hands out a job, the assembler gives back when
//! the job's bytes are in a pack. Jobs are placed in the order in which their
//! bytes were taken, so the job that everybody waits for always has its share.

use std::sync::{Condvar, Mutex, PoisonError};

pub struct Budget {
    free: Mutex<Free>,
    total: u64,
    returned: Condvar,
}

struct Free {
    bytes: u64,
    /// Nobody gives anything back any more.
    closed: bool,
}

impl Budget {
    pub fn new(total: u64) -> Self {
        Self {
            free: Mutex::new(Free { bytes: total, closed: false }),
            total,
            returned: Condvar::new(),
        }
    }

    /// Waits until `bytes` are free and takes them. More than the whole budget
    /// counts as the whole budget; the result is what was really taken. Of a
    /// closed budget nothing is taken, and nobody waits.
    pub fn take(&self, bytes: u64) -> u64 {
        let wanted = bytes.min(self.total);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while free.bytes < wanted && !free.closed {
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        if free.closed {
            return 0;
        }
        free.bytes -= wanted;
        wanted
    }

    /// Whoever gives bytes back has ended.
    pub fn close(&self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.returned.notify_all();
    }

    pub fn give_back(&self, bytes: u64) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).bytes += bytes;
        self.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_larger_than_the_budget_takes_all_of_it_and_no_more() {
        let budget = Budget::new(10);
        assert_eq!(budget.take(25), 10);
        budget.give_back(10);
        assert_eq!(budget.take(4), 4);
        assert_eq!(budget.take(6), 6);
    }

    #[test]
    fn nobody_waits_for_a_closed_budget() {
        let budget = Budget::new(10);
        budget.take(10);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| budget.take(3));
            budget.close();
            assert_eq!(waiter.join().expect("no panic"), 0);
        });
    }

    #[test]
    fn a_waiter_goes_on_when_bytes_come_back() {
        let budget = Budget::new(10);
        budget.take(10);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| budget.take(3));
            budget.give_back(5);
            assert_eq!(waiter.join().expect("no panic"), 3);
        });
    }
}
