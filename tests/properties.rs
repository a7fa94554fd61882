//! Whatever a user does to a tree, and whatever `hsm` does to it in between:
//! after a recall the tree equals a plain copy that the same was done to, in
//! content, holes, size, mode, mtime, attributes and links.
//!
//! Random sequences of edits and of `hsm` commands, `HSM_TEST_CASES` of them.
//! Files are written in place only when they are no stubs (the rule of a tree
//! without a guard); renames, deletes, links, modes, times, attributes and
//! writing anew after a truncation to nothing hit stubs as they are.

#[path = "support/loopfs.rs"]
mod loopfs;
mod support;
#[path = "properties/twins.rs"]
mod twins;

use loopfs::{FsKind, LoopFs};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use support::snapshot::{assert_same, is_stub, snapshot};
use support::{Ran, Sandbox};
use twins::{Bytes, Edit, Pick, Slot, Twins};

/// Rules for hard links too, so that stubs with several names exist; one of the
/// directories is cut by content.
const POLICY: &str = r#"
unguarded = true

[defaults]
min_stub_size = "0"
quiet = "0s"
min_age_after_recall = "0s"

[[rule]]
name = "by content"
include = ["n0/**"]
nlink_max = 10
chunking = "fastcdc:16KiB:64KiB:256KiB"
action = "tier"

[[rule]]
name = "everything"
nlink_max = 10
action = "tier"
"#;

#[derive(Debug, Clone, Copy)]
enum Op {
    Edit(Edit),
    Scan,
    Tier,
    Upload,
    Stub(Pick),
    Recall(Pick),
    RecallAll,
    Pin(Pick),
    Unpin(Pick),
    Verify,
    VerifyData,
}

fn pick() -> impl Strategy<Value = Pick> {
    any::<u16>().prop_map(Pick)
}

fn slot() -> impl Strategy<Value = Slot> {
    (pick(), 0..8u8).prop_map(|(dir, name)| Slot { dir, name })
}

/// Around the sizes where something changes: a block, a batch, a chunk.
fn length() -> impl Strategy<Value = u32> {
    prop_oneof![
        2 => 0..5u32,
        4 => 4000..4200u32,
        6 => 60_000..300_000u32,
        3 => 1_000_000..1_200_000u32,
        1 => 4_100_000..4_400_000u32,
    ]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    (any::<u8>(), length()).prop_map(|(seed, len)| Bytes { seed, len })
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => (slot(), bytes()).prop_map(|(slot, bytes)| Edit::Create(slot, bytes)),
        2 => (pick(), any::<u32>(), bytes()).prop_map(|(f, at, b)| Edit::Overwrite(f, at, b)),
        2 => (pick(), bytes()).prop_map(|(file, bytes)| Edit::Append(file, bytes)),
        2 => (pick(), length()).prop_map(|(file, len)| Edit::Truncate(file, len)),
        2 => (pick(), any::<u32>(), length()).prop_map(|(f, at, len)| Edit::PunchHole(f, at, len)),
        2 => (pick(), bytes()).prop_map(|(file, bytes)| Edit::Rewrite(file, bytes)),
        2 => (pick(), any::<u16>()).prop_map(|(file, mode)| Edit::Chmod(file, mode)),
        2 => (pick(), any::<u32>()).prop_map(|(file, seconds)| Edit::Touch(file, seconds)),
        1 => (pick(), any::<u8>()).prop_map(|(file, value)| Edit::Attribute(file, value)),
        2 => slot().prop_map(Edit::MakeDir),
        2 => (pick(), slot()).prop_map(|(file, slot)| Edit::RenameFile(file, slot)),
        1 => (pick(), slot()).prop_map(|(dir, slot)| Edit::RenameDir(dir, slot)),
        1 => (pick(), bytes()).prop_map(|(file, bytes)| Edit::Save(file, bytes)),
        1 => (pick(), pick()).prop_map(|(from, to)| Edit::ReplaceByAnother(from, to)),
        1 => (pick(), slot()).prop_map(|(file, slot)| Edit::HardLink(file, slot)),
        1 => (slot(), 0..8u8).prop_map(|(slot, target)| Edit::SymLink(slot, target)),
        1 => pick().prop_map(Edit::Delete),
        1 => pick().prop_map(Edit::DeleteDir),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => edit().prop_map(Op::Edit),
        3 => Just(Op::Scan),
        8 => Just(Op::Tier),
        2 => Just(Op::Upload),
        2 => pick().prop_map(Op::Stub),
        4 => pick().prop_map(Op::Recall),
        2 => Just(Op::RecallAll),
        1 => pick().prop_map(Op::Pin),
        1 => pick().prop_map(Op::Unpin),
        1 => Just(Op::Verify),
        1 => Just(Op::VerifyData),
    ]
}

/// One sequence on one tree.
struct Case {
    sandbox: Sandbox,
    twins: Twins,
    stubs_seen: usize,
}

impl Case {
    fn below(parent: &Path) -> Self {
        let sandbox = Sandbox::below(parent);
        let twins = Twins { tree: sandbox.tree(), plain: sandbox.path("plain") };
        std::fs::create_dir(&twins.plain).expect("a fresh directory");
        sandbox.init();
        sandbox.policy(POLICY);
        // Never deleted: an empty root counts as a lost mount.
        twins.apply(&Edit::SymLink(Slot { dir: Pick(0), name: 99 }, 0));
        Self { sandbox, twins, stubs_seen: 0 }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Edit(edit) => self.edit(edit),
            Op::Scan => self.hsm(&["scan"], None),
            Op::Tier => {
                self.hsm(&["tier"], None);
                self.stubs_seen += self.twins.stubs();
            }
            Op::Upload => self.unscanned(&["upload"], None),
            Op::Stub(file) => self.stub(*file),
            Op::Recall(file) => self.recall(*file),
            Op::RecallAll => self.recall_all(),
            Op::Pin(place) => self.on_any(&["pin"], *place),
            Op::Unpin(place) => self.on_any(&["unpin"], *place),
            Op::Verify => self.hsm(&["verify"], None),
            Op::VerifyData => self.hsm(&["verify", "--data"], None),
        }
    }

    fn edit(&mut self, edit: &Edit) {
        if let Some(stub) = self.twins.to_recall_before(edit) {
            self.hsm(&["recall"], Some(stub));
        }
        self.twins.apply(edit);
    }

    fn recall(&self, file: Pick) {
        let files = self.twins.files();
        let Some(name) = file.of(&files) else { return };
        self.hsm(&["recall"], Some(self.sandbox.tree().join(name)));
        assert!(!is_stub(&self.sandbox.tree().join(name)), "{} stays a stub", name.display());
        let (ours, theirs) = (self.twins.tree.join(name), self.twins.plain.join(name));
        let same = std::fs::read(ours).expect("read") == std::fs::read(theirs).expect("read");
        assert!(same, "{} comes back with other bytes", name.display());
    }

    fn recall_all(&self) {
        self.hsm(&["recall", "-r"], Some(self.sandbox.tree()));
        assert_eq!(self.twins.stubs(), 0, "stubs are left");
        assert_same(&snapshot(&self.twins.plain), &snapshot(&self.twins.tree));
    }

    fn stub(&self, file: Pick) {
        let files = self.twins.files();
        if let Some(name) = file.of(&files) {
            self.unscanned(&["stub"], Some(self.sandbox.tree().join(name)));
        }
    }

    fn on_any(&self, command: &[&str], place: Pick) {
        let mut names = self.twins.dirs();
        names.extend(self.twins.files());
        let name = place.of(&names).expect("the root");
        self.hsm(command, Some(self.sandbox.tree().join(name)));
    }

    fn hsm(&self, command: &[&str], path: Option<PathBuf>) {
        self.run(command, path).succeeds();
    }

    /// These work from the last scan: what changed since then is refused, and
    /// said so.
    fn unscanned(&self, command: &[&str], path: Option<PathBuf>) {
        let ran = self.run(command, path);
        if ran.code() != 0 {
            ran.exits(3).complains(&["cannot "]);
        }
    }

    fn run(&self, command: &[&str], path: Option<PathBuf>) -> Ran {
        let mut args: Vec<PathBuf> = command.iter().map(PathBuf::from).collect();
        args.extend(path);
        self.sandbox.hsm(args)
    }
}

fn cases(default: u32) -> u32 {
    std::env::var("HSM_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs the property on trees below `parent`.
fn holds_below(parent: &Path, cases: u32) {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 120, ..Config::default() };
    let stubs_seen = Cell::new(0);
    let sequences = proptest::collection::vec(op(), 5..40);
    let outcome = TestRunner::new(config).run(&sequences, |ops| {
        let mut case = Case::below(parent);
        ops.iter().for_each(|op| case.step(op));
        case.recall_all();
        stubs_seen.set(stubs_seen.get() + case.stubs_seen);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // What the cases are is drawn anew each time; that they stub at all is not.
    assert!(stubs_seen.get() > 0, "no stub in {cases} cases");
}

#[test]
fn a_tree_equals_its_plain_copy_whatever_is_done_to_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    holds_below(dir.path(), cases(16));
}

#[test]
fn and_so_on_every_file_system() {
    for kind in FsKind::ALL {
        let Some(fs) = LoopFs::new("and_so_on_every_file_system", kind) else { return };
        eprintln!("on {kind:?}");
        holds_below(fs.path(), cases(8));
    }
}
