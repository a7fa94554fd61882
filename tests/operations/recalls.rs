//! `hsm recalls`: who had what recalled.

use crate::support::Sandbox;
use hsm::clock::Clock;
use hsm::ids::FileIdent;
use hsm::state::{RECALLED, RecallRow, RootId, StateDb};
use serde_json::Value;

/// 2026-01-31T14:00:00Z.
const NOW_NS: i64 = 1_769_868_000_000_000_000;
const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

/// A sandbox with a log as a guard writes it: (days ago, program, uid, cgroup,
/// bytes, outcome).
fn logged(recalls: &[(i64, &str, u32, &str, u64, &str)]) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_TEST_NOW", &NOW_NS.to_string());
    sandbox.write("film", &[1; 1 << 20]);
    sandbox.hsm(["tier"]).succeeds();
    let mut state = StateDb::open(&sandbox.state_db()).expect("the state DB");
    state.act_as("a test", Clock::fixed(NOW_NS));
    let root: RootId = state.roots().expect("roots")[0].id;
    let path = hsm::os::RelPath::new("film").expect("a path");
    let film = state.managed_at(root, &path).expect("read").expect("managed").ident;
    let row = |(days, exe, uid, cgroup, bytes, outcome): &(i64, &str, u32, &str, u64, &str)| {
        let ident = if *exe == "stranger" { FileIdent { ino: 1, generation: 1 } } else { film };
        RecallRow {
            at_ns: NOW_NS - days * DAY_NS,
            ident,
            roots: vec![root],
            ctime_ns: None,
            mtime_ns: None,
            bytes: *bytes,
            latency_ms: 250,
            pid: 77,
            uid: *uid,
            exe: (*exe).to_owned(),
            cgroup: (*cgroup).to_owned(),
            outcome: (*outcome).to_owned(),
        }
    };
    let rows: Vec<RecallRow> = recalls.iter().map(row).collect();
    state.record_recalls(&rows).expect("record");
    sandbox
}

fn records(sandbox: &Sandbox, options: &[&str]) -> Vec<Value> {
    let mut args = vec!["recalls", "--json"];
    args.extend(options);
    let text = sandbox.hsm(args).succeeds().stdout();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

const SMBD: &str = "/system.slice/smbd.service";

fn busy() -> Sandbox {
    logged(&[
        (30, "/usr/bin/updatedb", 0, "/system.slice/updatedb.service", 500, RECALLED),
        (5, "/usr/sbin/smbd", 0, SMBD, 100, RECALLED),
        (4, "/usr/sbin/smbd", 4711, "/system.slice/smbd.service/session-9", 200, RECALLED),
        (3, "/usr/sbin/smbd", 4711, SMBD, 0, "EAGAIN: the budget is spent"),
        (2, "", 4711, "", 50, RECALLED),
        (1, "stranger\n", 0, SMBD, 0, "EPERM: rule \"indexers\""),
    ])
}

#[test]
fn the_history_is_newest_first_and_names_everything() {
    let sandbox = busy();
    let found = records(&sandbox, &[]);
    assert_eq!(found.len(), 7);
    assert_eq!(found[0]["outcome"], "EPERM: rule \"indexers\"");
    assert_eq!(found[0]["recalled"], false);
    let smbd = &found[3];
    let film = sandbox.tree().canonicalize().expect("it exists").join("film");
    assert_eq!(smbd["path"]["text"], film.to_str().expect("UTF-8"));
    assert_eq!(
        (smbd["exe"].as_str(), smbd["unit"].as_str()),
        (Some("/usr/sbin/smbd"), Some("smbd.service"))
    );
    assert_eq!((smbd["bytes"].as_u64(), smbd["latency_ms"].as_u64()), (Some(200), Some(250)));
    let summary = found.last().expect("a summary");
    assert_eq!(
        (&summary["recalls"], &summary["bytes"], &summary["refused"]),
        (&4.into(), &850.into(), &2.into())
    );

    let text = sandbox.hsm(["recalls", "--since", "now-6d", "--limit", "4"]).succeeds().stdout();
    assert_eq!(text.lines().count(), 4);
    assert!(text.contains("stranger\\n (root, smbd.service)"), "{text}");
    assert!(text.contains("a program that is gone (uid 4711, no unit)"), "{text}");
    assert!(text.contains(": EAGAIN: the budget is spent"), "{text}");
    sandbox.hsm(["recalls", "--since", "yesterdayish"]).exits(2).complains(&["--since: bad time"]);
}

#[test]
fn who_had_most_recalled_comes_first() {
    let sandbox = busy();
    let top = |options: &[&str]| -> Vec<(String, u64, u64, u64)> {
        let found = records(&sandbox, options).into_iter();
        let recallers = found.filter(|record| record["type"] == "recaller");
        let number = |value: &Value| value.as_u64().expect("a number");
        recallers
            .map(|one| {
                let who = one["who"].as_str().expect("text").to_owned();
                (who, number(&one["files"]), number(&one["bytes"]), number(&one["refused"]))
            })
            .collect()
    };
    let one = |who: &str, files, bytes, refused| (who.to_owned(), files, bytes, refused);
    assert_eq!(
        top(&["--by", "exe"]),
        [
            one("/usr/bin/updatedb", 1, 500, 0),
            one("/usr/sbin/smbd", 2, 300, 1),
            one("", 1, 50, 0),
            one("stranger\n", 0, 0, 1),
        ]
    );
    assert_eq!(top(&["--by", "user"]), [one("0", 2, 600, 1), one("4711", 2, 250, 1)]);
    assert_eq!(
        top(&["--by", "unit", "--since", "now-6d"]),
        [one("smbd.service", 2, 300, 2), one("", 1, 50, 0)]
    );
    assert_eq!(top(&["--by", "unit", "--limit", "1"]).len(), 1);
    let text = sandbox.hsm(["recalls", "--by", "user"]).succeeds().stdout();
    assert!(text.contains("root") && text.contains("250 ms each"), "{text}");
}

#[test]
fn nobody_recalled_anything() {
    let sandbox = logged(&[]);
    assert_eq!(sandbox.hsm(["recalls"]).succeeds().stdout(), "");
    assert_eq!(records(&sandbox, &["--by", "exe"]).len(), 1);
}
