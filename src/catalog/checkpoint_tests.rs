//! A checkpoint answers what the whole log answers, but for what is expired.

use super::tests::{NODE, STORE, file, gone, pack};
use super::*;
use crate::ids::{NodeId, PackId};
use crate::manifest::{CheckpointHeader, Name, Record, SegmentHeader};
use proptest::prelude::*;
use std::ops::ControlFlow;

const PATHS: [&str; 4] = ["", "a", "a/b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Put(usize, u8),
    Gone(usize),
    /// The n-th version of the path that has ended, if there is one.
    Expire(usize, usize),
    Pack(u8),
    Snapshot(u8),
    Seal(u8, i64),
    Unsnapshot(u8),
    Open(u8),
    Close(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PATHS.len(), 0..9_u8).prop_map(|(path, number)| Step::Put(path, number)),
        3 => (0..PATHS.len()).prop_map(Step::Gone),
        3 => (0..PATHS.len(), 0..4_usize).prop_map(|(path, nth)| Step::Expire(path, nth)),
        1 => (0..5_u8).prop_map(Step::Pack),
        1 => (0..3_u8).prop_map(Step::Snapshot),
        1 => (0..3_u8, 0..9_i64).prop_map(|(name, until)| Step::Seal(name, until)),
        1 => (0..3_u8).prop_map(Step::Unsnapshot),
        1 => (0..2_u8).prop_map(Step::Open),
        1 => (0..2_u8).prop_map(Step::Close),
    ]
}

/// The time by the writer's clock is anything: clocks are set back.
fn log() -> impl Strategy<Value = Vec<(i64, Vec<Step>)>> {
    proptest::collection::vec((0..9_i64, proptest::collection::vec(step(), 0..6)), 1..9)
}

fn record(db: &CatalogDb, seq: u64, step: &Step) -> Option<Record> {
    let name = |number: &u8| format!("snapshot {number}");
    let session = |number: &u8| format!("session {number}");
    Some(match step {
        Step::Put(path, number) => file(PATHS[*path], *number),
        Step::Gone(path) => gone(PATHS[*path]),
        Step::Expire(path, nth) => {
            let mut versions = history(db, PATHS[*path]);
            versions.retain(|version| version.to_seq.is_some());
            let from_seq = versions.get(*nth)?.from_seq;
            let (root, path) =
                (Name::from_bytes(b"/srv"), Name::from_bytes(PATHS[*path].as_bytes()));
            Record::Expired { root, path, from_seq }
        }
        Step::Pack(number) => pack(*number, &[*number, 77]),
        Step::Snapshot(number) => Record::Snapshot { name: name(number), seq, at_ns: 5 },
        Step::Seal(number, until_ns) => Record::Sealed { name: name(number), until_ns: *until_ns },
        Step::Unsnapshot(number) => Record::Unsnapshot { name: name(number) },
        Step::Open(number) => Record::Open { session: session(number), host: Some("h".to_owned()) },
        Step::Close(number) => Record::Close { session: session(number) },
    })
}

fn apply(db: &mut CatalogDb, node: NodeId, seq: u64, written_ns: i64, records: Vec<Record>) {
    let session = "s".to_owned();
    let header = SegmentHeader {
        store: STORE,
        node,
        seq,
        prev: None,
        ack_gen: seq / 2,
        session,
        written_ns,
    };
    db.apply_segment(&header, [seq as u8; 32], 10, records).expect("entered");
}

fn replay(log: &[(i64, Vec<Step>)]) -> CatalogDb {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    for (index, (written_ns, steps)) in log.iter().enumerate() {
        let seq = index as u64 + 1;
        let records = steps.iter().filter_map(|step| record(&db, seq, step)).collect();
        apply(&mut db, NODE, seq, *written_ns, records);
    }
    db
}

fn records_of(db: &CatalogDb, node: NodeId) -> Vec<Record> {
    let mut records = vec![];
    let log = db.checkpoint(node).expect("read").expect("there is a log");
    log.for_each(&mut |record| {
        records.push(record);
        ControlFlow::Continue(())
    })
    .expect("its records");
    records
}

fn from_checkpoint(db: &CatalogDb, node: NodeId) -> CatalogDb {
    let row = db.node(node).expect("asked").expect("known");
    let header = CheckpointHeader {
        store: STORE,
        node,
        upto: row.head_seq,
        upto_hash: row.head_hash,
        part: 0,
        parts: 2,
        ack_gen: row.ack_gen,
        written_ns: i64::MAX,
    };
    let mut records = records_of(db, node);
    let later = records.split_off(records.len() / 2);
    let parts = [Ok::<_, Error>((records, 3)), Ok((later, 4))].into_iter();
    let mut copy = CatalogDb::temporary(STORE).expect("a copy");
    copy.apply_checkpoint(&header, parts).expect("entered");
    copy
}

fn history(db: &CatalogDb, path: &str) -> Vec<Version> {
    let roots = db.roots(Some(NODE)).expect("roots");
    let Some(root) = roots.first() else { return vec![] };
    db.history(root, path.as_bytes()).expect("a history")
}

type Visit<'a> = &'a mut dyn FnMut(Version) -> ControlFlow<()>;

fn unexpired(db: &CatalogDb, ask: impl Fn(&RootRef, Visit<'_>)) -> Vec<Version> {
    let mut found = vec![];
    for root in db.roots(Some(NODE)).expect("roots") {
        ask(&root, &mut |version| {
            found.push(version);
            ControlFlow::Continue(())
        });
    }
    found.retain(|version| !version.expired);
    found
}

fn node_row(db: &CatalogDb) -> NodeRow {
    let row = db.node(NODE).expect("asked").expect("known");
    NodeRow { checkpoint_seq: 0, checkpoint_ns: 0, checkpoint_bytes: 0, tail_bytes: 0, ..row }
}

fn packs(db: &CatalogDb) -> Vec<(PackId, NodeId)> {
    let mut found = vec![];
    db.for_each_pack(&mut |pack| {
        found.push((pack.id, pack.node));
        ControlFlow::Continue(())
    })
    .expect("packs");
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_checkpoint_answers_what_the_log_answers(log in log()) {
        let whole = replay(&log);
        let copy = from_checkpoint(&whole, NODE);
        prop_assert_eq!(node_row(&whole), node_row(&copy));
        prop_assert_eq!(whole.snapshots(None).unwrap(), copy.snapshots(None).unwrap());
        prop_assert_eq!(packs(&whole), packs(&copy));
        for ns in -1..10 {
            prop_assert_eq!(whole.seq_at(NODE, ns).unwrap(), copy.seq_at(NODE, ns).unwrap());
        }
        for path in PATHS {
            let (all, mut kept) = (history(&whole, path), history(&copy, path));
            let first = all.iter().position(|version| !version.expired).unwrap_or(all.len());
            prop_assert_eq!(&all[first..], &kept[..], "history of {:?}", path);
            kept.retain(|version| version.expired);
            prop_assert!(kept.len() <= all.iter().filter(|version| version.expired).count());
        }
        let points = (0..=log.len() as u64).map(Point::Seq).chain([Point::Now]);
        for point in points {
            let tree = |db: &CatalogDb| {
                unexpired(db, |root, visit| db.tree(root, point, b"", visit).expect("a tree"))
            };
            prop_assert_eq!(tree(&whole), tree(&copy), "at {:?}", point);
        }
        for ask in [CatalogDb::deleted_all, CatalogDb::superseded] {
            let of = |db: &CatalogDb| {
                unexpired(db, |root, visit| ask(db, root, visit).expect("versions"))
            };
            prop_assert_eq!(of(&whole), of(&copy));
        }
        // And once more: a checkpoint of a checkpoint loses nothing.
        prop_assert_eq!(records_of(&copy, NODE), records_of(&whole, NODE));
    }
}

impl CatalogDb {
    /// [`CatalogDb::deleted`] with the arguments of the other.
    fn deleted_all(&self, root: &RootRef, visit: Visit<'_>) -> Result<()> {
        self.deleted(root, b"", visit)
    }
}

#[test]
fn what_is_of_no_use_is_left_out() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let expired = |from_seq| {
        let (root, path) = (Name::from_bytes(b"/srv"), Name::from_bytes(b"a"));
        Record::Expired { root, path, from_seq }
    };
    for seq in 1..=4 {
        apply(&mut db, NODE, seq, 0, vec![file("a", seq as u8), file("a", seq as u8 + 4)]);
    }
    apply(&mut db, NODE, 5, 0, vec![expired(1), expired(3)]);
    let deleted = vec![PackId([1; 16])];
    let (store, node) = (STORE, NODE);
    let end = crate::manifest::Collected { store, node, generation: 1, written_ns: 0, deleted };
    apply(&mut db, NODE, 6, 0, vec![pack(1, &[1]), pack(2, &[2])]);
    db.apply_collected(&end).expect("entered");
    let records = records_of(&db, NODE);
    let files = records.iter().filter(|record| matches!(record, Record::File(_))).count();
    assert_eq!(files, 3, "the first version is expired and none before it counts: {records:?}");
    assert!(records.contains(&expired(3)) && !records.contains(&expired(1)));
    let packs = records.iter().filter(|record| matches!(record, Record::Pack(_))).count();
    assert_eq!(packs, 1);
}

#[test]
fn a_pack_that_two_logs_name_is_in_the_checkpoint_of_both_and_outlives_one() {
    let other = NodeId([9; 16]);
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    apply(&mut db, NODE, 1, 0, vec![pack(1, &[1]), pack(2, &[2])]);
    apply(&mut db, other, 1, 0, vec![pack(1, &[1])]);
    let copy = from_checkpoint(&db, other);
    assert_eq!(packs(&copy), [(PackId([1; 16]), other)]);
    db.forget_node(NODE).expect("forgotten");
    assert_eq!(packs(&db), [(PackId([1; 16]), other)]);
    assert_eq!(db.pack_slots(PackId([1; 16])).expect("its chunks").len(), 1);
    apply(&mut db, NODE, 1, 0, vec![pack(1, &[1]), pack(2, &[2])]);
    assert_eq!(packs(&db), [(PackId([1; 16]), other), (PackId([2; 16]), NODE)]);
}

#[test]
fn a_checkpoint_of_which_a_part_cannot_be_had_leaves_nothing() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    apply(&mut db, NODE, 1, 0, vec![file("a", 1)]);
    let row = db.node(NODE).expect("asked").expect("known");
    let header = CheckpointHeader {
        store: STORE,
        node: NODE,
        upto: 1,
        upto_hash: row.head_hash,
        part: 0,
        parts: 2,
        ack_gen: 0,
        written_ns: 0,
    };
    let broken = || Error::Corrupted("no second part".to_owned());
    let parts = [Ok((records_of(&db, NODE), 1)), Err(broken())].into_iter();
    let mut copy = CatalogDb::temporary(STORE).expect("a copy");
    assert!(matches!(copy.apply_checkpoint(&header, parts), Err(Error::Corrupted(_))));
    assert!(copy.nodes().expect("asked").is_empty() && copy.current_files().expect("asked") == 0);
}
