//! What bounds a run: the watermark, the limits, and the defaults that keep a
//! young, small or just recalled file where it is.

use super::condition::Age;
use super::facts::Facts;
use super::weight::Weight;
use std::cmp::Ordering;
use std::time::Duration;

/// Free space before age: above `high_pct` of the file system in use, files are
/// stubbed in `order`, whatever their age, until it is at `low_pct`.
#[derive(Debug, Clone, PartialEq)]
pub struct Watermark {
    pub high_pct: f64,
    pub low_pct: f64,
    pub order: Order,
}

/// Which file goes first when only a part is to go.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Order {
    /// Longest idle first.
    #[default]
    Coldest,
    /// Most allocated bytes first.
    Largest,
    /// Greatest weight first.
    Weight(Weight),
}

/// A file's place in an [`Order`]: sorted ascending, the file to go first comes
/// first. A weight that is no number comes last.
#[derive(Debug, Clone, Copy)]
pub struct Rank(f64);

impl PartialEq for Rank {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The sort key of one file.
pub fn rank(order: &Order, facts: &Facts<'_>, now_ns: i64) -> Rank {
    let weight = match order {
        Order::Coldest => Age::Idle.of(facts, now_ns).unwrap_or(i64::MAX) as f64,
        Order::Largest => facts.allocated_bytes as f64,
        Order::Weight(weight) => weight.of(facts, now_ns),
    };
    Rank(if weight.is_finite() { -weight } else { f64::INFINITY })
}

/// Bounds of one run; `None` is no bound.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    pub max_bytes: Option<u64>,
    pub max_files: Option<u64>,
    pub max_duration: Option<Duration>,
    pub stop_after_errors: Option<ErrorBudget>,
}

/// How many failures end a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ErrorBudget {
    /// `"100"`: the hundredth failure.
    Count(u64),
    /// `"5% of at least 50"`: once 50 files were tried, a share of 5 % or more.
    Share { percent: f64, of_at_least: u64 },
}

impl ErrorBudget {
    /// The forms that [`ErrorBudget::parse`] reads.
    pub const MEND: &'static str =
        "write a number of failures, \"100\", or a share, \"5% of at least 50\"";

    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(count) = text.trim().parse() {
            return (count > 0).then_some(Self::Count(count));
        }
        let (percent, at_least) = text.split_once(" of at least ")?;
        let percent = crate::units::parse_percent(percent).ok()?;
        let of_at_least = at_least.trim().parse().ok()?;
        (percent > 0.0 && of_at_least > 0).then_some(Self::Share { percent, of_at_least })
    }

    /// Whether a run with so many files tried and failed must end.
    pub fn exceeded(&self, tried: u64, failed: u64) -> bool {
        match self {
            Self::Count(count) => failed >= *count,
            Self::Share { percent, of_at_least } => {
                tried >= *of_at_least && failed as f64 * 100.0 >= percent * tried as f64
            }
        }
    }
}

/// What holds for every rule that does not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Smaller files are never stubbed: the stub itself costs up to a block
    /// and an extended attribute.
    pub min_stub_size_bytes: u64,
    /// Since the last change of content or metadata, before an upload.
    pub quiet: Duration,
    /// Since the last recall, before the file is stubbed again.
    pub min_age_after_recall: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            min_stub_size_bytes: 64 << 10,
            quiet: Duration::from_secs(120),
            min_age_after_recall: Duration::from_secs(86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::facts;
    use super::*;

    #[test]
    fn error_budgets_are_read_and_kept() {
        let table = [
            ("100", Some(ErrorBudget::Count(100))),
            ("5% of at least 50", Some(ErrorBudget::Share { percent: 5.0, of_at_least: 50 })),
            ("0", None),
            ("0% of at least 50", None),
            ("5%", None),
            ("5 of at least 50", None),
            ("many", None),
        ];
        for (text, want) in table {
            assert_eq!(ErrorBudget::parse(text), want, "{text}");
        }
        let count = ErrorBudget::Count(2);
        assert!(!count.exceeded(1_000, 1) && count.exceeded(2, 2));
        let share = ErrorBudget::Share { percent: 5.0, of_at_least: 50 };
        for (tried, failed, want) in
            [(49, 49, false), (50, 2, false), (50, 3, true), (100, 5, true), (1_000, 0, false)]
        {
            assert_eq!(share.exceeded(tried, failed), want, "{failed} of {tried}");
        }
    }

    #[test]
    fn each_order_puts_its_file_first() {
        let now_ns = 1_000_000_000_000;
        let mut cold = facts("cold");
        (cold.atime_ns, cold.mtime_ns, cold.allocated_bytes) = (10, 20, 4096);
        let mut large = facts("large");
        (large.atime_ns, large.mtime_ns, large.allocated_bytes) = (500, 900, 1 << 30);
        large.size_bytes = 1 << 30;
        let mut future = facts("future");
        (future.atime_ns, future.allocated_bytes) = (i64::MAX, 0);
        future.size_bytes = 0;
        let weight = |text| Order::Weight(Weight::parse(text).expect(text));
        let table = [
            (Order::Coldest, ["cold", "large", "future"]),
            (Order::Largest, ["large", "cold", "future"]),
            (weight("size_mib * 2"), ["large", "cold", "future"]),
            (weight("0 - size_mib"), ["future", "cold", "large"]),
            (weight("1 / size_mib"), ["cold", "large", "future"]),
        ];
        for (order, want) in table {
            let mut files = [&future, &large, &cold];
            files.sort_by_key(|facts| rank(&order, facts, now_ns));
            let names = files.map(|facts| std::str::from_utf8(facts.name).expect("ASCII"));
            assert_eq!(names, want, "{order:?}");
        }
    }
}
