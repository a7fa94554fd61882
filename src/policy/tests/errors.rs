//! The messages are an interface: each is pinned word by word.

use super::*;

fn problems(files: &[(&str, &str)]) -> String {
    let names = Names { uid: &|name| (name == "alice").then_some(1000), gid: &|_| None };
    match PolicySet::load(files, &names) {
        Ok(_) => "no problem".to_owned(),
        Err(problems) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
    }
}

fn one(text: &str) -> String {
    problems(&[("p.toml", text)])
}

#[test]
fn all_problems_of_a_file_come_at_once_in_its_order() {
    let text = r#"unguarded = "no"
pin = ["[a"]

[class.video]
include = ["**/*.{mkv,mp4"]
min_sise = "64MiB"
max_size = "64XB"

[class.office]
owner = ["alice", "bob"]
group = "staff"

[[rule]]
name = "cold video"
class = "vidoe"
idle = "90"
action = "teir"
storage_class = "standard"
chunking = "fixed:3KiB"
compression = 20

[[rule]]
idle = "90d"

[limits]
max_files = 0
stop_after_errors = "5%"

[watermark]
high = "70%"
low = "75%"
order = "size_mib * idel_days"
"#;
    insta::assert_snapshot!(one(text), @r#"
p.toml:1:13: expected true or false, found a text; write true or false without quotes
p.toml:2:8: bad glob "[a": unclosed character class; missing ']'; * stays within a directory, ** crosses them
p.toml:5:12: bad glob "**/*.{mkv,mp4": unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?); * stays within a directory, ** crosses them, {a,b} is either; escape with \
p.toml:6:1: unknown key "min_sise" in class "video"; did you mean "min_size"?
p.toml:7:12: bad size "64XB": unknown unit; write a number of bytes or a number with a unit: 123, 64KiB, 1.5GiB (1024), 10MB (1000)
p.toml:10:19: unknown user "bob"; write an existing name or the numeric id
p.toml:11:9: unknown group "staff"; write an existing name or the numeric id
p.toml:15:9: unknown class "vidoe" in rule "cold video"; did you mean "video"?
p.toml:16:8: bad duration "90": no unit; write a number with a unit: 90d, 2m, 1h30m, 2weeks, 3months, 1y
p.toml:17:10: unknown action "teir"; did you mean "tier"?
p.toml:18:17: bad storage class "standard": not spelled as stores do; write STANDARD, STANDARD_IA, GLACIER_IR or the store's own
p.toml:19:12: bad chunking "fixed:3KiB": the chunk size must be an even number from 64 KiB to 64 MiB; write fixed, fixed:8MiB, fastcdc or fastcdc:256KiB:1MiB:4MiB (least:average:greatest)
p.toml:20:15: 20 is out of range; write a number from 1 to 19
p.toml:22:1: rule number 2 has no action; add action = "ignore", "upload" or "tier"
p.toml:22:1: rule number 2 has no name; add name = "..."; plans and explanations show it
p.toml:26:13: 0 is out of range; write a number from 1 on
p.toml:27:21: bad stop_after_errors "5%"; write a number of failures, "100", or a share, "5% of at least 50"
p.toml:31:7: low (75%) is not below high (70%); freeing starts above high and ends at low
p.toml:32:21: order "size_mib * idel_days": bad weight at character 12: unknown name "idel_days"; known are size_mib, idle_days, atime_days, mtime_days, min, max; write coldest, largest or a weight such as "size_mib * idle_days"
"#);
}

#[test]
fn conditions_that_cannot_be_meant_are_refused() {
    let text = r#"
[class.nothing]
case_insensitive = true

[class.odd]
min_size = "2MiB"
max_size = "1MiB"
mode_any = 111
mode_all = "suidd"
nlink_max = "all"
state = ["stubb", "cold"]
xattr = { project = "x", user.a = "b", "user.c" = 3 }
any = []
not = {}
include = "../x"

[[rule]]
name = "deep"
action = "ignore"
all = [{ size_min = 3 }, "x"]
"#;
    insta::assert_snapshot!(one(text), @r#"
p.toml:2:1: class "nothing" says nothing, it would match every file; add a predicate, such as include = ["**/*.mkv"]
p.toml:7:12: class "odd" matches no file: min_size is above max_size
p.toml:8:12: mode 111 is not octal; write octal "0111" or 0o111, or setuid, setgid, sticky, executable
p.toml:9:12: bad mode bits; write octal "0111" or 0o111, or setuid, setgid, sticky, executable
p.toml:10:13: bad nlink_max "all"; write a number of hard links or "any"
p.toml:11:10: unknown state "stubb"; did you mean "stub"?
p.toml:11:19: unknown state "cold"; write one of resident, uploaded, stub, dirty, damaged, uploading, stubbing, recalling
p.toml:12:11: "project" is no attribute name, it has no namespace; write xattr = { "user.project" = "cold*" }, true for present, false for absent
p.toml:12:26: "user" is no attribute name, it has no namespace; write xattr = { "user.project" = "cold*" }, true for present, false for absent
p.toml:12:51: expected a text in quotes, found a whole number
p.toml:13:7: an empty list; write at least one value or remove the key
p.toml:14:7: "not" of class "odd" says nothing; add a predicate or remove it
p.toml:15:11: bad glob "../x": a path never contains ".."; * stays within a directory, ** crosses them, {a,b} is either; escape with \
p.toml:20:10: unknown key "size_min" in "all" of rule "deep"; known keys: class, root, include, exclude, file_name, case_insensitive, min_size, max_size, owner, group, mode_any, mode_all, mode_none, nlink_max, xattr, idle, atime_older, mtime_older, ctime_older, first_seen_older, recall_older, state, all, any, not
p.toml:20:26: "all" of rule "deep" must be a table, found a text
"#);
}

#[test]
fn a_circle_of_classes_is_named() {
    let text = r#"
[class.a]
class = ["b", "leaf"]
[class.b]
any = [{ not = { class = "c" } }]
[class.c]
class = "a"
[class.leaf]
min_size = 1
[[rule]]
name = "r"
class = "a"
action = "tier"
"#;
    insta::assert_snapshot!(one(text), @r#"
p.toml:2:8: class "a" is made of itself: a -> b -> c -> a; break the circle
"#);
    insta::assert_snapshot!(one("[class.self]\nclass = \"self\"\n"), @r#"
p.toml:1:8: class "self" is made of itself: self -> self; break the circle
"#);
}

#[test]
fn what_two_files_both_say_names_both_places() {
    let first = r#"
[class.video]
include = "*.mkv"
[[rule]]
name = "cold"
action = "tier"
class = "video"
[limits]
max_files = 10
[watermark]
high = "90%"
low = "80%"
"#;
    let second = r#"
unguarded = true
[class.video]
include = "*.mp4"
[[rule]]
name = "cold"
action = "upload"
[limits]
max_files = 20
max_bytes = "1TiB"
[watermark]
high = "95%"
low = "80%"
"#;
    // Given in the wrong order: the names decide.
    insta::assert_snapshot!(problems(&[("20-b.toml", second), ("10-a.toml", first)]), @r#"
20-b.toml:3:8: class "video" is already defined at 10-a.toml:2:8; give each class its own name
20-b.toml:6:1: rule "cold" is already defined at 10-a.toml:5:1; give each rule its own name
20-b.toml:9:1: limits.max_files is already set at 10-a.toml:9:1; keep one of the two
20-b.toml:11:2: watermark is already set at 10-a.toml:10:2; keep one of the two
"#);
}

#[test]
fn wrong_shapes_are_told_with_the_right_one() {
    let text = r#"
class = "x"
watermark = 3
limit = {}
[rule]
name = "x"
"#;
    insta::assert_snapshot!(one(text), @r#"
p.toml:2:9: class (written [class.NAME]) must be a table, found a text
p.toml:3:13: [watermark] must be a table, found a whole number
p.toml:4:1: unknown key "limit" in the file; did you mean "limits"?
p.toml:5:1: rule must be a list of tables, found a table; write [[rule]]
"#);
    insta::assert_snapshot!(one("[[class]]\nname = \"x\"\n[[rule]]\naction = 3\nname = 4\nstorage_class = \"glacier\"\n"), @r#"
p.toml:1:1: class (written [class.NAME]) must be a table, found a list
p.toml:4:10: expected a text in quotes, found a whole number
p.toml:5:8: expected a text in quotes, found a whole number
p.toml:6:17: bad storage class "glacier": not spelled as stores do; write STANDARD, STANDARD_IA, GLACIER_IR or the store's own
"#);
}

#[test]
fn a_file_that_is_no_toml_hides_no_other_problem_behind_guesses() {
    let files = [("a.toml", "[class.x\ninclude = 1"), ("b.toml", "[[rule]]\nclass = \"x\"")];
    insta::assert_snapshot!(problems(&files), @r#"
a.toml:1:9: not valid TOML: unclosed table, expected `]`
"#);
}

#[test]
fn names_are_resolved_once_when_the_policy_loads() {
    let text = "[[rule]]\nname = \"r\"\naction = \"upload\"\nowner = [\"alice\", 7, \"8\"]\n";
    assert_eq!(one(text), "no problem");
    let problems = PolicySet::load(&[("p.toml", text)], &Names::none()).expect_err("no names");
    assert_eq!(
        problems[0].to_string(),
        "p.toml:4:10: unknown user \"alice\"; write an existing name or the numeric id"
    );
}
