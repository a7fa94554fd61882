//! What writing to a file or punching it strips, and putting it back.
//!
//! The kernel sets the mtime, clears the set-id bits (unless root does it) and
//! removes `security.capability` (also then) from a file that is written. All
//! are taken down before and put back after. While it matters they are also in
//! an attribute of their own, so that [`super::recover`] can put them back after
//! a crash; it exists only between the two.
//!
//! Put back narrowly: a bit only if mode and owner are otherwise what they
//! were, so that an administrator's `chmod` or `chown` in the meantime stands.
//! From a record in `user.hsm.undo` only the mtime is believed: whoever may
//! write to the file can forge it, and must not get the owner to make it
//! set-uid.
//!
//! The attribute, little endian: magic `hU`, version 1, length of the
//! capability, mode, uid, gid (4 bytes each), mtime in ns (8), the capability,
//! CRC-32 of all before.

use super::error::Error;
use super::space::MarkerSpace;
use crate::fault;
use crate::os::stat::{Stat, statx_fd};
use crate::os::{blocks, owner_write, xattrs};
use std::fs::File;
use std::io;

const MAGIC_AND_VERSION: [u8; 3] = *b"hU\x01";
const FIXED_LEN: usize = 24;
const SET_ID_BITS: u32 = 0o6000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime_ns: i64,
    capability: Option<Vec<u8>>,
}

impl Saved {
    pub(super) fn of(file: &File, stat: &Stat) -> Result<Self, Error> {
        let capability = xattrs::get(file, xattrs::CAPABILITY).map_err(Error::Save)?;
        let Stat { mode, uid, gid, mtime_ns, .. } = *stat;
        // No kernel makes one longer than 24 bytes.
        let capability = capability.filter(|value| value.len() <= usize::from(u8::MAX));
        Ok(Self { mode, uid, gid, mtime_ns, capability })
    }

    /// Whether there is more to lose than the mtime.
    pub(super) fn is_privileged(&self) -> bool {
        self.mode & SET_ID_BITS != 0 || self.capability.is_some()
    }

    /// Takes it down in the file itself. Visible on return, not durable.
    pub(super) fn record(&self, file: &File, space: MarkerSpace) -> Result<(), Error> {
        space.set(file, space.undo_attribute(), &self.encode()).map_err(Error::Save)
    }

    /// What the file's own record says; `None` if there is none that can be
    /// read.
    pub(super) fn recorded(file: &File, space: MarkerSpace) -> Result<Option<Self>, Error> {
        let bytes = xattrs::get(file, space.undo_attribute()).map_err(Error::Inspect)?;
        let found = bytes.and_then(|bytes| Self::decode(&bytes));
        Ok(found.map(|saved| match space {
            MarkerSpace::Trusted => saved,
            MarkerSpace::User => Self { mode: 0, capability: None, ..saved },
        }))
    }

    pub(super) fn forget(file: &File, space: MarkerSpace) -> Result<(), Error> {
        let present = xattrs::get(file, space.undo_attribute()).map_err(Error::Inspect)?;
        if present.is_some() {
            space.unset(file, space.undo_attribute()).map_err(Error::Restore)?;
        }
        Ok(())
    }

    /// Makes no call for what is still as it was.
    pub(super) fn put_back(&self, file: &File) -> Result<(), Error> {
        self.try_put_back(file).map_err(Error::Restore)
    }

    fn try_put_back(&self, file: &File) -> io::Result<()> {
        let now = statx_fd(file)?;
        let same_owner = (now.uid, now.gid) == (self.uid, self.gid);
        let same_rest = now.mode & !SET_ID_BITS == self.mode & !SET_ID_BITS;
        let lost = self.mode & !now.mode & SET_ID_BITS;
        if lost != 0 && same_owner && same_rest {
            fault::effect("stub.fchmod")?;
            owner_write::set_mode(file, now.mode | lost)?;
        }
        if let Some(value) = &self.capability {
            let stripped = xattrs::get(file, xattrs::CAPABILITY)?.is_none();
            if stripped && same_owner {
                fault::effect("stub.setxattr")?;
                xattrs::set(file, xattrs::CAPABILITY, value)?;
            }
        }
        if now.mtime_ns != self.mtime_ns {
            fault::effect("stub.utimens")?;
            blocks::set_times(file, None, Some(self.mtime_ns))?;
        }
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let capability = self.capability.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(FIXED_LEN + capability.len() + 4);
        bytes.extend_from_slice(&MAGIC_AND_VERSION);
        bytes.push(capability.len() as u8);
        for word in [self.mode, self.uid, self.gid] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.mtime_ns.to_le_bytes());
        bytes.extend_from_slice(capability);
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        let whole = u32::from_le_bytes(*sum) == crc32fast::hash(body)
            && body.starts_with(&MAGIC_AND_VERSION)
            && body.len() >= FIXED_LEN
            && body.len() == FIXED_LEN + usize::from(body[3]);
        if !whole {
            return None;
        }
        let word = |at: usize| body[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let capability = &body[FIXED_LEN..];
        Some(Self {
            mode: word(4)?,
            uid: word(8)?,
            gid: word(12)?,
            mtime_ns: i64::from_le_bytes(body[16..24].try_into().ok()?),
            capability: (!capability.is_empty()).then(|| capability.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn saved(capability: Option<Vec<u8>>) -> Saved {
        Saved { mode: 0o4755, uid: 7, gid: 8, mtime_ns: -5, capability }
    }

    /// Whoever may write to the file could otherwise have its owner make it
    /// set-uid.
    #[test]
    fn a_record_that_others_could_forge_yields_only_the_time() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = File::create(dir.path().join("f")).expect("create");
        saved(Some(vec![1; 20])).record(&file, MarkerSpace::User).expect("record");
        let found = Saved::recorded(&file, MarkerSpace::User).expect("read").expect("a record");
        assert!(!found.is_privileged());
        assert_eq!(found.mtime_ns, -5);
    }

    #[test]
    fn a_mode_that_someone_changed_meanwhile_stands() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = File::create(dir.path().join("f")).expect("create");
        owner_write::set_mode(&file, 0o4755).expect("chmod");
        let saved = Saved::of(&file, &statx_fd(&file).expect("stat")).expect("save");
        owner_write::set_mode(&file, 0o755).expect("as a write does");
        saved.put_back(&file).expect("put back");
        assert_eq!(statx_fd(&file).expect("stat").mode, 0o4755);
        owner_write::set_mode(&file, 0o700).expect("as an administrator does");
        saved.put_back(&file).expect("put back");
        assert_eq!(statx_fd(&file).expect("stat").mode, 0o700);
    }

    proptest! {
        #[test]
        fn every_record_is_read_back_and_a_damaged_one_is_none(
            capability in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..30)),
            flip in any::<proptest::sample::Index>(),
        ) {
            let saved = saved(capability);
            let mut bytes = saved.encode();
            prop_assert_eq!(Saved::decode(&bytes), Some(saved));
            let at = flip.index(bytes.len());
            bytes[at] ^= 0x10;
            prop_assert_eq!(Saved::decode(&bytes), None);
            prop_assert_eq!(Saved::decode(&bytes[..at]), None);
        }
    }
}
