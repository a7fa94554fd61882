//! The recall log by days and programs.

use super::counts::NOW_S;
use crate::support::Sandbox;
use hsm::ids::FileIdent;
use hsm::state::{RecallRow, StateDb};
use serde_json::{Value, json};

#[test]
fn recalls_are_added_up_by_day_and_by_program() {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_TEST_NOW", &format!("{NOW_S}000000000"));
    sandbox.write("a", b"text");
    sandbox.hsm(["scan"]).succeeds();
    let mut db = StateDb::open(&sandbox.state_db()).expect("it opens");
    let recall = |days_ago: i64, bytes: u64, exe: &str, outcome: &str| RecallRow {
        at_ns: (NOW_S as i64 - days_ago * 86_400) * 1_000_000_000,
        ident: FileIdent { ino: 1, generation: 1 },
        roots: vec![],
        ctime_ns: None,
        mtime_ns: None,
        bytes,
        latency_ms: 1,
        pid: 1,
        uid: 0,
        exe: exe.to_owned(),
        cgroup: String::new(),
        outcome: outcome.to_owned(),
    };
    db.record_recalls(&[
        recall(200, 1 << 40, "/old", "recalled"),
        recall(30, 100, "/bin/cat", "recalled"),
        recall(2, 1000, "/bin/cat", "recalled"),
        recall(2, 5000, "/usr/sbin/smbd", "recalled"),
        recall(2, 0, "/usr/sbin/smbd", "EIO: the store is unreachable"),
        recall(0, 7, "", "recalled"),
    ])
    .expect("recorded");
    drop(db);
    let text = sandbox.hsm(["report", "--json"]).succeeds().stdout();
    let report: Value = serde_json::from_str(text.lines().next().expect("a record")).expect("JSON");
    let recalls = &report["recalls"];
    assert_eq!(
        recalls["days"],
        json!([
            { "day": "2026-01-01", "files": 1, "bytes": 100, "denied": 0 },
            { "day": "2026-01-29", "files": 2, "bytes": 6000, "denied": 1 },
            { "day": "2026-01-31", "files": 1, "bytes": 7, "denied": 0 },
        ])
    );
    let top = recalls["top"].as_array().expect("a list");
    let who: Vec<_> = top.iter().map(|one| one["who"].as_str().expect("text")).collect();
    assert_eq!(who, ["/usr/sbin/smbd", "/bin/cat", "(gone before it was looked at)"]);
    assert_eq!((&top[0]["denied"], &top[1]["bytes"]), (&json!(1), &json!(1100)));
    assert_eq!((&recalls["until"], &top[0]["user"]), (&json!("2026-01-31"), &json!("root")));
}
