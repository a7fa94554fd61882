//! Whoever can write to the store of an encrypted tree gets neither plain bytes nor
//! believed.

use super::races::nowhere;
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Sandbox};
use hsm::chunk::{MasterKey, Protection};
use hsm::manifest::{SegmentHeader, StoreDescriptor, decode_segment, encode_segment, segment_hash};
use std::fs;
use std::path::{Path, PathBuf};

const LEN: usize = 60_000;

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn key_file(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("home/store.key")
}

/// One file is in an encrypted store.
fn encrypted() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write("file", &noise(1, LEN));
    let (url, key) = (sandbox.store_url(), key_file(&sandbox));
    sandbox.init_with(&["--store", &url, "--encrypt", "--key-file", text(&key)]);
    sandbox.policy(EAGER_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    sandbox
}

fn descriptor(sandbox: &Sandbox) -> (PathBuf, StoreDescriptor) {
    let path = sandbox.store().join("hsm-store.json");
    let bytes = fs::read(&path).expect("the descriptor");
    (path, StoreDescriptor::parse(&bytes).expect("readable"))
}

#[test]
fn an_encrypted_store_that_says_it_is_plain_is_sent_nothing_and_believed_nothing() {
    let sandbox = encrypted();
    let (path, told) = descriptor(&sandbox);
    let lie = StoreDescriptor::new(told.store_id, told.created_ns, told.chunking, None);
    fs::write(path, lie.encode()).expect("written");
    sandbox.write("new", &noise(2, LEN));
    let file = sandbox.tree().join("file");
    let (url, key, out) = (sandbox.store_url(), key_file(&sandbox), sandbox.path("out"));
    let restore = ["restore", "--store", &url, "--to", text(&out)];
    let with_key = [&restore[..], &["--key-file", text(&key)]].concat();
    let commands = [
        &["tier"][..],
        &["upload"],
        &["verify"],
        &["gc"],
        &["recall", text(&file)],
        &["rebuild", "--force"],
        // Also where the command line names the store and not its key.
        &restore,
        &with_key,
    ];
    for command in commands {
        let ran = sandbox.hsm(command).exits(1);
        ran.complains(&["it says that it is not encrypted, but there is a key for it"]);
    }
    let found = sandbox.hsm(["doctor"]).stdout();
    assert!(found.contains("says that it is not encrypted"), "{found}");
    nowhere(&sandbox.store(), &noise(2, LEN)[100..132]);
    assert!(!out.exists());
}

#[test]
fn a_catalog_that_is_not_sealed_with_the_stores_key_is_refused() {
    let sandbox = encrypted();
    let (_, descriptor) = descriptor(&sandbox);
    let text_of_key = fs::read_to_string(key_file(&sandbox)).expect("the key");
    let key = MasterKey::parse(&text_of_key).expect("a key");
    let own = Protection::encrypted(&key, descriptor.store_id);
    let other = Protection::encrypted(&MasterKey::generate([9; 32]), descriptor.store_id);
    let nodes = fs::read_dir(sandbox.store().join("nodes")).expect("nodes");
    let log = nodes.map(|node| node.expect("an entry").path().join("log")).next().expect("one");
    let mut names: Vec<_> =
        fs::read_dir(&log).expect("a log").map(|name| name.expect("an entry").path()).collect();
    names.sort();
    let last = fs::read(names.last().expect("a segment")).expect("readable");
    let (header, _) = decode_segment(&last, &own).expect("ours");
    let seq = header.seq + 1;
    let next = SegmentHeader { seq, prev: Some(segment_hash(&last)), ..header };
    let (url, out) = (sandbox.store_url(), sandbox.path("out"));
    for (forger, why) in
        [(Protection::Plain, "it is not encrypted"), (other, "open catalog segment")]
    {
        let object = encode_segment(&next, &[], &forger).expect("encodes");
        fs::write(log.join(format!("{seq:016x}")), object).expect("written");
        let key = key_file(&sandbox);
        let to = ["--key-file", text(&key), "--to", text(&out)];
        let ran = sandbox.hsm([&["restore", "--store", &url], &to[..]].concat()).exits(1);
        ran.complains(&[why]);
        assert!(!out.exists());
        // Its own server appends nothing behind it, either.
        sandbox.write("new", &noise(3, LEN));
        sandbox.hsm(["tier"]).exits(1);
    }
}

/// What is seen without the key: neither a name nor a byte of a file.
#[test]
fn a_stolen_bucket_tells_neither_names_nor_contents() {
    let sandbox = encrypted();
    sandbox.write("a-telling-name/and-another", &b"a telling sentence. ".repeat(5000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["snapshot", "create", "a-telling-snapshot"]).succeeds();
    let store = sandbox.store();
    let tree = sandbox.tree();
    let needles = ["telling", "and-another", "sentence", text(&tree)];
    for needle in needles {
        nowhere(&store, needle.as_bytes());
    }
    nowhere(&store, &noise(1, LEN)[100..132]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &noise(1, LEN));
    nowhere(&store, digest.as_ref());
    nowhere(&store, hex(digest.as_ref()).as_bytes());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Swapped, cut, exchanged: a copy is what was sent, or it is no copy.
#[test]
fn packs_that_were_exchanged_or_changed_are_noticed_and_no_byte_of_them_is_written() {
    let sandbox = Sandbox::new();
    for (name, seed) in [("one", 1), ("two", 2)] {
        sandbox.write(name, &noise(seed, LEN));
        sandbox.hsm(["tier"]).succeeds();
    }
    let packs = walkdir::WalkDir::new(sandbox.store().join("packs")).into_iter();
    let packs = packs.map(|entry| entry.expect("readable").into_path());
    let packs: Vec<_> = packs.filter(|path| path.is_file()).collect();
    assert_eq!(packs.len(), 2);
    let [one, two] = [&packs[0], &packs[1]].map(|pack| fs::read(pack).expect("readable"));
    let mut flipped = one.clone();
    flipped[500] ^= 1;
    for (first, second) in
        [(&two, &one), (&one[..one.len() / 2].to_vec(), &vec![]), (&flipped, &vec![])]
    {
        fs::write(&packs[0], first).expect("written");
        fs::write(&packs[1], second).expect("written");
        sandbox.on("recall", &[], &["one", "two"]).exits(3);
        for name in ["one", "two"] {
            assert_eq!(sandbox.read(name), vec![0; LEN], "{name}");
        }
    }
    fs::write(&packs[0], one).expect("written");
    fs::write(&packs[1], two).expect("written");
    sandbox.on("recall", &[], &["one", "two"]).succeeds();
    assert_eq!((sandbox.read("one"), sandbox.read("two")), (noise(1, LEN), noise(2, LEN)));
}
