//! The Swift backend against real servers, and against a double that misbehaves.

use super::super::contract::{self, collect_keys, key, noise};
use super::super::store_place::StorePlace;
use super::super::swift_server::{Misdeed, SwiftServer};
use super::super::{Capabilities, RetryPlan, Retrying, Variables, open, probe, prove};
use super::*;
use crate::clock::{Clock, Stopwatch};
use crate::errand::Errand;
use crate::ids::PackId;
use crate::manifest::ProofMethod;
use crate::monitor::Stop;
use std::time::Duration;

const NEW: PutOptions = PutOptions { create_new: true, storage_class: None };
const REPLACE: PutOptions = PutOptions { create_new: false, storage_class: None };

fn options_for(server: &SwiftServer) -> StoreOptions {
    StoreOptions {
        endpoint: Some(server.auth_url_v1()),
        variables: Variables::from([("ST_USER", "test:tester"), ("ST_KEY", "testing")]),
        retries: 0,
        ..StoreOptions::new("swift://cold/files1")
    }
}

fn options_v3(server: &SwiftServer) -> StoreOptions {
    StoreOptions {
        endpoint: Some(server.auth_url_v3()),
        region: Some("near".to_owned()),
        variables: Variables::from([
            ("OS_USERNAME", "ann"),
            ("OS_PASSWORD", "testing"),
            ("OS_PROJECT_NAME", "media"),
        ]),
        ..options_for(server)
    }
}

fn bare(options: &StoreOptions) -> SwiftStore {
    SwiftStore::connect("cold", "files1", options).expect("connect")
}

fn server_and_store() -> (SwiftServer, SwiftStore) {
    let server = SwiftServer::start("cold");
    let store = bare(&options_for(&server));
    (server, store)
}

fn kind<T: std::fmt::Debug>(answer: Result<T>) -> ErrorKind {
    answer.expect_err("the server misbehaves").kind()
}

/// The contract on the real servers of this name.
fn check_real(name: &str) {
    let prefix = format!("a prefix/{}", PackId::fresh(Clock::system().now_ns()));
    let Some(place) = StorePlace::find(name, "the contract", &prefix) else { return };
    let pairs = place.variables.iter().map(|(name, value)| (name.into(), value.into()));
    let options = StoreOptions {
        endpoint: place.endpoint.clone(),
        region: place.region.clone(),
        variables: Variables::among(pairs),
        ..StoreOptions::new(&place.url)
    };
    let missing = SwiftStore::connect("never-made", "a prefix", &options).expect("connect");
    check_no_container(&missing);
    let store = open(&options).expect("open");
    contract::check(&*store);
    contract::check_paging(&*store, 205);
    let found = contract::check_proofs(&*store);
    let wanted = Capabilities {
        refuses_wrong_checksum: true,
        etag_is_md5: true,
        lists_own_writes: true,
        exact_ranges: true,
        ..Capabilities::default()
    };
    assert_eq!(found, wanted);
    let protected = store.protections().expect("ask");
    assert_eq!(protected, Protections { versioning: Some(false), object_lock: None });
    assert_eq!(collect_keys(&*store, "", None).expect("list"), [""; 0]);
}

fn check_no_container(store: &SwiftStore) {
    for error in [
        store.get(&key("packs/a"), None).expect_err("no container"),
        store.head(&key("packs/a")).expect_err("no container"),
        store.put(&key("packs/a"), noise(1, 1), &NEW).expect_err("no container"),
        store.delete(&key("packs/a")).expect_err("no container"),
        store.list("", None, &mut |_| ()).expect_err("no container"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains("swift post"), "{error}");
    }
}

#[test]
fn a_real_swift_with_auth_v1_keeps_the_contract() {
    check_real("swift-v1");
}

#[test]
fn a_real_swift_behind_keystone_keeps_the_contract() {
    check_real("swift-v3");
}

#[test]
fn an_application_credential_opens_a_real_swift() {
    let name = "swift-v3-application";
    let Some(place) = StorePlace::find(name, "a round trip", "credential") else { return };
    let pairs = place.variables.iter().map(|(name, value)| (name.into(), value.into()));
    let store = open(&StoreOptions {
        endpoint: place.endpoint.clone(),
        region: place.region.clone(),
        variables: Variables::among(pairs),
        ..StoreOptions::new(&place.url)
    });
    let store = store.expect("open");
    store.put(&key("packs/a"), noise(1000, 1), &REPLACE).expect("put");
    assert_eq!(store.get(&key("packs/a"), None).expect("get"), noise(1000, 1));
    store.delete(&key("packs/a")).expect("delete");
}

#[test]
fn the_double_keeps_the_contract_with_either_login() {
    let server = SwiftServer::start("cold");
    for options in [options_for(&server), options_v3(&server)] {
        contract::check(&*open(&options).expect("open"));
    }
    let whole = StoreOptions { url: "swift://cold".to_owned(), ..options_for(&server) };
    contract::check_paging(&*open(&whole).expect("open"), 105);
}

#[test]
fn a_refused_token_is_renewed_once_for_all_threads() {
    for login in [options_for, options_v3] {
        let server = SwiftServer::start("cold");
        let store = bare(&login(&server));
        store.put(&key("packs/a"), noise(100, 1), &NEW).expect("put");
        assert_eq!(server.logins(), 1);
        server.forget_tokens();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| store.get(&key("packs/a"), None).expect("with a new token"));
            }
        });
        assert_eq!(server.logins(), 2);
        server.forget_tokens();
        store.put(&key("packs/b"), noise(100, 2), &NEW).expect("the body is sent again");
        assert_eq!(store.get(&key("packs/b"), None).expect("get"), noise(100, 2));
        assert_eq!(server.logins(), 3);
    }
}

#[test]
fn a_token_that_is_refused_again_is_an_error_and_no_storm_of_logins() {
    let (server, store) = server_and_store();
    store.put(&key("packs/a"), noise(100, 1), &NEW).expect("put");
    server.misbehave("GET", u32::MAX, Misdeed::Status(401));
    let before = server.logins();
    assert_eq!(kind(store.get(&key("packs/a"), None)), ErrorKind::Denied);
    assert_eq!(server.logins(), before + 1);
}

#[test]
fn refused_credentials_say_where_and_show_no_secret() {
    let server = SwiftServer::start("cold");
    let wrong = [
        (server.auth_url_v1(), vec![("ST_USER", "test:tester"), ("ST_KEY", "guessed")]),
        (
            server.auth_url_v3(),
            vec![("OS_USERNAME", "ann"), ("OS_PASSWORD", "guessed"), ("OS_PROJECT_ID", "p")],
        ),
    ];
    for (endpoint, pairs) in wrong {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        let variables = Variables::among(pairs);
        let options = StoreOptions { endpoint: Some(endpoint), variables, ..options_for(&server) };
        let store = bare(&options);
        let error = store.head(&key("packs/a")).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Denied);
        let shown = format!("{error} {error:?} {store:?} {options:?}");
        assert!(shown.contains("check the credentials") && !shown.contains("guessed"), "{shown}");
    }
}

#[test]
fn the_servers_refusals_have_their_kinds() {
    let (server, store) = server_and_store();
    let a = key("packs/a");
    store.put(&a, noise(10, 1), &REPLACE).expect("put");
    for (misdeed, wanted) in [
        (Misdeed::Status(503), ErrorKind::Transient),
        (Misdeed::Status(498), ErrorKind::Throttled),
        (Misdeed::Status(429), ErrorKind::Throttled),
        (Misdeed::Status(403), ErrorKind::Denied),
        (Misdeed::Status(507), ErrorKind::Full),
        (Misdeed::Status(301), ErrorKind::BadRequest),
        (Misdeed::Cut, ErrorKind::Transient),
    ] {
        server.misbehave("", u32::MAX, misdeed);
        assert_eq!(kind(store.put(&a, noise(10, 1), &REPLACE)), wanted, "{misdeed:?}");
        assert_eq!(kind(store.get(&a, None)), wanted, "{misdeed:?}");
        assert_eq!(kind(store.head(&a)), wanted, "{misdeed:?}");
        assert_eq!(kind(store.list("", None, &mut |_| ())), wanted, "{misdeed:?}");
        assert_eq!(kind(store.delete(&a)), wanted, "{misdeed:?}");
        server.behave();
    }
}

#[test]
fn an_object_is_missing_only_in_a_container_that_is_there() {
    let (server, store) = server_and_store();
    assert_eq!(kind(store.get(&key("packs/a"), None)), ErrorKind::NotFound);
    store.put(&key("packs/a"), noise(10, 1), &NEW).expect("put");
    server.remove_container();
    check_no_container(&store);
}

#[test]
fn nobody_there_is_unreachable() {
    let (mut server, store) = server_and_store();
    store.put(&key("packs/a"), noise(10, 1), &NEW).expect("put");
    server.stop();
    assert_eq!(kind(store.head(&key("packs/a"))), ErrorKind::Unreachable);
    let fresh = bare(&options_for(&server));
    let error = fresh.head(&key("packs/a")).expect_err("nobody to log in at");
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("to log in"), "{error}");
}

#[test]
fn bytes_that_are_not_the_bytes_are_noticed() {
    let (server, store) = server_and_store();
    let a = key("packs/a");
    server.misbehave("PUT", 1, Misdeed::StoreOther);
    assert_eq!(kind(store.put(&a, noise(1000, 1), &REPLACE)), ErrorKind::Integrity);
    store.put(&a, noise(1000, 1), &REPLACE).expect("put");
    server.misbehave("GET", 1, Misdeed::Shorten);
    assert_eq!(kind(store.get(&a, Some(0..500))), ErrorKind::Integrity);
    server.misbehave("GET", 1, Misdeed::IgnoreRange);
    assert_eq!(kind(store.get(&a, Some(0..500))), ErrorKind::Integrity);
    server.misbehave("GET", 1, Misdeed::Truncate);
    assert_eq!(kind(store.get(&a, None)), ErrorKind::Transient);
    server.misbehave("GET", 1, Misdeed::Disorder);
    store.put(&key("packs/b"), noise(10, 1), &REPLACE).expect("put");
    assert_eq!(kind(store.list("packs/", None, &mut |_| ())), ErrorKind::Integrity);
}

#[test]
fn a_lost_answer_to_a_creation_is_no_conflict() {
    let (server, store) = server_and_store();
    let quick = RetryPlan {
        retries: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(5),
    };
    let store = Retrying::new(store, quick, Stop::new());
    server.misbehave("PUT", 1, Misdeed::CutAfter);
    store.put(&key("packs/a"), noise(10, 1), &NEW).expect("its own object");
    assert_eq!(kind(store.put(&key("packs/a"), noise(10, 2), &NEW)), ErrorKind::AlreadyExists);
}

#[test]
fn a_copy_is_proven_by_the_md5_that_the_server_has_computed() {
    let (server, store) = server_and_store();
    let found = probe(&store, 1).expect("probe");
    assert!(found.etag_is_md5 && found.refuses_wrong_checksum && !found.conditional_create);
    let pack = PackId::fresh(7);
    let at = key(&format!("packs/00/{pack}"));
    let sent = noise(5000, 1);
    let receipt = store.put(&at, sent.clone(), &NEW).expect("put");
    let gets = || server.seen("GET");
    let before = gets();
    let proof = prove(&store, &found, &receipt, &sent, pack, 5).expect("proven");
    assert_eq!((proof.method(), gets()), (ProofMethod::Etag, before), "and not read back");
    // A server that says back what it was told shows nothing.
    server.misbehave("PUT", u32::MAX, Misdeed::EchoSums);
    assert!(!probe(&store, 2).expect("probe").etag_is_md5);
}

#[test]
fn a_read_that_nobody_wants_any_more_ends() {
    let (server, store) = server_and_store();
    store.put(&key("packs/a"), noise(10, 1), &NEW).expect("put");
    server.misbehave("GET", u32::MAX, Misdeed::Stall);
    let stop = Stop::new();
    let errand = Errand::new(stop.clone());
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| errand.run(|| store.get(&key("packs/a"), None)));
        while server.stalled() == 0 {
            std::thread::yield_now();
        }
        stop.request();
        assert_eq!(kind(reader.join().expect("no panic")), ErrorKind::Stopped);
    });
    assert!(watch.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_login_never_leads_from_an_encrypted_place_to_an_open_one() {
    let session = session::Session {
        token: "t".to_owned(),
        account_url: "http://store/v1/AUTH_a".to_owned(),
    };
    for (url, refused) in [("https://keystone", true), ("http://keystone", false)] {
        assert_eq!(session::stays_encrypted(url, &session).is_err(), refused, "{url}");
    }
}

#[test]
fn an_object_longer_than_swift_takes_is_refused_unsent() {
    assert_eq!(LONGEST_OBJECT_BYTES, 5 * 1024 * 1024 * 1024);
    let (server, store) = server_and_store();
    let before = server.seen("PUT");
    let error = store.check_length(&key("packs/a"), LONGEST_OBJECT_BYTES + 1).expect_err("long");
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert!(error.to_string().contains("5 GiB"), "{error}");
    store.check_length(&key("packs/a"), LONGEST_OBJECT_BYTES).expect("just right");
    assert_eq!(server.seen("PUT"), before);
}

#[test]
fn names_are_escaped_byte_by_byte() {
    assert_eq!(escaped("a/b c+%ä?#&~_-."), "a/b%20c%2B%25%C3%A4%3F%23%26~_-.");
}
