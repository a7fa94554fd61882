//! Objects written by format version 1 stay readable, and version 1 is still
//! what is written.
//!
//! The files under tests/fixtures/formats-v1 are never changed: a store written
//! with them exists somewhere. `HSM_WRITE_FIXTURES=1` writes those that are
//! missing, for a new kind of object, and never overwrites one.
//!
//! Encoders are compared byte by byte except for zstd frames, which another
//! zstd release may make differently: there the text inside is compared.
//!
//! tests/data holds whole stores that a release wrote (`formats_v1::stores`).

mod formats_v1 {
    pub mod stores;
}
#[path = "support/script.rs"]
mod script;
mod support;

use formats_v1::stores;
use hsm::chunk::{
    ChunkSlot, Chunking, Codec, Decoder, Encoder, MasterKey, PackBuilder, PackHeader, Protection,
    open_chunk, parse_index, scan_forward,
};
use hsm::ids::{ChunkId, NodeId, PackId, StoreId};
use hsm::manifest::{
    CheckpointHeader, Content, FileRecord, Name, PackRecord, Piece, Record, SegmentHeader,
    StoreDescriptor, decode_checkpoint, decode_segment, encode_checkpoint, encode_segment, keys,
    segment_hash,
};
use std::path::Path;

const STORE: StoreId = StoreId([0x51; 16]);
const NODE: NodeId = NodeId([0x4e; 16]);
const PACK: PackId = PackId([0x9a; 16]);
const WRITTEN_NS: i64 = 1_767_225_600_000_000_000;

/// The bytes of a fixture; `make` writes it the first time it is asked for.
fn fixture(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats-v1");
    let path = dir.join(name);
    if !path.exists() && std::env::var_os("HSM_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(&dir).expect("make the fixture directory");
        std::fs::write(&path, make()).expect("write the fixture");
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

fn master_key() -> MasterKey {
    MasterKey::generate(std::array::from_fn(|at| at as u8))
}

fn encrypted() -> Protection {
    Protection::encrypted(&master_key(), STORE)
}

/// What lies in the fixture packs: something raw, something compressed.
fn plain_chunks() -> [Vec<u8>; 3] {
    let text = b"The quick brown fox jumps over the lazy dog.\n".repeat(100);
    [b"hello, store\n".to_vec(), text, (0..=255).collect()]
}

fn build_plain() -> Vec<u8> {
    let (mut encoder, mut stored) = (Encoder::new(1), vec![]);
    let mut builder = PackBuilder::new(PACK, &Protection::Plain, STORE, 1 << 16);
    for plain in plain_chunks() {
        let codec = encoder.encode(&plain, &mut stored);
        builder.push(Protection::Plain.chunk_id(&plain), codec, plain.len() as u32, &stored);
    }
    builder.finish().0
}

fn plain_pack() -> Vec<u8> {
    fixture("pack-plain", build_plain)
}

fn stored<'a>(pack: &'a [u8], slot: &ChunkSlot) -> &'a [u8] {
    let start = slot.offset as usize;
    &pack[start..start + slot.stored_len as usize]
}

/// A pack of the fixture's frames, so that no compressor takes part.
fn rebuild(protection: &Protection) -> Vec<u8> {
    let from = plain_pack();
    let slots = parse_index(&from).expect("an index");
    let mut builder = PackBuilder::new(PACK, protection, STORE, 1 << 16);
    for (slot, plain) in slots.iter().zip(plain_chunks()) {
        let id = protection.chunk_id(&plain);
        builder.push(id, slot.codec, slot.plain_len, stored(&from, slot));
    }
    builder.finish().0
}

fn check_pack(pack: &[u8], protection: &Protection) {
    let header = PackHeader::parse(pack).expect("a header");
    let fingerprint = protection.fingerprint();
    assert_eq!(header, PackHeader { pack: PACK, store: STORE, fingerprint });
    let slots = parse_index(pack).expect("an index");
    assert_eq!(scan_forward(pack).expect("headers"), slots);
    assert_eq!(
        slots.iter().map(|slot| slot.codec).collect::<Vec<_>>(),
        [Codec::Raw, Codec::Zstd, Codec::Raw]
    );
    let (mut decoder, mut out) = (Decoder::new(), vec![]);
    for (slot, plain) in slots.iter().zip(plain_chunks()) {
        let bytes = stored(pack, slot);
        open_chunk(protection, STORE, PACK, slot, bytes, &mut decoder, &mut out).expect("opens");
        assert_eq!(out, plain);
    }
}

#[test]
fn packs_of_version_1() {
    let plain = plain_pack();
    check_pack(&plain, &Protection::Plain);
    assert!(rebuild(&Protection::Plain) == plain, "a plain pack is written otherwise");
    let secret = fixture("pack-encrypted", || rebuild(&encrypted()));
    check_pack(&secret, &encrypted());
    assert!(rebuild(&encrypted()) == secret, "an encrypted pack is written otherwise");
}

fn name(text: &str) -> Name {
    Name::from_bytes(text.as_bytes())
}

fn file(path: &Name, kind: char, content: Option<&Content>) -> FileRecord {
    FileRecord {
        root: name("/srv/data"),
        path: path.clone(),
        kind,
        mode: 0o750,
        uid: 1000,
        gid: 100,
        mtime_ns: 1_700_000_000_123_456_789,
        ctime_ns: -1,
        ino: 77,
        generation: 5,
        nlink: 1,
        size_bytes: content.map_or(0, |content| content.size_bytes),
        xattrs: vec![],
        target: None,
        link: None,
        rdev: None,
        content: content.map(Content::id),
        pieces: content.map_or(vec![], |content| content.pieces.clone()),
        chunking: content.map(|_| Chunking::default().to_string()),
    }
}

fn content() -> Content {
    let [hello, text, _] = plain_chunks();
    let piece = |plain: &[u8]| Piece {
        len: plain.len() as u64,
        chunk: Some(Protection::Plain.chunk_id(plain)),
    };
    Content::new([piece(&hello), Piece { len: 1 << 20, chunk: None }, piece(&text)])
        .expect("a sound content")
}

fn records() -> Vec<Record> {
    let pack = PackRecord {
        id: PACK,
        kind: "small".to_owned(),
        class: None,
        bytes: plain_pack().len() as u64,
        proof: None,
        chunks: parse_index(&plain_pack()).expect("an index"),
    };
    let full = FileRecord {
        xattrs: vec![
            (b"user.note".to_vec(), b"\x00\xff".to_vec()),
            (b"user.\xfe".to_vec(), vec![]),
        ],
        nlink: 2,
        link: Some(77),
        ..file(&Name::from_bytes(b"a/\xffname"), 'f', Some(&content()))
    };
    let symlink = FileRecord { target: Some(name("a/b")), ..file(&name("s"), 'l', None) };
    let device = FileRecord { rdev: Some(0x103), ..file(&name("c"), 'c', None) };
    let gone = Record::Gone {
        root: name("/srv/data"),
        path: name("old"),
        content: Some(content().id()),
        when_ns: 5,
    };
    vec![
        Record::Open { session: "boot-1".to_owned(), host: None },
        Record::Pack(Box::new(pack)),
        Record::File(Box::new(file(&name(""), 'd', None))),
        Record::File(Box::new(full)),
        Record::File(Box::new(symlink)),
        Record::File(Box::new(device)),
        gone,
        Record::Close { session: "boot-1".to_owned() },
    ]
}

fn segment_header() -> SegmentHeader {
    SegmentHeader {
        store: STORE,
        node: NODE,
        seq: 2,
        prev: Some([0xab; 32]),
        ack_gen: 0,
        session: "boot-1".to_owned(),
        written_ns: WRITTEN_NS,
    }
}

fn checkpoint_header() -> CheckpointHeader {
    CheckpointHeader {
        store: STORE,
        node: NODE,
        upto: 2,
        upto_hash: Some([0xcd; 32]),
        part: 0,
        parts: 1,
        ack_gen: 0,
        written_ns: WRITTEN_NS,
    }
}

/// Preamble and text of a plain catalog object.
fn lines(object: &[u8]) -> (&[u8], String) {
    let text = zstd::bulk::decompress(&object[9..], 1 << 20).expect("one zstd frame");
    (&object[..9], String::from_utf8(text).expect("JSON is UTF-8"))
}

#[test]
fn segments_of_version_1() {
    let expected = (segment_header(), records());
    let make = |protection: &Protection| {
        encode_segment(&expected.0, &expected.1, protection).expect("writes")
    };
    let plain = fixture("segment-plain", || make(&Protection::Plain));
    assert_eq!(decode_segment(&plain, &Protection::Plain).expect("reads"), expected);
    assert_eq!(lines(&make(&Protection::Plain)), lines(&plain));
    let text = fixture("segment.jsonl", || lines(&plain).1.into_bytes());
    assert_eq!(lines(&plain).1.into_bytes(), text);
    let secret = fixture("segment-encrypted", || make(&encrypted()));
    assert_eq!(decode_segment(&secret, &encrypted()).expect("reads"), expected);
}

#[test]
fn checkpoints_of_version_1() {
    let expected = (checkpoint_header(), records());
    let make = || encode_checkpoint(&expected.0, &expected.1, &Protection::Plain).expect("writes");
    let object = fixture("checkpoint-plain", make);
    assert_eq!(decode_checkpoint(&object, &Protection::Plain).expect("reads"), expected);
    assert_eq!(lines(&make()), lines(&object));
}

#[test]
fn descriptors_and_keys_of_version_1() {
    let make = |key| StoreDescriptor::new(STORE, WRITTEN_NS, Chunking::default(), key);
    let (plain, key) = (make(None), master_key());
    let secret = make(Some(&key));
    for (file, descriptor) in
        [("descriptor-plain.json", plain), ("descriptor-encrypted.json", secret)]
    {
        let bytes = fixture(file, || descriptor.encode());
        assert_eq!(StoreDescriptor::parse(&bytes).expect("reads"), descriptor);
        assert_eq!(descriptor.encode(), bytes);
    }
    let text = fixture("key", || key.encode().into_bytes());
    let text = String::from_utf8(text).expect("text");
    let read = MasterKey::parse(&text).expect("reads");
    assert_eq!((read.encode(), read.fingerprint()), (text, key.fingerprint()));
}

#[test]
fn contents_and_names_of_version_1() {
    let encoded = fixture("content", || content().encode());
    assert_eq!(Content::decode(&encoded).expect("reads"), content());
    assert_eq!(content().encode(), encoded);
    let named = [
        content().id().to_string(),
        encrypted().chunk_id(b"hello, store\n").to_string(),
        hex::encode(segment_hash(b"segment")),
        keys::store_descriptor(),
        keys::pack_key(PACK),
        keys::segment_key(NODE, 2),
        keys::checkpoint_key(NODE, 2, 0),
    ]
    .join("\n");
    let expected = fixture("names.txt", || named.clone().into_bytes());
    assert_eq!(named.as_bytes(), expected, "{named}");
    assert_eq!(ChunkId([1; 32]).to_string(), "01".repeat(32));
}

/// Also one that is written now: what is frozen next is readable.
#[test]
fn stores_of_version_1() {
    if !script::script_runs("stores_of_version_1") {
        return;
    }
    for (name, encrypted) in stores::KINDS {
        let frozen = stores::data_dir().join(name);
        if !frozen.exists() && std::env::var_os("HSM_WRITE_DATA").is_some() {
            stores::write(&frozen, encrypted);
        }
        let place = tempfile::tempdir().expect("a temporary directory");
        let fresh = place.path().join(name);
        stores::write(&fresh, encrypted);
        stores::check(&fresh);
        assert!(frozen.exists(), "{} is to be kept for ever", frozen.display());
        stores::check(&frozen);
    }
}
