//! How much of the store a data check reads.

/// All packs, or those whose last proof is oldest up to an amount. Repeated
/// samples reach every pack in turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    All,
    /// Share of the stored bytes, 0 to 100.
    Pct(f64),
    Bytes(u64),
}

impl Sample {
    /// The amount of `total_bytes` to read.
    pub fn budget_bytes(self, total_bytes: u64) -> u64 {
        match self {
            Self::All => total_bytes,
            Self::Pct(pct) => (total_bytes as f64 * pct.clamp(0.0, 100.0) / 100.0).ceil() as u64,
            Self::Bytes(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up_so_that_a_small_store_is_still_sampled() {
        assert_eq!(Sample::Pct(1.0).budget_bytes(150), 2);
        assert_eq!(Sample::Pct(250.0).budget_bytes(10), 10);
        assert_eq!(Sample::All.budget_bytes(7), 7);
        assert_eq!(Sample::Bytes(3).budget_bytes(7), 3);
    }
}
