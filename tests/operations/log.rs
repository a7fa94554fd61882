//! `hsm log`: what happened to a file.

use crate::support::{EAGER_POLICY, Sandbox};
use serde_json::Value;
use std::fs;
use std::path::Path;

const MIB: usize = 1 << 20;

/// The events of a path: what, actor, why, run.
fn events(sandbox: &Sandbox, name: &str) -> Vec<(String, String, String, String)> {
    let text = sandbox.on("log", &["--json"], &[name]).succeeds().stdout();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    records
        .filter(|record| record["type"] == "event")
        .map(|event| {
            let run = word(&event["run"]);
            let run = run.split(' ').next().expect("a word").to_owned();
            (word(&event["what"]), word(&event["actor"]), word(&event["why"]), run)
        })
        .collect()
}

fn words(events: &[(String, String, String, String)]) -> Vec<&str> {
    events.iter().map(|event| event.0.as_str()).collect()
}

#[test]
fn the_life_of_a_file_is_told_with_its_runs_and_reasons() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/film", &vec![7; MIB]);
    sandbox.write("other", &vec![8; MIB]);
    sandbox.hsm(["tier"]).succeeds();
    sandbox.on("recall", &[], &["dir/film"]).succeeds();
    sandbox.write("dir/film", b"another one");
    sandbox.hsm(["scan"]).succeeds();
    sandbox.on("upload", &[], &["dir/film"]).succeeds();
    fs::rename(sandbox.tree().join("dir/film"), sandbox.tree().join("moved")).expect("renamed");
    sandbox.hsm(["scan"]).succeeds();

    let found = events(&sandbox, "moved");
    let want = [
        ("uploaded", "tier", "everything", "tier"),
        ("stubbed", "tier", "everything", "tier"),
        ("recalled", "recall", "-", "-"),
        ("dirty", "scan", "-", "-"),
        ("uploaded", "upload", "everything", "upload"),
        // Its ctime is another by that, too.
        ("dirty", "scan", "-", "-"),
        ("moved", "scan", "-", "-"),
    ];
    let want = want.map(|(what, actor, why, run)| {
        (what.to_owned(), actor.to_owned(), why.to_owned(), run.to_owned())
    });
    assert_eq!(found, want);
    let text = sandbox.on("log", &[], &["moved"]).succeeds().stdout();
    assert!(text.contains("/moved  dirty, 11 B\n"), "{text}");
    assert!(text.contains("hsm tier    rule \"everything\""), "{text}");
    assert!(text.contains("its size or times are not those of its copy"), "{text}");
    let from = sandbox.tree().canonicalize().expect("it exists").join("dir/film");
    assert!(text.contains(&format!("from {}", from.display())), "{text}");
    // The name that it left tells it, too, and who is at home there now is another.
    assert_eq!(events(&sandbox, "dir/film").len(), 7);
    let text = sandbox.on("log", &[], &["dir/film"]).succeeds().stdout();
    assert!(
        text.contains("is not there any more") && text.contains("another file, inode"),
        "{text}"
    );
    assert_eq!(words(&events(&sandbox, "other")), ["uploaded", "stubbed"]);
}

#[test]
fn a_lost_copy_and_a_new_one_are_told() {
    let sandbox = Sandbox::new();
    sandbox.write("a", &vec![7; MIB]);
    sandbox.hsm(["scan"]).succeeds();
    sandbox.hsm(["upload"]).succeeds();
    remove_packs(&sandbox.store().join("packs"));
    sandbox.hsm(["verify"]).exits(4);
    sandbox.hsm(["upload"]).succeeds();
    let found = events(&sandbox, "a");
    assert_eq!(words(&found), ["uploaded", "damaged", "uploaded"]);
    assert_eq!(found[1].1, "verify");
    assert!(found[1].2.contains("is in no good pack"), "{found:?}");
}

fn remove_packs(dir: &Path) {
    for entry in fs::read_dir(dir).expect("the packs") {
        fs::remove_dir_all(entry.expect("an entry").path()).expect("removed");
    }
}

#[test]
fn what_nobody_knows_and_what_never_was_managed() {
    let sandbox = Sandbox::new();
    sandbox.policy(&EAGER_POLICY.replace(r#""tier""#, r#""ignore""#));
    sandbox.write("a", b"x");
    sandbox.hsm(["tier"]).succeeds();
    let text = sandbox.on("log", &[], &["a"]).succeeds().stdout();
    assert!(text.contains("nothing has happened to it"), "{text}");
    sandbox.on("log", &[], &["nothing"]).exits(1).complains(&["is not known; run hsm scan"]);
    sandbox.hsm(["log", "/nowhere"]).exits(1).complains(&["is below no root"]);
    sandbox.write("dir/b", b"x");
    sandbox.hsm(["scan"]).succeeds();
    for dir in ["", "dir"] {
        sandbox.on("log", &[], &[dir]).exits(1).complains(&["is a directory", "hsm ls"]);
    }
}
