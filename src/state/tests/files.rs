//! Uploads, stubs and recalls as changes of state.

use super::*;
use crate::policy::{FileState, Pin};

fn one_file() -> (Fixture, Stat, FileIdent) {
    let mut fixture = Fixture::new();
    let seen = file_stat(2);
    fixture.scan(&[("", &[(b"a", seen.clone())])], 1);
    let ident = FileIdent { ino: 2, generation: generation_of(&seen) };
    (fixture, seen, ident)
}

#[test]
fn a_file_goes_out_and_comes_back() {
    let (mut fixture, seen, ident) = one_file();
    let root = fixture.root;
    fixture.upload("a", &seen);
    let row = fixture.managed(ident);
    assert_eq!((row.state, row.uploaded_ns), (FileState::Uploaded, Some(6)));
    assert_eq!((row.segment_seq, row.rule.as_deref()), (Some(1), Some("cold")));
    let id = content_of(&seen).id();
    assert_eq!(row.content, Some(id));
    let (content, chunking) = fixture.db.content(id).expect("read").expect("there");
    assert_eq!((content, chunking.as_str()), (content_of(&seen), "fixed:4194304"));

    fixture.stub(ident, 40);
    let row = fixture.managed(ident);
    assert_eq!((row.state, row.ctime_ns, row.stubbed_ns), (FileState::Stub, 40, Some(7)));
    assert!(fixture.db.begin_recalls(root, &[ident]).expect("begin").is_empty());
    assert_eq!(fixture.db.transient(root).expect("transient").len(), 1);
    fixture.db.finish_recalls(root, &[(ident, 50, 12)], 8).expect("finish");
    let row = fixture.managed(ident);
    assert_eq!((row.state, row.ctime_ns, row.recalled_ns), (FileState::Uploaded, 50, Some(8)));
    assert!(fixture.db.transient(root).expect("transient").is_empty());
}

#[test]
fn what_did_not_happen_is_undone() {
    let (mut fixture, seen, ident) = one_file();
    let root = fixture.root;
    fixture.db.begin_uploads(root, &[intent("a", &seen)], 1).expect("begin");
    assert_eq!(fixture.managed(ident).former_state, None);
    fixture.db.abandon_uploads(root, &[ident]).expect("abandon");
    assert_eq!(fixture.db.managed_by_ident(root, ident).expect("read"), None);

    fixture.upload("a", &seen);
    let newer = Stat { mtime_ns: 99, ..seen };
    fixture.db.begin_uploads(root, &[intent("a", &newer)], 1).expect("begin");
    let row = fixture.managed(ident);
    assert_eq!((row.state, row.mtime_ns), (FileState::Uploading, 12));
    assert!(row.content.is_some(), "the copy before counts until there is another");
    fixture.db.abandon_uploads(root, &[ident]).expect("abandon");
    assert_eq!(fixture.managed(ident).state, FileState::Uploaded);

    fixture.db.begin_stubs(root, &[ident]).expect("begin");
    fixture.db.cancel_stubs(root, &[ident]).expect("cancel");
    assert_eq!(fixture.managed(ident).state, FileState::Uploaded);
    fixture.stub(ident, 40);
    fixture.db.begin_recalls(root, &[ident]).expect("begin");
    fixture.db.cancel_recalls(root, &[ident]).expect("cancel");
    assert_eq!(fixture.managed(ident).state, FileState::Stub);
    // Abandoning is for uploads only.
    fixture.db.abandon_uploads(root, &[ident]).expect("abandon");
    assert_eq!(fixture.managed(ident).state, FileState::Stub);
}

#[test]
fn files_in_another_state_are_passed_over_at_the_beginning_and_refused_at_the_end() {
    let (mut fixture, seen, ident) = one_file();
    let root = fixture.root;
    let stranger = FileIdent { ino: 77, generation: 1 };
    let wrong_generation = FileIdent { generation: 99, ..ident };
    fixture.upload("a", &seen);
    let asked = [stranger, ident, wrong_generation];
    let refused = fixture.db.begin_stubs(root, &asked).expect("begin");
    assert_eq!(refused, [stranger, wrong_generation]);
    assert_eq!(fixture.db.begin_recalls(root, &[ident]).expect("begin"), [ident]);
    let refused = fixture.db.begin_uploads(root, &[intent("a", &seen)], 1).expect("begin");
    assert_eq!(refused, [ident]);

    let error = fixture.db.finish_stubs(root, &[(ident, 1), (stranger, 1)], 1).expect_err("wrong");
    assert!(matches!(error, Error::WrongState { ident, .. } if ident == stranger), "{error}");
    assert_eq!(fixture.managed(ident).state, FileState::Stubbing, "all or nothing");
    let error = fixture.db.cancel_recalls(root, &[ident]).expect_err("not recalling");
    assert!(error.to_string().contains("is stubbing, not recalling"), "{error}");
}

#[test]
fn a_segment_commits_as_a_whole_and_in_order() {
    let (mut fixture, seen, ident) = one_file();
    let root = fixture.root;
    assert_eq!(fixture.db.log_head().expect("head"), LogHead { next_seq: 1, prev: None });
    fixture.db.begin_uploads(root, &[intent("a", &seen)], 1).expect("begin");
    let stranger = FileIdent { ino: 77, generation: 1 };
    let files = [uploaded(ident, &seen), uploaded(stranger, &seen)];
    let both = SegmentCommit { seq: 1, hash: [3; 32], files: &files, ..Default::default() };
    assert!(fixture.db.commit_segment(root, &both, 1).is_err());
    assert_eq!(fixture.managed(ident).state, FileState::Uploading);
    assert_eq!(fixture.db.content(content_of(&seen).id()).expect("read"), None);
    let one = SegmentCommit { files: &files[..1], ..both.clone() };
    fixture.db.commit_segment(root, &one, 1).expect("commit");
    let head = fixture.db.log_head().expect("head");
    assert_eq!(head, LogHead { next_seq: 2, prev: Some([3; 32]) });
    let error = fixture.db.commit_segment(root, &one, 1).expect_err("again");
    assert!(matches!(error, Error::WrongSegment { given: 1, next: 2 }), "{error}");
}

#[test]
fn changed_files_become_dirty_and_transient_ones_are_left_alone() {
    let (mut fixture, seen, ident) = one_file();
    fixture.upload("a", &seen);
    fixture.db.begin_stubs(fixture.root, &[ident]).expect("begin");
    let touched = Stat { ctime_ns: 60, ..seen };
    let tree: [Dir<'_>; 1] = [("", &[(b"a", touched)])];
    let changes = fixture.scan(&tree, 2);
    assert_eq!((changes.dirty, changes.suspects.len()), (0, 0));
    assert_eq!(fixture.managed(ident).state, FileState::Stubbing);
    fixture.db.cancel_stubs(fixture.root, &[ident]).expect("cancel");
    // The names did not change since: only the managed file differs from them.
    let changes = fixture.scan(&tree, 3);
    assert_eq!((changes.dirty, changes.unchanged), (1, 1));
    assert_eq!(fixture.managed(ident).state, FileState::Dirty);
}

#[test]
fn damage_is_remembered_with_its_reason_until_a_fresh_copy() {
    let (mut fixture, seen, ident) = one_file();
    let root = fixture.root;
    fixture.upload("a", &seen);
    fixture.db.set_state(root, ident, FileState::Damaged, Some("pack lost")).expect("set");
    let row = fixture.managed(ident);
    assert_eq!((row.state, row.reason.as_deref()), (FileState::Damaged, Some("pack lost")));
    fixture.upload("a", &seen);
    assert_eq!(fixture.managed(ident).reason, None);
    let stranger = FileIdent { ino: 77, generation: 1 };
    assert!(fixture.db.set_state(root, stranger, FileState::Dirty, None).is_err());
}

#[test]
fn a_file_uploaded_before_any_scan_is_found_by_its_path() {
    let mut fixture = Fixture::new();
    let seen = file_stat(2);
    let ident = fixture.upload("x/y/a", &seen);
    let row = fixture.db.managed_at(fixture.root, &path("x/y/a")).expect("read");
    assert_eq!(row.map(|row| row.ident), Some(ident));
    let mut found = 0;
    let under = path("x/y/a");
    fixture
        .db
        .for_each_managed(fixture.root, Some(&under), &[FileState::Uploaded], &mut |_| {
            found += 1;
            ControlFlow::Continue(())
        })
        .expect("managed");
    assert_eq!(found, 1);
    let tree: [Dir<'_>; 3] =
        [("", &[(b"x", dir_stat(7))]), ("x", &[(b"y", dir_stat(8))]), ("x/y", &[(b"a", seen)])];
    let changes = fixture.scan(&tree, 9);
    assert_eq!((changes.dirty, changes.gone, changes.moved), (0, 0, 0));
}

#[test]
fn pins_settings_and_runs_keep_what_they_are_told() {
    let (mut fixture, _, _) = one_file();
    let root = fixture.root;
    let db = &mut fixture.db;
    db.set_pin(root, &path("b"), Pin::Excluded, 1).expect("pin");
    db.set_pin(root, &path("a"), Pin::Excluded, 1).expect("pin");
    db.set_pin(root, &path("a"), Pin::Pinned, 2).expect("pin");
    db.set_pin(root, &path("c"), Pin::None, 2).expect("pin");
    let pins = db.pins(root).expect("pins");
    assert_eq!(pins, [(path("a"), Pin::Pinned), (path("b"), Pin::Excluded)]);
    db.set_pin(root, &path("a"), Pin::None, 3).expect("pin");
    assert_eq!(db.pins(root).expect("pins").len(), 1);

    assert_eq!(db.setting("k").expect("read"), None);
    db.set_setting("k", "1").expect("set");
    db.set_setting("k", "{\"a\":2}").expect("set");
    assert_eq!(db.setting("k").expect("read").as_deref(), Some("{\"a\":2}"));

    let run = |command: &str| RunRow {
        command: command.to_owned(),
        root: Some(root),
        started_ns: 1,
        finished_ns: 2,
        outcome: "{}".to_owned(),
        usage: (command == "tier").then_some(Usage {
            used_before_bytes: 3,
            used_after_bytes: u64::MAX,
            usable_bytes: 9,
        }),
    };
    db.record_run(&run("scan")).expect("record");
    db.record_run(&run("tier")).expect("record");
    assert_eq!(db.recent_runs(1).expect("runs"), [run("tier")]);
    assert_eq!(db.recent_runs(9).expect("runs").len(), 2);
    assert_eq!(db.runs_since(2).expect("runs"), [run("scan"), run("tier")]);
    assert_eq!(db.runs_since(3).expect("runs"), []);
    db.remove_root(root).expect("remove");
    assert_eq!(db.recent_runs(1).expect("runs")[0].root, None);
}

#[test]
fn an_adopted_stub_is_managed_once_a_scan_has_seen_it() {
    let (mut fixture, seen, ident) = one_file();
    let root = fixture.root;
    fixture.upload("a", &seen);
    let adopted = |stat: &Stat, name: &str| AdoptedStub {
        ident: FileIdent { ino: stat.ino, generation: generation_of(stat) },
        btime_ns: stat.btime_ns,
        path: path(name),
        content: content_of(&seen).id(),
        size_bytes: stat.size_bytes,
        mtime_ns: stat.mtime_ns,
        ctime_ns: 70,
    };
    let copy = file_stat(3);
    let stub = adopted(&copy, "b");
    assert!(!fixture.db.adopt_stub(root, &stub, 8).expect("not seen"));
    fixture.scan(&[("", &[(b"a", seen.clone()), (b"b", copy.clone())])], 2);
    assert!(!fixture.db.adopt_stub(root, &adopted(&copy, "c"), 8).expect("another name"));
    assert!(fixture.db.adopt_stub(root, &stub, 8).expect("adopt"));
    let row = fixture.managed(stub.ident);
    assert_eq!((row.state, row.ctime_ns, row.content), (FileState::Stub, 70, Some(stub.content)));
    assert_eq!((row.stubbed_ns, row.segment_seq), (Some(8), None));
    assert_eq!(fixture.db.uncatalogued_files(root, 9).expect("files"), [row]);

    // An inode that was managed as something else before.
    let successor = Stat { btime_ns: 99, ..seen.clone() };
    assert!(fixture.db.adopt_stub(root, &adopted(&successor, "a"), 9).expect("adopt"));
    assert_eq!(fixture.db.managed_by_ident(root, ident).expect("read"), None);
    let gone = fixture.db.pending_gone(root, 9).expect("gone");
    assert_eq!(gone.iter().map(|row| row.ident).collect::<Vec<_>>(), [ident]);
}
