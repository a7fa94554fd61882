//! Contents and catalog objects: round trips, damage, foreign logs, hostile
//! bytes.

use super::*;
use crate::chunk::{ChunkSlot, Codec, MasterKey, Protection};
use crate::ids::{ChunkId, ContentId, NodeId, PackId, StoreId};
use proptest::prelude::*;

const STORE: StoreId = StoreId([0x51; 16]);
const NODE: NodeId = NodeId([0x4e; 16]);

fn encrypted(key: u8) -> Protection {
    Protection::encrypted(&MasterKey::generate([key; 32]), STORE)
}

fn header(seq: u64, prev: Option<[u8; 32]>) -> SegmentHeader {
    let session = "boot-17".to_owned();
    SegmentHeader { store: STORE, node: NODE, seq, prev, ack_gen: 0, session, written_ns: 7 }
}

fn name(text: &str) -> Name {
    Name::from_bytes(text.as_bytes())
}

fn data(byte: u8, len: u64) -> Piece {
    Piece { len, chunk: Some(ChunkId([byte; 32])) }
}

fn hole(len: u64) -> Piece {
    Piece { len, chunk: None }
}

fn file(path: &str, content: Content) -> FileRecord {
    FileRecord {
        root: name("/srv/a"),
        path: name(path),
        kind: 'f',
        mode: 0o644,
        uid: 1000,
        gid: 100,
        mtime_ns: 1_700_000_000_123_456_789,
        ctime_ns: -5,
        ino: 12,
        generation: 3,
        nlink: 1,
        size_bytes: content.size_bytes,
        xattrs: vec![(b"user.note".to_vec(), vec![0, 255]), (b"user.\xff".to_vec(), vec![])],
        target: None,
        link: None,
        rdev: None,
        content: Some(content.id()),
        pieces: content.pieces,
        chunking: Some("fixed:4194304".to_owned()),
    }
}

fn special(path: &str, kind: char) -> FileRecord {
    let none = Content { size_bytes: 0, pieces: vec![] };
    let target = (kind == 'l').then(|| Name::from_bytes(b"../\xff"));
    let rdev = (kind == 'c').then_some(259);
    FileRecord { kind, target, rdev, content: None, chunking: None, ..file(path, none) }
}

fn records() -> Vec<Record> {
    let content = Content::new([data(1, 10), hole(20), data(2, 5)]).expect("sound");
    let slot = |byte: u8, offset: u64| ChunkSlot {
        id: ChunkId([byte; 32]),
        offset,
        stored_len: 10,
        plain_len: 10,
        codec: Codec::Raw,
    };
    let pack = PackRecord {
        id: PackId([9; 16]),
        kind: "small".to_owned(),
        class: Some("STANDARD_IA".to_owned()),
        bytes: 500,
        proof: None,
        chunks: vec![slot(1, 120), slot(2, 186)],
    };
    let gone = Record::Gone {
        root: name("/srv/a"),
        path: Name::from_bytes(b"old\xff"),
        content: Some(ContentId([4; 32])),
        when_ns: 99,
    };
    let mut records = vec![
        Record::Open { session: "boot-17".to_owned(), host: None },
        Record::Pack(Box::new(pack)),
        Record::File(Box::new(special("", 'd'))),
        Record::File(Box::new(file("x/report.pdf", content))),
        gone,
        Record::Close { session: "boot-17".to_owned() },
    ];
    records.extend("dlpscb".chars().map(|kind| Record::File(Box::new(special("x/it", kind)))));
    records
}

#[test]
fn contents_add_up_and_know_their_ranges() {
    let content =
        Content::new([hole(3), hole(4), data(1, 10), data(2, 5), hole(0), data(1, 1), hole(2)])
            .expect("sound");
    assert_eq!(content.pieces[0], hole(7));
    assert_eq!((content.size_bytes, content.data_bytes()), (25, 16));
    assert_eq!(content.data_ranges(), vec![7..23]);
    let ids: Vec<u8> = content.chunk_ids().map(|id| id.0[0]).collect();
    assert_eq!(ids, [1, 2, 1]);
    let placed: Vec<_> = content.placed_chunks().map(|(range, id)| (range, id.0[0])).collect();
    assert_eq!(placed, [(7..17, 1), (17..22, 2), (22..23, 1)]);
}

#[test]
fn the_content_id_is_what_the_format_says() {
    use aws_lc_rs::digest::{SHA256, digest};
    let content = Content::new([data(7, 10), hole(6)]).expect("sound");
    let mut spelled = b"hsm content v1\0".to_vec();
    spelled.extend_from_slice(&16_u64.to_le_bytes());
    spelled.extend_from_slice(&10_u64.to_le_bytes());
    spelled.push(1);
    spelled.extend_from_slice(&[7; 32]);
    spelled.extend_from_slice(&6_u64.to_le_bytes());
    spelled.push(0);
    assert_eq!(content.id().as_bytes()[..], digest(&SHA256, &spelled).as_ref()[..]);
}

#[test]
fn an_unsound_content_is_refused() {
    let too_long = data(1, u64::from(crate::chunk::MAX_CHUNK_LEN) + 1);
    assert!(Content::new([too_long]).is_err());
    assert!(Content::new([hole(u64::MAX), hole(5)]).is_err());
    for (size_bytes, pieces) in
        [(11, vec![data(1, 10)]), (5, vec![hole(2), hole(3)]), (5, vec![data(1, 5), hole(0)])]
    {
        let unsound = Content { size_bytes, pieces };
        assert!(unsound.fault().is_some());
        assert!(Content::decode(&unsound.encode()).is_err());
    }
    let good = Content::new([data(1, 10), hole(3)]).expect("sound").encode();
    for len in 0..good.len() {
        assert!(Content::decode(&good[..len]).is_err(), "cut at {len}");
    }
    assert!(Content::decode(&[&good[..], &[0]].concat()).is_err());
    let newer = [&[2], &good[1..]].concat();
    assert!(matches!(Content::decode(&newer), Err(Error::Newer { .. })));
}

#[test]
fn segments_survive_plain_and_sealed() {
    for protection in [Protection::Plain, encrypted(1)] {
        let object = encode_segment(&header(1, None), &records(), &protection).expect("writes");
        let (head, read) = decode_segment(&object, &protection).expect("reads");
        assert_eq!((head, read), (header(1, None), records()));
    }
}

#[test]
fn checkpoints_survive_and_are_no_segments() {
    let head = CheckpointHeader {
        store: STORE,
        node: NODE,
        upto: 5,
        upto_hash: Some([3; 32]),
        part: 0,
        parts: 1,
        ack_gen: 0,
        written_ns: 7,
    };
    let object = encode_checkpoint(&head, &records(), &Protection::Plain).expect("writes");
    let read = decode_checkpoint(&object, &Protection::Plain).expect("reads");
    assert_eq!(read, (head.clone(), records()));
    let segment = decode_segment(&object, &Protection::Plain);
    assert!(matches!(segment, Err(Error::Foreign { .. })));
    let beyond = CheckpointHeader { part: 1, ..head };
    let object = encode_checkpoint(&beyond, &[], &Protection::Plain).expect("writes");
    assert!(decode_checkpoint(&object, &Protection::Plain).is_err());
}

#[test]
fn damage_to_a_segment_never_changes_what_is_read() {
    for protection in [Protection::Plain, encrypted(1)] {
        let (head, records) = (header(1, None), records());
        let good = encode_segment(&head, &records, &protection).expect("writes");
        let mut harmless = 0;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            // A few bits of a zstd frame say nothing; the text is checksummed.
            if let Ok(read) = decode_segment(&bad, &protection) {
                assert_eq!(read, (head.clone(), records.clone()), "byte {at}");
                harmless += 1;
            }
            assert!(decode_segment(&good[..at], &protection).is_err(), "cut at {at}");
        }
        assert!(harmless <= if protection.is_encrypted() { 0 } else { 8 }, "{harmless}");
    }
}

#[test]
fn keys_and_seals_must_fit() {
    let plain = encode_segment(&header(1, None), &[], &Protection::Plain).expect("writes");
    let sealed = encode_segment(&header(1, None), &[], &encrypted(1)).expect("writes");
    let read = |object: &[u8], protection| decode_segment(object, &protection);
    assert!(matches!(read(&plain, encrypted(1)), Err(Error::NotEncrypted { .. })));
    assert!(matches!(read(&sealed, Protection::Plain), Err(Error::KeyMissing { .. })));
    assert!(matches!(read(&sealed, encrypted(2)), Err(Error::Sealed { .. })));
}

/// An object with these JSON lines and everything else right.
fn object(lines: &str) -> Vec<u8> {
    let body = zstd::bulk::compress(lines.as_bytes(), 1).expect("memory does not fail");
    [b"HSMSEG1\n\0", &body[..]].concat()
}

fn head_line() -> String {
    let text = encode_segment(&header(1, None), &[], &Protection::Plain).expect("writes");
    String::from_utf8(zstd::bulk::decompress(&text[9..], 4096).expect("a frame")).expect("text")
}

#[test]
fn what_a_newer_hsm_wrote_is_refused_by_name() {
    let refusal =
        |bytes: &[u8]| decode_segment(bytes, &Protection::Plain).expect_err("newer").to_string();
    let mut newer = object(&head_line());
    newer[6] = b'2';
    assert!(refusal(&newer).contains("version 2 is newer than version 1"));
    let mut flagged = object(&head_line());
    flagged[8] = 4;
    assert!(refusal(&flagged).contains("flags 0x04"));
    assert!(refusal(&object(&head_line().replace("\"v\":1", "\"v\":3"))).contains("version 3"));
    let lease = format!("{}{{\"t\":\"lease\",\"by\":1}}\n", head_line());
    assert!(refusal(&object(&lease)).contains("line 2: a record of type \"lease\""));
}

#[test]
fn fields_that_a_later_version_adds_are_ignored() {
    let lines = format!("{}{{\"mood\":[1],\"t\":\"open\",\"session\":\"s\"}}\n", head_line());
    let (_, read) = decode_segment(&object(&lines), &Protection::Plain).expect("reads");
    assert_eq!(read, [Record::Open { session: "s".to_owned(), host: None }]);
}

#[test]
fn a_record_that_lies_is_neither_written_nor_read() {
    let content = || Content::new([data(1, 10)]).expect("sound");
    let good = || file("a/b", content());
    let with = |change: &dyn Fn(&mut FileRecord)| {
        let mut record = good();
        change(&mut record);
        record
    };
    let bad = [
        with(&|r| r.path = name("../etc/passwd")),
        with(&|r| r.path = name("/etc/passwd")),
        with(&|r| r.path = name("a//b")),
        with(&|r| r.path = name("a/./b")),
        with(&|r| r.path = name("a/b/")),
        with(&|r| r.path = name("a\0b")),
        with(&|r| r.root = name("srv")),
        with(&|r| r.kind = 'x'),
        with(&|r| r.kind = 'd'),
        with(&|r| r.mode = 0o100_644),
        with(&|r| r.size_bytes = 11),
        with(&|r| r.content = None),
        with(&|r| r.content = Some(ContentId([0; 32]))),
        with(&|r| r.target = Some(name("x"))),
        with(&|r| r.pieces = vec![data(2, 10)]),
    ];
    for record in bad {
        let record = Record::File(Box::new(record));
        let json = serde_json::to_string(&record).expect("json");
        let written = encode_segment(&header(1, None), &[record], &Protection::Plain);
        assert!(matches!(written, Err(Error::Unwritable { record: 1, .. })), "{json}");
        let read = decode_segment(&object(&format!("{}{json}\n", head_line())), &Protection::Plain);
        assert!(matches!(read, Err(Error::BadRecord { line: 2, .. })), "{json}");
    }
}

#[test]
fn a_hostile_frame_cannot_grow_without_bound() {
    // 257 MiB of spaces compress to a few kilobytes.
    let mut bomb = head_line().into_bytes();
    bomb.resize(super::MAX_PLAIN_LEN + (1 << 20), b' ');
    let body = zstd::bulk::compress(&bomb, 1).expect("memory does not fail");
    assert!(body.len() < 1 << 20);
    let object = [b"HSMSEG1\n\0", &body[..]].concat();
    let error = decode_segment(&object, &Protection::Plain).expect_err("too large");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

fn bomb(line: String) -> Error {
    let text = [head_line(), line, "\n".to_owned()].concat().into_bytes();
    let body = zstd::bulk::compress(&text, 1).expect("memory does not fail");
    assert!(body.len() < 1 << 20, "a bomb is small");
    let object = [b"HSMSEG1\n\0", &body[..]].concat();
    decode_segment(&object, &Protection::Plain).expect_err("refused")
}

/// Of each what would take many times its length in memory is refused where it begins.
#[test]
fn a_hostile_record_cannot_grow_without_bound() {
    let numbers = "0,".repeat(4 << 20);
    let error = bomb(format!(r#"{{"t":"close","session":"","x":[{numbers}0]}}"#));
    assert!(error.to_string().contains("\"close\" has"), "{error}");
    let file = |more: String| {
        let place =
            r#""root":{"text":"/r"},"path":{"text":"f"},"type":"f","mode":0,"uid":0,"gid":0"#;
        let stat = r#""mtime_ns":0,"ctime_ns":0,"ino":0,"gen":0,"nlink":1,"size":0"#;
        format!(r#"{{"t":"file",{place},{stat},{more}}}"#)
    };
    let causes = |error: &Error| match error {
        Error::Json { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    let error = bomb(file(format!(r#""pieces":[{}[null,1]]"#, "[null,1],".repeat(1 << 20))));
    assert!(causes(&error).contains("adjacent"), "{error:?}");
    let error = bomb(file(format!(r#""xattrs":[{}["",""]]"#, r#"["",""],"#.repeat(1 << 20))));
    assert!(causes(&error).contains("more attributes"), "{error:?}");
    let error = bomb("{\"t\":\"close\",\"session\":\"\"}\n".repeat(1 << 18) + "{}");
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn a_chain_notices_every_wrong_link() {
    let mut chain = Chain::new(STORE, NODE);
    assert!(chain.accept(&header(5, Some([0; 32])), [1; 32]).is_err(), "a first one is missing");
    chain.accept(&header(5, None), [5; 32]).expect("the first");
    chain.accept(&header(6, Some([5; 32])), [6; 32]).expect("the next");
    let store = StoreId([0; 16]);
    let node = NodeId([0; 16]);
    let wrong = [
        header(6, Some([5; 32])),
        header(8, Some([6; 32])),
        header(7, Some([5; 32])),
        header(7, None),
        SegmentHeader { store, ..header(7, Some([6; 32])) },
        SegmentHeader { node, ..header(7, Some([6; 32])) },
    ];
    for header in wrong {
        assert!(chain.accept(&header, [7; 32]).is_err(), "{header:?}");
        assert_eq!(chain.last(), Some((6, [6; 32])));
    }
    let mut resumed = Chain::after(STORE, NODE, 6, [6; 32]);
    resumed.accept(&header(7, Some([6; 32])), [7; 32]).expect("the next");
    let last = u64::MAX;
    let mut full = Chain::after(STORE, NODE, last, [6; 32]);
    assert!(full.accept(&header(0, Some([6; 32])), [7; 32]).is_err());
}

fn decode_everything(bytes: &[u8]) {
    let _ = Content::decode(bytes);
    let _ = StoreDescriptor::parse(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = keys::parse_pack_key(&text);
    let _ = keys::parse_segment_key(&text);
    let _ = keys::parse_checkpoint_key(&text);
    for protection in [Protection::Plain, encrypted(1)] {
        let _ = decode_segment(bytes, &protection);
        let _ = decode_checkpoint(bytes, &protection);
    }
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = (any::<Option<[u8; 32]>>(), 0..70_000_000_u64).prop_map(|(id, len)| Piece {
        len: if id.is_some() { len.min(64 << 20) } else { len * 1000 },
        chunk: id.map(ChunkId),
    });
    proptest::collection::vec(piece, 0..20)
}

proptest! {
    #[test]
    fn any_content_survives(pieces in pieces()) {
        let content = Content::new(pieces).expect("sound pieces");
        prop_assert_eq!(content.fault(), None);
        let back = Content::decode(&content.encode()).expect("reads");
        prop_assert_eq!(back.id(), content.id());
        prop_assert_eq!(back, content);
    }

    #[test]
    fn contents_that_differ_have_other_ids(one in pieces(), two in pieces()) {
        let (one, two) = (Content::new(one).expect("sound"), Content::new(two).expect("sound"));
        prop_assert_eq!(one == two, one.id() == two.id());
    }

    #[test]
    fn any_file_survives(
        path in "[^/\0]{1,20}",
        pieces in pieces(),
        numbers: (u32, u32, u64, u32, i64, i64),
        xattr: (Vec<u8>, Vec<u8>),
        key: Option<u8>,
    ) {
        prop_assume!(path != "." && path != "..");
        let (uid, gid, ino, generation, mtime_ns, ctime_ns) = numbers;
        let mut record = file(&path, Content::new(pieces).expect("sound pieces"));
        record = FileRecord { uid, gid, ino, generation, mtime_ns, ctime_ns, ..record };
        record.xattrs.push(xattr);
        record.link = Some(ino);
        let records = [Record::File(Box::new(record))];
        let protection = key.map_or(Protection::Plain, encrypted);
        let object = encode_segment(&header(u64::MAX, None), &records, &protection).expect("writes");
        let (head, read) = decode_segment(&object, &protection).expect("reads");
        prop_assert_eq!(head.seq, u64::MAX);
        prop_assert_eq!(&read[..], &records[..]);
    }

    #[test]
    fn random_bytes_panic_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode_everything(&bytes);
        decode_everything(&[b"HSMSEG1\n\0", &bytes[..]].concat());
        decode_everything(&object(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn mutated_objects_panic_nothing(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        which in 0..4,
    ) {
        let text = |object: &[u8]| zstd::bulk::decompress(&object[9..], 1 << 20).expect("a frame");
        let segment = encode_segment(&header(1, None), &records(), &Protection::Plain).expect("writes");
        let chunking = crate::chunk::Chunking::default();
        let mut bytes = match which {
            0 => Content::new([data(1, 10), hole(300), data(2, 5)]).expect("sound").encode(),
            1 => StoreDescriptor::new(STORE, 5, chunking, None).encode(),
            2 => segment,
            _ => text(&segment),
        };
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if which == 3 {
            bytes = object(&String::from_utf8_lossy(&bytes));
        }
        decode_everything(&bytes);
    }
}
