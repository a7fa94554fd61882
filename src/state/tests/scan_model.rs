//! Random edits, uploads, stubs and scans of every kind against the naive model.
//!
//! A scan may be complete, break off, miss directories, or come in parts; after
//! any history the next complete scan must have the truth, and nothing may have
//! been removed by one that was not complete.

use super::model::Model;
use super::*;
use crate::policy::FileState;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// One of the names that exist then.
type Pick = prop::sample::Index;

#[derive(Debug, Clone)]
enum Step {
    Make(Vec<u8>, FileKind),
    Write(Pick),
    Remove(Pick),
    Rename(Pick, Vec<u8>),
    Link(Pick, Vec<u8>),
    Upload(Pick),
    Stub(Pick),
    /// A program opens the file between its punch and the record of its batch.
    StubAndRecall(Pick),
    /// A program opens a stub.
    Recall(Pick),
    /// The guard records a recall when it is long over.
    LateRecord(Pick),
    /// Whether directories come in parts of two names.
    Scan(bool),
    /// Every directory whose index has its bit set is missed.
    ScanMissing(u8),
    /// The scan dies after that many directories.
    ScanDropped(usize),
}

fn a_path() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec!["a", "b", "c\u{fc}", "-"]);
    let dir = prop::sample::select(vec!["", "d/", "e/", "d/x/", "d-/"]);
    let file = (dir, name).prop_map(|(dir, name)| format!("{dir}{name}").into_bytes());
    let dir = prop::sample::select(vec!["d", "e", "d/x", "d-"]);
    prop_oneof![6 => file, 1 => dir.prop_map(|dir| dir.as_bytes().to_vec())]
}

fn a_step() -> impl Strategy<Value = Step> {
    use FileKind::{Dir, File, Symlink};
    let kind = prop::sample::select(vec![File, File, File, File, Dir, Symlink]);
    let pick = any::<Pick>;
    prop_oneof![
        7 => (a_path(), kind).prop_map(|(path, kind)| Step::Make(path, kind)),
        3 => pick().prop_map(Step::Write),
        3 => pick().prop_map(Step::Remove),
        4 => (pick(), a_path()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (pick(), a_path()).prop_map(|(from, to)| Step::Link(from, to)),
        6 => pick().prop_map(Step::Upload),
        3 => pick().prop_map(Step::Stub),
        2 => pick().prop_map(Step::StubAndRecall),
        2 => pick().prop_map(Step::Recall),
        2 => pick().prop_map(Step::LateRecord),
        3 => any::<bool>().prop_map(Step::Scan),
        2 => prop_oneof![Just(0), any::<u8>()].prop_map(Step::ScanMissing),
        1 => (0_usize..4).prop_map(Step::ScanDropped),
    ]
}

/// What the DB should know of a managed inode: its facts as recorded.
type Recorded = BTreeMap<FileIdent, (FileState, Stat)>;

struct Run {
    fixture: Fixture,
    model: Model,
    managed: Recorded,
    /// Managed files that some complete scan did not find.
    buried: BTreeSet<FileIdent>,
}

fn ident(stat: &Stat) -> FileIdent {
    FileIdent { ino: stat.ino, generation: generation_of(stat) }
}

/// The guard's record of a recall that left the file like this.
fn recall_of(root: RootId, left: &Stat) -> RecallRow {
    RecallRow {
        at_ns: left.ctime_ns,
        ident: ident(left),
        roots: vec![root],
        ctime_ns: Some(left.ctime_ns),
        mtime_ns: Some(left.mtime_ns),
        bytes: left.size_bytes,
        latency_ms: 0,
        pid: 1,
        uid: 0,
        exe: String::new(),
        cgroup: String::new(),
        outcome: RECALLED.to_owned(),
    }
}

impl Run {
    fn step(&mut self, step: &Step) {
        let picked = |pick: &Pick| {
            let names: Vec<&Vec<u8>> = self.model.names.keys().collect();
            if names.is_empty() { b"none".to_vec() } else { names[pick.index(names.len())].clone() }
        };
        match step {
            Step::Make(path, kind) => self.model.make(path, *kind),
            Step::Write(pick) => self.model.write(&picked(pick)),
            Step::Remove(pick) => self.model.remove(&picked(pick)),
            Step::Rename(from, to) => self.model.rename(&picked(from), to),
            Step::Link(from, to) => self.model.link(&picked(from), to),
            Step::Upload(pick) => self.upload(&picked(pick)),
            Step::Stub(pick) => self.stub(&picked(pick), false),
            Step::StubAndRecall(pick) => self.stub(&picked(pick), true),
            Step::Recall(pick) => self.recall(&picked(pick)),
            Step::LateRecord(pick) => self.late_record(&picked(pick)),
            Step::Scan(in_parts) => self.complete_scan(*in_parts),
            Step::ScanMissing(missing) => self.wounded_scan(*missing),
            Step::ScanDropped(after) => self.dropped_scan(*after),
        }
    }

    fn upload(&mut self, path: &[u8]) {
        if self.model.kind(path) != Some(FileKind::File) {
            return;
        }
        let stat = self.model.inodes[&self.model.names[path]].clone();
        if matches!(self.managed.get(&ident(&stat)), Some((FileState::Stub, _))) {
            return;
        }
        self.fixture.upload(std::str::from_utf8(path).expect("text"), &stat);
        // A former owner of the inode number is displaced.
        let displaced: Vec<FileIdent> = self
            .managed
            .keys()
            .filter(|other| other.ino == stat.ino && **other != ident(&stat))
            .copied()
            .collect();
        for other in displaced {
            self.managed.remove(&other);
            self.buried.insert(other);
        }
        self.managed.insert(ident(&stat), (FileState::Uploaded, stat));
    }

    fn stub(&mut self, path: &[u8], recalled: bool) {
        if self.model.kind(path) != Some(FileKind::File) {
            return;
        }
        let ino = self.model.names[path];
        let (punched, again) = (self.model.tick(), self.model.tick());
        let stat = self.model.inodes.get_mut(&ino).expect("named");
        let Some((state, recorded)) = self.managed.get_mut(&ident(stat)) else { return };
        if *state != FileState::Uploaded || recorded.mtime_ns != stat.mtime_ns {
            return;
        }
        let (db, root, ident) = (&mut self.fixture.db, self.fixture.root, ident(stat));
        assert_eq!(db.begin_stubs(root, &[ident]).expect("begin"), []);
        stat.ctime_ns = punched;
        *state = FileState::Stub;
        if recalled {
            stat.ctime_ns = again;
            *state = FileState::Uploaded;
            db.record_recalls(&[recall_of(root, stat)]).expect("record");
        }
        *recorded = stat.clone();
        let passed = db.finish_stubs(root, &[(ident, punched)], 7).expect("finish");
        assert_eq!(passed.len(), usize::from(recalled));
    }

    fn recall(&mut self, path: &[u8]) {
        if self.model.kind(path) != Some(FileKind::File) {
            return;
        }
        let ino = self.model.names[path];
        let now = self.model.tick();
        let stat = self.model.inodes.get_mut(&ino).expect("named");
        let Some((state, recorded)) = self.managed.get_mut(&ident(stat)) else { return };
        if *state != FileState::Stub || recorded.mtime_ns != stat.mtime_ns {
            return;
        }
        stat.ctime_ns = now;
        let row = recall_of(self.fixture.root, stat);
        self.fixture.db.record_recalls(&[row]).expect("record");
        (*state, *recorded) = (FileState::Uploaded, stat.clone());
    }

    /// What is recorded is as young as the recall, so nothing changes.
    fn late_record(&mut self, path: &[u8]) {
        let Some(ino) = self.model.names.get(path) else { return };
        let Some((_, recorded)) = self.managed.get(&ident(&self.model.inodes[ino])) else { return };
        let row = recall_of(self.fixture.root, recorded);
        self.fixture.db.record_recalls(&[row]).expect("record");
    }

    fn feed(scan: &mut ScanWriter<'_>, dir: &RelPath, entries: &[(Vec<u8>, Stat)], size: usize) {
        let seen: Vec<SeenEntry<'_>> =
            entries.iter().map(|(name, stat)| SeenEntry { name, stat }).collect();
        let parts: Vec<_> = seen.chunks(size).collect();
        if parts.is_empty() {
            scan.directory(dir, &dir_stat(1), &[], Part::WHOLE).expect("a directory");
        }
        for (at, part) in parts.iter().enumerate() {
            let which = Part { first: at == 0, last: at + 1 == parts.len() };
            scan.directory(dir, &dir_stat(1), part, which).expect("a part");
        }
    }

    fn complete_scan(&mut self, in_parts: bool) {
        let now = self.model.tick();
        let mut scan = self.fixture.db.begin_scan(self.fixture.root, None, now).expect("begin");
        for (dir, entries) in self.model.directories() {
            Self::feed(&mut scan, &dir, &entries, if in_parts { 2 } else { 1000 });
        }
        let changes = scan.finish(true, now).expect("finish");
        self.conclude(&changes);
        self.compare();
    }

    /// What a complete scan must conclude.
    fn conclude(&mut self, changes: &ScanChanges) {
        let alive: BTreeMap<FileIdent, Stat> =
            self.model.inodes.values().map(|stat| (ident(stat), stat.clone())).collect();
        let mut suspects = BTreeSet::new();
        let (mut dirty, mut gone) = (0, 0);
        self.managed.retain(|ident, (state, recorded)| {
            let Some(now) = alive.get(ident) else {
                self.buried.insert(*ident);
                gone += 1;
                return false;
            };
            let facts = |stat: &Stat| (stat.size_bytes, stat.mtime_ns, stat.ctime_ns);
            if facts(now) != facts(recorded) {
                match state {
                    FileState::Uploaded => {
                        *state = FileState::Dirty;
                        dirty += 1;
                    }
                    FileState::Stub => {
                        suspects.insert(*ident);
                    }
                    _ => {}
                }
            }
            true
        });
        assert_eq!(changes.suspects.iter().copied().collect::<BTreeSet<_>>(), suspects);
        assert_eq!((changes.dirty, changes.gone), (dirty, gone));
    }

    /// The DB after a complete scan.
    fn compare(&self) {
        let entries = self.fixture.entries(None);
        let found: BTreeMap<Vec<u8>, u64> =
            entries.iter().map(|entry| (entry.path.as_bytes().to_vec(), entry.ino)).collect();
        assert_eq!(found, self.model.names);
        assert_eq!(entries.len(), found.len(), "each name once");
        for entry in &entries {
            let stat = &self.model.inodes[&entry.ino];
            let facts = (entry.kind, entry.size_bytes, entry.ctime_ns, entry.nlink);
            assert_eq!(facts, (stat.kind, stat.size_bytes, stat.ctime_ns, stat.nlink));
            let of = entry.file.as_ref().map(|file| file.ident);
            let managed = self.managed.contains_key(&ident(stat)).then_some(ident(stat));
            assert_eq!(of, managed, "{entry:?}");
        }
        let mut rows = BTreeMap::new();
        self.fixture
            .db
            .for_each_managed(self.fixture.root, None, &[], &mut |row| {
                let names = self.model.names_of(row.ident.ino);
                assert!(names.contains(row.path.as_bytes()), "{row:?} is at none of {names:?}");
                rows.insert(row.ident, row.state);
                ControlFlow::Continue(())
            })
            .expect("managed");
        let expected: BTreeMap<FileIdent, FileState> =
            self.managed.iter().map(|(ident, (state, _))| (*ident, *state)).collect();
        assert_eq!(rows, expected);
        let gone = self.fixture.db.pending_gone(self.fixture.root, usize::MAX).expect("gone");
        let gone: BTreeSet<FileIdent> =
            gone.iter().filter(|row| !row.moved).map(|row| row.ident).collect();
        assert_eq!(gone, self.buried);
        let roots = self.fixture.db.roots().expect("roots");
        assert_eq!(roots[0].entries, self.model.names.len() as u64);
    }

    fn wounded_scan(&mut self, missing: u8) {
        let before = self.fixture.entries(None);
        let now = self.model.tick();
        let mut scan = self.fixture.db.begin_scan(self.fixture.root, None, now).expect("begin");
        for (at, (dir, entries)) in self.model.directories().into_iter().enumerate() {
            if missing & (1 << (at % 8)) == 0 {
                Self::feed(&mut scan, &dir, &entries, 1000);
            }
        }
        let changes = scan.finish(false, now).expect("finish");
        assert_eq!((changes.removed, changes.gone), (0, 0));
        self.nothing_is_lost(&before);
        if missing == 0 {
            self.moves_were_followed();
        }
    }

    /// Every directory was read: a file is at one of its names, unless it is
    /// gone or the directory is that it was in.
    fn moves_were_followed(&self) {
        self.fixture
            .db
            .for_each_managed(self.fixture.root, None, &[], &mut |row| {
                let alive = self.model.inodes.get(&row.ident.ino).map(ident) == Some(row.ident);
                let parent = row.path.parent().expect("no file is the root");
                let read = parent.as_bytes().is_empty()
                    || self.model.kind(parent.as_bytes()) == Some(FileKind::Dir);
                let names = self.model.names_of(row.ident.ino);
                assert!(!alive || !read || names.contains(row.path.as_bytes()), "{row:?}");
                ControlFlow::Continue(())
            })
            .expect("managed");
    }

    fn dropped_scan(&mut self, after: usize) {
        let before = self.fixture.entries(None);
        let now = self.model.tick();
        let mut scan = self.fixture.db.begin_scan(self.fixture.root, None, now).expect("begin");
        for (dir, entries) in self.model.directories().into_iter().take(after) {
            Self::feed(&mut scan, &dir, &entries, 1000);
        }
        drop(scan);
        self.nothing_is_lost(&before);
    }

    /// Every name is still there, every managed file still managed; which of
    /// them are dirty by now is taken over from the DB.
    fn nothing_is_lost(&mut self, before: &[EntryRow]) {
        let now: BTreeSet<_> =
            self.fixture.entries(None).into_iter().map(|entry| entry.path).collect();
        assert!(before.iter().all(|entry| now.contains(&entry.path)));
        let mut rows = BTreeMap::new();
        self.fixture
            .db
            .for_each_managed(self.fixture.root, None, &[], &mut |row| {
                rows.insert(row.ident, row.state);
                ControlFlow::Continue(())
            })
            .expect("managed");
        assert!(rows.keys().eq(self.managed.keys()));
        for (ident, state) in rows {
            let known = &mut self.managed.get_mut(&ident).expect("the same keys").0;
            let dirtied = *known == FileState::Uploaded && state == FileState::Dirty;
            assert!(dirtied || *known == state);
            *known = state;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_db_has_what_a_naive_model_has(steps in prop::collection::vec(a_step(), 1..60)) {
        let mut run = Run {
            fixture: Fixture::new(),
            model: Model::new(),
            managed: BTreeMap::new(),
            buried: BTreeSet::new(),
        };
        for step in &steps {
            run.step(step);
        }
        run.complete_scan(false);
    }
}
