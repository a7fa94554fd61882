//! The marker: 64 bytes in an extended attribute that say which content stands
//! behind a stub, and of which inode they were said.
//!
//! 64 bytes, because an ext4 inode of 256 bytes keeps values up to 68 inside;
//! one byte more would cost each stub a block. Little endian:
//!
//! | offset | length | what |
//! | --- | --- | --- |
//! | 0 | 2 | magic `hS` |
//! | 2 | 1 | version, 1 |
//! | 3 | 1 | flags: 1 filling, 2 intact, 4 offline |
//! | 4 | 32 | content id |
//! | 36 | 8 | size in bytes |
//! | 44 | 8 | inode number |
//! | 52 | 4 | inode generation |
//! | 56 | 4 | the first bytes of the store's id |
//! | 60 | 4 | CRC-32 (zlib's) of the 60 bytes before |
//!
//! Inode and generation are inside, because programs copy attributes (`rsync
//! -X`, `tar --xattrs`, `btrfs receive`): a copied marker must not turn another
//! file into a stub. A newer version or an unknown flag is refused, never
//! guessed at.

use crate::ids::{ContentId, FileIdent};

/// The length of every marker of version 1.
pub const MARKER_LEN: usize = 64;

const MAGIC: [u8; 2] = *b"hS";
const VERSION: u8 = 1;
const FLAG_FILLING: u8 = 1;
/// Nothing was punched yet, so the holes there are belong to the file. Set only
/// for files that have holes of their own, until just before their punch: in
/// any other file a hole is proof that the punch began.
const FLAG_INTACT: u8 = 2;
/// The offline bit in the file's DOS attributes is ours.
const FLAG_OFFLINE: u8 = 4;
const FLAGS: u8 = FLAG_FILLING | FLAG_INTACT | FLAG_OFFLINE;

/// What stands behind a stub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    pub content: ContentId,
    pub size_bytes: u64,
    pub ident: FileIdent,
    pub store_tag: [u8; 4],
    /// A recall is writing the data, or was when it died.
    pub filling: bool,
    /// Windows clients see the stub as offline because `hsm` has said so in
    /// `user.DOSATTRIB`, and must take that back.
    pub offline: bool,
}

/// An attribute value that is no marker this version can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    #[error("not a marker: it does not begin like one")]
    Magic,
    #[error("the marker was written by a newer hsm (version {0})")]
    Newer(u8),
    #[error("a marker of {0} bytes, not 64")]
    Length(usize),
    #[error("the marker's checksum is wrong")]
    Checksum,
    #[error("the marker has unknown flags {0:#x}")]
    Flags(u8),
}

impl Marker {
    pub fn encode(&self) -> [u8; MARKER_LEN] {
        self.encode_with(false)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, MarkerError> {
        Self::decode_with(bytes).map(|(marker, _)| marker)
    }

    pub(super) fn encode_with(&self, intact: bool) -> [u8; MARKER_LEN] {
        let mut flags = 0;
        if self.filling {
            flags |= FLAG_FILLING;
        }
        if intact {
            flags |= FLAG_INTACT;
        }
        if self.offline {
            flags |= FLAG_OFFLINE;
        }
        let mut bytes = [0; MARKER_LEN];
        bytes[0..2].copy_from_slice(&MAGIC);
        bytes[2] = VERSION;
        bytes[3] = flags;
        bytes[4..36].copy_from_slice(self.content.as_bytes());
        bytes[36..44].copy_from_slice(&self.size_bytes.to_le_bytes());
        bytes[44..52].copy_from_slice(&self.ident.ino.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.ident.generation.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.store_tag);
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The marker, and whether it says intact.
    pub(super) fn decode_with(bytes: &[u8]) -> Result<(Self, bool), MarkerError> {
        match bytes {
            [a, b, version, ..] if [*a, *b] == MAGIC => {
                if *version > VERSION {
                    return Err(MarkerError::Newer(*version));
                }
            }
            _ => return Err(MarkerError::Magic),
        }
        let fixed: &[u8; MARKER_LEN] =
            bytes.try_into().map_err(|_| MarkerError::Length(bytes.len()))?;
        if fixed[2] != VERSION || u32_at(fixed, 60) != crc32fast::hash(&fixed[..60]) {
            return Err(MarkerError::Checksum);
        }
        let flags = fixed[3];
        if flags & !FLAGS != 0 {
            return Err(MarkerError::Flags(flags));
        }
        let marker = Self {
            content: ContentId(array_at(fixed, 4)),
            size_bytes: u64::from_le_bytes(array_at(fixed, 36)),
            ident: FileIdent {
                ino: u64::from_le_bytes(array_at(fixed, 44)),
                generation: u32_at(fixed, 52),
            },
            store_tag: array_at(fixed, 56),
            filling: flags & FLAG_FILLING != 0,
            offline: flags & FLAG_OFFLINE != 0,
        };
        Ok((marker, flags & FLAG_INTACT != 0))
    }
}

fn array_at<const N: usize>(bytes: &[u8; MARKER_LEN], start: usize) -> [u8; N] {
    bytes[start..start + N].try_into().expect("N bytes of a fixed array")
}

fn u32_at(bytes: &[u8; MARKER_LEN], start: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Marker {
        Marker {
            content: ContentId([0xc0; 32]),
            size_bytes: 0x0102_0304_0506_0708,
            ident: FileIdent { ino: 0x1112_1314_1516_1718, generation: 0x2122_2324 },
            store_tag: *b"tag!",
            filling: true,
            offline: false,
        }
    }

    /// Byte by byte: this is what version 1 wrote and every later one reads.
    #[test]
    fn the_layout_is_fixed() {
        let text = hex::encode(sample().encode());
        let expected = [
            "685301",
            "01",
            &"c0".repeat(32),
            "0807060504030201",
            "1817161514131211",
            "24232221",
            "74616721",
        ];
        assert_eq!(text[..120], expected.concat());
        assert_eq!(
            text[120..],
            hex::encode(crc32fast::hash(&sample().encode()[..60]).to_le_bytes())
        );
    }

    #[test]
    fn a_newer_or_unknown_marker_is_refused() {
        let mut newer = sample().encode().to_vec();
        newer[2] = 2;
        newer.push(0);
        assert_eq!(Marker::decode(&newer), Err(MarkerError::Newer(2)));
        let mut flags = sample().encode();
        flags[3] = 0x80;
        let sum = crc32fast::hash(&flags[..60]);
        flags[60..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Marker::decode(&flags), Err(MarkerError::Flags(0x80)));
        assert_eq!(Marker::decode(b""), Err(MarkerError::Magic));
        assert_eq!(Marker::decode(b"hS\x01"), Err(MarkerError::Length(3)));
    }

    #[test]
    fn intact_is_kept_beside_the_marker() {
        for intact in [false, true] {
            assert_eq!(Marker::decode_with(&sample().encode_with(intact)), Ok((sample(), intact)));
        }
    }

    proptest! {
        #[test]
        fn every_marker_is_read_back(
            content: [u8; 32], size_bytes: u64, ino: u64, generation: u32, store_tag: [u8; 4],
            filling: bool, offline: bool,
        ) {
            let content = ContentId(content);
            let ident = FileIdent { ino, generation };
            let marker = Marker { content, size_bytes, ident, store_tag, filling, offline };
            prop_assert_eq!(Marker::decode(&marker.encode()), Ok(marker));
        }

        #[test]
        fn no_flipped_bit_goes_unnoticed(byte in 0..MARKER_LEN, bit in 0..8u8) {
            let mut bytes = sample().encode();
            bytes[byte] ^= 1 << bit;
            prop_assert!(Marker::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Marker::decode(&bytes);
        }
    }
}
