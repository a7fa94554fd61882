//! A node's log, read and continued by the test: what another program, or a hostile
//! one with access to the store, could write there.

use crate::support::Sandbox;
use hsm::chunk::Protection;
use hsm::manifest::{
    Collected, Collection, Content, FileRecord, Name, Record, SegmentHeader, StoreDescriptor,
    decode_segment, encode_segment, keys, segment_hash,
};
use hsm::units::parse_time;
use std::fs;
use std::path::{Path, PathBuf};

/// The only node's log in a directory store without a key.
pub struct Log {
    dir: PathBuf,
    pub segments: Vec<(SegmentHeader, Vec<Record>)>,
    last_hash: [u8; 32],
}

impl Log {
    pub fn of(sandbox: &Sandbox) -> Self {
        let nodes = fs::read_dir(sandbox.store().join("nodes")).expect("the nodes");
        let node = nodes.map(|entry| entry.expect("an entry").path()).next().expect("one node");
        let dir = node.join("log");
        let mut names: Vec<PathBuf> = fs::read_dir(&dir)
            .expect("a log")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        names.sort();
        let (mut segments, mut last_hash) = (vec![], [0; 32]);
        for name in names {
            let bytes = fs::read(name).expect("a segment");
            segments.push(decode_segment(&bytes, &Protection::Plain).expect("readable"));
            last_hash = segment_hash(&bytes);
        }
        Self { dir, segments, last_hash }
    }

    fn last(&self) -> &SegmentHeader {
        &self.segments.last().expect("a segment").0
    }

    /// The object's key.
    pub fn last_key(&self) -> String {
        format!("nodes/{}/log/{:016x}", self.last().node, self.last().seq)
    }

    /// The last segment that was written by then.
    pub fn seq_at(&self, time: &str) -> u64 {
        let at_ns = parse_time(time, 0).expect("a time");
        let before = self.segments.iter().filter(|(header, _)| header.written_ns <= at_ns);
        before.map(|(header, _)| header.seq).max().expect("a segment")
    }

    /// The segment with the n-th record about a file.
    pub fn seq_of(&self, path: &str, nth: usize) -> u64 {
        let has = |records: &Vec<Record>| {
            records.iter().any(|record| match record {
                Record::File(file) => file.path_bytes() == path.as_bytes(),
                _ => false,
            })
        };
        let mut with = self.segments.iter().filter(|(_, records)| has(records));
        with.nth(nth).expect("a record").0.seq
    }

    /// Deletes the n-th pack, as the end of a collection says.
    pub fn delete_pack(&self, sandbox: &Sandbox, nth: usize) {
        let packs = self.segments.iter().flat_map(|(_, records)| records);
        let packs = packs.filter_map(|record| match record {
            Record::Pack(pack) => Some(pack.id),
            _ => None,
        });
        let pack = packs.clone().nth(nth).expect("a pack");
        let SegmentHeader { store, node, .. } = *self.last();
        let end = Collected { store, node, generation: 1, written_ns: 0, deleted: vec![pack] };
        let key = sandbox.store().join(keys::collected_key(1));
        fs::create_dir_all(key.parent().expect("a directory")).expect("made");
        fs::write(key, end.encode()).expect("written");
        fs::remove_file(sandbox.store().join(keys::pack_key(pack))).expect("deleted");
    }

    /// Writes the next segment.
    pub fn append(&mut self, records: Vec<Record>) {
        let header = SegmentHeader {
            seq: self.last().seq + 1,
            prev: Some(self.last_hash),
            ..self.last().clone()
        };
        let bytes = encode_segment(&header, &records, &Protection::Plain).expect("encodes");
        fs::write(self.dir.join(format!("{:016x}", header.seq)), &bytes).expect("written");
        self.last_hash = segment_hash(&bytes);
        self.segments.push((header, records));
    }
}

/// A collection has planned to delete every pack.
pub fn condemn_everything(sandbox: &Sandbox) {
    let log = Log::of(sandbox);
    let SegmentHeader { store, node, .. } = *log.last();
    let packs = log.segments.iter().flat_map(|(_, records)| records);
    let packs = packs.filter_map(|record| match record {
        Record::Pack(pack) => Some(pack.id),
        _ => None,
    });
    let packs = packs.collect();
    let plan = Collection { store, node, generation: 1, written_ns: 0, packs };
    let key = sandbox.store().join(keys::collection_key(1));
    fs::create_dir_all(key.parent().expect("a directory")).expect("made");
    fs::write(key, plan.encode()).expect("written");
}

/// Begins a store with a log of these records, as nobody's `hsm` wrote it.
pub fn forge(sandbox: &Sandbox, records: Vec<Record>) {
    let url = sandbox.store_url();
    sandbox
        .hsm([
            "init",
            "--store",
            &url,
            "--state-dir",
            text(&sandbox.state_dir()),
            text(&sandbox.tree()),
        ])
        .succeeds();
    let descriptor = fs::read(sandbox.store().join("hsm-store.json")).expect("the descriptor");
    let descriptor = StoreDescriptor::parse(&descriptor).expect("readable");
    let node = hsm::ids::NodeId::fresh();
    let header = SegmentHeader {
        store: descriptor.store_id,
        node,
        seq: 1,
        prev: None,
        ack_gen: 0,
        session: "forged".to_owned(),
        written_ns: 1,
    };
    let bytes = encode_segment(&header, &records, &Protection::Plain).expect("encodes");
    let dir = sandbox.store().join(format!("nodes/{node}/log"));
    fs::create_dir_all(&dir).expect("a log");
    fs::write(dir.join(format!("{:016x}", 1)), bytes).expect("written");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Something empty and unremarkable of this process's user.
pub fn bare(root: &str, path: &[u8], kind: char) -> FileRecord {
    let empty = Content { size_bytes: 0, pieces: vec![] };
    FileRecord {
        root: Name::from_bytes(root.as_bytes()),
        path: Name::from_bytes(path),
        kind,
        mode: 0o644,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime_ns: 1,
        ctime_ns: 1,
        ino: 1,
        generation: 1,
        nlink: 1,
        size_bytes: 0,
        xattrs: vec![],
        target: None,
        link: None,
        rdev: None,
        content: (kind == 'f').then(|| empty.id()),
        pieces: vec![],
        chunking: None,
    }
}
