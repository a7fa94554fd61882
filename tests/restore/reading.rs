//! Files from the store without a place on the disk: one to standard output, many as
//! an archive.

use super::scene::{fresh, fresh_command, linked_policy, lose, text, without_sockets};
use crate::support::snapshot::{Snapshot, assert_same, snapshot};
use crate::support::trees::{noise, ordinary, prose, root_traps, traps};
use crate::support::{Ran, Sandbox};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// A tree in a store, and nothing else left.
fn in_store(init: &[&str]) -> (Sandbox, Snapshot) {
    let sandbox = Sandbox::empty();
    ordinary(&sandbox.tree());
    traps(&sandbox.tree());
    if rustix::process::geteuid().is_root() {
        root_traps(&sandbox.tree());
    }
    sandbox.write("large", &noise(77, 50 << 20));
    let before = without_sockets(snapshot(&sandbox.tree()));
    let url = sandbox.store_url();
    sandbox.init_with(&[&["--store", &url], init].concat());
    sandbox.policy(&linked_policy());
    sandbox.hsm(["tier"]).succeeds();
    lose(&sandbox);
    (sandbox, before)
}

fn cat(sandbox: &Sandbox, options: &[&str], name: &str) -> Ran {
    let (url, path) = (sandbox.store_url(), sandbox.tree().join(name));
    fresh(sandbox, [&["cat", "--store", &url], options, &[text(&path)]].concat())
}

#[test]
fn one_file_is_written_out_byte_for_byte() {
    let (sandbox, _) = in_store(&[]);
    let whole = cat(&sandbox, &[], "large").succeeds().output.stdout;
    assert!(whole == noise(77, 50 << 20));
    assert_eq!(cat(&sandbox, &[], "traps/empty").succeeds().output.stdout, b"");
    let sparse = cat(&sandbox, &[], "traps/sparse").succeeds().output.stdout;
    assert_eq!(sparse.len(), 8 << 20);
    assert!(sparse[1 << 20..][..100_000] == noise(9, 100_000));
    assert!(sparse[..1 << 20].iter().all(|byte| *byte == 0));
    assert_eq!(cat(&sandbox, &[], "traps/all-hole").succeeds().output.stdout, vec![0; 3 << 20]);
    for name in ["traps", "traps/link"] {
        cat(&sandbox, &[], name).exits(1).complains(&["is not a regular file", "hsm restore"]);
    }
    cat(&sandbox, &[], "absent").exits(1).complains(&["absent", "hsm history"]);
    cat(&sandbox, &["--json"], "large").exits(2).complains(&["bytes, not records"]);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let (sandbox, _) = in_store(&[]);
    let (url, path) = (sandbox.store_url(), sandbox.tree().join("large"));
    for args in [vec!["cat", "--store", &url, text(&path)], vec!["export", "--store", &url]] {
        let mut command = fresh_command(&sandbox, &args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("hsm starts");
        let mut some = [0; 1000];
        let mut from = child.stdout.take().expect("a pipe");
        from.read_exact(&mut some).expect("the beginning");
        drop(from);
        let output = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
        assert!(!said.contains("error"), "{said}");
    }
}

fn unpack(archive: &[u8], to: &Path) {
    fs::create_dir(to).expect("mkdir");
    fs::write(to.with_extension("tar"), archive).expect("write");
    let mut tar = Command::new("tar");
    tar.args(["-xp", "--xattrs", "--xattrs-include=*", "--acls", "-C"]).arg(to);
    tar.arg("-f").arg(to.with_extension("tar"));
    Ran::of(&mut tar).succeeds();
}

#[test]
fn an_archive_unpacks_to_the_tree_that_it_was() {
    let (sandbox, before) = in_store(&[]);
    let url = sandbox.store_url();
    let ran = fresh(&sandbox, ["export", "--store", &url]).succeeds();
    let to = sandbox.path("unpacked");
    unpack(&ran.output.stdout, &to);
    let tree = to.join(sandbox.tree().strip_prefix("/").expect("absolute"));
    let mut found = snapshot(&tree);
    let mut before = before;
    if !rustix::process::geteuid().is_root() {
        before.values_mut().chain(found.values_mut()).for_each(|entry| entry.xattrs.clear());
    }
    assert_same(&before, &found);
    let part = sandbox.tree().join("dir1/sub");
    let ran = fresh(&sandbox, ["export", "--store", &url, text(&part)]).succeeds();
    let mut list = Command::new("tar");
    fs::write(sandbox.path("part.tar"), &ran.output.stdout).expect("write");
    let listed = Ran::of(list.arg("-tf").arg(sandbox.path("part.tar"))).succeeds().stdout();
    assert_eq!(listed.lines().count(), 7, "{listed}");
    assert!(listed.lines().all(|line| line.contains("/tree/dir1/sub/")), "{listed}");
}

/// Small files that are not whole are left out and named; the archive is good.
#[test]
fn a_damaged_copy_is_never_written_out() {
    let sandbox = Sandbox::new();
    sandbox.write("a/small", &prose(1, 30_000));
    sandbox.hsm(["tier"]).succeeds();
    damage_packs(&sandbox);
    sandbox.write("a/later", &noise(2, 40_000));
    sandbox.hsm(["tier"]).succeeds();
    let (url, out) = (sandbox.store_url(), sandbox.path("unpacked"));
    lose(&sandbox);
    let ran = cat(&sandbox, &[], "a/small").exits(1);
    assert_eq!(ran.output.stdout, b"");
    ran.complains(&["a/small cannot be read whole", "hsm verify --data"]);
    let ran = fresh(&sandbox, ["export", "--store", &url]).exits(3);
    unpack(&ran.output.stdout, &out);
    ran.complains(&["cannot export", "a/small"]);
    let tree = out.join(sandbox.tree().strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read(tree.join("a/later")).expect("read"), noise(2, 40_000));
    assert!(!tree.join("a/small").exists());
}

/// In the middle of a large file an archive cannot go on, and must not look whole.
#[test]
fn an_archive_that_is_cut_off_does_not_look_like_a_whole_one() {
    let sandbox = Sandbox::new();
    sandbox.write("large", &noise(1, 60 << 20));
    sandbox.write("z", &noise(2, 10));
    sandbox.hsm(["tier"]).succeeds();
    let mut packs = packs(&sandbox);
    packs.sort_by_key(|path| fs::metadata(path).expect("metadata").len());
    let mut bytes = fs::read(packs.last().expect("a pack")).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 5000].fill(7);
    fs::write(packs.last().expect("a pack"), bytes).expect("write");
    let url = sandbox.store_url();
    lose(&sandbox);
    let ran = fresh(&sandbox, ["export", "--store", &url]);
    let archive = sandbox.path("cut.tar");
    fs::write(&archive, &ran.output.stdout).expect("write");
    ran.exits(1).complains(&["the archive ends in the middle of", "large"]);
    let mut tar = Command::new("tar");
    let listed = tar.arg("-tf").arg(&archive).output().expect("tar");
    assert!(!listed.status.success(), "tar takes it for whole");
}

fn packs(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let all = walkdir::WalkDir::new(sandbox.store().join("packs"));
    let files =
        all.into_iter().map(|entry| entry.expect("readable")).filter(|e| e.file_type().is_file());
    files.map(walkdir::DirEntry::into_path).collect()
}

fn damage_packs(sandbox: &Sandbox) {
    for pack in packs(sandbox) {
        let mut bytes = fs::read(&pack).expect("read");
        bytes[200..260].fill(7);
        fs::write(&pack, bytes).expect("write");
    }
}

#[test]
fn an_archive_is_not_written_to_a_terminal() {
    let (sandbox, _) = in_store(&[]);
    let url = sandbox.store_url();
    let export = fresh_command(&sandbox, ["export", "--store", &url]);
    let words = [export.get_program()].into_iter().chain(export.get_args());
    let line: Vec<String> =
        words.map(|word| format!("'{}'", word.to_str().expect("plain"))).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &line.join(" "), "/dev/null"]).stdin(Stdio::null());
    let output = match script.output() {
        Ok(output) => output,
        Err(_) => return crate::support::skip("a terminal", "needs script (util-linux)"),
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("an archive is not for a terminal"), "{said}");
}
