//! Where the suites find the store servers that `tests/servers/start` has started:
//! one file for each below the directory that `HSM_TEST_STORES` names, with the
//! store's URL and whatever a person would put into the environment to use it.
//!
//! Included by path into the library's tests and into tests in this directory,
//! so it names nothing of `hsm`.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;

pub struct StorePlace {
    pub url: String,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// What `hsm` finds in its environment.
    pub variables: BTreeMap<String, String>,
}

impl StorePlace {
    /// The store of this name with a prefix of the caller's own; `None`, loudly,
    /// where no servers are named.
    pub fn find(name: &str, test: &str, prefix: &str) -> Option<Self> {
        let Some(dir) = std::env::var_os("HSM_TEST_STORES") else {
            eprintln!("SKIPPED {test} on {name}: HSM_TEST_STORES names no servers");
            let skips = std::env::var_os("HSM_TEST_NO_SKIP").is_none();
            assert!(skips, "HSM_TEST_STORES is not set: see tests/servers/start");
            return None;
        };
        let file = Path::new(&dir).join(format!("{name}.env"));
        let text = std::fs::read_to_string(&file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut variables: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let base = variables.remove("URL").expect("every store has a URL");
        let url = if prefix.is_empty() { base } else { format!("{base}/{prefix}") };
        let (endpoint, region) = (variables.remove("ENDPOINT"), variables.remove("REGION"));
        Some(Self { url, endpoint, region, variables })
    }
}
