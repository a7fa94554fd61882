//! Which versions are needed no more. Pure over what the catalog says of each path.
//!
//! A version that was replaced or deleted is kept while it is younger than the grace
//! or than its retention asks, counted from its end; while it is among the last few
//! of a path that still exists, where its retention asks for that; while a snapshot
//! has it; and while this node itself manages a file with its content, which costs
//! nothing. What was there again and again with one content counts once.
//!
//! A clock that was set back must not make a version older than it is: it ended no
//! earlier than any segment before its end was written, as far as those times are
//! not in the future.

use crate::catalog::{Life, Span};

/// What a retention asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// So many of the youngest versions of a path that still exists.
    pub versions: u32,
    /// So long after their end.
    pub for_ns: i64,
}

/// When things happened, and which points have a name.
#[derive(Debug)]
pub struct Times {
    now_ns: i64,
    grace_ns: i64,
    /// Of each segment: the latest time that it or one before it was written at,
    /// of those that are not in the future.
    segments: Vec<(u64, i64)>,
    /// The segments up to which snapshots reach, in order.
    snapshots: Vec<u64>,
}

impl Times {
    /// `segments` and their times in the order of the log; `snapshots` in any.
    pub fn new(
        now_ns: i64,
        grace_ns: i64,
        mut segments: Vec<(u64, i64)>,
        mut snapshots: Vec<u64>,
    ) -> Self {
        let mut latest = i64::MIN;
        for (_, at_ns) in &mut segments {
            if *at_ns <= now_ns {
                latest = latest.max(*at_ns);
            }
            *at_ns = latest;
        }
        snapshots.sort_unstable();
        Self { now_ns, grace_ns, segments, snapshots }
    }

    /// How long ago the version ended, as far as clocks can be believed.
    fn age_ns(&self, span: &Span, to_seq: u64) -> i64 {
        let behind = self.segments.partition_point(|(seq, _)| *seq <= to_seq);
        let written_ns = behind.checked_sub(1).map_or(i64::MIN, |at| self.segments[at].1);
        self.now_ns.saturating_sub(span.to_ns.max(written_ns))
    }

    fn has_snapshot(&self, from_seq: u64, to_seq: u64) -> bool {
        let first = self.snapshots.partition_point(|seq| *seq < from_seq);
        self.snapshots.get(first).is_some_and(|seq| *seq < to_seq)
    }
}

/// The versions of one path that end now, by the segments that brought them. `keep`
/// is what its retention asks for one of them.
pub fn ending(life: &Life, times: &Times, keep: &dyn Fn(&Span) -> Keep) -> Vec<u64> {
    let current = life.spans.last().filter(|span| span.to_seq.is_none());
    let mut before = current.and_then(|span| span.content);
    let (mut rank, mut ending) = (0, vec![]);
    for span in life.spans.iter().rev() {
        let Some(to_seq) = span.to_seq else { continue };
        // Counted from the youngest; one content in a row is one version.
        if span.content.is_none() || span.content != before {
            rank += 1;
            before = span.content;
        }
        if span.expired {
            continue;
        }
        let Keep { versions, for_ns } = keep(span);
        let among_the_last = current.is_some() && versions > 0 && rank <= versions;
        let young = times.age_ns(span, to_seq) < times.grace_ns.max(for_ns);
        let kept =
            young || among_the_last || span.needed || times.has_snapshot(span.from_seq, to_seq);
        if !kept {
            ending.push(span.from_seq);
        }
    }
    ending.reverse();
    ending
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000_000;

    /// Ended in segment `to`, which was written that many days after the epoch.
    fn span(from: u64, to: Option<u64>, content: i64) -> Span {
        Span {
            from_seq: from,
            to_seq: to,
            to_ns: to.map_or(0, |to| to as i64 * DAY),
            expired: false,
            size_bytes: 1,
            content: Some(content),
            needed: false,
        }
    }

    fn life(spans: &[Span]) -> Life {
        Life { place: 1, path: b"a".to_vec(), spans: spans.to_vec() }
    }

    fn times(now_days: i64, grace_days: i64, snapshots: &[u64]) -> Times {
        let segments = (1..=100).map(|seq| (seq, seq as i64 * DAY)).collect();
        Times::new(now_days * DAY, grace_days * DAY, segments, snapshots.to_vec())
    }

    fn ended(spans: &[Span], times: &Times, versions: u32, days: i64) -> Vec<u64> {
        ending(&life(spans), times, &|_| Keep { versions, for_ns: days * DAY })
    }

    #[test]
    fn a_version_ends_when_the_grace_and_its_retention_are_over() {
        let spans = [span(1, Some(10), 1), span(10, Some(20), 2), span(20, None, 3)];
        assert_eq!(ended(&spans, &times(39, 30, &[]), 0, 0), [0; 0]);
        assert_eq!(ended(&spans, &times(40, 30, &[]), 0, 0), [1]);
        assert_eq!(ended(&spans, &times(50, 30, &[]), 0, 0), [1, 10]);
        assert_eq!(ended(&spans, &times(50, 30, &[]), 0, 35), [1], "kept for longer");
        assert_eq!(ended(&spans, &times(500, 0, &[]), 0, 0), [1, 10], "never what is there");
        assert_eq!(ended(&spans, &times(20, 0, &[]), 0, 0), [1, 10], "no grace is none");
    }

    #[test]
    fn a_deleted_path_keeps_no_number_of_versions() {
        let there = [span(1, Some(2), 1), span(2, Some(3), 2), span(3, None, 3)];
        assert_eq!(ended(&there, &times(99, 30, &[]), 1, 0), [1]);
        assert_eq!(ended(&there, &times(99, 30, &[]), 2, 0), [0; 0]);
        let deleted = [span(1, Some(2), 1), span(2, Some(3), 2), span(3, Some(4), 3)];
        assert_eq!(ended(&deleted, &times(99, 30, &[]), 9, 0), [1, 2, 3]);
        assert_eq!(ended(&deleted, &times(33, 30, &[]), 9, 0), [1, 2], "but the grace");
    }

    #[test]
    fn one_content_in_a_row_is_one_version() {
        // Two changes of mode after each of two saves.
        let spans = [
            span(1, Some(2), 1),
            span(2, Some(3), 1),
            span(3, Some(4), 2),
            span(4, Some(5), 2),
            span(5, None, 2),
        ];
        assert_eq!(ended(&spans, &times(99, 30, &[]), 1, 0), [0; 0]);
        assert_eq!(ended(&spans, &times(99, 30, &[]), 0, 0), [1, 2, 3, 4]);
        let three =
            [span(1, Some(2), 1), span(2, Some(3), 2), span(3, Some(4), 1), span(4, None, 3)];
        assert_eq!(ended(&three, &times(99, 30, &[]), 2, 0), [1], "back again is a version");
        let dirs = three.map(|span| Span { content: None, ..span });
        assert_eq!(ended(&dirs, &times(99, 30, &[]), 2, 0), [1], "without content each counts");
    }

    #[test]
    fn expired_versions_count_and_do_not_end_twice() {
        let mut spans = [span(1, Some(2), 1), span(2, Some(3), 2), span(3, None, 3)];
        spans[1].expired = true;
        assert_eq!(ended(&spans, &times(99, 30, &[]), 1, 0), [1]);
        assert_eq!(ended(&spans, &times(99, 30, &[]), 2, 0), [0; 0]);
    }

    #[test]
    fn a_snapshot_keeps_what_was_there_and_nothing_beside_it() {
        let spans = [span(3, Some(5), 1), span(5, Some(9), 2), span(9, None, 3)];
        assert_eq!(ended(&spans, &times(99, 30, &[2]), 0, 0), [3, 5]);
        assert_eq!(ended(&spans, &times(99, 30, &[3]), 0, 0), [5]);
        assert_eq!(ended(&spans, &times(99, 30, &[4]), 0, 0), [5]);
        assert_eq!(ended(&spans, &times(99, 30, &[5]), 0, 0), [3]);
        assert_eq!(ended(&spans, &times(99, 30, &[8, 4]), 0, 0), [0; 0]);
    }

    #[test]
    fn what_this_node_manages_does_not_end() {
        let mut spans = [span(1, Some(2), 1), span(2, Some(3), 2)];
        spans[0].needed = true;
        assert_eq!(ended(&spans, &times(99, 0, &[]), 0, 0), [2]);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older() {
        // Segment 3 was written with a clock that stood in 1970.
        let segments = vec![(1, 100 * DAY), (2, 101 * DAY), (3, DAY), (4, 103 * DAY)];
        let times = |now: i64| Times::new(now * DAY, 30 * DAY, segments.clone(), vec![]);
        let replaced = Span { to_ns: DAY, ..span(1, Some(3), 1) };
        let spans = [replaced, span(3, None, 2)];
        assert_eq!(ended(&spans, &times(110), 0, 0), [0; 0], "it is ten days old at most");
        assert_eq!(ended(&spans, &times(132), 0, 0), [1]);
    }

    #[test]
    fn a_clock_that_once_was_ahead_keeps_nothing_else_for_ever() {
        let segments = vec![(1, 100 * DAY), (2, 9_000 * DAY), (3, 102 * DAY), (4, 103 * DAY)];
        let times = Times::new(200 * DAY, 30 * DAY, segments, vec![]);
        let then = Span { to_ns: 9_000 * DAY, ..span(1, Some(2), 1) };
        let later = Span { to_ns: 103 * DAY, ..span(3, Some(4), 3) };
        assert_eq!(ended(&[then, later], &times, 0, 0), [3]);
    }
}
