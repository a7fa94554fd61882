//! Keeping everybody else off one inode while hsm changes what is behind it.
//!
//! Two ways exist. Without a guard a write lease does it ([`Leases`]): nobody
//! has the file open or mapped, and who opens it waits. Under a guard the lease
//! is only probed and the guard's own table of inodes makes openers wait or
//! calls the change off; that implementation is the guard's.
//!
//! Invariant: blocks are freed only between [`Secluded::close`] having said yes
//! and the drop of that value.

use crate::os::lease::OwnedLease;
use std::fs::File;
use std::io;

/// Who else may touch an inode. Shared by the threads of a run.
pub trait Custody: Sync {
    /// Takes a file whose blocks are to be freed. `Err` gives it back when
    /// somebody has it open or mapped, or another thread holds it: this never
    /// waits, as a run takes many in no order.
    fn seclude(&self, file: File) -> io::Result<Result<Box<dyn Secluded + '_>, File>>;

    /// Waits until no other thread fills, frees or mends the inode, and keeps
    /// it so until the value is dropped. Openers are not told apart from
    /// others: who opens meanwhile waits for the guard, where there is one.
    ///
    /// A thread that holds several takes them in the order of their identities
    /// and none twice, so that two such threads do not wait for each other.
    fn hold(&self, file: &File) -> io::Result<Box<dyn Held + '_>>;

    /// A lease taken by this process over a change would make it wait for
    /// itself: true under a guard.
    fn guarded(&self) -> bool;
}

/// A file that nobody else has open or mapped, as far as [`Secluded::close`]
/// has not been asked yet: until then an opener is let in, and that calls the
/// freeing off.
pub trait Secluded: Send {
    fn file(&self) -> &File;

    /// From here on nobody gets in until the value is dropped. `false` if
    /// somebody has opened the file since it was secluded: it must stay whole.
    fn close(&self) -> bool;
}

/// Others wait until it is dropped.
pub trait Held: Send {}

/// Custody by write leases, for runs without a guard.
#[derive(Debug, Default)]
pub struct Leases;

impl Custody for Leases {
    fn seclude(&self, file: File) -> io::Result<Result<Box<dyn Secluded + '_>, File>> {
        let lease = OwnedLease::acquire(file)?;
        Ok(lease.map(|lease| Box::new(lease) as Box<dyn Secluded>))
    }

    /// The lock of the run keeps other runs of `hsm` away, and nothing keeps
    /// anybody else from a stub that no guard watches.
    fn hold(&self, _: &File) -> io::Result<Box<dyn Held + '_>> {
        Ok(Box::new(Nothing))
    }

    fn guarded(&self) -> bool {
        false
    }
}

struct Nothing;

impl Held for Nothing {}

impl Secluded for OwnedLease {
    fn file(&self) -> &File {
        OwnedLease::file(self)
    }

    fn close(&self) -> bool {
        self.intact()
    }
}
