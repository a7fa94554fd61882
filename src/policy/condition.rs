//! The compiled condition of a class or a rule, and its evaluation.
//!
//! Evaluated for every file of a scan, so: globs are compiled, owners resolved
//! and children sorted by cost when a policy loads; evaluation allocates
//! nothing (except the absolute path, where a glob asks for it), and the one
//! test that needs a system call, an extended attribute, is made last.

use super::facts::{Facts, FileState, age_ns};
use super::globs::{PathGlobs, TextGlobs};
use globset::Candidate;
use std::cell::OnceCell;

/// A condition over the facts of one file.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Test(Test),
    /// Index into the classes of the set, which form no cycle.
    Class(usize),
    /// True when empty.
    All(Vec<Condition>),
    /// False when empty.
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

/// One predicate.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Root(TextGlobs),
    Include(PathGlobs),
    Exclude(PathGlobs),
    Name(TextGlobs),
    MinSize(u64),
    MaxSize(u64),
    Owner(Ids),
    Group(Ids),
    /// At least one of these bits is set.
    ModeAny(u32),
    /// All of these bits are set.
    ModeAll(u32),
    /// None of these bits is set.
    ModeNone(u32),
    NlinkMax(u32),
    Older(Age, i64),
    State(States),
    Xattr(String, Wanted),
}

/// User or group ids with the words they were written with.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids {
    pub ids: Vec<u32>,
    pub written: Vec<String>,
}

/// What an extended attribute must be.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    Present,
    Absent,
    Value(TextGlobs),
}

/// A set of file states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct States(u8);

impl States {
    pub fn insert(&mut self, state: FileState) {
        self.0 |= 1 << state as u8;
    }

    pub fn contains(self, state: FileState) -> bool {
        self.0 & (1 << state as u8) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = FileState> {
        FileState::ALL.into_iter().filter(move |state| self.contains(*state))
    }
}

/// From which moment an age is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// The latest of atime, mtime and last recall.
    Idle,
    Atime,
    Mtime,
    Ctime,
    FirstSeen,
    /// A file never recalled is older than any limit.
    Recall,
    /// The later of mtime and ctime: the quiet time before an upload.
    Change,
}

impl Age {
    /// The key it is written with.
    pub fn key(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Atime => "atime_older",
            Self::Mtime => "mtime_older",
            Self::Ctime => "ctime_older",
            Self::FirstSeen => "first_seen_older",
            Self::Recall => "recall_older",
            Self::Change => "quiet",
        }
    }

    /// The age in nanoseconds, never negative; `None` is "it never happened".
    pub fn of(self, facts: &Facts<'_>, now_ns: i64) -> Option<i64> {
        let since = |then_ns| Some(age_ns(now_ns, then_ns));
        match self {
            Self::Idle => {
                let recall_ns = facts.last_recall_ns.unwrap_or(i64::MIN);
                since(facts.atime_ns.max(facts.mtime_ns).max(recall_ns))
            }
            Self::Atime => since(facts.atime_ns),
            Self::Mtime => since(facts.mtime_ns),
            Self::Ctime => since(facts.ctime_ns),
            Self::FirstSeen => since(facts.first_seen_ns),
            Self::Recall => facts.last_recall_ns.and_then(since),
            Self::Change => since(facts.mtime_ns.max(facts.ctime_ns)),
        }
    }
}

/// Whether age limits bind. Above the high watermark, space comes before age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ages {
    Bind,
    Waived,
}

/// The facts of one file, prepared once for all rules.
pub(super) struct Context<'a> {
    pub facts: &'a Facts<'a>,
    pub now_ns: i64,
    name: Candidate<'a>,
    path: Candidate<'a>,
    absolute: OnceCell<Vec<u8>>,
}

impl<'a> Context<'a> {
    pub fn new(facts: &'a Facts<'a>, now_ns: i64) -> Self {
        // From the path itself: an exclude must not hang on a caller's care.
        let last = facts.path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let name = Candidate::from_bytes(&facts.path[last..]);
        let path = Candidate::from_bytes(facts.path);
        Self { facts, now_ns, name, path, absolute: OnceCell::new() }
    }

    pub fn path_matches(&self, globs: &PathGlobs) -> bool {
        globs.matches(&self.name, &self.path, || self.absolute())
    }

    fn absolute(&self) -> &[u8] {
        self.absolute.get_or_init(|| {
            let root = self.facts.root.strip_suffix(b"/").unwrap_or(self.facts.root);
            [root, self.facts.path].join(&b'/')
        })
    }
}

impl Condition {
    /// Whether the file satisfies this; `classes` are the set's.
    pub fn holds(&self, context: &Context<'_>, classes: &[Condition], ages: Ages) -> bool {
        match self {
            Self::Test(test) => test.holds(context, ages),
            Self::Class(index) => classes[*index].holds(context, classes, ages),
            Self::All(parts) => parts.iter().all(|part| part.holds(context, classes, ages)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(context, classes, ages)),
            // Waiving an age inside `not` would forbid what it is to allow.
            Self::Not(part) => !part.holds(context, classes, Ages::Bind),
        }
    }

    /// How dear the dearest test in it is; `class_costs` of those it refers to.
    pub fn cost(&self, class_costs: &[u8]) -> u8 {
        match self {
            Self::Test(test) => test.cost(),
            Self::Class(index) => class_costs[*index],
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().map(|part| part.cost(class_costs)).max().unwrap_or(0)
            }
            Self::Not(part) => part.cost(class_costs),
        }
    }

    /// Puts the cheap parts first, at every level; the meaning stays.
    pub fn sort_by_cost(&mut self, class_costs: &[u8]) {
        match self {
            Self::Test(_) | Self::Class(_) => {}
            Self::Not(part) => part.sort_by_cost(class_costs),
            Self::All(parts) | Self::Any(parts) => {
                for part in parts.iter_mut() {
                    part.sort_by_cost(class_costs);
                }
                parts.sort_by_key(|part| part.cost(class_costs));
            }
        }
    }

    /// Calls `visit` with every class that this refers to directly.
    pub fn for_each_class(&self, visit: &mut dyn FnMut(usize)) {
        match self {
            Self::Test(_) => {}
            Self::Class(index) => visit(*index),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.for_each_class(visit));
            }
            Self::Not(part) => part.for_each_class(visit),
        }
    }
}

impl Test {
    fn cost(&self) -> u8 {
        match self {
            Self::Owner(_) | Self::Group(_) => 1,
            Self::Root(_) | Self::Name(_) => 2,
            Self::Include(_) | Self::Exclude(_) => 3,
            Self::Xattr(..) => 4,
            _ => 0,
        }
    }

    /// The key it is written with.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Root(_) => "root",
            Self::Include(_) => "include",
            Self::Exclude(_) => "exclude",
            Self::Name(_) => "file_name",
            Self::MinSize(_) => "min_size",
            Self::MaxSize(_) => "max_size",
            Self::Owner(_) => "owner",
            Self::Group(_) => "group",
            Self::ModeAny(_) => "mode_any",
            Self::ModeAll(_) => "mode_all",
            Self::ModeNone(_) => "mode_none",
            Self::NlinkMax(_) => "nlink_max",
            Self::Older(age, _) => age.key(),
            Self::State(_) => "state",
            Self::Xattr(..) => "xattr",
        }
    }

    pub fn holds(&self, context: &Context<'_>, ages: Ages) -> bool {
        let facts = context.facts;
        match self {
            Self::Root(globs) => globs.matches(facts.root),
            Self::Include(globs) => context.path_matches(globs),
            Self::Exclude(globs) => !context.path_matches(globs),
            Self::Name(globs) => globs.matches(facts.name),
            Self::MinSize(bytes) => facts.size_bytes >= *bytes,
            Self::MaxSize(bytes) => facts.size_bytes <= *bytes,
            Self::Owner(owners) => owners.ids.contains(&facts.uid),
            Self::Group(groups) => groups.ids.contains(&facts.gid),
            Self::ModeAny(bits) => facts.mode & bits != 0,
            Self::ModeAll(bits) => facts.mode & bits == *bits,
            Self::ModeNone(bits) => facts.mode & bits == 0,
            Self::NlinkMax(most) => facts.nlink <= *most,
            Self::Older(age, limit_ns) => {
                ages == Ages::Waived
                    || age.of(facts, context.now_ns).is_none_or(|age_ns| age_ns >= *limit_ns)
            }
            Self::State(states) => states.contains(facts.state),
            Self::Xattr(name, wanted) => match (wanted, (facts.xattr)(name)) {
                (Wanted::Present, value) => value.is_some(),
                (Wanted::Absent, value) => value.is_none(),
                (Wanted::Value(globs), Some(value)) => globs.matches(&value),
                (Wanted::Value(_), None) => false,
            },
        }
    }
}
