//! Every policy in `policies/` loads, and decides on made-up files as its
//! comments promise. The document's examples load too.

use super::*;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

type Change = fn(&mut Facts<'_>);

/// File of `policies/`, path, what is special, the rule that decides, action.
type Row = (&'static str, &'static str, Change, Option<&'static str>, Action);

const GIB: u64 = 1 << 30;
use Action::{Ignore, Tier, Upload};

const MEDIA: &str = "media-archive.toml";
const HOMES: &str = "home-directories.toml";
const OFFICE: &str = "samba-office.toml";
const RESEARCH: &str = "research-data.toml";
const BACKUP: &str = "backup-only.toml";
const LOW_DISK: &str = "low-disk-watermark.toml";

const ROWS: &[Row] = &[
    (MEDIA, "p/A001.MOV", |f| f.size_bytes = 9 * GIB, Some("cold media"), Tier),
    (MEDIA, "p/a.mkv", fresh_large, Some("fresh media"), Upload),
    (MEDIA, "p/a.mkv", |f| (f.size_bytes, f.mtime_ns) = (GIB, NOW - DAY / 48), None, Ignore),
    (MEDIA, "p/a.mkv", |f| f.size_bytes = GIB / 32, None, Ignore),
    (MEDIA, "p/Media Cache/a.mov", |f| f.size_bytes = GIB, Some("leave scratch alone"), Ignore),
    (MEDIA, "p/a.mp4.part", |f| f.size_bytes = GIB, Some("leave scratch alone"), Ignore),
    (MEDIA, ".snapshots/1/a.mkv", |f| f.size_bytes = GIB, None, Ignore),
    (MEDIA, "p/cut.prproj", |_| {}, Some("projects"), Upload),
    (MEDIA, "p/linked.mkv", |f| (f.size_bytes, f.nlink) = (GIB, 2), None, Ignore),
    (MEDIA, "p/readme.txt", |_| {}, None, Ignore),
    (HOMES, "ann/thesis.pdf", |_| {}, Some("everything else"), Upload),
    (HOMES, "ann/old.iso", |f| f.size_bytes = GIB, Some("forgotten large files"), Tier),
    (
        HOMES,
        "ann/new.iso",
        |f| (f.size_bytes, f.first_seen_ns) = (GIB, NOW - DAY),
        Some("everything else"),
        Upload,
    ),
    (
        HOMES,
        "ann/keep.iso",
        |f| (f.size_bytes, f.xattr) = (GIB, &keep),
        Some("marked by the user"),
        Upload,
    ),
    (HOMES, "ann/tool", |f| (f.size_bytes, f.mode) = (GIB, 0o755), Some("programs"), Upload),
    (HOMES, "ann/.ssh/id", |f| f.size_bytes = GIB, Some("everything else"), Upload),
    (HOMES, "ann/Desktop/old.iso", |f| f.size_bytes = GIB, Some("forgotten large files"), Upload),
    (HOMES, "ann/.mozilla/big", |f| f.size_bytes = GIB, Some("everything else"), Upload),
    (HOMES, "ann/mail.PST", |f| f.size_bytes = GIB, Some("live files"), Upload),
    (HOMES, "ann/.cache/x/y", |f| f.size_bytes = GIB, None, Ignore),
    (HOMES, "ann/src/node_modules/a/b.js", |_| {}, None, Ignore),
    (HOMES, "ann/notes.txt~", |_| {}, Some("temporary files"), Ignore),
    (OFFICE, "team/~$report.docx", |_| {}, Some("locks and saves in progress"), Ignore),
    (OFFICE, "team/~WRD0001.tmp", |_| {}, Some("locks and saves in progress"), Ignore),
    (OFFICE, "team/5F3A.TMP", |_| {}, Some("locks and saves in progress"), Ignore),
    (OFFICE, "team/THUMBS.DB", |_| {}, Some("locks and saves in progress"), Ignore),
    (OFFICE, "team/report.docx", recent, Some("documents"), Upload),
    (OFFICE, "team/Report.DOCX", very_old, Some("cold documents"), Tier),
    (OFFICE, "team/report.docx", |f| f.mtime_ns = NOW - DAY / 72, None, Ignore),
    (
        OFFICE,
        "team/small.docx",
        |f| {
            very_old(f);
            f.size_bytes = 20_000
        },
        Some("documents"),
        Upload,
    ),
    (OFFICE, "team/books.accdb", very_old, Some("shared databases"), Upload),
    (OFFICE, "team/.recycle/a.docx", very_old, None, Ignore),
    (OFFICE, "team/setup.exe", very_old, None, Ignore),
    (RESEARCH, "run1/reads.fastq.gz", |f| f.size_bytes = GIB, Some("cold runs"), Tier),
    (
        RESEARCH,
        "run1/cell.czi",
        |f| (f.size_bytes, f.atime_ns) = (GIB, NOW - 90 * DAY),
        Some("everything, copied"),
        Upload,
    ),
    (
        RESEARCH,
        "run1/cell.czi",
        |f| (f.size_bytes, f.atime_ns) = (60 * GIB, NOW - 90 * DAY),
        Some("cold runs"),
        Tier,
    ),
    (RESEARCH, "run1/a.bam.part", |f| f.size_bytes = GIB, Some("transfers in progress"), Ignore),
    (RESEARCH, "run1/work/a.bam", |f| f.size_bytes = GIB, Some("can be computed again"), Ignore),
    (
        RESEARCH,
        "run2/a.csv",
        |f| (f.xattr, f.nlink, f.atime_ns) = (&closed, 2, NOW),
        Some("closed projects"),
        Tier,
    ),
    (RESEARCH, "run2/a.csv", |f| (f.xattr, f.nlink) = (&closed, 3), None, Ignore),
    (BACKUP, "a/b.txt", |f| f.nlink = 9, Some("everything else"), Upload),
    (BACKUP, "a/db.sql", |f| f.size_bytes = GIB, Some("dumps and images"), Upload),
    (BACKUP, "a/~$b.docx", |_| {}, Some("temporary files"), Ignore),
    (BACKUP, "a/b.txt", |f| f.ctime_ns = NOW - 1, None, Ignore),
    (BACKUP, "lost+found/#12", |_| {}, None, Ignore),
    (LOW_DISK, "a/b", |_| {}, Some("copy in good time"), Upload),
    (LOW_DISK, "a/b", very_old, Some("candidates"), Tier),
    (LOW_DISK, "a/.git/pack", very_old, Some("candidates"), Upload),
    (LOW_DISK, "a/b", |f| f.atime_ns = NOW - DAY, Some("in daily use"), Upload),
    (LOW_DISK, "a/b.part", very_old, Some("temporary files"), Ignore),
];

/// File of `policies/`, path, size, the retention that decides, versions, days.
type Kept = (&'static str, &'static str, u64, Option<&'static str>, u32, u64);

const KEPT: &[Kept] = &[
    (OFFICE, "team/Report.DOCX", 9_000, Some("documents"), 10, 90),
    (OFFICE, "team/.recycle/a.docx", 9_000, None, 0, 0),
    (OFFICE, "team/books.accdb", GIB, None, 0, 0),
    (BACKUP, "a/db.SQL", 300 * GIB, Some("enormous dumps and images"), 1, 0),
    (BACKUP, "a/db.sql", GIB, Some("dumps and images"), 14, 0),
    (BACKUP, "a/small.sql", 9_000, Some("everything else"), 3, 60),
    (BACKUP, "a/b.txt", 300 * GIB, Some("everything else"), 3, 60),
    (MEDIA, "p/A001.MOV", GIB, None, 0, 0),
];

fn keep(name: &str) -> Option<Vec<u8>> {
    (name == "user.hsm.keep").then(|| b"1".to_vec())
}

fn closed(name: &str) -> Option<Vec<u8>> {
    (name == "user.project.phase").then(|| b"archived 2025".to_vec())
}

fn fresh_large(facts: &mut Facts<'_>) {
    (facts.size_bytes, facts.mtime_ns) = (GIB, NOW - DAY);
}

fn recent(facts: &mut Facts<'_>) {
    facts.mtime_ns = NOW - DAY;
}

fn very_old(facts: &mut Facts<'_>) {
    (facts.atime_ns, facts.mtime_ns) = (NOW - 1_000 * DAY, NOW - 1_000 * DAY);
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn shipped(name: &str) -> PolicySet {
    let text = std::fs::read_to_string(repository("policies").join(name)).expect(name);
    PolicySet::load(&[(name, text)], &Names::none())
        .unwrap_or_else(|problems| panic!("{name}: {problems:#?}"))
}

#[test]
fn shipped_policies_decide_as_they_say() {
    for (number, (policy, path, change, rule, action)) in ROWS.iter().enumerate() {
        let set = shipped(policy);
        let mut facts = facts(path);
        change(&mut facts);
        let verdict = set.decide(&facts, NOW);
        let found = verdict.rule.map(|rule| rule.name.as_str());
        let why: Vec<String> = set
            .explain(&facts, NOW)
            .iter()
            .map(|o| format!("{}: {:?}", o.rule.name, o.misses))
            .collect();
        assert_eq!(
            (found, verdict.action),
            (*rule, *action),
            "row {number} {policy} {path}: {why:#?}"
        );
    }
}

#[test]
fn shipped_policies_keep_what_they_say() {
    for (policy, path, size_bytes, rule, keep_versions, days) in KEPT {
        let set = shipped(policy);
        let kept = set.retention(Path::new("/srv/data"), path.as_bytes(), *size_bytes);
        let keep_for = Duration::from_secs(days * 86_400);
        let want = Retention { rule: *rule, keep_versions: *keep_versions, keep_for };
        assert_eq!(kept, want, "{policy} {path}");
    }
}

#[test]
fn every_shipped_policy_is_tested_and_every_rule_of_it_decides_once() {
    let listed = std::fs::read_dir(repository("policies")).expect("the directory is there");
    let names: BTreeSet<String> = listed
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.ends_with(".toml"))
        .collect();
    let tested: BTreeSet<String> = ROWS.iter().map(|row| row.0.to_owned()).collect();
    assert_eq!(names, tested);
    for name in &names {
        let set = shipped(name);
        assert!(!set.unguarded(), "{name}: an example never gives up the guard");
        let used: BTreeSet<&str> =
            ROWS.iter().filter(|row| row.0 == name).filter_map(|row| row.3).collect();
        let rules: BTreeSet<&str> = set.rules().iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(used, rules, "{name}");
        let used: BTreeSet<&str> =
            KEPT.iter().filter(|row| row.0 == name).filter_map(|row| row.3).collect();
        let retentions: BTreeSet<&str> =
            set.retentions().iter().map(|retention| retention.name.as_str()).collect();
        assert_eq!(used, retentions, "{name}");
    }
}

#[test]
fn watermark_examples_free_what_they_say() {
    let low_disk = shipped(LOW_DISK);
    let year_old = facts("a/b");
    assert_eq!(low_disk.decide_for_space(&year_old, NOW).action, Tier);
    let mut daily = facts("a/b");
    daily.atime_ns = NOW - DAY;
    assert_eq!(low_disk.decide_for_space(&daily, NOW).action, Upload);
    assert_eq!(low_disk.watermark().map(|mark| &mark.order), Some(&Order::Coldest));

    let research = shipped(RESEARCH);
    let order = &research.watermark().expect("it has one").order;
    let mut read_today = facts("a.czi");
    (read_today.size_bytes, read_today.atime_ns) = (100 * GIB, NOW);
    let mut cold = facts("b.czi");
    cold.size_bytes = 10 * GIB;
    assert!(rank(order, &cold, NOW) < rank(order, &read_today, NOW), "the cold one goes first");
}

#[test]
fn no_backup_rule_ever_frees_a_block() {
    assert!(shipped(BACKUP).rules().iter().all(|rule| rule.action <= Upload));
}

/// The TOML blocks of docs/POLICY.md, each with the line it begins on.
fn documented_examples() -> Vec<(usize, String)> {
    let text =
        std::fs::read_to_string(repository("docs/POLICY.md")).expect("the document is there");
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line) {
            (None, "```toml") => open = Some((number + 1, String::new())),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some((_, block)), line) => *block += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "a block is left open");
    blocks
}

#[test]
fn every_example_of_the_document_loads() {
    let names = Names { uid: &|_| Some(1), gid: &|_| Some(1) };
    let blocks = documented_examples();
    assert!(blocks.len() >= 10, "{} examples", blocks.len());
    for (line, block) in blocks {
        if let Err(problems) = PolicySet::load(&[("POLICY.md", &block)], &names) {
            panic!("docs/POLICY.md, line {line}:\n{block}\n{problems:#?}");
        }
    }
}

#[test]
fn the_document_names_every_key() {
    let text =
        std::fs::read_to_string(repository("docs/POLICY.md")).expect("the document is there");
    let predicates = super::super::predicates::PREDICATES;
    let retention = &super::super::retention::RETENTION_KEYS;
    for key in predicates.iter().chain(&super::super::rule::RULE_KEYS).chain(retention) {
        assert!(text.contains(&format!("`{key}`")), "docs/POLICY.md says nothing of {key}");
    }
}
