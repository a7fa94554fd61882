//! Why a rule did not match, in words: what the file is and what the rule
//! wants.
//!
//! `decide` stops at the first failed test; an explanation lists every one, in
//! the order in which they are tested, so that a person does not mend one only
//! to meet the next.

use super::PolicySet;
use super::condition::{Age, Ages, Condition, Context, Test, Wanted};
use super::rule::Rule;
use crate::units::{format_duration, format_duration_exact, format_size};
use std::fmt;
use std::time::Duration;

/// What one rule says of one file.
#[derive(Debug, Clone)]
pub struct RuleOutcome<'p> {
    pub rule: &'p Rule,
    /// The failed tests in the order of testing; none: the rule matches.
    pub misses: Vec<Miss>,
    /// Whether this is the rule that decides: the first that matches.
    pub decides: bool,
}

impl RuleOutcome<'_> {
    pub fn matched(&self) -> bool {
        self.misses.is_empty()
    }
}

/// A failed test: `idle 12 days, wants 90 days`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    pub actual: String,
    pub wanted: String,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, wants {}", self.actual, self.wanted)
    }
}

/// The failed tests of a rule.
pub(super) fn misses_of(set: &PolicySet, rule: &Rule, context: &Context<'_>) -> Vec<Miss> {
    let mut misses = Vec::new();
    collect(set, &rule.condition, context, &mut misses);
    for implied in &rule.implied {
        if !implied.test.holds(context, Ages::Bind) {
            let Miss { actual, wanted } = words(&implied.test, context);
            misses.push(Miss { actual, wanted: format!("{wanted} ({})", implied.source) });
        }
    }
    misses
}

fn collect(set: &PolicySet, condition: &Condition, context: &Context<'_>, misses: &mut Vec<Miss>) {
    if condition.holds(context, &set.class_conditions, Ages::Bind) {
        return;
    }
    match condition {
        Condition::Test(test) => misses.push(words(test, context)),
        Condition::Class(index) => {
            let first = misses.len();
            collect(set, &set.class_conditions[*index], context, misses);
            for miss in &mut misses[first..] {
                miss.actual = format!("class {:?}: {}", set.class_names[*index], miss.actual);
            }
        }
        Condition::All(parts) => {
            parts.iter().for_each(|part| collect(set, part, context, misses));
        }
        Condition::Any(parts) => misses.push(none_of(set, parts, context)),
        Condition::Not(part) => misses.push(Miss {
            actual: holding(set, part, context),
            wanted: "that not to be".to_owned(),
        }),
    }
}

fn none_of(set: &PolicySet, parts: &[Condition], context: &Context<'_>) -> Miss {
    let mut each = Vec::new();
    for part in parts {
        let mut misses = Vec::new();
        collect(set, part, context, &mut misses);
        let texts: Vec<String> = misses.iter().map(ToString::to_string).collect();
        each.push(format!("({})", texts.join("; ")));
    }
    Miss {
        actual: format!("none of {} alternatives holds: {}", parts.len(), each.join(" ")),
        wanted: "one of them".to_owned(),
    }
}

/// What is true of the file where a condition holds.
fn holding(set: &PolicySet, condition: &Condition, context: &Context<'_>) -> String {
    let holds = |part: &&Condition| part.holds(context, &set.class_conditions, Ages::Bind);
    match condition {
        Condition::Test(test) => {
            let Miss { actual, wanted } = words(test, context);
            format!("{actual} is {wanted}")
        }
        Condition::Class(index) => format!("it is in class {:?}", set.class_names[*index]),
        Condition::All(parts) => {
            let texts: Vec<String> = parts.iter().map(|part| holding(set, part, context)).collect();
            texts.join(" and ")
        }
        Condition::Any(parts) => {
            let part = parts.iter().find(holds);
            part.map_or_else(String::new, |part| holding(set, part, context))
        }
        Condition::Not(part) => {
            let mut misses = Vec::new();
            collect(set, part, context, &mut misses);
            let texts: Vec<String> = misses.iter().map(ToString::to_string).collect();
            format!("a not holds ({})", texts.join("; "))
        }
    }
}

/// The file's value and the test's, in words.
fn words(test: &Test, context: &Context<'_>) -> Miss {
    let facts = context.facts;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
    let (actual, wanted) = match test {
        Test::Root(globs) => (format!("root {}", text(facts.root)), either(globs.written())),
        Test::Include(globs) => (format!("path {}", text(facts.path)), either(globs.written())),
        Test::Exclude(globs) => {
            (format!("path {}", text(facts.path)), format!("not {}", either(globs.written())))
        }
        Test::Name(globs) => (format!("name {}", text(facts.name)), either(globs.written())),
        Test::MinSize(bytes) => size_words(facts.size_bytes, "at least", *bytes),
        Test::MaxSize(bytes) => size_words(facts.size_bytes, "at most", *bytes),
        Test::Owner(ids) => (format!("owner {}", facts.uid), either(&ids.written)),
        Test::Group(ids) => (format!("group {}", facts.gid), either(&ids.written)),
        Test::ModeAny(bits) => mode_words(facts.mode, "any of", *bits),
        Test::ModeAll(bits) => mode_words(facts.mode, "all of", *bits),
        Test::ModeNone(bits) => mode_words(facts.mode, "none of", *bits),
        Test::NlinkMax(most) => (format!("{} hard links", facts.nlink), format!("at most {most}")),
        Test::Older(age, limit_ns) => age_words(*age, *limit_ns, context),
        Test::State(states) => {
            let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
            (format!("state {}", facts.state), words.join(" or "))
        }
        Test::Xattr(name, wanted) => xattr_words(name, wanted, (facts.xattr)(name)),
    };
    Miss { actual, wanted }
}

fn either(written: &[String]) -> String {
    written.join(" or ")
}

/// Both sizes short, or in bytes where the short forms are alike.
fn size_words(actual: u64, bound: &str, wanted: u64) -> (String, String) {
    let (short, wanted_short) = (format_size(actual), format_size(wanted));
    if short == wanted_short && actual != wanted {
        (format!("size {actual} bytes"), format!("{bound} {wanted} bytes"))
    } else {
        (format!("size {short}"), format!("{bound} {wanted_short}"))
    }
}

fn mode_words(mode: u32, bound: &str, bits: u32) -> (String, String) {
    (format!("mode {mode:04o}"), format!("{bound} {bits:04o}"))
}

fn age_words(age: Age, limit_ns: i64, context: &Context<'_>) -> (String, String) {
    let limit = Duration::from_nanos(limit_ns.unsigned_abs());
    let Some(actual_ns) = age.of(context.facts, context.now_ns) else {
        return ("never recalled".to_owned(), format_duration(limit));
    };
    let actual = Duration::from_nanos(actual_ns.unsigned_abs());
    let (mut short, mut wanted) = (format_duration(actual), format_duration(limit));
    if short == wanted && actual != limit {
        (short, wanted) = (format_duration_exact(actual), format_duration_exact(limit));
    }
    let actual = match age {
        Age::Idle => format!("idle {short}"),
        Age::Atime => format!("last read {short} ago"),
        Age::Mtime => format!("content changed {short} ago"),
        Age::Ctime => format!("metadata changed {short} ago"),
        Age::FirstSeen => format!("first seen {short} ago"),
        Age::Recall => format!("recalled {short} ago"),
        Age::Change => format!("changed {short} ago"),
    };
    (actual, wanted)
}

fn xattr_words(name: &str, wanted: &Wanted, value: Option<Vec<u8>>) -> (String, String) {
    let actual = match value {
        Some(value) => format!("{name} is {:?}", String::from_utf8_lossy(&value)),
        None => format!("{name} is absent"),
    };
    let wanted = match wanted {
        Wanted::Present => "it present".to_owned(),
        Wanted::Absent => "it absent".to_owned(),
        Wanted::Value(globs) => either(globs.written()),
    };
    (actual, wanted)
}
