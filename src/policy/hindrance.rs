//! What keeps a file from being uploaded or tiered, in one word: for counts over
//! a whole tree, where an explanation of each file would be too much.
//!
//! Of a file that several rules might take, the first one counts that would, were
//! it not for time or a default: a person asks "why not?" about that one, not
//! about the rule further down that then decided.

use super::condition::{Age, Ages, Context, Test};
use super::facts::{Action, Facts, Pin};
use super::{PolicySet, Rule};

/// Why the policy does not do to a file what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    Excluded,
    Pinned,
    /// A rule would, but the file is too young for it.
    TooYoung,
    /// It was written to, or changed, a moment ago.
    NotQuiet,
    RecentlyRecalled,
    TooSmall,
    HardLinked,
    /// The rule that matches it does less.
    OtherRule,
    NoRule,
}

impl PolicySet {
    /// What keeps this file from `wanted`; `None` where nothing does.
    pub fn hindrance(&self, facts: &Facts<'_>, now_ns: i64, wanted: Action) -> Option<Hindrance> {
        let context = Context::new(facts, now_ns);
        match self.pin_in(&context) {
            Pin::Excluded => return Some(Hindrance::Excluded),
            Pin::Pinned if wanted == Action::Tier => return Some(Hindrance::Pinned),
            Pin::Pinned | Pin::None => {}
        }
        let mut first = None;
        for rule in &self.rules {
            let holds = |ages| rule.condition.holds(&context, &self.class_conditions, ages);
            let default = rule.implied.iter().find(|one| !one.test.holds(&context, Ages::Bind));
            let matches = holds(Ages::Bind);
            if matches && default.is_none() {
                let enough = rule.action >= wanted;
                return (!enough).then(|| first.unwrap_or(Hindrance::OtherRule));
            }
            if first.is_none() && would(rule, wanted) && holds(Ages::Waived) {
                first = match default {
                    Some(default) if matches => Some(of_default(&default.test)),
                    _ => Some(Hindrance::TooYoung),
                };
            }
        }
        Some(first.unwrap_or(Hindrance::NoRule))
    }
}

fn would(rule: &Rule, wanted: Action) -> bool {
    rule.action >= wanted
}

fn of_default(test: &Test) -> Hindrance {
    match test {
        Test::NlinkMax(_) => Hindrance::HardLinked,
        Test::MinSize(_) => Hindrance::TooSmall,
        Test::Older(Age::Recall, _) => Hindrance::RecentlyRecalled,
        Test::Older(Age::Change, _) => Hindrance::NotQuiet,
        _ => Hindrance::TooYoung,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Names;
    use super::*;
    use crate::policy::FileState;

    const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;
    const NOW_NS: i64 = 1000 * DAY_NS;

    fn policy(text: &str) -> PolicySet {
        let names = Names { uid: &|_| None, gid: &|_| None };
        PolicySet::load(&[("test.toml", text)], &names).expect("a policy")
    }

    fn facts<'a>(name: &'a str, age_days: i64) -> Facts<'a> {
        let then_ns = NOW_NS - age_days * DAY_NS;
        Facts {
            root: b"/srv",
            path: name.as_bytes(),
            name: name.as_bytes(),
            kind: 'f',
            size_bytes: 1 << 20,
            allocated_bytes: 1 << 20,
            uid: 0,
            gid: 0,
            mode: 0o644,
            nlink: 1,
            atime_ns: then_ns,
            mtime_ns: then_ns,
            ctime_ns: then_ns,
            first_seen_ns: then_ns,
            last_recall_ns: None,
            state: FileState::Resident,
            xattr: &|_| None,
        }
    }

    #[test]
    fn the_first_rule_that_would_says_why_it_does_not() {
        let policy = policy(
            r#"
            exclude = ["tmp"]
            pin = ["dear"]
            [[rule]]
            name = "never"
            include = "*.db"
            action = "ignore"
            [[rule]]
            name = "cold"
            exclude = "*.txt"
            idle = "90d"
            action = "tier"
            [[rule]]
            name = "rest"
            exclude = "*.tmp"
            action = "upload"
            "#,
        );
        let why = |facts: Facts<'_>, wanted| policy.hindrance(&facts, NOW_NS, wanted);
        let tier = |facts| why(facts, Action::Tier);
        assert_eq!(tier(facts("a", 100)), None);
        assert_eq!(tier(facts("a", 10)), Some(Hindrance::TooYoung));
        assert_eq!(why(facts("a", 10), Action::Upload), None);
        assert_eq!(tier(facts("tmp", 100)), Some(Hindrance::Excluded));
        assert_eq!(tier(facts("dear", 100)), Some(Hindrance::Pinned));
        assert_eq!(why(facts("dear", 100), Action::Upload), None);
        assert_eq!(tier(facts("a.db", 100)), Some(Hindrance::OtherRule));
        assert_eq!(tier(facts("a.txt", 100)), Some(Hindrance::OtherRule));
        assert_eq!(why(facts("a.tmp", 10), Action::Upload), Some(Hindrance::TooYoung));
        let small = Facts { size_bytes: 1, ..facts("a", 100) };
        assert_eq!(tier(small), Some(Hindrance::TooSmall));
        let linked = Facts { nlink: 2, ..facts("a", 100) };
        assert_eq!(tier(linked), Some(Hindrance::HardLinked));
        let recalled = Facts { last_recall_ns: Some(NOW_NS - 1), ..facts("a", 100) };
        assert_eq!(tier(recalled), Some(Hindrance::TooYoung), "idle counts from it, too");
        let changed = Facts { ctime_ns: NOW_NS, ..facts("a", 100) };
        assert_eq!(tier(changed), Some(Hindrance::NotQuiet));
        assert_eq!(why(changed, Action::Upload), Some(Hindrance::NotQuiet));
    }

    #[test]
    fn without_rules_there_is_none() {
        let why = policy("").hindrance(&facts("a", 1), NOW_NS, Action::Upload);
        assert_eq!(why, Some(Hindrance::NoRule));
        let all = policy("[[rule]]\nname = \"all\"\naction = \"tier\"");
        let recalled = Facts { last_recall_ns: Some(NOW_NS - 1), ..facts("a", 100) };
        let why = all.hindrance(&recalled, NOW_NS, Action::Tier);
        assert_eq!(why, Some(Hindrance::RecentlyRecalled));
    }
}
