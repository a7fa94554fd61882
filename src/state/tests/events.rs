//! The log of what happened to files: complete, ordered, bounded.

use super::*;
use crate::clock::Clock;
use crate::policy::FileState;
use rusqlite::Connection;

/// What, by whom, why, where: at that time.
type Told = (i64, String, Option<String>, Option<String>, Option<String>);

fn told(fixture: &Fixture, name: &str) -> Vec<Told> {
    let happenings = fixture.db.happenings(fixture.root, &path(name)).expect("happenings");
    let told = happenings.into_iter().map(|found| {
        let left = found.path.as_ref().map(text);
        (found.at_ns, found.what, found.actor, found.why, left)
    });
    told.collect()
}

fn event(at_ns: i64, what: &str, actor: &str, why: Option<&str>, left: Option<&str>) -> Told {
    let text = |text: &str| text.to_owned();
    (at_ns, text(what), Some(text(actor)), why.map(text), left.map(text))
}

fn begun() -> (Fixture, Stat) {
    let mut fixture = Fixture::new();
    fixture.db.act_as("tier", Clock::fixed(8));
    let seen = file_stat(2);
    fixture.scan(&[("", &[(b"a", seen.clone())])], 1);
    (fixture, seen)
}

#[test]
fn a_life_of_a_file_is_told_in_order() {
    let (mut fixture, mut seen) = begun();
    let ident = fixture.upload("a", &seen);
    fixture.stub(ident, 40);
    let root = fixture.root;
    fixture.db.act_as("recall (uid 7)", Clock::fixed(8));
    fixture.db.begin_recalls(root, &[ident]).expect("begin");
    fixture.db.finish_recalls(root, &[(ident, 41, 12)], 9).expect("finish");
    fixture.db.act_as("scan", Clock::fixed(10));
    seen.mtime_ns = 99;
    fixture.scan(&[("", &[(b"a", seen.clone())])], 10);
    fixture.db.act_as("verify", Clock::fixed(11));
    for _ in 0..2 {
        // Said twice, it happened once.
        fixture.db.set_state(root, ident, FileState::Damaged, Some("pack lost")).expect("set");
    }
    fixture.db.set_state(root, ident, FileState::Uploaded, None).expect("set");
    assert_eq!(
        told(&fixture, "a"),
        [
            event(6, "uploaded", "tier", Some("cold"), None),
            event(7, "stubbed", "tier", Some("cold"), None),
            event(9, "recalled", "recall (uid 7)", None, None),
            event(10, "dirty", "scan", None, None),
            event(11, "damaged", "verify", Some("pack lost"), None),
            event(11, "mended", "verify", None, None),
        ]
    );
    assert_eq!(told(&fixture, "b"), []);
}

#[test]
fn what_is_called_off_did_not_happen() {
    let (mut fixture, seen) = begun();
    let ident = fixture.upload("a", &seen);
    let (db, root) = (&mut fixture.db, fixture.root);
    db.begin_stubs(root, &[ident]).expect("begin");
    db.cancel_stubs(root, &[ident]).expect("cancel");
    let intents = [intent("a", &seen)];
    db.begin_uploads(root, &intents, 12).expect("begin");
    db.abandon_uploads(root, &[ident]).expect("abandon");
    // A transaction that is refused notes nothing of its files.
    let stranger = FileIdent { ino: 77, generation: 1 };
    db.begin_stubs(root, &[ident]).expect("begin");
    assert!(db.finish_stubs(root, &[(ident, 1), (stranger, 1)], 9).is_err());
    assert_eq!(told(&fixture, "a").len(), 1);
}

#[test]
fn a_file_is_followed_where_it_goes_and_remembered_where_it_was() {
    let (mut fixture, seen) = begun();
    let ident = fixture.upload("a", &seen);
    fixture.db.act_as("scan", Clock::fixed(8));
    fixture.scan(&[("", &[(b"b", seen.clone())])], 20);
    let moved = event(20, "moved", "scan", None, Some("a"));
    assert_eq!(told(&fixture, "b").last(), Some(&moved));
    assert_eq!(told(&fixture, "a").last(), Some(&moved), "its old name tells it, too");
    fixture.scan(&[("", &[(b"other", file_stat(3))])], 30);
    assert_eq!(told(&fixture, "b").last(), Some(&event(30, "gone", "scan", None, Some("b"))));
    assert!(fixture.db.managed_by_ident(fixture.root, ident).expect("read").is_none());
    fixture.scan(&[("", &[(b"c", seen)])], 40);
    let again = event(40, "found-again", "scan", None, Some("c"));
    assert_eq!(told(&fixture, "c").last(), Some(&again));
    assert_eq!(told(&fixture, "c").len(), 4);
}

#[test]
fn another_file_at_the_path_does_not_hide_the_earlier_one() {
    let (mut fixture, seen) = begun();
    fixture.upload("a", &seen);
    // Saved by a temporary file that was renamed over it.
    let later = Stat { ino: 9, btime_ns: 77, ..seen };
    fixture.scan(&[("", &[(b"a", later.clone())])], 20);
    fixture.upload("a", &later);
    let told = told(&fixture, "a");
    let what: Vec<&str> = told.iter().map(|told| told.1.as_str()).collect();
    assert_eq!(what, ["uploaded", "uploaded", "gone"]);
    let happenings = fixture.db.happenings(fixture.root, &path("a")).expect("happenings");
    assert_eq!(happenings.iter().filter(|found| found.ident.ino == 9).count(), 1);
}

#[test]
fn recalls_of_programs_are_among_them() {
    let (mut fixture, seen) = begun();
    let ident = fixture.upload("a", &seen);
    fixture.stub(ident, 40);
    let recall = |outcome: &str, at_ns| RecallRow {
        at_ns,
        ident,
        roots: vec![fixture.root],
        ctime_ns: (outcome == RECALLED).then_some(41),
        mtime_ns: (outcome == RECALLED).then_some(12),
        bytes: 10,
        latency_ms: 7,
        pid: 4321,
        uid: 1000,
        exe: "/usr/bin/cat".to_owned(),
        cgroup: "/user.slice".to_owned(),
        outcome: outcome.to_owned(),
    };
    let rows = [recall("EIO: no store", 50), recall(RECALLED, 60)];
    fixture.db.record_recalls(&rows).expect("record");
    let happenings = fixture.db.happenings(fixture.root, &path("a")).expect("happenings");
    let last = &happenings[2..];
    assert_eq!(last.len(), 2, "the row's own word on the recall says nothing new");
    assert_eq!((last[0].what.as_str(), last[0].why.as_deref()), ("denied", Some("EIO: no store")));
    assert_eq!((last[1].what.as_str(), last[1].at_ns), ("recalled", 60));
    assert_eq!(last[1].program.as_ref().expect("a program").exe, "/usr/bin/cat");
}

#[test]
fn what_the_log_has_forgotten_the_file_itself_says() {
    let (mut fixture, seen) = begun();
    let ident = fixture.upload("a", &seen);
    fixture.stub(ident, 40);
    fixture.scan(&[("", &[(b"other", file_stat(3))])], 30);
    fixture.scan(&[("", &[(b"a", seen)])], 40);
    fixture.db.conn.execute("DELETE FROM event", []).expect("forget");
    let told = told(&fixture, "a");
    let what: Vec<(i64, &str)> = told.iter().map(|told| (told.0, told.1.as_str())).collect();
    assert_eq!(what, [(6, "uploaded"), (7, "stubbed"), (30, "moved")]);
    assert!(told.iter().all(|told| told.2.is_none()), "nobody knows by which command");
}

#[test]
fn the_log_is_bounded_in_rows_and_age() {
    let (mut fixture, seen) = begun();
    let ident = fixture.upload("a", &seen);
    let count = |conn: &Connection| -> i64 {
        conn.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).expect("a count")
    };
    let later = 1_000_000 + 1;
    fixture
        .db
        .conn
        .execute(
            "INSERT INTO event SELECT ?1, at_ns, root_id, 9, 9, what, actor, why, path FROM event",
            [later],
        )
        .expect("a later event");
    assert_eq!(count(&fixture.db.conn), 2);
    fixture.stub(ident, 40);
    assert_eq!(count(&fixture.db.conn), 2, "the first one is beyond the million");
    let day_ns = 24 * 3600 * 1_000_000_000;
    let run = |days: i64| RunRow {
        command: "tier".to_owned(),
        root: None,
        started_ns: days * day_ns,
        finished_ns: days * day_ns,
        outcome: "{}".to_owned(),
        usage: None,
    };
    fixture.db.record_run(&run(300)).expect("record");
    assert_eq!(count(&fixture.db.conn), 2);
    fixture.db.record_run(&run(401)).expect("record");
    // The last event stays until there is a younger one.
    fixture.upload("b", &file_stat(3));
    fixture
        .db
        .conn
        .execute("UPDATE event SET at_ns = ?1 WHERE id > 1000002", [401 * day_ns])
        .expect("young");
    fixture.db.record_run(&run(402)).expect("record");
    assert_eq!(count(&fixture.db.conn), 1);
    fixture.db.remove_root(fixture.root).expect("remove");
    assert_eq!(count(&fixture.db.conn), 0);
}
