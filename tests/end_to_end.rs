//! The whole job on real files: init, tier, recall, verify; then once more, and
//! nothing moves.

mod support;

use support::snapshot::{allocated, assert_same, is_stub, snapshot};
use support::trees::{noise, ordinary, root_traps, traps};
use support::{Sandbox, needs_root};

#[test]
fn a_tree_is_tiered_and_comes_back_equal_in_everything_a_user_sees() {
    let sandbox = Sandbox::empty();
    ordinary(&sandbox.tree());
    traps(&sandbox.tree());
    if rustix::process::geteuid().is_root() {
        root_traps(&sandbox.tree());
    }
    let before = snapshot(&sandbox.tree());
    sandbox.init();
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("large.bin")));
    assert_eq!(allocated(&sandbox.tree().join("large.bin")), 0);
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert!(!is_stub(&sandbox.tree().join("large.bin")));
    assert_same(&before, &snapshot(&sandbox.tree()));
    sandbox.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn a_second_tier_moves_no_bytes() {
    let sandbox = Sandbox::empty();
    ordinary(&sandbox.tree());
    let before = snapshot(&sandbox.tree());
    sandbox.init();
    let first = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert!(first["sent_bytes"].as_u64() > Some(9 << 20), "{first}");
    let objects = snapshot(&sandbox.store());
    for round in 0..2 {
        let again = sandbox.hsm(["tier", "--json"]).succeeds().summary();
        assert_eq!(again["sent_bytes"], 0, "round {round}: {again}");
        assert_same(&objects, &snapshot(&sandbox.store()));
        // The second round starts from recalled files: stubbing them again
        // needs no transfer.
        sandbox.on("recall", &["-r"], &[""]).succeeds();
    }
    assert_same(&before, &snapshot(&sandbox.tree()));
}

#[test]
fn duplicates_are_stored_once() {
    let sandbox = Sandbox::empty();
    let bytes = noise(1, 3 << 20);
    for name in ["a", "b", "c/d"] {
        sandbox.write(name, &bytes);
    }
    sandbox.init();
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    let sent = summary["sent_bytes"].as_u64().expect("a number");
    assert!((3 << 20..4 << 20).contains(&sent), "{summary}");
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_eq!(sandbox.read("c/d"), bytes);
}

#[test]
fn a_changed_file_is_uploaded_again_and_the_stub_follows_the_new_content() {
    let sandbox = Sandbox::new();
    sandbox.write("report.docx", &noise(1, 200_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.on("recall", &[], &["report.docx"]).succeeds();
    sandbox.write("report.docx", &noise(2, 150_000));
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("report.docx")));
    sandbox.on("recall", &[], &["report.docx"]).succeeds();
    assert_eq!(sandbox.read("report.docx"), noise(2, 150_000));
}

#[test]
fn a_renamed_stub_keeps_its_copy_and_a_saved_over_one_is_a_new_file() {
    let sandbox = Sandbox::new();
    sandbox.write("old name", &noise(1, 100_000));
    sandbox.write("sheet.xlsx", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    std::fs::create_dir(sandbox.tree().join("elsewhere")).unwrap();
    std::fs::rename(sandbox.tree().join("old name"), sandbox.tree().join("elsewhere/new name"))
        .unwrap();
    // What Office does: write beside it, rename over it.
    sandbox.write("~tmp123", &noise(3, 90_000));
    std::fs::rename(sandbox.tree().join("~tmp123"), sandbox.tree().join("sheet.xlsx")).unwrap();
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["uploaded_files"], 1, "{summary}");
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_eq!(sandbox.read("elsewhere/new name"), noise(1, 100_000));
    assert_eq!(sandbox.read("sheet.xlsx"), noise(3, 90_000));
}

#[test]
fn a_file_of_many_packs_comes_back_from_an_encrypted_store() {
    let sandbox = Sandbox::empty();
    let bytes = noise(77, 75 << 20);
    sandbox.write("film.mkv", &bytes);
    sandbox.write("small", &noise(78, 1000));
    let key = sandbox.path("home/key");
    sandbox.init_with(&[
        "--store",
        &sandbox.store_url(),
        "--encrypt",
        "--key-file",
        key.to_str().expect("a plain path"),
    ]);
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(allocated(&sandbox.tree().join("film.mkv")), 0);
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert!(sandbox.read("film.mkv") == bytes, "the film differs");
    sandbox.hsm(["verify", "--data"]).succeeds();
    let leaked = snapshot(&sandbox.store()).keys().any(|path| {
        let path = sandbox.store().join(path);
        path.is_file() && std::fs::read(path).unwrap().windows(64).any(|w| w == &bytes[..64])
    });
    assert!(!leaked, "plain bytes stand in the encrypted store");
}

#[test]
fn stubs_are_refused_without_a_guard_unless_the_policy_accepts_it() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 100_000));
    sandbox.policy(&support::EAGER_POLICY.replace("unguarded = true", "unguarded = false"));
    let ran = sandbox.hsm(["tier"]);
    ran.exits(1).complains(&["guard", "unguarded = true"]);
    assert!(!is_stub(&sandbox.tree().join("file")));
    assert!(allocated(&sandbox.tree().join("file")) > 0);
}

#[test]
fn a_dry_run_writes_nothing_anywhere() {
    let sandbox = Sandbox::empty();
    ordinary(&sandbox.tree());
    sandbox.init();
    sandbox.hsm(["scan"]).succeeds();
    let (tree, store) = (snapshot(&sandbox.tree()), snapshot(&sandbox.store()));
    let state = support::snapshot::digest(&sandbox.state_db());
    for command in ["tier", "upload", "stub", "plan", "scan"] {
        let args: &[&str] = if command == "plan" { &["plan"] } else { &[command, "--dry-run"] };
        sandbox.hsm(args).succeeds();
        assert_same(&tree, &snapshot(&sandbox.tree()));
        assert_same(&store, &snapshot(&sandbox.store()));
        assert_eq!(state, support::snapshot::digest(&sandbox.state_db()), "{command}");
    }
}

#[test]
fn two_names_of_one_inode_are_left_alone_unless_a_rule_allows_them() {
    let sandbox = Sandbox::new();
    sandbox.write("first", &noise(1, 100_000));
    std::fs::hard_link(sandbox.tree().join("first"), sandbox.tree().join("second")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    assert!(!is_stub(&sandbox.tree().join("first")));
    let policy =
        support::EAGER_POLICY.replace("action = \"tier\"", "nlink_max = 10\naction = \"tier\"");
    sandbox.policy(&policy);
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("first")) && is_stub(&sandbox.tree().join("second")));
    sandbox.on("recall", &[], &["second"]).succeeds();
    assert_eq!(sandbox.read("first"), noise(1, 100_000));
}

#[test]
fn a_copy_with_its_attributes_is_never_filled_from_a_foreign_marker() {
    if !needs_root("a_copy_with_its_attributes_is_never_filled_from_a_foreign_marker") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("original", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let copied = std::process::Command::new("cp")
        .args(["-a", "--sparse=always"])
        .args([sandbox.tree().join("original"), sandbox.tree().join("copy")])
        .status()
        .unwrap();
    assert!(copied.success());
    sandbox.on("recall", &[], &["copy"]).exits(3).complains(&["copy"]);
    // The hole under a foreign marker is not content.
    let tiered = sandbox.hsm(["tier", "--json"]).exits(3).complains(&["copy", "marker"]);
    assert_eq!(tiered.summary()["uploaded_files"], 0);
    sandbox.on("recall", &[], &["original"]).succeeds();
    assert_eq!(sandbox.read("original"), noise(1, 100_000));
}

/// The bug: a file whose chunk another worker was just looking up waited for a
/// pack that never came, and was reported as not sent.
#[test]
fn many_small_duplicates_are_never_left_waiting() {
    let sandbox = Sandbox::empty();
    for file in 0..2500u64 {
        sandbox.write(&format!("d{}/unique{file}", file / 50), &noise(file + 100, 16_000));
        sandbox.write(&format!("d{}/same{file}", file / 50), &noise(file % 3, 500));
    }
    sandbox.init();
    sandbox.policy(support::UPLOAD_POLICY);
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(summary["uploaded_files"], 5000, "{summary}");
}
