//! What stops a collection: nothing is deleted and nothing is given up while anything
//! is in doubt, and what is wrong is told by name.

use crate::between::Between;
use crate::place::{
    AT_ONCE, collect, collecting, files, gc, gc_to_the_end, in_days, neighbour, open_store, packs,
};
use crate::support::trees::noise;
use crate::support::{Ran, Sandbox, UPLOAD_POLICY, as_nobody, needs_root};
use hsm::gc::Error;
use hsm::store::{ErrorKind, Fault, Faulty, Operation};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Something is needed no more: a run would condemn it.
fn with_garbage() -> Sandbox {
    let sandbox = collecting(AT_ONCE);
    sandbox.policy(UPLOAD_POLICY);
    for file in 0..4 {
        sandbox.write(&format!("file{file}"), &noise(file, 60_000));
    }
    sandbox.hsm(["tier"]).succeeds();
    sandbox.write("file0", &noise(9, 60_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox
}

/// A run ends with these words and has changed nothing in the store.
#[track_caller]
fn is_refused(sandbox: &Sandbox, store: &Sandbox, words: &[&str]) -> Ran {
    let contents = || -> Vec<(PathBuf, Vec<u8>)> {
        let mut all: Vec<_> = files(&store.store())
            .map(|path| (path.clone(), fs::read(&path).expect("an object")))
            .collect();
        all.sort();
        all
    };
    let before = contents();
    let ran = sandbox.hsm(["gc"]).exits(1).complains(words).complains(&["try:"]);
    assert!(before == contents(), "{}", ran.stderr());
    ran
}

fn segments(sandbox: &Sandbox) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = files(&sandbox.store().join("nodes"))
        .filter(|path| path.to_str().expect("text").contains("/log/"))
        .collect();
    found.sort();
    found
}

#[test]
fn an_empty_mount_or_another_file_system_is_no_deletion() {
    let sandbox = with_garbage();
    let aside = sandbox.path("aside");
    fs::rename(sandbox.tree(), &aside).unwrap();
    let tree = sandbox.tree();
    let tree_name = tree.to_str().unwrap();
    is_refused(&sandbox, &sandbox, &["in doubt", tree_name, "cannot be opened", "mount"]);
    fs::create_dir(&tree).unwrap();
    is_refused(&sandbox, &sandbox, &["in doubt", tree_name, "mount"]);
    fs::remove_dir(&tree).unwrap();
    fs::rename(&aside, &tree).unwrap();
    assert!(gc(&sandbox)["condemned_packs"].as_u64() > Some(0));
}

#[test]
fn a_scan_that_did_not_see_all_is_no_scan() {
    if !needs_root("a_scan_that_did_not_see_all_is_no_scan") {
        return;
    }
    let sandbox = with_garbage();
    sandbox.write("closed/file", &noise(5, 1000));
    let hsm = as_nobody(&sandbox);
    hsm(&["tier"]).succeeds();
    let closed = sandbox.tree().join("closed");
    std::os::unix::fs::chown(&closed, Some(0), Some(0)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    hsm(&["scan"]).exits(3);
    let before = packs(&sandbox.store());
    let refused = hsm(&["gc"]).exits(1);
    refused.complains(&["in doubt", "its last scan", "met an error", "hsm scan"]);
    assert_eq!(packs(&sandbox.store()), before);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    hsm(&["scan"]).succeeds();
    let summary = hsm(&["gc", "--json"]).succeeds().summary();
    assert!(summary["condemned_packs"].as_u64() > Some(0), "{summary}");
}

#[test]
fn a_root_that_was_not_scanned_lately_is_not_known() {
    let mut sandbox = with_garbage();
    sandbox.set_env("HSM_TEST_NOW", &in_days(8));
    is_refused(&sandbox, &sandbox, &["in doubt", "8 days old", "hsm scan"]);
    sandbox.hsm(["scan"]).succeeds();
    assert!(gc(&sandbox)["condemned_packs"].as_u64() > Some(0));
    let never = collecting(AT_ONCE);
    is_refused(&never, &never, &["never scanned", "hsm scan"]);
}

/// Segments of this server's log, and of the others'.
fn own_and_others(sandbox: &Sandbox) -> [PathBuf; 2] {
    let state = hsm::state::StateDb::open_read_only(&sandbox.state_db()).expect("the state DB");
    let own = state.node_id().to_string();
    let last_of = |is_own: bool| {
        let mut of = segments(sandbox);
        of.retain(|path| path.to_str().unwrap().contains(&own) == is_own);
        of.pop().expect("a segment")
    };
    [last_of(true), last_of(false)]
}

#[test]
fn a_log_that_cannot_be_read_stops_it_by_name() {
    let sandbox = with_garbage();
    let other = neighbour(&sandbox, AT_ONCE);
    other.write("theirs", &noise(77, 50_000));
    other.hsm(["tier"]).succeeds();
    sandbox.hsm(["gc", "--dry-run"]).succeeds();
    for last in own_and_others(&sandbox) {
        let name = |path: &std::path::Path| {
            path.strip_prefix(sandbox.store()).unwrap().to_str().unwrap().to_owned()
        };
        let whole = fs::read(&last).unwrap();
        // A segment that came since and is not whole.
        let next = last.with_file_name(format!("{:016x}", 1 + number(&last)));
        fs::write(&next, &whole[..whole.len() / 2]).unwrap();
        is_refused(&sandbox, &sandbox, &["read the catalog segment", &name(&next)]);
        fs::remove_file(&next).unwrap();
        // One that another server, or this one after a loss, has to read.
        fs::remove_file(sandbox.state_dir().join("catalog.db")).unwrap();
        fs::write(&last, &whole[..whole.len() / 2]).unwrap();
        is_refused(&sandbox, &sandbox, &["read the catalog segment", &name(&last)]);
        fs::write(&last, &whole).unwrap();
        // One that was there.
        sandbox.hsm(["gc", "--dry-run"]).succeeds();
        fs::rename(&last, sandbox.path("aside")).unwrap();
        is_refused(&sandbox, &sandbox, &["ends with segment", "was there before"]);
        fs::rename(sandbox.path("aside"), &last).unwrap();
    }
    gc_to_the_end(&sandbox);
    other.hsm(["verify", "--data"]).succeeds();
}

fn number(segment: &std::path::Path) -> u64 {
    let name = segment.file_name().unwrap().to_str().unwrap();
    u64::from_str_radix(name, 16).expect("a number")
}

#[test]
fn a_plan_that_cannot_be_read_stops_everybody_by_name() {
    let sandbox = with_garbage();
    gc(&sandbox);
    let plan = sandbox.store().join("gc/0000000000000001.plan");
    let whole = fs::read(&plan).unwrap();
    fs::write(&plan, &whole[..whole.len() / 2]).unwrap();
    let words = ["gc/0000000000000001.plan"];
    sandbox.hsm(["gc"]).exits(1).complains(&words);
    sandbox.write("new", &noise(30, 60_000));
    fs::write(&plan, &whole).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    gc_to_the_end(&sandbox);
}

#[test]
fn an_unusual_share_needs_a_persons_word() {
    let sandbox = with_garbage();
    crate::place::set_gc(&sandbox, "grace = \"0s\"\nsettle = \"0s\"\n");
    for file in 0..3 {
        fs::remove_file(sandbox.tree().join(format!("file{file}"))).unwrap();
    }
    sandbox.hsm(["tier"]).succeeds();
    let told = sandbox.hsm(["gc", "--dry-run"]).succeeds();
    told.complains(&["more than max_share (30%)", "hsm gc --confirm 8"]);
    is_refused(&sandbox, &sandbox, &["of the store would go", "max_share (30%)", "--confirm 8"]);
    sandbox.hsm(["gc", "--confirm", "79%"]).exits(1);
    sandbox.hsm(["gc", "--confirm", "a lot"]).exits(2).complains(&["--confirm"]);
    let summary = sandbox.hsm(["gc", "--confirm", "90%", "--json"]).succeeds().summary();
    assert!(summary["condemned_packs"].as_u64() > Some(0), "{summary}");
    let share = summary["share_pct"].as_f64().unwrap();
    assert!(share > 79.0 && share < 90.0, "{summary}");
    sandbox.hsm(["gc"]).succeeds();
    sandbox.hsm(["verify", "--data"]).succeeds();
    assert!(sandbox.read("file3") == noise(3, 60_000));
}

#[test]
fn a_node_that_never_came_back_is_waited_for_by_name() {
    let sandbox = with_garbage();
    let mut other = neighbour(&sandbox, AT_ONCE);
    other.write("theirs", &noise(77, 50_000));
    other.write("small", b"");
    // It dies in the middle of its session.
    other.set_env("HSM_FAULT_ABORT", "upload.pack-put");
    assert_eq!(other.hsm(["tier"]).code(), -1);
    other.set_env("HSM_FAULT_ABORT", "");
    assert!(gc(&sandbox)["condemned_packs"].as_u64() > Some(0));
    let before = packs(&sandbox.store());
    let ran = sandbox.hsm(["gc", "--json"]).succeeds();
    let ran = ran.complains(&["waits for node", "last wrote", "hsm upload", "hsm nodes retire"]);
    assert_eq!(ran.summary()["waiting"], true);
    assert_eq!(packs(&sandbox.store()), before);
    // A run there that has nothing to send.
    fs::remove_file(other.tree().join("theirs")).unwrap();
    other.hsm(["scan"]).succeeds();
    other.hsm(["upload"]).succeeds();
    let summary = gc(&sandbox);
    assert!(summary["deleted_packs"].as_u64() > Some(0), "{summary}");
    sandbox.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn it_does_not_run_beside_an_upload_of_its_own_node() {
    let sandbox = with_garbage();
    let lock = sandbox.state_dir().join("locks/catalog.lock");
    let held = hsm::os::lock::RunLock::acquire(&lock, "a test").expect("the lock");
    sandbox.hsm(["gc"]).exits(11).complains(&["another run"]);
    drop(held);
    gc(&sandbox);
}

#[test]
fn clocks_that_are_far_apart_stop_it() {
    const DAYS: i64 = 86_400_000_000_000;
    let sandbox = with_garbage();
    for (ahead_ns, words) in [(3 * DAYS, "behind"), (-3 * DAYS, "ahead of")] {
        let before = packs(&sandbox.store());
        let store = Between::ahead(&sandbox, ahead_ns);
        let error = collect(&sandbox, &store).expect_err("nothing has a known age");
        assert!(matches!(error, Error::Clocks { .. }) && error.to_string().contains(words));
        assert_eq!(packs(&sandbox.store()), before);
    }
    let store = Between::ahead(&sandbox, DAYS / 2);
    let round = collect(&sandbox, &store).expect("that is near enough").round.expect("a round");
    assert!(round.condemned_packs > 0);
}

/// A listing, a log, a plan, a pack: whatever cannot be had stops it, and an answer
/// that was lost is made out by the next run.
#[test]
fn a_store_that_fails_at_any_call_costs_nothing() {
    let sandbox = with_garbage();
    let mut failed = 0;
    let after = Fault::FailAfter(ErrorKind::Unreachable);
    let fail = Fault::Fail(ErrorKind::Unreachable);
    for (operation, fault) in [
        (Operation::List, fail),
        (Operation::Get, fail),
        (Operation::Head, fail),
        (Operation::Put, fail),
        (Operation::Put, after),
        (Operation::Delete, fail),
        (Operation::Delete, after),
    ] {
        for nth in 1.. {
            let store = Faulty::new(open_store(&sandbox));
            store.on(operation, nth, fault);
            let runs = [collect(&sandbox, &store), collect(&sandbox, &store)];
            if runs.iter().all(Result::is_ok) {
                assert!(nth > 1, "{operation:?} is never asked for");
                break;
            }
            failed += 1;
            // Something to collect again.
            sandbox.write("file0", &noise(1000 + failed, 60_000));
            sandbox.hsm(["tier"]).succeeds();
        }
    }
    assert!(failed > 30, "{failed}");
    gc_to_the_end(&sandbox);
    sandbox.hsm(["verify", "--data"]).succeeds();
    let url = sandbox.store_url();
    sandbox.hsm(["verify", "--data", "--store", &url]).succeeds();
    assert_eq!(packs(&sandbox.store()).len(), 2, "the first files and the last");
}
