//! The rules, each a function from one file to what is wrong with it.

use super::source::{Source, line_of};
use std::fmt;

/// A broken rule at a place.
pub struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.what)
    }
}

fn finding(source: &Source, line: usize, what: impl Into<String>) -> Finding {
    Finding { file: source.file.clone(), line, what: what.into() }
}

/// Every `crate::room` must be on a lower floor, or named as an exception.
pub fn imports(source: &Source, floors: &[(&str, u8)], same: &[(&str, &str)]) -> Vec<Finding> {
    let room = source.room();
    if room == "lib" || room == "main" {
        return Vec::new();
    }
    let floor_of = |name: &str| floors.iter().find(|(known, _)| *known == name).map(|(_, at)| *at);
    let Some(own) = floor_of(room) else {
        return vec![finding(source, 1, format!("the room `{room}` is on no floor"))];
    };
    let mut findings = Vec::new();
    for (line, used) in used_rooms(source) {
        let allowed = used == room || same.contains(&(room, used.as_str()));
        match floor_of(&used) {
            None => findings.push(finding(source, line, format!("`crate::{used}` is no room"))),
            Some(floor) if floor >= own && !allowed => {
                findings.push(finding(source, line, format!("`{room}` may not import `{used}`")));
            }
            Some(_) => {}
        }
    }
    findings
}

/// The rooms after `crate::`, those of `crate::{a, b::{c}}` one by one.
fn used_rooms(source: &Source) -> Vec<(usize, String)> {
    let mut rooms = Vec::new();
    for (at, found) in source.code.match_indices("crate::") {
        let line = line_of(&source.code, at);
        let rest = &source.code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                rooms.extend(group_heads(group).into_iter().map(|head| (line, head)));
            }
            None => rooms.push((line, head(rest))),
        }
    }
    rooms
}

fn head(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// First names of a brace group whose `{` is already passed.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = vec![head(group)];
    let mut depth = 1;
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.push(head(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// Every one of `needles` outside the rooms where `allowed` says it may be.
fn only_in(source: &Source, allowed: bool, needles: &[&str], why: &str) -> Vec<Finding> {
    if allowed {
        return Vec::new();
    }
    let at = |needle: &&str| {
        let what = format!("`{needle}`: {why}");
        source.lines_with(needle).into_iter().map(move |line| finding(source, line, what.clone()))
    };
    needles.iter().flat_map(at).collect()
}

pub fn printing(source: &Source) -> Vec<Finding> {
    let needles =
        ["print!", "println!", "eprint!", "eprintln!", "dbg!", "io::stdout", "io::stderr"];
    only_in(source, source.room() == "cli", &needles, "only cli prints")
}

pub fn unsafe_code(source: &Source) -> Vec<Finding> {
    only_in(source, source.room() == "os", &["unsafe"], "all unsafe code lives in os")
}

pub fn sdk(source: &Source) -> Vec<Finding> {
    let needles = [
        "aws_sdk_s3",
        "aws_config",
        "aws_smithy_types",
        "aws_types",
        "tokio",
        "hyper",
        "opendal",
        "openssh",
    ];
    only_in(source, is_remote(source), &needles, "SDK types live with the remote stores")
}

pub fn asynchronous(source: &Source) -> Vec<Finding> {
    only_in(source, is_remote(source), &["async", ".await"], "async lives with the remote stores")
}

/// The backends that speak to another machine, and the wait for its answer.
fn is_remote(source: &Source) -> bool {
    ["store/s3", "store/swift", "store/more", "store/sockets"]
        .iter()
        .any(|room| source.file.starts_with(room))
}

pub fn clock(source: &Source) -> Vec<Finding> {
    let needles = ["SystemTime::now", "Instant::now", "Utc::now", "Local::now"];
    only_in(source, source.room() == "clock", &needles, "only clock reads the time")
}

/// `fault` reads its own variables, which exist only in test builds. Those of
/// `os/service_manager` are no settings: they are how the service manager speaks
/// to the process that it started (sd_notify(3), sd_listen_fds(3)).
pub fn environment(source: &Source) -> Vec<Finding> {
    let allowed =
        matches!(source.room(), "cli" | "fault" | "main") || source.file == "os/service_manager.rs";
    let needles =
        ["env::var", "env::var_os", "env::vars", "env::args", "env::args_os", "sd_notify"];
    only_in(source, allowed, &needles, "only cli reads the environment")
}

pub fn proofs(source: &Source) -> Vec<Finding> {
    let room = source.room();
    let mut findings = only_in(
        source,
        room == "store",
        &["PackEvidence::attest"],
        "only store sees that an object is there",
    );
    findings.extend(only_in(
        source,
        room == "state",
        &["PackEvidence::recorded"],
        "only state knows what was recorded",
    ));
    findings.extend(only_in(
        source,
        room == "state" || source.file == "site/second.rs",
        &["SecondEvidence::of_second"],
        "only the second store's own proof is one",
    ));
    findings
}

pub fn unwraps(source: &Source) -> Vec<Finding> {
    only_in(source, false, &[".unwrap()"], "use expect(\"the invariant\")")
}

/// `rusqlite`, and strings that begin like a statement, outside `state`.
pub fn sql(source: &Source) -> Vec<Finding> {
    let allowed = matches!(source.room(), "state" | "catalog");
    let mut findings = only_in(source, allowed, &["rusqlite"], "SQL lives in state and catalog");
    if !allowed {
        let statements = source.strings.iter().filter(|(_, text)| is_statement(text));
        findings
            .extend(statements.map(|(line, text)| finding(source, *line, format!("SQL: {text}"))));
    }
    findings
}

fn is_statement(literal: &str) -> bool {
    let text = literal.trim_start_matches(['r', '#', '"', ' ', '\n', '\\']);
    let words = [
        "SELECT ",
        "INSERT ",
        "UPDATE ",
        "DELETE FROM",
        "CREATE TABLE",
        "CREATE INDEX",
        "PRAGMA ",
        "ALTER TABLE",
        "DROP TABLE",
        "WITH RECURSIVE",
    ];
    words.iter().any(|word| text.starts_with(word))
}

/// At most 600 lines without tests; the first line is `//!`.
pub fn size_and_charter(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if source.length() > 600 {
        let what = format!("{} lines without tests: split it", source.length());
        findings.push(finding(source, 1, what));
    }
    if !source.text.starts_with("//! ") {
        findings.push(finding(source, 1, "a file opens with its charter, `//! ..`"));
    }
    findings
}

/// Names that attract whatever has no home.
pub fn drawers(source: &Source) -> Vec<Finding> {
    let banned = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];
    let parts = source.file.trim_end_matches(".rs").split('/');
    let bad = parts.filter(|part| banned.contains(part));
    bad.map(|part| finding(source, 1, format!("`{part}` says nothing about what is inside")))
        .collect()
}
