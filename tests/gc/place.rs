//! Servers that share a store, and what a collection is asked for.

use crate::support::{EAGER_POLICY, Sandbox};
use hsm::chunk::Protection;
use hsm::clock::Clock;
use hsm::config::GcSection;
use hsm::errand::Errand;
use hsm::gc::{self, Options};
use hsm::manifest::Record;
use hsm::monitor::{Silent, Stop};
use hsm::policy::{Names, PolicySet};
use hsm::site::{Leases, Site};
use hsm::state::StateDb;
use hsm::store::{Store, StoreOptions};
use hsm::tier::recover;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use walkdir::WalkDir;

/// No margin for people: what is needed no more goes at the next two runs.
pub const AT_ONCE: &str = "grace = \"0s\"\nsettle = \"0s\"\nmax_share = \"100%\"\n";

/// A server with these lines in `[gc]`.
pub fn collecting(lines: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    set_gc(&sandbox, lines);
    sandbox
}

/// Another one on the store of `first`.
pub fn neighbour(first: &Sandbox, lines: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.init_with(&["--store", &first.store_url()]);
    set_gc(&sandbox, lines);
    sandbox
}

pub fn set_gc(sandbox: &Sandbox, lines: &str) {
    let text = std::fs::read_to_string(sandbox.config()).expect("the configuration");
    let before = text.split("\n[gc]\n").next().expect("a part");
    std::fs::write(sandbox.config(), format!("{before}\n[gc]\n{lines}")).expect("written");
}

/// One run; its summary.
#[track_caller]
pub fn gc(sandbox: &Sandbox) -> Value {
    sandbox.hsm(["gc", "--json"]).succeeds().summary()
}

/// Runs until one finds nothing to do; how many bytes were deleted.
#[track_caller]
pub fn gc_to_the_end(sandbox: &Sandbox) -> u64 {
    let mut deleted = 0;
    for _ in 0..12 {
        let summary = gc(sandbox);
        let number = |name: &str| summary[name].as_u64().expect("a number");
        deleted += number("deleted_bytes") + number("left_over_bytes");
        if number("condemned_packs") + number("repacked_packs") == 0 && summary["waiting"] == false
        {
            return deleted;
        }
    }
    panic!("it finds something again and again");
}

pub fn packs(store: &Path) -> BTreeSet<PathBuf> {
    files(&store.join("packs")).collect()
}

pub fn files(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let found = WalkDir::new(dir).into_iter().filter_map(Result::ok);
    found.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path())
}

/// All that the store takes.
pub fn store_bytes(store: &Path) -> u64 {
    files(store).map(|path| path.metadata().expect("a file").len()).sum()
}

/// Each stub of the tree comes back, and what the catalog names is in the store.
#[track_caller]
pub fn all_is_there(sandbox: &Sandbox) {
    sandbox.hsm(["verify", "--data"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
}

/// Nanoseconds since the epoch, so many days from now, for `HSM_TEST_NOW`.
pub fn in_days(days: i64) -> String {
    (Clock::system().now_ns() + days * 86_400_000_000_000).to_string()
}

/// The library at work as the program would be, on the sandbox's store or on one
/// that a test has put around it.
pub fn in_process<T>(
    sandbox: &Sandbox,
    store: Option<&dyn Store>,
    work: impl FnOnce(&mut Site<'_>) -> T,
) -> T {
    let state = StateDb::open(&sandbox.state_db()).expect("the state DB");
    let found = state.setting("store.capabilities").expect("asked").expect("it was tried out");
    let opened = open_store(sandbox);
    let stop = Stop::new();
    work(&mut Site {
        store_id: state.store_id(),
        node_id: state.node_id(),
        state_path: sandbox.state_db(),
        state,
        store: store.unwrap_or(&*opened),
        second: None,
        capabilities: serde_json::from_str(&found).expect("what it was found to do"),
        protection: &Protection::Plain,
        monitor: &Silent,
        errand: Errand::new(stop.clone()),
        stop,
        clock: Clock::system(),
        workers: 2,
        memory_bytes: 128 << 20,
        connections: 2,
        offline: Default::default(),
        custody: &Leases,
        guard: None,
    })
}

/// A name for all that the log has.
pub fn snapshot_of_log(sandbox: &Sandbox, name: &str) {
    in_process(sandbox, None, |site| {
        let seq = site.state.log_head().expect("the head of the log").next_seq - 1;
        let record = Record::Snapshot { name: name.to_owned(), seq, at_ns: site.clock.now_ns() };
        hsm::site::log::write_records(site, &[record]).expect("written");
    });
}

/// The store of the sandbox's configuration.
pub fn open_store(sandbox: &Sandbox) -> Box<dyn Store> {
    let config = std::fs::read_to_string(sandbox.config()).expect("the configuration");
    let url = config.lines().find_map(|line| line.strip_prefix("url = ")).expect("a URL");
    hsm::store::open(&StoreOptions::new(url.trim_matches('"'))).expect("the store")
}

pub fn policy() -> PolicySet {
    PolicySet::load(&[("test", EAGER_POLICY)], &Names::none()).expect("a policy")
}

/// `hsm gc` on this store, with [`AT_ONCE`].
pub fn collect(sandbox: &Sandbox, store: &dyn Store) -> Result<gc::Collected, gc::Error> {
    in_process(sandbox, Some(store), |site| {
        recover::recover_store(site).map_err(|error| match error {
            hsm::tier::Error::Store(error) => gc::Error::Store(error),
            hsm::tier::Error::Log(error) => gc::Error::Log(error),
            other => panic!("{other}"),
        })?;
        let section = GcSection {
            grace: Duration::ZERO,
            settle: Duration::ZERO,
            max_share_pct: 100.0,
            ..GcSection::default()
        };
        let policy = policy();
        gc::run(site, &Options { section: &section, policy: &policy, confirmed_pct: None })
    })
}
