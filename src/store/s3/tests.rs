//! The S3 backend against an in-process server, well-behaved and not.

use super::super::contract::{self, collect_keys, key, noise};
use super::super::s3_server::{ACCESS_KEY_ID, BUCKET, Misdeed, S3Server, SECRET_ACCESS_KEY, Seen};
use super::super::{
    AccessKey, Capabilities, Faulty, Limited, RetryPlan, Retrying, open, probe, prove,
};
use super::*;
use crate::clock::Stopwatch;
use crate::errand::Errand;
use crate::ids::PackId;
use crate::manifest::ProofMethod;
use crate::monitor::Stop;
use crate::store::sums::sha256;

const NEW: PutOptions = PutOptions { create_new: true, storage_class: None };
const REPLACE: PutOptions = PutOptions { create_new: false, storage_class: None };

const QUICK: RetryPlan = RetryPlan {
    retries: 3,
    first_wait: Duration::from_millis(1),
    longest_wait: Duration::from_millis(5),
};

fn options_for(server: &S3Server) -> StoreOptions {
    StoreOptions {
        endpoint: Some(server.endpoint.clone()),
        access_key: Some(AccessKey {
            id: ACCESS_KEY_ID.to_owned(),
            secret: SECRET_ACCESS_KEY.to_owned(),
        }),
        retries: 0,
        ..StoreOptions::new(format!("s3://{BUCKET}/cold"))
    }
}

fn bare(options: &StoreOptions) -> S3Store {
    S3Store::connect(BUCKET, "cold", options).expect("connect")
}

fn server_and_store() -> (S3Server, S3Store) {
    let server = S3Server::start();
    let store = bare(&options_for(&server));
    (server, store)
}

fn kind<T: std::fmt::Debug>(answer: Result<T>) -> ErrorKind {
    answer.expect_err("the server misbehaves").kind()
}

fn writes(seen: &[Seen]) -> impl Iterator<Item = &Seen> {
    seen.iter().filter(|seen| seen.method == "PUT")
}

#[test]
fn a_bucket_keeps_the_contract() {
    let (_server, store) = server_and_store();
    contract::check(&store);
    contract::check_paging(&store, 1005);
}

#[test]
fn a_whole_bucket_opened_by_url_keeps_the_contract() {
    let server = S3Server::start();
    let options = StoreOptions { url: format!("s3://{BUCKET}"), ..options_for(&server) };
    contract::check(&*open(&options).expect("open"));
}

#[test]
fn wrappers_keep_the_contract() {
    let (_server, store) = server_and_store();
    let limited = Limited::new(Faulty::lenient(store), 1 << 40, Stop::new());
    contract::check(&Retrying::new(limited, QUICK, Stop::new()));
}

#[test]
fn a_real_server_keeps_the_contract() {
    let Ok(endpoint) = std::env::var("HSM_TEST_S3_ENDPOINT") else {
        eprintln!("SKIPPED a_real_server_keeps_the_contract: HSM_TEST_S3_ENDPOINT is not set");
        return;
    };
    let bucket = std::env::var("HSM_TEST_S3_BUCKET").expect("HSM_TEST_S3_BUCKET");
    let options = StoreOptions {
        endpoint: Some(endpoint),
        ..StoreOptions::new(format!("s3://{bucket}/hsm-contract"))
    };
    let connected = S3Store::connect(&bucket, "hsm-contract", &options).expect("connect");
    // It may be there already.
    let _ = connected.runtime.block_on(connected.client.create_bucket().bucket(&bucket).send());
    let store = open(&options).expect("open");
    contract::check(&*store);
    contract::check_paging(&*store, 1005);
    eprintln!("{}: {:?}", options.url, contract::check_proofs(&*store));
    let store = connected;
    check_sweep(&store);
    check_archive_class(&store);
}

/// Stale multipart uploads go, young ones stay.
fn check_sweep(store: &S3Store) {
    let abandoned = key("packs/abandoned");
    store.runtime.block_on(store.create_upload(&abandoned, None)).expect("an upload");
    match store.sweep(1) {
        Ok(swept) => assert_eq!(swept.removed, 0, "nothing is that old"),
        Err(error) => return assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
    }
    assert!(store.sweep(i64::MAX).expect("sweep").removed >= 1, "the abandoned upload");
    assert_eq!(store.sweep(i64::MAX).expect("sweep").removed, 0, "nothing is left");
}

/// Where archive classes exist, an archived object has its own kind.
fn check_archive_class(store: &S3Store) {
    let cold = key("packs/cold");
    let glacier = PutOptions { storage_class: Some("GLACIER".to_owned()), ..REPLACE };
    if let Err(error) = store.put(&cold, noise(10, 1), &glacier) {
        return assert_eq!(error.kind(), ErrorKind::BadRequest, "{error}");
    }
    let listed = store.head(&cold).expect("head").storage_class;
    let got = store.get(&cold, None);
    store.delete(&cold).expect("delete");
    if listed.as_deref() == Some("GLACIER") {
        assert_eq!(kind(got), ErrorKind::Archived);
    }
}

#[test]
fn a_body_is_sent_whole_with_its_sum_and_nothing_needless() {
    let (server, store) = server_and_store();
    let body = noise(1000, 1);
    server.take_seen();
    let class = PutOptions { storage_class: Some("STANDARD".to_owned()), ..REPLACE };
    store.put(&key("packs/a"), body.clone(), &class).expect("put");
    let seen = server.take_seen();
    let sent = writes(&seen).next().expect("a PUT");
    let sum = super::super::Sha256Sum::Whole(sha256(&body)).to_string();
    assert_eq!(sent.header("x-amz-checksum-sha256"), Some(sum.as_str()));
    assert_eq!(sent.header("content-length"), Some("1000"));
    for needless in [
        "x-amz-trailer",
        "content-encoding",
        "x-amz-storage-class",
        "if-none-match",
        "x-amz-server-side-encryption",
        "transfer-encoding",
    ] {
        assert_eq!(sent.header(needless), None, "{needless}");
    }
    assert_eq!(sent.header("x-amz-content-sha256"), Some(hex::encode(sha256(&body)).as_str()));
}

#[test]
fn class_and_encryption_are_sent_where_they_are_wanted() {
    let server = S3Server::start();
    let store = bare(&StoreOptions {
        storage_class: Some("REDUCED_REDUNDANCY".to_owned()),
        sse: Some("AES256".to_owned()),
        ..options_for(&server)
    });
    store.put(&key("packs/a"), noise(10, 1), &REPLACE).expect("put");
    store.put(&key("packs/b"), noise(33 << 20, 1), &REPLACE).expect("put");
    let seen = server.take_seen();
    for sent in [&seen[0], &seen[1]] {
        assert_eq!(sent.header("x-amz-storage-class"), Some("REDUCED_REDUNDANCY"));
        assert_eq!(sent.header("x-amz-server-side-encryption"), Some("AES256"));
    }
    assert!(seen[1].method == "POST" && seen[1].uri.contains("uploads"));
}

#[test]
fn parts_carry_sums_unless_the_server_cannot_have_them() {
    for (checksums, wanted) in [(Checksums::Always, true), (Checksums::WhenRequired, false)] {
        let server = S3Server::start();
        let store = bare(&StoreOptions { checksums, ..options_for(&server) });
        let receipt = store.put(&key("packs/a"), noise(33 << 20, 1), &REPLACE).expect("put");
        assert_eq!(receipt.sent_sha256.is_some(), wanted);
        let seen = server.take_seen();
        assert_eq!(seen[0].header("x-amz-checksum-algorithm").is_some(), wanted);
        assert_eq!(writes(&seen).count(), 2);
        for part in writes(&seen) {
            assert_eq!(part.header("x-amz-checksum-sha256").is_some(), wanted);
            assert_eq!(part.header("x-amz-trailer"), None);
        }
    }
}

#[test]
fn the_servers_refusals_have_their_kinds() {
    let (server, store) = server_and_store();
    let a = key("packs/a");
    store.put(&a, noise(10, 1), &REPLACE).expect("put");
    for (misdeed, wanted) in [
        (Misdeed::SlowDown, ErrorKind::Throttled),
        (Misdeed::Forbid, ErrorKind::Denied),
        (Misdeed::Full, ErrorKind::Full),
        (Misdeed::CutBefore, ErrorKind::Transient),
    ] {
        server.misbehave(None, u32::MAX, misdeed);
        assert_eq!(kind(store.put(&a, noise(10, 1), &REPLACE)), wanted);
        assert_eq!(kind(store.get(&a, None)), wanted);
        assert_eq!(kind(store.head(&a)), wanted);
        assert_eq!(kind(store.list("", None, &mut |_| ())), wanted);
        assert_eq!(kind(store.delete(&a)), wanted);
        server.behave();
    }
}

#[test]
fn passing_failures_are_ridden_out_by_the_retry() {
    let (server, store) = server_and_store();
    let store = Retrying::new(store, QUICK, Stop::new());
    server.misbehave(None, 3, Misdeed::SlowDown);
    store.put(&key("packs/a"), noise(10, 1), &NEW).expect("the fourth try");
    server.misbehave(Some("GET"), 1, Misdeed::CutBefore);
    server.misbehave(Some("GET"), 1, Misdeed::TruncateBody);
    assert_eq!(store.get(&key("packs/a"), None).expect("a later try"), noise(10, 1));
    server.misbehave(Some("PUT"), 1, Misdeed::CutAfter);
    store.put(&key("packs/b"), noise(10, 2), &NEW).expect("its own object is no conflict");
}

#[test]
fn a_broken_body_is_never_a_short_object() {
    let (server, store) = server_and_store();
    store.put(&key("packs/a"), noise(100_000, 1), &REPLACE).expect("put");
    server.misbehave(Some("GET"), 2, Misdeed::TruncateBody);
    assert_eq!(kind(store.get(&key("packs/a"), None)), ErrorKind::Transient);
    assert_eq!(kind(store.get(&key("packs/a"), Some(0..5000))), ErrorKind::Transient);
    server.misbehave(Some("GET"), 1, Misdeed::ShortenBody);
    assert_eq!(kind(store.get(&key("packs/a"), Some(0..5000))), ErrorKind::Integrity);
}

#[test]
fn nobody_there_is_unreachable_and_named() {
    let (mut server, store) = server_and_store();
    store.put(&key("packs/a"), noise(10, 1), &REPLACE).expect("put");
    server.stop();
    let store = bare(&options_for(&server));
    let error = store.head(&key("packs/a")).expect_err("nobody there");
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains(&server.endpoint), "{error}");
}

#[test]
fn a_missing_bucket_is_a_missing_store() {
    let (server, store) = server_and_store();
    server.remove_bucket();
    for error in [
        store.get(&key("packs/a"), None).expect_err("no bucket"),
        store.list("", None, &mut |_| ()).expect_err("no bucket"),
        store.head(&key("packs/a")).expect_err("no bucket"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains("bucket"), "{error}");
    }
}

#[test]
fn wrong_credentials_are_denied() {
    let server = S3Server::start();
    let key_pair = AccessKey { id: ACCESS_KEY_ID.to_owned(), secret: "wrong".to_owned() };
    let store = bare(&StoreOptions { access_key: Some(key_pair), ..options_for(&server) });
    assert_eq!(kind(store.get(&key("packs/a"), None)), ErrorKind::Denied);
    assert_eq!(kind(store.put(&key("packs/a"), noise(10, 1), &NEW)), ErrorKind::Denied);
}

#[test]
fn creation_replaces_nothing_even_where_conditions_are_unknown() {
    for misdeed in [Misdeed::RefuseConditions, Misdeed::IgnoreConditions] {
        let (server, store) = server_and_store();
        server.misbehave(None, u32::MAX, misdeed);
        store.put(&key("packs/a"), noise(10, 1), &NEW).expect("a new name");
        let answer = store.put(&key("packs/a"), noise(10, 2), &NEW);
        assert_eq!(kind(answer), ErrorKind::AlreadyExists, "{misdeed:?}");
        assert_eq!(store.get(&key("packs/a"), None).expect("get"), noise(10, 1));
        assert!(!probe(&store, 1).expect("probe").conditional_create, "{misdeed:?}");
    }
}

#[test]
fn a_proven_condition_costs_no_look_beforehand() {
    let server = S3Server::start();
    let store = bare(&StoreOptions { conditional_create: Some(true), ..options_for(&server) });
    store.put(&key("packs/a"), noise(10, 1), &NEW).expect("put");
    assert_eq!(kind(store.put(&key("packs/a"), noise(9, 2), &NEW)), ErrorKind::AlreadyExists);
    let methods: Vec<_> = server.take_seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["PUT", "PUT"]);
}

#[test]
fn a_bucket_without_locks_and_versions_says_so() {
    let (server, store) = server_and_store();
    store.put(&key("packs/a"), noise(10, 1), &REPLACE).expect("put");
    assert!(!store.lock_until(&key("packs/a"), i64::MAX / 2).expect("no lock, no error"));
    assert_eq!(store.protections().expect("ask"), Protections::default());
    let missing = store.lock_until(&key("packs/b"), i64::MAX / 2);
    assert_eq!(kind(missing), ErrorKind::NotFound);
    server.misbehave(None, u32::MAX, Misdeed::SlowDown);
    assert_eq!(kind(store.lock_until(&key("packs/a"), 1)), ErrorKind::Throttled);
    assert_eq!(kind(store.protections()), ErrorKind::Throttled);
    server.behave();
    // Who may not ask does not know.
    server.misbehave(Some("GET"), u32::MAX, Misdeed::Forbid);
    assert_eq!(store.protections().expect("ask"), Protections::default());
}

const XML: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

#[test]
fn versions_and_locks_are_asked_for() {
    let (server, store) = server_and_store();
    let versioning = |status: &str| {
        let body = format!("<VersioningConfiguration {XML}>{status}</VersioningConfiguration>");
        server.answer("versioning", 200, &body);
        store.protections().expect("ask").versioning
    };
    assert_eq!(versioning("<Status>Enabled</Status>"), Some(true));
    assert_eq!(versioning("<Status>Suspended</Status>"), Some(false));
    assert_eq!(versioning(""), Some(false), "as a bucket that never had it");
    server.answer("versioning", 200, "<Nonsense/>");
    assert_eq!(store.protections().expect("ask").versioning, None);
    let none = "<Error><Code>ObjectLockConfigurationNotFoundError</Code></Error>";
    server.answer("object-lock", 404, none);
    assert_eq!(store.protections().expect("ask").object_lock, Some(false));
    server.answer("object-lock", 404, "<Error><Code>NoSuchBucket</Code></Error>");
    assert_eq!(kind(store.protections()), ErrorKind::Unreachable);
    let on = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
    let on = format!("<ObjectLockConfiguration {XML}>{on}</ObjectLockConfiguration>");
    server.answer("object-lock", 200, &on);
    let found = store.protections().expect("ask");
    assert_eq!((found.object_lock, found.versioning), (Some(true), Some(true)));
}

#[test]
fn no_refusal_to_lock_is_taken_for_a_bucket_without_locks() {
    let (server, store) = server_and_store();
    let a = key("packs/a");
    store.put(&a, noise(10, 1), &REPLACE).expect("put");
    server.answer("retention", 400, "<Error><Code>InvalidRequest</Code></Error>");
    assert!(!store.lock_until(&a, 1).expect("nobody says that there are locks"));
    let on = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
    let on = format!("<ObjectLockConfiguration {XML}>{on}</ObjectLockConfiguration>");
    server.answer("object-lock", 200, &on);
    assert_eq!(kind(store.lock_until(&a, 1)), ErrorKind::BadRequest);
    server.answer("retention", 403, "<Error><Code>AccessDenied</Code></Error>");
    assert_eq!(kind(store.lock_until(&a, 1)), ErrorKind::Denied);
    server.answer("retention", 200, "");
    server.take_seen();
    assert!(store.lock_until(&a, 1).expect("locked"));
    let sent = server.take_seen();
    let lock = writes(&sent).next().expect("a PUT");
    assert!(lock.uri.contains("retention"), "{lock:?}");
    assert!(lock.header("x-amz-checksum-crc32").is_some(), "S3 demands a sum: {lock:?}");
}

#[test]
fn the_probe_finds_what_the_server_does() {
    let (server, store) = server_and_store();
    let honest = Capabilities {
        refuses_wrong_checksum: true,
        // s3s-fs neither checks nor keeps the sums of parts.
        refuses_wrong_part_checksum: false,
        returns_checksum: true,
        etag_is_md5: true,
        conditional_create: true,
        lists_own_writes: true,
        exact_ranges: true,
    };
    assert_eq!(probe(&store, 1).expect("probe"), honest);
    server.misbehave(None, u32::MAX, Misdeed::IgnoreSums);
    let wanted = Capabilities { refuses_wrong_checksum: false, returns_checksum: false, ..honest };
    assert_eq!(probe(&store, 2).expect("probe"), wanted);
    assert_eq!(collect_keys(&store, "probe/", None).expect("list"), [""; 0]);
}

#[test]
fn an_upload_answered_200_with_other_bytes_is_found_out() {
    let (server, store) = server_and_store();
    for (len, misdeed) in [(1000, Misdeed::StoreOther), (33 << 20, Misdeed::StoreOther)] {
        let pack = PackId::fresh(1);
        let key = key(&format!("packs/{pack}"));
        let sent = noise(len, 1);
        server.misbehave(None, u32::MAX, misdeed);
        let receipt = store.put(&key, sent.clone(), &NEW).expect("a lie");
        server.behave();
        let proof = prove(&store, &Capabilities::default(), &receipt, &sent, pack, 5);
        assert_eq!(kind(proof), ErrorKind::Integrity);
    }
    server.misbehave(None, u32::MAX, Misdeed::StoreOther);
    assert_eq!(kind(probe(&store, 1)), ErrorKind::Integrity, "and nothing is kept there");
}

#[test]
fn bytes_spoilt_on_the_way_back_prove_nothing() {
    let (server, store) = server_and_store();
    let pack = PackId::fresh(1);
    let sent = noise(1000, 1);
    let receipt = store.put(&key(&format!("packs/{pack}")), sent.clone(), &NEW).expect("put");
    server.misbehave(Some("GET"), 1, Misdeed::FlipBody);
    let proof = prove(&store, &Capabilities::default(), &receipt, &sent, pack, 5);
    assert_eq!(kind(proof), ErrorKind::Integrity);
}

#[test]
fn a_server_that_checks_sums_needs_no_read_back() {
    let (server, store) = server_and_store();
    let found = probe(&store, 1).expect("probe");
    for (found, method) in [
        (found, ProofMethod::ServerChecksum),
        (Capabilities { returns_checksum: false, ..found }, ProofMethod::Etag),
    ] {
        let pack = PackId::fresh(1);
        let sent = noise(1000, 1);
        let receipt = store.put(&key(&format!("packs/{pack}")), sent.clone(), &NEW).expect("put");
        server.take_seen();
        let evidence = prove(&store, &found, &receipt, &sent, pack, 5).expect("proof");
        assert_eq!(evidence.method(), method);
        let methods: Vec<_> = server.take_seen().into_iter().map(|seen| seen.method).collect();
        assert_eq!(methods, ["HEAD"], "a fresh request, and no more");
    }
}

#[test]
fn a_failed_multipart_upload_is_aborted_and_leaves_nothing() {
    let (server, store) = server_and_store();
    server.misbehave(Some("PUT"), 1, Misdeed::Full);
    assert_eq!(kind(store.put(&key("packs/a"), noise(33 << 20, 1), &REPLACE)), ErrorKind::Full);
    assert!(server.take_seen().iter().any(|seen| seen.method == "DELETE"), "an abort");
    assert!(store.head(&key("packs/a")).expect_err("never finished").is_not_found());
    assert_eq!(server.unfinished_parts(), 0);
}

/// Far less than the client's own timeouts.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Stops the errand once the server has been asked, or has sent something.
fn stopped_when<T: Send>(
    ready: impl Fn(&Errand) -> bool,
    work: impl FnOnce() -> Result<T> + Send,
) -> (Result<T>, Duration) {
    let stop = Stop::new();
    let errand = Errand::new(stop.clone());
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| errand.run(work));
        while !ready(&errand) {
            assert!(!asking.is_finished(), "it did not wait");
            std::thread::yield_now();
        }
        let clock = Stopwatch::start();
        stop.request();
        (asking.join().expect("no panic"), clock.elapsed())
    })
}

#[test]
fn a_server_that_does_not_answer_is_left_when_nobody_wants_it_any_more() {
    let (server, store) = server_and_store();
    let store = Retrying::new(store, QUICK, Stop::new());
    let a = key("packs/a");
    store.put(&a, noise(100, 1), &REPLACE).expect("put");
    server.misbehave(None, u32::MAX, Misdeed::Stall);
    let asked = |_: &Errand| !server.take_seen().is_empty();
    let check = |(answer, after): (Result<()>, Duration)| {
        assert_eq!(kind(answer), ErrorKind::Stopped);
        assert!(after < AT_ONCE, "after {after:?}");
    };
    server.take_seen();
    check(stopped_when(asked, || store.get(&a, None).map(drop)));
    check(stopped_when(asked, || store.head(&a).map(drop)));
    check(stopped_when(asked, || store.list("", None, &mut |_| ())));
    server.behave();
    assert_eq!(store.get(&a, None).expect("it is well again"), noise(100, 1));
}

#[test]
fn what_a_slow_server_sends_is_counted_as_it_comes() {
    let (server, store) = server_and_store();
    store.put(&key("packs/a"), noise(1 << 20, 1), &REPLACE).expect("put");
    server.misbehave(Some("GET"), 1, Misdeed::Drip);
    let some = |errand: &Errand| errand.arrived_bytes() > 0;
    let (answer, after) = stopped_when(some, || store.get(&key("packs/a"), None));
    assert_eq!(kind(answer), ErrorKind::Stopped);
    assert!(after < AT_ONCE, "in the middle of a body: after {after:?}");
}
