//! Every system call through which a program could see the hole of a stub, on
//! ext4, xfs and btrfs under a real guard: what it sees are the right bytes, and
//! so is every byte of the file afterwards, in memory and on the disk.
//!
//! The table is tried itself: on ordinary files every act must be content, and
//! on stubs without a guard every act that looks at bytes must complain.

mod guard_syscalls {
    pub mod holding;
    pub mod looking;
    pub mod mapping;
    pub mod mounting;
    pub mod moving;
    pub mod naming;
    pub mod queueing;
    pub mod reading;
    pub mod scene;
    pub mod table;
    pub mod writing;
}
#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
mod support;

use guard::{GUARDED_KINDS, GUARDED_POLICY, Guarded};
use guard_syscalls::scene::{Content, SPARSE_DATA, SPARSE_LEN, Scene, same};
use guard_syscalls::table::{Act, Hold, Leaves, acts, holds};
use loopfs::FsKind;
use rustix::fs::FallocateFlags;
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::actor::{Actor, leave, order, report, wait_for_word};
use support::running::PATIENCE;
use support::snapshot::{digest, is_stub};

/// One act, with everything that tells it from another.
struct Part {
    act: Act,
    content: Content,
    seed: u64,
}

impl Part {
    fn name(&self) -> String {
        format!("{}-{}", self.act.name, self.content.named())
    }

    /// A directory of its own, which the act may mount elsewhere.
    fn file(&self) -> String {
        format!("{}/file", self.name())
    }
}

fn parts(kind: FsKind) -> Vec<Part> {
    let mut parts = vec![];
    for act in acts().into_iter().filter(|act| act.kinds.contains(&kind)) {
        for content in act.contents.iter().copied() {
            let seed = 1000 + parts.len() as u64;
            parts.push(Part { act: Act { ..act }, content, seed });
        }
    }
    parts
}

/// How the world is when the acts begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum World {
    /// Stubs under a guard.
    Guarded,
    /// Ordinary files, no guard, nothing tiered.
    Ordinary,
    /// Stubs that nobody watches.
    Unguarded,
}

fn stage(test: &str, kind: FsKind, world: World) -> Option<(Guarded, Vec<Part>)> {
    let mut guarded = Guarded::idle(test, kind)?;
    let parts = parts(kind);
    for part in &parts {
        let path = guarded.write(&part.file(), &part.content.bytes(part.seed));
        if part.content == Content::Sparse {
            punch_what_is_zero(&path);
        }
        make_executable(&path);
    }
    if world == World::Guarded {
        guarded.start();
        let names: Vec<String> = parts.iter().map(Part::file).collect();
        guarded.stub(&names.iter().map(String::as_str).collect::<Vec<_>>());
    } else if world == World::Unguarded {
        guarded.sandbox.policy(&format!("unguarded = true\n{GUARDED_POLICY}"));
        guarded.sandbox.hsm(["tier"]).succeeds();
    }
    Some((guarded, parts))
}

fn make_executable(path: &Path) {
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("its mode");
}

fn punch_what_is_zero(path: &Path) {
    let file = File::options().write(true).open(path).expect("the file");
    let [(_, first), (second, end)] = SPARSE_DATA;
    for (start, end) in [(first, second), (end, (SPARSE_LEN as u64).next_multiple_of(4096))] {
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&file, mode, start, end - start).expect("a hole");
    }
}

/// Starts an actor that plays `part` of the table `table` on a file.
fn actor_of(guarded: &Guarded, table: &str, part: &str, file: &str, props: &Props) -> Actor {
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    Actor::start(&[
        (table, part.to_owned()),
        ("PATH", text(&guarded.path(file))),
        ("CONTENT", props.content.named()),
        ("SEED", props.seed.to_string()),
        ("STUB", props.is_stub.to_string()),
        ("DIR", text(&guarded.beside(&format!("{table}/{part}/{file}")))),
        ("MOUNT", text(guarded.fs.path())),
    ])
}

/// What the file of an actor is like.
struct Props {
    content: Content,
    seed: u64,
    is_stub: bool,
}

/// Plays a part; the digest that the file must have from here on.
fn play(guarded: &Guarded, part: &Part, world: World) -> Result<Option<String>, String> {
    let name = part.name();
    let is_stub_before = world != World::Ordinary;
    let props = Props { content: part.content, seed: part.seed, is_stub: is_stub_before };
    let actor = actor_of(guarded, "ACT", part.act.name, &part.file(), &props);
    let said = actor.ends(PATIENCE)?;
    if let Some(why) = said.iter().find_map(|line| line.strip_prefix("skip ")) {
        support::skip(&name, why);
    }
    let path = guarded.path(&part.file());
    if world == World::Guarded && part.act.leaves == Leaves::Resident && is_stub(&path) {
        return Err("it is a stub still".to_owned());
    }
    Ok(said.iter().find_map(|line| line.strip_prefix("digest ").map(str::to_owned)))
}

/// Plays all parts; what they complained of, and the digests of the others.
fn play_all(
    guarded: &Guarded,
    parts: &[Part],
    world: World,
) -> (BTreeMap<String, String>, BTreeMap<PathBuf, String>) {
    let (mut complaints, mut digests) = (BTreeMap::new(), BTreeMap::new());
    for part in parts {
        match play(guarded, part, world) {
            Ok(Some(digest)) => drop(digests.insert(guarded.path(&part.file()), digest)),
            Ok(None) => {}
            Err(complaint) => drop(complaints.insert(part.name(), complaint)),
        }
    }
    (complaints, digests)
}

#[track_caller]
fn nothing_was_wrong(complaints: &BTreeMap<String, String>) {
    let lines: Vec<_> = complaints.iter().map(|(act, why)| format!("{act}: {why}")).collect();
    assert!(lines.is_empty(), "{} acts went wrong:\n{}", lines.len(), lines.join("\n"));
}

/// Not a test: the part of another process (see [`Actor`]).
#[test]
fn actor() {
    if let Some(name) = order("ACT") {
        leave(play_as_ordered(&name));
    }
    if let Some(name) = order("HOLD") {
        leave(hold_as_ordered(&name));
    }
}

fn play_as_ordered(name: &str) -> Result<(), String> {
    let act = acts().into_iter().find(|act| act.name == name).expect("a known act");
    let scene = Scene::ordered();
    let after = (act.play)(&scene).map_err(|error| error.to_string())?;
    let Some(wanted) = after else {
        return if scene.path.exists() { Err("the name is still there".into()) } else { Ok(()) };
    };
    let found = std::fs::read(&scene.path).map_err(|error| format!("read afterwards: {error}"))?;
    same(&found, &wanted).map_err(|error| format!("afterwards: {error}"))?;
    report(&format!("digest {}", hex::encode(digest(&scene.path))));
    Ok(())
}

fn hold_as_ordered(name: &str) -> Result<(), String> {
    let hold = holds().into_iter().find(|hold| hold.name == name).expect("a known hold");
    let scene = Scene::ordered();
    let later = (hold.take)(&scene).map_err(|error| format!("cannot hold it: {error}"))?;
    report("held");
    wait_for_word();
    later(&scene).map_err(|error| error.to_string())
}

fn acts_see_the_right_bytes(kind: FsKind) {
    let test = "acts_see_the_right_bytes";
    let Some((mut guarded, parts)) = stage(test, kind, World::Guarded) else { return };
    let (complaints, digests) = play_all(&guarded, &parts, World::Guarded);
    nothing_was_wrong(&complaints);
    assert!(digests.len() > 80, "{kind:?}: only {} acts", digests.len());
    // What is on the disk, not in a cache.
    guarded.stop_by_force();
    guarded.fs.remount();
    for (path, wanted) in digests.iter().filter(|(path, _)| !is_stub(path)) {
        assert_eq!(hex::encode(digest(path)), *wanted, "{} on the disk", path.display());
    }
}

/// What may not become a stub while this is held, does not; and does afterwards.
fn what_is_held_stays_resident(kind: FsKind) {
    let Some(guarded) = Guarded::new("what_is_held_stays_resident", kind) else { return };
    for (nth, hold) in holds().iter().enumerate() {
        for guard_dies in [false, true] {
            let seed = 2 * nth as u64 + u64::from(guard_dies);
            if let Err(error) = held(&guarded, hold, seed, guard_dies) {
                panic!("{}, guard killed: {guard_dies}: {error}", hold.name);
            }
        }
    }
}

fn held(guarded: &Guarded, hold: &Hold, seed: u64, guard_dies: bool) -> Result<(), String> {
    let file = format!("{}-{guard_dies}/file", hold.name.replace(' ', "-"));
    let path = guarded.write(&file, &hold.content.bytes(seed));
    make_executable(&path);
    guarded.on_names("upload", &[], &[&file]).succeeds();
    let props = Props { content: hold.content, seed, is_stub: false };
    let mut actor = actor_of(guarded, "HOLD", hold.name, &file, &props);
    assert_eq!(actor.says(PATIENCE), "held");
    if guard_dies {
        guarded.kill_guard();
    }
    if hold.keeps {
        let refusals = guarded.refusals(&file);
        assert_eq!(refusals, ["not-open"], "{}", guarded.said());
        assert!(!is_stub(&path), "it became a stub");
    } else {
        guarded.stub(&[&file]);
    }
    actor.go_on();
    actor.ends(PATIENCE)?;
    guarded.stub(&[&file]);
    let props = Props { is_stub: true, ..props };
    actor_of(guarded, "ACT", "reading-read_whole", &file, &props).ends(PATIENCE).map(drop)
}

/// The table itself: on ordinary files nothing is wrong.
#[test]
fn on_ordinary_files_no_act_complains() {
    for kind in GUARDED_KINDS {
        let test = "on_ordinary_files_no_act_complains";
        let Some((guarded, parts)) = stage(test, kind, World::Ordinary) else { return };
        let (complaints, _) = play_all(&guarded, &parts, World::Ordinary);
        nothing_was_wrong(&complaints);
    }
}

/// And on stubs that nobody watches everything is.
#[test]
fn on_stubs_without_a_guard_every_act_that_sees_bytes_complains() {
    for kind in GUARDED_KINDS {
        let test = "on_stubs_without_a_guard_every_act_that_sees_bytes_complains";
        let Some((guarded, parts)) = stage(test, kind, World::Unguarded) else { return };
        let (complaints, _) = play_all(&guarded, &parts, World::Unguarded);
        let seeing = parts.iter().filter(|part| part.act.sees).map(Part::name);
        let content: Vec<String> = seeing.filter(|name| !complaints.contains_key(name)).collect();
        assert!(content.is_empty(), "{kind:?}: zeros, and no complaint of {content:?}");
    }
}

macro_rules! on_each_file_system {
    ($($fs:ident = $kind:ident),*) => {
        $(mod $fs {
            use super::FsKind;

            #[test]
            fn acts_see_the_right_bytes() {
                super::acts_see_the_right_bytes(FsKind::$kind);
            }

            #[test]
            fn what_is_held_stays_resident() {
                super::what_is_held_stays_resident(FsKind::$kind);
            }
        })*
    };
}

on_each_file_system!(ext4 = Ext4, xfs = Xfs, btrfs = Btrfs);
