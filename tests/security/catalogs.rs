//! A catalog that somebody else wrote into the store: what it names, what it claims and
//! what it asks for. (Links and what is below them: `restore::hostile`.)

use super::ordinary::USER;
use crate::scene::{lose, restore_command};
use crate::segments::{bare, forge};
use crate::support::running::PATIENCE;
use crate::support::trees::noise;
use crate::support::{Ran, Sandbox, as_nobody, needs_root};
use hsm::chunk::Protection;
use hsm::chunk::{ChunkSlot, Codec};
use hsm::ids::{ChunkId, PackId};
use hsm::manifest::{
    Content, FileRecord, PackRecord, Piece, Record, SegmentHeader, decode_segment, encode_segment,
    segment_hash,
};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;

const ROOT: &str = "/srv/data";

fn record(path: &[u8], kind: char) -> FileRecord {
    bare(ROOT, path, kind)
}

fn file(path: &str, pieces: Vec<Piece>) -> Record {
    let content = Content::new(pieces).expect("sound");
    Record::File(Box::new(FileRecord {
        size_bytes: content.size_bytes,
        content: Some(content.id()),
        pieces: content.pieces,
        ..record(path.as_bytes(), 'f')
    }))
}

fn plain(path: &[u8]) -> Record {
    Record::File(Box::new(record(path, 'f')))
}

/// `hsm` with no more than 3 GiB of addresses: what a hostile store claims is not
/// reserved on its word. (A thread's stack and arena are addresses, too.)
fn bounded(command: &Command) -> Ran {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--as={}", 3_u64 << 30)).arg(command.get_program());
    limited.args(command.get_args()).env_clear();
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::within(PATIENCE, &mut limited);
    let said = ran.stderr();
    assert!(!said.contains("panicked") && !said.contains("memory allocation"), "{said}");
    assert!(ran.code() >= 0, "ended by a signal: {said}");
    ran
}

/// Past what `hsm` would write: a second segment with this line behind a good first.
fn with_line(sandbox: &Sandbox, line: &str) {
    forge(sandbox, vec![plain(b"good")]);
    let nodes = sandbox.store().join("nodes");
    let node = fs::read_dir(nodes).expect("nodes").next().expect("one").expect("an entry");
    let log = node.path().join("log");
    let first = fs::read(log.join("0000000000000001")).expect("the segment");
    let (header, _) = decode_segment(&first, &Protection::Plain).expect("readable");
    let next = SegmentHeader { seq: 2, prev: Some(segment_hash(&first)), ..header };
    let object = encode_segment(&next, &[], &Protection::Plain).expect("encodes");
    let mut text = zstd::stream::decode_all(&object[9..]).expect("a frame");
    text.extend_from_slice(line.as_bytes());
    text.push(b'\n');
    let body = zstd::stream::encode_all(&text[..], 3).expect("memory does not fail");
    let object = [b"HSMSEG1\n\0", &body[..]].concat();
    fs::write(log.join("0000000000000002"), object).expect("written");
    lose(sandbox);
}

fn line(place: &str) -> String {
    let stat = r#""mode":420,"uid":0,"gid":0,"mtime_ns":0,"ctime_ns":0,"ino":1,"gen":1,"nlink":1"#;
    let id = Content { size_bytes: 0, pieces: vec![] }.id();
    format!(r#"{{"t":"file",{place},"type":"f",{stat},"size":0,"content":"{id}"}}"#)
}

#[test]
fn a_catalog_with_a_name_that_leads_elsewhere_is_refused_as_a_whole() {
    let places = [
        r#""root":{"text":"/srv"},"path":{"text":"../../etc/passwd"}"#,
        r#""root":{"text":"/srv"},"path":{"text":"a/../../../etc/passwd"}"#,
        r#""root":{"text":"/srv"},"path":{"text":"/etc/passwd"}"#,
        r#""root":{"text":"/srv"},"path":{"text":"a//b"}"#,
        r#""root":{"text":"/srv"},"path":{"text":"./a"}"#,
        r#""root":{"text":"/srv"},"path":{"text":"a\u0000b"}"#,
        r#""root":{"text":"/srv"},"path":{"bytes":"Li4veA=="}"#,
        r#""root":{"text":"srv"},"path":{"text":"a"}"#,
        r#""root":{"text":"/srv\u0000"},"path":{"text":"a"}"#,
    ];
    for place in places {
        let sandbox = Sandbox::empty();
        with_line(&sandbox, &line(place));
        let ran = bounded(&restore_command(&sandbox, &[])).exits(1);
        ran.complains(&["catalog segment, line 2"]);
        assert!(!sandbox.path("out").exists(), "{place}");
    }
}

#[test]
fn a_name_that_no_file_system_takes_fails_alone() {
    let sandbox = Sandbox::empty();
    let long = vec![b'n'; 300];
    let deep = b"d/".repeat(3000).iter().copied().chain(*b"f").collect::<Vec<u8>>();
    forge(&sandbox, vec![plain(b"good"), plain(&long), plain(&deep), plain(b"\x1b[31m\n\xff")]);
    lose(&sandbox);
    let ran = bounded(&restore_command(&sandbox, &["--strip-root"])).exits(3);
    assert!(!ran.stderr().contains('\x1b'), "a name drives the terminal: {}", ran.stderr());
    let out = sandbox.path("out");
    assert!(out.join("good").is_file() && !out.join("n".repeat(300)).exists());
}

/// Everything that an object can say of another's size, or of its own.
#[test]
fn what_a_catalog_claims_is_not_believed_before_it_is_there() {
    let id = |byte: u8| ChunkId([byte; 32]);
    let slot = |id, stored_len, plain_len| ChunkSlot {
        id,
        offset: 120,
        stored_len,
        plain_len,
        codec: Codec::Zstd,
    };
    // A frame of a few bytes that says it is 1 GiB, and one that is.
    let zeros = vec![0; 256 << 20];
    let bomb = zstd::bulk::compress(&zeros, 1).expect("memory does not fail");
    let mut body = vec![0; 120];
    body.extend_from_slice(&bomb);
    let (bytes, stored) = (body.len() as u64, bomb.len() as u32);
    let pack = |id: u8, slot: ChunkSlot| {
        Record::Pack(Box::new(PackRecord {
            id: PackId([id; 16]),
            kind: "large".to_owned(),
            class: None,
            bytes: u64::MAX / 4,
            proof: None,
            chunks: vec![slot],
        }))
    };
    let piece = |id, len| vec![Piece { len, chunk: Some(id) }];
    let sandbox = Sandbox::empty();
    forge(
        &sandbox,
        vec![
            pack(1, slot(id(1), stored, 60 << 20)),
            pack(2, slot(id(2), 60 << 20, 64 << 20)),
            plain(b"good"),
            file("bomb", piece(id(1), 60 << 20)),
            file("cut", piece(id(2), 64 << 20)),
            file("nowhere", piece(id(3), 1)),
            file("hollow", vec![Piece { len: i64::MAX as u64, chunk: None }]),
        ],
    );
    for byte in [1, 2] {
        let pack = PackId([byte; 16]);
        let key = hsm::manifest::keys::pack_key(pack);
        let object = sandbox.store().join(key);
        fs::create_dir_all(object.parent().expect("a directory")).expect("mkdir");
        fs::write(object, &body).expect("written");
    }
    assert!(bytes < 1 << 20);
    lose(&sandbox);
    let ran = bounded(&restore_command(&sandbox, &["--strip-root"])).exits(3);
    ran.complains(&["bomb", "cut", "nowhere"]);
    let out = sandbox.path("out");
    assert!(out.join("good").is_file());
    for name in ["bomb", "cut", "nowhere"] {
        assert!(!out.join(name).exists(), "{name}");
    }
}

/// A segment that is a sparse file of a terabyte, a descriptor, a plan.
#[test]
fn an_object_of_any_length_takes_no_more_memory_than_is_allowed() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 50_000));
    sandbox.hsm(["tier"]).succeeds();
    let huge = |object: &std::path::Path| {
        fs::create_dir_all(object.parent().expect("a directory")).expect("mkdir");
        let file = fs::File::options().create(true).write(true).truncate(false).open(object);
        file.and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    };
    let objects = walkdir::WalkDir::new(sandbox.store()).into_iter();
    let objects = objects.map(|entry| entry.expect("readable"));
    let objects: Vec<_> = objects.filter(|entry| entry.file_type().is_file()).collect();
    assert!(objects.len() >= 3, "a descriptor, a pack and a segment");
    for object in objects {
        let whole = fs::read(object.path()).expect("readable");
        huge(object.path());
        let code = bounded(&restore_command(&sandbox, &["--strip-root"])).code();
        // What lies behind the end of a pack is no matter of a restore.
        let is_pack = object.path().starts_with(sandbox.store().join("packs"));
        assert_eq!(code == 0, is_pack, "{}", object.path().display());
        fs::write(object.path(), whole).expect("written");
        let _ = fs::remove_dir_all(sandbox.path("out"));
    }
    huge(&sandbox.store().join("gc/0000000000000001.plan"));
    bounded(&sandbox.command(["gc"])).exits(1);
}

/// Of a plain store whoever can write to it is its author: root restores what they say,
/// as the page tells. An ordinary user gets no rights out of it.
#[test]
fn set_id_bits_and_devices_come_back_for_root_only() {
    if !needs_root("set_id_bits_and_devices_come_back_for_root_only") {
        return;
    }
    let sandbox = Sandbox::empty();
    let program = FileRecord { mode: 0o6755, uid: 0, gid: 0, ..record(b"program", 'f') };
    let device = FileRecord { rdev: Some(rustix::fs::makedev(1, 3)), ..record(b"null", 'c') };
    forge(&sandbox, vec![Record::File(Box::new(program)), Record::File(Box::new(device))]);
    lose(&sandbox);
    let out = sandbox.path("out");
    Ran::of(&mut restore_command(&sandbox, &["--strip-root"])).succeeds();
    assert_eq!(fs::metadata(out.join("program")).expect("there").mode() & 0o7777, 0o6755);
    assert!(fs::metadata(out.join("null")).expect("there").file_type().is_char_device());
    fs::remove_dir_all(&out).expect("remove");
    let hsm = as_nobody(&sandbox);
    let (url, to) = (sandbox.store_url(), out.to_str().expect("a plain path").to_owned());
    hsm(&["restore", "--strip-root", "--store", &url, "--to", &to]).succeeds();
    let program = fs::metadata(out.join("program")).expect("there");
    assert_eq!((program.uid(), program.mode() & 0o6000), (USER, 0));
    assert!(!out.join("null").exists());
}
