//! What a run does, and does not do, where a guard watches the root: it decides
//! and hands over. And the guard's side of it, which trusts nothing but what it
//! sees itself.

#[path = "support/bench.rs"]
mod bench;
mod support;

use bench::{HandsOff, NearGuard, Notes, Strict, ident, path, row, rows, with_site};
use hsm::chunk::Chunking;
use hsm::clock::Clock;
use hsm::os::lease::WriteLease;
use hsm::os::{FileKind, RootDir, file_ident};
use hsm::policy::{FileState, Names, PolicySet};
use hsm::recall::{self, RecallStats, Target};
use hsm::site::guard::{ToRecall, ToStub};
use hsm::site::{Custody, Guard, Site};
use hsm::state::{RECALLED, RecallRow, RootRow, StateDb};
use hsm::tier::plan::Wish;
use hsm::tier::run::{Job, RunStats};
use hsm::tier::stubbing::{self, Refusal, StubStats};
use hsm::tier::{self, conditions, recover, rescan};
use hsm::units::Copies;
use hsm::verify;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use support::snapshot::is_stub;
use support::trees::noise;
use support::{EAGER_POLICY, Sandbox, UPLOAD_POLICY};

/// Files `f0`, `f1`... of 100 000 bytes, uploaded.
fn uploaded(files: u64) -> Sandbox {
    let sandbox = Sandbox::empty();
    for file in 0..files {
        sandbox.write(&format!("f{file}"), &noise(file, 100_000));
    }
    sandbox.init();
    sandbox.policy(UPLOAD_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    sandbox
}

/// The same as stubs, made without a guard.
fn stubbed(files: u64) -> Sandbox {
    let sandbox = uploaded(files);
    sandbox.policy(EAGER_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    assert!((0..files).all(|file| is_stub(&sandbox.tree().join(format!("f{file}")))));
    sandbox
}

/// A run that leaves everything to the guard.
fn run<T>(
    guard: &mut NearGuard<'_>,
    notes: &Notes,
    work: impl FnOnce(&mut Site<'_>, &RootRow, &RootDir) -> T,
) -> T {
    let sandbox = guard.sandbox;
    with_site(sandbox, &HandsOff, Some(guard as &mut dyn Guard), notes, work)
}

fn stub(guard: &mut NearGuard<'_>, notes: &Notes, goal_bytes: Option<u64>) -> StubStats {
    run(guard, notes, |site, row, root| {
        let rows = rows(&site.state, row.id, &[FileState::Uploaded]).into_iter().map(Ok);
        stubbing::run(site, row.id, root, rows, &|_, _, _| Ok(Copies::One), goal_bytes)
            .expect("stubbing")
    })
}

fn recall(guard: &mut NearGuard<'_>, notes: &Notes, names: &[String]) -> RecallStats {
    run(guard, notes, |site, row, root| {
        let target = |name: &String| {
            let managed = site.state.managed_at(row.id, &path(name)).expect("read");
            Ok(Target { path: path(name), row: managed })
        };
        let targets: Vec<_> = names.iter().map(target).collect();
        let options = recall::Options::default();
        recall::run(site, row.id, root, targets.into_iter(), options).expect("recall")
    })
}

fn tier(guard: &mut NearGuard<'_>, policy: &str) -> Result<RunStats, tier::Error> {
    let texts = [("test".to_owned(), policy.to_owned())];
    let policy = PolicySet::load(&texts, &Names::none()).expect("a policy");
    let job = Job {
        scan: true,
        upload: true,
        stub: true,
        share_chunks: false,
        wish: Wish::default(),
        chunking: Chunking::Fixed { size_bytes: 4 << 20 },
        skip: vec![],
    };
    run(guard, &Notes::default(), |site, row, _| tier::run::run(site, &policy, row, &job))
}

fn refused(files: &[(&'static str, u64)]) -> BTreeMap<&'static str, u64> {
    files.iter().copied().collect()
}

#[test]
fn files_are_stubbed_by_the_guard_alone() {
    let sandbox = uploaded(3);
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    let stats = stub(&mut guard, &notes, None);
    assert_eq!((stats.files, stats.refused.len(), stats.failed), (3, 0, 0));
    assert!(stats.freed_bytes >= 3 * 98_304, "{stats:?}");
    assert_eq!(*notes.progress.lock().unwrap(), (3, stats.freed_bytes));
    assert_eq!(guard.stubs.len(), 1);
    for name in ["f0", "f1", "f2"] {
        assert!(is_stub(&sandbox.tree().join(name)));
        assert_eq!(row(&sandbox, name).state, FileState::Stub);
    }
}

#[test]
fn no_more_is_asked_for_than_the_goal_needs() {
    let sandbox = uploaded(8);
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    let stats = stub(&mut guard, &notes, Some(250_000));
    assert_eq!(stats.files, 3);
    let asked: usize = guard.stubs.iter().map(Vec::len).sum();
    assert_eq!(asked, 3);
}

#[test]
fn what_the_run_refuses_is_not_sent_and_what_the_guard_refuses_is_counted() {
    let sandbox = uploaded(6);
    let tree = sandbox.tree();
    // Since the last scan: written to, gone, another mode.
    sandbox.write("f0", b"anew");
    std::fs::remove_file(tree.join("f1")).expect("remove");
    File::open(tree.join("f2")).unwrap().set_permissions(PermissionsExt::from_mode(0o600)).unwrap();
    let (busy, late) = (ident(&sandbox, "f3"), tree.join("f4"));
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    guard.custody.in_use.lock().unwrap().push(busy);
    // After the run has judged it.
    guard.before_stub = Some(Box::new(move || {
        std::fs::set_permissions(&late, PermissionsExt::from_mode(0o600)).expect("chmod");
    }));
    let stats = stub(&mut guard, &notes, None);
    assert_eq!(guard.stubs.concat().len(), 3);
    assert_eq!(stats.files, 1);
    assert_eq!(stats.refused, refused(&[(conditions::UNCHANGED, 4), (conditions::NOT_OPEN, 1)]));
    assert_eq!(notes.failures(), [""; 0]);
    assert!(is_stub(&tree.join("f5")) && !is_stub(&tree.join("f4")));
    assert_eq!(row(&sandbox, "f4").state, FileState::Uploaded);
}

#[test]
fn the_judge_of_the_run_decides_before_anything_is_sent() {
    let sandbox = uploaded(2);
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    let stats = run(&mut guard, &notes, |site, row, root| {
        let rows = rows(&site.state, row.id, &[FileState::Uploaded]).into_iter().map(Ok);
        let judge = |path: &hsm::os::RelPath, stat: &hsm::os::Stat, _: &_| {
            assert_eq!((stat.kind, stat.size_bytes), (FileKind::File, 100_000));
            match path.as_bytes() {
                b"f0" => Err(Refusal::new(conditions::NOT_PINNED, "it is pinned")),
                _ => Ok(Copies::One),
            }
        };
        stubbing::run(site, row.id, root, rows, &judge, None).expect("stubbing")
    });
    assert_eq!((stats.files, stats.refused), (1, refused(&[(conditions::NOT_PINNED, 1)])));
    let sent: Vec<_> = guard.stubs.concat().iter().map(|file| file.ident).collect();
    assert_eq!(sent, [row(&sandbox, "f1").ident]);
    assert!(!is_stub(&sandbox.tree().join("f0")));
}

#[test]
fn the_guard_leaves_alone_what_nobody_has_judged() {
    let sandbox = uploaded(3);
    let mut guard = NearGuard::new(&sandbox);
    let of = |name: &str| {
        let row = row(&sandbox, name);
        let (mtime_ns, ctime_ns) = (row.mtime_ns, row.ctime_ns);
        ToStub { ident: row.ident, size_bytes: row.size_bytes, mtime_ns, ctime_ns }
    };
    let mut unknown = of("f0");
    unknown.ident.generation ^= 1;
    let stale = ToStub { ctime_ns: of("f1").ctime_ns - 1, ..of("f1") };
    let root_id = row(&sandbox, "f0").root;
    let done = guard.stub(root_id, &[unknown, stale, of("f2")]).expect("stubbing");
    let names = [(conditions::UPLOADED.to_owned(), 1), (conditions::UNCHANGED.to_owned(), 1)];
    assert_eq!((done.files, done.refused), (1, names.into_iter().collect()));
    assert!(is_stub(&sandbox.tree().join("f2")));
    assert!(!is_stub(&sandbox.tree().join("f0")) && !is_stub(&sandbox.tree().join("f1")));
}

#[test]
fn a_lost_copy_is_noticed_by_the_run_and_its_file_stays() {
    let sandbox = uploaded(2);
    std::fs::remove_dir_all(sandbox.store().join("packs")).expect("remove the packs");
    let state = rusqlite::Connection::open(sandbox.state_db()).expect("open");
    state.execute("UPDATE pack SET seen_ns = 0", []).expect("a sighting long ago");
    drop(state);
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    let stats = stub(&mut guard, &notes, None);
    assert_eq!((stats.files, stats.refused), (0, refused(&[(conditions::COPY_PROVEN, 2)])));
    assert_eq!(guard.stubs.len(), 0, "nothing was asked of the guard");
    assert_eq!(row(&sandbox, "f0").state, FileState::Damaged);
}

#[test]
fn recalls_go_to_the_guard_in_bounded_requests_with_their_failures_told() {
    let sandbox = stubbed(300);
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    let mut names: Vec<String> = (0..300).map(|file| format!("f{file}")).collect();
    names.push("nowhere".to_owned());
    names.push("f0".to_owned());
    let stats = recall(&mut guard, &notes, &names);
    let expected = RecallStats {
        files: 300,
        bytes: 30_000_000,
        already_resident: 1,
        failed: 1,
        waiting: vec![],
    };
    assert_eq!(stats, expected);
    let sizes: Vec<usize> = guard.recalls.iter().map(|work| work.paths.len()).collect();
    assert_eq!(sizes, [256, 46]);
    assert_eq!(*notes.progress.lock().unwrap(), (300, 30_000_000));
    let failures = notes.failures();
    assert_eq!(failures.len(), 1);
    let expected = format!("{} recall: open the file: ", sandbox.tree().join("nowhere").display());
    assert!(failures[0].starts_with(&expected), "{failures:?}");
    for file in 0..300 {
        assert_eq!(sandbox.read(&format!("f{file}")), noise(file, 100_000));
    }
    assert_eq!(row(&sandbox, "f7").state, FileState::Uploaded);
}

#[test]
fn two_names_of_one_stub_are_held_once_and_in_an_order_that_cannot_deadlock() {
    let sandbox = Sandbox::empty();
    for file in 0..20 {
        sandbox.write(&format!("f{file}"), &noise(file, 10_000));
    }
    std::fs::hard_link(sandbox.tree().join("f3"), sandbox.tree().join("a3")).expect("link");
    sandbox.init();
    sandbox.policy(&format!("{EAGER_POLICY}nlink_max = 2\n"));
    sandbox.hsm(["tier"]).succeeds();
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    let mut names: Vec<String> = (0..20).rev().map(|file| format!("f{file}")).collect();
    names.push("a3".to_owned());
    let stats = recall(&mut guard, &notes, &names);
    assert_eq!((stats.files, stats.failed), (20, 0), "{:?}", notes.failures());
    assert_eq!(guard.custody.holds.lock().unwrap().len(), 20);
    assert_eq!(sandbox.read("a3"), noise(3, 10_000));
}

#[test]
fn what_a_killed_run_left_is_mended_by_the_guard() {
    let sandbox = stubbed(2);
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    let recovered = |guard: &mut NearGuard<'_>| {
        run(guard, &notes, |site, row, root| {
            recover::recover_files(&mut site.ground(), row.id, root).expect("recovery").files
        })
    };
    assert_eq!(recovered(&mut guard), 0);
    assert_eq!(guard.recoveries, 0, "it is not asked for nothing");
    let mut state = StateDb::open(&sandbox.state_db()).expect("open");
    let root = state.roots().expect("roots")[0].id;
    state.begin_recalls(root, &[row(&sandbox, "f0").ident]).expect("begin");
    drop(state);
    assert_eq!(recovered(&mut guard), 1);
    assert_eq!(guard.recoveries, 1);
    assert_eq!(guard.custody.holds.lock().unwrap().len(), 1);
    assert_eq!(row(&sandbox, "f0").state, FileState::Stub);
}

#[test]
fn a_whole_run_goes_through_the_guard_whatever_the_policy_says_of_unguarded_stubs() {
    let guarded = EAGER_POLICY.replace("unguarded = true", "unguarded = false");
    for policy in [EAGER_POLICY, &guarded] {
        let sandbox = Sandbox::empty();
        sandbox.write("a", &noise(1, 100_000));
        sandbox.init();
        let mut guard = NearGuard::new(&sandbox);
        let stats = tier(&mut guard, policy).expect("a run");
        assert_eq!((stats.uploaded.files, stats.stubbed.files), (1, 1));
        assert_eq!(guard.stubs.len(), 1);
        assert!(is_stub(&sandbox.tree().join("a")));
        let mut blind = NearGuard::new(&sandbox);
        blind.watches = Err("it has not seen its probe yet".to_owned());
        sandbox.write("b", &noise(2, 100_000));
        let error = tier(&mut blind, policy).expect_err("nobody watches");
        assert!(matches!(error, tier::Error::Unguarded { .. }), "{error}");
        assert!(!is_stub(&sandbox.tree().join("b")));
    }
}

/// Opening a file breaks the lease on it: a guard would recall it then.
#[test]
fn a_scan_and_a_check_open_no_stub_where_a_guard_watches() {
    let sandbox = stubbed(3);
    let open = |name| File::open(sandbox.tree().join(name)).expect("open");
    let files = ["f0", "f1", "f2"].map(open);
    let leases: Vec<WriteLease<'_>> =
        files.iter().map(|file| WriteLease::acquire(file).expect("probe").expect("free")).collect();
    // A suspect: its ctime is not what was recorded.
    files[0].set_permissions(PermissionsExt::from_mode(0o600)).expect("chmod");
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    run(&mut guard, &notes, |site, row, root| {
        let request = rescan::ScanRequest::default();
        let seen = rescan::rescan(&mut site.ground(), row, root, &request).expect("a scan");
        assert_eq!(seen.changes.suspects.len(), 1);
        let roots = [(row.clone(), RootDir::open(&row.path).expect("the root"))];
        let options = verify::Options::default();
        let found = verify::run(site, &roots, &options, &mut |problem| panic!("{problem:?}"));
        assert_eq!(found.expect("a check").stubs, 3);
    });
    assert_eq!(notes.failures(), [""; 0]);
    assert!(leases.iter().all(WriteLease::intact), "a stub was opened");
    assert_eq!((guard.recalls.len(), guard.stubs.len()), (0, 0));
    assert_eq!(row(&sandbox, "f0").state, FileState::Stub);
}

#[test]
fn a_stub_that_is_whole_is_waited_for_a_while_and_then_uploaded_again() {
    let sandbox = stubbed(1);
    let scan = |now_ns: Option<i64>| {
        let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
        run(&mut guard, &notes, |site, row, root| {
            if let Some(now_ns) = now_ns {
                site.clock = Clock::fixed(now_ns);
            }
            let request = rescan::ScanRequest::default();
            rescan::rescan(&mut site.ground(), row, root, &request).expect("a scan");
        });
        assert_eq!(notes.failures(), [""; 0]);
        row(&sandbox, "f0").state
    };
    let before = row(&sandbox, "f0");
    sandbox.on("recall", &[], &["f0"]).succeeds();
    // As if the guard had recalled it and not yet said so.
    let db = rusqlite::Connection::open(sandbox.state_db()).expect("open");
    db.execute("UPDATE file SET state = 'stub', ctime_ns = ?1", [before.ctime_ns]).expect("set");
    drop(db);
    assert_eq!(scan(None), FileState::Stub);
    let later = Clock::system().now_ns() + 3_600_000_000_000;
    assert_eq!(scan(Some(later)), FileState::Dirty);
}

#[test]
fn a_request_of_a_foreign_or_hostile_run_is_refused_file_by_file() {
    let sandbox = stubbed(1);
    let mut guard = NearGuard::new(&sandbox);
    std::fs::create_dir(sandbox.tree().join("dir")).expect("mkdir");
    std::os::unix::fs::symlink("/etc/passwd", sandbox.tree().join("link")).expect("symlink");
    let paths = ["dir", "link", "gone", "f0"].map(path).to_vec();
    let root_id = row(&sandbox, "f0").root;
    let work = ToRecall { paths, ..ToRecall::default() };
    let done = guard.recall(root_id, &work).expect("recall");
    assert_eq!((done.files, done.failures.len()), (1, 3));
    assert!(done.failures.iter().all(|failure| failure.doing == "recall"));
}

#[test]
fn status_names_the_programs_that_had_stubs_recalled() {
    let sandbox = stubbed(1);
    let quiet = sandbox.hsm(["status"]).succeeds().stdout();
    assert!(!quiet.contains("recalled for programs"), "{quiet}");
    let managed = row(&sandbox, "f0");
    let now_ns = Clock::system().now_ns();
    let recall = |exe: &str, outcome: &str, at_ns| RecallRow {
        at_ns,
        ident: managed.ident,
        roots: vec![managed.root],
        ctime_ns: (outcome == RECALLED).then_some(0),
        mtime_ns: (outcome == RECALLED).then_some(0),
        bytes: 3 << 20,
        latency_ms: 12,
        pid: 1,
        uid: 33,
        exe: exe.to_owned(),
        cgroup: String::new(),
        outcome: outcome.to_owned(),
    };
    let log = [
        recall("/usr/bin/updatedb\n", RECALLED, now_ns),
        recall("/usr/bin/updatedb\n", RECALLED, now_ns),
        recall("/usr/bin/file", "EIO: the store is unreachable", now_ns),
        recall("/usr/bin/old", RECALLED, now_ns - 8 * 86_400_000_000_000),
    ];
    let mut state = StateDb::open(&sandbox.state_db()).expect("open");
    state.record_recalls(&log).expect("record");
    let text = sandbox.hsm(["status"]).succeeds().stdout();
    for line in [
        "\nrecalled for programs in the last 7 days\n",
        "  6 MiB  2 files  uid 33  /usr/bin/updatedb\\n\n",
        "    0 B  0 files  uid 33  /usr/bin/file\n",
        "  1 opens were refused because a recall failed\n",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(!text.contains("/usr/bin/old"), "{text}");
    let ran = sandbox.hsm(["status", "--json"]).succeeds();
    assert_eq!(ran.summary()["refused_recalls"], 1);
    let line = ran.stdout().lines().find(|line| line.contains("recaller")).map(str::to_owned);
    let recaller: serde_json::Value = serde_json::from_str(&line.expect("a record")).expect("JSON");
    assert_eq!((&recaller["files"], &recaller["bytes"]), (&2.into(), &(6 << 20).into()));
}

#[test]
#[should_panic(expected = "after")]
fn the_strict_custody_bites() {
    let sandbox = stubbed(2);
    let custody = Strict::default();
    let mut files = ["f0", "f1"].map(|name| File::open(sandbox.tree().join(name)).expect("open"));
    files.sort_by_key(|file| file_ident(file).expect("an identity"));
    std::mem::forget(custody.hold(&files[1]).expect("held"));
    std::mem::forget(custody.hold(&files[0]));
}
