//! Names for things that are never a path: chunks, contents, packs, stores,
//! nodes, and a file's identity on its file system.
//!
//! A path is a label that a user may change at any moment; every promise `hsm`
//! makes hangs on one of these values instead. Each is a newtype, so that a
//! chunk id cannot be passed where a content id is meant.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {text:?}")]
pub struct BadId {
    kind: &'static str,
    text: String,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// `None` unless `bytes` has exactly the id's length.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| BadId { kind: $kind, text: text.to_owned() })?;
                Ok(Self(bytes))
            }
        }

        serde_as_text!($name);
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// `None` unless `bytes` is 16 bytes long.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                uuid::Uuid::try_parse(text)
                    .map(|id| Self(id.into_bytes()))
                    .map_err(|_| BadId { kind: $kind, text: text.to_owned() })
            }
        }

        serde_as_text!($name);
    };
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

hex_id!(
    /// SHA-256 of a chunk's plain bytes; in an encrypted store HMAC-SHA-256 of
    /// them under the store's id key, so that an id confirms no content.
    ChunkId, 32, "chunk id"
);
hex_id!(
    /// Digest over a file's size and its chunk list (`manifest::content`): two
    /// files with one content id have the same bytes and the same holes.
    ContentId, 32, "content id"
);
uuid_id!(
    /// A pack's unique name (UUID version 7). Never a hash and never used
    /// twice, so that no delete can race a re-upload of the same name.
    PackId, "pack id"
);
uuid_id!(
    /// Made once by the first `hsm init` of a store.
    StoreId, "store id"
);
uuid_id!(
    /// One second store: made by the `hsm init` that begins it.
    CopyId, "copy id"
);
uuid_id!(
    /// One writer of catalog segments: one state DB of one server.
    NodeId, "node id"
);

/// A file on its file system: inode number and the generation that tells a
/// reused inode number from the file that had it before.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct FileIdent {
    pub ino: u64,
    pub generation: u32,
}

/// 128 random bits from the kernel.
fn random_128() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the kernel's random source answers once booted");
    bytes
}

impl PackId {
    /// A new name; ids of one writer sort by `now_ns` at millisecond grain.
    pub fn fresh(now_ns: i64) -> Self {
        let random = random_128();
        let counter = random[..10].try_into().expect("ten of sixteen bytes");
        let millis = u64::try_from(now_ns / 1_000_000).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, counter).into_uuid().into_bytes())
    }
}

impl StoreId {
    /// A new random id.
    pub fn fresh() -> Self {
        Self(uuid::Builder::from_random_bytes(random_128()).into_uuid().into_bytes())
    }

    /// The four bytes that a marker carries, enough to name a wrong store.
    pub fn tag(&self) -> [u8; 4] {
        [self.0[0], self.0[1], self.0[2], self.0[3]]
    }
}

impl CopyId {
    /// A new random id.
    pub fn fresh() -> Self {
        Self(uuid::Builder::from_random_bytes(random_128()).into_uuid().into_bytes())
    }
}

impl NodeId {
    /// A new random id.
    pub fn fresh() -> Self {
        Self(uuid::Builder::from_random_bytes(random_128()).into_uuid().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let chunk = ChunkId([0xab; 32]);
        assert_eq!(chunk.to_string().parse::<ChunkId>(), Ok(chunk));
        let pack = PackId::fresh(1_700_000_000_000_000_000);
        assert_eq!(pack.to_string().parse::<PackId>(), Ok(pack));
    }

    #[test]
    fn a_short_or_foreign_text_is_refused_by_name() {
        let error = "abcd".parse::<ContentId>().expect_err("too short");
        assert_eq!(error.to_string(), "not a content id: \"abcd\"");
        assert!("zz".parse::<StoreId>().is_err());
    }

    #[test]
    fn later_packs_sort_after_earlier_ones() {
        let early = PackId::fresh(1_000_000_000_000_000_000);
        let late = PackId::fresh(1_000_000_001_000_000_000);
        assert!(early < late);
        assert_ne!(PackId::fresh(5), PackId::fresh(5));
    }
}
