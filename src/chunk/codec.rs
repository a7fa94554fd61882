//! Compression that costs nothing where it gains nothing.
//!
//! Cold data is mostly media and archives that do not shrink. A large chunk is
//! therefore judged by three samples before it is compressed at all, and
//! whatever does not fall below 97 % of its size is stored raw: reading it back
//! then costs no decompression either.

use super::{Error, MAX_CHUNK_LEN};
use serde::{Deserialize, Serialize};
use zstd::bulk::{Compressor, Decompressor};

/// zstd level 1: the fastest that shrinks text well. Level 3 gains 16 % on text
/// for 60 % more time.
pub const DEFAULT_LEVEL: i32 = 1;

/// Chunks below this are compressed without sampling: the samples would be a
/// good part of the work.
const SAMPLE_FROM: usize = 256 << 10;
const SAMPLE_LEN: usize = 16 << 10;

/// How a chunk's bytes are stored. The numbers are part of the pack format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Codec {
    Raw = 0,
    /// One zstd frame (RFC 8878).
    Zstd = 1,
}

impl Codec {
    pub fn code(self) -> u8 {
        self as u8
    }

    /// `None` for a codec that this version does not know.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl From<Codec> for u8 {
    fn from(codec: Codec) -> Self {
        codec.code()
    }
}

impl TryFrom<u8> for Codec {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        Self::from_code(code).ok_or_else(|| format!("unknown codec {code}"))
    }
}

/// Compresses chunks with one reused zstd context; one per worker thread.
pub struct Encoder {
    zstd: Compressor<'static>,
    sample: Vec<u8>,
}

impl Encoder {
    /// `level` is zstd's; one out of its range is taken as the nearest in it.
    pub fn new(level: i32) -> Self {
        let zstd = Compressor::new(level).expect("zstd clamps any level and takes no dictionary");
        Self { zstd, sample: Vec::with_capacity(SAMPLE_LEN) }
    }

    /// Replaces `out` by the bytes to store: a zstd frame, or a copy of `plain`
    /// where compression does not pay.
    pub fn encode(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Codec {
        let codec = self.encode_or_leave(plain, out);
        if codec == Codec::Raw {
            out.reserve_exact(plain.len());
            out.extend_from_slice(plain);
        }
        codec
    }

    /// Like [`Encoder::encode`], but on [`Codec::Raw`] leaves `out` empty: the
    /// bytes to store are `plain` itself, which the caller then need not copy.
    pub fn encode_or_leave(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Codec {
        out.clear();
        let worthwhile = worthwhile_len(plain.len());
        if worthwhile == 0 || (plain.len() >= SAMPLE_FROM && !self.promises(plain)) {
            return Codec::Raw;
        }
        // The capacity bounds the frame: zstd gives up once it would not pay.
        out.reserve_exact(worthwhile);
        match self.zstd.compress_to_buffer(plain, out) {
            Ok(len) if len <= worthwhile => Codec::Zstd,
            _ => {
                out.clear();
                Codec::Raw
            }
        }
    }

    /// Whether the start, the middle and the end together shrink enough.
    fn promises(&mut self, plain: &[u8]) -> bool {
        let last = plain.len() - SAMPLE_LEN;
        let mut stored_len = 0;
        for start in [0, last / 2, last] {
            let sample = &plain[start..start + SAMPLE_LEN];
            self.sample.clear();
            stored_len += match self.zstd.compress_to_buffer(sample, &mut self.sample) {
                Ok(len) => len,
                Err(_) => SAMPLE_LEN,
            };
        }
        stored_len <= worthwhile_len(3 * SAMPLE_LEN)
    }
}

/// The longest frame that is worth storing: below 97 %.
fn worthwhile_len(plain_len: usize) -> usize {
    (plain_len * 97).div_ceil(100).saturating_sub(1)
}

/// Decompresses chunks with one reused zstd context; one per worker thread.
pub struct Decoder {
    zstd: Decompressor<'static>,
    /// Decrypted but still compressed bytes of the chunk at hand.
    pub(super) opened: Vec<u8>,
}

impl Decoder {
    pub fn new() -> Self {
        let zstd = Decompressor::new().expect("zstd needs no memory to start without dictionary");
        Self { zstd, opened: vec![] }
    }

    /// Replaces `out` by the chunk's plain bytes, exactly `plain_len` of them.
    /// `plain_len` above [`MAX_CHUNK_LEN`] is refused before anything is
    /// allocated. On an error `out` holds nothing of meaning.
    pub fn decode(
        &mut self,
        codec: Codec,
        stored: &[u8],
        plain_len: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let fail = |why: String| Error::Decompress { stored_len: stored.len(), plain_len, why };
        if plain_len > MAX_CHUNK_LEN {
            return Err(fail(format!("a chunk has at most {MAX_CHUNK_LEN} bytes")));
        }
        let wanted = plain_len as usize;
        out.clear();
        out.reserve_exact(wanted);
        match codec {
            Codec::Raw => out.extend_from_slice(&stored[..stored.len().min(wanted + 1)]),
            Codec::Zstd => {
                self.zstd.decompress_to_buffer(stored, out).map_err(|e| fail(e.to_string()))?;
            }
        }
        if out.len() != wanted {
            return Err(fail(format!("it came out as {} bytes", out.len())));
        }
        Ok(())
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes that no compressor shrinks (xorshift64*, Vigna 2016).
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    fn round_trip(plain: &[u8]) -> (Codec, usize) {
        let (mut stored, mut back) = (vec![7; 3], vec![9; 5]);
        let codec = Encoder::new(DEFAULT_LEVEL).encode(plain, &mut stored);
        Decoder::new()
            .decode(codec, &stored, plain.len() as u32, &mut back)
            .expect("what was encoded decodes");
        assert_eq!(back, plain);
        (codec, stored.len())
    }

    #[test]
    fn noise_is_stored_raw_and_text_is_not() {
        for len in [1, 100, 16 << 10, 1 << 20] {
            assert_eq!(round_trip(&noise(len)), (Codec::Raw, len));
        }
        let text = b"the quick brown fox jumps over the lazy dog. ".repeat(30_000);
        let (codec, stored_len) = round_trip(&text);
        assert_eq!(codec, Codec::Zstd);
        assert!(stored_len * 10 < text.len());
        assert_eq!(round_trip(&[]), (Codec::Raw, 0));
    }

    #[test]
    fn a_large_chunk_with_unpromising_samples_is_not_compressed() {
        // Zeros everywhere but where the samples are taken.
        let mut plain = vec![0; 1 << 20];
        let last = plain.len() - SAMPLE_LEN;
        for start in [0, last / 2, last] {
            plain[start..start + SAMPLE_LEN].copy_from_slice(&noise(SAMPLE_LEN));
        }
        assert_eq!(round_trip(&plain).0, Codec::Raw);
    }

    #[test]
    fn raw_bytes_need_not_be_copied() {
        let mut out = vec![1, 2, 3];
        let codec = Encoder::new(DEFAULT_LEVEL).encode_or_leave(&noise(1 << 20), &mut out);
        assert_eq!((codec, out.len()), (Codec::Raw, 0));
    }

    #[test]
    fn a_frame_longer_or_shorter_than_announced_is_refused() {
        let mut stored = vec![];
        let plain = vec![b'x'; 4096];
        assert_eq!(Encoder::new(1).encode(&plain, &mut stored), Codec::Zstd);
        let mut decoder = Decoder::new();
        for wrong in [4095, 4097, 0, MAX_CHUNK_LEN + 1] {
            let mut out = vec![];
            assert!(decoder.decode(Codec::Zstd, &stored, wrong, &mut out).is_err());
            assert!(decoder.decode(Codec::Raw, &plain, wrong, &mut out).is_err());
            assert!(out.capacity() <= 2 * 4097, "a wrong length allocates little");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive(plain in proptest::collection::vec(any::<u8>(), 0..5000), times in 1..100_usize) {
            round_trip(&plain.repeat(times));
        }
    }
}
