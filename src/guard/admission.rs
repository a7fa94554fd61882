//! Whether a file is recalled for whoever opened it.
//!
//! Pure: who asks and what time it is come in, a [`Verdict`] goes out. The
//! configuration's rules decide first, in order; then the budget, which is spent
//! only by what was admitted. A program that cannot be told (its `/proc` entry
//! is gone, or it is a thread of the kernel, as those of an NFS server are) has
//! no path and matches no rule that asks for one.
//!
//! The budget slides: what was recalled in a minute counts until sixty whole
//! minutes later, so that no hour, wherever it begins, holds more than the
//! budget. Memory is bounded: of more than [`MOST_KEYS`] users, programs or
//! processes the one that has spent least is forgotten.

use crate::config::{
    BudgetPer, DenyErrno, GuardAction, GuardBudget, GuardRule, GuardSection, GuardUser,
    cgroup_globs, exe_globs,
};
use crate::policy::{BadGlob, PathGlobs, PathGlobsBuilder};
use crate::units;
use globset::Candidate;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many users, programs or processes have a budget of their own.
const MOST_KEYS: usize = 10_000;
const MINUTE_NS: i64 = 60_000_000_000;
/// What is spent counts in its own minute and in as many after it.
const WINDOW_MINUTES: i64 = 60;
/// The kernel's mark on `/proc/PID/exe` once the file was replaced, as an
/// upgrade does under a running service (proc_pid_exe(5)).
const DELETED: &[u8] = b" (deleted)";

/// Who caused an event.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    pub pid: i32,
    /// The one that the kernel checks permissions with.
    pub uid: u32,
    /// As `/proc/PID/exe` shows it.
    pub exe: Option<&'a Path>,
    /// As `/proc/PID/cgroup` shows it for the unified hierarchy.
    pub cgroup: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Recall,
    /// `why` is one line for the log.
    Deny {
        errno: i32,
        why: String,
    },
}

/// What a configuration means on this machine, if it means anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    #[error("{place} names the user {user:?}, whom this machine does not have")]
    UnknownUser { place: String, user: String },
    #[error("{place} has a glob that does not compile")]
    BadGlob { place: String, source: BadGlob },
}

/// The rules and the budget, with what has been spent of it.
#[derive(Debug)]
pub struct Admission {
    rules: Vec<Rule>,
    budget: Option<Budget>,
}

impl Admission {
    /// `uid_of` resolves a user's name.
    pub fn new(
        section: &GuardSection,
        uid_of: &dyn Fn(&str) -> Option<u32>,
    ) -> Result<Self, AdmissionError> {
        let rules = section.rules.iter().map(|rule| Rule::new(rule, uid_of));
        let budget = section.budget.as_ref().map(|budget| Budget::new(budget, uid_of));
        Ok(Self { rules: rules.collect::<Result<_, _>>()?, budget: budget.transpose()? })
    }

    /// Whether a file of `bytes` is recalled for `who`; if so, it is spent.
    pub fn decide(&mut self, who: &Who<'_>, bytes: u64, now_ns: i64) -> Verdict {
        match (self.permit(who), &mut self.budget) {
            (Verdict::Recall, Some(budget)) => budget.spend(who, bytes, now_ns),
            (verdict, _) => verdict,
        }
    }

    /// By the rules alone: for who joins a recall that somebody else pays for.
    pub fn permit(&self, who: &Who<'_>) -> Verdict {
        let rule = self.rules.iter().find(|rule| rule.matches(who));
        match rule {
            Some(Rule { name, action: GuardAction::Deny(errno), .. }) => {
                Verdict::Deny { errno: errno.raw(), why: format!("guard rule {name:?}") }
            }
            _ => Verdict::Recall,
        }
    }

    /// Gives back what was spent for a recall that failed.
    pub fn refund(&mut self, who: &Who<'_>, bytes: u64) {
        if let Some(budget) = &mut self.budget {
            budget.refund(who, bytes);
        }
    }
}

/// Each list that is there must match.
#[derive(Debug)]
struct Rule {
    name: String,
    exe: Option<Programs>,
    cgroup: Option<PathGlobs>,
    user: Option<Users>,
    action: GuardAction,
}

impl Rule {
    fn new(rule: &GuardRule, uid_of: &dyn Fn(&str) -> Option<u32>) -> Result<Self, AdmissionError> {
        let place = format!("guard rule {:?}", rule.name);
        let cgroup = || compile(&place, cgroup_globs(), &rule.cgroup);
        Ok(Self {
            exe: (!rule.exe.is_empty()).then(|| Programs::new(&place, &rule.exe)).transpose()?,
            cgroup: (!rule.cgroup.is_empty()).then(cgroup).transpose()?,
            user: (!rule.user.is_empty())
                .then(|| Users::new(&place, &rule.user, uid_of))
                .transpose()?,
            name: rule.name.clone(),
            action: rule.action,
        })
    }

    fn matches(&self, who: &Who<'_>) -> bool {
        self.user.as_ref().is_none_or(|users| users.contain(who.uid))
            && self.exe.as_ref().is_none_or(|programs| programs.contain(who.exe))
            && self.cgroup.as_ref().is_none_or(|groups| contains(groups, who.cgroup))
    }
}

fn compile(
    place: &str,
    mut globs: PathGlobsBuilder,
    written: &[String],
) -> Result<PathGlobs, AdmissionError> {
    let bad = |source| AdmissionError::BadGlob { place: place.to_owned(), source };
    for glob in written {
        globs.add(glob).map_err(bad)?;
    }
    globs.build().map_err(bad)
}

/// A control group is a path; a unit's name is one component of it.
fn contains(groups: &PathGlobs, group: Option<&str>) -> bool {
    group.is_some_and(|group| matches(groups, group.as_bytes()))
}

fn matches(globs: &PathGlobs, path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let from_root = path.strip_prefix(b"/").unwrap_or(path);
    globs.matches(&Candidate::from_bytes(name), &Candidate::from_bytes(from_root), || path)
}

#[derive(Debug)]
struct Programs(PathGlobs);

impl Programs {
    fn new(place: &str, written: &[String]) -> Result<Self, AdmissionError> {
        compile(place, exe_globs(), written).map(Self)
    }

    fn contain(&self, exe: Option<&Path>) -> bool {
        exe.is_some_and(|exe| matches(&self.0, program(exe)))
    }
}

/// The program's path, also where its file has been replaced meanwhile.
fn program(exe: &Path) -> &[u8] {
    let shown = exe.as_os_str().as_bytes();
    shown.strip_suffix(DELETED).unwrap_or(shown)
}

#[derive(Debug, Default)]
struct Users {
    anyone: bool,
    uids: BTreeSet<u32>,
}

impl Users {
    fn new(
        place: &str,
        written: &[GuardUser],
        uid_of: &dyn Fn(&str) -> Option<u32>,
    ) -> Result<Self, AdmissionError> {
        let mut users = Self::default();
        for user in written {
            match user {
                GuardUser::Anyone => users.anyone = true,
                GuardUser::Uid(uid) => _ = users.uids.insert(*uid),
                GuardUser::Name(name) => {
                    let unknown = || AdmissionError::UnknownUser {
                        place: place.to_owned(),
                        user: name.clone(),
                    };
                    users.uids.insert(uid_of(name).ok_or_else(unknown)?);
                }
            }
        }
        Ok(users)
    }

    fn contain(&self, uid: u32) -> bool {
        self.anyone || self.uids.contains(&uid)
    }
}

/// Whose recalls are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    User(u32),
    /// `None` is everyone whose program cannot be told.
    Program(Option<PathBuf>),
    Process(i32),
}

impl Key {
    fn to_words(&self) -> String {
        match self {
            Self::User(uid) => format!("user {uid}"),
            Self::Program(Some(path)) => format!("program {}", path.display()),
            Self::Program(None) => "programs that cannot be told".to_owned(),
            Self::Process(pid) => format!("process {pid}"),
        }
    }
}

#[derive(Debug)]
struct Budget {
    per: BudgetPer,
    /// `u64::MAX` is no limit.
    most_bytes: u64,
    most_files: u64,
    errno: DenyErrno,
    except_users: Users,
    except_programs: Programs,
    spent: BTreeMap<Key, Spent>,
    /// The latest minute seen, so that a clock that steps back a little does
    /// not bring back what has been spent.
    minute: i64,
}

impl Budget {
    fn new(
        budget: &GuardBudget,
        uid_of: &dyn Fn(&str) -> Option<u32>,
    ) -> Result<Self, AdmissionError> {
        let place = "[guard.budget]";
        Ok(Self {
            per: budget.per,
            most_bytes: budget.bytes_per_hour.unwrap_or(u64::MAX),
            most_files: budget.files_per_hour.unwrap_or(u64::MAX),
            errno: budget.errno,
            except_users: Users::new(place, &budget.except_users, uid_of)?,
            except_programs: Programs::new(place, &budget.except_programs)?,
            spent: BTreeMap::new(),
            minute: i64::MIN,
        })
    }

    /// `None` for whom the budget does not hold.
    fn key(&self, who: &Who<'_>) -> Option<Key> {
        if self.except_users.contain(who.uid) || self.except_programs.contain(who.exe) {
            return None;
        }
        Some(match self.per {
            BudgetPer::User => Key::User(who.uid),
            BudgetPer::Program => {
                let path = |exe| Path::new(std::ffi::OsStr::from_bytes(program(exe))).to_owned();
                Key::Program(who.exe.map(path))
            }
            BudgetPer::Process => Key::Process(who.pid),
        })
    }

    fn spend(&mut self, who: &Who<'_>, bytes: u64, now_ns: i64) -> Verdict {
        let Some(key) = self.key(who) else { return Verdict::Recall };
        let minute = self.tick(now_ns);
        if let Some(spent) = self.spent.get_mut(&key) {
            spent.forget_before(minute - WINDOW_MINUTES);
            // An untouched budget takes one file of any size: else a file larger
            // than the whole could never be had.
            if !spent.is_empty() && !self.has_room(&self.spent[&key], bytes) {
                return self.refusal(&key, bytes, minute);
            }
        } else {
            self.make_room(minute);
        }
        self.spent.entry(key).or_default().add(minute, bytes);
        Verdict::Recall
    }

    /// The minute it is. A clock that was set back by more than the window
    /// starts everybody's budget anew: what is spent would never expire.
    fn tick(&mut self, now_ns: i64) -> i64 {
        let now = now_ns.div_euclid(MINUTE_NS);
        if now < self.minute.saturating_sub(WINDOW_MINUTES) {
            self.spent.clear();
            self.minute = now;
        }
        self.minute = self.minute.max(now);
        self.minute
    }

    fn has_room(&self, spent: &Spent, bytes: u64) -> bool {
        let fits = |bytes: u64| bytes <= self.most_bytes;
        spent.bytes.checked_add(bytes).is_some_and(fits) && spent.files < self.most_files
    }

    fn refusal(&self, key: &Key, bytes: u64, minute: i64) -> Verdict {
        let mut left = self.spent[key].clone();
        let (spent_bytes, spent_files) = (left.bytes, left.files);
        let waits = 1..=WINDOW_MINUTES + 1;
        let minutes = waits.clone().find(|wait| {
            left.forget_before(minute + wait - WINDOW_MINUTES);
            left.is_empty() || self.has_room(&left, bytes)
        });
        let minutes = minutes.unwrap_or(*waits.end());
        let why = format!(
            "the hourly budget of {} is spent: {spent_files} files of {}; {} fit again in {minutes} min",
            key.to_words(),
            units::format_size(spent_bytes),
            units::format_size(bytes),
        );
        Verdict::Deny { errno: self.errno.raw(), why }
    }

    /// Before another key comes in: at the limit the expired go, and if there
    /// are none, whoever has spent the smallest share.
    fn make_room(&mut self, minute: i64) {
        if self.spent.len() < MOST_KEYS {
            return;
        }
        self.spent.retain(|_, spent| {
            spent.forget_before(minute - WINDOW_MINUTES);
            !spent.is_empty()
        });
        if self.spent.len() >= MOST_KEYS {
            let share = |spent: &Spent| {
                let bytes = spent.bytes as f64 / self.most_bytes as f64;
                bytes.max(spent.files as f64 / self.most_files as f64)
            };
            let least = self.spent.iter().min_by(|a, b| share(a.1).total_cmp(&share(b.1)));
            if let Some(key) = least.map(|(key, _)| key.clone()) {
                self.spent.remove(&key);
            }
        }
    }

    fn refund(&mut self, who: &Who<'_>, bytes: u64) {
        let Some(key) = self.key(who) else { return };
        if let Some(spent) = self.spent.get_mut(&key) {
            spent.take_back(bytes);
            if spent.is_empty() {
                self.spent.remove(&key);
            }
        }
    }
}

/// What one key has spent, by minute, oldest first; minutes without a recall
/// are not kept.
#[derive(Debug, Clone, Default)]
struct Spent {
    minutes: VecDeque<Minute>,
    bytes: u64,
    files: u64,
}

#[derive(Debug, Clone, Copy)]
struct Minute {
    at: i64,
    bytes: u64,
    files: u64,
}

impl Spent {
    fn is_empty(&self) -> bool {
        self.minutes.is_empty()
    }

    fn add(&mut self, at: i64, bytes: u64) {
        if self.minutes.back().is_none_or(|last| last.at != at) {
            self.minutes.push_back(Minute { at, bytes: 0, files: 0 });
        }
        let last = self.minutes.back_mut().expect("one was just made sure of");
        // The sums stay those of the minutes: a file has less than 2^63 bytes,
        // and the second one is admitted only if the sum fits.
        last.bytes = last.bytes.saturating_add(bytes);
        last.files += 1;
        self.recount();
    }

    fn forget_before(&mut self, minute: i64) {
        while self.minutes.front().is_some_and(|first| first.at < minute) {
            self.minutes.pop_front();
        }
        self.recount();
    }

    /// One file less, from the latest minutes: a recall that fails does so soon
    /// after it was admitted.
    fn take_back(&mut self, bytes: u64) {
        let mut owed = bytes;
        for minute in self.minutes.iter_mut().rev() {
            let taken = owed.min(minute.bytes);
            minute.bytes -= taken;
            owed -= taken;
        }
        if let Some(minute) = self.minutes.iter_mut().rev().find(|minute| minute.files > 0) {
            minute.files -= 1;
        }
        self.minutes.retain(|minute| minute.files > 0 || minute.bytes > 0);
        self.recount();
    }

    fn recount(&mut self) {
        self.bytes = self.minutes.iter().fold(0, |sum, minute| sum.saturating_add(minute.bytes));
        self.files = self.minutes.iter().map(|minute| minute.files).sum();
    }
}

#[cfg(test)]
mod tests;
