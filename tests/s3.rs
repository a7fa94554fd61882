//! The whole job on a bucket: each test runs against a server in this process,
//! and again against a real one where `HSM_TEST_S3_ENDPOINT` names it
//! (tests/support/s3_place.rs has the other variables).

#[path = "support/s3_place.rs"]
mod s3_place;
#[path = "support/s3_server.rs"]
mod s3_server;
mod support;

use hsm::store::{Key, PutOptions, Store};
use s3_place::Place;
use std::collections::BTreeMap;
use support::snapshot::{allocated, assert_same, is_stub, snapshot};
use support::trees::{noise, ordinary, prose, root_traps, traps};

macro_rules! on_both_servers {
    ($($test:ident),* $(,)?) => {
        mod in_process {
            $(#[test] fn $test() { super::$test(&super::Place::in_process()); })*
        }
        mod real {
            $(#[test] fn $test() {
                if let Some(place) = super::Place::real(stringify!($test)) {
                    super::$test(&place);
                }
            })*
        }
    };
}

on_both_servers!(
    a_tree_is_tiered_recalled_and_verified,
    a_second_tier_moves_no_bytes,
    an_encrypted_bucket_holds_no_plain_bytes_and_is_verified_with_its_key_alone,
    a_rule_decides_the_storage_class,
    a_file_of_several_packs_is_sent_in_parts,
    two_servers_share_a_bucket_below_prefixes_of_their_own,
    a_changed_file_is_uploaded_again,
    what_is_needed_no_more_is_collected,
);

#[test]
fn a_locked_object_survives_its_deletion() {
    let Some(place) = Place::real_with_locks("a_locked_object_survives_its_deletion") else {
        return;
    };
    let store = place.store();
    let found = store.protections().expect("the bucket says what it has");
    assert_eq!((found.versioning, found.object_lock), (Some(true), Some(true)));
    let key = Key::new("packs/00/sealed").expect("a key");
    let body: bytes::Bytes = noise(1, 1000).into();
    store.put(&key, body.clone(), &PutOptions::default()).expect("put");
    let (bucket, prefix) = place.url["s3://".len()..].split_once('/').expect("bucket and prefix");
    let full = format!("{prefix}/{key}");
    let locked_until = || {
        s3_place::with_client(&place, async |client| {
            let head = client.head_object().bucket(bucket).key(&full).send().await.expect("head");
            let mode = head.object_lock_mode().map(|mode| mode.as_str().to_owned());
            (mode, head.object_lock_retain_until_date().map(|date| date.secs()))
        })
    };
    assert_eq!(locked_until(), (None, None));

    // A minute: nobody gets rid of it any sooner, this test included.
    let now_s = hsm::clock::Clock::system().now_ns() / 1_000_000_000;
    let lock = |at_ns: i64| store.lock_until(&key, at_ns).expect("lock");
    assert!(lock((now_s + 60) * 1_000_000_000));
    let compliance = || Some("COMPLIANCE".to_owned());
    assert_eq!(locked_until(), (compliance(), Some(now_s + 60)));
    assert!(lock((now_s + 30) * 1_000_000_000), "locked for longer is locked");
    assert_eq!(locked_until(), (compliance(), Some(now_s + 60)), "and it stays so");
    assert!(lock((now_s + 61) * 1_000_000_000 + 1), "moved away, past the moment asked for");
    assert_eq!(locked_until(), (compliance(), Some(now_s + 62)));

    store.delete(&key).expect("a delete hides it");
    assert!(store.head(&key).expect_err("hidden").is_not_found());
    let versions = s3_place::with_client(&place, async |client| {
        let listed = client.list_object_versions().bucket(bucket).prefix(&full).send().await;
        let listed = listed.expect("versions");
        let (version, marker) = (&listed.versions()[0], &listed.delete_markers()[0]);
        let version = version.version_id().expect("an id").to_owned();
        let gone = client.delete_object().bucket(bucket).key(&full).version_id(&version);
        let refused = gone.bypass_governance_retention(true).send().await;
        assert!(format!("{refused:?}").contains("AccessDenied"), "{refused:?}");
        let marker = marker.version_id().expect("an id");
        let lifted = client.delete_object().bucket(bucket).key(&full).version_id(marker);
        lifted.send().await.expect("the marker goes");
        listed.versions().len()
    });
    assert_eq!(versions, 1);
    assert_eq!(store.get(&key, None).expect("it is back"), body);
}

#[test]
fn doctor_says_whether_deletions_can_be_undone() {
    let said = |place: &Place| {
        let sandbox = place.sandbox();
        place.init(&sandbox, &[]);
        let text = sandbox.hsm(["doctor"]).stdout();
        let about = |check: &str| {
            let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(check));
            line.unwrap_or_else(|| panic!("no {check} in:\n{text}")).to_owned()
        };
        (about("versioning"), about("object-lock"))
    };
    let (versioning, lock) = said(&Place::in_process());
    assert!(versioning.contains("does not say") && lock.contains("does not say"));
    if let Some(place) = Place::real("doctor_says_whether_deletions_can_be_undone") {
        let (versioning, lock) = said(&place);
        // Not every server can be asked about versions.
        assert!(!versioning.contains(" on:") && lock.contains("off:"), "{versioning} {lock}");
    }
    if let Some(place) = Place::real_with_locks("doctor_says_whether_deletions_can_be_undone") {
        let (versioning, lock) = said(&place);
        assert!(versioning.contains(" on:") && lock.contains(" on:"), "{versioning} {lock}");
    }
}

fn a_tree_is_tiered_recalled_and_verified(place: &Place) {
    let sandbox = place.sandbox();
    ordinary(&sandbox.tree());
    traps(&sandbox.tree());
    if rustix::process::geteuid().is_root() {
        root_traps(&sandbox.tree());
    }
    let before = snapshot(&sandbox.tree());
    place.init(&sandbox, &[]);
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("large.bin")));
    assert_eq!(allocated(&sandbox.tree().join("large.bin")), 0);
    sandbox.hsm(["verify"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert!(!is_stub(&sandbox.tree().join("large.bin")));
    assert_same(&before, &snapshot(&sandbox.tree()));
    let summary = sandbox.hsm(["verify", "--data", "--json"]).succeeds().summary();
    assert!(summary["packs_read"].as_u64() > Some(0), "{summary}");
}

fn a_second_tier_moves_no_bytes(place: &Place) {
    let sandbox = place.sandbox();
    ordinary(&sandbox.tree());
    let before = snapshot(&sandbox.tree());
    place.init(&sandbox, &[]);
    let first = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    assert!(first["sent_bytes"].as_u64() > Some(9 << 20), "{first}");
    let objects = place.objects("");
    for round in 0..2 {
        place.server.as_ref().map(s3_server::S3Server::take_seen);
        let again = sandbox.hsm(["tier", "--json"]).succeeds().summary();
        assert_eq!(again["sent_bytes"], 0, "round {round}: {again}");
        assert_eq!(objects, place.objects(""), "round {round}");
        let seen = place.server.as_ref().map_or(vec![], s3_server::S3Server::take_seen);
        let writes: Vec<_> = seen.iter().filter(|seen| seen.method != "GET").collect();
        assert!(writes.iter().all(|seen| seen.method == "HEAD"), "round {round}: {writes:?}");
        sandbox.on("recall", &["-r"], &[""]).succeeds();
    }
    assert_same(&before, &snapshot(&sandbox.tree()));
}

fn an_encrypted_bucket_holds_no_plain_bytes_and_is_verified_with_its_key_alone(place: &Place) {
    let sandbox = place.sandbox();
    let text = prose(1, 300_000);
    sandbox.write("secret plans/text", &text);
    sandbox.write("secret plans/noise", &noise(2, 300_000));
    let before = snapshot(&sandbox.tree());
    let key = sandbox.path("home/key");
    let key = key.to_str().expect("a plain path");
    place.init(&sandbox, &["--encrypt", "--key-file", key]);
    sandbox.hsm(["tier"]).succeeds();
    let store = place.store();
    for object in place.objects("") {
        let bytes = store.get(&object.key, None).expect("an object");
        for plain in [&b"secret plans"[..], &noise(2, 300_000)[1000..1064], &text[..64]] {
            let leaks = bytes.windows(plain.len()).any(|window| window == plain);
            assert!(!leaks, "{} holds plain bytes", object.key);
        }
    }
    // Another machine, with nothing but the key.
    let mut stranger = place.sandbox();
    stranger.set_env("AWS_ENDPOINT_URL", &place.endpoint);
    let alone = ["verify", "--store", &place.url, "--data"];
    stranger.hsm(alone).exits(1).complains(&["encrypted", "key", "try:"]);
    let with_key = ["--key-file", key, "--json"];
    let summary = stranger.hsm(alone.iter().chain(&with_key)).succeeds().summary();
    assert!(summary["packs_read"].as_u64() > Some(0), "{summary}");
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
    sandbox.hsm(["verify", "--data"]).succeeds();
}

fn a_rule_decides_the_storage_class(place: &Place) {
    let sandbox = place.sandbox();
    sandbox.write("films/long.mkv", &noise(1, 33 << 20));
    sandbox.write("films/short.mkv", &noise(2, 200_000));
    sandbox.write("notes.txt", &noise(3, 100_000));
    let before = snapshot(&sandbox.tree());
    place.init(&sandbox, &[]);
    let class = place.class();
    let rule = format!(
        "[[rule]]\nname = \"films\"\ninclude = [\"**/*.mkv\"]\naction = \"tier\"\n\
         storage_class = \"{class}\"\n\n[[rule]]"
    );
    sandbox.policy(&support::EAGER_POLICY.replace("[[rule]]", &rule));
    place.server.as_ref().map(s3_server::S3Server::take_seen);
    sandbox.hsm(["tier"]).succeeds();
    let mut bytes_of = BTreeMap::<Option<String>, u64>::new();
    match &place.server {
        Some(server) => {
            for seen in server.take_seen().iter().filter(|seen| seen.uri.contains("packs/")) {
                let class = seen.header("x-amz-storage-class").map(str::to_owned);
                let part = seen.uri.contains("uploadId=");
                let creates = seen.method == "POST" && !part;
                if creates || seen.method == "PUT" && !part {
                    *bytes_of.entry(class).or_default() += 1;
                }
            }
            let films = bytes_of.get(&Some(class)).copied();
            assert_eq!(films, Some(3), "two packs of the long film and a shared one: {bytes_of:?}");
            assert_eq!(bytes_of.get(&None), Some(&1), "{bytes_of:?}");
        }
        None => {
            for object in place.objects("packs/") {
                let info = place.store().head(&object.key).expect("a pack");
                *bytes_of.entry(info.storage_class).or_default() += info.size_bytes;
            }
            assert!(bytes_of.get(&Some(class)) > Some(&(33 << 20)), "{bytes_of:?}");
            assert!(bytes_of.get(&None) < Some(&200_000), "{bytes_of:?}");
        }
    }
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
}

fn a_file_of_several_packs_is_sent_in_parts(place: &Place) {
    let sandbox = place.sandbox();
    sandbox.write("film.mkv", &noise(77, 70 << 20));
    let before = snapshot(&sandbox.tree());
    place.init(&sandbox, &[]);
    place.server.as_ref().map(s3_server::S3Server::take_seen);
    sandbox.hsm(["tier"]).succeeds();
    assert_eq!(allocated(&sandbox.tree().join("film.mkv")), 0);
    assert_eq!(place.objects("packs/").len(), 3);
    if let Some(server) = &place.server {
        let seen = server.take_seen();
        let parts = seen.iter().filter(|seen| seen.uri.contains("partNumber="));
        assert!(parts.clone().count() >= 4, "two packs of 32 MiB in at least two parts each");
        for part in parts {
            assert!(part.header("x-amz-checksum-sha256").is_some(), "{part:?}");
        }
        assert_eq!(server.unfinished_parts(), 0);
    }
    sandbox.on("recall", &[], &["film.mkv"]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
    sandbox.hsm(["verify", "--data"]).succeeds();
}

fn two_servers_share_a_bucket_below_prefixes_of_their_own(place: &Place) {
    let (one, two) = (place.sandbox(), place.sandbox());
    one.write("file", &noise(1, 100_000));
    two.write("file", &noise(2, 100_000));
    place.init(&one, &[]);
    let inner = format!("{}/inner", place.url);
    let options = ["--store", &inner, "--endpoint", &place.endpoint, "--path-style"];
    two.init_with(&options);
    one.hsm(["tier"]).succeeds();
    two.hsm(["tier"]).succeeds();
    for (sandbox, seed) in [(&one, 1), (&two, 2)] {
        let summary = sandbox.hsm(["verify", "--data", "--json"]).succeeds().summary();
        assert_eq!((&summary["packs"], &summary["unowned_objects"]), (&1.into(), &0.into()));
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        assert_eq!(sandbox.read("file"), noise(seed, 100_000));
    }
}

fn a_changed_file_is_uploaded_again(place: &Place) {
    let sandbox = place.sandbox();
    place.init(&sandbox, &[]);
    for seed in 1..4 {
        sandbox.write("report.docx", &noise(seed, 150_000));
        sandbox.hsm(["tier"]).succeeds();
        assert!(is_stub(&sandbox.tree().join("report.docx")));
        sandbox.on("recall", &[], &["report.docx"]).succeeds();
        assert_eq!(sandbox.read("report.docx"), noise(seed, 150_000));
    }
}

fn what_is_needed_no_more_is_collected(place: &Place) {
    let sandbox = place.sandbox();
    place.init(&sandbox, &[]);
    let config = std::fs::read_to_string(sandbox.config()).expect("the configuration");
    let section = "\n[gc]\ngrace = \"0s\"\nsettle = \"0s\"\nmax_share = \"100%\"\n";
    std::fs::write(sandbox.config(), format!("{config}{section}")).expect("written");
    for version in 0..3 {
        sandbox.write("file", &noise(version, 200_000));
        sandbox.write("kept", &noise(77, 100_000));
        sandbox.hsm(["tier"]).succeeds();
        sandbox.on("recall", &["-r"], &[""]).succeeds();
    }
    sandbox.hsm(["tier"]).succeeds();
    let packs = || {
        let mut found = vec![];
        let visit = &mut |object: hsm::store::ObjectInfo| found.push(object.key.to_string());
        place.store().list("packs/", None, visit).expect("a listing");
        found
    };
    let before = packs();
    let first = sandbox.hsm(["gc", "--json"]);
    if first.code() != 0 {
        // A server that replaces objects: nobody else may collect there.
        first.exits(1).complains(&["could not be told apart", "only_here = true"]);
        let section = format!("{section}only_here = true\n");
        std::fs::write(sandbox.config(), format!("{config}{section}")).expect("written");
        sandbox.hsm(["gc"]).succeeds();
    }
    assert!(packs().len() >= before.len(), "never in the first run");
    for _ in 0..3 {
        sandbox.hsm(["gc"]).succeeds();
    }
    let left = packs();
    assert!(left.len() <= 2 && left.len() < before.len(), "{before:?} {left:?}");
    sandbox.hsm(["verify", "--data"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert!(
        sandbox.read("file") == noise(2, 200_000) && sandbox.read("kept") == noise(77, 100_000)
    );
}
