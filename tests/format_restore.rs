//! A store without hsm: tests/restore.py, which knows nothing but
//! docs/FORMATS.md, restores trees from a store that the encoders wrote.
//!
//! Needs `python3` and a way to read zstd; without them the tests say loudly
//! that they skip, and fail under `HSM_TEST_NO_SKIP=1`.

use hsm::chunk::{Chunking, Encoder, MasterKey, PackBuilder, Protection};
use hsm::ids::{NodeId, PackId, StoreId};
use hsm::manifest::{
    CheckpointHeader, Content, FileRecord, Name, Piece, Record, SegmentHeader, StoreDescriptor,
    encode_checkpoint, encode_segment, keys, segment_hash,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const STORE: StoreId = StoreId([0x51; 16]);
const NODE: NodeId = NodeId([0x4e; 16]);
const MTIME_NS: i64 = 1_600_000_000_123_456_789;

/// Whether restore.py can run here.
fn python(test: &str) -> bool {
    let zstd = "import importlib.util as u, shutil, sys\n\
                found = u.find_spec('zstandard') or shutil.which('zstd') or sys.version_info >= (3, 14)\n\
                sys.exit(not found)";
    let found = Command::new("python3").args(["-c", zstd]).status().is_ok_and(|s| s.success());
    if !found {
        let why = "needs python3 with zstandard or the zstd program";
        assert!(std::env::var_os("HSM_TEST_NO_SKIP").is_none_or(|v| v != "1"), "{test} {why}");
        eprintln!("SKIPPED {test}: {why}");
    }
    found
}

/// A store in a directory, written object by object.
struct Store {
    dir: tempfile::TempDir,
    node: NodeId,
    next_pack: u8,
    seq: u64,
    prev: Option<[u8; 32]>,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Self { dir, node: NODE, next_pack: 1, seq: 1, prev: None };
        let descriptor = StoreDescriptor::new(STORE, 1, Chunking::default(), None);
        store.put(&keys::store_descriptor(), &descriptor.encode());
        store
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.path().join(key)
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.path(key);
        std::fs::create_dir_all(path.parent().expect("a key has a directory")).expect("mkdir");
        std::fs::write(path, bytes).expect("write an object");
    }

    /// Stores the chunks in a pack of their own; `None` is a hole of 1 MiB.
    fn content(&mut self, chunks: &[Option<&[u8]>]) -> Content {
        let id = PackId([self.next_pack; 16]);
        self.next_pack += 1;
        let mut builder = PackBuilder::new(id, &Protection::Plain, STORE, 1 << 16);
        let (mut encoder, mut stored) = (Encoder::new(1), vec![]);
        let pieces: Vec<Piece> = chunks
            .iter()
            .map(|chunk| match chunk {
                None => Piece { len: 1 << 20, chunk: None },
                Some(plain) => {
                    let id = Protection::Plain.chunk_id(plain);
                    let codec = encoder.encode(plain, &mut stored);
                    builder.push(id, codec, plain.len() as u32, &stored);
                    Piece { len: plain.len() as u64, chunk: Some(id) }
                }
            })
            .collect();
        self.put(&keys::pack_key(id), &builder.finish().0);
        Content::new(pieces).expect("a sound content")
    }

    fn segment(&mut self, records: &[Record]) {
        let header = SegmentHeader {
            store: STORE,
            node: self.node,
            seq: self.seq,
            prev: self.prev,
            ack_gen: 0,
            session: "s".to_owned(),
            written_ns: 1,
        };
        let object = encode_segment(&header, records, &Protection::Plain).expect("writes");
        self.put(&keys::segment_key(self.node, self.seq), &object);
        self.seq += 1;
        self.prev = Some(segment_hash(&object));
    }

    /// A second writer's log in the same bucket.
    fn switch_node(&mut self, node: NodeId) {
        (self.node, self.seq, self.prev) = (node, 1, None);
    }

    fn restore(&self, out: &Path) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/restore.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(self.dir.path()).arg(out).output().expect("python3 runs")
    }
}

fn record(path: &[u8], kind: char, content: Option<&Content>) -> FileRecord {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    FileRecord {
        root: Name::from_bytes(b"/srv/data"),
        path: Name::from_bytes(path),
        kind,
        mode: 0o640,
        uid,
        gid,
        mtime_ns: MTIME_NS,
        ctime_ns: 0,
        ino: 1,
        generation: 1,
        nlink: 1,
        size_bytes: content.map_or(0, |content| content.size_bytes),
        xattrs: vec![],
        target: None,
        link: None,
        rdev: None,
        content: content.map(Content::id),
        pieces: content.map_or(vec![], |content| content.pieces.clone()),
        chunking: None,
    }
}

fn entry(record: FileRecord) -> Record {
    Record::File(Box::new(record))
}

fn gone(path: &[u8]) -> Record {
    let (root, path) = (Name::from_bytes(b"/srv/data"), Name::from_bytes(path));
    Record::Gone { root, path, content: None, when_ns: 1 }
}

fn succeeded(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "restore.py failed: {stderr}");
}

fn failed_saying(output: &Output, text: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains(text), "{:?} {stderr}", output.status);
}

fn tree(out: &Path, node: NodeId) -> PathBuf {
    out.join(node.to_string()).join("srv/data")
}

#[test]
fn a_tree_comes_back_from_the_bucket_alone() {
    if !python("a_tree_comes_back_from_the_bucket_alone") {
        return;
    }
    let mut store = Store::new();
    let text = b"all work and no play ".repeat(5000);
    let noise: Vec<u8> =
        (0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
    let big = store.content(&[Some(&text), None, Some(&noise), None]);
    let old = store.content(&[Some(b"old")]);
    let new = store.content(&[Some(b"new")]);
    let empty = Content::new([]).expect("an empty content");
    let linked =
        |path: &[u8]| FileRecord { link: Some(9), nlink: 2, ..record(path, 'f', Some(&new)) };
    let noted = FileRecord {
        xattrs: vec![(b"user.note".to_vec(), b"\x00\xff".to_vec())],
        mode: 0o4755,
        ..record(b"d/big", 'f', Some(&big))
    };
    let target = Some(Name::from_bytes(b"../nowhere/\xff"));
    store.segment(&[
        Record::Open { session: "s".to_owned(), host: None },
        entry(record(b"d/old", 'f', Some(&old))),
        entry(record(b"d/changed", 'f', Some(&old))),
        entry(record(b"d/back", 'f', Some(&old))),
    ]);
    store.segment(&[
        entry(FileRecord { mode: 0o750, ..record(b"", 'd', None) }),
        entry(FileRecord { mode: 0o500, ..record(b"d", 'd', None) }),
        entry(noted),
        entry(record(b"d/changed", 'f', Some(&new))),
        entry(record(b"d/\xff\nname", 'f', Some(&empty))),
        entry(linked(b"one")),
        entry(linked(b"two")),
        entry(FileRecord { target, ..record(b"link", 'l', None) }),
        entry(record(b"fifo", 'p', None)),
        gone(b"d/old"),
        gone(b"d/back"),
        gone(b"never"),
    ]);
    store.segment(&[
        entry(record(b"d/back", 'f', Some(&new))),
        Record::Close { session: "s".to_owned() },
    ]);
    let other = NodeId([0x4f; 16]);
    store.switch_node(other);
    store.segment(&[entry(record(b"theirs", 'f', Some(&old)))]);

    let out = tempfile::tempdir().expect("a temporary directory");
    succeeded(&store.restore(out.path()));
    let root = tree(out.path(), NODE);
    let zeros = vec![0; 1 << 20];
    check_big(&root.join("d/big"), &[&text[..], &zeros, &noise, &zeros].concat());
    assert_eq!(std::fs::read(root.join("d/changed")).expect("read"), b"new");
    assert_eq!(std::fs::read(root.join("d/back")).expect("read"), b"new");
    let odd = root.join("d").join(OsStr::from_bytes(b"\xff\nname"));
    assert_eq!(std::fs::read(odd).expect("read"), b"");
    let names = std::fs::read_dir(root.join("d")).expect("list").count();
    assert_eq!(names, 4, "gone means gone");
    let stat = |name: &str| std::fs::symlink_metadata(root.join(name)).expect(name);
    assert_eq!(stat("one").ino(), stat("two").ino());
    assert_eq!(
        std::fs::read_link(root.join("link")).expect("a link").as_os_str(),
        OsStr::from_bytes(b"../nowhere/\xff")
    );
    assert!(stat("fifo").file_type().is_fifo());
    assert_eq!((stat("d").mode() & 0o7777, stat("").mode() & 0o7777), (0o500, 0o750));
    for name in ["", "d", "d/changed", "one", "link", "fifo"] {
        assert_eq!(
            stat(name).mtime() * 1_000_000_000 + stat(name).mtime_nsec(),
            MTIME_NS,
            "{name}"
        );
    }
    assert_eq!(std::fs::read(tree(out.path(), other).join("theirs")).expect("read"), b"old");
    make_removable(&root.join("d"));
}

fn check_big(path: &Path, expected: &[u8]) {
    assert!(std::fs::read(path).expect("read") == expected, "the large file differs");
    let stat = std::fs::metadata(path).expect("stat");
    assert_eq!(stat.mode() & 0o7777, 0o4755);
    assert!(stat.blocks() * 512 < stat.size() - (1 << 20), "holes come back as holes");
    let probe = path.parent().and_then(Path::parent).expect("a root");
    match xattr::set(probe, "user.probe", b"x") {
        Ok(()) => {
            let note = xattr::get(path, "user.note").expect("reads");
            assert_eq!(note.as_deref(), Some(&b"\x00\xff"[..]));
        }
        Err(_) => eprintln!("SKIPPED the xattr of a_tree_comes_back: no user xattrs here"),
    }
}

/// An ordinary user cannot empty a directory of mode 0500.
fn make_removable(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).expect("chmod");
}

#[test]
fn a_checkpoint_replaces_the_segments_before_it() {
    if !python("a_checkpoint_replaces_the_segments_before_it") {
        return;
    }
    let mut store = Store::new();
    let one = store.content(&[Some(b"one")]);
    store.segment(&[entry(record(b"a", 'f', Some(&one)))]);
    store.segment(&[entry(record(b"b", 'f', Some(&one)))]);
    let part = |part: u32, upto_hash: Option<[u8; 32]>, path: &[u8]| {
        let (upto, parts, written_ns) = (2, 2, 1);
        let header = CheckpointHeader {
            store: STORE,
            node: NODE,
            upto,
            upto_hash,
            part,
            parts,
            ack_gen: 0,
            written_ns,
        };
        let records = [entry(record(path, 'f', Some(&one)))];
        encode_checkpoint(&header, &records, &Protection::Plain).expect("writes")
    };
    store.put(&keys::checkpoint_key(NODE, 2, 0), &part(0, store.prev, b"a"));
    store.put(&keys::checkpoint_key(NODE, 2, 1), &part(1, store.prev, b"b"));
    store.segment(&[gone(b"a"), entry(record(b"c", 'f', Some(&one)))]);
    for seq in [1, 2] {
        std::fs::remove_file(store.path(&keys::segment_key(NODE, seq))).expect("remove");
    }
    let out = tempfile::tempdir().expect("a temporary directory");
    succeeded(&store.restore(out.path()));
    let root = tree(out.path(), NODE);
    assert!(!root.join("a").exists());
    assert!(root.join("b").exists() && root.join("c").exists());
    // Half a checkpoint is none, and then the log has lost its beginning.
    std::fs::remove_file(store.path(&keys::checkpoint_key(NODE, 2, 1))).expect("remove");
    let out = tempfile::tempdir().expect("a temporary directory");
    failed_saying(&store.restore(out.path()), "does not follow");
}

#[test]
fn what_is_damaged_or_missing_is_named() {
    if !python("what_is_damaged_or_missing_is_named") {
        return;
    }
    let mut store = Store::new();
    let (good, bad) = (store.content(&[Some(b"good")]), store.content(&[Some(b"bad bytes")]));
    store.segment(&[entry(record(b"good", 'f', Some(&good)))]);
    store.segment(&[entry(record(b"bad", 'f', Some(&bad)))]);
    store.segment(&[]);
    let pack = store.path(&keys::pack_key(PackId([2; 16])));
    let mut bytes = std::fs::read(&pack).expect("read");
    bytes[64 + 56] ^= 1;
    std::fs::write(&pack, &bytes).expect("write");
    let out = tempfile::tempdir().expect("a temporary directory");
    failed_saying(&store.restore(out.path()), "is damaged");
    let root = tree(out.path(), NODE);
    assert_eq!(std::fs::read(root.join("good")).expect("the other file"), b"good");
    assert!(!root.join("bad").exists(), "half a file is no file");

    std::fs::remove_file(store.path(&keys::segment_key(NODE, 2))).expect("remove");
    let out = tempfile::tempdir().expect("a temporary directory");
    failed_saying(&store.restore(out.path()), "segment 1 is followed by 3");
}

#[test]
fn an_encrypted_store_is_refused_clearly() {
    if !python("an_encrypted_store_is_refused_clearly") {
        return;
    }
    let store = Store::new();
    let key = MasterKey::generate([1; 32]);
    let descriptor = StoreDescriptor::new(STORE, 1, Chunking::default(), Some(&key));
    store.put(&keys::store_descriptor(), &descriptor.encode());
    let out = tempfile::tempdir().expect("a temporary directory");
    failed_saying(&store.restore(out.path()), "this store is encrypted");
}
