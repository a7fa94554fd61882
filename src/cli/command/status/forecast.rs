//! When a file system will be full, at the growth that was seen.
//!
//! Every run notes how much was used before and after it. What the runs
//! themselves freed is no growth and none was lost by it: only what happened
//! between runs counts, from the end of one to the beginning of the next. Roots
//! on one file system see each other's runs, so those are taken together.

use crate::policy::Watermark;
use crate::state::Usage;

const DAY_NS: f64 = 24.0 * 3600.0 * 1e9;
/// Growth over less than this says nothing about tomorrow.
const LEAST_NS: i64 = 24 * 3600 * 1_000_000_000;
/// So many runs at least have to have looked.
const LEAST_RUNS: usize = 2;

/// A run on the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    pub start_ns: i64,
    pub end_ns: i64,
    pub usage: Usage,
}

/// What is to be expected of a file system.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Negative where more is deleted than written.
    pub growth_bytes_per_day: f64,
    pub levels: Vec<Level>,
}

/// A share of the file system that is a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// `low`, `high` (of the watermark) or `full`.
    pub name: &'static str,
    pub pct: f64,
    pub reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reach {
    /// It is above it now.
    Passed,
    /// Not at this growth, or not in a hundred years.
    Never,
    /// Nanoseconds from now.
    In(i64),
}

impl Reach {
    /// When that is.
    pub fn at_ns(self, now_ns: i64) -> Option<i64> {
        match self {
            Self::In(wait_ns) => Some(now_ns.saturating_add(wait_ns)),
            Self::Passed | Self::Never => None,
        }
    }
}

/// `runs` in any order; `None` while too little was seen.
pub fn forecast(
    mut runs: Vec<Busy>,
    now_ns: i64,
    used_bytes: u64,
    usable_bytes: u64,
    watermark: Option<&Watermark>,
) -> Option<Forecast> {
    if runs.len() < LEAST_RUNS {
        return None;
    }
    runs.sort_by_key(|run| (run.start_ns, run.end_ns));
    let growth = growth_per_ns(&runs, now_ns, used_bytes)?;
    let mut levels = vec![];
    if let Some(watermark) = watermark {
        levels.extend([("low", watermark.low_pct), ("high", watermark.high_pct)]);
    }
    levels.push(("full", 100.0));
    let reach = |pct: f64| {
        let left_bytes = usable_bytes as f64 * pct / 100.0 - used_bytes as f64;
        let wait_ns = left_bytes / growth;
        match () {
            () if left_bytes <= 0.0 => Reach::Passed,
            () if growth <= 0.0 || wait_ns > 36_525.0 * DAY_NS => Reach::Never,
            () => Reach::In(wait_ns as i64),
        }
    };
    let level = |(name, pct)| Level { name, pct, reach: reach(pct) };
    Some(Forecast {
        growth_bytes_per_day: growth * DAY_NS,
        levels: levels.into_iter().map(level).collect(),
    })
}

/// Bytes that came between the runs, and since the last one, in their time.
fn growth_per_ns(runs: &[Busy], now_ns: i64, used_bytes: u64) -> Option<f64> {
    let (mut grown, mut quiet_ns) = (0.0, 0);
    let mut last = runs.first()?;
    let mut gap = |from: &Busy, until_ns: i64, used_bytes: u64| {
        grown += used_bytes as f64 - from.usage.used_after_bytes as f64;
        quiet_ns += until_ns - from.end_ns;
    };
    for run in &runs[1..] {
        if run.start_ns >= last.end_ns {
            gap(last, run.start_ns, run.usage.used_before_bytes);
            last = run;
        } else if run.end_ns > last.end_ns {
            // Of two that overlap the one that ends later tells what was left.
            last = run;
        }
    }
    if now_ns > last.end_ns {
        gap(last, now_ns, used_bytes);
    }
    let seen_ns = now_ns.saturating_sub(runs.first()?.start_ns);
    let enough = seen_ns >= LEAST_NS && quiet_ns > 0;
    enough.then(|| grown / quiet_ns as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Order;

    const DAY: i64 = LEAST_NS;
    const HIGH: Watermark = Watermark { high_pct: 85.0, low_pct: 75.0, order: Order::Coldest };

    fn busy(start_ns: i64, end_ns: i64, before: u64, after: u64) -> Busy {
        let usage =
            Usage { used_before_bytes: before, used_after_bytes: after, usable_bytes: 1000 };
        Busy { start_ns, end_ns, usage }
    }

    fn reaches(forecast: &Forecast) -> Vec<(&'static str, Reach)> {
        forecast.levels.iter().map(|level| (level.name, level.reach)).collect()
    }

    #[test]
    fn what_runs_free_is_no_growth() {
        // Ten a day, and each night the run frees more than that.
        let runs =
            vec![busy(DAY, DAY, 500, 460), busy(0, 0, 500, 490), busy(2 * DAY, 2 * DAY, 470, 420)];
        let found = forecast(runs, 3 * DAY, 430, 1000, Some(&HIGH)).expect("enough was seen");
        assert!((found.growth_bytes_per_day - 10.0).abs() < 1e-9, "{found:?}");
        let in_days = |days: i64| Reach::In(days * DAY);
        assert_eq!(
            reaches(&found),
            [("low", in_days(32)), ("high", in_days(42)), ("full", in_days(57))]
        );
        assert_eq!(found.levels[0].reach.at_ns(3 * DAY), Some(35 * DAY));
    }

    #[test]
    fn runs_that_overlap_are_one() {
        let overlapping = vec![busy(0, DAY, 100, 200), busy(DAY / 2, 2 * DAY, 150, 300)];
        let found = forecast(overlapping, 3 * DAY, 310, 1000, None).expect("enough was seen");
        assert!((found.growth_bytes_per_day - 10.0).abs() < 1e-9, "{found:?}");
        let inside = vec![busy(0, 2 * DAY, 100, 300), busy(DAY / 2, DAY, 150, 9)];
        let found = forecast(inside, 3 * DAY, 310, 1000, None).expect("enough was seen");
        assert!((found.growth_bytes_per_day - 10.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn too_little_is_not_yet_known() {
        let two = |later| vec![busy(0, 0, 1, 1), busy(later, later, 2, 2)];
        assert_eq!(forecast(vec![], 9 * DAY, 1, 9, None), None);
        assert_eq!(forecast(vec![busy(0, 0, 1, 1)], 9 * DAY, 2, 9, None), None);
        assert_eq!(forecast(two(DAY / 2), DAY - 1, 2, 9, None), None);
        assert!(forecast(two(DAY / 2), DAY, 2, 9, None).is_some());
        // A clock that was set back.
        assert_eq!(forecast(two(5), -5, 2, 9, None), None);
        let all_the_time = vec![busy(0, DAY, 1, 1), busy(DAY, 2 * DAY, 2, 2)];
        assert_eq!(forecast(all_the_time, 2 * DAY, 2, 9, None), None);
    }

    #[test]
    fn what_does_not_grow_never_arrives_and_what_is_full_is_there() {
        let runs = || vec![busy(0, 0, 900, 900), busy(DAY, DAY, 890, 890)];
        let found = forecast(runs(), 2 * DAY, 880, 1000, Some(&HIGH)).expect("enough was seen");
        assert_eq!(
            reaches(&found),
            [("low", Reach::Passed), ("high", Reach::Passed), ("full", Reach::Never)]
        );
        let still = vec![busy(0, 0, 100, 100), busy(DAY, DAY, 100, 100)];
        let found = forecast(still, 2 * DAY, 100, 1000, None).expect("enough was seen");
        assert_eq!(reaches(&found), [("full", Reach::Never)]);
        let full = forecast(runs(), 2 * DAY, 1000, 1000, None).expect("enough was seen");
        assert_eq!(reaches(&full), [("full", Reach::Passed)]);
    }
}
