//! `hsm plan -o` and `hsm apply`.

use crate::support::{EAGER_POLICY, Ran, Sandbox};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

const MIB: usize = 1 << 20;

/// Four files, scanned and planned.
fn planned() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["a", "b", "dir/c", "dir/d"] {
        sandbox.write(name, &vec![name.as_bytes()[0]; MIB]);
    }
    sandbox.hsm(["scan"]).succeeds();
    plan(&sandbox);
    sandbox
}

fn plan(sandbox: &Sandbox) -> Value {
    sandbox.hsm(["plan", "--json", "-o", &file(sandbox)]).succeeds().summary()
}

fn file(sandbox: &Sandbox) -> String {
    sandbox.path("plan.jsonl").to_str().expect("UTF-8").to_owned()
}

fn apply(sandbox: &Sandbox, options: &[&str]) -> Ran {
    let file = file(sandbox);
    let mut args = vec!["apply", "--json", &file];
    args.extend(options);
    sandbox.hsm(args)
}

/// Changes the lines of the plan.
fn edit(sandbox: &Sandbox, change: impl FnOnce(&mut Vec<String>)) {
    let text = fs::read_to_string(file(sandbox)).expect("the plan");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(file(sandbox), lines.join("\n") + "\n").expect("written");
}

fn line_of(lines: &[String], name: &str) -> usize {
    let name = format!(r#""path":{{"text":"{name}"}}"#);
    lines.iter().position(|line| line.contains(&name)).expect("a row of that name")
}

fn state(sandbox: &Sandbox, name: &str) -> String {
    let path = sandbox.tree().join(name);
    let ran = sandbox.hsm(["ls".as_ref(), "--json".as_ref(), path.as_os_str()]).succeeds();
    let first = ran.stdout().lines().next().expect("a record").to_owned();
    let record: Value = serde_json::from_str(&first).expect("JSON");
    record["state"].as_str().expect("a state").to_owned()
}

/// The records of rows: (end, condition, name).
fn rows(ran: &Ran) -> Vec<(String, Value, String)> {
    let records = ran.stdout();
    let records = records.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let rows = records.filter(|record| record["type"] == "row");
    let mut rows: Vec<_> = rows
        .map(|row| {
            let path = row["path"]["text"].as_str().expect("UTF-8").to_owned();
            let name = path.rsplit('/').next().expect("a name").to_owned();
            (row["end"].as_str().expect("a word").to_owned(), row["condition"].clone(), name)
        })
        .collect();
    rows.sort_by(|a, b| a.2.cmp(&b.2));
    rows
}

#[test]
fn a_plan_is_written_reviewed_and_applied() {
    let sandbox = planned();
    let text = fs::read_to_string(file(&sandbox)).expect("the plan");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let header = lines.next().expect("a header");
    assert_eq!((&header["format"], &header["version"]), (&json!("hsm-plan"), &json!(1)));
    let tree = sandbox.tree().canonicalize().expect("it exists");
    assert_eq!(header["roots"][0]["path"]["text"], tree.to_str().expect("UTF-8"));
    let rows: Vec<Value> = lines.collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[0]["action"], "tier");
    assert_eq!(rows[0]["size_bytes"], MIB);
    assert_eq!(rows[0]["rule"], "everything");
    assert!(rows[0]["reason"].as_str().expect("text").starts_with("no copy yet, idle "));
    let mtime = fs::metadata(sandbox.tree().join("a")).expect("a").modified().expect("a time");
    let since = mtime.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    assert_eq!(rows[0]["mtime_ns"], since.as_nanos().to_string());

    // Nothing is done by a dry run.
    let dry = apply(&sandbox, &["-n"]).succeeds().summary();
    assert_eq!((&dry["done_rows"], &dry["dry_run"]), (&json!(4), &json!(true)));
    assert_eq!(state(&sandbox, "a"), "resident");

    let done = apply(&sandbox, &[]).succeeds().summary();
    assert_eq!((&done["rows"], &done["done_rows"]), (&json!(4), &json!(4)));
    assert_eq!((&done["uploaded_files"], &done["stubbed_files"]), (&json!(4), &json!(4)));
    assert_eq!(state(&sandbox, "dir/c"), "stub");
    sandbox.on("recall", &[], &["dir/c"]).succeeds();
    assert_eq!(sandbox.read("dir/c"), vec![b'd'; MIB]);
    // The run is in the log of runs like any other.
    let status = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(status.contains("apply "), "{status}");
}

#[test]
fn a_plan_that_was_applied_is_settled() {
    let sandbox = planned();
    apply(&sandbox, &[]).succeeds();
    let again = apply(&sandbox, &[]).succeeds().summary();
    assert_eq!((&again["done_rows"], &again["settled_rows"]), (&json!(4), &json!(4)));
    assert_eq!(again["uploaded_files"], 0);
    assert_eq!(plan(&sandbox)["rows"], 0, "there is nothing to plan");
}

#[test]
fn a_person_may_remove_rows_and_keep_bytes_here() {
    let sandbox = planned();
    edit(&sandbox, |lines| {
        lines.remove(line_of(lines, "a"));
        let b = line_of(lines, "b");
        lines[b] = lines[b].replace(r#""tier""#, r#""upload""#);
    });
    let done = apply(&sandbox, &[]).succeeds().summary();
    assert_eq!((&done["rows"], &done["done_rows"]), (&json!(3), &json!(3)));
    let states = ["a", "b", "dir/c", "dir/d"].map(|name| state(&sandbox, name));
    assert_eq!(states, ["resident", "uploaded", "stub", "stub"]);
}

#[test]
fn any_other_change_is_refused_by_line_before_anything_is_done() {
    let sandbox = planned();
    edit(&sandbox, |lines| {
        let b = line_of(lines, "b");
        lines[b] = lines[b].replace(r#"{"text":"b"}"#, r#"{"text":"dir/../b"}"#);
        let c = line_of(lines, "dir/c");
        lines[c] = lines[c].replace("1048576", "1048577");
        let last = lines.len() - 1;
        lines[last].truncate(50);
    });
    let ran = apply(&sandbox, &[]).exits(1).complains(&[
        "the plan has 3 mistake(s)",
        "line 3: not a path inside a root",
        "line 4: it is not what hsm plan wrote; only \"tier\" may become \"upload\"",
        "line 5: it is cut off; remove the line",
        "try: ",
    ]);
    assert_eq!(ran.summary()["exit"], 1);
    assert_eq!(state(&sandbox, "a"), "resident");
    // Somebody tiers what the plan only uploads.
    sandbox.policy(&EAGER_POLICY.replace(r#""tier""#, r#""upload""#));
    plan(&sandbox);
    edit(&sandbox, |lines| lines[1] = lines[1].replace(r#""upload""#, r#""tier""#));
    apply(&sandbox, &[]).exits(1).complains(&["line 2: it is not what hsm plan wrote"]);
}

#[test]
fn rows_that_do_not_hold_any_more_are_skipped_by_name() {
    let sandbox = planned();
    for name in ["e", "f", "g", "h"] {
        sandbox.write(name, name.as_bytes());
    }
    sandbox.hsm(["scan"]).succeeds();
    plan(&sandbox);
    let tree = sandbox.tree();
    // Changed, replaced by another of the same size, gone, no file any more,
    // pinned, and one that only lost its metadata.
    fs::OpenOptions::new().append(true).open(tree.join("a")).expect("a").write_all(b"x").unwrap();
    let modified = fs::metadata(tree.join("b")).expect("b").modified().expect("a time");
    fs::write(tree.join("new"), vec![b'z'; MIB]).expect("written");
    fs::rename(tree.join("new"), tree.join("b")).expect("renamed");
    fs::File::options().write(true).open(tree.join("b")).unwrap().set_modified(modified).unwrap();
    fs::remove_file(tree.join("e")).expect("removed");
    fs::remove_file(tree.join("f")).expect("removed");
    fs::create_dir(tree.join("f")).expect("a directory");
    sandbox.on("pin", &[], &["g"]).succeeds();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(tree.join("h"), mode).expect("chmod");

    for options in [&["-n"][..], &[]] {
        let ran = apply(&sandbox, options).exits(3);
        let rows: Vec<_> = rows(&ran).into_iter().filter(|row| row.0 == "skipped").collect();
        let skipped =
            |condition: &str, name: &str| ("skipped".to_owned(), json!(condition), name.to_owned());
        let expected = [
            skipped("unchanged", "a"),
            skipped("unchanged", "b"),
            skipped("unchanged", "e"),
            skipped("regular-file", "f"),
            skipped("not-pinned", "g"),
            skipped("unchanged", "h"),
        ];
        assert_eq!(rows, expected);
        let summary = ran.summary();
        assert_eq!(summary["skipped"]["unchanged"], 4);
        assert_eq!((&summary["skipped_rows"], &summary["done_rows"]), (&json!(6), &json!(2)));
    }
    assert_eq!(state(&sandbox, "dir/c"), "stub");
    assert_eq!(fs::read(tree.join("b")).expect("b"), vec![b'z'; MIB]);
    let text = sandbox.hsm(["apply", &file(&sandbox)]).exits(3).stdout();
    assert!(
        text.contains("skipped  line 2: ") && text.contains("/a: it has changed since"),
        "{text}"
    );
}

#[test]
fn the_rules_of_the_moment_decide() {
    let sandbox = planned();
    sandbox.policy(&EAGER_POLICY.replace(
        "[[rule]]",
        "[[rule]]\nname = \"keep\"\nname_glob = \"x\"\naction = \"ignore\"\n[[rule]]",
    ));
    // A policy that does not load is no policy.
    apply(&sandbox, &[]).exits(1).complains(&["the policy has"]);
    sandbox.policy(&EAGER_POLICY.replace(
        "[[rule]]",
        "[[rule]]\nname = \"keep\"\ninclude = \"dir/*\"\naction = \"upload\"\n[[rule]]",
    ));
    let ran = apply(&sandbox, &[]).exits(3).complains(&["the policy has changed since the plan"]);
    let skipped = |name: &str| ("skipped".to_owned(), json!("rule-matches"), name.to_owned());
    assert_eq!(rows(&ran), [skipped("c"), skipped("d")]);
    let states = ["a", "b", "dir/c", "dir/d"].map(|name| state(&sandbox, name));
    assert_eq!(states, ["stub", "stub", "resident", "resident"]);
    assert!(ran.stdout().contains("rule \\\"keep\\\" does not tier it"), "{}", ran.stdout());
}

#[test]
fn a_plan_for_another_day_holds_only_on_that_day() {
    let sandbox = Sandbox::new();
    sandbox.policy(&EAGER_POLICY.replace("action", "idle = \"90d\"\naction"));
    sandbox.write("young", &vec![1; MIB]);
    sandbox.hsm(["scan"]).succeeds();
    assert_eq!(plan(&sandbox)["rows"], 0);
    sandbox.hsm(["plan", "--as-of", "now+91d", "-o", &file(&sandbox)]).succeeds();
    let ran = apply(&sandbox, &[]).exits(3);
    assert_eq!(ran.summary()["skipped"]["rule-matches"], 1);
}

#[test]
fn foreign_plans_are_refused_whole() {
    let (sandbox, other) = (planned(), planned());
    let mine = fs::read_to_string(file(&sandbox)).expect("the plan");
    fs::copy(file(&other), file(&sandbox)).expect("copied");
    apply(&sandbox, &[]).exits(1).complains(&["the plan is not for here", "it is for the store"]);
    // Their rows under our header, as an editor may join them.
    let theirs = fs::read_to_string(file(&other)).expect("the plan");
    let root = |sandbox: &Sandbox| sandbox.tree().canonicalize().expect("it exists");
    let (ours, foreign) = (root(&sandbox), root(&other));
    let (ours, foreign) = (ours.to_str().expect("UTF-8"), foreign.to_str().expect("UTF-8"));
    edit(&sandbox, |lines| {
        *lines = theirs.lines().map(|line| line.replace(foreign, ours)).collect();
        lines[0] = mine.lines().next().expect("a header").to_owned();
    });
    apply(&sandbox, &[]).exits(1).complains(&["the plan has 4 mistake(s)"]);
    // The same server and store, but its tree was on another file system.
    let mut header: Value = serde_json::from_str(mine.lines().next().expect("one")).expect("JSON");
    header["roots"][0]["identity"] = json!("ext4:0123:2:0");
    fs::write(
        file(&sandbox),
        mine.replacen(mine.lines().next().expect("one"), &header.to_string(), 1),
    )
    .expect("written");
    apply(&sandbox, &[]).exits(1).complains(&["was another file system when it was made"]);
    fs::write(file(&sandbox), "not a plan\n").expect("written");
    apply(&sandbox, &[]).exits(1).complains(&["line 1: this is no plan of hsm"]);
    assert_eq!(state(&sandbox, "a"), "resident");
}

#[test]
fn a_plan_goes_through_pipes() {
    let sandbox = planned();
    sandbox.write("odd \n", b"1");
    fs::write(sandbox.tree().join(std::ffi::OsStr::from_bytes(b"\xff")), b"2").expect("written");
    sandbox.hsm(["scan"]).succeeds();
    let plan = sandbox.hsm(["plan", "-q", "-o", "-"]).succeeds().output.stdout;
    assert_eq!(plan.iter().filter(|byte| **byte == b'\n').count(), 7);
    let mut command = sandbox.command(["apply", "--json", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("hsm starts");
    child.stdin.take().expect("a pipe").write_all(&plan).expect("written");
    let output = child.wait_with_output().expect("hsm ends");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let summary: Value = serde_json::from_str(text.lines().last().expect("one")).expect("JSON");
    assert_eq!((&summary["rows"], &summary["done_rows"]), (&json!(6), &json!(6)));
    sandbox.hsm(["plan", "--json", "-o", "-"]).exits(2).complains(&["both want standard output"]);
}

#[test]
fn the_limits_of_a_run_leave_rows_for_the_next() {
    let sandbox = planned();
    sandbox.policy(&format!("{EAGER_POLICY}\n[limits]\nmax_files = 3\n"));
    plan(&sandbox);
    let first = apply(&sandbox, &[]).succeeds();
    let summary = first.summary();
    assert_eq!((&summary["done_rows"], &summary["left_rows"]), (&json!(3), &json!(1)));
    assert_eq!(rows(&first), []);
    let second = apply(&sandbox, &[]).succeeds().summary();
    assert_eq!((&second["settled_rows"], &second["done_rows"]), (&json!(3), &json!(4)));
}

#[test]
fn a_file_that_is_open_is_left_and_named_with_the_reason() {
    let sandbox = planned();
    let _open = fs::File::open(sandbox.tree().join("b")).expect("b");
    let ran = apply(&sandbox, &[]).exits(3);
    assert_eq!(rows(&ran), [("left".to_owned(), Value::Null, "b".to_owned())]);
    assert!(ran.stdout().contains("not-open: a program has it open"), "{}", ran.stdout());
    assert_eq!(
        (&ran.summary()["refused_rows"], &ran.summary()["done_rows"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(state(&sandbox, "b"), "uploaded");
}

#[test]
fn what_is_named_twice_is_planned_once() {
    let sandbox = planned();
    for names in [&["", "dir", "", "a"][..], &["dir", "dir/c", "a", "b", "dir/d", "a"]] {
        let ran = sandbox.on("plan", &["--json"], names).succeeds();
        assert_eq!(ran.summary()["upload_files"], 4, "{names:?}");
    }
    let ran = sandbox.on("plan", &["--json"], &["dir/c", "dir/d", "dir/c"]).succeeds();
    assert_eq!(ran.summary()["upload_files"], 2);
}

/// Two plans that somebody put into one file.
#[test]
fn a_row_that_is_there_twice_is_done_once() {
    let sandbox = planned();
    edit(&sandbox, |lines| lines.extend_from_within(1..));
    let ran = apply(&sandbox, &[]).succeeds();
    assert_eq!((&ran.summary()["rows"], &ran.summary()["done_rows"]), (&json!(8), &json!(8)));
    assert_eq!((rows(&ran), &ran.summary()["uploaded_files"]), (vec![], &json!(4)));
    for name in ["a", "b", "dir/c", "dir/d"] {
        assert_eq!(state(&sandbox, name), "stub");
    }
}

#[test]
fn two_runs_on_one_root_do_not_meet() {
    let sandbox = planned();
    let locks = sandbox.state_dir().join("locks");
    fs::create_dir_all(&locks).expect("the directory of locks");
    let catalog =
        hsm::os::lock::RunLock::acquire(&locks.join("catalog.lock"), "a test").expect("a lock");
    apply(&sandbox, &[]).exits(11);
    drop(catalog);
    apply(&sandbox, &[]).succeeds();
}
