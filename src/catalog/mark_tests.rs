//! What is needed and which pack holds it, by hand and against a naive count.

use super::tests::{NODE, STORE, apply, content, file, gone, pack};
use super::*;
use crate::ids::{ChunkId, NodeId, PackId};
use crate::manifest::{Collected, Name, Record};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// As [`pack`] makes them.
const PACK_BYTES: u64 = 1000;

fn name(bytes: &[u8]) -> Name {
    Name::from_bytes(bytes)
}

fn expired(path: &str, from_seq: u64) -> Record {
    Record::Expired { root: name(b"/srv"), path: name(path.as_bytes()), from_seq }
}

fn snapshot(of: &str, seq: u64) -> Record {
    Record::Snapshot { name: of.to_owned(), seq, at_ns: 0 }
}

fn id(number: u8) -> PackId {
    PackId([number; 16])
}

/// The store has these packs as they were written.
fn see(db: &mut CatalogDb, packs: &[u8]) {
    db.forget_marks().expect("cleared");
    db.note(|notes| packs.iter().try_for_each(|of| notes.seen(id(*of), PACK_BYTES, 7)))
        .expect("noted");
}

/// The chunks that each pack holds.
fn held(db: &mut CatalogDb) -> BTreeMap<u8, BTreeSet<u8>> {
    let marked = db.marking().and_then(Marking::mark).expect("marked");
    let mut found = BTreeMap::new();
    let mut packs = vec![];
    marked
        .packs(&mut |pack| {
            packs.push(pack);
            ControlFlow::Continue(())
        })
        .expect("packs");
    for pack in packs {
        let slots = marked.held(pack.id).expect("slots");
        assert_eq!(slots.len() as u64, pack.held_chunks);
        assert_eq!(
            slots.iter().map(|slot| u64::from(slot.stored_len)).sum::<u64>(),
            pack.held_bytes
        );
        let doubles = marked.doubles(pack.id).expect("slots").len() as u64;
        assert!(pack.held_chunks + doubles <= pack.live_chunks);
        found.insert(pack.id.0[0], slots.iter().map(|slot| slot.id.0[0]).collect());
    }
    found
}

fn unheld(db: &mut CatalogDb) -> Vec<(u8, Vec<u8>)> {
    let marked = db.marking().and_then(Marking::mark).expect("marked");
    let mut found = vec![];
    marked
        .unheld(&mut |chunk, packs| {
            found.push((chunk.0[0], packs.iter().map(|pack| pack.0[0]).collect()));
            ControlFlow::Continue(())
        })
        .expect("chunks");
    found
}

fn sets(all: &[(u8, &[u8])]) -> BTreeMap<u8, BTreeSet<u8>> {
    all.iter().map(|(pack, chunks)| (*pack, chunks.iter().copied().collect())).collect()
}

#[test]
fn a_version_needs_its_chunks_until_it_is_expired() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    apply(&mut db, 1, vec![pack(1, &[1]), pack(2, &[2]), file("a", 1)]).expect("entered");
    apply(&mut db, 2, vec![file("a", 2)]).expect("entered");
    see(&mut db, &[1, 2]);
    assert_eq!(held(&mut db), sets(&[(1, &[1]), (2, &[2])]));
    apply(&mut db, 3, vec![gone("a")]).expect("entered");
    apply(&mut db, 4, vec![expired("a", 1)]).expect("entered");
    assert_eq!(held(&mut db), sets(&[(1, &[]), (2, &[2])]));
    // As if it were expired, for a look ahead.
    let marking = db.marking().expect("begun");
    let root = marking.roots(NODE).expect("roots").remove(0);
    let mut seen = vec![];
    marking
        .lives(&root, &mut |life| {
            seen.push(life.clone());
            marking.end(life.place, 2).map(|()| ControlFlow::Continue(()))
        })
        .expect("lives");
    assert_eq!((seen.len(), seen[0].path.as_slice(), seen[0].spans.len()), (1, &b"a"[..], 2));
    assert!(seen[0].spans[0].expired && !seen[0].spans[1].expired);
    assert_eq!((seen[0].spans[1].from_seq, seen[0].spans[1].to_seq), (2, Some(3)));
    assert_eq!(marking.segment_times(NODE).expect("times")[3], (4, 4000));
    let marked = marking.mark().expect("marked");
    assert_eq!(marked.held(id(2)).expect("slots"), []);
    drop(marked);
    assert_eq!(held(&mut db), sets(&[(1, &[]), (2, &[2])]), "a look changes nothing");
}

#[test]
fn a_snapshot_needs_what_was_there() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    apply(&mut db, 1, vec![pack(1, &[1]), file("a", 1)]).expect("entered");
    apply(&mut db, 2, vec![snapshot("s", 1)]).expect("entered");
    apply(&mut db, 3, vec![gone("a"), expired("a", 1)]).expect("entered");
    see(&mut db, &[1]);
    assert_eq!(held(&mut db), sets(&[(1, &[1])]));
    apply(&mut db, 4, vec![Record::Unsnapshot { name: "s".to_owned() }, snapshot("t", 3)])
        .expect("entered");
    assert_eq!(held(&mut db), sets(&[(1, &[])]), "the other was made when it was gone");
}

#[test]
fn a_forgotten_node_needs_nothing_and_a_retired_one_all_it_had() {
    for (forget, left) in [(false, &[1_u8][..]), (true, &[])] {
        let mut db = CatalogDb::temporary(STORE).expect("a copy");
        apply(&mut db, 1, vec![pack(1, &[1]), file("a", 1)]).expect("entered");
        let fence = Record::Fence { by: NodeId([9; 16]), forget };
        apply(&mut db, 2, vec![fence]).expect("entered");
        see(&mut db, &[1]);
        assert_eq!(held(&mut db), sets(&[(1, left)]));
    }
}

#[test]
fn what_this_node_needs_is_needed_whether_or_not_a_log_knows_it() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let records = vec![pack(1, &[1]), pack(2, &[2]), file("a", 1)];
    apply(&mut db, 1, records).expect("entered");
    apply(&mut db, 2, vec![gone("a"), expired("a", 1)]).expect("entered");
    see(&mut db, &[1, 2]);
    assert_eq!(held(&mut db), sets(&[(1, &[]), (2, &[])]));
    db.note(|notes| {
        assert!(notes.needs(content(1).id())?, "a log has it");
        assert!(!notes.needs(content(2).id())?);
        notes.needs_chunk(ChunkId([2; 32]))
    })
    .expect("noted");
    assert_eq!(held(&mut db), sets(&[(1, &[1]), (2, &[2])]));
    let marking = db.marking().expect("begun");
    let root = marking.roots(NODE).expect("roots").remove(0);
    marking.lives(&root, &mut |life| panic!("it is expired: {life:?}")).expect("lives");
}

#[test]
fn the_pack_with_the_largest_part_in_use_holds() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    // The newest has 1 of 3, the oldest both.
    let records =
        vec![pack(1, &[1, 2]), pack(8, &[3, 4]), pack(9, &[1, 5, 6]), file("a", 1), file("b", 2)];
    apply(&mut db, 1, records).expect("entered");
    see(&mut db, &[1, 8, 9]);
    assert_eq!(held(&mut db), sets(&[(1, &[1, 2]), (8, &[]), (9, &[])]));
}

#[test]
fn only_what_the_store_has_whole_and_good_holds_anything() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let records = vec![pack(1, &[1]), pack(2, &[1]), pack(3, &[1]), file("a", 1)];
    apply(&mut db, 1, records).expect("entered");
    see(&mut db, &[1, 2, 3]);
    assert_eq!(held(&mut db), sets(&[(1, &[]), (2, &[]), (3, &[1])]), "the newest of equals");
    see(&mut db, &[1, 2]);
    assert_eq!(held(&mut db), sets(&[(1, &[]), (2, &[1]), (3, &[])]), "3 is not there");
    db.note(|notes| notes.seen(id(2), PACK_BYTES - 1, 7)).expect("noted");
    assert_eq!(held(&mut db), sets(&[(1, &[1]), (2, &[]), (3, &[])]), "2 is not whole");
    see(&mut db, &[1, 2]);
    db.note(|notes| notes.bad(id(2), Some(ChunkId([1; 32])))).expect("noted");
    assert_eq!(held(&mut db), sets(&[(1, &[1]), (2, &[]), (3, &[])]), "2 has it damaged");
    db.note(|notes| notes.bad(id(1), None)).expect("noted");
    assert_eq!(held(&mut db), sets(&[(1, &[]), (2, &[]), (3, &[])]));
    assert_eq!(unheld(&mut db), [(1, vec![])], "it is lost");
}

#[test]
fn of_condemned_packs_those_are_told_that_alone_have_something() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let records = vec![pack(1, &[1, 2]), pack(2, &[2]), pack(3, &[3]), file("a", 1), file("b", 2)];
    apply(&mut db, 1, records).expect("entered");
    see(&mut db, &[1, 2, 3]);
    db.note(|notes| notes.condemned(id(1)).and_then(|()| notes.condemned(id(3)))).expect("noted");
    assert_eq!(unheld(&mut db), [(1, vec![1])], "2 is in a pack that is not condemned");
    db.note(|notes| notes.condemned(id(2))).expect("noted");
    assert_eq!(unheld(&mut db), [(1, vec![1]), (2, vec![1, 2])], "the fuller first");
}

#[test]
fn objects_that_no_log_names_are_told_from_those_that_were_given_up() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    apply(&mut db, 1, vec![pack(1, &[1]), pack(2, &[2])]).expect("entered");
    let deleted = vec![id(2)];
    let (store, node) = (STORE, NODE);
    let end = Collected { store, node, generation: 1, written_ns: 0, deleted };
    db.apply_collected(&end).expect("entered");
    see(&mut db, &[1, 2, 3]);
    let mut found: (Vec<LoosePack>, Vec<LoosePack>) = (vec![], vec![]);
    db.given_up(&mut |loose| {
        found.0.push(loose);
        ControlFlow::Continue(())
    })
    .expect("objects");
    let marked = db.marking().and_then(Marking::mark).expect("marked");
    marked
        .unnamed(&mut |loose| {
            found.1.push(loose);
            ControlFlow::Continue(())
        })
        .expect("objects");
    let loose = |number| LoosePack { id: id(number), size_bytes: PACK_BYTES, modified_ns: 7 };
    assert_eq!(found, (vec![loose(2)], vec![loose(3)]));
}

#[test]
fn a_pack_of_a_run_that_goes_on_is_told() {
    let mut db = CatalogDb::temporary(STORE).expect("a copy");
    let open = |session: &str| Record::Open { session: session.to_owned(), host: None };
    apply(&mut db, 1, vec![open("s"), pack(1, &[1])]).expect("entered");
    apply(&mut db, 2, vec![open("t")]).expect("entered");
    apply(&mut db, 3, vec![pack(2, &[2])]).expect("entered");
    see(&mut db, &[1, 2]);
    let in_session = |db: &mut CatalogDb| {
        let marked = db.marking().and_then(Marking::mark).expect("marked");
        let mut found = vec![];
        marked
            .packs(&mut |pack| {
                found.push(pack.in_session);
                ControlFlow::Continue(())
            })
            .expect("packs");
        found
    };
    assert_eq!(in_session(&mut db), [false, true]);
    apply(&mut db, 4, vec![Record::Close { session: "t".to_owned() }]).expect("entered");
    assert_eq!(in_session(&mut db), [false, false]);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Gone(u8),
    Expire(u8, u8),
    Pack(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        (0..4_u8, 0..5_u8).prop_map(|(path, number)| Step::Put(path, number)),
        (0..4_u8).prop_map(Step::Gone),
        (0..4_u8, 0..8_u8).prop_map(|(path, seq)| Step::Expire(path, seq)),
        proptest::collection::vec(0..5_u8, 1..4).prop_map(Step::Pack),
    ];
    proptest::collection::vec(proptest::collection::vec(step, 0..5), 1..8)
}

/// What a log with these steps needs, found by following each path by itself.
#[derive(Default)]
struct Naive {
    /// By path and segment: content, ended, expired.
    versions: BTreeMap<(u8, u64), (u8, bool, bool)>,
    packs: BTreeMap<u8, BTreeSet<u8>>,
}

impl Naive {
    fn end(&mut self, path: u8) {
        for ((of, _), (_, ended, _)) in &mut self.versions {
            *ended |= *of == path;
        }
    }

    fn apply(&mut self, seq: u64, step: &Step) -> Record {
        let path = |of: u8| format!("p{of}");
        match step {
            Step::Put(of, number) => {
                self.end(*of);
                self.versions.insert((*of, seq), (*number, false, false));
                file(&path(*of), *number)
            }
            Step::Gone(of) => {
                self.end(*of);
                gone(&path(*of))
            }
            Step::Expire(of, at) => {
                if let Some((_, true, expired)) = self.versions.get_mut(&(*of, u64::from(*at))) {
                    *expired = true;
                }
                expired(&path(*of), u64::from(*at))
            }
            Step::Pack(chunks) => {
                let number = self.packs.len() as u8 + 1;
                let chunks: BTreeSet<u8> = chunks.iter().copied().collect();
                let record = pack(number, &chunks.iter().copied().collect::<Vec<u8>>());
                self.packs.insert(number, chunks);
                record
            }
        }
    }

    fn needed(&self) -> BTreeSet<u8> {
        let live = self.versions.values().filter(|(_, _, expired)| !expired);
        live.map(|(number, _, _)| *number).collect()
    }
}

proptest! {
    #[test]
    fn each_needed_chunk_is_held_by_one_pack_that_is_there(
        segments in steps(),
        there in proptest::collection::btree_set(1..9_u8, 0..9),
    ) {
        let mut db = CatalogDb::temporary(STORE).expect("a copy");
        let mut naive = Naive::default();
        for (index, segment) in segments.iter().enumerate() {
            let seq = index as u64 + 1;
            let records = segment.iter().map(|step| naive.apply(seq, step)).collect();
            apply(&mut db, seq, records).expect("entered");
        }
        let there: Vec<u8> = there.into_iter().collect();
        see(&mut db, &there);
        let held = held(&mut db);
        let mut chunks: Vec<u8> = held.values().flatten().copied().collect();
        chunks.sort_unstable();
        let has = |chunk: &u8| {
            naive.packs.iter().any(|(pack, chunks)| there.contains(pack) && chunks.contains(chunk))
        };
        let needed: Vec<u8> = naive.needed().into_iter().filter(has).collect();
        prop_assert_eq!(chunks, needed, "each once");
        for (pack, chunks) in &held {
            prop_assert!(chunks.is_subset(&naive.packs[pack]));
            prop_assert!(chunks.is_empty() || there.contains(pack));
        }
        let lost: Vec<u8> = unheld(&mut db).into_iter().map(|(chunk, _)| chunk).collect();
        let missing: Vec<u8> = naive.needed().into_iter().filter(|chunk| !has(chunk)).collect();
        prop_assert_eq!(lost, missing);
    }
}
