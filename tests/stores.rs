//! The whole job on stores beyond directories and S3, with the real `hsm` and real
//! servers (tests/servers/start): init, doctor, tier, recall, verify, restore on a
//! machine that knows only the store, and a store that is taken away.

#[path = "support/store_place.rs"]
mod store_place;
mod support;

use std::path::Path;
use store_place::StorePlace;
use support::snapshot::{Snapshot, allocated, assert_same, is_stub, snapshot};
use support::trees::ordinary;
use support::{Ran, Sandbox};

fn sandbox_at(place: &StorePlace) -> (Sandbox, Vec<String>) {
    let mut sandbox = Sandbox::empty();
    for (name, value) in &place.variables {
        sandbox.set_env(name, value);
    }
    let mut options = vec!["--store".to_owned(), place.url.clone()];
    for (name, value) in [("--endpoint", &place.endpoint), ("--region", &place.region)] {
        options.extend(value.iter().flat_map(|value| [name.to_owned(), value.clone()]));
    }
    (sandbox, options)
}

fn the_whole_job_at(name: &str) {
    let now_ns = hsm::clock::Clock::system().now_ns();
    let prefix = format!("server-{}", hsm::ids::PackId::fresh(now_ns));
    let Some(place) = StorePlace::find(name, "the whole job", &prefix) else { return };
    let (sandbox, options) = sandbox_at(&place);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    ordinary(&sandbox.tree());
    let before = below(&sandbox.tree());
    sandbox.init_with(&options);
    let config = std::fs::read_to_string(sandbox.config()).expect("the configuration");
    for secret in place.variables.iter().filter(|(name, _)| is_secret(name)) {
        assert!(!config.contains(secret.1), "{} is in the configuration", secret.0);
    }
    let doctor = sandbox.hsm(["doctor"]).stdout();
    assert!(doctor.contains("copies are proven by"), "{doctor}");

    sandbox.hsm(["tier"]).succeeds();
    let large = sandbox.tree().join("large.bin");
    assert!(is_stub(&large) && allocated(&large) == 0);
    sandbox.hsm(["verify"]).succeeds();
    let restored = sandbox.path("restored");
    std::fs::create_dir(&restored).expect("a fresh directory");
    let mut restore = vec!["restore"];
    restore.extend(&options);
    let to = restored.to_str().expect("a plain path");
    sandbox.hsm(restore.iter().chain(&["--to", to]).copied()).succeeds();
    let came_back = restored.join(sandbox.tree().strip_prefix("/").expect("absolute"));
    assert_same(&before, &below(&came_back));
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert!(!is_stub(&large));
    assert_same(&before, &below(&sandbox.tree()));
    sandbox.hsm(["verify", "--data"]).succeeds();
    let again = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert_eq!(again["sent_bytes"], 0, "{again}");
}

/// Everything but the directory itself, which a restore does not own.
fn below(tree: &Path) -> Snapshot {
    let mut found = snapshot(tree);
    found.retain(|name, _| !name.as_os_str().is_empty());
    found
}

fn is_secret(name: &str) -> bool {
    ["KEY", "PASSWORD", "SECRET", "TOKEN", "CREDENTIAL"].iter().any(|part| name.contains(part))
}

#[test]
fn swift_with_auth_v1() {
    the_whole_job_at("swift-v1");
}

#[test]
fn swift_behind_keystone() {
    the_whole_job_at("swift-v3");
}

#[test]
fn missing_credentials_are_named_and_nothing_is_written() {
    let sandbox = Sandbox::empty();
    init_at(&sandbox, "swift://cold").exits(1).complains(&[
        "no Swift credentials",
        "ST_USER",
        "OS_USERNAME",
    ]);
    assert!(!sandbox.config().exists());
}

fn init_at(sandbox: &Sandbox, url: &str) -> Ran {
    let (state, tree) = (sandbox.state_dir(), sandbox.tree());
    let [state, tree] = [&state, &tree].map(|path| path.to_str().expect("a plain path"));
    sandbox.hsm(["init", "--state-dir", state, "--store", url, tree])
}

/// What only a build with the feature `more-stores` can open.
#[cfg(feature = "more-stores")]
mod more_stores {
    use super::the_whole_job_at;

    #[test]
    fn azure_blob() {
        the_whole_job_at("azblob");
    }

    #[test]
    fn sftp() {
        the_whole_job_at("sftp");
    }

    #[test]
    fn webdav() {
        the_whole_job_at("webdav");
    }
}

#[cfg(not(feature = "more-stores"))]
#[test]
fn a_store_of_another_build_names_the_feature() {
    let sandbox = Sandbox::empty();
    for url in
        ["sftp://ann@host/dir", "webdav+https://host/dir", "azblob://container", "gcs://bucket/p"]
    {
        init_at(&sandbox, url).exits(1).complains(&["built without", "--features more-stores"]);
        assert!(!sandbox.config().exists());
    }
}
