//! The memory of a slot table, and the only place that holds its address.
//!
//! The mapping begins on a page, so header and slots are aligned; it is as long
//! as its size seal promises the memory to stay; and what is seen of it is made
//! of atomics only, for which any bytes are valid and any other writer is
//! harmless. That is why references into it are sound.

use super::layout::{Header, Slot, bytes_for};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{NonNull, null_mut};

/// Unmapped when dropped; the memory stays for who has the descriptor.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<libc::c_void>,
    slots: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and what is
// reachable through it are atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` gives nothing but `&Header` and `&[Slot]`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `memory` must be sealed against shrinking and have room for `slots`.
    pub(super) fn new(memory: &OwnedFd, slots: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches
        // nothing that exists; the descriptor lives as long as `memory`.
        let base = unsafe {
            libc::mmap(
                null_mut(),
                bytes_for(slots),
                access,
                libc::MAP_SHARED,
                memory.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base).expect("the kernel maps nothing at zero unasked");
        Ok(Self { base, slots })
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: see the charter; the borrow ends before the mapping does.
        unsafe { self.base.cast::<Header>().as_ref() }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        // SAFETY: see the charter; `slots` of them follow the header, whose
        // size is a multiple of their alignment.
        unsafe {
            let first = self.base.byte_add(size_of::<Header>()).cast::<Slot>();
            std::slice::from_raw_parts(first.as_ptr(), self.slots)
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this very range was mapped by `new`, and every reference into
        // it borrowed `self`.
        unsafe { libc::munmap(self.base.as_ptr(), bytes_for(self.slots)) };
    }
}
