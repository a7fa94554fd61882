//! Checks of the store: is it there, is it ours, does the key fit, and what can
//! it be trusted to do. The last decides how copies are proven.

use super::{Finding, bad, good, note, warning};
use crate::cli::context::{self, Context};
use crate::cli::error::Error;
use crate::cli::{key_file, opened, report, second};
use crate::config::Config;
use crate::state::StateDb;
use crate::store::{self, Capabilities, Protections, Store};

/// Stores of which some keep versions and lock objects.
const BUCKETS: [&str; 4] = ["s3://", "swift://", "azblob://", "gcs://"];

pub fn check(context: &Context, config: &Config, state: Option<&StateDb>) -> Vec<Finding> {
    let store = match context.store(config, state) {
        Ok(store) => store,
        Err(error) => return vec![bad("reachable", report::one_line(&error))],
    };
    let mut findings = match descriptor(config, state, &*store) {
        Ok(findings) => findings,
        Err(error) => return vec![bad("reachable", report::one_line(&error))],
    };
    match store::probe(&*store, context.now_ns()) {
        Ok(found) => findings.extend(capabilities(found, state)),
        Err(error) => findings.push(bad("probe", report::one_line(&error.into()))),
    }
    // A directory has neither, and needs not be told so.
    if BUCKETS.iter().any(|scheme| config.store.url.starts_with(scheme)) {
        match store.protections() {
            Ok(found) => findings.extend(protections(found)),
            Err(error) => findings.push(bad("versioning", report::one_line(&error.into()))),
        }
    }
    findings
}

/// The same of the second store, where one is configured.
pub fn check_second(
    context: &Context,
    config: &Config,
    state: Option<&StateDb>,
) -> Option<(String, Vec<Finding>)> {
    let (section, state) = (config.second_store.as_ref()?, state?);
    let opened = match second::open(config, state, &context.stop) {
        Ok(opened) => opened?.open,
        Err(error) => {
            return Some((section.url.clone(), vec![bad("second", report::one_line(&error))]));
        }
    };
    let finding = match (&opened.away, store::probe(&*opened.store, context.now_ns())) {
        (Some(why), _) => bad("second", format!("{why}; nothing with copies = 2 becomes a stub")),
        (None, Err(error)) => bad("second", report::one_line(&error.into())),
        (None, Ok(found)) => good("second", proof(found)),
    };
    Some((section.url.clone(), vec![finding]))
}

fn descriptor(
    config: &Config,
    state: Option<&StateDb>,
    store: &dyn Store,
) -> Result<Vec<Finding>, Error> {
    let descriptor = opened::descriptor(store)?;
    let id = descriptor.store_id;
    let mut findings = vec![match state {
        Some(state) if state.store_id() != id => bad(
            "store-id",
            format!("another store: {id}, the state DB belongs to {}", state.store_id()),
        ),
        _ => good("store-id", id.to_string()),
    }];
    let master = match &config.encryption {
        Some(encryption) => Some(key_file::read(&encryption.key_file)?),
        None => None,
    };
    findings.push(match descriptor.protection(master.as_ref()) {
        Ok(protection) if protection.is_encrypted() => {
            good("cipher", "encrypted, and the key fits")
        }
        Ok(_) => note("cipher", "not encrypted"),
        Err(error) => bad("cipher", error.to_string()),
    });
    Ok(findings)
}

fn capabilities(found: Capabilities, state: Option<&StateDb>) -> Vec<Finding> {
    let mut findings = vec![good("proof", proof(found))];
    if !found.exact_ranges {
        findings.push(bad("ranges", "a ranged read returns other bytes than asked for"));
    }
    if !found.lists_own_writes {
        findings
            .push(warning("listing", "a listing lags behind; hsm verify may need a second run"));
    }
    if !found.conditional_create {
        findings.push(note(
            "create-new",
            "not honoured; hsm never uses a name twice, and hsm gc asks for only_here",
        ));
    }
    let before = state.and_then(|state| context::capabilities(state).ok().flatten());
    if before.is_some_and(|before| before != found) {
        findings
            .push(warning("changed", "the store behaves otherwise than at hsm init: run it again"));
    }
    findings
}

/// What stands between a mistaken or malicious delete and the loss.
fn protections(found: Protections) -> [Finding; 2] {
    let versioning = match found.versioning {
        Some(true) => good(
            "versioning",
            "on: a deleted object can be brought back, and is paid for until a lifecycle rule ends it",
        ),
        Some(false) => note(
            "versioning",
            "off: a deleted object is gone; turn it on, with a lifecycle rule for old versions",
        ),
        None => note("versioning", "unknown: the store does not say whether it keeps versions"),
    };
    let object_lock = match found.object_lock {
        Some(true) => good("object-lock", "on: sealed snapshots are locked until their date"),
        Some(false) => {
            note("object-lock", "off: sealed snapshots are kept by hsm, not by the store")
        }
        None => note("object-lock", "unknown: the store does not say whether it can lock objects"),
    };
    [versioning, object_lock]
}

/// How a copy in this store is proven, in words.
fn proof(found: Capabilities) -> &'static str {
    if found.refuses_wrong_checksum && found.returns_checksum {
        "the store checks SHA-256 sums itself; copies are proven by its answer"
    } else if found.etag_is_md5 {
        "copies are proven by the store's MD5, those sent in parts by reading back"
    } else {
        "copies are proven by reading every one of them back"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_shows_nothing_is_read_back() {
        assert!(proof(Capabilities::default()).contains("reading every one"));
        let etag = Capabilities { etag_is_md5: true, ..Capabilities::default() };
        assert!(proof(etag).contains("MD5"));
        // A store that takes a wrong sum cannot prove a right one by returning it.
        let gullible = Capabilities { returns_checksum: true, ..Capabilities::default() };
        assert!(proof(gullible).contains("reading every one"));
    }
}
