//! The breaker: a plan that would delete an unusual share of the store waits for a
//! person who says that the share is right.

/// What a round would do to the store, in bytes of packs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// All packs before the round.
    pub total_bytes: u64,
    /// What would be there no more: whole packs, and the dead part of those that
    /// are rewritten.
    pub dead_bytes: u64,
}

impl Share {
    pub fn pct(self) -> f64 {
        if self.total_bytes == 0 {
            return 0.0;
        }
        self.dead_bytes as f64 * 100.0 / self.total_bytes as f64
    }

    /// Whether the round may go on.
    pub fn is_admitted(self, most_pct: f64, confirmed_pct: Option<f64>) -> bool {
        self.pct() <= most_pct.max(confirmed_pct.unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusual_share_needs_a_word_that_names_at_least_it() {
        let share = |dead_bytes| Share { total_bytes: 1000, dead_bytes };
        assert!(share(300).is_admitted(30.0, None));
        assert!(!share(301).is_admitted(30.0, None));
        assert!(!share(725).is_admitted(30.0, Some(72.0)));
        assert!(share(725).is_admitted(30.0, Some(73.0)));
        assert!(share(100).is_admitted(30.0, Some(5.0)), "a small one needs none");
        assert!(share(1000).is_admitted(30.0, Some(100.0)));
        assert!(Share::default().is_admitted(0.0, None), "of nothing nothing is deleted");
    }
}
