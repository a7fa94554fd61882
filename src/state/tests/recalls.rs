//! The log of recalls that programs caused, and what it does to the files.

use super::*;
use crate::policy::FileState;

fn recall(fixture: &Fixture, ident: FileIdent, ctime_ns: i64) -> RecallRow {
    RecallRow {
        at_ns: 1000,
        ident,
        roots: vec![fixture.root],
        ctime_ns: Some(ctime_ns),
        mtime_ns: Some(12),
        bytes: 10,
        latency_ms: 7,
        pid: 4321,
        uid: 1000,
        exe: "/usr/bin/cat".to_owned(),
        cgroup: "/user.slice".to_owned(),
        outcome: RECALLED.to_owned(),
    }
}

fn failure(fixture: &Fixture, ident: FileIdent) -> RecallRow {
    let outcome = "EIO: the store is unreachable".to_owned();
    RecallRow { ctime_ns: None, mtime_ns: None, outcome, ..recall(fixture, ident, 0) }
}

/// An uploaded file, `a`, whose row says ctime 13.
fn uploaded_file() -> (Fixture, FileIdent) {
    let mut fixture = Fixture::new();
    let seen = file_stat(2);
    fixture.scan(&[("", &[(b"a", seen.clone())])], 1);
    let ident = fixture.upload("a", &seen);
    (fixture, ident)
}

fn record(fixture: &mut Fixture, rows: &[RecallRow]) {
    fixture.db.record_recalls(rows).expect("record");
}

fn state(fixture: &Fixture, ident: FileIdent) -> (FileState, i64) {
    let row = fixture.managed(ident);
    (row.state, row.ctime_ns)
}

#[test]
fn a_recalled_stub_is_uploaded_again_with_the_stamps_it_was_left_with() {
    let (mut fixture, ident) = uploaded_file();
    fixture.stub(ident, 40);
    let (row, failed) = (recall(&fixture, ident, 41), failure(&fixture, ident));
    record(&mut fixture, std::slice::from_ref(&failed));
    assert_eq!(state(&fixture, ident), (FileState::Stub, 40));
    record(&mut fixture, &[row]);
    let found = fixture.managed(ident);
    assert_eq!((found.state, found.ctime_ns, found.mtime_ns), (FileState::Uploaded, 41, 12));
    assert_eq!((found.recalled_ns, found.former_state), (Some(1000), None));

    let logged = fixture.db.recent_recalls(9).expect("log");
    assert_eq!(logged.len(), 2);
    assert_eq!((logged[0].root, &logged[0].path), (Some(fixture.root), &Some(path("a"))));
    assert_eq!((logged[0].outcome.as_str(), logged[0].latency_ms), (RECALLED, 7));
    assert_eq!(logged[1].outcome, failed.outcome);
    assert_eq!(fixture.db.recent_recalls(1).expect("log"), logged[..1]);
}

#[test]
fn a_damaged_stub_is_sound_once_it_was_recalled() {
    let (mut fixture, ident) = uploaded_file();
    fixture.stub(ident, 40);
    fixture.db.set_state(fixture.root, ident, FileState::Damaged, Some("lost")).expect("set");
    let row = recall(&fixture, ident, 41);
    record(&mut fixture, &[row]);
    let found = fixture.managed(ident);
    assert_eq!((found.state, found.reason), (FileState::Uploaded, None));
}

/// Otherwise a file that is being stubbed again would be taken for whole.
#[test]
fn a_record_that_comes_too_late_changes_no_state() {
    let (mut fixture, ident) = uploaded_file();
    let late = recall(&fixture, ident, 13);
    fixture.db.begin_stubs(fixture.root, &[ident]).expect("begin");
    record(&mut fixture, std::slice::from_ref(&late));
    assert_eq!(state(&fixture, ident), (FileState::Stubbing, 13));
    assert_eq!(fixture.managed(ident).recalled_ns, Some(1000), "it was recalled all the same");
    let passed = fixture.db.finish_stubs(fixture.root, &[(ident, 40)], 7).expect("finish");
    assert_eq!(passed, []);
    assert_eq!(state(&fixture, ident), (FileState::Stub, 40));

    for settled in [FileState::Uploaded, FileState::Dirty, FileState::Uploading] {
        fixture.db.set_state(fixture.root, ident, settled, None).expect("set");
        let row = recall(&fixture, ident, 99);
        record(&mut fixture, &[row]);
        assert_eq!(state(&fixture, ident), (settled, 40));
    }
}

#[test]
fn a_file_that_was_recalled_before_its_batch_ended_is_passed_over() {
    let (mut fixture, ident) = uploaded_file();
    let root = fixture.root;
    let other = {
        let seen = file_stat(3);
        fixture.scan(&[("", &[(b"a", file_stat(2)), (b"b", seen.clone())])], 2);
        fixture.upload("b", &seen)
    };
    fixture.db.begin_stubs(root, &[ident, other]).expect("begin");
    let row = recall(&fixture, ident, 41);
    record(&mut fixture, &[row]);
    let passed = fixture.db.finish_stubs(root, &[(ident, 40), (other, 40)], 7).expect("finish");
    assert_eq!(passed, [ident]);
    assert_eq!(state(&fixture, ident), (FileState::Uploaded, 41));
    assert_eq!(state(&fixture, other), (FileState::Stub, 40));

    // A recall that failed in a batch, and succeeded for a program after it.
    fixture.db.begin_recalls(root, &[other]).expect("begin");
    let row = recall(&fixture, other, 42);
    record(&mut fixture, &[row]);
    assert_eq!(fixture.db.cancel_recalls(root, &[other]).expect("cancel"), [other]);
    assert_eq!(state(&fixture, other), (FileState::Uploaded, 42));

    fixture.stub(other, 50);
    fixture.db.begin_recalls(root, &[other]).expect("begin");
    let row = recall(&fixture, other, 51);
    record(&mut fixture, &[row]);
    let passed = fixture.db.finish_recalls(root, &[(other, 50, 12)], 9).expect("finish");
    assert_eq!(passed, [other]);
    assert_eq!(state(&fixture, other), (FileState::Uploaded, 51), "the younger record stands");

    fixture.db.begin_stubs(root, &[other]).expect("begin");
    let row = recall(&fixture, other, 60);
    record(&mut fixture, &[row]);
    assert_eq!(fixture.db.cancel_stubs(root, &[other]).expect("cancel"), [other]);
}

/// The same state, and nobody but a second run can have set it.
#[test]
fn what_no_recall_explains_is_still_refused() {
    let (mut fixture, ident) = uploaded_file();
    let root = fixture.root;
    let before = [recall(&fixture, ident, 1), failure(&fixture, ident)];
    record(&mut fixture, &before);
    fixture.db.begin_stubs(root, &[ident]).expect("begin");
    fixture.db.set_state(root, ident, FileState::Uploaded, None).expect("another run");
    let failed = failure(&fixture, ident);
    record(&mut fixture, &[failed]);
    let error = fixture.db.finish_stubs(root, &[(ident, 40)], 7).expect_err("two runs");
    assert!(matches!(error, Error::WrongState { .. }), "{error}");
    assert!(fixture.db.cancel_stubs(root, &[ident]).is_err());

    // A process that began nothing has nothing to end.
    let row = recall(&fixture, ident, 99);
    record(&mut fixture, &[row]);
    let file = fixture.dir.path().join("state.db");
    let mut other = StateDb::open(&file).expect("open");
    assert!(other.finish_stubs(root, &[(ident, 40)], 7).is_err());
}

#[test]
fn a_file_is_looked_for_only_in_the_roots_of_its_file_system() {
    let (mut fixture, ident) = uploaded_file();
    let elsewhere = fixture.db.add_root(Path::new("/srv/b"), "ext4 99 2 0", 1).expect("a root");
    fixture.stub(ident, 40);
    let stray = RecallRow { roots: vec![elsewhere], ..recall(&fixture, ident, 41) };
    record(&mut fixture, &[stray]);
    assert_eq!(state(&fixture, ident), (FileState::Stub, 40));
    assert_eq!(fixture.db.recent_recalls(1).expect("log")[0].root, None);
    let both = [elsewhere, fixture.root];
    let found = fixture.db.managed_anywhere(&both, ident).expect("read").expect("managed");
    assert_eq!((found.root, found.ident), (fixture.root, ident));
    assert_eq!(fixture.db.managed_anywhere(&both[..1], ident).expect("read"), None);
    let known = RecallRow { roots: both.to_vec(), ..recall(&fixture, ident, 41) };
    record(&mut fixture, &[known]);
    assert_eq!(state(&fixture, ident), (FileState::Uploaded, 41));
    fixture.db.remove_root(fixture.root).expect("remove");
    assert_eq!(fixture.db.recent_recalls(1).expect("log")[0].root, None);
}

#[test]
fn those_who_caused_most_come_first_and_old_recalls_do_not_count() {
    let (mut fixture, ident) = uploaded_file();
    let by = |fixture: &Fixture, exe: &str, uid, bytes, at_ns| RecallRow {
        exe: exe.to_owned(),
        uid,
        bytes,
        at_ns,
        ..recall(fixture, ident, 41)
    };
    let rows = [
        by(&fixture, "/usr/bin/tar", 0, 10, 500),
        by(&fixture, "/usr/bin/tar", 0, 10, 501),
        by(&fixture, "/usr/bin/tar", 7, 15, 502),
        by(&fixture, "/usr/bin/find", 0, 1_000_000, 499),
        RecallRow { exe: "/usr/bin/du".into(), ..failure(&fixture, ident) },
    ];
    record(&mut fixture, &rows);
    let top = fixture.db.top_recallers(500, 9).expect("top");
    let shown: Vec<_> =
        top.iter().map(|r| (r.who.as_str(), r.uid, r.files, r.bytes, r.denied)).collect();
    let expected = [
        ("/usr/bin/tar", 0, 2, 20, 0),
        ("/usr/bin/tar", 7, 1, 15, 0),
        ("/usr/bin/du", 1000, 0, 0, 1),
    ];
    assert_eq!(shown, expected);
    assert_eq!(fixture.db.top_recallers(500, 1).expect("top"), top[..1]);
    assert_eq!(fixture.db.top_recallers(2000, 9).expect("top"), []);
}

#[test]
fn the_log_keeps_a_bounded_number_of_recalls() {
    let (mut fixture, ident) = uploaded_file();
    let rows = vec![failure(&fixture, ident); 60_000];
    record(&mut fixture, &rows);
    record(&mut fixture, &rows);
    let kept = fixture.db.top_recallers(0, 1).expect("top")[0].denied;
    assert_eq!(kept, 100_000);
}
