//! This room's stores against real servers: `tests/servers/start` starts them.

use super::super::contract::{self, collect_keys, key, noise};
use super::super::store_place::StorePlace;
use super::super::{Capabilities, ErrorKind, PutOptions, StoreOptions, Variables, open};
use crate::clock::Clock;
use crate::ids::PackId;
use crate::store::{DESCRIPTOR_KEY, Store};
use bytes::Bytes;

fn options_at(name: &str, more: &str) -> Option<StoreOptions> {
    let place = StorePlace::find(name, "the contract", more)?;
    let pairs = place.variables.iter().map(|(name, value)| (name.into(), value.into()));
    Some(StoreOptions {
        endpoint: place.endpoint.clone(),
        variables: Variables::among(pairs),
        retries: 2,
        ..StoreOptions::new(&place.url)
    })
}

fn fresh() -> String {
    format!("contract {}", PackId::fresh(Clock::system().now_ns()))
}

fn describe(store: &dyn Store) {
    let descriptor = Bytes::from_static(b"{}");
    store.put(&key(DESCRIPTOR_KEY), descriptor, &PutOptions::default()).expect("a descriptor");
}

const SOUND: Capabilities = Capabilities {
    refuses_wrong_checksum: false,
    refuses_wrong_part_checksum: false,
    returns_checksum: false,
    etag_is_md5: false,
    conditional_create: true,
    lists_own_writes: true,
    exact_ranges: true,
};

/// The contract in a directory or below a prefix that is made for it.
fn keeps_the_contract(name: &str, creates_atomically: bool) {
    let Some(options) = options_at(name, &fresh()) else { return };
    let store = open(&StoreOptions { create: true, ..options.clone() }).expect("open");
    describe(&*store);
    let store = open(&options).expect("open again");
    contract::check(&*store);
    contract::check_paging(&*store, 60);
    let found = contract::check_proofs(&*store);
    assert_eq!(found, Capabilities { conditional_create: creates_atomically, ..SOUND });
    if creates_atomically {
        contract::check_races(&*store);
    }
    assert_eq!(collect_keys(&*store, "", None).expect("list"), [DESCRIPTOR_KEY]);
    store.delete(&key(DESCRIPTOR_KEY)).expect("delete");
}

/// Where no store is, nothing is said to be missing from it.
fn nothing_is_missing_from_no_store(options: &StoreOptions) {
    let store = open(options).expect("open");
    for error in [
        store.get(&key("packs/a"), None).expect_err("no store"),
        store.head(&key("packs/a")).expect_err("no store"),
        store.put(&key("packs/a"), noise(10, 1), &PutOptions::default()).expect_err("no store"),
        store.list("", None, &mut |_| ()).expect_err("no store"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
}

#[test]
fn azure_blob_keeps_the_contract() {
    keeps_the_contract("azblob", true);
}

#[test]
fn sftp_keeps_the_contract() {
    keeps_the_contract("sftp", true);
}

#[test]
fn webdav_keeps_the_contract() {
    keeps_the_contract("webdav", false);
}

#[test]
fn a_directory_that_is_not_there_is_a_store_that_is_away() {
    for name in ["sftp", "webdav"] {
        let Some(options) = options_at(name, "never made") else { continue };
        nothing_is_missing_from_no_store(&StoreOptions { retries: 0, ..options });
    }
}

#[test]
fn a_container_that_is_not_there_is_a_store_that_is_away() {
    let Some(options) = options_at("azblob", "") else { return };
    let url = "azblob://never-made/prefix".to_owned();
    nothing_is_missing_from_no_store(&StoreOptions { url, retries: 0, ..options });
}

#[test]
fn refused_credentials_are_denied() {
    for (name, variable, wrong) in [
        ("azblob", "AZURE_STORAGE_KEY", "bm90IHRoZSBrZXk="),
        ("webdav", "WEBDAV_PASSWORD", "guessed"),
    ] {
        let Some(place) = StorePlace::find(name, "refused credentials", "x") else { continue };
        let mut variables = place.variables.clone();
        variables.insert(variable.to_owned(), wrong.to_owned());
        let pairs = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let options = StoreOptions {
            endpoint: place.endpoint.clone(),
            variables: Variables::among(pairs),
            retries: 0,
            ..StoreOptions::new(&place.url)
        };
        let store = open(&options).expect("open");
        let error = store.head(&key("packs/a")).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Denied, "{name}: {error}");
        assert!(!error.to_string().contains(wrong), "{error}");
    }
}

#[test]
fn nobody_there_is_unreachable() {
    for (url, variables) in [
        (
            "azblob://c/p",
            Variables::from([("AZURE_STORAGE_ACCOUNT", "a"), ("AZURE_STORAGE_KEY", "a2V5")]),
        ),
        ("webdav+http://127.0.0.1:9/cold", Variables::default()),
        ("sftp://nobody@127.0.0.1:9/cold", Variables::default()),
    ] {
        let options = StoreOptions {
            endpoint: url.starts_with("azblob").then(|| "http://127.0.0.1:9".to_owned()),
            variables,
            retries: 0,
            ..StoreOptions::new(url)
        };
        let error = open(&options).expect("open").head(&key("packs/a")).expect_err("nobody");
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
}

#[test]
fn what_is_no_place_is_refused_when_it_is_opened() {
    for url in [
        "sftp://-oProxyCommand=x/dir",
        "sftp://ann@host",
        "sftp://ann@host:port/dir",
        "sftp://ann@host/a/../b",
        "azblob:///prefix",
        "azblob://container/prefix",
    ] {
        let error = open(&StoreOptions::new(url)).err().expect(url);
        assert!(matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::Denied), "{error}");
    }
}
