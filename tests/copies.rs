//! Two stores for one rule: nothing with `copies = 2` is a stub before both copies are
//! proven, whatever the second store does; and what the first store loses comes back
//! from the second.

#[path = "support/guard.rs"]
mod guard;
#[path = "support/loopfs.rs"]
mod loopfs;
#[path = "support/s3_place.rs"]
mod s3_place;
#[path = "support/s3_server.rs"]
mod s3_server;
mod support;

use guard::Guarded;
use loopfs::FsKind;
use s3_place::Place;
use s3_server::{ACCESS_KEY_ID, Misdeed, SECRET_ACCESS_KEY};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use support::trees::noise;
use support::{EAGER_POLICY, Sandbox, UPLOAD_POLICY};

/// Everything twice.
fn twice() -> String {
    EAGER_POLICY.replace("action = \"tier\"", "action = \"tier\"\ncopies = 2")
}

/// What is below `twice` twice, everything else once.
fn some_twice() -> String {
    let rule =
        "[[rule]]\nname = \"precious\"\ninclude = \"twice/**\"\naction = \"tier\"\ncopies = 2\n\n";
    EAGER_POLICY.replacen("[[rule]]", &format!("{rule}[[rule]]"), 1)
}

fn second(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("second")
}

fn begin_second(sandbox: &Sandbox, more: &[&str]) {
    let url = format!("file://{}", second(sandbox).display());
    let mut args = vec!["init", "--second-store", &url];
    args.extend(more);
    sandbox.hsm(args).succeeds();
}

/// Two directory stores and a rule that wants both.
fn doubled() -> Sandbox {
    let sandbox = Sandbox::new();
    begin_second(&sandbox, &[]);
    sandbox.policy(&twice());
    sandbox
}

fn grow(sandbox: &Sandbox, generation: u64) {
    for file in 0..6 {
        let bytes = noise(generation * 100 + file, 90_000);
        sandbox.write(&format!("gen{generation}/d{}/f{file}", file % 2), &bytes);
    }
    sandbox.write(&format!("gen{generation}/big"), &noise(generation, 5 << 20));
}

/// Objects below a directory of a store by name.
fn objects(store: &Path, below: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    walkdir::WalkDir::new(store.join(below))
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let name = entry.path().strip_prefix(store).expect("below").to_owned();
            (name, fs::read(entry.path()).expect("an object"))
        })
        .collect()
}

fn packs(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    objects(store, "packs")
}

fn stubs(sandbox: &Sandbox) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(sandbox.tree()).into_iter().filter_map(Result::ok);
    let stubs = files.filter(|entry| entry.file_type().is_file() && is_stub(entry.path()));
    stubs.map(|entry| entry.into_path()).collect()
}

/// The property: whatever is a stub has all its packs in both stores, the same bytes.
fn no_stub_without_two_copies(sandbox: &Sandbox, what: &str) {
    let (first, there) = (packs(&sandbox.store()), packs(&second(sandbox)));
    if !stubs(sandbox).is_empty() {
        assert!(!there.is_empty(), "{what}: stubs, and nothing in the second store");
    }
    let db = rusqlite::Connection::open(sandbox.state_db()).expect("the state DB");
    let sql = "SELECT hex(p.pack_id) FROM second_copy s JOIN pack p ON p.id = s.pack";
    let mut select = db.prepare(sql).expect("its tables");
    let proven = select.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    for pack in proven.map(|pack| pack.expect("a pack").to_lowercase()) {
        let names = |name: &Path| {
            let name = name.file_name().expect("a name").to_string_lossy().replace('-', "");
            name == pack
        };
        let of = |store: &BTreeMap<PathBuf, Vec<u8>>| {
            store.iter().find(|(name, _)| names(name)).map(|(_, bytes)| bytes.clone())
        };
        assert!(of(&there).is_some(), "{what}: pack {pack} is proven and not there");
        assert!(of(&first) == of(&there), "{what}: pack {pack} differs");
    }
}

fn all_recalled(sandbox: &Sandbox, before: &Snapshot) {
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(before, &snapshot(&sandbox.tree()));
}

/// The directory is away, as a file system that is not mounted.
struct Away(PathBuf, PathBuf);

impl Away {
    fn of(dir: &Path) -> Self {
        let aside = dir.with_extension("aside");
        fs::rename(dir, &aside).expect("it moves");
        Self(dir.to_owned(), aside)
    }

    fn back(self) {
        fs::rename(&self.1, &self.0).expect("it moves back");
    }
}

// --- both there --------------------------------------------------------------

#[test]
fn stubs_have_both_copies_and_either_store_alone_gives_the_tree_back() {
    let sandbox = doubled();
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(&sandbox).len(), 7);
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
    assert_eq!(objects(&sandbox.store(), "nodes"), objects(&second(&sandbox), "nodes"));
    no_stub_without_two_copies(&sandbox, "both");
    sandbox.hsm(["verify", "--data"]).succeeds();
    // The first store is gone altogether.
    let first = Away::of(&sandbox.store());
    let url = format!("file://{}", second(&sandbox).display());
    let target = sandbox.path("restored");
    fs::create_dir(&target).unwrap();
    let target = target.to_str().unwrap();
    sandbox.hsm(["restore", "--store", &url, "--to", target, "--data"]).succeeds();
    let restored = walkdir::WalkDir::new(target).into_iter().filter_map(Result::ok);
    let big = restored.into_iter().find(|e| e.file_name() == "big").expect("it is there");
    assert!(fs::read(big.path()).unwrap() == noise(1, 5 << 20));
    sandbox.on("recall", &["-r"], &[""]).succeeds().complains(&["only the second store is read"]);
    assert_same(&before, &snapshot(&sandbox.tree()));
    first.back();
    sandbox.hsm(["tier"]).succeeds();
    // And the second one.
    fs::remove_dir_all(second(&sandbox)).unwrap();
    all_recalled(&sandbox, &before);
}

#[test]
fn a_rule_with_two_copies_and_no_second_store_is_refused_by_file_and_line() {
    let sandbox = Sandbox::new();
    sandbox.write("a", b"a");
    sandbox.policy(&twice());
    let ran = sandbox.hsm(["tier"]);
    assert_ne!(ran.code(), 0);
    ran.complains(&["test.toml:", "wants two copies", "[second_store]"]);
    assert!(!is_stub(&sandbox.tree().join("a")));
    sandbox.policy(&twice().replace("copies = 2", "copies = 3"));
    let ran = sandbox.hsm(["policy", "check"]);
    assert_ne!(ran.code(), 0);
}

#[test]
fn what_other_rules_say_stays_in_one_store() {
    let sandbox = doubled();
    sandbox.policy(&some_twice());
    sandbox.write("twice/a", &noise(1, 100_000));
    sandbox.write("once/b", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(&sandbox).len(), 2);
    assert_eq!((packs(&sandbox.store()).len(), packs(&second(&sandbox)).len()), (2, 1));
    let told = sandbox.on("explain", &[], &["twice/a"]).stdout();
    assert!(told.contains("second-copy-proven"), "{told}");
    let first = Away::of(&sandbox.store());
    sandbox.on("recall", &[], &["once/b"]).exits(3);
    sandbox.on("recall", &[], &["twice/a"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("once/b")));
    first.back();
    sandbox.on("recall", &[], &["once/b"]).succeeds();
}

// --- the second store in trouble ---------------------------------------------

#[test]
fn while_the_second_store_is_away_uploads_go_on_and_nothing_becomes_a_stub() {
    let sandbox = doubled();
    sandbox.policy(&some_twice());
    sandbox.write("twice/a", &noise(1, 100_000));
    sandbox.write("once/b", &noise(2, 100_000));
    let away = Away::of(&second(&sandbox));
    let ran = sandbox.hsm(["tier"]).exits(3);
    assert!(ran.stdout().contains("second-copy-proven"), "{}", ran.stdout());
    ran.complains(&["wait for their second copy: 1"]);
    assert_eq!(stubs(&sandbox), [sandbox.tree().join("once/b")]);
    sandbox.on("stub", &[], &["twice/a"]);
    assert_eq!(stubs(&sandbox).len(), 1, "not by name either");
    let told = sandbox.hsm(["status"]).stdout();
    assert!(told.contains("second copy"), "{told}");
    assert_eq!(packs(&sandbox.store()).len(), 2, "but they are uploaded");
    away.back();
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
    assert_eq!(stubs(&sandbox).len(), 2);
    no_stub_without_two_copies(&sandbox, "back");
}

#[test]
fn an_emptied_another_or_foreign_second_store_is_never_taken_for_it() {
    let sandbox = doubled();
    grow(&sandbox, 1);
    sandbox.hsm(["tier"]).succeeds();
    let url = format!("file://{}", second(&sandbox).display());
    // Empty, as a mount point.
    let away = Away::of(&second(&sandbox));
    fs::create_dir(second(&sandbox)).unwrap();
    sandbox.write("new", &noise(9, 50_000));
    sandbox.hsm(["tier"]).exits(3).complains(&["second store", "is its file system mounted"]);
    assert!(!is_stub(&sandbox.tree().join("new")));
    assert!(packs(&second(&sandbox)).is_empty());
    sandbox.hsm(["init", "--second-store", &url]).exits(1).complains(&["is empty", "--anew"]);
    // Another's.
    let other = Sandbox::new();
    begin_second(&other, &[]);
    fs::remove_dir(second(&sandbox)).unwrap();
    fs::rename(second(&other), second(&sandbox)).unwrap();
    sandbox.hsm(["tier"]).exits(3).complains(&["it belongs to the store"]);
    sandbox.hsm(["init", "--second-store", &url]).exits(1).complains(&["belongs to the store"]);
    assert!(!is_stub(&sandbox.tree().join("new")));
    // A first store.
    fs::remove_dir_all(second(&sandbox)).unwrap();
    fs::rename(other.store(), second(&sandbox)).unwrap();
    sandbox.hsm(["tier"]).exits(3);
    assert!(!is_stub(&sandbox.tree().join("new")));
    // Begun anew on purpose: everything is proven there again.
    fs::remove_dir_all(second(&sandbox)).unwrap();
    fs::create_dir(second(&sandbox)).unwrap();
    sandbox.hsm(["init", "--second-store", &url, "--anew"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
    assert!(is_stub(&sandbox.tree().join("new")));
    no_stub_without_two_copies(&sandbox, "anew");
    // The one from before comes back: it is not the one that is known now.
    fs::remove_dir_all(second(&sandbox)).unwrap();
    away.back();
    sandbox.write("newer", &noise(10, 50_000));
    sandbox.hsm(["tier"]).exits(3).complains(&["another second store than before"]);
    assert!(!is_stub(&sandbox.tree().join("newer")));
    begin_second(&sandbox, &[]);
    sandbox.hsm(["tier"]).succeeds();
    no_stub_without_two_copies(&sandbox, "changed over");
}

#[test]
fn one_store_cannot_be_both() {
    let sandbox = Sandbox::new();
    let first = sandbox.store_url();
    sandbox.hsm(["init", "--second-store", &first]).exits(1);
    let link = sandbox.path("link");
    std::os::unix::fs::symlink(sandbox.store(), &link).unwrap();
    let by_link = format!("file://{}", link.display());
    sandbox.hsm(["init", "--second-store", &by_link]).exits(1).complains(&["first store"]);
    let inside = format!("{first}/packs");
    sandbox.hsm(["init", "--second-store", &inside]).exits(1);
    // And a second store is nobody's first one.
    begin_second(&sandbox, &[]);
    let other = Sandbox::empty();
    let url = format!("file://{}", second(&sandbox).display());
    let state = other.state_dir();
    let (state, tree) = (state.to_str().unwrap().to_owned(), other.tree());
    let args = ["init", "--state-dir", &state, "--store", &url, tree.to_str().unwrap()];
    other.hsm(args).exits(1).complains(&["is a second store"]);
    let config = fs::read_to_string(sandbox.config()).unwrap();
    let (main, _) = config.split_once("[second_store]").unwrap();
    fs::write(sandbox.config(), main.replace(&first, &url)).unwrap();
    sandbox.hsm(["tier"]).exits(1).complains(&["is a second store"]);
}

#[test]
fn copies_that_vanish_or_rot_in_the_second_store_are_found_and_made_anew() {
    let sandbox = doubled();
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let good = packs(&second(&sandbox));
    let victims: Vec<PathBuf> = good.keys().map(|name| second(&sandbox).join(name)).collect();
    fs::remove_file(&victims[0]).unwrap();
    sandbox.hsm(["verify"]).exits(4);
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(packs(&second(&sandbox)), good);
    let mut rotten = fs::read(&victims[0]).unwrap();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 1;
    make_writable(&victims[0]);
    fs::write(&victims[0], rotten).unwrap();
    sandbox.hsm(["verify"]).succeeds();
    let told = sandbox.hsm(["verify", "--data"]).exits(4).stdout();
    assert!(told.contains("second copy of pack"), "{told}");
    assert!(!told.contains("LOST"), "{told}");
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(packs(&second(&sandbox)), good);
    no_stub_without_two_copies(&sandbox, "mended");
    all_recalled(&sandbox, &before);
}

fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// Before a file of two copies becomes a stub each store is asked for its pack again,
/// if that was long ago.
#[test]
fn a_second_copy_that_vanished_unnoticed_is_asked_for_before_a_stub_relies_on_it() {
    let mut sandbox = doubled();
    sandbox.write("a", &noise(1, 100_000));
    sandbox.policy(&UPLOAD_POLICY.replace("\"upload\"", "\"upload\"\ncopies = 2"));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.policy(&twice());
    assert_eq!(packs(&second(&sandbox)).len(), 1);
    for name in packs(&second(&sandbox)).keys() {
        fs::remove_file(second(&sandbox).join(name)).unwrap();
    }
    let later = hsm::clock::Clock::system().now_ns() + 2 * 86_400 * 1_000_000_000;
    sandbox.set_env("HSM_TEST_NOW", &later.to_string());
    sandbox.on("stub", &[], &["a"]);
    assert!(!is_stub(&sandbox.tree().join("a")));
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("a")));
    no_stub_without_two_copies(&sandbox, "asked again");
}

// --- what needs a copy later -------------------------------------------------

#[test]
fn a_file_that_relies_on_a_pack_of_one_copy_has_it_copied_first() {
    let sandbox = doubled();
    sandbox.policy(&some_twice());
    sandbox.write("once/a", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    assert!(packs(&second(&sandbox)).is_empty());
    sandbox.write("twice/a", &noise(1, 100_000));
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
    assert!(is_stub(&sandbox.tree().join("twice/a")));
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
}

#[test]
fn a_raised_rule_makes_second_copies_of_stubs_and_a_lowered_one_lets_go() {
    let sandbox = doubled();
    sandbox.policy(EAGER_POLICY);
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let all = stubs(&sandbox);
    assert!(packs(&second(&sandbox)).is_empty() && all.len() == 7);
    sandbox.policy(&twice());
    let away = Away::of(&second(&sandbox));
    sandbox.hsm(["tier"]).exits(3).complains(&["wait for their second copy: 7"]);
    assert_eq!(stubs(&sandbox), all, "they stay stubs");
    away.back();
    sandbox.hsm(["upload"]).succeeds();
    assert_eq!(stubs(&sandbox), all);
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
    let away = Away::of(&second(&sandbox));
    sandbox.policy(EAGER_POLICY);
    sandbox.write("new", &noise(7, 10_000));
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("new")));
    away.back();
    all_recalled(&sandbox, &before_with(&sandbox, before));
}

fn before_with(sandbox: &Sandbox, before: Snapshot) -> Snapshot {
    sandbox.on("recall", &[], &["new"]).succeeds();
    fs::remove_file(sandbox.tree().join("new")).unwrap();
    fs::File::open(sandbox.tree()).unwrap();
    let mut before = before;
    if let (Some(root), Some(now)) =
        (before.get_mut(Path::new("")), snapshot(&sandbox.tree()).remove(Path::new("")))
    {
        *root = now;
    }
    before
}

// --- the first store in trouble ----------------------------------------------

/// Encrypted, and the second store becomes the first as docs/SECOND-STORE.md says.
#[test]
fn where_the_first_store_is_lost_for_good_the_second_takes_its_place() {
    let sandbox = Sandbox::empty();
    let url = sandbox.store_url();
    sandbox.init_with(&["--store", &url, "--encrypt"]);
    begin_second(&sandbox, &[]);
    sandbox.policy(&some_twice());
    sandbox.write("twice/a", &noise(1, 300_000));
    sandbox.write("once/b", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    fs::remove_dir_all(sandbox.store()).unwrap();
    for told in [["tier"], ["gc"]] {
        assert_eq!(sandbox.hsm(told).code(), 1, "whatever writes is refused");
    }
    assert!(
        Command::new("cp")
            .arg("-a")
            .args([second(&sandbox), sandbox.store()])
            .status()
            .unwrap()
            .success()
    );
    sandbox.hsm(["tier"]).exits(1).complains(&["is a second store"]);
    let descriptor = sandbox.store().join("hsm-store.json");
    let text = fs::read_to_string(&descriptor).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json.as_object_mut().unwrap().remove("copy").expect("a mark");
    make_writable(&descriptor);
    fs::write(&descriptor, json.to_string()).unwrap();
    let told = sandbox.hsm(["verify"]).exits(4).stdout();
    let lost: Vec<_> = told.lines().filter(|line| line.starts_with("LOST")).collect();
    assert!(lost.len() == 1 && lost[0].contains("once/b"), "{told}");
    sandbox.write("twice/c", &noise(3, 50_000));
    sandbox.hsm(["tier"]).succeeds();
    no_stub_without_two_copies(&sandbox, "in its place");
    sandbox.on("recall", &[], &["twice/a", "twice/c"]).succeeds();
    assert_eq!(sandbox.read("twice/a"), noise(1, 300_000));
}

#[test]
fn what_the_first_store_lost_or_spoilt_is_read_from_the_second_and_mended() {
    let sandbox = doubled();
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let good = packs(&sandbox.store());
    let names: Vec<PathBuf> = good.keys().map(|name| sandbox.store().join(name)).collect();
    // Spoilt: told when it is read, and mended.
    let mut rotten = fs::read(&names[0]).unwrap();
    for at in (200..rotten.len()).step_by(5_000) {
        rotten[at] ^= 1;
    }
    make_writable(&names[0]);
    fs::write(&names[0], rotten).unwrap();
    sandbox.on("recall", &["-r"], &[""]).succeeds().complains(&["read from the second store"]);
    assert_same(&before, &snapshot(&sandbox.tree()));
    let told = sandbox.hsm(["verify", "--data", "--repair"]);
    assert!(told.stdout().contains("put again from the second store"), "{}", told.stdout());
    assert_eq!(packs(&sandbox.store()), good);
    sandbox.hsm(["verify", "--data"]).succeeds();
    // Gone, under stubs.
    sandbox.hsm(["tier"]).succeeds();
    fs::remove_file(&names[0]).unwrap();
    let told = sandbox.hsm(["verify"]).exits(4).stdout();
    assert!(!told.contains("LOST"), "{told}");
    let told = sandbox.hsm(["verify", "--repair"]).stdout();
    assert!(told.contains("put again from the second store"), "{told}");
    sandbox.hsm(["verify", "--data"]).succeeds();
    assert_eq!(packs(&sandbox.store()), good);
    all_recalled(&sandbox, &before);
}

// --- death -------------------------------------------------------------------

/// One pack of one copy, so that there is something to replicate, and two files that
/// are sent.
fn half_way() -> (Sandbox, Snapshot) {
    let sandbox = doubled();
    sandbox.policy(UPLOAD_POLICY);
    sandbox.write("old", &noise(1, 60_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.policy(&twice());
    sandbox.write("new/a", &noise(2, 60_000));
    sandbox.write("new/b", &noise(3, 5_000));
    let before = snapshot(&sandbox.tree());
    (sandbox, before)
}

const POINTS: [&str; 10] = [
    "upload.pack-recorded",
    "second.pack-put",
    "second.pack-proven",
    "second.pack-recorded",
    "second.wanted",
    "second.pack-read",
    "second.held",
    "second.mirrored",
    "tier.second",
    "stub.markers-flushed",
];

#[test]
fn death_at_any_point_leaves_no_stub_without_two_copies_and_the_next_run_completes() {
    for point in POINTS {
        let nths: &[u32] = if point.starts_with("second.") { &[1, 2] } else { &[1] };
        for nth in nths {
            let (mut sandbox, before) = half_way();
            sandbox.set_env("HSM_FAULT_ABORT", &format!("{point}:{nth}"));
            let ran = sandbox.hsm(["tier"]);
            if *nth == 1 {
                assert_eq!(ran.code(), -1, "{point} is never reached: {}", ran.stderr());
            }
            sandbox.set_env("HSM_FAULT_ABORT", "");
            completes(&sandbox, &before, point);
        }
    }
}

fn completes(sandbox: &Sandbox, before: &Snapshot, what: &str) {
    no_stub_without_two_copies(sandbox, what);
    if !stubs(sandbox).is_empty() {
        // Without the first store, as it is at this moment.
        let first = Away::of(&sandbox.store());
        all_recalled(sandbox, before);
        first.back();
    }
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(sandbox).len(), 3, "{what}");
    no_stub_without_two_copies(sandbox, what);
    assert_eq!(packs(&sandbox.store()), packs(&second(sandbox)), "{what}");
    fs::remove_dir_all(sandbox.store()).unwrap();
    all_recalled(sandbox, before);
}

/// Each effect of a run fails once: the store's, the state DB's, the tree's.
#[test]
fn failure_of_any_effect_leaves_no_stub_without_two_copies() {
    let mut failed = 0;
    for nth in 1.. {
        let (mut sandbox, before) = half_way();
        sandbox.set_env("HSM_FAULT_FAIL", &nth.to_string());
        let count = sandbox.path("home/count");
        sandbox.set_env("HSM_FAULT_COUNT", count.to_str().unwrap());
        sandbox.hsm(["tier"]);
        sandbox.set_env("HSM_FAULT_FAIL", "");
        let effects: u64 = fs::read_to_string(&count).unwrap().trim().parse().unwrap();
        let what = format!("effect {nth}");
        completes(&sandbox, &before, &what);
        if effects < nth {
            break;
        }
        failed += 1;
    }
    assert!(failed > 15, "only {failed} effects");
}

// --- another kind of store ---------------------------------------------------

/// A directory first, a bucket second, with credentials of its own.
fn with_bucket() -> (Place, Sandbox) {
    let place = Place::in_process();
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_SECOND_AWS_ACCESS_KEY_ID", ACCESS_KEY_ID);
    sandbox.set_env("HSM_SECOND_AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    sandbox.set_env("AWS_EC2_METADATA_DISABLED", "true");
    let config = fs::read_to_string(sandbox.config()).unwrap();
    let (url, endpoint) = (&place.url, &place.endpoint);
    let section = format!(
        "\n[second_store]\nurl = \"{url}\"\nendpoint = \"{endpoint}\"\npath_style = true\n"
    );
    fs::write(sandbox.config(), config + &section).unwrap();
    sandbox.policy(&twice());
    sandbox.write("before", &noise(8, 40_000));
    let ran = sandbox.hsm(["tier"]).exits(3).complains(&["was never begun", "hsm init"]);
    drop(ran);
    assert!(!is_stub(&sandbox.tree().join("before")));
    sandbox.hsm(["init", "--second-store", url]).succeeds();
    (place, sandbox)
}

#[test]
fn a_bucket_is_a_second_store_and_what_it_says_is_not_believed() {
    let (place, sandbox) = with_bucket();
    grow(&sandbox, 1);
    let before = snapshot(&sandbox.tree());
    // Full, dead, denied, and one that stores other bytes.
    for misdeed in [Misdeed::Full, Misdeed::Forbid, Misdeed::StoreOther] {
        place.server().misbehave_at(Some("PUT"), "packs/", 0, u32::MAX, misdeed);
        sandbox.hsm(["tier"]).exits(3);
        assert!(stubs(&sandbox).is_empty(), "{misdeed:?}");
        place.server().behave();
    }
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(&sandbox).len(), 8);
    assert_eq!(place.objects("packs/").len(), packs(&sandbox.store()).len());
    sandbox.hsm(["verify", "--data"]).succeeds();
    fs::remove_dir_all(sandbox.store()).unwrap();
    all_recalled(&sandbox, &before);
}

// --- garbage -----------------------------------------------------------------

fn at_once(sandbox: &Sandbox) {
    let text = fs::read_to_string(sandbox.config()).unwrap();
    let lines = "grace = \"0s\"\nsettle = \"0s\"\nmax_share = \"100%\"\n";
    fs::write(sandbox.config(), format!("{text}\n[gc]\n{lines}")).unwrap();
}

fn gc_to_the_end(sandbox: &Sandbox) {
    for _ in 0..8 {
        let summary = sandbox.hsm(["gc", "--json"]).succeeds().summary();
        let number = |name: &str| summary[name].as_u64().expect("a number");
        if number("condemned_packs") + number("repacked_packs") == 0 {
            return;
        }
    }
    panic!("it finds something again and again");
}

#[test]
fn collections_keep_both_stores_in_step_and_every_stub_has_two_copies() {
    let sandbox = doubled();
    at_once(&sandbox);
    for generation in 1..4 {
        grow(&sandbox, generation);
        sandbox.hsm(["tier"]).succeeds();
    }
    // Whole packs die, and of another a part.
    fs::remove_dir_all(sandbox.tree().join("gen1")).unwrap();
    fs::remove_file(sandbox.tree().join("gen2/d0/f0")).unwrap();
    fs::remove_file(sandbox.tree().join("gen2/d0/f2")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let before = packs(&sandbox.store()).len();
    let away = Away::of(&second(&sandbox));
    gc_to_the_end(&sandbox);
    let left = packs(&sandbox.store());
    assert!(left.len() < before, "{} of {before}", left.len());
    away.back();
    assert_eq!(packs(&second(&sandbox)).len(), before, "it was away");
    sandbox.hsm(["gc"]).succeeds();
    assert_eq!(packs(&second(&sandbox)), left);
    sandbox.hsm(["tier"]).succeeds();
    no_stub_without_two_copies(&sandbox, "collected");
    // Once more with both there.
    fs::remove_dir_all(sandbox.tree().join("gen2")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    gc_to_the_end(&sandbox);
    assert!(packs(&sandbox.store()).len() < left.len());
    assert_eq!(packs(&sandbox.store()), packs(&second(&sandbox)));
    assert_eq!(objects(&sandbox.store(), "gc"), objects(&second(&sandbox), "gc"));
    assert_eq!(objects(&sandbox.store(), "nodes"), objects(&second(&sandbox), "nodes"));
    sandbox.hsm(["verify", "--data"]).succeeds();
    let before = snapshot(&sandbox.tree());
    fs::remove_dir_all(sandbox.store()).unwrap();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    let after = snapshot(&sandbox.tree());
    assert_eq!(before.len(), after.len());
}

/// Two nodes have sent the same file, and only one pack has a second copy: that one
/// stays, whichever the collection would have taken.
#[test]
fn of_two_packs_with_the_same_that_with_a_second_copy_stays() {
    for collector_second in [true, false] {
        let sandbox = doubled();
        at_once(&sandbox);
        sandbox.policy(&twice().replace("action = \"tier\"", "action = \"tier\"\ndedup = false"));
        sandbox.write("a", &noise(1, 100_000));
        sandbox.hsm(["tier"]).succeeds();
        let of_a = packs(&second(&sandbox));
        let once = EAGER_POLICY.replace("action = \"tier\"", "action = \"tier\"\ndedup = false");
        sandbox.policy(&(once + "copies = 1\n"));
        sandbox.write("b", &noise(1, 100_000));
        sandbox.hsm(["tier"]).succeeds();
        let all = packs(&sandbox.store());
        assert_eq!(all.len(), 2, "sent twice");
        let away = (!collector_second).then(|| Away::of(&second(&sandbox)));
        gc_to_the_end(&sandbox);
        if let Some(away) = away {
            away.back();
        }
        let left = packs(&sandbox.store());
        assert!(of_a.keys().all(|pack| left.contains_key(pack)));
        assert_eq!(packs(&second(&sandbox)), of_a);
        for name in ["a", "b"] {
            sandbox.on("recall", &[], &[name]).succeeds();
            assert_eq!(sandbox.read(name), noise(1, 100_000));
        }
    }
}

// --- several nodes -----------------------------------------------------------

#[test]
fn what_another_node_has_sent_once_is_copied_before_a_stub_relies_on_it() {
    let other = Sandbox::new();
    other.write("theirs", &noise(1, 100_000));
    other.hsm(["tier"]).succeeds();
    let sandbox = Sandbox::empty();
    sandbox.init_with(&["--store", &other.store_url()]);
    begin_second(&sandbox, &[]);
    sandbox.policy(&twice());
    sandbox.write("ours", &noise(1, 100_000));
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["sent_bytes"], 0, "{summary}");
    assert!(is_stub(&sandbox.tree().join("ours")));
    assert_eq!(packs(&other.store()), packs(&second(&sandbox)));
    assert_eq!(objects(&other.store(), "nodes"), objects(&second(&sandbox), "nodes"));
    // The other one takes part with the same second store.
    let url = format!("file://{}", second(&sandbox).display());
    other.hsm(["init", "--second-store", &url]).succeeds();
    other.policy(&twice());
    other.write("more", &noise(2, 100_000));
    other.hsm(["tier"]).succeeds();
    assert_eq!(packs(&other.store()), packs(&second(&sandbox)));
    let first = Away::of(&other.store());
    for (node, name, seed) in [(&sandbox, "ours", 1), (&other, "theirs", 1), (&other, "more", 2)] {
        node.on("recall", &[], &[name]).succeeds();
        assert_eq!(node.read(name), noise(seed, 100_000));
    }
    first.back();
}

// --- the guard ---------------------------------------------------------------

#[test]
fn a_guard_stubs_only_with_both_copies_and_recalls_from_the_second_store() {
    let test = "a_guard_stubs_only_with_both_copies_and_recalls_from_the_second_store";
    let Some(mut guarded) = Guarded::idle(test, FsKind::Ext4) else { return };
    let second = guarded.sandbox.path("second");
    begin_second(&guarded.sandbox, &[]);
    guarded.sandbox.policy(&twice().replace("unguarded = true", ""));
    guarded.start();
    guarded.write("a", &noise(1, 300_000));
    let away = Away::of(&second);
    guarded.sandbox.hsm(["tier"]).exits(3);
    assert!(!guarded.is_stub("a"), "{}", guarded.said());
    away.back();
    guarded.restart();
    guarded.sandbox.hsm(["tier"]).succeeds();
    assert!(guarded.is_stub("a"), "{}", guarded.said());
    // The packs of the first store are gone, while the guard runs.
    let gone = guarded.sandbox.path("gone");
    fs::rename(guarded.sandbox.store().join("packs"), &gone).unwrap();
    assert!(fs::read(guarded.path("a")).expect("recalled") == noise(1, 300_000));
    fs::rename(&gone, guarded.sandbox.store().join("packs")).unwrap();
    // And a guard that finds no first store at all.
    guarded.sandbox.hsm(["verify", "--repair"]);
    guarded.sandbox.hsm(["tier"]).succeeds();
    assert!(guarded.is_stub("a"), "{}", guarded.said());
    let first = Away::of(&guarded.sandbox.store());
    guarded.restart();
    assert!(fs::read(guarded.path("a")).expect("recalled") == noise(1, 300_000));
    first.back();
}
