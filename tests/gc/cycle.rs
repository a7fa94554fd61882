//! What goes and what stays, run after run.

use crate::place::{
    AT_ONCE, all_is_there, collecting, gc, gc_to_the_end, in_days, packs, set_gc, store_bytes,
};
use crate::support::snapshot::{assert_same, snapshot};
use crate::support::trees::{noise, prose};
use crate::support::{Sandbox, UPLOAD_POLICY};
use std::fs;
use std::time::{Duration, SystemTime};

fn write_all(sandbox: &Sandbox, version: u64) {
    for file in 0..24_u64 {
        let bytes = noise(version * 100 + file, 120_000 + file as usize * 5_000);
        sandbox.write(&format!("dir{}/file{file}", file % 6), &bytes);
    }
    sandbox.write("text", &prose(version, 400_000));
}

#[test]
fn after_ten_versions_and_half_the_files_the_store_is_as_large_as_what_is_alive() {
    let sandbox = collecting(AT_ONCE);
    sandbox.policy(UPLOAD_POLICY);
    for version in 0..10 {
        write_all(&sandbox, version);
        sandbox.hsm(["tier"]).succeeds();
    }
    let full = store_bytes(&sandbox.store());
    // Scattered: every pack keeps half of its files.
    for file in (0..24).step_by(2) {
        fs::remove_file(sandbox.tree().join(format!("dir{}/file{file}", file % 6))).unwrap();
    }
    sandbox.hsm(["tier"]).succeeds();
    let before = snapshot(&sandbox.tree());
    let deleted = gc_to_the_end(&sandbox);
    let left = store_bytes(&sandbox.store());
    assert!(deleted > full / 2, "{deleted} of {full}");
    let fresh = Sandbox::new();
    fresh.policy(UPLOAD_POLICY);
    for (path, entry) in &before {
        if entry.kind == 'f' {
            let path = path.to_str().expect("text");
            fresh.write(path, &sandbox.read(path));
        }
    }
    fresh.hsm(["tier"]).succeeds();
    let wanted = store_bytes(&fresh.store());
    assert!(left <= wanted / 10 * 11, "{left} bytes, a fresh store takes {wanted}");
    sandbox.policy(crate::support::EAGER_POLICY);
    sandbox.hsm(["tier"]).succeeds();
    all_is_there(&sandbox);
    assert_same(&before, &snapshot(&sandbox.tree()));
}

#[test]
fn a_deletion_is_never_in_the_run_that_finds_it_and_never_before_its_time() {
    let mut sandbox = collecting("grace = \"30d\"\nmax_share = \"100%\"\n");
    sandbox.write("kept", &noise(1, 100_000));
    sandbox.write("gone", &noise(2, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    sandbox.write("kept", &noise(3, 100_000));
    fs::remove_file(sandbox.tree().join("gone")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    let all = packs(&sandbox.store());
    let summary = gc(&sandbox);
    assert_eq!((&summary["expired_versions"], &summary["condemned_packs"]), (&0.into(), &0.into()));
    let at = |sandbox: &mut Sandbox, days: i64| {
        sandbox.set_env("HSM_TEST_NOW", &in_days(days));
        sandbox.hsm(["scan"]).succeeds();
    };
    at(&mut sandbox, 29);
    assert_eq!(gc(&sandbox)["condemned_packs"], 0, "the grace is not over");
    at(&mut sandbox, 31);
    let told = sandbox.hsm(["gc", "--dry-run", "--json"]).succeeds();
    assert_eq!(told.summary()["condemned_packs"], 1, "{}", told.stdout());
    assert_eq!(packs(&sandbox.store()), all);
    let summary = gc(&sandbox);
    assert_eq!(summary["condemned_packs"], 1, "{summary}");
    assert!(summary["expired_versions"].as_u64() >= Some(2), "{summary}");
    assert_eq!(packs(&sandbox.store()), all, "only planned");
    let summary = gc(&sandbox);
    assert_eq!((&summary["waiting"], &summary["deleted_packs"]), (&true.into(), &0.into()));
    assert_eq!(packs(&sandbox.store()), all, "a plan settles for a day");
    at(&mut sandbox, 33);
    let summary = gc(&sandbox);
    assert_eq!(summary["deleted_packs"], 1, "{summary}");
    assert_eq!(packs(&sandbox.store()).len(), all.len() - 1);
    all_is_there(&sandbox);
    assert!(sandbox.read("kept") == noise(3, 100_000));
    let summary = gc(&sandbox);
    assert_eq!((&summary["condemned_packs"], &summary["deleted_packs"]), (&0.into(), &0.into()));
}

#[test]
fn a_retention_keeps_the_last_versions_and_a_dry_run_writes_nothing() {
    let sandbox = collecting(AT_ONCE);
    sandbox.policy(&format!(
        "{UPLOAD_POLICY}\n[[retention]]\nname = \"documents\"\nkeep_versions = 2\n"
    ));
    for version in 0..5 {
        sandbox.write("paper", &noise(version, 200_000));
        sandbox.hsm(["tier"]).succeeds();
    }
    let before = (store_bytes(&sandbox.store()), fs::read(sandbox.state_db()).unwrap());
    let told = sandbox.hsm(["gc", "--dry-run"]).succeeds();
    assert_eq!(told.stdout().matches("delete").count(), 2, "{}", told.stdout());
    let after = (store_bytes(&sandbox.store()), fs::read(sandbox.state_db()).unwrap());
    assert!(before == after, "a dry run writes nothing");
    let url = sandbox.store_url();
    let told = sandbox.hsm(["gc", "--dry-run", "--store", &url, "--json"]).succeeds().summary();
    assert_eq!((&told["total_packs"], &told["condemned_packs"]), (&5.into(), &0.into()));
    gc_to_the_end(&sandbox);
    assert_eq!(packs(&sandbox.store()).len(), 3, "what is there and the two before");
    sandbox.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn an_encrypted_pack_that_is_mostly_dead_is_written_anew_and_its_files_come_back() {
    let sandbox = Sandbox::empty();
    let (url, key) = (sandbox.store_url(), sandbox.path("home/store.key"));
    let key = key.to_str().expect("text");
    sandbox.init_with(&["--store", &url, "--encrypt", "--key-file", key]);
    set_gc(&sandbox, AT_ONCE);
    for file in 0..20 {
        let bytes = if file % 2 == 0 { noise(file, 80_000) } else { prose(file, 200_000) };
        sandbox.write(&format!("file{file}"), &bytes);
    }
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let old = packs(&sandbox.store());
    for file in 5..20 {
        fs::remove_file(sandbox.tree().join(format!("file{file}"))).unwrap();
    }
    sandbox.hsm(["tier"]).succeeds();
    let summary = gc(&sandbox);
    assert_eq!((&summary["repacked_packs"], &summary["condemned_packs"]), (&1.into(), &1.into()));
    gc_to_the_end(&sandbox);
    let new = packs(&sandbox.store());
    assert!(new.len() == 1 && new.is_disjoint(&old), "{new:?}");
    all_is_there(&sandbox);
    let after = snapshot(&sandbox.tree());
    for file in 0..5 {
        let path = std::path::PathBuf::from(format!("file{file}"));
        assert_eq!(before[&path].digest, after[&path].digest);
    }
    assert_eq!(gc(&sandbox)["repacked_packs"], 0, "what was written anew is full");
}

#[test]
fn what_is_named_by_no_log_goes_when_it_is_old() {
    let sandbox = collecting(AT_ONCE);
    sandbox.write("file", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let own = packs(&sandbox.store());
    let stray = |id: &str| {
        let path = sandbox.store().join(format!("packs/{}/{id}", &id[id.len() - 2..]));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, noise(9, 50_000)).unwrap();
        path
    };
    let young = stray("01890000-0000-7000-8000-00000000beef");
    let old = stray("01890000-0000-7000-8000-00000000dead");
    let foreign = sandbox.store().join("packs/de/readme.txt");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "not ours").unwrap();
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 86_400);
    for path in [&old, &foreign] {
        fs::File::options().write(true).open(path).unwrap().set_modified(two_days_ago).unwrap();
    }
    gc_to_the_end(&sandbox);
    assert!(!old.exists() && young.exists() && foreign.exists());
    assert!(own.iter().all(|path| path.exists()));
    all_is_there(&sandbox);
}

#[test]
fn temporaries_of_writers_that_died_are_swept() {
    let sandbox = collecting(AT_ONCE);
    sandbox.write("file", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let dir = packs(&sandbox.store()).iter().next().unwrap().parent().unwrap().to_owned();
    let (old, young) = (dir.join(".hsm-tmp-old"), dir.join(".hsm-tmp-young"));
    for path in [&old, &young] {
        fs::write(path, "half of a pack").unwrap();
    }
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 86_400);
    fs::File::options().write(true).open(&old).unwrap().set_modified(two_days_ago).unwrap();
    assert_eq!(gc(&sandbox)["temporaries"], 1);
    assert!(!old.exists() && young.exists());
}
