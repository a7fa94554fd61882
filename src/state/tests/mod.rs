//! What the tests of this room share: a DB in a temporary directory and made-up
//! facts about files.

mod collections;
mod events;
mod files;
mod model;
mod open;
mod packs;
mod recalls;
mod sample;
mod scan;
mod scan_model;
mod thaws;

use super::*;
use crate::ids::{ChunkId, FileIdent, NodeId, StoreId};
use crate::manifest::{Content, Piece};
use crate::os::{FileKind, RelPath, Stat};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const STORE: StoreId = StoreId([7; 16]);
const NODE: NodeId = NodeId([9; 16]);

/// Names with their facts.
type Listed<'a> = &'a [(&'a [u8], Stat)];

/// A directory with what is in it.
type Dir<'a> = (&'a str, Listed<'a>);

/// A new DB with one root.
struct Fixture {
    dir: TempDir,
    db: StateDb,
    root: RootId,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut db = StateDb::create(&dir.path().join("state.db"), STORE, NODE, 1).expect("new");
        let root = db.add_root(Path::new("/srv/a"), "ext4 1234 2 0", 1).expect("a root");
        Self { dir, db, root }
    }

    /// A complete scan that sees these directories.
    fn scan(&mut self, tree: &[Dir<'_>], now_ns: i64) -> ScanChanges {
        let mut scan = self.db.begin_scan(self.root, None, now_ns).expect("begin");
        for (dir, entries) in tree {
            let seen: Vec<SeenEntry<'_>> =
                entries.iter().map(|(name, stat)| SeenEntry { name, stat }).collect();
            scan.directory(&path(dir), &dir_stat(1), &seen, Part::WHOLE).expect("a directory");
        }
        scan.finish(true, now_ns).expect("finish")
    }

    fn entries(&self, under: Option<&str>) -> Vec<EntryRow> {
        let mut found = Vec::new();
        let under = under.map(path);
        self.db
            .for_each_entry(self.root, under.as_ref(), &mut |entry| {
                found.push(entry);
                ControlFlow::Continue(())
            })
            .expect("entries");
        found
    }

    fn paths(&self, under: Option<&str>) -> Vec<String> {
        self.entries(under).iter().map(|entry| text(&entry.path)).collect()
    }

    /// Puts a file through an upload, so that it is `uploaded` as `stat` says.
    fn upload(&mut self, name: &str, stat: &Stat) -> FileIdent {
        let ident = FileIdent { ino: stat.ino, generation: generation_of(stat) };
        let refused = self.db.begin_uploads(self.root, &[intent(name, stat)], 5).expect("begin");
        assert!(refused.is_empty(), "{refused:?}");
        let head = self.db.log_head().expect("head");
        let files = [uploaded(ident, stat)];
        let segment = SegmentCommit { seq: head.next_seq, files: &files, ..Default::default() };
        self.db.commit_segment(self.root, &segment, 6).expect("commit");
        ident
    }

    fn stub(&mut self, ident: FileIdent, ctime_ns: i64) {
        let refused = self.db.begin_stubs(self.root, &[ident]).expect("begin");
        assert!(refused.is_empty(), "{refused:?}");
        let recalled = self.db.finish_stubs(self.root, &[(ident, ctime_ns)], 7).expect("finish");
        assert!(recalled.is_empty(), "{recalled:?}");
    }

    fn managed(&self, ident: FileIdent) -> ManagedRow {
        self.db.managed_by_ident(self.root, ident).expect("read").expect("managed")
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a path")
}

fn text(path: &RelPath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

/// Each birth is another generation, as file systems do it.
fn generation_of(stat: &Stat) -> u32 {
    u32::try_from(stat.btime_ns).expect("small birth times in tests")
}

fn stat(kind: FileKind, ino: u64) -> Stat {
    Stat {
        kind,
        mode: 0o640,
        uid: 1000,
        gid: 100,
        nlink: 1,
        size_bytes: 10,
        allocated_bytes: 4096,
        ino,
        dev: 1,
        mount_id: 1,
        rdev: 0,
        atime_ns: 11,
        mtime_ns: 12,
        ctime_ns: 13,
        btime_ns: 10,
        immutable: false,
        append_only: false,
        mount_root: false,
    }
}

fn file_stat(ino: u64) -> Stat {
    stat(FileKind::File, ino)
}

fn dir_stat(ino: u64) -> Stat {
    stat(FileKind::Dir, ino)
}

fn intent(name: &str, stat: &Stat) -> UploadIntent {
    UploadIntent {
        ident: FileIdent { ino: stat.ino, generation: generation_of(stat) },
        btime_ns: stat.btime_ns,
        path: path(name),
        size_bytes: stat.size_bytes,
        mtime_ns: stat.mtime_ns,
        ctime_ns: stat.ctime_ns,
        rule: Some("cold".to_owned()),
    }
}

/// A content of one chunk that no other inode or time has.
fn content_of(stat: &Stat) -> Content {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&stat.ino.to_le_bytes());
    id[8..16].copy_from_slice(&stat.mtime_ns.to_le_bytes());
    let chunk = Some(ChunkId(id));
    Content { size_bytes: stat.size_bytes, pieces: vec![Piece { len: stat.size_bytes, chunk }] }
}

fn uploaded(ident: FileIdent, stat: &Stat) -> Uploaded {
    Uploaded {
        ident,
        content: Arc::new(content_of(stat)),
        chunking: "fixed:4194304".to_owned(),
        rule: Some("cold".to_owned()),
        size_bytes: stat.size_bytes,
        mtime_ns: stat.mtime_ns,
        ctime_ns: stat.ctime_ns,
    }
}
