//! Copies of stubs: refused by everything until a person adopts them, and then
//! stubs like any other.

#[path = "support/bench.rs"]
mod bench;
mod support;

use bench::{HandsOff, NearGuard, Notes, path, row, with_site};
use hsm::adopt::{self, Adopted, Record};
use hsm::ids::ContentId;
use hsm::os::lease::WriteLease;
use hsm::policy::FileState;
use hsm::site::{Catalog, Guard};
use hsm::stub::{self, Marker, MarkerSpace, Placement};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use support::snapshot::{allocated, is_stub};
use support::trees::noise;
use support::{Ran, Sandbox};

const LEN: usize = 3_000_000;

/// `original`, a stub, and `copy`, which `cp -a` made of it and a scan has seen.
fn copied() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("original", &noise(1, LEN));
    sandbox.hsm(["tier"]).succeeds();
    copy(&sandbox, "copy");
    sandbox.hsm(["scan"]).succeeds();
    sandbox
}

fn copy(sandbox: &Sandbox, name: &str) {
    let mut command = Command::new("cp");
    command.args(["-a", "--sparse=always"]);
    command.args(["original", name].map(|name| sandbox.tree().join(name)));
    assert!(command.status().expect("cp").success());
    assert!(matches!(placement(sandbox, name), Placement::Foreign(_)));
}

fn open(sandbox: &Sandbox, name: &str) -> File {
    let path = sandbox.tree().join(name);
    File::options().read(true).write(true).open(path).expect("open")
}

fn space() -> MarkerSpace {
    MarkerSpace::for_this_process()
}

fn placement(sandbox: &Sandbox, name: &str) -> Placement {
    stub::inspect(&open(sandbox, name), space()).expect("inspect")
}

fn adopt(sandbox: &Sandbox, options: &[&str], name: &str) -> Ran {
    let options: Vec<&str> = ["--json"].iter().chain(options).copied().collect();
    sandbox.on("adopt", &options, &[name])
}

/// It is refused, for this reason, and as it was before.
fn refused(sandbox: &Sandbox, options: &[&str], why: &[&str]) {
    let blocks = allocated(&sandbox.tree().join("copy"));
    let ran = adopt(sandbox, options, "copy").exits(3).complains(why);
    assert_eq!(ran.summary()["adopted_files"], 0);
    assert!(matches!(placement(sandbox, "copy"), Placement::Foreign(_)));
    assert_eq!(allocated(&sandbox.tree().join("copy")), blocks);
}

#[test]
fn a_copy_of_a_stub_becomes_a_stub_of_its_own_and_has_its_bytes() {
    let sandbox = copied();
    let command = format!("hsm adopt {}", sandbox.tree().join("copy").display());
    sandbox.on("recall", &[], &["copy"]).exits(3).complains(&[&command]);
    let mtime = |name: &str| open(&sandbox, name).metadata().expect("stat").modified().unwrap();
    let before = mtime("copy");
    let summary = adopt(&sandbox, &[], "copy").succeeds().summary();
    assert_eq!((&summary["adopted_files"], &summary["unmanaged_files"]), (&1.into(), &0.into()));
    assert!(is_stub(&sandbox.tree().join("copy")));
    assert!(matches!(placement(&sandbox, "copy"), Placement::Stub(_)));
    assert_eq!(mtime("copy"), before);
    assert_eq!(row(&sandbox, "copy").state, FileState::Stub);
    // The next run catalogues it, and the check of the copies knows it.
    sandbox.hsm(["tier"]).succeeds();
    assert!(row(&sandbox, "copy").segment_seq.is_some());
    assert_eq!(sandbox.hsm(["verify", "--json"]).succeeds().summary()["stubs"], 2);
    // The original need not exist any more.
    std::fs::remove_file(sandbox.tree().join("original")).expect("remove");
    sandbox.hsm(["scan"]).succeeds();
    sandbox.on("recall", &[], &["copy"]).succeeds();
    assert_eq!(sandbox.read("copy"), noise(1, LEN));
    assert_eq!(row(&sandbox, "copy").state, FileState::Uploaded);
}

#[test]
fn a_verification_lists_the_stubs_that_want_to_be_adopted() {
    let sandbox = copied();
    let found = sandbox.hsm(["verify", "--json"]).exits(4);
    assert_eq!(found.summary()["stray_stubs"], 1);
    assert!(found.stdout().contains("\"kind\":\"stray-stub\""), "{}", found.stdout());
    let told = sandbox.hsm(["verify"]).exits(4).stdout();
    let copy = sandbox.tree().join("copy");
    assert!(told.contains(&format!("{}: it is a copy of a stub", copy.display())), "{told}");
    assert!(told.contains("hsm adopt"), "{told}");
    adopt(&sandbox, &[], "copy").succeeds();
    assert_eq!(sandbox.hsm(["verify", "--json"]).succeeds().summary()["stray_stubs"], 0);
}

#[test]
fn adopting_again_changes_nothing() {
    let sandbox = copied();
    adopt(&sandbox, &["--data"], "copy").succeeds();
    let before = row(&sandbox, "copy");
    adopt(&sandbox, &[], "copy").succeeds();
    assert_eq!(row(&sandbox, "copy"), before);
    sandbox.on("recall", &[], &["copy"]).succeeds();
    assert_eq!(adopt(&sandbox, &[], "copy").succeeds().summary()["resident_files"], 1);
}

#[test]
fn a_file_that_no_scan_has_seen_is_bound_and_recorded_later() {
    let sandbox = copied();
    copy(&sandbox, "new");
    let ran = sandbox.on("adopt", &[], &["new"]).succeeds();
    assert!(ran.stdout().contains("hsm scan"), "{}", ran.stdout());
    assert!(matches!(placement(&sandbox, "new"), Placement::Stub(_)));
    sandbox.hsm(["scan"]).succeeds();
    assert_eq!(adopt(&sandbox, &[], "new").succeeds().summary()["unmanaged_files"], 0);
    assert_eq!(row(&sandbox, "new").state, FileState::Stub);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let sandbox = copied();
    let summary = adopt(&sandbox, &["--dry-run", "--data"], "copy").succeeds().summary();
    assert_eq!(summary["adopted_files"], 1);
    assert!(matches!(placement(&sandbox, "copy"), Placement::Foreign(_)));
    let state = hsm::state::StateDb::open_read_only(&sandbox.state_db()).expect("open");
    let root = state.roots().expect("roots")[0].id;
    assert_eq!(state.managed_at(root, &path("copy")).expect("read"), None);
}

/// Who forgets --recursive is told, and not that all is well.
#[test]
fn a_directory_is_no_copy() {
    let sandbox = copied();
    for name in ["", "dir"] {
        std::fs::create_dir_all(sandbox.tree().join(name)).expect("a directory");
        let ran = adopt(&sandbox, &[], name).exits(3).complains(&["a directory; hsm adopt -r"]);
        assert_eq!(ran.summary()["resident_files"], 0);
    }
    assert!(matches!(placement(&sandbox, "copy"), Placement::Foreign(_)));
}

#[test]
fn a_file_with_some_of_its_data_is_refused_and_a_whole_one_is_an_ordinary_file() {
    let sandbox = copied();
    let file = open(&sandbox, "copy");
    file.write_all_at(&noise(9, 8192), 1 << 20).expect("write");
    refused(&sandbox, &[], &["holds data", "8192 bytes"]);
    file.write_all_at(&vec![0; LEN], 0).expect("write");
    refused(&sandbox, &[], &["zeros", "fallocate"]);
    file.write_all_at(&noise(9, LEN), 0).expect("write");
    drop(file);
    let summary = adopt(&sandbox, &[], "copy").succeeds().summary();
    assert_eq!((&summary["resident_files"], &summary["adopted_files"]), (&1.into(), &0.into()));
    assert_eq!(placement(&sandbox, "copy"), Placement::Resident);
    assert_eq!(sandbox.read("copy"), noise(9, LEN));
}

#[test]
fn a_content_that_nobody_knows_is_refused() {
    let sandbox = copied();
    let Placement::Foreign(marker) = placement(&sandbox, "copy") else { panic!("foreign") };
    let plant = |marker: Marker| {
        let name = space().attribute();
        xattr::set(sandbox.tree().join("copy"), name, &marker.encode()).expect("mark");
    };
    plant(Marker { content: ContentId([7; 32]), ..marker.clone() });
    refused(&sandbox, &[], &["neither the state DB nor the catalog knows"]);
    plant(Marker { store_tag: [7; 4], ..marker.clone() });
    refused(&sandbox, &[], &["another store"]);
    plant(Marker { size_bytes: marker.size_bytes - 1, ..marker.clone() });
    refused(&sandbox, &[], &["its content has"]);
    plant(marker);
    open(&sandbox, "copy").set_len(LEN as u64 - 1).expect("truncate");
    refused(&sandbox, &[], &["its size is"]);
}

#[test]
fn a_copy_that_is_lost_or_bad_is_refused() {
    let sandbox = copied();
    let pack = walkdir::WalkDir::new(sandbox.store().join("packs"))
        .into_iter()
        .map(|entry| entry.expect("readable"))
        .find(|entry| entry.file_type().is_file())
        .expect("a pack")
        .into_path();
    let whole = std::fs::read(&pack).expect("read");
    let mut bad = whole.clone();
    bad[LEN / 2] ^= 1;
    std::fs::write(&pack, &bad).expect("write");
    adopt(&sandbox, &["--dry-run"], "copy").succeeds();
    refused(&sandbox, &["--data"], &["a chunk of the copy is bad"]);
    std::fs::write(&pack, &whole[..whole.len() - 1]).expect("write");
    refused(&sandbox, &[], &["another size"]);
    std::fs::remove_file(&pack).expect("remove");
    refused(&sandbox, &[], &["the store has no pack"]);
}

#[test]
fn a_file_in_use_is_refused() {
    let sandbox = copied();
    let _open = open(&sandbox, "copy");
    refused(&sandbox, &[], &["a program has it open"]);
}

/// A guard refuses every open of such a file, to `hsm` as well; a lease tells
/// whether one was tried.
#[test]
fn where_a_guard_watches_nothing_is_opened() {
    let sandbox = copied();
    let file = File::open(sandbox.tree().join("copy")).expect("open");
    let lease = WriteLease::acquire(&file).expect("probe").expect("free");
    let (mut guard, notes) = (NearGuard::new(&sandbox), Notes::default());
    let adopted = with_site(
        &sandbox,
        &HandsOff,
        Some(&mut guard as &mut dyn Guard),
        &notes,
        |site, row, root| {
            let (catalog, options) = (&mut Catalog::default(), adopt::Options::default());
            adopt::adopt(site, catalog, row.id, root, &path("copy"), options)
        },
    );
    let adopted = adopted.expect("it goes on").expect("adopted");
    assert!(matches!(adopted, Adopted::Stub { record: Record::Managed, .. }), "{adopted:?}");
    assert!(lease.intact(), "it was opened");
    drop(lease);
    assert!(matches!(placement(&sandbox, "copy"), Placement::Stub(_)));
    sandbox.on("recall", &[], &["copy"]).succeeds();
    assert_eq!(sandbox.read("copy"), noise(1, LEN));
}

/// A server that shares the bucket, or one that has lost its state DB.
#[test]
fn a_content_that_only_the_catalog_knows_is_adopted_and_recalled() {
    let sandbox = copied();
    std::fs::remove_dir_all(sandbox.path("home")).expect("remove");
    std::fs::create_dir(sandbox.path("home")).expect("mkdir");
    sandbox.init();
    sandbox.hsm(["scan"]).succeeds();
    let ran = sandbox.on("adopt", &[], &["copy"]).succeeds();
    assert!(ran.stdout().contains("catalog"), "{}", ran.stdout());
    sandbox.on("recall", &[], &["copy"]).succeeds();
    assert_eq!(sandbox.read("copy"), noise(1, LEN));
}
