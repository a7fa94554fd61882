//! DBs that are missing, foreign, damaged, newer or older.

use super::*;
use crate::policy::FileState;
use rusqlite::Connection;
use std::fs;
use std::path::PathBuf;

/// A small DB that was written by the first release, compressed.
const VERSION_1: &[u8] = include_bytes!("v1.db.zst");

fn db_file(fixture: &Fixture) -> PathBuf {
    fixture.dir.path().join("state.db")
}

/// The fixture's DB with everything in the one file, closed.
fn closed(fixture: Fixture) -> (TempDir, PathBuf) {
    let file = db_file(&fixture);
    let Fixture { dir, db, .. } = fixture;
    drop(db);
    (dir, file)
}

fn filled() -> Fixture {
    let mut fixture = Fixture::new();
    let seen = file_stat(2);
    let entries: Vec<(Vec<u8>, Stat)> =
        (0..500).map(|at| (format!("n{at:04}").into_bytes(), file_stat(100 + at))).collect();
    let mut listed: Vec<(&[u8], Stat)> = vec![(b"a", seen.clone())];
    listed.extend(entries.iter().map(|(name, stat)| (&name[..], stat.clone())));
    fixture.scan(&[("", &listed)], 1);
    fixture.upload("a", &seen);
    fixture
}

#[test]
fn a_db_is_made_once_and_keeps_whose_it_is() {
    let (dir, file) = closed(Fixture::new());
    let error = StateDb::create(&file, STORE, NODE, 1).expect_err("exists");
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    let db = StateDb::open(&file).expect("open");
    assert_eq!((db.store_id(), db.node_id()), (STORE, NODE));
    db.check().expect("sound");
    let missing = dir.path().join("none.db");
    for open in [StateDb::open, StateDb::open_read_only] {
        let error = open(&missing).expect_err("missing");
        assert!(matches!(error, Error::Missing { .. }), "{error}");
    }
    assert!(!missing.exists());
}

#[test]
fn a_read_only_db_reads_and_refuses_to_write() {
    let fixture = filled();
    let (_dir, file) = closed(fixture);
    let before = fs::read(&file).expect("read");
    let mut db = StateDb::open_read_only(&file).expect("open");
    assert_eq!(db.roots().expect("roots").len(), 1);
    assert!(db.set_setting("a", "b").is_err());
    drop(db);
    assert_eq!(fs::read(&file).expect("read"), before);
}

#[test]
fn readers_do_not_wait_for_a_scan() {
    let mut fixture = filled();
    let reader = StateDb::open_read_only(&db_file(&fixture)).expect("open");
    let root = fixture.root;
    let mut scan = fixture.db.begin_scan(root, None, 2).expect("begin");
    scan.directory(&path(""), &dir_stat(1), &[], Part::WHOLE).expect("a directory");
    let counts = reader.counts(root).expect("counts");
    assert_eq!(counts.unmanaged_files, 500);
    scan.finish(true, 2).expect("finish");
    assert_eq!(reader.counts(root).expect("counts").unmanaged_files, 0);
}

#[test]
fn a_newer_db_is_refused_and_left_as_it_is() {
    let (_dir, file) = closed(Fixture::new());
    let conn = Connection::open(&file).expect("open");
    conn.pragma_update(None, "user_version", 99).expect("a later version");
    drop(conn);
    for open in [StateDb::open, StateDb::open_read_only] {
        let error = open(&file).expect_err("newer");
        let known = migrations::known();
        assert!(matches!(error, Error::Newer { found: 99, known: k, .. } if k == known), "{error}");
    }
}

#[test]
fn what_is_no_state_db_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let text = dir.path().join("text");
    fs::write(&text, b"not a database, but longer than the header of one. ".repeat(99))
        .expect("write");
    let empty = dir.path().join("empty");
    fs::write(&empty, b"").expect("write");
    let foreign = dir.path().join("foreign");
    let conn = Connection::open(&foreign).expect("open");
    conn.execute_batch("CREATE TABLE t (a); PRAGMA user_version = 1").expect("foreign");
    drop(conn);
    for file in [text, empty, foreign] {
        let before = fs::read(&file).expect("read");
        let error = StateDb::open(&file).expect_err("not ours");
        assert!(matches!(error, Error::Corrupted { .. }), "{file:?}: {error}");
        assert!(error.to_string().contains(&*file.to_string_lossy()), "{error}");
        assert_eq!(fs::read(&file).expect("read"), before);
    }
}

#[test]
fn damage_is_reported_as_damage_wherever_it_is_met() {
    let (_dir, file) = closed(filled());
    let whole = fs::read(&file).expect("read");
    let mut reported = 0;
    for page in 0..whole.len() / 8192 {
        let mut bytes = whole.clone();
        let start = page * 8192 + if page == 0 { 100 } else { 0 };
        for byte in &mut bytes[start..start + 64] {
            *byte ^= 0xff;
        }
        fs::write(&file, &bytes).expect("write");
        match read_everything(&file) {
            Ok(()) => {}
            Err(Error::Corrupted { .. }) => reported += 1,
            Err(other) => panic!("page {page}: {other:?}"),
        }
    }
    assert!(reported > 10, "{reported} damaged pages were noticed");
}

fn read_everything(file: &Path) -> Result<()> {
    let db = StateDb::open(file)?;
    db.check()?;
    for root in db.roots()? {
        db.for_each_entry(root.id, None, &mut |_| ControlFlow::Continue(()))?;
        db.for_each_managed(root.id, None, &[], &mut |_| ControlFlow::Continue(()))?;
        db.counts(root.id)?;
    }
    Ok(())
}

#[test]
fn a_truncated_db_is_damaged() {
    let (_dir, file) = closed(filled());
    let whole = fs::read(&file).expect("read");
    fs::write(&file, &whole[..whole.len() / 2]).expect("write");
    let error = read_everything(&file).expect_err("cut short");
    assert!(matches!(error, Error::Corrupted { .. }), "{error:?}");
}

#[test]
fn a_value_that_hsm_never_writes_is_damage() {
    let (_dir, file) = closed(filled());
    let conn = Connection::open(&file).expect("open");
    conn.execute("UPDATE file SET state = 'resting'", []).expect("update");
    drop(conn);
    let db = StateDb::open(&file).expect("open");
    let error = db.counts(db.roots().expect("roots")[0].id).expect_err("no such state");
    assert!(matches!(error, Error::Corrupted { .. }), "{error}");
}

#[test]
fn a_second_writer_is_told_that_the_db_is_busy() {
    let mut fixture = Fixture::new();
    let conn = Connection::open(db_file(&fixture)).expect("open");
    conn.execute_batch("BEGIN IMMEDIATE").expect("begin");
    fixture.db.conn.busy_timeout(std::time::Duration::ZERO).expect("no patience");
    let error = fixture.db.set_setting("a", "b").expect_err("busy");
    assert!(matches!(error, Error::Busy { .. }), "{error}");
}

#[test]
fn a_full_disk_is_told_apart_and_leaves_the_db_as_it_was() {
    let mut fixture = Fixture::new();
    let pages: i64 = fixture
        .db
        .conn
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .expect("page count");
    fixture.db.conn.pragma_update(None, "max_page_count", pages + 1).expect("a small disk");
    let value = "x".repeat(100_000);
    let error = fixture.db.set_setting("a", &value).expect_err("full");
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(fixture.db.setting("a").expect("read"), None);
    fixture.db.set_setting("a", "small").expect("fits");
}

/// The stored DB as a file.
fn version_1() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("state.db");
    fs::write(&file, zstd::decode_all(VERSION_1).expect("decompress")).expect("write");
    (dir, file)
}

fn schema_version(file: &Path) -> i64 {
    let conn = Connection::open(file).expect("open");
    conn.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
}

#[test]
fn the_stored_db_of_version_1_opens_and_is_whole() {
    let (_dir, file) = version_1();
    assert_eq!(schema_version(&file), 1);
    let db = StateDb::open(&file).expect("open");
    db.check().expect("sound");
    assert_eq!((db.store_id(), db.node_id()), (STORE, NODE));
    let root = db.roots().expect("roots").remove(0);
    assert_eq!((root.path.as_path(), root.entries), (Path::new("/srv/a"), 501));
    let row = db.managed_at(root.id, &path("a")).expect("read").expect("managed");
    assert_eq!((row.state, row.uploaded_ns), (FileState::Uploaded, Some(6)));
    assert_eq!(db.log_head().expect("head").next_seq, 2);
    let counts = db.counts(root.id).expect("counts");
    assert_eq!((counts.unmanaged_files, counts.unmanaged_bytes), (500, 5000));
}

#[test]
fn a_db_of_version_1_is_brought_up_to_date_by_whoever_opens_it() {
    let (_dir, file) = version_1();
    let reader = StateDb::open_read_only(&file).expect("open");
    assert_eq!(reader.recent_recalls(9).expect("none"), []);
    assert_eq!(reader.top_recallers(0, 9).expect("none"), []);
    drop(reader);
    assert_eq!(schema_version(&file), migrations::known());

    let mut db = StateDb::open(&file).expect("open");
    let root = db.roots().expect("roots")[0].id;
    let managed = db.managed_at(root, &path("a")).expect("read").expect("managed");
    assert!(db.begin_stubs(root, &[managed.ident]).expect("begin").is_empty());
    let recall = RecallRow {
        at_ns: 9,
        ident: managed.ident,
        roots: vec![root],
        ctime_ns: Some(managed.ctime_ns + 1),
        mtime_ns: Some(managed.mtime_ns),
        bytes: 10,
        latency_ms: 1,
        pid: 1,
        uid: 0,
        exe: String::new(),
        cgroup: String::new(),
        outcome: RECALLED.to_owned(),
    };
    db.record_recalls(&[recall]).expect("record");
    let passed = db.finish_stubs(root, &[(managed.ident, managed.ctime_ns)], 9).expect("finish");
    assert_eq!(passed, [managed.ident]);
    assert_eq!(db.recent_recalls(9).expect("log").len(), 1);
    drop(db);
    assert_eq!(schema_version(&file), migrations::known());
    StateDb::open(&file).expect("open again").check().expect("sound");
}
