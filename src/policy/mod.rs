//! The policy language: which files are left alone, uploaded or tiered.
//!
//! Pure: text in, a [`PolicySet`] out; facts in, a [`Verdict`] out. No file
//! system, no clock, no user database (names come resolved through [`Names`]).
//! Rules are tried in order, the first that matches decides, and a file that no
//! rule matches is left alone. Retentions say in the same way how much the store
//! keeps of what a file was. The language is described in docs/POLICY.md.
//!
//! Two promises rest here. Every mistake in a policy is found when it loads,
//! with file, line, column and the mend; and whatever is unclear about a file
//! makes it stay: a future timestamp is young, a hard link, a small file and a
//! file just recalled fail the tests that come with each rule.

mod classes;
mod condition;
mod explain;
mod facts;
mod globs;
mod hindrance;
mod limits;
mod load;
mod predicates;
mod retention;
mod rule;
mod weight;

pub use crate::document::Problem as PolicyError;
pub use explain::{Miss, RuleOutcome};
pub use facts::{Action, Facts, FileState, Pin, UnknownState};
pub use globs::{BadGlob, PathGlobs, PathGlobsBuilder, Reach, Style};
pub use hindrance::Hindrance;
pub use limits::{Defaults, ErrorBudget, Limits, Order, Rank, Watermark, rank};
pub use predicates::Names;
pub use retention::{Retention, RetentionRule};
pub use rule::{Chunking, Rule};
pub use weight::{BadWeight, Weight};

use crate::units::Copies;
use condition::{Age, Ages, Condition, Context};

/// How long a file was neither read, written nor recalled, in nanoseconds: what
/// `idle` is compared with.
pub fn idle_ns(facts: &Facts<'_>, now_ns: i64) -> i64 {
    Age::Idle.of(facts, now_ns).expect("a file has times, read or not")
}

/// The compiled policy of a server: rules, classes and knobs of all its files.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    rules: Vec<Rule>,
    retentions: Vec<RetentionRule>,
    class_names: Vec<String>,
    class_conditions: Vec<Condition>,
    pins: PathGlobs,
    excludes: PathGlobs,
    unguarded: bool,
    watermark: Option<Watermark>,
    limits: Limits,
    defaults: Defaults,
}

/// What a policy decides on one file.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'p> {
    /// The first rule that matched; `None` leaves the file alone.
    pub rule: Option<&'p Rule>,
    /// What to do: the rule's action, as far as the policy's pin allows.
    pub action: Action,
    /// From the policy's own `pin` and `exclude`; pins made by `hsm pin` are
    /// the state's, apply them with [`Pin::limit`].
    pub pin: Pin,
}

impl PolicySet {
    /// Loads files, given as (name, text), in the order of their names into one
    /// set. The names are used in errors only.
    ///
    /// # Errors
    /// Every problem of every file, in the order of the files and lines.
    pub fn load<N: AsRef<str>, T: AsRef<str>>(
        files: &[(N, T)],
        names: &Names<'_>,
    ) -> Result<Self, Vec<PolicyError>> {
        load::load(files, names)
    }

    /// Whether a rule wants its files in two stores.
    pub fn wants_two_copies(&self) -> bool {
        self.rules.iter().any(|rule| rule.copies == Copies::Two)
    }

    /// What is wrong with the rules that want two copies where the config has no
    /// second store: nothing of theirs could ever become a stub.
    pub fn without_second_store(&self) -> Vec<PolicyError> {
        let wants = self.rules.iter().filter(|rule| rule.copies == Copies::Two);
        let problem = |rule: &Rule| {
            let place = rule.copies_place.clone().unwrap_or_else(|| rule.place.clone());
            let what =
                format!("rule {:?} wants two copies and there is no second store", rule.name);
            let mend = "add [second_store] to the config and run hsm init --second-store URL, \
                        or leave copies out";
            PolicyError::at(place, what, mend)
        };
        wants.map(problem).collect()
    }

    /// What is to become of a file. Allocates nothing unless a glob is an
    /// absolute path, and reads an extended attribute only where everything
    /// else of a rule has matched.
    pub fn decide(&self, facts: &Facts<'_>, now_ns: i64) -> Verdict<'_> {
        self.verdict(facts, now_ns, Ages::Bind)
    }

    /// As [`Self::decide`] while a file system is above its high watermark:
    /// the age limits of `tier` rules are waived (not those inside `not`), the
    /// defaults still bind. What it says to tier are candidates, to be taken in
    /// the watermark's order.
    pub fn decide_for_space(&self, facts: &Facts<'_>, now_ns: i64) -> Verdict<'_> {
        self.verdict(facts, now_ns, Ages::Waived)
    }

    fn verdict(&self, facts: &Facts<'_>, now_ns: i64, tier_ages: Ages) -> Verdict<'_> {
        let context = Context::new(facts, now_ns);
        let pin = self.pin_in(&context);
        if facts.kind != 'f' || pin == Pin::Excluded {
            return Verdict { rule: None, action: Action::Ignore, pin };
        }
        let rule = self.rules.iter().find(|rule| {
            let ages = if rule.action == Action::Tier { tier_ages } else { Ages::Bind };
            rule.implied.iter().all(|implied| implied.test.holds(&context, Ages::Bind))
                && rule.condition.holds(&context, &self.class_conditions, ages)
        });
        let action = rule.map_or(Action::Ignore, |rule| pin.limit(rule.action));
        Verdict { rule, action, pin }
    }

    /// The policy's own word on a path.
    pub fn pin_of(&self, facts: &Facts<'_>) -> Pin {
        self.pin_in(&Context::new(facts, 0))
    }

    fn pin_in(&self, context: &Context<'_>) -> Pin {
        if !self.excludes.is_empty() && context.path_matches(&self.excludes) {
            Pin::Excluded
        } else if !self.pins.is_empty() && context.path_matches(&self.pins) {
            Pin::Pinned
        } else {
            Pin::None
        }
    }

    /// For each rule in order whether it matches, else every failed test. No
    /// rule decides on what is no regular file or is excluded: show
    /// [`Self::pin_of`] first.
    pub fn explain(&self, facts: &Facts<'_>, now_ns: i64) -> Vec<RuleOutcome<'_>> {
        let context = Context::new(facts, now_ns);
        let mut undecided = facts.kind == 'f' && self.pin_in(&context) != Pin::Excluded;
        let outcome = |rule| {
            let misses = explain::misses_of(self, rule, &context);
            let decides = misses.is_empty() && std::mem::take(&mut undecided);
            RuleOutcome { rule, misses, decides }
        };
        self.rules.iter().map(outcome).collect()
    }

    /// The names of the classes a file is in, for reports.
    pub fn classes_of(&self, facts: &Facts<'_>, now_ns: i64) -> Vec<&str> {
        let context = Context::new(facts, now_ns);
        let holds =
            |condition: &Condition| condition.holds(&context, &self.class_conditions, Ages::Bind);
        let named = self.class_names.iter().zip(&self.class_conditions);
        named.filter(|(_, condition)| holds(condition)).map(|(name, _)| name.as_str()).collect()
    }

    /// The same by their numbers, which are places in [`Self::class_names`].
    pub fn class_numbers(&self, facts: &Facts<'_>, now_ns: i64) -> Vec<usize> {
        let context = Context::new(facts, now_ns);
        let holds = |index: &usize| {
            let condition = &self.class_conditions[*index];
            condition.holds(&context, &self.class_conditions, Ages::Bind)
        };
        (0..self.class_conditions.len()).filter(holds).collect()
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Whether stubs may exist without a guard: a program that opens one before
    /// a recall then reads zeros.
    pub fn unguarded(&self) -> bool {
        self.unguarded
    }

    pub fn watermark(&self) -> Option<&Watermark> {
        self.watermark.as_ref()
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn defaults(&self) -> &Defaults {
        &self.defaults
    }
}

#[cfg(test)]
mod tests;
