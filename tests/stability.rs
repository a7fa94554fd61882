//! A site over time: watermarks, limits, plans for another day, pins, and what
//! the commands that only look say about a known tree.

#[path = "support/loopfs.rs"]
mod loopfs;
mod support;

use loopfs::{FsKind, LoopFs};
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use support::Sandbox;
use support::snapshot::{assert_same, digest, is_stub, snapshot};
use support::trees::noise;

/// 2026-01-31T14:00:00Z.
const NOW: &str = "2026-01-31T14:00:00Z";
const NOW_S: u64 = 1_769_868_000;
const FILES: u64 = 12;

/// Last read and written so many days before [`NOW`].
fn idle(path: &Path, days: u64) {
    let then = UNIX_EPOCH + Duration::from_secs(NOW_S - days * 86_400);
    let times = FileTimes::new().set_accessed(then).set_modified(then);
    File::options().write(true).open(path).expect("open").set_times(times).expect("times");
}

/// `hsm init` with a root elsewhere than in the sandbox.
fn init(sandbox: &Sandbox, root: &Path, policy: &str) {
    let (state, store) = (sandbox.state_dir(), sandbox.store_url());
    let args = ["init", "--state-dir", state.to_str().expect("a plain path"), "--store", &store];
    let root = root.to_str().expect("a plain path");
    sandbox.hsm(args.into_iter().chain([root])).succeeds();
    sandbox.policy(policy);
}

fn used_pct(path: &Path) -> f64 {
    let fs = rustix::fs::statvfs(path).expect("statvfs");
    let used = (fs.f_blocks - fs.f_bfree) as f64;
    used / (used + fs.f_bavail as f64) * 100.0
}

fn watermark_policy(order: &str) -> String {
    format!(
        r#"
unguarded = true

[defaults]
min_stub_size = "0"
quiet = "0s"
min_age_after_recall = "0s"

[watermark]
high = "60%"
low = "40%"
order = "{order}"

[[rule]]
name = "only the very old while there is room"
idle = "3650d"
action = "tier"

[[rule]]
name = "copy in good time"
action = "upload"
"#
    )
}

/// Twelve files, the higher its number the longer a file is idle, and the
/// smaller it is.
fn fill(root: &Path) {
    fs::create_dir(root).expect("a directory");
    for file in 0..FILES {
        let path = root.join(format!("file{file:02}"));
        fs::write(&path, noise(file, (20 << 20) - (file as usize) * 262_144)).expect("a file");
    }
    make_idle(root);
    rustix::fs::syncfs(File::open(root).expect("open")).expect("syncfs");
}

/// Reading a file makes it warm: to be called last.
fn make_idle(root: &Path) {
    (0..FILES).for_each(|file| idle(&root.join(format!("file{file:02}")), 10 + file));
}

fn stubs_of(root: &Path) -> Vec<u64> {
    (0..FILES).filter(|file| is_stub(&root.join(format!("file{file:02}")))).collect()
}

#[test]
fn above_the_high_watermark_the_coldest_go_until_the_low_one_and_no_more() {
    let test = "above_the_high_watermark_the_coldest_go_first";
    for (order, first) in [("coldest", FILES - 1), ("largest", 0)] {
        let Some(fs) = LoopFs::with_size(test, FsKind::Ext4, 384 << 20) else { return };
        let mut sandbox = Sandbox::empty();
        sandbox.set_env("HSM_TEST_NOW", NOW);
        let root = fs.path().join("data");
        fill(&root);
        let before = snapshot(&root);
        make_idle(&root);
        assert!(used_pct(&root) > 60.0, "the test needs a fuller file system");
        init(&sandbox, &root, &watermark_policy(order));
        sandbox.hsm(["tier"]).succeeds();
        let used = used_pct(&root);
        assert!(used <= 40.0, "{order}: still {used:.1}% used");
        let stubs = stubs_of(&root);
        let expected: Vec<u64> = match first {
            0 => (0..stubs.len() as u64).collect(),
            _ => (FILES - stubs.len() as u64..FILES).collect(),
        };
        assert_eq!(stubs, expected, "{order}");
        // One file is about 6% here: without the last one it would be above.
        assert!(used > 40.0 - 7.0, "{order}: {used:.1}% used, too much was freed");
        // Below the high watermark nothing more goes, though above no age.
        sandbox.hsm(["tier"]).succeeds();
        assert_eq!(stubs_of(&root), stubs, "{order}");
        let root_text = root.to_str().expect("a plain path");
        sandbox.hsm(["recall", "-r", root_text]).succeeds();
        assert_same(&before, &snapshot(&root));
    }
}

#[test]
fn below_the_high_watermark_only_age_counts() {
    let test = "below_the_high_watermark_only_age_counts";
    let Some(fs) = LoopFs::with_size(test, FsKind::Ext4, 512 << 20) else { return };
    let mut sandbox = Sandbox::empty();
    sandbox.set_env("HSM_TEST_NOW", NOW);
    let root = fs.path().join("data");
    fill(&root);
    idle(&root.join("file05"), 4000);
    init(&sandbox, &root, &watermark_policy("coldest"));
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs_of(&root), [5]);
}

/// Files of 100,000 bytes, and the eager policy with these limits.
fn limited(files: u64, limits: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    for file in 0..files {
        sandbox.write(&format!("file{file}"), &noise(file, 100_000));
    }
    sandbox.policy(&format!("{}\n[limits]\n{limits}\n", support::EAGER_POLICY));
    sandbox
}

#[test]
fn a_run_stops_at_its_limits_and_the_next_one_continues() {
    for (limits, at_once) in [("max_files = 3", 3), ("max_bytes = \"250000\"", 2)] {
        let sandbox = limited(7, limits);
        let mut done = 0;
        for run in 0..7 {
            let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
            let uploaded = summary["uploaded_files"].as_u64().expect("a number");
            assert!(uploaded <= at_once, "{limits}, run {run}: {summary}");
            assert!(uploaded > 0 || done == 7, "{limits}, run {run}: no progress");
            done += uploaded;
        }
        assert_eq!(done, 7, "{limits}");
        let stubs = (0..7).filter(|n| is_stub(&sandbox.tree().join(format!("file{n}")))).count();
        assert_eq!(stubs, 7, "{limits}");
    }
}

#[test]
fn too_many_failures_end_the_run_and_say_so() {
    let sandbox = limited(40, "stop_after_errors = \"5\"");
    // A marker that is none makes each a file that cannot be uploaded.
    for file in 0..20 {
        let path = sandbox.tree().join(format!("file{file}"));
        xattr::set(path, "user.hsm", b"no marker").expect("set an attribute");
    }
    let ran = sandbox.hsm(["tier"]).exits(1);
    ran.complains(&["limits.stop_after_errors"]);
    sandbox.policy(support::EAGER_POLICY);
    let summary = sandbox.hsm(["tier", "--json"]).exits(3).summary();
    assert_eq!(summary["failed_files"], 20, "{summary}");
    assert!(is_stub(&sandbox.tree().join("file39")));
    let whole = fs::read(sandbox.tree().join("file0")).expect("read");
    assert!(whole == noise(0, 100_000), "what was refused is as it was");
}

const IDLE_30_DAYS: &str = r#"
unguarded = true

[defaults]
min_stub_size = "64KiB"
quiet = "0s"

[[rule]]
name = "cold"
idle = "30d"
action = "tier"
"#;

/// A known tree: two files idle for 40 and 10 days, and a small one.
fn known() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_TEST_NOW", NOW);
    sandbox.policy(IDLE_30_DAYS);
    for (name, len, days) in
        [("film.mkv", 2 << 20, 40), ("notes/new.txt", 81_920, 10), ("notes/small.txt", 4096, 50)]
    {
        sandbox.write(name, &noise(days, len));
        idle(&sandbox.tree().join(name), days);
    }
    sandbox
}

#[test]
fn a_plan_for_another_day_shows_more_and_writes_nothing() {
    let sandbox = known();
    sandbox.hsm(["scan"]).succeeds();
    let (tree, store) = (snapshot(&sandbox.tree()), snapshot(&sandbox.store()));
    let state = digest(&sandbox.state_db());
    let plan = |as_of: &[&str]| {
        let args = ["plan", "--json"].iter().chain(as_of);
        let summary = sandbox.hsm(args).succeeds().summary();
        (summary["upload_files"].as_u64(), summary["stub_files"].as_u64())
    };
    assert_eq!(plan(&[]), (Some(1), Some(1)), "film.mkv; small.txt is too small");
    assert_eq!(plan(&["--as-of", "now+15d"]), (Some(1), Some(1)), "new.txt is 25 days old then");
    assert_eq!(plan(&["--as-of", "now+25d"]), (Some(2), Some(2)));
    assert_eq!(plan(&["--as-of", "2026-01-01"]), (Some(0), Some(0)), "nothing was old then");
    sandbox.hsm(["plan", "--as-of", "someday"]).exits(2).complains(&["--as-of"]);
    assert_same(&tree, &snapshot(&sandbox.tree()));
    assert_same(&store, &snapshot(&sandbox.store()));
    assert_eq!(state, digest(&sandbox.state_db()));
}

#[test]
fn pins_are_inherited_and_the_nearest_one_wins() {
    let sandbox = Sandbox::new();
    for name in ["a/kept", "a/deep/kept too", "a/deep/left alone", "b/goes", "top"] {
        sandbox.write(name, &noise(name.len() as u64, 100_000));
    }
    sandbox.on("pin", &[], &["a"]).succeeds();
    sandbox.on("pin", &["--exclude"], &["a/deep/left alone"]).succeeds();
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["uploaded_files"], 4, "pinned files are uploaded: {summary}");
    let stubs = |sandbox: &Sandbox| -> Vec<&str> {
        let names = ["a/kept", "a/deep/kept too", "a/deep/left alone", "b/goes", "top"];
        names.into_iter().filter(|name| is_stub(&sandbox.tree().join(name))).collect()
    };
    assert_eq!(stubs(&sandbox), ["b/goes", "top"]);
    // Naming a file waives rules, not pins.
    let _ = sandbox.on("stub", &[], &["a/kept"]);
    assert_eq!(stubs(&sandbox), ["b/goes", "top"]);
    // A stub that is pinned stays one until it is recalled, then stays here.
    sandbox.on("pin", &[], &["b"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(&sandbox), ["b/goes", "top"]);
    sandbox.on("recall", &["-r"], &["b"]).succeeds();
    sandbox.on("unpin", &[], &["a"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(&sandbox), ["a/kept", "a/deep/kept too", "top"]);
    sandbox.on("unpin", &[], &["b", "a/deep/left alone"]).succeeds();
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(stubs(&sandbox).len(), 5);
}

/// The text with this sandbox's places replaced by words.
fn golden(sandbox: &Sandbox, args: &[&str]) -> String {
    let text = sandbox.hsm(args).succeeds().stdout();
    let tree = sandbox.tree().canonicalize().expect("it exists");
    let store = sandbox.store().canonicalize().expect("it exists");
    let text = text.replace(tree.to_str().expect("a plain path"), "TREE");
    text.replace(store.to_str().expect("a plain path"), "STORE")
}

/// [`known`] after a run: a stub, a file too young, one too small.
fn tiered() -> Sandbox {
    let sandbox = known();
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["scan"]).succeeds();
    sandbox
}

#[test]
fn ls_and_find_tell_a_known_tree_by_heart() {
    let sandbox = tiered();
    let text = golden(&sandbox, &["ls", sandbox.tree().join("notes").to_str().expect("plain")]);
    let expected = "\
resident       80 KiB  2026-01-21T14:00:00Z  new.txt
resident        4 KiB  2025-12-12T14:00:00Z  small.txt
";
    assert_eq!(text, expected);
    let text = golden(&sandbox, &["ls", "-r"]);
    let stub = "stub            2 MiB  2025-12-22T14:00:00Z  TREE/film.mkv\n";
    assert!(text.contains(stub), "{text}");
    assert_eq!(golden(&sandbox, &["find", "--state", "stub"]), "TREE/film.mkv\n");
    let cold = golden(&sandbox, &["find", "--older", "30d", "--type", "file"]);
    assert_eq!(cold, "TREE/film.mkv\nTREE/notes/small.txt\n");
    let young = golden(&sandbox, &["find", "--newer", "20d", "--type", "file"]);
    assert_eq!(young, "TREE/notes/new.txt\n");
}

#[test]
fn du_and_status_count_a_known_tree() {
    let sandbox = tiered();
    let summary = sandbox.hsm(["du", "--json"]).succeeds().summary();
    assert_eq!(summary["files"], 3);
    assert_eq!(summary["size_bytes"], (2 << 20) + 81_920 + 4096);
    assert_eq!(summary["remote_bytes"], 2 << 20);
    let local = summary["local_bytes"].as_u64().expect("a number");
    assert!((81_920 + 4096..1 << 20).contains(&local), "{summary}");
    let text = golden(&sandbox, &["status"]);
    for line in [
        "store  file://STORE\n",
        "\nTREE\n",
        "  scanned     2026-01-31T14:00:00Z (0 seconds ago), 4 names\n",
        "  resident    2 files, 84 KiB\n",
        "  stub        1 files, 2 MiB\n",
        "\nlatest runs\n",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
}

#[test]
fn explain_answers_each_condition_of_a_known_file() {
    let sandbox = tiered();
    let explain = |name: &str| {
        let path = sandbox.tree().join(name);
        golden(&sandbox, &["explain", path.to_str().expect("a plain path")])
    };
    let stub = explain("film.mkv");
    for line in [
        "TREE/film.mkv\n",
        "  state    stub (on disk: a stub)\n",
        "  rule     \"cold\" decides: tier\n",
        "  ok  guarded                the policy accepts stubs without a guard\n",
        "  ok  uploaded               it is a stub already\n",
        "  ok  rule-matches           rule \"cold\" tiers it\n",
        "  ok  unchanged              as it was uploaded\n",
    ] {
        assert!(stub.contains(line), "no {line:?} in\n{stub}");
    }
    let young = explain("notes/new.txt");
    for line in [
        "  state    resident (on disk: resident)\n",
        "  rule     \"cold\" does not match: ",
        "  NO  uploaded               it is resident\n",
        "  NO  copy-proven            it has no copy\n",
        "  NO  rule-matches           no rule matches\n",
    ] {
        assert!(young.contains(line), "no {line:?} in\n{young}");
    }
    let small = explain("notes/small.txt");
    let line = "  NO  large-enough           4 KiB, stubs begin at 64 KiB\n";
    assert!(small.contains(line), "no {line:?} in\n{small}");
}
