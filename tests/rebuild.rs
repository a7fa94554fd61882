//! Losing the state DB, or parts of the log, costs a rebuild and never a byte.

mod support;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use support::snapshot::{Snapshot, assert_same, is_stub, snapshot};
use support::trees::{noise, ordinary, root_traps, traps};
use support::{EAGER_POLICY, Ran, Sandbox, UPLOAD_POLICY};

/// [`EAGER_POLICY`] that takes hard links, too.
fn linked() -> String {
    EAGER_POLICY.replace("action = \"tier\"", "nlink_max = 10\naction = \"tier\"")
}

/// A tree with everything in it, and all of it stubs.
fn tiered() -> (Sandbox, Snapshot) {
    let sandbox = Sandbox::empty();
    ordinary(&sandbox.tree());
    traps(&sandbox.tree());
    if rustix::process::geteuid().is_root() {
        root_traps(&sandbox.tree());
    }
    let before = snapshot(&sandbox.tree());
    sandbox.init();
    sandbox.policy(&linked());
    sandbox.hsm(["tier"]).succeeds();
    (sandbox, before)
}

/// The tree with all its bytes.
fn whole(sandbox: &Sandbox) -> Snapshot {
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    snapshot(&sandbox.tree())
}

/// All of the server's own files but its configuration.
fn lose_state(sandbox: &Sandbox) {
    fs::remove_dir_all(sandbox.state_dir()).expect("the state directory");
}

/// This server's log in the store.
fn log_dir(sandbox: &Sandbox) -> PathBuf {
    let mut nodes = fs::read_dir(sandbox.store().join("nodes")).expect("the nodes");
    let node = nodes.next().expect("a node").expect("readable").path();
    assert!(nodes.next().is_none(), "there is one node");
    node.join("log")
}

fn segments(log: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(log).expect("the log").map(|entry| entry.expect("readable").path()).collect();
    found.sort();
    found
}

fn lose_segments_after(sandbox: &Sandbox, kept: usize) {
    for segment in segments(&log_dir(sandbox)).into_iter().skip(kept) {
        fs::remove_file(segment).expect("a segment");
    }
}

/// Gives the file a hole at its end.
fn grow(path: &Path) {
    let file = fs::File::options().write(true).open(path).expect("a file");
    file.set_len(1 << 20).expect("longer");
}

fn differences(ran: &Ran) -> Vec<(String, String)> {
    let text = ran.stdout();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut found: Vec<_> = all
        .filter(|record| record["type"] == "difference")
        .map(|record| {
            let path = record["path"]["text"].as_str().unwrap_or("not text").to_owned();
            let name = path.rsplit_once("/tree/").map_or(path.clone(), |(_, name)| name.to_owned());
            (record["kind"].as_str().expect("a kind").to_owned(), name)
        })
        .collect();
    found.sort();
    found
}

fn rebuild(sandbox: &Sandbox, options: &[&str]) -> Ran {
    sandbox.hsm(["rebuild", "--json"].into_iter().chain(options.iter().copied()))
}

/// Another rebuild finds nothing to say, a run moves nothing, and all comes back.
#[track_caller]
fn all_is_as_it_was(sandbox: &Sandbox, before: &Snapshot) {
    let again = rebuild(sandbox, &["--force"]).succeeds();
    assert_eq!(differences(&again), [], "{}", again.stdout());
    let tiered = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(tiered["sent_bytes"], 0, "{tiered}");
    let verified = sandbox.hsm(["verify", "--data", "--json"]).succeeds().summary();
    assert_eq!(verified["unowned_objects"], 0, "{verified}");
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(before, &snapshot(&sandbox.tree()));
}

#[test]
fn a_lost_state_db_is_made_anew_and_nothing_is_sent_again() {
    let (sandbox, before) = tiered();
    sandbox.on("recall", &[], &["dir0"].map(|_| "dir0/sub/file0.dat")).succeeds();
    let listed = |sandbox: &Sandbox| {
        let text = sandbox.hsm(["ls", "-r", "--json"]).succeeds().stdout();
        let state = |line: &str| {
            let record: Value = serde_json::from_str(line).expect("JSON");
            (record["type"] == "entry").then(|| (record["path"].clone(), record["content"].clone()))
        };
        text.lines().filter_map(state).collect::<Vec<_>>()
    };
    let known = listed(&sandbox);
    sandbox.hsm(["rebuild"]).exits(1).complains(&["can be read", "hsm rebuild --force"]);
    lose_state(&sandbox);
    sandbox.hsm(["tier"]).exits(10).complains(&["no state DB", "hsm rebuild"]);
    sandbox.hsm(["status"]).exits(10).complains(&["hsm rebuild"]);

    let (tree, store) = (snapshot(&sandbox.tree()), store_of(&sandbox));
    let dry = rebuild(&sandbox, &["--dry-run"]).succeeds();
    assert!(!sandbox.state_db().exists());
    assert_same(&store, &store_of(&sandbox));
    let ran = rebuild(&sandbox, &[]).succeeds();
    assert_eq!(differences(&ran), [], "{}", ran.stdout());
    assert_same(&tree, &snapshot(&sandbox.tree()));
    assert_same(&store, &store_of(&sandbox));
    let summary = ran.summary();
    assert_eq!(dry.summary()["stubs"], summary["stubs"]);
    assert!(summary["stubs"].as_u64() > Some(20), "{summary}");
    assert_eq!(summary["dirty"], 1, "a recall moved its ctime: {summary}");
    assert_eq!(listed(&sandbox), known);
    let status = sandbox.hsm(["status", "--json"]).succeeds().stdout();
    assert!(status.contains("\"stub\":"), "{status}");
    all_is_as_it_was(&sandbox, &before);
}

#[test]
fn an_encrypted_store_and_uploaded_files_are_rebuilt_too() {
    let sandbox = Sandbox::empty();
    for (nth, name) in ["a", "b/c", "b/d"].into_iter().enumerate() {
        sandbox.write(name, &noise(nth as u64, 70_000));
    }
    let key = sandbox.path("home/key").display().to_string();
    let url = sandbox.store_url();
    sandbox.init_with(&["--store", &url, "--encrypt", "--key-file", &key]);
    sandbox.policy(UPLOAD_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    let before = snapshot(&sandbox.tree());
    // One was touched after its upload: its copy is not trusted to be it.
    fs::File::open(sandbox.tree().join("b/d"))
        .and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH))
        .expect("another time");
    let before_d = snapshot(&sandbox.tree());
    lose_state(&sandbox);
    let summary = rebuild(&sandbox, &[]).succeeds().summary();
    assert_eq!((&summary["uploaded"], &summary["dirty"]), (&2.into(), &1.into()), "{summary}");
    sandbox.policy(EAGER_POLICY);
    let tiered = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!((&tiered["sent_bytes"], &tiered["stubbed_files"]), (&0.into(), &3.into()));
    assert_ne!(before, before_d);
    all_is_as_it_was(&sandbox, &before_d);
}

#[test]
fn what_happened_since_the_last_run_is_told_and_catalogued() {
    let (sandbox, _) = tiered();
    let at = |name: &str| sandbox.tree().join(name);
    lose_state(&sandbox);
    fs::rename(at("large.bin"), at("dir0/moved.bin")).unwrap();
    fs::remove_file(at("dir1/sub/file0.dat")).unwrap();
    fs::remove_dir_all(at("dir2/sub")).unwrap();
    fs::remove_file(at("dir3/sub/file1.dat")).unwrap();
    sandbox.write("dir3/sub/file1.dat", &noise(77, 5000));
    let dry = rebuild(&sandbox, &["--dry-run"]).succeeds();
    let ran = rebuild(&sandbox, &[]).succeeds();
    let told = differences(&ran);
    assert_eq!(told, differences(&dry));
    let kind = |wanted: &str| {
        let named = told.iter().filter(|(kind, _)| kind == wanted);
        named.map(|(_, name)| name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(kind("unrecorded"), ["dir0/moved.bin"]);
    assert_eq!(kind("replaced"), ["dir3/sub/file1.dat"]);
    let gone = kind("gone");
    for name in ["large.bin", "dir1/sub/file0.dat", "dir2/sub", "dir2/sub/file3.dat"] {
        assert!(gone.contains(&name), "{name} of {gone:?}");
    }
    assert_eq!(ran.summary()["problems"], 0);
    // The log knows by now; the new file gets its copy with the next run.
    let history = sandbox.on("history", &["--json"], &["large.bin"]).succeeds().stdout();
    assert!(history.contains("\"end\":\"moved\""), "{history}");
    sandbox.hsm(["tier"]).succeeds();
    let now = whole(&sandbox);
    sandbox.hsm(["tier"]).succeeds();
    all_is_as_it_was(&sandbox, &now);
}

#[test]
fn pins_and_the_journal_come_from_the_state_db_before() {
    let sandbox = Sandbox::new();
    sandbox.write("a", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.on("pin", &[], &["a"]).succeeds();
    rebuild(&sandbox, &["--force"]).succeeds();
    let pins = sandbox.hsm(["pin", "--list"]).succeeds().stdout();
    assert!(pins.contains("/a"), "{pins}");
    let kept = fs::read_dir(sandbox.state_dir()).unwrap().filter_map(Result::ok);
    let kept =
        kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("state.db.old-"));
    assert_eq!(kept.count(), 1);
    let status = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(status.contains("tier ") && status.contains("rebuild"), "{status}");
    // One that is no DB any more is not asked for anything.
    fs::write(sandbox.state_db(), vec![b'x'; 9000]).unwrap();
    sandbox.hsm(["tier"]).exits(1).complains(&["hsm rebuild"]);
    let ran = rebuild(&sandbox, &[]).succeeds();
    assert_eq!(differences(&ran), []);
    assert!(sandbox.hsm(["pin", "--list"]).succeeds().stdout().is_empty());
}

#[test]
fn lost_last_segments_are_named_and_mended_with_what_the_state_db_knows() {
    let sandbox = Sandbox::new();
    sandbox.write("early", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let kept = segments(&log_dir(&sandbox)).len();
    sandbox.write("late", &noise(2, 100_000));
    sandbox.write("sparse/late", &noise(3, 50_000));
    grow(&sandbox.tree().join("sparse/late"));
    let before = whole(&sandbox);
    sandbox.hsm(["tier"]).succeeds();
    let peer = Sandbox::empty();
    peer.init_with(&["--store", &sandbox.store_url()]);
    peer.hsm(["nodes"]).succeeds();
    lose_segments_after(&sandbox, kept);
    peer.hsm(["nodes"]).succeeds().complains(&["is damaged", "has lost segments"]);
    for command in ["tier", "upload"] {
        let refused = sandbox.hsm([command]).exits(1);
        refused.complains(&["the store has lost segments", "hsm rebuild --force"]);
    }
    let verified = sandbox.hsm(["verify"]).exits(4).stdout();
    assert!(verified.contains("log") && verified.contains("missing"), "{verified}");
    let ran = rebuild(&sandbox, &["--force"]).succeeds();
    ran.complains(&["are not used"]);
    let ran = rebuild(&sandbox, &["--force"]).succeeds();
    assert_eq!(differences(&ran), [], "the log was told");
    sandbox.write("and more", b"bytes");
    sandbox.hsm(["tier"]).succeeds();
    let again = peer.hsm(["nodes"]).succeeds();
    assert!(!again.stderr().contains("damaged"), "it is whole again: {}", again.stderr());
    fs::remove_file(sandbox.tree().join("and more")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let mut before = before;
    before.insert("".into(), snapshot(&sandbox.tree())[Path::new("")].clone());
    all_is_as_it_was(&sandbox, &before);
}

#[test]
fn lost_last_segments_without_a_state_db_are_mended_from_the_packs() {
    let sandbox = Sandbox::new();
    sandbox.write("early", &noise(1, 5 << 20));
    sandbox.hsm(["tier"]).succeeds();
    let kept = segments(&log_dir(&sandbox)).len();
    // One chunk; one that another file has, too; several chunks; several packs.
    sandbox.write("small", &noise(2, 100_000));
    sandbox.write("begins as early", &noise(1, 5 << 20)[..4 << 20]);
    sandbox.write("large", &noise(3, 9 << 20));
    sandbox.write("huge", &noise(4, 75 << 20));
    // And one with a hole: its pieces cannot be told from the packs.
    sandbox.write("sparse", &noise(5, 50_000));
    grow(&sandbox.tree().join("sparse"));
    let before = whole(&sandbox);
    sandbox.hsm(["tier"]).succeeds();
    lose_segments_after(&sandbox, kept);
    lose_state(&sandbox);
    let ran = rebuild(&sandbox, &[]).exits(4);
    let told = differences(&ran);
    let recovered = |name: &str| ("recovered".to_owned(), name.to_owned());
    let expected = [
        ("no-record".to_owned(), "sparse".to_owned()),
        recovered("begins as early"),
        recovered("huge"),
        recovered("large"),
        recovered("small"),
    ];
    assert_eq!(told, expected);
    let summary = ran.summary();
    assert_eq!((&summary["problems"], &summary["recovered"]), (&1.into(), &4.into()), "{summary}");
    assert!(is_stub(&sandbox.tree().join("sparse")), "it is left as it is");
    let again = rebuild(&sandbox, &["--force"]).exits(4);
    assert_eq!(differences(&again), expected[..1]);
    fs::remove_file(sandbox.tree().join("sparse")).unwrap();
    let mut before = before;
    before.remove(Path::new("sparse"));
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    let now = snapshot(&sandbox.tree());
    before.get_mut(Path::new("")).unwrap().mtime = now[Path::new("")].mtime;
    assert_same(&before, &now);
    sandbox.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn a_truncated_segment_is_named_and_nothing_is_guessed() {
    let sandbox = Sandbox::new();
    sandbox.write("early", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let good = segments(&log_dir(&sandbox)).len();
    sandbox.write("late", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.write("later", &noise(3, 100_000));
    let before = whole(&sandbox);
    sandbox.hsm(["tier"]).succeeds();
    let before = {
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        sandbox.hsm(["tier"]).succeeds();
        before
    };
    let damaged = segments(&log_dir(&sandbox))[good].clone();
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    let name = damaged.file_name().unwrap().to_str().unwrap().to_owned();
    let until = good.to_string();

    let verified = sandbox.hsm(["verify", "--data"]).exits(4).stdout();
    assert!(verified.contains(&name), "{verified}");
    let refused = rebuild(&sandbox, &["--force"]).exits(1);
    refused.complains(&[&name, "hsm rebuild --until-segment", &until]);
    lose_state(&sandbox);
    rebuild(&sandbox, &[]).exits(1).complains(&[&name, "--until-segment", &until]);
    assert!(!sandbox.state_db().exists(), "nothing was made");
    let behind = (good + 1).to_string();
    rebuild(&sandbox, &["--until-segment", &behind]).exits(1).complains(&[&name]);

    let ran = rebuild(&sandbox, &["--until-segment", &until]).succeeds();
    let told = differences(&ran);
    assert_eq!(told.len(), 2, "late and later: {told:?}");
    assert!(told.iter().all(|(kind, _)| kind == "recovered"), "{told:?}");
    let summary = ran.summary();
    assert_ne!(summary["node"], summary["from_node"], "it goes on under a new id");
    all_is_as_it_was(&sandbox, &before);
    let listed = sandbox.hsm(["nodes", "--json"]).succeeds().stdout();
    let own = listed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let own = own.filter(|record| record["own"] == true).collect::<Vec<_>>();
    assert_eq!(own.len(), 1);
    assert_eq!((&own[0]["node"], &own[0]["files"]), (&summary["node"], &3.into()));

    // Nobody collects garbage while a log cannot be read; it can be ended.
    sandbox.hsm(["gc", "--dry-run"]).exits(1).complains(&[&name]);
    let old = summary["from_node"].as_str().unwrap();
    let retire = |until: &str, more: &[&str]| {
        let args = ["nodes", "retire", old, "--until-segment", until, "--force"];
        sandbox.hsm(args.into_iter().chain(more.iter().copied()))
    };
    retire("1", &["--yes"]).exits(1).complains(&["is good up to segment", &until]);
    let store = store_of(&sandbox);
    let shown = retire(&until, &[]).succeeds().stdout();
    assert!(shown.contains("--until-segment") && shown.contains("--yes"), "{shown}");
    assert_same(&store, &store_of(&sandbox));
    retire(&until, &["--yes"]).succeeds();
    let kept = damaged.parent().unwrap().with_file_name("damaged").join(&name);
    assert_eq!(fs::read(kept).unwrap(), &bytes[..bytes.len() / 2]);
    let listed = sandbox.hsm(["nodes"]).succeeds();
    assert!(listed.stdout().contains("retired") && !listed.stderr().contains("damaged"));
    sandbox.hsm(["gc", "--dry-run"]).succeeds();
    sandbox.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn the_log_is_chosen_by_the_files_that_are_here() {
    let first = Sandbox::new();
    first.write("a", &noise(1, 100_000));
    first.hsm(["tier"]).succeeds();
    // Another server of the same store with a root of the same path, once.
    let second = Sandbox::empty();
    let aside = first.path("aside");
    fs::rename(first.tree(), &aside).unwrap();
    fs::create_dir(first.tree()).unwrap();
    first.write("a", &noise(2, 100_000));
    let state = second.state_dir().display().to_string();
    let url = first.store_url();
    let tree = first.tree().display().to_string();
    second.hsm(["init", "--state-dir", &state, "--store", &url, &tree]).succeeds();
    second.policy(UPLOAD_POLICY);
    second.hsm(["tier"]).succeeds();
    fs::rename(first.tree(), first.path("of the second")).unwrap();
    fs::rename(&aside, first.tree()).unwrap();

    lose_state(&first);
    let summary = rebuild(&first, &[]).succeeds().summary();
    assert_eq!((&summary["stubs"], &summary["differences"]), (&1.into(), &0.into()), "{summary}");
    // Where no file is anybody's, somebody has to say.
    lose_state(&first);
    fs::remove_file(first.tree().join("a")).unwrap();
    first.write("b", b"new");
    let refused = rebuild(&first, &[]).exits(1);
    refused.complains(&["several logs", "0 of 1 files", "--node"]);
    let node = summary["node"].as_str().unwrap();
    let ran = rebuild(&first, &["--node", node]).succeeds();
    assert_eq!(differences(&ran), [("gone".to_owned(), "a".to_owned())]);
    // An empty root is a missing mount.
    lose_state(&first);
    fs::remove_file(first.tree().join("b")).unwrap();
    first.write("a", &noise(1, 100_000));
    rebuild(&first, &["--node", node]).succeeds();
}

#[test]
fn an_empty_root_is_a_missing_mount_and_no_deletion() {
    let sandbox = Sandbox::new();
    sandbox.write("a", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    lose_state(&sandbox);
    let aside = sandbox.path("aside");
    fs::rename(sandbox.tree(), &aside).unwrap();
    fs::create_dir(sandbox.tree()).unwrap();
    let store = store_of(&sandbox);
    rebuild(&sandbox, &[]).exits(1).complains(&["is empty although", "mount the file system"]);
    assert!(!sandbox.state_db().exists());
    assert_same(&store, &store_of(&sandbox));
    fs::remove_dir(sandbox.tree()).unwrap();
    fs::rename(&aside, sandbox.tree()).unwrap();
    rebuild(&sandbox, &[]).succeeds();
    sandbox.on("recall", &[], &["a"]).succeeds();
    assert_eq!(sandbox.read("a"), noise(1, 100_000));
}

/// Writes the log again as a release would that recorded no proofs.
fn without_proofs(log: &Path) {
    use hsm::chunk::Protection;
    use hsm::manifest::{Record, decode_segment, encode_segment, segment_hash};
    let mut prev = None;
    for path in segments(log) {
        let object = fs::read(&path).unwrap();
        let (mut header, mut records) = decode_segment(&object, &Protection::Plain).unwrap();
        header.prev = prev;
        for record in &mut records {
            if let Record::Pack(pack) = record {
                assert!(pack.proof.take().is_some());
            }
        }
        let object = encode_segment(&header, &records, &Protection::Plain).unwrap();
        prev = Some(segment_hash(&object));
        fs::write(&path, object).unwrap();
    }
}

#[test]
fn a_pack_without_a_recorded_proof_is_not_proven_until_it_was_read() {
    let sandbox = Sandbox::new();
    sandbox.write("a", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    without_proofs(&log_dir(&sandbox));
    lose_state(&sandbox);
    assert_eq!(differences(&rebuild(&sandbox, &[]).succeeds()), []);
    sandbox.on("recall", &[], &["a"]).succeeds();
    let tiered = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(tiered["stubbed_files"], 0, "{tiered}");
    sandbox.hsm(["verify", "--data"]).succeeds();
    let tiered = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!((&tiered["stubbed_files"], &tiered["sent_bytes"]), (&1.into(), &0.into()));
    sandbox.on("recall", &[], &["a"]).succeeds();
    assert_eq!(sandbox.read("a"), noise(1, 100_000));
}

/// Dies at the point, which must be reached.
fn dies(sandbox: &mut Sandbox, point: &str, args: &[&str]) {
    sandbox.set_env("HSM_FAULT_ABORT", &format!("{point}:1"));
    let ran = sandbox.hsm(args);
    assert_eq!(ran.code(), -1, "{point} is never reached: {}", ran.stderr());
    sandbox.set_env("HSM_FAULT_ABORT", "");
}

#[test]
fn a_run_that_died_and_took_the_state_db_along_loses_nothing() {
    let of_tier = [
        "upload.pack-put",
        "upload.pack-recorded",
        "upload.segment-put",
        "stub.marker-set",
        "stub.before-punch",
        "stub.after-punch",
        "stub.after-times",
    ];
    let of_recall = [
        "stub.fill-flag-set",
        "stub.fill-data-written",
        "stub.fill-data-durable",
        "stub.fill-marker-removed",
    ];
    for point in of_tier.into_iter().chain(of_recall) {
        let mut sandbox = Sandbox::new();
        sandbox.write("a", &noise(1, 100_000));
        sandbox.write("b/c", &noise(2, 5 << 20));
        sandbox.write("b/d", &noise(3, 3000));
        let before = snapshot(&sandbox.tree());
        if point.starts_with("stub.fill") {
            sandbox.hsm(["tier"]).succeeds();
            let tree = sandbox.tree().display().to_string();
            dies(&mut sandbox, point, &["recall", "-r", &tree]);
        } else {
            dies(&mut sandbox, point, &["tier"]);
        }
        lose_state(&sandbox);
        let ran = rebuild(&sandbox, &[]);
        if ran.code() == 1 {
            // Not even its first segment was written.
            ran.complains(&["no log in the store names"]);
            assert_same(&before, &snapshot(&sandbox.tree()));
            continue;
        }
        let summary = ran.succeeds().summary();
        assert_eq!(summary["problems"], 0, "{point}: {summary}");
        sandbox.hsm(["tier"]).succeeds();
        assert!(is_stub(&sandbox.tree().join("b/c")), "{point}");
        sandbox.hsm(["verify", "--data"]).succeeds();
        assert_same(&before, &whole(&sandbox));
    }
}

#[test]
fn a_rebuild_that_dies_is_begun_again() {
    for point in ["upload.segment-put", "rebuild.told", "rebuild.kept"] {
        let mut sandbox = Sandbox::new();
        sandbox.write("a", &noise(1, 100_000));
        sandbox.write("b", &noise(2, 50_000));
        let before = snapshot(&sandbox.tree());
        sandbox.hsm(["tier"]).succeeds();
        // Something to tell the log.
        fs::rename(sandbox.tree().join("a"), sandbox.tree().join("c")).unwrap();
        dies(&mut sandbox, point, &["rebuild", "--force"]);
        if point == "rebuild.kept" {
            assert!(!sandbox.state_db().exists(), "the old one is aside");
        }
        rebuild(&sandbox, &["--force"]).succeeds();
        let left: Vec<_> = fs::read_dir(sandbox.state_dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("rebuilding"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        fs::rename(sandbox.tree().join("c"), sandbox.tree().join("a")).unwrap();
        sandbox.hsm(["tier"]).succeeds();
        let mut now = whole(&sandbox);
        now.insert("".into(), before[Path::new("")].clone());
        assert_same(&before, &now);
        sandbox.hsm(["tier"]).succeeds();
        assert_eq!(differences(&rebuild(&sandbox, &["--force"]).succeeds()), [], "{point}");
    }
}

/// Whoever may write a file of an ordinary user's tree may also set its marker.
#[test]
fn an_ordinary_users_markers_count_only_if_a_log_says_the_same() {
    let sandbox = Sandbox::empty();
    sandbox.write("secret", &noise(1, 100_000));
    sandbox.write("mine", &noise(2, 100_000));
    sandbox.write("moved", &noise(3, 100_000));
    let hsm = support::as_nobody(&sandbox);
    let (tree, state, store) =
        (sandbox.tree().display().to_string(), sandbox.state_dir(), sandbox.store_url());
    let state = state.to_str().unwrap();
    hsm(&["init", "--state-dir", state, "--store", &store, &tree]).succeeds();
    sandbox.policy(EAGER_POLICY);
    hsm(&["tier"]).succeeds();
    let at = |name: &str| sandbox.tree().join(name);
    let attribute = |name: &str| xattr::get(at(name), "user.hsm").unwrap().expect("a stub");
    let marker = |name: &str| hsm::stub::Marker::decode(&attribute(name)).unwrap();
    let forged = hsm::stub::Marker { content: marker("secret").content, ..marker("mine") };
    xattr::set(at("mine"), "user.hsm", &forged.encode()).unwrap();
    fs::rename(at("moved"), at("elsewhere")).unwrap();
    lose_state(&sandbox);
    let ran = hsm(&["rebuild", "--json"]).exits(4);
    let told = differences(&ran);
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["bad-marker", "gone", "replaced", "unrecorded"], "{told:?}");
    hsm(&["recall", "-r", &tree]).exits(3);
    assert_ne!(sandbox.read("mine"), noise(1, 100_000));
    assert_eq!(sandbox.read("secret"), noise(1, 100_000));
    assert_eq!(sandbox.read("elsewhere"), noise(3, 100_000));
}

/// The store without what trying it out leaves.
fn store_of(sandbox: &Sandbox) -> Snapshot {
    let mut found = snapshot(&sandbox.store());
    found.retain(|path, _| !path.starts_with("probe"));
    found
}
