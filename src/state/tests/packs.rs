//! Packs, chunks and their proofs.

use super::*;
use crate::chunk::{ChunkSlot, Codec};
use crate::ids::PackId;
use crate::manifest::{Content, PackEvidence, Piece, ProofMethod, SecondEvidence};
use crate::units::Copies;

fn chunk(number: u8) -> ChunkId {
    ChunkId([number; 32])
}

fn slot(number: u8, offset: u64) -> ChunkSlot {
    ChunkSlot { id: chunk(number), offset, stored_len: 100, plain_len: 300, codec: Codec::Zstd }
}

fn pack(number: u8) -> PackId {
    PackId([number; 16])
}

fn proof(number: u8, proven_ns: i64) -> PackEvidence {
    PackEvidence::recorded(pack(number), ProofMethod::ReadBack, proven_ns)
}

fn send(fixture: &mut Fixture, number: u8, slots: &[ChunkSlot], proven_ns: i64) {
    fixture.db.intend_pack(pack(number), "small", Some("STANDARD_IA"), 1).expect("intend");
    let evidence = proof(number, proven_ns);
    fixture.db.record_pack(pack(number), 4096, slots, &evidence).expect("record");
}

#[test]
fn chunks_count_only_once_their_pack_is_proven() {
    let mut fixture = Fixture::new();
    fixture.db.intend_pack(pack(1), "large", None, 1).expect("intend");
    assert_eq!(fixture.db.intended_packs().expect("read"), [pack(1)]);
    assert!(fixture.db.uncatalogued_packs().expect("read").is_empty());
    let slots = [slot(2, 64), slot(1, 164)];
    fixture.db.record_pack(pack(1), 300, &slots, &proof(1, 50)).expect("record");
    assert!(fixture.db.intended_packs().expect("read").is_empty());
    assert_eq!(fixture.db.pack_slots(pack(1)).expect("slots"), slots);
    let places = fixture.db.find_chunks(&[chunk(1), chunk(9), chunk(2)]).expect("find");
    assert_eq!(places[1], None);
    let place = places[0].as_ref().expect("found");
    assert_eq!((place.pack, place.slot.offset, place.seen_ns), (pack(1), 164, 50));
    assert_eq!((place.evidence, place.catalogued), (Some(proof(1, 50)), false));

    let uncatalogued = fixture.db.uncatalogued_packs().expect("read");
    assert_eq!(uncatalogued.len(), 1);
    let packs = [pack(1)];
    let segment = SegmentCommit { seq: 1, packs: &packs, ..Default::default() };
    fixture.db.commit_segment(fixture.root, &segment, 2).expect("commit");
    assert!(fixture.db.uncatalogued_packs().expect("read").is_empty());
    let place = fixture.db.find_chunks(&[chunk(1)]).expect("find").remove(0).expect("found");
    assert!(place.catalogued);
}

#[test]
fn a_lost_pack_offers_nothing_and_another_with_the_same_chunk_steps_in() {
    let mut fixture = Fixture::new();
    send(&mut fixture, 1, &[slot(1, 64), slot(2, 164)], 50);
    send(&mut fixture, 2, &[slot(1, 64)], 40);
    let find = |fixture: &Fixture, number| {
        let found = fixture.db.find_chunks(&[chunk(number)]).expect("find").remove(0);
        found.map(|place| place.pack)
    };
    assert_eq!(find(&fixture, 1), Some(pack(1)), "the one seen last");
    fixture.db.mark_pack(pack(1), PackStatus::Lost, 60).expect("mark");
    assert_eq!(find(&fixture, 1), Some(pack(2)));
    assert_eq!(find(&fixture, 2), None);
    fixture.db.mark_pack(pack(1), PackStatus::Durable, 70).expect("mark");
    let place = fixture.db.find_chunks(&[chunk(2)]).expect("find").remove(0).expect("found");
    assert_eq!((place.evidence, place.seen_ns), (None, 70), "a lost proof does not come back");
    fixture.db.prove_pack(pack(1), &proof(1, 80)).expect("prove");
    let place = fixture.db.find_chunks(&[chunk(2)]).expect("find").remove(0).expect("found");
    assert_eq!(place.evidence, Some(proof(1, 80)));
    fixture.db.forget_pack(pack(1)).expect("forget");
    assert_eq!((find(&fixture, 1), find(&fixture, 2)), (Some(pack(2)), None));
    assert!(fixture.db.pack_slots(pack(1)).expect("slots").is_empty());
    assert_eq!(fixture.db.pack(pack(1)).expect("read"), None);
}

#[test]
fn the_longest_unverified_pack_comes_first() {
    let mut fixture = Fixture::new();
    for (number, proven_ns) in [(1, 30), (2, 10), (3, 20)] {
        send(&mut fixture, number, &[], proven_ns);
    }
    fixture.db.set_pack_verified(pack(2), 90).expect("verified");
    fixture.db.mark_pack(pack(3), PackStatus::Damaged, 95).expect("mark");
    let ids = |rows: Vec<PackRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(fixture.db.packs_by_age(9).expect("read")), [pack(1), pack(2)]);
    assert_eq!(ids(fixture.db.packs_by_age(1).expect("read")), [pack(1)]);
    fixture.db.set_packs_seen(&[pack(1)], 91).expect("seen");
    let row = fixture.db.pack(pack(1)).expect("read").expect("there");
    assert_eq!((row.seen_ns, row.verified_ns, row.size_bytes), (Some(91), None, 4096));
    assert_eq!((row.kind.as_str(), row.class.as_deref()), ("small", Some("STANDARD_IA")));
    let mut all = Vec::new();
    fixture
        .db
        .for_each_pack(&mut |row| {
            all.push(row.status);
            ControlFlow::Continue(())
        })
        .expect("read");
    assert_eq!(all, [PackStatus::Durable, PackStatus::Durable, PackStatus::Damaged]);
}

#[test]
fn a_pack_is_recorded_only_where_it_was_intended() {
    let mut fixture = Fixture::new();
    let error = fixture.db.record_pack(pack(1), 1, &[], &proof(1, 1)).expect_err("unknown");
    assert!(matches!(error, Error::UnknownPack { pack: id } if id == pack(1)), "{error}");
    fixture.db.intend_pack(pack(1), "small", None, 1).expect("intend");
    assert!(fixture.db.intend_pack(pack(1), "small", None, 1).is_err(), "a name is used once");
}

fn second(number: u8, proven_ns: i64) -> SecondEvidence {
    SecondEvidence::of_second(proof(number, proven_ns))
}

#[test]
fn a_second_copy_is_kept_apart_from_the_first_and_preferred() {
    let mut fixture = Fixture::new();
    send(&mut fixture, 1, &[slot(1, 64)], 50);
    send(&mut fixture, 2, &[slot(1, 64), slot(2, 164)], 40);
    let db = &mut fixture.db;
    assert!(db.record_second(&second(9, 1)).is_err(), "of an unknown pack");
    db.record_second(&second(2, 60)).expect("record");
    let place = db.find_chunks(&[chunk(1)]).expect("find").remove(0).expect("found");
    assert_eq!((place.pack, place.evidence), (pack(2), Some(proof(2, 40))));
    assert_eq!((place.second, place.second_seen_ns), (Some(second(2, 60)), 60));
    db.set_second_seen(pack(2), 70).expect("seen");
    assert_eq!(db.seconds().expect("read").len(), 1);
    // What the first store lost can still be found in the second.
    db.mark_pack(pack(2), PackStatus::Lost, 80).expect("lost");
    assert_eq!(db.find_chunks(&[chunk(2)]).expect("find"), [None]);
    let found = db.find_second_chunk(&chunk(2)).expect("find").expect("found");
    assert_eq!(found, (pack(2), slot(2, 164)));
    db.forget_pack(pack(2)).expect("forgotten");
    assert_eq!(db.find_second_chunk(&chunk(2)).expect("find"), None);
    assert!(db.seconds().expect("read").is_empty());
}

#[test]
fn a_content_waits_again_when_any_second_copy_or_pack_is_no_more() {
    let mut fixture = Fixture::new();
    send(&mut fixture, 1, &[slot(1, 64)], 50);
    send(&mut fixture, 2, &[slot(2, 64)], 50);
    let content = Content::new([Piece { len: 300, chunk: Some(chunk(1)) }]).expect("sound");
    let id = content.id();
    fixture.db.want_twice(&[id]).expect("unknown contents are passed over");
    assert_eq!(fixture.db.copies_wanted(id).expect("read"), Copies::One);
    let insert = "INSERT INTO content (id, size_bytes, chunking, pieces) VALUES (?1, 300, '', x'')";
    fixture.db.conn.execute(insert, [id.as_bytes()]).expect("a content");
    fixture.db.want_twice(&[id, id]).expect("want");
    assert_eq!(fixture.db.copies_wanted(id).expect("read"), Copies::Two);
    let waiting = |db: &StateDb| db.waiting_contents(None, 10).expect("read") == [id];
    assert!(waiting(&fixture.db));
    assert!(fixture.db.waiting_contents(Some(id), 10).expect("read").is_empty());
    let events: [fn(&mut StateDb); 4] = [
        |db| db.forget_second(pack(2)).expect("forget"),
        |db| db.mark_pack(pack(1), PackStatus::Damaged, 90).expect("damaged"),
        |db| db.forget_pack(pack(1)).expect("gone"),
        |db| db.forget_all_seconds().expect("another store"),
    ];
    for event in events {
        for number in [1, 2] {
            if fixture.db.pack(pack(number)).expect("read").is_none() {
                send(&mut fixture, number, &[slot(number, 64)], 50);
            }
            fixture.db.prove_pack(pack(number), &proof(number, 55)).expect("proven");
            fixture.db.record_second(&second(number, 60)).expect("record");
        }
        fixture.db.set_held(&[id], true).expect("held");
        assert!(!waiting(&fixture.db));
        event(&mut fixture.db);
        assert!(waiting(&fixture.db));
    }
    fixture.db.drop_unwanted().expect("no file has it");
    assert_eq!(fixture.db.copies_wanted(id).expect("read"), Copies::One);
}
