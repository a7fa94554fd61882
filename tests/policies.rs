//! The policies that come with hsm, each run as a newcomer would: checked, shown,
//! planned on a real tree, and executed.

mod support;

use std::path::PathBuf;
use support::Sandbox;
use support::snapshot::{assert_same, snapshot};
use support::trees::{ordinary, traps};

fn shipped() -> Vec<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn there_are_at_least_six() {
    assert!(shipped().len() >= 6, "{:?}", shipped());
}

#[test]
fn each_is_clean_and_plans_a_real_tree() {
    let sandbox = Sandbox::empty();
    ordinary(&sandbox.tree());
    traps(&sandbox.tree());
    sandbox.init();
    sandbox.hsm(["scan"]).succeeds();
    for file in shipped() {
        let file = file.to_str().expect("a plain path");
        sandbox.hsm(["policy", "check", file]).succeeds();
        sandbox.hsm(["plan", "--policy", file]).succeeds();
        let later = sandbox
            .hsm(["plan", "--json", "--as-of", "now+3000d", "--policy", file])
            .succeeds()
            .summary();
        let wanted = later["upload_files"].as_u64().expect("a number");
        let selects = ["backup-only", "home-directories", "low-disk", "research-data"];
        if selects.iter().any(|name| file.contains(name)) {
            assert!(wanted > 0, "{file} selects nothing of an ordinary tree: {later}");
        }
    }
}

#[test]
fn each_is_executed_and_harms_nothing() {
    let mut uploaded = 0;
    for file in shipped() {
        let mut sandbox = Sandbox::empty();
        ordinary(&sandbox.tree());
        traps(&sandbox.tree());
        sandbox.init();
        // Years later everything is cold.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let years = std::time::Duration::from_secs(3000 * 86_400);
        sandbox.set_env("HSM_TEST_NOW", &(now + years).as_nanos().to_string());
        let before = snapshot(&sandbox.tree());
        let file = file.to_str().expect("a plain path");
        let ran = sandbox.hsm(["tier", "--json", "--policy", file]);
        // Without a guard a policy that stubs ends with a refusal, after its
        // uploads.
        assert!([0, 1].contains(&ran.code()), "{file}: {}", ran.stderr());
        if ran.code() == 1 {
            assert!(ran.stderr().contains("unguarded = true"), "{file}: {}", ran.stderr());
        }
        assert_same(&before, &snapshot(&sandbox.tree()));
        let verified = sandbox.hsm(["verify", "--data", "--json"]).succeeds().summary();
        uploaded += verified["files"].as_u64().expect("a number");
    }
    assert!(uploaded > 20, "the policies uploaded {uploaded} files together");
}
