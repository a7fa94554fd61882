//! What a manifest lists: stubs that are stubs now, and nothing else.

use crate::support::snapshot::is_stub;
use crate::support::trees::noise;
use crate::support::{Ran, Sandbox};
use serde_json::Value;
use std::fs;

/// The lines of `hsm manifest`.
fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout().lines().map(|line| serde_json::from_str(line).expect("an object")).collect()
}

/// The rows' names below the tree, with `damaged` or `logged` beside them.
fn names(sandbox: &Sandbox, ran: &Ran) -> Vec<String> {
    let tree = format!("{}/", sandbox.tree().display());
    let lines = lines(ran);
    let rows = &lines[1..lines.len() - 1];
    assert_eq!(lines[lines.len() - 1]["rows"], rows.len());
    let name = |row: &Value| {
        let path = row["path"]["text"].as_str().expect("text");
        let name = path.strip_prefix(&tree).expect("below the tree").to_owned();
        let state = if row["state"] == "damaged" { " damaged" } else { "" };
        let logged = if row["logged"] == true { "" } else { " unlogged" };
        name + state + logged
    };
    rows.iter().map(name).collect()
}

fn four() -> Sandbox {
    let sandbox = Sandbox::new();
    for (seed, name) in ["a/one", "a/two", "b/three", "four"].iter().enumerate() {
        sandbox.write(name, &noise(seed as u64, 70_000));
    }
    sandbox.hsm(["tier"]).succeeds();
    sandbox
}

#[test]
fn the_header_says_of_whom_and_when_and_rows_say_what() {
    let mut sandbox = four();
    sandbox.set_env("HSM_TEST_NOW", "2027-03-01T02:00:00Z");
    let ran = sandbox.on("manifest", &[], &["a", "a/one", "four"]).succeeds();
    let lines = lines(&ran);
    let header = &lines[0];
    assert_eq!(header["format"], "hsm-manifest");
    assert_eq!(header["version"], 1);
    assert_eq!(header["url"], sandbox.store_url());
    assert_eq!(header["encrypted"], false);
    assert_eq!(header["made"], "2027-03-01T02:00:00Z");
    assert_eq!(header["snapshot"], Value::Null);
    let roots: Vec<_> = header["roots"].as_array().expect("a list").iter().collect();
    assert_eq!(roots.len(), 2, "a part that is in another is none: {roots:?}");
    let descriptor = fs::read_to_string(sandbox.store().join("hsm-store.json")).expect("there");
    assert!(descriptor.contains(header["store"].as_str().expect("an id")));
    assert!(header["seq"].as_u64() > Some(0));
    assert_eq!(names(&sandbox, &ran), ["four", "a/one", "a/two"]);
    let row = &lines[2];
    let metadata = fs::metadata(sandbox.tree().join("a/one")).expect("there");
    use std::os::unix::fs::MetadataExt;
    let mtime_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    assert_eq!(row["mtime_ns"], mtime_ns.to_string());
    assert_eq!(row["size_bytes"], 70_000);
    assert_eq!(row["content"].as_str().expect("an id").len(), 64);
    assert_eq!(lines[4]["size_bytes"], 210_000);
}

#[test]
fn what_is_not_that_stub_any_more_is_for_the_backup_to_read() {
    let sandbox = four();
    let at = |name: &str| sandbox.tree().join(name);
    // Another file, at the old path and of the old size; one that came back; one that
    // somebody wrote to; one that is gone.
    fs::remove_file(at("a/one")).expect("removed");
    sandbox.write("a/one", &noise(9, 70_000));
    sandbox.on("recall", &[], &["a/two"]).succeeds();
    let mut file = fs::File::options().write(true).open(at("b/three")).expect("open");
    std::io::Write::write_all(&mut file, b"new bytes").expect("written");
    fs::rename(at("four"), sandbox.path("home/four")).expect("moved away");
    let ran = sandbox.hsm(["manifest"]).succeeds();
    assert_eq!(names(&sandbox, &ran), Vec::<String>::new());
    assert!(ran.stderr().contains("have changed or gone"), "{}", ran.stderr());
    assert!(ran.stderr().contains("no guard is at work"), "{}", ran.stderr());
    // A copy of a stub is none, and a symbolic link leads nowhere.
    fs::rename(sandbox.path("home/four"), at("five")).expect("moved back");
    std::os::unix::fs::symlink("five", at("four")).expect("a link");
    assert_eq!(names(&sandbox, &sandbox.hsm(["manifest"]).succeeds()), Vec::<String>::new());
}

#[test]
fn a_stub_is_listed_by_every_name() {
    let sandbox = Sandbox::new();
    sandbox.policy(
        "unguarded = true\n[defaults]\nmin_stub_size = \"0\"\nquiet = \"0s\"\n\
         [[rule]]\nname = \"all\"\nnlink_max = 9\naction = \"tier\"\n",
    );
    sandbox.write("a/one", &noise(1, 70_000));
    fs::create_dir(sandbox.tree().join("b")).expect("a directory");
    fs::hard_link(sandbox.tree().join("a/one"), sandbox.tree().join("b/two")).expect("a link");
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("b/two")));
    let both = ["a/one", "b/two"];
    assert_eq!(names(&sandbox, &sandbox.hsm(["manifest"]).succeeds()), both);
    for name in both {
        let dir = name.split('/').next().expect("a directory");
        assert_eq!(names(&sandbox, &sandbox.on("manifest", &[], &[dir]).succeeds()), [name]);
    }
    // One name became another file.
    fs::remove_file(sandbox.tree().join("a/one")).expect("removed");
    sandbox.write("a/one", &noise(2, 70_000));
    assert_eq!(names(&sandbox, &sandbox.hsm(["manifest"]).succeeds()), ["b/two"]);
}

#[test]
fn damage_and_what_the_log_does_not_have_are_problems() {
    let sandbox = four();
    fs::rename(sandbox.tree().join("a"), sandbox.tree().join("c")).expect("moved");
    sandbox.hsm(["scan"]).succeeds();
    let moved = sandbox.hsm(["manifest"]).exits(4).complains(&["2 stubs were moved", "hsm tier"]);
    assert_eq!(names(&sandbox, &moved), ["four", "b/three", "c/one unlogged", "c/two unlogged"]);
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["manifest"]).succeeds();
    for pack in crate::backup::programs::files(&sandbox.store().join("packs")) {
        fs::remove_file(sandbox.store().join("packs").join(pack)).expect("removed");
    }
    sandbox.hsm(["verify"]).exits(4);
    let damaged = sandbox.hsm(["manifest"]).exits(4).complains(&["4 stubs have damaged copies"]);
    assert!(names(&sandbox, &damaged).iter().all(|name| name.ends_with(" damaged")));
}

#[test]
fn a_manifest_has_its_name_only_when_it_is_whole() {
    let sandbox = four();
    let file = sandbox.path("home/rows");
    let text = file.to_str().expect("text");
    sandbox.hsm(["manifest", "-o", text]).succeeds();
    let before = fs::read(&file).expect("the manifest");
    // The root is not what it was: nothing is concluded and nothing replaced.
    fs::rename(sandbox.tree(), sandbox.path("away")).expect("moved");
    sandbox.hsm(["manifest", "-o", text]).exits(1);
    assert_eq!(fs::read(&file).expect("still there"), before);
    let left = fs::read_dir(sandbox.path("home")).expect("home").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".tmp")), "{left:?}");
    sandbox.hsm(["manifest", "--json"]).exits(2).complains(&["both want standard output"]);
}
