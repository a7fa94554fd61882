//! The `[guard]` section: where the guard's socket is, how long a recall may
//! take, and which programs may have files recalled at all.
//!
//! Rules are tried in order and the first that matches decides; who matches
//! none has the file recalled. A rule with presets is written out as several. Within one rule every key that is given must
//! match, and one value of its list is enough. Globs are those of the policy
//! language; they are checked here and compiled by the guard, as user names are
//! resolved by it: this room asks no system.

use super::parse::{path, required};
use super::presets::{GuardPreset, PRESETS};
use crate::document::{Item, Place, Section};
use crate::policy::{BadGlob, PathGlobsBuilder, Reach, Style};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeValue;

const KEYS: [&str; 7] = ["run_dir", "first_byte", "idle", "workers", "metrics", "rule", "budget"];
const RULE_KEYS: [&str; 7] = ["name", "preset", "exe", "cgroup", "user", "action", "errno"];
const BUDGET_KEYS: [&str; 6] =
    ["per", "bytes_per_hour", "files_per_hour", "errno", "except_users", "except_programs"];
/// `sun_path` of unix(7) without its final zero.
const SOCKET_PATH_BYTES: usize = 107;
/// As `os::local_socket` has it.
const SOCKET_NAME_BYTES: usize = 80;
const SOCKET: &str = "guard.sock";

/// What `hsm recall-guard` goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardSection {
    /// The directory of the guard's socket; lost with a reboot.
    pub run_dir: PathBuf,
    /// Until the first byte of a recall has come.
    pub first_byte: Duration,
    /// Without any progress after that.
    pub idle: Duration,
    /// Recalls at the same time.
    pub workers: usize,
    /// Where a scraper finds the guard's metrics; nowhere unless it is said.
    pub metrics: Option<MetricsAt>,
    /// In order; the first that matches decides.
    pub rules: Vec<GuardRule>,
    pub budget: Option<GuardBudget>,
}

/// Where a scraper finds the guard's metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsAt {
    /// A Unix socket.
    Unix(PathBuf),
    /// An address of the loopback.
    Tcp(SocketAddr),
}

impl fmt::Display for MetricsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// Who is recalled for, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardRule {
    /// What people and logs call it; its presets or its number if it has no other
    /// name. The ways of a preset are rules of one name, one after the other.
    pub name: String,
    /// The preset that it is a way of.
    pub preset: Option<&'static str>,
    /// Globs over the program's absolute path; empty asks nothing.
    pub exe: Vec<String>,
    /// Globs over the path in the unified hierarchy, or a unit's name.
    pub cgroup: Vec<String>,
    pub user: Vec<GuardUser>,
    pub action: GuardAction,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuardUser {
    /// Written `"*"`.
    Anyone,
    Uid(u32),
    /// Resolved by the guard when it starts.
    Name(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuardAction {
    Recall,
    Deny(DenyErrno),
}

/// What a program that is denied sees. The kernel accepts few more
/// (`FAN_ERRNO`, Linux 6.14); those say that a disk is full and would be lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyErrno {
    Eperm,
    Eio,
    Eagain,
    Ebusy,
}

/// How much may be recalled within an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardBudget {
    pub per: BudgetPer,
    /// At least one of the two is set.
    pub bytes_per_hour: Option<u64>,
    pub files_per_hour: Option<u64>,
    /// `Eagain` or `Ebusy`.
    pub errno: DenyErrno,
    pub except_users: Vec<GuardUser>,
    /// Globs as those of [`GuardRule::exe`].
    pub except_programs: Vec<String>,
}

/// Whose recalls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetPer {
    User,
    Program,
    Process,
}

impl GuardSection {
    /// What holds where nothing is said. The system's own state directory has
    /// its run directory in `/run`.
    pub fn of_state_dir(state_dir: &Path) -> Self {
        let system = state_dir == Path::new("/var/lib/hsm");
        Self {
            run_dir: if system { PathBuf::from("/run/hsm") } else { state_dir.join("run") },
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            workers: 4,
            metrics: None,
            rules: Vec::new(),
            budget: None,
        }
    }

    /// Where the guard listens.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join(SOCKET)
    }
}

impl DenyErrno {
    pub(super) const ALL: [(&'static str, Self); 4] = [
        ("EPERM", Self::Eperm),
        ("EIO", Self::Eio),
        ("EAGAIN", Self::Eagain),
        ("EBUSY", Self::Ebusy),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eperm => "EPERM",
            Self::Eio => "EIO",
            Self::Eagain => "EAGAIN",
            Self::Ebusy => "EBUSY",
        }
    }

    /// The number, as in errno(3).
    pub fn raw(self) -> i32 {
        match self {
            Self::Eperm => libc::EPERM,
            Self::Eio => libc::EIO,
            Self::Eagain => libc::EAGAIN,
            Self::Ebusy => libc::EBUSY,
        }
    }
}

impl BudgetPer {
    const ALL: [(&'static str, Self); 3] =
        [("user", Self::User), ("program", Self::Program), ("process", Self::Process)];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Program => "program",
            Self::Process => "process",
        }
    }
}

/// The globs of one list of programs: over the absolute path, or, without a
/// slash, over the program's own name.
pub fn exe_globs() -> PathGlobsBuilder {
    PathGlobsBuilder::new(Style { reach: Reach::Exact, ignore_case: false })
}

/// The globs of one list of control groups. A group is covered by the name or
/// path of any group above it, so that a unit's name covers what it starts.
pub fn cgroup_globs() -> PathGlobsBuilder {
    PathGlobsBuilder::new(Style { reach: Reach::Below, ignore_case: false })
}

/// The section, or its defaults; problems are noted in the document.
pub(super) fn read(top: &Section<'_, '_>, state_dir: &Path) -> GuardSection {
    let mut guard = GuardSection::of_state_dir(state_dir);
    let section = top.item("guard").and_then(|item| item.section("[guard]", &KEYS));
    let Some(section) = section else { return guard };
    if let Some(item) = section.item("run_dir") {
        guard.run_dir = read_run_dir(&item).unwrap_or(guard.run_dir);
    }
    guard.first_byte = read_deadline(&section, "first_byte").unwrap_or(guard.first_byte);
    guard.idle = read_deadline(&section, "idle").unwrap_or(guard.idle);
    let workers = section.integer("workers", 1..=64);
    guard.workers = workers.and_then(|count| usize::try_from(count).ok()).unwrap_or(guard.workers);
    guard.metrics = section.item("metrics").and_then(|item| read_metrics(&item, &guard.run_dir));
    guard.rules = read_rules(&section);
    guard.budget = section.item("budget").and_then(|item| read_budget(&item));
    guard
}

fn read_run_dir(item: &Item<'_, '_>) -> Option<PathBuf> {
    let run_dir = path(item)?;
    if run_dir.join(SOCKET).as_os_str().len() > SOCKET_PATH_BYTES {
        item.problem(
            format!("the path of a socket in {} is too long", run_dir.display()),
            "a socket's path has at most 107 bytes; write a shorter one, such as /run/hsm",
        );
        return None;
    }
    Some(run_dir)
}

fn read_metrics(item: &Item<'_, '_>, run_dir: &Path) -> Option<MetricsAt> {
    const MEND: &str = "write \"unix:/run/hsm/metrics.sock\" or \"127.0.0.1:9123\"";
    let text = item.text()?;
    let bad = |why: &str| {
        item.problem(format!("bad place for metrics {text:?}: {why}"), MEND);
        None
    };
    if let Some(socket) = text.strip_prefix("unix:") {
        let socket = PathBuf::from(socket);
        let name = socket.file_name().map_or(0, |name| name.len());
        return match () {
            () if !socket.is_absolute() => bad("a socket's path is absolute"),
            () if name == 0 || text.ends_with('/') => bad("it names no socket"),
            () if socket.as_os_str().len() > SOCKET_PATH_BYTES || name > SOCKET_NAME_BYTES => {
                bad("a socket's path has at most 107 bytes and its name 80")
            }
            () if socket == run_dir.join(SOCKET) => bad("that is the guard's own socket"),
            () => Some(MetricsAt::Unix(socket)),
        };
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if !address.ip().is_loopback() => {
            bad("only the loopback, where no other machine asks")
        }
        Ok(address) if address.port() == 0 => bad("a port from 1 to 65535"),
        Ok(address) => Some(MetricsAt::Tcp(address)),
        Err(_) => bad("neither a Unix socket nor an address with a port"),
    }
}

/// Shorter and no store could answer; longer and a reader waits for ever.
fn read_deadline(section: &Section<'_, '_>, key: &str) -> Option<Duration> {
    let deadline = section.duration(key)?;
    if (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&deadline) {
        return Some(deadline);
    }
    let item = section.item(key)?;
    item.problem(format!("{key} is out of range"), "write a duration from 1s to 1h");
    None
}

fn read_rules(guard: &Section<'_, '_>) -> Vec<GuardRule> {
    let mut places = BTreeMap::new();
    let tables = guard.tables("rule");
    let numbered = tables.iter().zip(1..);
    numbered.flat_map(|(item, number)| read_rule(item, number, &mut places)).collect()
}

/// `places` holds where the names before this one stand; who gives no name is
/// called by the rule's presets or its `number`.
fn read_rule(
    item: &Item<'_, '_>,
    number: usize,
    places: &mut BTreeMap<String, Place>,
) -> Vec<GuardRule> {
    let Some(mut section) = item.open_section(format!("guard rule {number}")) else {
        return Vec::new();
    };
    if let Some(name) = section.text("name") {
        section.retitle(format!("guard rule {name:?}"));
    }
    section.only(&RULE_KEYS);
    let presets = section.item("preset").map(|item| read_presets(&item)).unwrap_or_default();
    let name = match section.item("name") {
        Some(item) => read_name(&item, places),
        None if presets.is_empty() => Some(number.to_string()),
        None => Some(presets.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ")),
    };
    if !["preset", "exe", "cgroup", "user"].iter().any(|key| section.has(key)) {
        let what = format!("{} does not say whom it is for", section.title());
        section.problem(what, "add preset, exe, cgroup or user; user = \"*\" is everybody");
    }
    only_once(&section);
    let exe = section.item("exe").map(|item| read_exe(&item));
    let cgroup = section.item("cgroup").map(|item| read_cgroup(&item));
    let user = section.item("user").map(|item| read_users(&item)).unwrap_or_default();
    let (Some(name), Some((deny, errno))) = (name, read_action(&section)) else {
        return Vec::new();
    };
    let action = |usual: DenyErrno| match deny {
        true => GuardAction::Deny(errno.unwrap_or(usual)),
        false => GuardAction::Recall,
    };
    if section.has("preset") {
        let written = |preset: &'static GuardPreset| {
            let (name, user, action) = (name.clone(), user.clone(), action(preset.errno));
            preset.ways.iter().map(move |way| GuardRule {
                name: name.clone(),
                preset: Some(preset.name),
                exe: way.exe.iter().map(|glob| (*glob).to_owned()).collect(),
                cgroup: way.cgroup.iter().map(|glob| (*glob).to_owned()).collect(),
                user: user.clone(),
                action,
            })
        };
        return presets.into_iter().flat_map(written).collect();
    }
    let (exe, cgroup) = (exe.unwrap_or_default(), cgroup.unwrap_or_default());
    vec![GuardRule { name, preset: None, exe, cgroup, user, action: action(DenyErrno::Eperm) }]
}

fn only_once(rule: &Section<'_, '_>) {
    for key in ["exe", "cgroup"] {
        if let Some(item) = rule.item(key).filter(|_| rule.has("preset")) {
            item.problem(
                format!("{key} beside a preset: it would say twice which program is meant"),
                format!("remove one of the two, or write a rule of its own with {key}"),
            );
        }
    }
}

fn read_presets(item: &Item<'_, '_>) -> Vec<&'static GuardPreset> {
    let known: Vec<(&str, &'static GuardPreset)> =
        PRESETS.iter().map(|preset| (preset.name, preset)).collect();
    item.one_or_more().iter().filter_map(|item| item.word("preset", &known)).collect()
}

fn read_name(item: &Item<'_, '_>, places: &mut BTreeMap<String, Place>) -> Option<String> {
    let name = item.text()?;
    if name.trim().is_empty() {
        item.problem("a guard rule without a name", "name it by what it is for");
        return None;
    }
    if let Some(earlier) = places.insert(name.to_owned(), item.place()) {
        let what = format!("guard rule {name:?} is already defined at {earlier}");
        item.problem(what, "rename or remove one of the two");
    }
    Some(name.to_owned())
}

/// Whether it denies, and the error that it names.
fn read_action(rule: &Section<'_, '_>) -> Option<(bool, Option<DenyErrno>)> {
    let known = [("recall", false), ("deny", true)];
    let deny = required(rule, "action", "deny").and_then(|item| item.word("action", &known));
    let errno = rule.item("errno").and_then(|item| item.word("errno", &DenyErrno::ALL));
    let deny = deny?;
    if let Some(item) = rule.item("errno").filter(|_| !deny) {
        item.problem(
            format!("{} recalls, so nobody sees its errno", rule.title()),
            "remove errno, or write action = \"deny\"",
        );
    }
    Some((deny, errno))
}

fn read_budget(item: &Item<'_, '_>) -> Option<GuardBudget> {
    let section = item.section("[guard.budget]", &BUDGET_KEYS)?;
    let per = required(&section, "per", "user").and_then(|item| item.word("per", &BudgetPer::ALL));
    let bytes_per_hour = section.size("bytes_per_hour");
    if let (Some(0), Some(item)) = (bytes_per_hour, section.item("bytes_per_hour")) {
        item.problem("a budget of nothing", "write a size, or a rule with action = \"deny\"");
    }
    let files = section.integer("files_per_hour", 1..=i64::MAX);
    if !section.has("bytes_per_hour") && !section.has("files_per_hour") {
        section.problem(
            "[guard.budget] has no amount",
            "add bytes_per_hour = \"100GiB\" or files_per_hour = 1000",
        );
    }
    let known = DenyErrno::ALL.map(|(word, errno)| (word, errno));
    let errno = section.item("errno").and_then(|item| item.word("errno", &known[2..]));
    let users = section.item("except_users").map(|item| read_users(&item));
    let programs = section.item("except_programs").map(|item| read_exe(&item));
    Some(GuardBudget {
        per: per?,
        bytes_per_hour,
        files_per_hour: files.map(i64::cast_unsigned),
        errno: errno.unwrap_or(DenyErrno::Eagain),
        except_users: users.unwrap_or_default(),
        except_programs: programs.unwrap_or_default(),
    })
}

fn read_users(item: &Item<'_, '_>) -> Vec<GuardUser> {
    item.one_or_more().iter().filter_map(read_user).collect()
}

/// A name or a number, with or without quotes.
fn read_user(item: &Item<'_, '_>) -> Option<GuardUser> {
    if let DeValue::Integer(_) = item.value() {
        let uid = item.integer(0..=i64::from(u32::MAX))?;
        return u32::try_from(uid).ok().map(GuardUser::Uid);
    }
    let text = item.text()?;
    if text.trim().is_empty() || text.contains(['*', ':', '/']) && text != "*" {
        let mend = "write a name of /etc/passwd, a number, or \"*\" for everybody";
        item.problem(format!("bad user {text:?}"), mend);
        return None;
    }
    Some(match text.parse() {
        _ if text == "*" => GuardUser::Anyone,
        Ok(uid) => GuardUser::Uid(uid),
        Err(_) => GuardUser::Name(text.to_owned()),
    })
}

fn read_exe(item: &Item<'_, '_>) -> Vec<String> {
    read_globs(item, exe_globs(), "a program's path is absolute: begin it with a slash")
}

fn read_cgroup(item: &Item<'_, '_>) -> Vec<String> {
    let mend = "begin it with a slash, as in /system.slice/*.service, or write a unit's name alone";
    read_globs(item, cgroup_globs(), mend)
}

/// Globs that are an absolute path or one name; `mend` is for those between.
fn read_globs(item: &Item<'_, '_>, mut globs: PathGlobsBuilder, mend: &str) -> Vec<String> {
    let mut good = Vec::new();
    for item in item.one_or_more() {
        let Some(text) = item.text() else { continue };
        if text.contains('/') && !text.starts_with('/') {
            item.problem(format!("bad glob {text:?}: neither a path nor a name"), mend);
            continue;
        }
        match globs.add(text) {
            Ok(()) => good.push(text.to_owned()),
            Err(error @ BadGlob { .. }) => item.problem(error.to_string(), "correct the glob"),
        }
    }
    good
}
