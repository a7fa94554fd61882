//! Several policy files into one [`PolicySet`].
//!
//! Files load in the order of their names; classes are known across files;
//! rules follow one another; what may be said once (a name, a limit, the
//! watermark's marks) and is said twice is an error that names both places, so
//! that no file silently overrides another. All problems of all files are
//! collected.

use super::classes::ClassTable;
use super::condition::{Age, Condition, Test};
use super::facts::Action;
use super::globs::{PathGlobs, PathGlobsBuilder, Reach, Style};
use super::limits::{Defaults, ErrorBudget, Limits, Order, Watermark};
use super::predicates::{Names, PREDICATES, Predicates, Subject, has_no_predicate};
use super::retention;
use super::rule::{
    Implied, RULE_KEYS, Rule, read_action, read_chunking, read_compression, read_copies,
    read_storage_class,
};
use super::weight::Weight;
use super::{PolicyError, PolicySet};
use crate::document::{Document, Item, Place, Section};
use std::collections::BTreeMap;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

const TOP_KEYS: [&str; 9] = [
    "unguarded",
    "pin",
    "exclude",
    "class",
    "rule",
    "retention",
    "watermark",
    "limits",
    "defaults",
];
const WATERMARK_KEYS: [&str; 3] = ["high", "low", "order"];
const LIMIT_KEYS: [&str; 4] = ["max_bytes", "max_files", "max_duration", "stop_after_errors"];
const DEFAULT_KEYS: [&str; 3] = ["min_stub_size", "quiet", "min_age_after_recall"];

/// Loads the files into one set; see [`PolicySet::load`].
pub(super) fn load<N: AsRef<str>, T: AsRef<str>>(
    files: &[(N, T)],
    names: &Names<'_>,
) -> Result<PolicySet, Vec<PolicyError>> {
    let mut files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_ref(), text.as_ref())).collect();
    files.sort_by_key(|(name, _)| *name);
    let docs: Vec<Document<'_>> =
        files.iter().map(|(name, text)| Document::new(name, text)).collect();
    let parsed: Vec<Option<DeTable<'_>>> = docs.iter().map(Document::parse).collect();
    let all_parsed = parsed.iter().all(Option::is_some);
    let tops: Vec<Section<'_, '_>> = docs
        .iter()
        .zip(&parsed)
        .filter_map(|(doc, table)| Some(Section::top(doc, table.as_ref()?, &TOP_KEYS)))
        .collect();
    // A class may be defined in a file that is no TOML: its users are not wrong.
    let set = all_parsed.then(|| Loader::default().read(&tops, names));
    drop(tops);
    let problems: Vec<PolicyError> = docs.into_iter().flat_map(Document::into_problems).collect();
    match set {
        Some(set) if problems.is_empty() => Ok(set),
        _ => Err(problems),
    }
}

/// What has been said so far, and where.
#[derive(Default)]
struct Loader {
    said: BTreeMap<String, Place>,
    set: PolicySet,
    rule_places: BTreeMap<String, Place>,
    retention_places: BTreeMap<String, Place>,
}

impl Loader {
    fn read(mut self, tops: &[Section<'_, '_>], names: &Names<'_>) -> PolicySet {
        let classes = ClassTable::collect(tops);
        let predicates = Predicates { names, classes: classes.indices(), subject: Subject::File };
        let conditions = classes.read(&predicates);
        let costs = classes.order(conditions, &mut self.set);
        for top in tops {
            self.read_knobs(top);
        }
        self.read_globs(tops);
        for top in tops {
            for item in top.tables("rule") {
                self.read_rule(&item, &predicates);
            }
            for item in top.tables("retention") {
                self.read_retention(&item, &predicates);
            }
        }
        for retention in &mut self.set.retentions {
            retention.condition.sort_by_cost(&costs);
        }
        for rule in &mut self.set.rules {
            rule.condition.sort_by_cost(&costs);
            rule.implied = implied(rule, &self.set.class_conditions, &self.set.defaults);
        }
        self.set
    }

    /// Whether this is the first time that `key` is said; notes it if not.
    fn first(&mut self, section: &Section<'_, '_>, key: &str, full: &str) -> bool {
        if !section.has(key) {
            return false;
        }
        let place = section.key_place(key);
        if let Some(earlier) = self.said.get(full) {
            let what = format!("{full} is already set at {earlier}");
            section.doc().problem_at(place, what, "keep one of the two");
            return false;
        }
        self.said.insert(full.to_owned(), place);
        true
    }

    fn read_knobs(&mut self, top: &Section<'_, '_>) {
        if self.first(top, "unguarded", "unguarded") {
            self.set.unguarded = top.flag("unguarded").unwrap_or(false);
        }
        self.read_watermark(top);
        let limits = top.item("limits").and_then(|item| item.section("[limits]", &LIMIT_KEYS));
        if let Some(section) = limits {
            self.read_limits(&section);
        }
        let section =
            top.item("defaults").and_then(|item| item.section("[defaults]", &DEFAULT_KEYS));
        if let Some(section) = section {
            self.read_defaults(&section);
        }
    }

    fn read_watermark(&mut self, top: &Section<'_, '_>) {
        if !self.first(top, "watermark", "watermark") {
            return;
        }
        let item = top.item("watermark").expect("first() has seen it");
        let Some(section) = item.section("[watermark]", &WATERMARK_KEYS) else { return };
        for key in ["high", "low"] {
            if !section.has(key) {
                let mend = "write high = \"85%\" and low = \"75%\"";
                section.problem(format!("[watermark] has no {key:?}"), mend);
            }
        }
        let order = section.item("order").and_then(read_order).unwrap_or_default();
        let (Some(high_pct), Some(low_pct)) = (section.percent("high"), section.percent("low"))
        else {
            return;
        };
        if low_pct >= high_pct {
            let item = section.item("low").expect("it has been read");
            item.problem(
                format!("low ({low_pct}%) is not below high ({high_pct}%)"),
                "freeing starts above high and ends at low",
            );
        }
        self.set.watermark = Some(Watermark { high_pct, low_pct, order });
    }

    fn read_limits(&mut self, section: &Section<'_, '_>) {
        let mut limits: Limits = self.set.limits.clone();
        if self.first(section, "max_bytes", "limits.max_bytes") {
            limits.max_bytes = section.size("max_bytes");
        }
        if self.first(section, "max_files", "limits.max_files") {
            limits.max_files = section.integer("max_files", 1..=i64::MAX).map(i64::cast_unsigned);
        }
        if self.first(section, "max_duration", "limits.max_duration") {
            limits.max_duration = section.duration("max_duration");
        }
        if self.first(section, "stop_after_errors", "limits.stop_after_errors") {
            let item = section.item("stop_after_errors").expect("first() has seen it");
            limits.stop_after_errors = read_error_budget(&item);
        }
        self.set.limits = limits;
    }

    fn read_defaults(&mut self, section: &Section<'_, '_>) {
        let mut defaults: Defaults = self.set.defaults.clone();
        if self.first(section, "min_stub_size", "defaults.min_stub_size") {
            defaults.min_stub_size_bytes = section.size("min_stub_size").unwrap_or(0);
        }
        let mut duration = |key: &str, full: &str, value: &mut Duration| {
            if self.first(section, key, full) {
                *value = section.duration(key).unwrap_or_default();
            }
        };
        duration("quiet", "defaults.quiet", &mut defaults.quiet);
        let recall = &mut defaults.min_age_after_recall;
        duration("min_age_after_recall", "defaults.min_age_after_recall", recall);
        self.set.defaults = defaults;
    }

    /// Pins and excludes of all files add up.
    fn read_globs(&mut self, tops: &[Section<'_, '_>]) {
        self.set.pins = merged_globs(tops, "pin");
        self.set.excludes = merged_globs(tops, "exclude");
    }

    fn read_rule(&mut self, item: &Item<'_, '_>, predicates: &Predicates<'_>) {
        let number = self.set.rules.len() + 1;
        let Some(mut section) = item.open_section(format!("rule number {number}")) else { return };
        let name = section.text("name");
        match name {
            Some(name) => section.retitle(format!("rule {name:?}")),
            None if section.has("name") => {}
            None => section.problem(
                format!("{} has no name", section.title()),
                "add name = \"...\"; plans and explanations show it",
            ),
        }
        let known: Vec<&str> = RULE_KEYS.iter().chain(&PREDICATES).copied().collect();
        section.only(&known);
        note_name(&mut self.rule_places, &section, "rule");
        let rule = Rule {
            name: name.unwrap_or_default().to_owned(),
            place: section.place(),
            action: read_action(&section).unwrap_or(Action::Ignore),
            storage_class: read_storage_class(&section),
            chunking: read_chunking(&section),
            compression_level: read_compression(&section),
            dedup: section.flag("dedup"),
            copies: read_copies(&section),
            copies_place: section.has("copies").then(|| section.key_place("copies")),
            condition: predicates.read(&section),
            implied: Vec::new(),
        };
        self.set.rules.push(rule);
    }

    fn read_retention(&mut self, item: &Item<'_, '_>, predicates: &Predicates<'_>) {
        let number = self.set.retentions.len() + 1;
        let read = retention::read(item, number, predicates, &self.set);
        let Some(retention) = read else { return };
        let section = item.open_section(format!("retention {:?}", retention.name));
        let section = section.expect("it has been read");
        note_name(&mut self.retention_places, &section, "retention");
        self.set.retentions.push(retention);
    }
}

/// Notes a name that an earlier table of the same kind has.
fn note_name(places: &mut BTreeMap<String, Place>, section: &Section<'_, '_>, noun: &str) {
    // What is no text has been told where it was read.
    let Some(DeValue::String(name)) = section.item("name").map(|item| item.value()) else { return };
    let place = section.key_place("name");
    if let Some(earlier) = places.get(name.as_ref()) {
        let what = format!("{} is already defined at {earlier}", section.title());
        section.doc().problem_at(place, what, format!("give each {noun} its own name"));
    } else {
        places.insert(name.to_string(), place);
    }
}

fn merged_globs(tops: &[Section<'_, '_>], key: &str) -> PathGlobs {
    let style = Style { reach: Reach::Below, ignore_case: false };
    let mut builder = PathGlobsBuilder::new(style);
    for item in tops.iter().filter_map(|top| top.item(key)).flat_map(|item| item.one_or_more()) {
        if let Some(Err(error)) = item.text().map(|glob| builder.add(glob)) {
            item.problem(error.to_string(), "* stays within a directory, ** crosses them");
        }
    }
    match builder.build() {
        Ok(globs) => globs,
        Err(error) => {
            if let Some(top) = tops.iter().find(|top| top.has(key)) {
                top.doc().problem_at(top.key_place(key), error.to_string(), "");
            }
            PathGlobs::default()
        }
    }
}

fn read_order(item: Item<'_, '_>) -> Option<Order> {
    let text = item.text()?;
    match text {
        "coldest" => return Some(Order::Coldest),
        "largest" => return Some(Order::Largest),
        _ => {}
    }
    let weight = Weight::parse(text);
    let mend = "write coldest, largest or a weight such as \"size_mib * idle_days\"";
    weight
        .map_err(|error| {
            item.problem_inside(error.offset, format!("order {text:?}: {error}"), mend)
        })
        .map(Order::Weight)
        .ok()
}

fn read_error_budget(item: &Item<'_, '_>) -> Option<ErrorBudget> {
    if let DeValue::Integer(_) = item.value() {
        return item.integer(1..=i64::MAX).map(|count| ErrorBudget::Count(count.cast_unsigned()));
    }
    let text = item.text()?;
    let budget = ErrorBudget::parse(text);
    if budget.is_none() {
        item.problem(format!("bad stop_after_errors {text:?}"), ErrorBudget::MEND);
    }
    budget
}

/// The tests that come with an action and the defaults.
fn implied(rule: &Rule, classes: &[Condition], defaults: &Defaults) -> Vec<Implied> {
    let age = |age, span: Duration, source| Implied {
        test: Test::Older(age, i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)),
        source,
    };
    let mut tests = Vec::new();
    if rule.action >= Action::Upload {
        if !mentions_nlink(&rule.condition, classes) {
            let source = "the default; nlink_max in the rule changes it";
            tests.push(Implied { test: Test::NlinkMax(1), source });
        }
        tests.push(age(Age::Change, defaults.quiet, "defaults.quiet"));
    }
    if rule.action == Action::Tier {
        let test = Test::MinSize(defaults.min_stub_size_bytes);
        tests.push(Implied { test, source: "defaults.min_stub_size" });
        let span = defaults.min_age_after_recall;
        tests.push(age(Age::Recall, span, "defaults.min_age_after_recall"));
    }
    tests
}

fn mentions_nlink(condition: &Condition, classes: &[Condition]) -> bool {
    match condition {
        Condition::Test(test) => matches!(test, Test::NlinkMax(_)),
        Condition::Class(index) => mentions_nlink(&classes[*index], classes),
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().any(|part| mentions_nlink(part, classes))
        }
        Condition::Not(part) => mentions_nlink(part, classes),
    }
}

/// A class that matches everything is a slip of the pen.
pub(super) fn refuse_empty(class: &Section<'_, '_>) {
    if has_no_predicate(class) {
        let what = format!("{} says nothing, it would match every file", class.title());
        class.problem(what, "add a predicate, such as include = [\"**/*.mkv\"]");
    }
}
