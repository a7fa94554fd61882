//! What is kept of which version, and what a retention may not ask.

use super::*;
use std::path::Path;
use std::time::Duration;

fn problems(files: &[(&str, &str)]) -> String {
    match PolicySet::load(files, &Names::none()) {
        Ok(_) => "no problem".to_owned(),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    }
}

fn load(text: &str) -> PolicySet {
    PolicySet::load(&[("p.toml", text)], &Names::none())
        .unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

fn kept<'p>(set: &'p PolicySet, path: &[u8], size_bytes: u64) -> Retention<'p> {
    set.retention(Path::new("/srv/data"), path, size_bytes)
}

const POLICY: &str = r#"
[class.office]
include = "*.{doc,xls}"
case_insensitive = true
[class.ours]
root = "/srv/*"
[class.both]
all = [{ class = "office" }, { class = "ours" }]

[[retention]]
name = "scratch"
include = "scratch/**"
keep_for = "0d"

[[retention]]
name = "large"
min_size = "1GiB"
not = { file_name = "*.iso" }
keep_versions = 1

[[retention]]
name = "office"
class = "both"
exclude = "old"
keep_versions = 10
keep_for = "90d"

[[retention]]
name = "somewhere else"
include = "/srv/data/x/y"
keep_versions = 2
"#;

/// Path, size, the retention that decides, versions, days.
type Row = (&'static [u8], u64, Option<&'static str>, u32, u64);

#[test]
fn the_first_that_matches_decides_by_path_and_size() {
    let set = load(POLICY);
    let table: &[Row] = &[
        (b"a/b.doc", 1, Some("office"), 10, 90),
        (b"B.DOC", 1, Some("office"), 10, 90),
        (b"a/\xff.doc", 1, Some("office"), 10, 90),
        (b"a/old/b.doc", 1, None, 0, 0),
        (b"scratch/b.doc", 1, Some("scratch"), 0, 0),
        (b"a/b.doc", 1 << 30, Some("large"), 1, 0),
        (b"a/b.doc", (1 << 30) - 1, Some("office"), 10, 90),
        (b"a/b.iso", 1 << 30, None, 0, 0),
        (b"x/y", 1, Some("somewhere else"), 2, 0),
        (b"x/z", 1, None, 0, 0),
        (b"", 0, None, 0, 0),
    ];
    for (path, size_bytes, rule, keep_versions, days) in table {
        let keep_for = Duration::from_secs(days * 86_400);
        let want = Retention { rule: *rule, keep_versions: *keep_versions, keep_for };
        assert_eq!(kept(&set, path, *size_bytes), want, "{}", String::from_utf8_lossy(path));
    }
    let elsewhere = set.retention(Path::new("/home/ann"), b"b.doc", 1);
    assert_eq!(elsewhere, Retention::default(), "its class wants another root");
    let slash = set.retention(Path::new("/srv/data/"), b"x/y", 1);
    assert_eq!(slash.rule, Some("somewhere else"));
}

#[test]
fn without_retentions_the_grace_alone_protects() {
    let set = load("[[rule]]\nname = \"r\"\naction = \"upload\"\n");
    assert!(set.retentions().is_empty());
    assert_eq!(kept(&set, b"a", 1), Retention::default());
}

#[test]
fn one_without_predicates_ends_the_list() {
    let set = load("[[retention]]\nname = \"all\"\nkeep_versions = 4294967295\n");
    assert_eq!(kept(&set, b"a", 1).keep_versions, u32::MAX);
    assert_eq!(set.retentions()[0].place.line, 1);
}

#[test]
fn retentions_of_several_files_follow_one_another() {
    let first = "[[retention]]\nname = \"a\"\ninclude = \"*.a\"\nkeep_versions = 1\n";
    let second = "[[retention]]\nname = \"b\"\nkeep_versions = 2\n";
    let files = [("20.toml", second), ("10.toml", first)];
    let set = PolicySet::load(&files, &Names::none()).expect("good policies");
    assert_eq!(kept(&set, b"x.a", 1).keep_versions, 1);
    assert_eq!(kept(&set, b"x.b", 1).keep_versions, 2);

    let again = [("10.toml", first), ("20.toml", first)];
    insta::assert_snapshot!(problems(&again), @r#"20.toml:2:1: retention "a" is already defined at 10.toml:2:1; give each retention its own name"#);
    // A rule and a retention may share a name.
    let rule = "[[rule]]\nname = \"a\"\naction = \"ignore\"\n";
    assert_eq!(problems(&[("10.toml", first), ("20.toml", rule)]), "no problem");
}

#[test]
fn every_mistake_is_named_with_its_mend() {
    let text = r#"
[class.old]
idle = "1y"
[class.mixed]
any = [{ include = "*.a" }, { not = { class = "old" } }]
[class.fine]
max_size = "1MiB"

[[retention]]
keep_for = "90"
keep_versions = -1

[[retention]]
name = "asks too much"
class = ["fine", "mixed", "fien"]
owner = 0
any = [{ min_size = 1, mtime_older = "1d" }, { not = { xattr = { "user.x" = true } } }]
keep_version = 3

[[retention]]
name = "says nothing"
include = "[a"

[[retention]]
name = 3
keep_for = "1d"
any = []
not = "x"
"#;
    insta::assert_snapshot!(problems(&[("p.toml", text)]), @r#"
p.toml:9:1: retention number 1 has no name; add name = "..."; what is kept is told by it
p.toml:10:12: bad duration "90": no unit; write a number with a unit: 90d, 2m, 1h30m, 2weeks, 3months, 1y
p.toml:11:17: -1 is out of range; write a number from 0 to 4294967295
p.toml:13:1: retention "asks too much" does not say what it keeps; add keep_versions = 5 or keep_for = "90d", 0 for nothing
p.toml:15:18: retention "asks too much" cannot use class "mixed": it asks for "idle"; of a version only path and size are known: use include, exclude, file_name, root, min_size, max_size
p.toml:15:27: unknown class "fien" in retention "asks too much"; did you mean "fine"?
p.toml:16:1: retention "asks too much" cannot ask for "owner"; of a version only path and size are known: use include, exclude, file_name, root, min_size, max_size
p.toml:17:24: "any" of retention "asks too much" cannot ask for "mtime_older"; of a version only path and size are known: use include, exclude, file_name, root, min_size, max_size
p.toml:17:56: "not" of "any" of retention "asks too much" cannot ask for "xattr"; of a version only path and size are known: use include, exclude, file_name, root, min_size, max_size
p.toml:18:1: unknown key "keep_version" in retention "asks too much"; did you mean "keep_versions"?
p.toml:20:1: retention "says nothing" does not say what it keeps; add keep_versions = 5 or keep_for = "90d", 0 for nothing
p.toml:22:11: bad glob "[a": unclosed character class; missing ']'; * stays within a directory, ** crosses them, {a,b} is either; escape with \
p.toml:25:8: expected a text in quotes, found a whole number
p.toml:27:7: an empty list; write at least one value or remove the key
p.toml:28:7: "not" of retention number 4 must be a table, found a text
"#);
    insta::assert_snapshot!(problems(&[("p.toml", "[retention]\nname = \"x\"\n")]), @r#"
p.toml:1:1: retention must be a list of tables, found a table; write [[retention]]
"#);
    insta::assert_snapshot!(problems(&[("p.toml", "retention = [3]\n")]), @r#"
p.toml:1:14: retention number 1 must be a table, found a whole number
"#);
}

#[test]
fn classes_in_a_circle_end_the_reading() {
    let text = r#"
[class.a]
class = "b"
[class.b]
class = "a"
[[retention]]
name = "r"
class = "a"
keep_versions = 1
"#;
    insta::assert_snapshot!(problems(&[("p.toml", text)]), @r#"
p.toml:2:8: class "a" is made of itself: a -> b -> a; break the circle
"#);
}
