//! One run with another in the middle, at each of its store calls in turn: real
//! uploads, real collections, on the requests in which they really meet.

use crate::place::{AT_ONCE, collecting, gc_to_the_end, in_process, neighbour, open_store};
use crate::support::snapshot::is_stub;
use crate::support::trees::noise;
use crate::support::{EAGER_POLICY, Sandbox};
use bytes::Bytes;
use hsm::chunk::Chunking;
use hsm::config::GcSection;
use hsm::gc::{self, Options};
use hsm::policy::{Names, PolicySet};
use hsm::store::{
    Key, ObjectInfo, Precaution, Protections, PutOptions, PutReceipt, Result, Store, SweepStats,
};
use hsm::tier::plan::Wish;
use hsm::tier::recover;
use hsm::tier::run::{Job, run};
use std::fs;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type Act<'t> = Box<dyn FnOnce() + Send + 't>;

/// A store that does something else right before its `at`th call.
struct Between<'t> {
    inner: Box<dyn Store>,
    calls: AtomicU64,
    at: u64,
    act: Mutex<Option<Act<'t>>>,
}

impl<'t> Between<'t> {
    fn new(sandbox: &Sandbox, at: u64, act: impl FnOnce() + Send + 't) -> Self {
        let act: Act<'t> = Box::new(act);
        let act = Mutex::new(Some(act));
        Self { inner: open_store(sandbox), calls: AtomicU64::new(0), at, act }
    }

    fn enter(&self) -> &dyn Store {
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            let act = self.act.lock().expect("no holder panics").take();
            act.expect("the call comes once")();
        }
        &*self.inner
    }

    /// Whether its call has come.
    fn has_acted(&self) -> bool {
        self.act.lock().expect("no holder panics").is_none()
    }
}

impl Store for Between<'_> {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn put(&self, key: &Key, body: Bytes, options: &PutOptions) -> Result<PutReceipt> {
        self.enter().put(key, body, options)
    }
    /// When a segment is read makes no difference, once it was listed.
    fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let is_log = key.as_str().starts_with("nodes/");
        if is_log { self.inner.get(key, range) } else { self.enter().get(key, range) }
    }
    fn head(&self, key: &Key) -> Result<ObjectInfo> {
        self.enter().head(key)
    }
    fn list(
        &self,
        prefix: &str,
        start_after: Option<&Key>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<()> {
        self.enter().list(prefix, start_after, visit)
    }
    fn delete(&self, key: &Key) -> Result<()> {
        self.enter().delete(key)
    }
    fn sweep(&self, older_than_ns: i64) -> Result<SweepStats> {
        self.enter().sweep(older_than_ns)
    }
    fn lock_until(&self, key: &Key, until_ns: i64) -> Result<bool> {
        self.inner.lock_until(key, until_ns)
    }
    fn protections(&self) -> Result<Protections> {
        self.inner.protections()
    }
    fn honours(&self, precaution: Precaution, scratch: &Key) -> Result<bool> {
        self.inner.honours(precaution, scratch)
    }
}

fn policy() -> PolicySet {
    PolicySet::load(&[("test", EAGER_POLICY)], &Names::none()).expect("a policy")
}

/// As the configuration says.
fn section() -> GcSection {
    GcSection {
        grace: Duration::ZERO,
        settle: Duration::ZERO,
        max_share_pct: 100.0,
        ..GcSection::default()
    }
}

/// `hsm tier` on this store.
fn tier(sandbox: &Sandbox, store: &dyn Store) {
    in_process(sandbox, Some(store), |site| {
        let row = site.state.roots().expect("the roots").remove(0);
        let job = Job {
            scan: true,
            upload: true,
            stub: true,
            share_chunks: true,
            wish: Wish { under: None, named: false },
            chunking: Chunking::Fixed { size_bytes: 4 << 20 },
            skip: vec![],
        };
        run(site, &policy(), &row, &job).expect("a run")
    });
}

/// `hsm gc` on this store.
fn collect(sandbox: &Sandbox, store: &dyn Store) -> gc::Collected {
    in_process(sandbox, Some(store), |site| {
        recover::recover_store(site).expect("recovered");
        let (section, policy) = (section(), policy());
        let options = Options { section: &section, policy: &policy, confirmed_pct: None };
        gc::run(site, &options).expect("a collection")
    })
}

/// A file of this name and these bytes came, went, and is expired; what it had is
/// still in the store, and its server believes in it.
fn come_and_gone(sandbox: &mut Sandbox, name: &str, seed: u64) {
    sandbox.write(name, &noise(seed, 40_000));
    sandbox.hsm(["tier"]).succeeds();
    fs::remove_file(sandbox.tree().join(name)).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    sandbox.set_env("HSM_FAULT_ABORT", "gc.written");
    assert_eq!(sandbox.hsm(["gc"]).code(), -1);
    sandbox.set_env("HSM_FAULT_ABORT", "");
}

#[track_caller]
fn comes_back(sandbox: &Sandbox, name: &str, seed: u64, what: &str) {
    // The first run may find that what it counted on is being collected.
    for _ in 0..2 {
        sandbox.hsm(["tier"]).succeeds();
    }
    assert!(is_stub(&sandbox.tree().join(name)), "{what}: {name}");
    sandbox.on("recall", &[], &[name]).succeeds();
    assert!(sandbox.read(name) == noise(seed, 40_000), "{what}: {name}");
}

fn pair() -> (Sandbox, Sandbox) {
    let first = collecting(AT_ONCE);
    let second = neighbour(&first, AT_ONCE);
    for (server, seed) in [(&first, 1), (&second, 2)] {
        server.write("always", &noise(seed, 40_000));
        server.hsm(["tier"]).succeeds();
    }
    (first, second)
}

#[track_caller]
fn ends_well(first: &Sandbox, second: &Sandbox) {
    gc_to_the_end(second);
    gc_to_the_end(first);
    for server in [first, second] {
        server.hsm(["verify", "--data"]).succeeds();
        server.on("recall", &["-r"], &[""]).succeeds();
    }
    assert!(first.read("always") == noise(1, 40_000));
    assert!(second.read("always") == noise(2, 40_000));
}

#[test]
fn a_collection_at_each_call_of_an_upload_takes_nothing_from_it() {
    let (mut first, second) = pair();
    for at in 1.. {
        let name = format!("again{at}");
        come_and_gone(&mut first, &name, 100 + at);
        first.write(&name, &noise(100 + at, 40_000));
        let store = Between::new(&first, at, || {
            // Plan and, unless it must wait, end.
            for _ in 0..2 {
                second.hsm(["gc"]).succeeds();
            }
        });
        tier(&first, &store);
        let done = !store.has_acted();
        drop(store);
        for _ in 0..2 {
            second.hsm(["gc"]).succeeds();
        }
        comes_back(&first, &name, 100 + at, &format!("call {at}"));
        if done {
            println!("{at} calls");
            assert!(at > 8, "an upload has more calls than {at}");
            break;
        }
    }
    ends_well(&first, &second);
}

#[test]
fn an_upload_at_each_call_of_a_collection_keeps_what_it_wants() {
    let (mut first, second) = pair();
    for at in 1.. {
        let name = format!("again{at}");
        come_and_gone(&mut first, &name, 100 + at);
        let store = Between::new(&second, at, || {
            first.write(&name, &noise(100 + at, 40_000));
            first.hsm(["tier"]).succeeds();
        });
        for _ in 0..2 {
            collect(&second, &store);
        }
        let done = !store.has_acted();
        drop(store);
        if done {
            println!("{at} calls");
            assert!(at > 15, "two collections have more calls than {at}");
            break;
        }
        comes_back(&first, &name, 100 + at, &format!("call {at}"));
    }
    ends_well(&first, &second);
}

#[test]
fn a_collection_at_each_call_of_a_collection_deletes_what_one_of_them_decides() {
    let (mut first, second) = pair();
    for at in 1.. {
        let name = format!("again{at}");
        come_and_gone(&mut first, &name, 100 + at);
        let store = Between::new(&second, at, || {
            for _ in 0..2 {
                first.hsm(["gc"]).succeeds();
            }
        });
        for _ in 0..2 {
            collect(&second, &store);
        }
        let done = !store.has_acted();
        drop(store);
        first.write(&name, &noise(100 + at, 40_000));
        comes_back(&first, &name, 100 + at, &format!("call {at}"));
        if done {
            println!("{at} calls");
            break;
        }
    }
    ends_well(&first, &second);
}
