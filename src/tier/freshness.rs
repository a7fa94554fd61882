//! How long a sighting of a pack counts.

/// A pack that was proven or seen in the store within this time is taken to be
/// there; after that it is asked for again before anything relies on it. A day
/// keeps the requests to one per pack and daily run, and is far below any
/// grace after which a pack may be deleted.
pub const SIGHTING_NS: i64 = 24 * 3600 * 1_000_000_000;

/// The sighting at `seen_ns` still counts at `now_ns`.
pub fn is_fresh(seen_ns: i64, now_ns: i64) -> bool {
    now_ns.saturating_sub(seen_ns) < SIGHTING_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sighting_counts_for_a_day_and_a_future_one_counts() {
        assert!(is_fresh(0, SIGHTING_NS - 1));
        assert!(!is_fresh(0, SIGHTING_NS));
        assert!(is_fresh(i64::MAX, 0));
    }
}
