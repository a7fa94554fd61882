//! Which node, point and paths a request means.

use super::*;
use crate::ids::StoreId;
use crate::manifest::{FileRecord, Name, Record, SegmentHeader};

const STORE: StoreId = StoreId([1; 16]);
const ONE: NodeId = NodeId([0x11; 16]);
const TWO: NodeId = NodeId([0x12; 16]);
const SECOND: i64 = 1_000_000_000;

fn dir(root: &str, path: &str) -> Record {
    let name = |text: &str| Name::from_bytes(text.as_bytes());
    Record::File(Box::new(FileRecord {
        root: name(root),
        path: name(path),
        kind: 'd',
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        ino: 0,
        generation: 0,
        nlink: 1,
        size_bytes: 0,
        xattrs: vec![],
        target: None,
        link: None,
        rdev: None,
        content: None,
        pieces: vec![],
        chunking: None,
    }))
}

fn enter(db: &mut CatalogDb, node: NodeId, seq: u64, records: Vec<Record>) {
    let header = SegmentHeader {
        store: STORE,
        node,
        seq,
        prev: None,
        ack_gen: 0,
        session: "s".to_owned(),
        written_ns: seq as i64 * SECOND,
    };
    db.apply_segment(&header, [0; 32], 1, records).expect("entered");
}

/// One node with two roots and two versions of a path.
fn one_node() -> CatalogDb {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let host = Some("files1".to_owned());
    let open = Record::Open { session: "s".to_owned(), host };
    let first = ["", "a", "a-b", "a/b"].map(|path| dir("/srv/media", path));
    enter(&mut db, ONE, 1, [vec![open], first.into()].concat());
    let snapshot = Record::Snapshot { name: "before".to_owned(), seq: 1, at_ns: SECOND };
    enter(&mut db, ONE, 2, vec![dir("/srv/media", "a/b"), dir("/srv/docs", ""), snapshot]);
    db
}

fn two_nodes() -> CatalogDb {
    let mut db = one_node();
    enter(&mut db, TWO, 1, vec![dir("/home", "")]);
    db
}

fn select(db: &CatalogDb, moment: &Moment, paths: &[&str]) -> Result<Selection, Error> {
    let node = choose_node(db, ONE, None).expect("a node");
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    Selection::new(db, node, moment, &paths)
}

fn picked(selection: &Selection) -> Vec<String> {
    selection.picks.iter().map(|pick| pick.path().display().to_string()).collect()
}

#[test]
fn a_node_is_this_one_or_the_only_one_or_the_one_that_was_named() {
    let (single, several) = (one_node(), two_nodes());
    let fresh = NodeId([9; 16]);
    assert_eq!(choose_node(&single, fresh, None).expect("the only one").node, ONE);
    assert_eq!(choose_node(&several, TWO, None).expect("our own").node, TWO);
    assert_eq!(choose_node(&several, fresh, Some("files1")).expect("by host").node, ONE);
    let prefix = &TWO.to_string()[..3];
    assert_eq!(choose_node(&several, ONE, Some(prefix)).expect("by id").node, TWO);
    let text = choose_node(&several, fresh, None).expect_err("two").to_string();
    assert!(text.contains(&ONE.to_string()) && text.contains(&TWO.to_string()), "{text}");
    assert!(text.contains("files1  last written 1970-01-01T00:00:02Z"), "{text}");
    assert!(matches!(choose_node(&several, ONE, Some("1")), Err(Error::SeveralNodes(_))));
    assert!(matches!(choose_node(&several, ONE, Some("x")), Err(Error::UnknownNode { .. })));
    // An unset variable of a script names nobody.
    assert!(matches!(choose_node(&single, ONE, Some("")), Err(Error::UnknownNode { .. })));
    let empty = CatalogDb::temporary(STORE).expect("a copy");
    assert!(matches!(choose_node(&empty, ONE, None), Err(Error::NoNode)));
}

/// A node that joined the store to restore from it has begun a log of its own.
#[test]
fn a_log_that_names_no_file_is_no_choice() {
    let mut db = one_node();
    enter(&mut db, TWO, 1, vec![]);
    assert_eq!(choose_node(&db, TWO, None).expect("the other").node, ONE);
}

#[test]
fn paths_are_found_in_their_roots_and_none_twice() {
    let db = one_node();
    let now = Moment::default();
    let select = |paths: &[&str]| select(&db, &now, paths).map(|found| picked(&found));
    assert_eq!(select(&[]).expect("all"), ["/srv/docs", "/srv/media"]);
    assert_eq!(select(&["/srv"]).expect("above"), ["/srv/docs", "/srv/media"]);
    assert_eq!(select(&["/"]).expect("above"), ["/srv/docs", "/srv/media"]);
    let nested = ["/srv/media/a/b/", "/srv//media/./x/../a", "/srv/media/a-b"];
    assert_eq!(select(&nested).expect("two"), ["/srv/media/a", "/srv/media/a-b"]);
    assert!(matches!(select(&["/srv/media/c"]), Err(Error::Nothing { .. })));
    let outside = select(&["/srv/mediaeval"]).expect_err("outside").to_string();
    assert!(outside.contains("/srv/mediaeval is below no root"), "{outside}");
    assert!(outside.ends_with("which has: /srv/docs, /srv/media"), "{outside}");
}

#[test]
fn a_moment_is_a_time_a_snapshot_or_a_version() {
    let db = one_node();
    let at = |at_ns| Moment { at_ns: Some(at_ns), ..Moment::default() };
    assert_eq!(select(&db, &at(2 * SECOND - 1), &[]).expect("then").point, Point::Seq(1));
    assert_eq!(select(&db, &at(9 * SECOND), &[]).expect("then").point, Point::Seq(2));
    assert!(matches!(select(&db, &at(SECOND - 1), &[]), Err(Error::TooEarly { .. })));
    assert!(matches!(select(&db, &at(SECOND), &["/srv/docs"]), Err(Error::Nothing { .. })));
    let named = |name: &str| Moment { snapshot: Some(name.to_owned()), ..Moment::default() };
    assert_eq!(select(&db, &named("before"), &[]).expect("then").point, Point::Seq(1));
    let error = select(&db, &named("after"), &[]).expect_err("unknown").to_string();
    assert!(error.contains("no snapshot \"after\"; it has: before"), "{error}");
    let version = |number| Moment { version: Some(number), ..Moment::default() };
    assert_eq!(select(&db, &version(2), &["/srv/media/a/b"]).expect("it").point, Point::Seq(2));
    for (number, path) in [(2, "/srv/media/a"), (3, "/srv/media/a/b"), (1, "/srv/docs")] {
        let error = select(&db, &version(number), &[path]).expect_err("no such version");
        assert_eq!(error.to_string(), format!("{path} has no version {number}"));
    }
    let many = ["/srv/media/a", "/srv/media/a/b"];
    assert!(matches!(select(&db, &version(1), &many), Err(Error::VersionOfMany)));
}
