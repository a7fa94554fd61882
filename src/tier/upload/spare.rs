//! Buffers that were used and can be used again.
//!
//! A fresh buffer of megabytes costs a page fault and a cleared page for every
//! 4 KiB, about as much as copying into it. So chunks and packs hand theirs on.
//! Only a few are kept: what is in use is bounded elsewhere, and this must not
//! add to it.

use std::sync::{Mutex, PoisonError};

pub struct Spare {
    buffers: Mutex<Vec<Vec<u8>>>,
    keep: usize,
}

impl Spare {
    pub fn new(keep: usize) -> Self {
        Self { buffers: Mutex::default(), keep }
    }

    /// A buffer with whatever its last user left in it, or an empty new one.
    pub fn take(&self) -> Vec<u8> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    pub fn give_back(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < self.keep {
            buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_no_more_than_a_few_are_kept() {
        let spare = Spare::new(1);
        assert_eq!(spare.take().capacity(), 0);
        spare.give_back(Vec::with_capacity(100));
        spare.give_back(Vec::with_capacity(200));
        assert_eq!(spare.take().capacity(), 100);
        assert_eq!(spare.take().capacity(), 0);
    }
}
