//! Whether the store still has what a manifest names, and what keeps it there.

use super::programs::files;
use crate::support::trees::noise;
use crate::support::{Ran, Sandbox};
use hsm::clock::Clock;
use std::fs;

const DAY_NS: i64 = 86_400_000_000_000;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("kept", &noise(1, 90_000));
    sandbox.write("lost", &noise(2, 90_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox
}

fn rows(sandbox: &Sandbox) -> String {
    sandbox.path("home/rows.jsonl").to_str().expect("text").to_owned()
}

fn check(sandbox: &Sandbox) -> Ran {
    sandbox.hsm(["manifest", "--check", &rows(sandbox)])
}

#[test]
fn the_store_alone_answers_and_names_what_it_lacks() {
    let mut sandbox = Sandbox::new();
    sandbox.write("kept", &noise(1, 90_000));
    sandbox.hsm(["tier"]).succeeds();
    let packs = sandbox.store().join("packs");
    let first = files(&packs);
    sandbox.write("lost", &noise(2, 90_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["manifest", "-o", &rows(&sandbox)]).succeeds();
    assert!(check(&sandbox).succeeds().stdout().contains("has all of 2 files"));
    // A machine that has nothing but the file and the store.
    sandbox.set_env("HSM_CONFIG", "/nowhere/config.toml");
    let url = sandbox.store_url();
    let alone = ["manifest", "--json", "--check", &rows(&sandbox), "--store", &url];
    let summary = sandbox.hsm(alone).succeeds().summary();
    assert_eq!((&summary["files"], &summary["problems"]), (&2.into(), &0.into()));
    // A pack that is gone, and one that is shorter than it was.
    let lost = files(&packs).difference(&first).next().expect("a second pack").clone();
    let bytes = fs::read(packs.join(&lost)).expect("the pack");
    for cut in [None, Some(bytes.len() - 1)] {
        match cut {
            None => fs::remove_file(packs.join(&lost)).expect("removed"),
            Some(len) => fs::write(packs.join(&lost), &bytes[..len]).expect("cut"),
        }
        let found = sandbox.hsm(alone).exits(4);
        assert_eq!(found.summary()["missing_files"], 1, "{}", found.stdout());
        assert!(found.stdout().contains("/tree/lost"), "{}", found.stdout());
        assert!(!found.stdout().contains("/tree/kept"), "{}", found.stdout());
    }
    fs::write(packs.join(&lost), &bytes).expect("put back");
    sandbox.hsm(alone).succeeds();
}

#[test]
fn another_store_and_a_damaged_manifest_are_refused() {
    let (one, other) = (sandbox(), sandbox());
    one.hsm(["manifest", "-o", &rows(&one)]).succeeds();
    let url = other.store_url();
    let refused = one.hsm(["manifest", "--check", &rows(&one), "--store", &url]).exits(1);
    refused.complains(&["is of the store", "--store with the url"]);
    let text = fs::read_to_string(rows(&one)).expect("the manifest");
    let cut: Vec<&str> = text.lines().take(2).collect();
    fs::write(rows(&one), cut.join("\n") + "\n").expect("cut off");
    check(&one).exits(1).complains(&["line 2 of the manifest: the end is missing"]);
}

#[test]
fn a_log_that_lost_its_end_is_a_problem() {
    let sandbox = sandbox();
    sandbox.hsm(["manifest", "-o", &rows(&sandbox)]).succeeds();
    let text = fs::read_to_string(rows(&sandbox)).expect("the manifest");
    let seq = text.split("\"seq\":").nth(1).and_then(|rest| rest.split(',').next()).expect("seq");
    let later = text.replace(&format!("\"seq\":{seq},"), "\"seq\":4711,");
    fs::write(rows(&sandbox), later).expect("as if more had been there");
    let found = check(&sandbox).exits(4);
    assert!(found.stdout().contains("the manifest relies on 4711"), "{}", found.stdout());
}

/// The trap: a backup that is kept for a year needs what the store had then.
#[test]
fn a_snapshot_keeps_for_the_backup_what_collections_would_take() {
    let mut sandbox = sandbox();
    let config = fs::read_to_string(sandbox.config()).expect("the configuration");
    let gc = "[gc]\ngrace = \"1d\"\nsettle = \"0s\"\nmax_share = \"100%\"\n";
    fs::write(sandbox.config(), format!("{config}\n{gc}")).expect("written");
    let create = ["manifest", "--snapshot", "backup 1", "-o", &rows(&sandbox)];
    let made = sandbox.hsm(create).succeeds();
    assert!(made.stdout().contains("kept by the snapshot"), "{}", made.stdout());
    let before = fs::read(rows(&sandbox)).expect("the manifest");
    sandbox.hsm(create).exits(1).complains(&["there is a snapshot", "another name"]);
    assert_eq!(fs::read(rows(&sandbox)).expect("the manifest"), before, "and is not replaced");
    fs::remove_file(sandbox.tree().join("lost")).expect("deleted");
    sandbox.hsm(["tier"]).succeeds();
    let now_ns = Clock::system().now_ns();
    let mut collect_until = |days: std::ops::Range<i64>| {
        for day in days {
            sandbox.set_env("HSM_TEST_NOW", &(now_ns + day * DAY_NS).to_string());
            sandbox.hsm(["scan"]).succeeds();
            sandbox.hsm(["gc"]).succeeds();
        }
        check(&sandbox)
    };
    collect_until(2..6).succeeds();
    // The backup is deleted, and its snapshot with it.
    let now = (now_ns + 6 * DAY_NS).to_string();
    let mut delete = sandbox.command(["snapshot", "delete", "backup 1"]);
    assert!(delete.env("HSM_TEST_NOW", now).status().expect("hsm").success());
    let mut collect_until = |days: std::ops::Range<i64>| {
        for day in days {
            sandbox.set_env("HSM_TEST_NOW", &(now_ns + day * DAY_NS).to_string());
            sandbox.hsm(["scan"]).succeeds();
            sandbox.hsm(["gc"]).succeeds();
        }
        check(&sandbox)
    };
    let found = collect_until(7..12).exits(4).stdout();
    assert!(found.contains("is gone: nothing keeps") && found.contains("/tree/lost"), "{found}");
    assert!(!found.contains("/tree/kept"), "{found}");
}
