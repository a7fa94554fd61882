//! Objects by key: the one place that knows what a store is made of.
//!
//! Three backends: a directory (`dir`), S3 (`s3`, the only room with SDK types)
//! and OpenStack Swift (`swift`); async code is in the rooms of the remote ones. And wrappers with the same interface for what is no
//! backend's business: [`Retrying`], [`Limited`], and [`Faulty`] for tests.
//! [`open`] stacks them. [`probe`] asks a store once what it can be trusted to
//! do, and [`prove`] turns that into evidence that a pack's bytes are really
//! there; nothing else may attest a pack.
//!
//! What every backend guards against: an object seen half-written, an overwrite
//! of what must never change, a short read taken for a whole one, a partial
//! listing taken for a complete one, and above all a store that cannot be
//! reached taken for a store from which the object is gone.

mod absent;
mod dir;
mod error;
mod key;
mod limited;
#[cfg(feature = "more-stores")]
mod more;
mod open;
mod options;
mod probe;
mod prove;
mod retrying;
mod s3;
mod sockets;
mod sums;
mod swift;
mod thaw;
mod variables;

#[cfg(any(test, feature = "fault-points"))]
pub mod contract;
#[cfg(any(test, feature = "fault-points"))]
mod faulty;
#[cfg(test)]
#[path = "../../tests/support/s3_server.rs"]
mod s3_server;
#[cfg(test)]
#[path = "../../tests/support/store_place.rs"]
mod store_place;
#[cfg(test)]
#[path = "../../tests/support/swift_server.rs"]
mod swift_server;

pub use absent::AbsentStore;
pub use dir::DirectoryStore;
pub use error::{Error, ErrorKind, Result};
#[cfg(any(test, feature = "fault-points"))]
pub use faulty::{Fault, Faulty, Operation};
pub use key::{BadKey, Key};
pub use limited::Limited;
pub use open::open;
pub use options::{AccessKey, Checksums, StoreOptions};
pub use probe::{Capabilities, probe};
pub use prove::{can_prove_unread, prove, prove_stored};
pub use retrying::{RetryPlan, Retrying};
pub use s3::S3Store;
pub use sums::Sha256Sum;
pub use swift::SwiftStore;
pub use thaw::{Access, Thawing};
pub use variables::Variables;

use crate::classes::Thaw;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// The object that every store holds from its first `init` on, and by which a
/// mounted directory store is told from an empty mount point.
pub const DESCRIPTOR_KEY: &str = "hsm-store.json";

/// No more is ever read at once: the largest objects that hsm writes are far below it,
/// and a store that claims more would only have memory reserved for its word.
pub const MAX_READ_BYTES: u64 = 512 << 20;

/// Scratch objects of [`probe`] live below this.
pub const PROBE_PREFIX: &str = "probe/";

/// How an object is to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Fail with [`ErrorKind::AlreadyExists`] instead of replacing an object.
    pub create_new: bool,
    /// An S3 storage class for this object; `None` takes the store's default
    /// ([`Store::pack_class`]). A directory has no classes and ignores it.
    pub storage_class: Option<String>,
}

/// What was sent, and what the store said about it in the same answer. It
/// proves nothing yet: see [`prove`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutReceipt {
    pub key: Key,
    pub size_bytes: u64,
    /// Without quotes; `None` from a directory.
    pub etag: Option<String>,
    /// The sum the store says it holds, where it says so.
    pub server_sha256: Option<Sha256Sum>,
    /// The sum that was declared for the bytes sent, in the form in which the
    /// store would hold it; `None` where none was declared (a directory).
    pub sent_sha256: Option<Sha256Sum>,
}

/// An object as the store describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    pub key: Key,
    pub size_bytes: u64,
    /// The store's clock, or the file's mtime; whole seconds from S3.
    pub modified_ns: i64,
    pub etag: Option<String>,
    /// `None` for the standard class and for a directory.
    pub storage_class: Option<String>,
    /// The sum the store holds; only from [`Store::head`], and only from
    /// stores that keep one.
    pub sha256: Option<Sha256Sum>,
    /// Whether its bytes can be read now; from a listing only as far as the class
    /// tells.
    pub access: Access,
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepStats {
    /// Temporaries of a directory, unfinished multipart uploads of a bucket.
    pub removed: u64,
    /// Their bytes, where the store says; 0 for multipart uploads.
    pub freed_bytes: u64,
}

/// A protection of which some stores only say that they have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precaution {
    /// An object whose declared SHA-256 is not its own is refused.
    DeclaredSum,
    /// The same for one part of a multipart upload.
    DeclaredPartSum,
    /// The store itself refuses to replace an object that must be new, without
    /// a look beforehand by the backend.
    CreateNew,
}

/// What a store has beside its objects against their loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Protections {
    /// Whether a deleted object can be brought back as an older version;
    /// `None` where the store has no such thing or does not say.
    pub versioning: Option<bool>,
    /// Whether [`Store::lock_until`] locks; `None` likewise.
    pub object_lock: Option<bool>,
}

/// A flat space of immutable objects. Every method blocks, may be called from
/// several threads at once, and keeps this contract:
///
/// * An object is visible whole or not at all, whatever dies in between.
/// * When `put` returns `Ok`, the object survives a power cut of the store.
///   When it returns an error, the object may or may not be there.
/// * `put` with `create_new` never replaces an object that was there when the
///   call began. Against a writer that races it, this holds where
///   [`Precaution::CreateNew`] was found honoured.
/// * `get` returns exactly the bytes asked for: fewer, or a range that reaches
///   behind the object's end, is [`ErrorKind::Integrity`], and so is more than
///   [`MAX_READ_BYTES`]. An empty range is [`ErrorKind::BadRequest`].
/// * [`ErrorKind::NotFound`] means that the store was asked and said no. A
///   store that is away, unmounted, forbidden or not a store is never
///   `NotFound`: it is unknown what it holds.
/// * `list` visits every object whose key starts with `prefix` (any text, not
///   only whole segments) and sorts after `start_after`, in ascending byte
///   order of the keys, or returns an error; what was visited before an error
///   proves nothing about the rest. Unfinished objects and names that are no
///   [`Key`] are not visited.
/// * `delete` of a missing key is `Ok`. Whether a delete survives a power cut
///   is not promised: an object may come back.
/// * A lock is never shortened or lifted. Where `lock_until` answered `true`,
///   nobody can remove the bytes from the store before that time;
///   a `delete` may answer `Ok` and hide the object all the same.
/// * An object in an archive is there: `head` describes it, `get` is
///   [`ErrorKind::Archived`] until a thaw has brought a copy, and again when that
///   copy has expired.
/// * No key is a proper segment prefix of another (`a` and `a/b`): directories
///   cannot hold both.
pub trait Store: Send + Sync {
    /// The URL, for messages; never with secrets.
    fn location(&self) -> String;

    /// Writes an object.
    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt>;

    /// Reads an object, or the bytes of `range` of it.
    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes>;

    /// Asks about an object without reading it.
    fn head(&self, key: &Key) -> Result<ObjectInfo>;

    /// Visits objects in ascending order of their keys.
    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()>;

    /// Removes an object.
    fn delete(&self, key: &Key) -> Result<()>;

    /// Removes what writers that died left behind, if it was last written
    /// before `older_than_ns`. Choose a time that no living writer reaches: a
    /// day is plenty.
    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats>;

    /// Keeps an object from being removed until `until_ns` (UTC, since the Unix
    /// epoch), which is in the future. `Ok(false)` where the store has no such
    /// thing (a directory, a bucket without object lock): nothing is locked.
    /// The lock binds everyone, the store's owner included, and costs whatever
    /// the object costs until then.
    fn lock_until(&self, key: &Key, until_ns: i64) -> Result<bool>;

    /// Asks what the store has against loss.
    fn protections(&self) -> Result<Protections>;

    /// Tries out a precaution at `scratch`, past every care the backend takes
    /// itself. May leave an object at `scratch`.
    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool>;

    /// The class in which a pack is kept that is put with this wish, as far as is
    /// known; `None` also from stores without classes. (What is no pack must be
    /// readable at once: it never takes an archive class by default.)
    fn pack_class(&self, _wanted: Option<&str>) -> Option<String> {
        None
    }

    /// Asks the archive for a copy of an object that can be read. Returns as soon as
    /// the store has taken the order; [`Store::head`] tells how it goes on. To ask
    /// for what was asked for already does no harm.
    fn thaw(&self, key: &Key, _order: Thaw) -> Result<Thawing> {
        self.head(key).map(|_| Thawing::NotArchived)
    }
}

/// Passes every call on: a reference, box or arc of a store is a store.
macro_rules! forward_store {
    ($($pointer:ty),*) => {$(
        impl<S: Store + ?Sized> Store for $pointer {
            fn location(&self) -> String {
                (**self).location()
            }
            fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
                (**self).put(key, body, options)
            }
            fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
                (**self).get(key, range)
            }
            fn head(&self, key: &Key) -> Result<ObjectInfo> {
                (**self).head(key)
            }
            fn list(
                &self,
                prefix: &str,
                start_after: Option<&Key>,
                visit: &mut dyn FnMut(ObjectInfo),
            ) -> Result<()> {
                (**self).list(prefix, start_after, visit)
            }
            fn delete(&self, key: &Key) -> Result<()> {
                (**self).delete(key)
            }
            fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
                (**self).sweep(older_than_ns)
            }
            fn lock_until(&self, key: &Key, until_ns: i64) -> Result<bool> {
                (**self).lock_until(key, until_ns)
            }
            fn protections(&self) -> Result<Protections> {
                (**self).protections()
            }
            fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
                (**self).honours(precaution, scratch)
            }
            fn pack_class(&self, wanted: Option<&str>) -> Option<String> {
                (**self).pack_class(wanted)
            }
            fn thaw(&self, key: &Key, order: Thaw) -> Result<Thawing> {
                (**self).thaw(key, order)
            }
        }
    )*};
}

forward_store!(&S, Box<S>, Arc<S>);
