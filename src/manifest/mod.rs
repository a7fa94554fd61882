//! Manifest types (stand-in).

use crate::ids::{ChunkId, ContentId, PackId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub len: u64,
    pub chunk: Option<ChunkId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub size_bytes: u64,
    pub pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a piece list")]
pub struct BadContent;

impl Content {
    pub fn id(&self) -> ContentId {
        let mut id = [0u8; 32];
        for (at, byte) in self.encode().into_iter().enumerate() {
            id[at % 32] = id[at % 32].wrapping_mul(31).wrapping_add(byte);
        }
        ContentId(id)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.size_bytes.to_le_bytes().to_vec();
        for piece in &self.pieces {
            out.extend_from_slice(&piece.len.to_le_bytes());
            out.push(u8::from(piece.chunk.is_some()));
            out.extend_from_slice(&piece.chunk.map_or([0; 32], |id| id.0));
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, BadContent> {
        let (size, rest) = bytes.split_first_chunk::<8>().ok_or(BadContent)?;
        let pieces = rest.chunks(41).map(|piece| {
            let len = piece.first_chunk::<8>().ok_or(BadContent)?;
            let id = ChunkId::from_slice(&piece[9..]).ok_or(BadContent)?;
            Ok(Piece { len: u64::from_le_bytes(*len), chunk: (piece[8] == 1).then_some(id) })
        });
        Ok(Self {
            size_bytes: u64::from_le_bytes(*size),
            pieces: pieces.collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofMethod {
    ServerChecksum,
    Etag,
    ReadBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackEvidence {
    pack: PackId,
    method: ProofMethod,
    proven_ns: i64,
}

impl PackEvidence {
    pub fn recorded(pack: PackId, method: ProofMethod, proven_ns: i64) -> Self {
        Self { pack, method, proven_ns }
    }

    pub fn pack(&self) -> PackId {
        self.pack
    }

    pub fn method(&self) -> ProofMethod {
        self.method
    }

    pub fn proven_ns(&self) -> i64 {
        self.proven_ns
    }
}
