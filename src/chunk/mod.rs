//! Chunks (stand-in).

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a key file: {0}")]
    BadKey(String),
}

pub struct MasterKey([u8; 32]);

impl MasterKey {
    pub fn generate(random: [u8; 32]) -> Self {
        Self(random)
    }

    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = || Error::BadKey("expected `hsm-key-v1 <hex>`".into());
        let hex = text.trim().strip_prefix("hsm-key-v1 ").ok_or_else(bad)?;
        let mut key = [0; 32];
        hex::decode_to_slice(hex, &mut key).map_err(|_| bad())?;
        Ok(Self(key))
    }

    pub fn encode(&self) -> String {
        format!("hsm-key-v1 {}\n", hex::encode(self.0))
    }

    pub fn fingerprint(&self) -> [u8; 8] {
        let mut print = [0u8; 8];
        for (at, byte) in self.0.iter().enumerate() {
            print[at % 8] = print[at % 8].wrapping_mul(31).wrapping_add(*byte);
        }
        print
    }
}

pub enum Protection {
    Plain,
    Encrypted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunking {
    Fixed { size_bytes: u32 },
}

impl Protection {
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted)
    }
}
