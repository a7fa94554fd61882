//! How long the store keeps what a file was: `[[retention]]` tables.
//!
//! A version that has been superseded or deleted has no local file to look at;
//! only its path and its size are known. A retention therefore asks for
//! nothing else, and neither may a class that it refers to: both are refused
//! when the policy loads, so that no version is ever judged by a guess. The
//! grace of the config protects every version beside what is said here.

use super::PolicySet;
use super::condition::{Ages, Condition, Context};
use super::facts::{Facts, FileState};
use super::predicates::{PREDICATES, Predicates};
use crate::document::{Item, Place, Section};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// One `[[retention]]` table.
#[derive(Debug, Clone)]
pub struct RetentionRule {
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// So many superseded versions of a path that still exists, the youngest.
    pub keep_versions: u32,
    /// So long since it was superseded or deleted, any number of versions.
    pub keep_for: Duration,
    pub(super) condition: Condition,
}

/// What is kept of a superseded version beyond the grace. The default keeps
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention<'p> {
    /// The first that matched.
    pub rule: Option<&'p str>,
    pub keep_versions: u32,
    pub keep_for: Duration,
}

impl PolicySet {
    /// What is kept of one version: `path` beneath `root`, `size_bytes` the
    /// version's own. The first rule that matches decides.
    pub fn retention(&self, root: &Path, path: &[u8], size_bytes: u64) -> Retention<'_> {
        if self.retentions.is_empty() {
            return Retention::default();
        }
        let root = root.as_os_str().as_bytes();
        let root = root.strip_suffix(b"/").unwrap_or(root);
        let facts = facts_of_version(root, path, size_bytes);
        let context = Context::new(&facts, 0);
        let holds = |rule: &&RetentionRule| {
            rule.condition.holds(&context, &self.class_conditions, Ages::Bind)
        };
        self.retentions.iter().find(holds).map_or_else(Retention::default, |rule| Retention {
            rule: Some(&rule.name),
            keep_versions: rule.keep_versions,
            keep_for: rule.keep_for,
        })
    }

    pub fn retentions(&self) -> &[RetentionRule] {
        &self.retentions
    }
}

/// Root, path, name and size are asked for and nothing else: the rest is filler.
fn facts_of_version<'a>(root: &'a [u8], path: &'a [u8], size_bytes: u64) -> Facts<'a> {
    Facts {
        root,
        path,
        name: path.rsplit(|byte| *byte == b'/').next().unwrap_or(path),
        kind: 'f',
        size_bytes,
        allocated_bytes: 0,
        uid: 0,
        gid: 0,
        mode: 0,
        nlink: 1,
        atime_ns: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        first_seen_ns: 0,
        last_recall_ns: None,
        state: FileState::Resident,
        xattr: &|_| None,
    }
}

/// Keys of a retention that are no predicates.
pub(super) const RETENTION_KEYS: [&str; 3] = ["name", "keep_versions", "keep_for"];

/// The predicates that ask for path, name and size, or put such together.
const KNOWN_OF_A_VERSION: [&str; 11] = [
    "class",
    "root",
    "include",
    "exclude",
    "file_name",
    "case_insensitive",
    "min_size",
    "max_size",
    "all",
    "any",
    "not",
];

const MEND: &str = "of a version only path and size are known: use include, exclude, \
                    file_name, root, min_size, max_size";

/// Reads one table, the `number`th; `set` has its classes already.
pub(super) fn read(
    item: &Item<'_, '_>,
    number: usize,
    predicates: &Predicates<'_>,
    set: &PolicySet,
) -> Option<RetentionRule> {
    let mut section = item.open_section(format!("retention number {number}"))?;
    let name = section.text("name");
    match name {
        Some(name) => section.retitle(format!("retention {name:?}")),
        None if section.has("name") => {}
        None => section.problem(
            format!("{} has no name", section.title()),
            "add name = \"...\"; what is kept is told by it",
        ),
    }
    let known: Vec<&str> = RETENTION_KEYS.iter().chain(&PREDICATES).copied().collect();
    section.only(&known);
    if !section.has("keep_versions") && !section.has("keep_for") {
        let what = format!("{} does not say what it keeps", section.title());
        section.problem(what, "add keep_versions = 5 or keep_for = \"90d\", 0 for nothing");
    }
    let versions = section.integer("keep_versions", 0..=i64::from(u32::MAX));
    Some(RetentionRule {
        name: name.unwrap_or_default().to_owned(),
        place: section.place(),
        keep_versions: versions.and_then(|most| u32::try_from(most).ok()).unwrap_or(0),
        keep_for: section.duration("keep_for").unwrap_or_default(),
        condition: predicates.of_versions(&set.class_conditions).read(&section),
    })
}

/// Notes each predicate that asks for more than a version has.
pub(super) fn refuse_predicates(table: &Section<'_, '_>) {
    for (key, place, _) in table.entries() {
        if PREDICATES.contains(&key) && !KNOWN_OF_A_VERSION.contains(&key) {
            let what = format!("{} cannot ask for {key:?}", table.title());
            table.doc().problem_at(place, what, MEND);
        }
    }
}

/// Notes a class that asks for more than a version has.
pub(super) fn refuse_class(
    table: &Section<'_, '_>,
    item: &Item<'_, '_>,
    class: &Condition,
    classes: &[Condition],
) {
    if let Some(key) = asks_beyond(class, classes) {
        let (title, name) = (table.title(), item.text().unwrap_or_default());
        item.problem(format!("{title} cannot use class {name:?}: it asks for {key:?}"), MEND);
    }
}

fn asks_beyond(condition: &Condition, classes: &[Condition]) -> Option<&'static str> {
    match condition {
        Condition::Test(test) => Some(test.key()).filter(|key| !KNOWN_OF_A_VERSION.contains(key)),
        Condition::Class(index) => asks_beyond(&classes[*index], classes),
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().find_map(|part| asks_beyond(part, classes))
        }
        Condition::Not(part) => asks_beyond(part, classes),
    }
}
