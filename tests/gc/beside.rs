//! One run with another in the middle, at each of its store calls in turn: real
//! uploads, real collections, on the requests in which they really meet.

use crate::between::Between;
use crate::place::{AT_ONCE, collect, collecting, gc_to_the_end, in_process, neighbour, policy};
use crate::support::Sandbox;
use crate::support::snapshot::is_stub;
use crate::support::trees::noise;
use hsm::chunk::Chunking;
use hsm::store::Store;
use hsm::tier::plan::Wish;
use hsm::tier::run::{Job, run};
use std::fs;

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
            collect(&second, &store).expect("a collection");
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
            collect(&second, &store).expect("a collection");
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
