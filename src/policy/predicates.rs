//! Reads a table of predicates into a [`Condition`].
//!
//! Classes, rules and the tables inside `all`, `any` and `not` share these
//! keys. All keys of one table must hold.

use super::condition::{Age, Condition, Ids, States, Test, Wanted};
use super::facts::FileState;
use super::globs::{PathGlobs, PathGlobsBuilder, Reach, Style, TextGlobs, text_glob};
use super::retention;
use crate::document::{Item, Section, closest};
use std::collections::BTreeMap;
use toml::de::DeValue;

/// Every key that is a predicate, or changes how one is read.
pub(super) const PREDICATES: [&str; 25] = [
    "class",
    "root",
    "include",
    "exclude",
    "file_name",
    "case_insensitive",
    "min_size",
    "max_size",
    "owner",
    "group",
    "mode_any",
    "mode_all",
    "mode_none",
    "nlink_max",
    "xattr",
    "idle",
    "atime_older",
    "mtime_older",
    "ctime_older",
    "first_seen_older",
    "recall_older",
    "state",
    "all",
    "any",
    "not",
];

/// The ages that a predicate asks for.
const AGES: [Age; 6] = [Age::Idle, Age::Atime, Age::Mtime, Age::Ctime, Age::FirstSeen, Age::Recall];

/// Words for permission bits (inode(7)).
const MODE_WORDS: [(&str, u32); 5] = [
    ("setuid", 0o4000),
    ("suid", 0o4000),
    ("setgid", 0o2000),
    ("sticky", 0o1000),
    ("executable", 0o111),
];

/// Resolves user and group names; the room itself asks no system.
pub struct Names<'n> {
    pub uid: &'n dyn Fn(&str) -> Option<u32>,
    pub gid: &'n dyn Fn(&str) -> Option<u32>,
}

impl Names<'static> {
    /// Knows no name: only numeric owners and groups load.
    pub fn none() -> Self {
        Self { uid: &|_| None, gid: &|_| None }
    }
}

/// What reading a condition needs to know beside its table.
pub(super) struct Predicates<'n> {
    pub names: &'n Names<'n>,
    /// Every class of the set by name.
    pub classes: BTreeMap<&'n str, usize>,
    pub subject: Subject<'n>,
}

/// What a condition is asked about.
#[derive(Clone, Copy)]
pub(super) enum Subject<'n> {
    File,
    /// A version in the store; with the conditions of the classes.
    Version(&'n [Condition]),
}

impl Predicates<'_> {
    /// The same for conditions over versions in the store; `classes` by number.
    pub fn of_versions<'n>(&'n self, classes: &'n [Condition]) -> Predicates<'n> {
        let subject = Subject::Version(classes);
        Predicates { names: self.names, classes: self.classes.clone(), subject }
    }

    /// All predicates of the table; keys that are none are left to the caller.
    pub fn read(&self, table: &Section<'_, '_>) -> Condition {
        if let Subject::Version(_) = self.subject {
            retention::refuse_predicates(table);
        }
        let mut parts = Vec::new();
        self.read_classes(table, &mut parts);
        read_globs(table, &mut parts);
        read_sizes(table, &mut parts);
        self.read_ids(table, &mut parts);
        read_modes(table, &mut parts);
        read_xattrs(table, &mut parts);
        read_ages(table, &mut parts);
        read_states(table, &mut parts);
        self.read_nested(table, &mut parts);
        match parts.len() {
            1 => parts.swap_remove(0),
            _ => Condition::All(parts),
        }
    }

    fn read_classes(&self, table: &Section<'_, '_>, parts: &mut Vec<Condition>) {
        let Some(item) = table.item("class") else { return };
        let mut classes = Vec::new();
        for item in item.one_or_more() {
            let Some(name) = item.text() else { continue };
            match self.classes.get(name) {
                Some(index) => {
                    if let Subject::Version(all) = self.subject {
                        retention::refuse_class(table, &item, &all[*index], all);
                    }
                    classes.push(Condition::Class(*index));
                }
                None => {
                    let mend = match closest(name, self.classes.keys().copied()) {
                        Some(meant) => format!("did you mean {meant:?}?"),
                        None => format!("define it with [class.{name}]"),
                    };
                    item.problem(format!("unknown class {name:?} in {}", table.title()), mend);
                }
            }
        }
        parts.push(match classes.len() {
            1 => classes.swap_remove(0),
            _ => Condition::Any(classes),
        });
    }

    fn read_ids(&self, table: &Section<'_, '_>, parts: &mut Vec<Condition>) {
        if let Some(item) = table.item("owner") {
            parts.push(Condition::Test(Test::Owner(read_ids(item, "user", self.names.uid))));
        }
        if let Some(item) = table.item("group") {
            parts.push(Condition::Test(Test::Group(read_ids(item, "group", self.names.gid))));
        }
    }

    fn read_nested(&self, table: &Section<'_, '_>, parts: &mut Vec<Condition>) {
        let list = |key: &str| -> Option<Vec<Condition>> {
            let items = table.item(key)?.one_or_more();
            Some(items.iter().filter_map(|item| self.read_inner(table, key, item)).collect())
        };
        parts.extend(list("all").map(Condition::All));
        parts.extend(list("any").map(Condition::Any));
        if let Some(item) = table.item("not") {
            let inner = self.read_inner(table, "not", &item);
            parts.extend(inner.map(|inner| Condition::Not(Box::new(inner))));
        }
    }

    fn read_inner(
        &self,
        outer: &Section<'_, '_>,
        key: &str,
        item: &Item<'_, '_>,
    ) -> Option<Condition> {
        let inner = item.section(format!("{key:?} of {}", outer.title()), &PREDICATES)?;
        if has_no_predicate(&inner) {
            inner
                .problem(format!("{} says nothing", inner.title()), "add a predicate or remove it");
        }
        Some(self.read(&inner))
    }
}

/// Whether a table holds nothing that could fail; an unknown key is a problem
/// of its own.
pub(super) fn has_no_predicate(table: &Section<'_, '_>) -> bool {
    table.entries().iter().all(|(key, ..)| *key == "case_insensitive")
}

fn read_globs(table: &Section<'_, '_>, parts: &mut Vec<Condition>) {
    let ignore_case = table.flag("case_insensitive").unwrap_or(false);
    let style = |reach| Style { reach, ignore_case };
    let mut push = |test| parts.push(Condition::Test(test));
    if let Some(globs) = read_path_globs(table, "include", style(Reach::Exact)) {
        push(Test::Include(globs));
    }
    if let Some(globs) = read_path_globs(table, "exclude", style(Reach::Below)) {
        push(Test::Exclude(globs));
    }
    if let Some(globs) = table.item("file_name").and_then(|item| read_text_globs(item, ignore_case))
    {
        push(Test::Name(globs));
    }
    if let Some(globs) = table.item("root").and_then(|item| read_text_globs(item, false)) {
        push(Test::Root(globs));
    }
}

/// The path globs of a key; every bad one is noted where it stands.
pub(super) fn read_path_globs(
    table: &Section<'_, '_>,
    key: &str,
    style: Style,
) -> Option<PathGlobs> {
    const MEND: &str =
        "* stays within a directory, ** crosses them, {a,b} is either; escape with \\";
    let item = table.item(key)?;
    let mut builder = PathGlobsBuilder::new(style);
    for item in item.one_or_more() {
        let added = item.text().map(|glob| builder.add(glob));
        if let Some(Err(error)) = added {
            item.problem(error.to_string(), MEND);
        }
    }
    builder.build().map_err(|error| item.problem(error.to_string(), MEND)).ok()
}

fn read_text_globs(item: Item<'_, '_>, ignore_case: bool) -> Option<TextGlobs> {
    const MEND: &str = "* is any text, ? one character, {a,b} either; escape with \\";
    let mut globs = Vec::new();
    for item in item.one_or_more() {
        let Some(glob) = item.text() else { continue };
        match text_glob(glob, ignore_case) {
            Ok(_) => globs.push(glob),
            Err(error) => item.problem(error.to_string(), MEND),
        }
    }
    let set = TextGlobs::new(globs, ignore_case);
    set.map_err(|error| item.problem(error.to_string(), MEND)).ok()
}

fn read_sizes(table: &Section<'_, '_>, parts: &mut Vec<Condition>) {
    let (min, max) = (table.size("min_size"), table.size("max_size"));
    if let (Some(min), Some(max), Some(item)) = (min, max, table.item("max_size"))
        && min > max
    {
        item.problem(format!("{} matches no file: min_size is above max_size", table.title()), "");
    }
    parts.extend(min.map(|bytes| Condition::Test(Test::MinSize(bytes))));
    parts.extend(max.map(|bytes| Condition::Test(Test::MaxSize(bytes))));
}

fn read_ids(item: Item<'_, '_>, noun: &str, resolve: &dyn Fn(&str) -> Option<u32>) -> Ids {
    let mut ids = Ids::default();
    for item in item.one_or_more() {
        let (id, written) = match item.value() {
            DeValue::Integer(_) => {
                let number = item.integer(0..=i64::from(u32::MAX));
                let id = number.and_then(|number| u32::try_from(number).ok());
                (id, id.map(|id| id.to_string()).unwrap_or_default())
            }
            _ => {
                let Some(text) = item.text() else { continue };
                let id = text.parse().ok().or_else(|| resolve(text));
                if id.is_none() {
                    item.problem(
                        format!("unknown {noun} {text:?}"),
                        "write an existing name or the numeric id",
                    );
                }
                (id, text.to_owned())
            }
        };
        if let Some(id) = id {
            let numeric = written.bytes().all(|byte| byte.is_ascii_digit());
            ids.written.push(if numeric { written } else { format!("{written} ({id})") });
            ids.ids.push(id);
        }
    }
    ids
}

fn read_modes(table: &Section<'_, '_>, parts: &mut Vec<Condition>) {
    let mut push = |key: &str, test: fn(u32) -> Test| {
        let Some(item) = table.item(key) else { return };
        let bits =
            item.one_or_more().iter().filter_map(read_mode_bits).fold(0, |all, bits| all | bits);
        parts.push(Condition::Test(test(bits)));
    };
    push("mode_any", Test::ModeAny);
    push("mode_all", Test::ModeAll);
    push("mode_none", Test::ModeNone);
    let Some(item) = table.item("nlink_max") else { return };
    let most = match item.value() {
        DeValue::String(text) if text == "any" => Some(u32::MAX),
        DeValue::String(text) => {
            item.problem(
                format!("bad nlink_max {text:?}"),
                "write a number of hard links or \"any\"",
            );
            None
        }
        _ => item.integer(1..=i64::from(u32::MAX)).and_then(|most| u32::try_from(most).ok()),
    };
    parts.extend(most.map(|most| Condition::Test(Test::NlinkMax(most))));
}

/// `"setuid"`, `"0111"` or `0o111`. A decimal number is refused: `mode_any =
/// 111` would not be what it looks like.
fn read_mode_bits(item: &Item<'_, '_>) -> Option<u32> {
    const MEND: &str = "write octal \"0111\" or 0o111, or setuid, setgid, sticky, executable";
    let bits = match item.value() {
        DeValue::Integer(number) if number.radix() == 8 => {
            u32::from_str_radix(number.as_str(), 8).ok()
        }
        DeValue::Integer(number) => {
            item.problem(format!("mode {number} is not octal"), MEND);
            return None;
        }
        _ => {
            let text = item.text()?;
            let word = MODE_WORDS.iter().find(|(word, _)| *word == text).map(|(_, bits)| *bits);
            word.or_else(|| u32::from_str_radix(text, 8).ok())
        }
    };
    let bits = bits.filter(|bits| (1..=0o7777).contains(bits));
    if bits.is_none() {
        item.problem("bad mode bits", MEND);
    }
    bits
}

fn read_xattrs(table: &Section<'_, '_>, parts: &mut Vec<Condition>) {
    const MEND: &str =
        "write xattr = { \"user.project\" = \"cold*\" }, true for present, false for absent";
    let Some(item) = table.item("xattr") else { return };
    let Some(xattrs) = item.open_section(format!("xattr of {}", table.title())) else { return };
    if xattrs.is_empty() {
        xattrs.problem(format!("{} says nothing", xattrs.title()), MEND);
    }
    for (name, place, item) in xattrs.entries() {
        if !name.contains('.') {
            let what = format!("{name:?} is no attribute name, it has no namespace");
            xattrs.doc().problem_at(place, what, MEND);
            continue;
        }
        let wanted = match item.value() {
            DeValue::Boolean(true) => Some(Wanted::Present),
            DeValue::Boolean(false) => Some(Wanted::Absent),
            DeValue::Table(_) => {
                item.problem("an attribute name with a dot needs quotes", MEND);
                None
            }
            _ => read_text_globs(item, false).map(Wanted::Value),
        };
        parts.extend(wanted.map(|wanted| Condition::Test(Test::Xattr(name.to_owned(), wanted))));
    }
}

fn read_ages(table: &Section<'_, '_>, parts: &mut Vec<Condition>) {
    for age in AGES {
        if let Some(limit) = table.duration(age.key()) {
            let limit_ns =
                i64::try_from(limit.as_nanos()).expect("durations are at most 200 years");
            parts.push(Condition::Test(Test::Older(age, limit_ns)));
        }
    }
}

fn read_states(table: &Section<'_, '_>, parts: &mut Vec<Condition>) {
    let Some(item) = table.item("state") else { return };
    let known = FileState::ALL.map(|state| (state.as_str(), state));
    let mut states = States::default();
    for item in item.one_or_more() {
        if let Some(state) = item.word("state", &known) {
            states.insert(state);
        }
    }
    parts.push(Condition::Test(Test::State(states)));
}
