//! Asking a store once what it can be trusted to do.
//!
//! Servers accept wrong sums, ignore conditions, and one stores other bytes than
//! it was sent and answers 200. So `init` and `doctor` try everything out on
//! scratch objects below [`PROBE_PREFIX`] and keep the findings; they choose how
//! a copy is proven. Anything that was not found to hold is taken not to.
//!
//! A store that gives back other bytes than it was sent is not a finding but an
//! error: nothing may be kept there.

use super::sums::{md5_hex, sha256};
use super::{
    Error, ErrorKind, Key, PROBE_PREFIX, Precaution, PutOptions, Result, Sha256Sum, Store,
};
use crate::ids::PackId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a store was found to do. The default trusts nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// An object whose declared SHA-256 is wrong is refused.
    pub refuses_wrong_checksum: bool,
    /// The same for a part of a multipart upload.
    pub refuses_wrong_part_checksum: bool,
    /// HEAD returns the SHA-256 that was declared.
    pub returns_checksum: bool,
    /// The ETag of an object sent in one request is its MD5.
    pub etag_is_md5: bool,
    /// The store itself refuses to replace an object that must be new.
    pub conditional_create: bool,
    /// A listing shows what was just written and not what was just deleted.
    pub lists_own_writes: bool,
    /// A ranged read returns the bytes of the range.
    pub exact_ranges: bool,
}

/// Bytes in a scratch object; not a multiple of any block.
const SCRATCH_BYTES: usize = 10_007;

/// Tries the store out and removes its scratch objects again. `now_ns` only
/// makes their names fresh.
pub fn probe(store: &dyn Store, now_ns: i64) -> Result<Capabilities> {
    let scratch = Scratch { store, prefix: format!("{PROBE_PREFIX}{}/", PackId::fresh(now_ns)) };
    let found = scratch.try_everything();
    let cleaned = scratch.remove_all();
    let found = found?;
    cleaned?;
    Ok(found)
}

struct Scratch<'s> {
    store: &'s dyn Store,
    prefix: String,
}

const NAMES: [&str; 5] = ["body", "sum", "part-sum", "new", "gone"];

impl Scratch<'_> {
    fn key(&self, name: &str) -> Key {
        Key::new(format!("{}{name}", self.prefix)).expect("scratch names are keys")
    }

    fn try_everything(&self) -> Result<Capabilities> {
        let body = noise();
        let key = self.key("body");
        self.store.put(&key, body.clone(), &PutOptions::default())?;
        if self.store.get(&key, None)? != body {
            return Err(Error::new(
                ErrorKind::Integrity,
                "probe",
                key.as_str(),
                self.store.location(),
            )
            .with_detail("the store gives back other bytes than it was sent"));
        }
        let info = self.store.head(&key)?;
        let whole = Sha256Sum::Whole(sha256(&body));
        let honours = |precaution, name| self.store.honours(precaution, &self.key(name));
        Ok(Capabilities {
            refuses_wrong_checksum: honours(Precaution::DeclaredSum, "sum")?,
            refuses_wrong_part_checksum: honours(Precaution::DeclaredPartSum, "part-sum")?,
            returns_checksum: info.sha256 == Some(whole),
            etag_is_md5: info.etag.is_some_and(|etag| etag == md5_hex(&body)),
            conditional_create: honours(Precaution::CreateNew, "new")?,
            lists_own_writes: self.lists_own_writes()?,
            exact_ranges: self.ranges_are_exact(&key, &body)?,
        })
    }

    fn lists_own_writes(&self) -> Result<bool> {
        let key = self.key("gone");
        self.store.put(&key, Bytes::from_static(b"x"), &PutOptions::default())?;
        let shown = self.list()?.contains(&key);
        self.store.delete(&key)?;
        Ok(shown && !self.list()?.contains(&key))
    }

    fn list(&self) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        self.store.list(&self.prefix, None, &mut |info| keys.push(info.key))?;
        Ok(keys)
    }

    fn ranges_are_exact(&self, key: &Key, body: &Bytes) -> Result<bool> {
        let len = body.len();
        for range in [0..1, 1..4097, len - 1..len, 0..len] {
            let asked = range.start as u64..range.end as u64;
            match self.store.get(key, Some(asked)) {
                Ok(bytes) if bytes == body[range.clone()] => {}
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Integrity => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn remove_all(&self) -> Result<()> {
        NAMES.iter().try_for_each(|name| self.store.delete(&self.key(name)))
    }
}

/// Bytes in which no two blocks are alike, so that a shifted or repeated one
/// shows.
fn noise() -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..SCRATCH_BYTES)
        .map(|_| {
            // xorshift64 (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::contract::{collect_keys, prepared_directory};
    use super::super::{Fault, Faulty, Operation};
    use super::*;

    #[test]
    fn a_directory_has_no_sums_and_keeps_its_word_elsewhere() {
        let (_dir, store) = prepared_directory();
        let found = probe(&store, 1).expect("probe");
        let wanted = Capabilities {
            conditional_create: true,
            lists_own_writes: true,
            exact_ranges: true,
            ..Capabilities::default()
        };
        assert_eq!(found, wanted);
        assert_eq!(collect_keys(&store, PROBE_PREFIX, None).expect("list"), [""; 0]);
    }

    #[test]
    fn a_store_that_changes_bytes_is_an_error_and_is_cleaned_up() {
        let (_dir, store) = prepared_directory();
        let store = Faulty::lenient(store);
        store.on(Operation::Put, 1, Fault::FlipBit);
        assert_eq!(probe(&store, 1).expect_err("other bytes").kind(), ErrorKind::Integrity);
        assert_eq!(collect_keys(&store, PROBE_PREFIX, None).expect("list"), [""; 0]);
    }

    #[test]
    fn findings_of_an_older_version_trust_nothing_it_did_not_look_for() {
        let old: Capabilities = serde_json::from_str(r#"{"etag_is_md5":true}"#).expect("json");
        assert_eq!(old, Capabilities { etag_is_md5: true, ..Capabilities::default() });
    }
}
