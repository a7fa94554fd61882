//! A file's content: its size and the chunks and holes it is made of.
//!
//! The content id is taken over this list, so that the file's bytes are hashed
//! once, chunk by chunk. Two files with one content id have the same bytes and
//! the same holes (the reverse does not hold: another chunking gives another
//! id).

use super::Error;
use crate::chunk::{MAX_CHUNK_LEN, put_varint, take_varint};
use crate::ids::{ChunkId, ContentId};
use aws_lc_rs::digest;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::ops::Range;

const ID_DOMAIN: &[u8] = b"hsm content v1\0";
const ENCODING_VERSION: u8 = 1;
const WHAT: &str = "content";

/// A run of bytes: one chunk, or a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "(Option<ChunkId>, u64)", from = "(Option<ChunkId>, u64)")]
pub struct Piece {
    /// In bytes of the file.
    pub len: u64,
    /// `None` is a hole, which reads as zeros and is stored nowhere.
    pub chunk: Option<ChunkId>,
}

impl From<Piece> for (Option<ChunkId>, u64) {
    fn from(piece: Piece) -> Self {
        (piece.chunk, piece.len)
    }
}

impl From<(Option<ChunkId>, u64)> for Piece {
    fn from((chunk, len): (Option<ChunkId>, u64)) -> Self {
        Self { len, chunk }
    }
}

/// Reads a list of pieces; what no list can have ends it there, before a hostile one has
/// filled the memory with holes.
pub(super) fn pieces<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Piece>, D::Error> {
    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Vec<Piece>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list of pieces")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Piece>, A::Error> {
            let mut pieces: Vec<Piece> = vec![];
            while let Some(piece) = list.next_element::<Piece>()? {
                let after_hole = pieces.last().is_some_and(|last| last.chunk.is_none());
                if after_hole && piece.chunk.is_none() {
                    return Err(A::Error::custom("two holes are adjacent"));
                }
                pieces.push(piece);
            }
            Ok(pieces)
        }
    }

    from.deserialize_seq(List)
}

/// The pieces of a file from its first byte to its last.
///
/// Invariants, which [`Content::new`] makes and [`Content::fault`] checks: the
/// pieces cover the size exactly, none is empty, no two holes are adjacent, no
/// chunk is longer than [`MAX_CHUNK_LEN`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Content {
    pub size_bytes: u64,
    pub pieces: Vec<Piece>,
}

impl Content {
    /// Drops empty pieces, merges adjacent holes and adds up the size.
    pub fn new(pieces: impl IntoIterator<Item = Piece>) -> Result<Self, Error> {
        let mut content = Self { size_bytes: 0, pieces: vec![] };
        for piece in pieces.into_iter().filter(|piece| piece.len > 0) {
            content.size_bytes = content.size_bytes.saturating_add(piece.len);
            match content.pieces.last_mut() {
                Some(Piece { len, chunk: None }) if piece.chunk.is_none() => {
                    *len = len.saturating_add(piece.len);
                }
                _ => content.pieces.push(piece),
            }
        }
        content.checked()
    }

    /// What is wrong with it, if anything.
    pub fn fault(&self) -> Option<&'static str> {
        let mut total = 0_u64;
        let mut after_hole = false;
        for piece in &self.pieces {
            total = total.saturating_add(piece.len);
            let hole = piece.chunk.is_none();
            if piece.len == 0 {
                return Some("a piece is empty");
            }
            if hole && after_hole {
                return Some("two holes are adjacent");
            }
            if !hole && piece.len > u64::from(MAX_CHUNK_LEN) {
                return Some("a chunk is longer than 64 MiB");
            }
            after_hole = hole;
        }
        if self.size_bytes > i64::MAX as u64 {
            return Some("it is longer than a file can be");
        }
        (total != self.size_bytes).then_some("its pieces do not add up to its size")
    }

    fn checked(self) -> Result<Self, Error> {
        match self.fault() {
            None => Ok(self),
            Some(why) => Err(Error::Malformed { what: WHAT, why: why.to_owned() }),
        }
    }

    /// SHA-256 over a domain tag, the size, and of each piece its length, a
    /// tag byte (1 chunk, 0 hole) and the chunk's id; numbers are 8 bytes
    /// little endian.
    pub fn id(&self) -> ContentId {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(ID_DOMAIN);
        hash.update(&self.size_bytes.to_le_bytes());
        for piece in &self.pieces {
            let mut bytes = [0; 41];
            bytes[..8].copy_from_slice(&piece.len.to_le_bytes());
            match &piece.chunk {
                None => hash.update(&bytes[..9]),
                Some(id) => {
                    bytes[8] = 1;
                    bytes[9..].copy_from_slice(id.as_bytes());
                    hash.update(&bytes);
                }
            }
        }
        ContentId(hash.finish().as_ref().try_into().expect("SHA-256 is 32 bytes"))
    }

    /// A compact form for the state DB: version byte, then varints: size, piece
    /// count, and of each piece `len << 1 | is chunk`, followed by the chunk's
    /// id.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.pieces.len() * 37);
        out.push(ENCODING_VERSION);
        put_varint(self.size_bytes, &mut out);
        put_varint(self.pieces.len() as u64, &mut out);
        for piece in &self.pieces {
            put_varint(piece.len << 1 | u64::from(piece.chunk.is_some()), &mut out);
            if let Some(id) = &piece.chunk {
                out.extend_from_slice(id.as_bytes());
            }
        }
        out
    }

    /// The inverse of [`Content::encode`]; refuses anything that `encode` does
    /// not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let short = || Error::Malformed { what: WHAT, why: "it is cut short".to_owned() };
        let (&version, rest) = bytes.split_first().ok_or_else(short)?;
        if version != ENCODING_VERSION {
            let (found, known) = (version.to_string(), ENCODING_VERSION.into());
            return Err(Error::Newer { what: WHAT, found, known });
        }
        let (size_bytes, rest) = take_varint(rest).ok_or_else(short)?;
        let (count, mut rest) = take_varint(rest).ok_or_else(short)?;
        // The shortest piece is one byte: the count cannot promise more.
        if count > rest.len() as u64 {
            return Err(short());
        }
        let mut pieces = Vec::with_capacity((count as usize).min(rest.len() / 33 * 2 + 2));
        for _ in 0..count {
            let (tagged, after) = take_varint(rest).ok_or_else(short)?;
            let (chunk, after) = match tagged & 1 {
                0 => (None, after),
                _ => {
                    let (id, after) = after.split_first_chunk::<32>().ok_or_else(short)?;
                    (Some(ChunkId(*id)), after)
                }
            };
            pieces.push(Piece { len: tagged >> 1, chunk });
            rest = after;
        }
        if !rest.is_empty() {
            let why = "something follows its last piece".to_owned();
            return Err(Error::Malformed { what: WHAT, why });
        }
        Self { size_bytes, pieces }.checked()
    }

    /// Its chunks in order, repetitions included.
    pub fn chunk_ids(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.pieces.iter().filter_map(|piece| piece.chunk)
    }

    /// Each chunk with the range of the file that it fills.
    pub fn placed_chunks(&self) -> impl Iterator<Item = (Range<u64>, ChunkId)> + '_ {
        let mut at = 0_u64;
        self.pieces.iter().filter_map(move |piece| {
            let range = at..at.saturating_add(piece.len);
            at = range.end;
            piece.chunk.map(|id| (range, id))
        })
    }

    /// The ranges that are not holes, adjacent chunks merged.
    pub fn data_ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = vec![];
        for (range, _) in self.placed_chunks() {
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        ranges
    }

    /// Bytes that are not holes.
    pub fn data_bytes(&self) -> u64 {
        let data = self.pieces.iter().filter(|piece| piece.chunk.is_some());
        data.fold(0, |sum, piece| sum.saturating_add(piece.len))
    }
}
