//! A log is entered segment by segment; what it says at each point is what a naive
//! replay says.

use super::*;
use crate::chunk::{ChunkSlot, Codec};
use crate::ids::{ChunkId, ContentId, FileIdent, NodeId, PackId, StoreId};
use crate::manifest::{
    Collected, Content, FileRecord, Name, PackRecord, Piece, Record, SegmentHeader,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

pub(super) const STORE: StoreId = StoreId([1; 16]);
pub(super) const NODE: NodeId = NodeId([2; 16]);

pub(super) fn content(number: u8) -> Content {
    let piece = Piece { len: u64::from(number) + 1, chunk: Some(ChunkId([number; 32])) };
    Content::new([piece]).expect("a content")
}

pub(super) fn file(path: &str, number: u8) -> Record {
    let content = content(number);
    Record::File(Box::new(FileRecord {
        root: Name::from_bytes(b"/srv"),
        path: Name::from_bytes(path.as_bytes()),
        kind: 'f',
        mode: 0o640,
        uid: 1,
        gid: 2,
        mtime_ns: -3,
        ctime_ns: 4,
        ino: u64::MAX - 1,
        generation: number.into(),
        nlink: 1,
        size_bytes: content.size_bytes,
        xattrs: vec![(b"user.a".to_vec(), b"\0b".to_vec()), (b"user.empty".to_vec(), vec![])],
        target: None,
        link: None,
        rdev: None,
        content: Some(content.id()),
        pieces: content.pieces,
        chunking: Some("fixed:4096".to_owned()),
    }))
}

pub(super) fn gone(path: &str) -> Record {
    let (root, path) = (Name::from_bytes(b"/srv"), Name::from_bytes(path.as_bytes()));
    Record::Gone { root, path, content: None, when_ns: 0 }
}

pub(super) fn pack(number: u8, chunks: &[u8]) -> Record {
    let slot = |(at, id): (usize, &u8)| ChunkSlot {
        id: ChunkId([*id; 32]),
        offset: at as u64 * 100,
        stored_len: 7,
        plain_len: 9,
        codec: Codec::Zstd,
    };
    Record::Pack(Box::new(PackRecord {
        id: PackId([number; 16]),
        kind: "small".to_owned(),
        class: None,
        bytes: 1000,
        proof: None,
        chunks: chunks.iter().enumerate().map(slot).collect(),
    }))
}

pub(super) fn apply(db: &mut CatalogDb, seq: u64, records: Vec<Record>) -> Result<Applied> {
    let header = SegmentHeader {
        store: STORE,
        node: NODE,
        seq,
        prev: None,
        ack_gen: seq / 2,
        session: "s".to_owned(),
        written_ns: seq as i64 * 1000,
    };
    db.apply_segment(&header, [seq as u8; 32], 10, records)
}

fn tree(db: &CatalogDb, point: Point, under: &str) -> BTreeMap<String, u8> {
    let mut found = BTreeMap::new();
    for root in db.roots(Some(NODE)).expect("roots") {
        db.tree(&root, point, under.as_bytes(), &mut |version| {
            let path = String::from_utf8(version.record.path_bytes().to_vec()).expect("text");
            let pieces = version.record.content_list().expect("a file").pieces;
            found.insert(path, pieces[0].chunk.expect("data").0[0]);
            ControlFlow::Continue(())
        })
        .expect("a tree");
    }
    found
}

#[test]
fn a_record_comes_back_as_it_was() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let Record::File(record) = file("a/b", 5) else { unreachable!() };
    apply(&mut db, 1, vec![Record::File(record.clone())]).expect("entered");
    let root = &db.roots(None).expect("roots")[0];
    let versions = db.history(root, b"a/b").expect("versions");
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].record, *record);
    assert_eq!((versions[0].from_seq, versions[0].from_ns), (1, 1000));
    let ident = FileIdent { ino: u64::MAX - 1, generation: 5 };
    assert!(db.was_uploaded(content(5).id(), ident).expect("asked"));
    assert!(!db.was_uploaded(content(5).id(), FileIdent { ino: 1, ..ident }).expect("asked"));
    assert_eq!(db.content(content(5).id()).expect("asked"), Some(content(5)));
    assert_eq!(db.content(ContentId([0; 32])).expect("asked"), None);
}

#[test]
fn segments_come_in_order_and_once() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    assert!(matches!(apply(&mut db, 2, vec![]), Err(Error::NotNext { head: 0, seq: 2, .. })));
    apply(&mut db, 1, vec![file("a", 1)]).expect("entered");
    assert!(matches!(apply(&mut db, 1, vec![]), Err(Error::NotNext { head: 1, seq: 1, .. })));
    let node = db.node(NODE).expect("asked").expect("known");
    assert_eq!((node.head_seq, node.head_hash), (1, Some([1; 32])));
}

#[test]
fn sessions_acknowledgements_and_fences_are_followed() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let open = Record::Open { session: "s".to_owned(), host: Some("files1".to_owned()) };
    apply(&mut db, 1, vec![open]).expect("entered");
    let node = db.node(NODE).expect("asked").expect("known");
    assert_eq!(node.open_session.as_deref(), Some("s"));
    apply(&mut db, 2, vec![Record::Close { session: "s".to_owned() }]).expect("entered");
    let node = db.node(NODE).expect("asked").expect("known");
    assert_eq!((node.open_session, node.host.as_deref(), node.ack_gen), (None, Some("files1"), 1));
    apply(&mut db, 3, vec![Record::Fence { by: NodeId([9; 16]), forget: false }]).expect("entered");
    let node = db.node(NODE).expect("asked").expect("known");
    assert!(node.fenced && !node.forgotten);
    assert_eq!(db.seq_at(NODE, 2999).expect("asked"), Some(2));
    assert_eq!(db.seq_at(NODE, 999).expect("asked"), None);
}

#[test]
fn a_chunk_is_found_in_its_newest_pack_and_in_no_deleted_one() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    apply(&mut db, 1, vec![pack(1, &[7, 8]), pack(2, &[7])]).expect("entered");
    let place = |db: &CatalogDb, number: u8, except: u8| {
        let found = db.chunk(&ChunkId([number; 32]), &|pack| pack.0[0] == except);
        found.expect("asked").map(|(pack, slot)| (pack.0[0], slot.offset))
    };
    assert_eq!(place(&db, 7, 0), Some((2, 0)));
    assert_eq!(place(&db, 7, 2), Some((1, 0)));
    assert_eq!(place(&db, 8, 0), Some((1, 100)));
    let deleted = vec![PackId([1; 16])];
    let (store, node) = (STORE, NODE);
    let collected = Collected { store, node, generation: 1, written_ns: 0, deleted };
    db.apply_collected(&collected).expect("entered");
    apply(&mut db, 2, vec![pack(1, &[7, 8])]).expect("entered");
    assert_eq!(place(&db, 8, 0), None, "no log brings it back");
    assert_eq!(place(&db, 7, 0), Some((2, 0)));
    assert_eq!(db.last_collected().expect("asked"), 1);
}

#[test]
fn a_copy_of_another_store_is_made_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("catalog.db");
    let mut db = CatalogDb::open(&path, STORE).expect("made");
    apply(&mut db, 1, vec![file("a", 1)]).expect("entered");
    drop(db);
    assert_eq!(CatalogDb::open(&path, STORE).expect("opened").nodes().expect("asked").len(), 1);
    let other = CatalogDb::open(&path, StoreId([3; 16])).expect("made anew");
    assert!(other.nodes().expect("asked").is_empty());
    drop(other);
    std::fs::write(&path, b"not a database at all, only text that is long enough").expect("write");
    assert!(CatalogDb::open(&path, STORE).expect("made anew").nodes().expect("asked").is_empty());
}

/// The tree at `since`, changed as the log says.
fn changed(db: &CatalogDb, since: u64, from: &BTreeMap<String, u8>) -> BTreeMap<String, u8> {
    let mut found = from.clone();
    let number = |version: &Version| version.record.pieces[0].chunk.expect("data").0[0];
    for root in db.roots(Some(NODE)).expect("roots") {
        db.changes(&root, since, &mut |change| {
            let either = change.after.as_ref().or(change.before.as_ref()).expect("one of them");
            let path = String::from_utf8(either.record.path_bytes().to_vec()).expect("text");
            assert_eq!(found.get(&path).copied(), change.before.as_ref().map(number));
            match &change.after {
                Some(after) => drop(found.insert(path, number(after))),
                None => drop(found.remove(&path)),
            }
            ControlFlow::Continue(())
        })
        .expect("changes");
    }
    found
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Gone(u8),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        (0..6_u8, 0..9_u8).prop_map(|(path, number)| Step::Put(path, number)),
        (0..6_u8).prop_map(Step::Gone),
    ];
    proptest::collection::vec(proptest::collection::vec(step, 0..5), 1..8)
}

const PATHS: [&str; 6] = ["", "a", "a-b", "a/b", "a/b/c", "a0"];

proptest! {
    #[test]
    fn every_point_of_the_log_is_what_a_replay_says(segments in steps()) {
        let mut db = CatalogDb::temporary(STORE).expect("a copy");
        let (mut model, mut points) = (BTreeMap::new(), vec![]);
        for (index, segment) in segments.iter().enumerate() {
            let mut records = vec![];
            for step in segment {
                match step {
                    Step::Put(path, number) => {
                        model.insert(PATHS[*path as usize].to_owned(), *number);
                        records.push(file(PATHS[*path as usize], *number));
                    }
                    Step::Gone(path) => {
                        model.remove(PATHS[*path as usize]);
                        records.push(gone(PATHS[*path as usize]));
                    }
                }
            }
            apply(&mut db, index as u64 + 1, records).expect("entered");
            points.push(model.clone());
        }
        for (index, model) in points.iter().enumerate() {
            prop_assert_eq!(&tree(&db, Point::Seq(index as u64 + 1), ""), model);
        }
        prop_assert_eq!(&tree(&db, Point::Now, ""), &model);
        for (index, point) in points.iter().enumerate() {
            prop_assert_eq!(changed(&db, index as u64 + 1, point), model.clone());
        }
        let beneath: BTreeMap<_, _> =
            model.into_iter().filter(|(path, _)| path == "a" || path.starts_with("a/")).collect();
        prop_assert_eq!(tree(&db, Point::Now, "a"), beneath);
        let root = &db.roots(Some(NODE)).expect("roots");
        for (index, model) in points.iter().enumerate().filter(|_| !root.is_empty()) {
            let sight = Sight::At(Point::Seq(index as u64 + 1));
            let names = paged(|after| db.tree_page(&root[0], sight, b"", after, 2));
            prop_assert_eq!(names, model.keys().cloned().collect::<Vec<_>>());
        }
    }
}

fn dir(path: &str) -> Record {
    let Record::File(mut record) = file(path, 1) else { unreachable!() };
    (record.kind, record.content, record.pieces) = ('d', None, vec![]);
    Record::File(record)
}

fn name_of(version: &Version) -> String {
    String::from_utf8(version.record.path_bytes().to_vec()).expect("text")
}

/// All pages of two, one after the other.
fn paged(mut next: impl FnMut(Option<&[u8]>) -> Result<Vec<Version>>) -> Vec<String> {
    let mut names: Vec<String> = vec![];
    loop {
        let last = names.last().cloned();
        let page = next(last.as_deref().map(str::as_bytes)).expect("a page");
        names.extend(page.iter().map(name_of));
        if page.len() < 2 {
            return names;
        }
    }
}

#[test]
fn pages_are_the_tree_and_backwards_each_directory_comes_behind_what_is_in_it() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let dirs = ["", "a", "a-b", "a/b", "a/b/c", "a0"].map(dir);
    let files = ["a-b/x", "a/b/c/f", "a/b.f", "a/f", "f"].map(|path| file(path, 2));
    apply(&mut db, 1, dirs.into_iter().chain(files).collect()).expect("entered");
    apply(&mut db, 2, vec![gone("a/f"), gone("a/b/c/f"), gone("a/b/c")]).expect("entered");
    let root = &db.roots(None).expect("roots")[0];
    let forwards =
        |sight, under: &str| paged(|after| db.tree_page(root, sight, under.as_bytes(), after, 2));
    let all = ["", "a", "a-b", "a-b/x", "a/b", "a/b.f", "a0", "f"];
    assert_eq!(forwards(Sight::At(Point::Now), ""), all);
    assert_eq!(forwards(Sight::At(Point::Seq(1)), "a/b"), ["a/b", "a/b/c", "a/b/c/f"]);
    assert_eq!(forwards(Sight::Last, "a"), ["a", "a/b", "a/b.f", "a/b/c", "a/b/c/f", "a/f"]);
    let backwards = |sight, under: &str| {
        paged(|before| db.directories_backwards(root, sight, under.as_bytes(), before, 2))
    };
    assert_eq!(backwards(Sight::At(Point::Now), ""), ["a0", "a/b", "a-b", "a", ""]);
    assert_eq!(backwards(Sight::At(Point::Seq(1)), "a"), ["a/b/c", "a/b", "a"]);
    assert_eq!(backwards(Sight::Last, "a/b"), ["a/b/c", "a/b"]);
    let totals = |sight| db.tree_totals(root, sight, b"a").expect("asked");
    assert_eq!(totals(Sight::At(Point::Now)), (1, 3));
    assert_eq!(totals(Sight::At(Point::Seq(1))), (3, 9));
    let at = |sight, path: &str| {
        db.version_at(root, sight, path.as_bytes()).expect("asked").map(|version| version.record)
    };
    assert_eq!(at(Sight::At(Point::Now), "a/f"), None);
    let Record::File(record) = file("a/f", 2) else { unreachable!() };
    assert_eq!(at(Sight::At(Point::Seq(1)), "a/f"), Some(*record.clone()));
    assert_eq!(at(Sight::Last, "a/f"), Some(*record));
    assert_eq!(at(Sight::Last, "g"), None);
}

#[test]
fn the_first_name_of_a_file_is_found_among_those_that_were_asked_for() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let linked = |path: &str, link: u64| {
        let Record::File(mut record) = file(path, 3) else { unreachable!() };
        record.link = Some(link);
        record
    };
    let names = [("a/z", 7), ("b/x", 7), ("b/y", 8), ("c", 7)];
    let records = names.map(|(path, link)| Record::File(linked(path, link)));
    apply(&mut db, 1, records.into()).expect("entered");
    apply(&mut db, 2, vec![gone("a/z")]).expect("entered");
    let root = &db.roots(None).expect("roots")[0];
    let first = |seq, path, link, under: &str| {
        let sight = Sight::At(Point::Seq(seq));
        let found = db.first_name(root, sight, &linked(path, link), under.as_bytes());
        found.expect("asked").as_ref().map(name_of)
    };
    assert_eq!(first(1, "c", 7, "").as_deref(), Some("a/z"));
    assert_eq!(first(2, "c", 7, "").as_deref(), Some("b/x"));
    assert_eq!(first(2, "c", 7, "c").as_deref(), Some("c"));
    assert_eq!(first(2, "b/y", 8, "").as_deref(), Some("b/y"));
    assert_eq!(first(2, "x", 9, ""), None);
}

#[test]
fn several_processes_that_make_the_copy_at_once_make_one() {
    let dir = tempfile::tempdir().expect("a directory");
    for round in 0..30 {
        let path = dir.path().join(format!("{round}.db"));
        if round % 3 == 1 {
            std::fs::write(&path, b"no database, and longer than a header of one").expect("damage");
        }
        std::thread::scope(|scope| {
            for node in 0..6 {
                let path = &path;
                scope.spawn(move || {
                    let mut db = CatalogDb::open(path, STORE).expect("a copy");
                    let node = NodeId([node; 16]);
                    db.note_checkpoint(node, 1, 1, 1).expect("written");
                });
            }
        });
        let db = CatalogDb::open(&path, STORE).expect("a copy");
        assert_eq!(db.nodes().expect("nodes").len(), 6, "round {round}");
    }
}
