//! Whole stores, as a release left them, each with what its tree was.
//!
//! ```text
//! tests/data/<name>/store/         what hsm wrote
//! tests/data/<name>/key            of an encrypted store
//! tests/data/<name>/before.jsonl   the tree after the first run
//! tests/data/<name>/now.jsonl      and after the last
//! ```
//!
//! The first line of a list has `as_of_ns`, every other describes one path. What is
//! there is never written again: a store like it exists somewhere.
//! `HSM_WRITE_DATA=1 cargo test --test formats_v1 stores`, run as root, writes
//! those of [`KINDS`] that are missing.

use crate::script::{Script, succeeded};
use crate::support::snapshot::{Entry, snapshot};
use crate::support::trees::{noise, prose};
use crate::support::{EAGER_POLICY, Sandbox};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Directory below tests/data, and whether it is encrypted.
pub const KINDS: [(&str, bool); 2] = [("store-v1", false), ("store-v1-encrypted", true)];

/// In a repository every byte is kept for ever.
const MAX_STORE_BYTES: u64 = 200 << 10;

/// Small chunks, so that small files have several; hard links too.
const POLICY: &str = r#"
[[rule]]
name = "dumps"
include = ["**/*.sql"]
chunking = "fastcdc:64KiB:128KiB:256KiB"
action = "tier"

[[rule]]
chunking = "fixed:64KiB"
nlink_max = 10"#;

pub fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Writes the store and its lists to `dir`, which must not exist.
pub fn write(dir: &Path, encrypted: bool) {
    let sandbox = Sandbox::empty();
    let (url, key) = (sandbox.store_url(), sandbox.path("key"));
    let key_text = key.to_str().expect("temporary paths are UTF-8");
    let options = ["--store", &url, "--encrypt", "--key-file", key_text];
    sandbox.init_with(if encrypted { &options } else { &options[..2] });
    sandbox.policy(&EAGER_POLICY.replacen("[[rule]]", POLICY.trim_start(), 1));

    first_tree(&sandbox.tree());
    let before = list(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    let before_ns = now_ns();
    // The snapshot keeps the tree as it was from the collection behind it.
    sandbox.hsm(["snapshot", "create", "first"]).succeeds();
    sandbox.hsm(["snapshot", "seal", "first", "--until", "2100-01-01"]).succeeds();
    sandbox.hsm(["snapshot", "create", "passing"]).succeeds();
    sandbox.hsm(["snapshot", "delete", "passing"]).succeeds();
    change(&sandbox);
    collect(&sandbox);
    sandbox.hsm(["tier"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    let now = list(&sandbox.tree());

    fs::create_dir_all(dir).expect("a directory for the data");
    copy(&sandbox.store(), &dir.join("store"));
    if encrypted {
        fs::copy(&key, dir.join("key")).expect("the key");
    }
    fs::write(dir.join("before.jsonl"), text(before_ns, &before)).expect("a list");
    fs::write(dir.join("now.jsonl"), text(now_ns(), &now)).expect("a list");
    // As a checkout will have it.
    let mut chmod = std::process::Command::new("chmod");
    assert!(chmod.args(["-R", "a+rX"]).arg(dir).status().expect("chmod").success());
    let bytes: u64 = snapshot(&dir.join("store")).values().map(|entry| entry.size).sum();
    assert!(bytes < MAX_STORE_BYTES, "the store has {bytes} bytes");
}

/// A file that comes and goes, and whose pack is deleted.
fn collect(sandbox: &Sandbox) {
    let config = fs::read_to_string(sandbox.config()).expect("the configuration");
    let at_once = "\n[gc]\ngrace = \"0s\"\nsettle = \"0s\"\nmax_share = \"100%\"\n";
    fs::write(sandbox.config(), config + at_once).expect("the configuration");
    sandbox.write("passing", &noise(99, 9_000));
    sandbox.hsm(["tier"]).succeeds();
    fs::remove_file(sandbox.tree().join("passing")).expect("deleted");
    sandbox.hsm(["tier"]).succeeds();
    sandbox.hsm(["gc"]).succeeds();
    let swept = sandbox.hsm(["gc", "--json"]).succeeds().summary();
    assert!(swept["deleted_packs"].as_u64() > Some(0), "{swept}");
}

/// Everything that reads a store reads this one, and leaves it as it is.
pub fn check(dir: &Path) {
    let sandbox = Sandbox::empty();
    fs::remove_dir(sandbox.store()).expect("an empty directory");
    copy(&dir.join("store"), &sandbox.store());
    let key = dir.join("key").exists().then(|| {
        let key = sandbox.path("key");
        fs::copy(dir.join("key"), &key).expect("the key");
        // A checkout makes it readable by all, which hsm refuses.
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("chmod");
        key
    });
    let stored = snapshot(&sandbox.store());
    let script = Script { store: sandbox.store(), key: key.clone() };
    succeeded(&script.check());
    let [before, now] = ["before.jsonl", "now.jsonl"].map(|name| lines(&dir.join(name)));
    let as_of = before[0]["as_of_ns"].as_i64().expect("a time").to_string();
    script_restores(&sandbox, &script, &[], &now[1..]);
    script_restores(&sandbox, &script, &["--as-of", &as_of], &before[1..]);

    let url = sandbox.store_url();
    let mut verify: Vec<&OsStr> = ["verify", "--data", "--store", &url].map(OsStr::new).to_vec();
    if let Some(key) = &key {
        verify.extend([OsStr::new("--key-file"), key.as_os_str()]);
    }
    sandbox.hsm(verify).succeeds();
    assert_eq!(snapshot(&sandbox.store()), stored, "reading changed the store");
}

fn script_restores(sandbox: &Sandbox, script: &Script, options: &[&str], expected: &[Value]) {
    let out = sandbox.path("out");
    let output = script.restore(options, &out);
    // An ordinary user gets everything but the device.
    let done = output.status.success() || !rustix::process::geteuid().is_root();
    assert!(done, "{}", String::from_utf8_lossy(&output.stderr));
    assert_is(&tree_below(&out), expected);
    fs::remove_dir_all(&out).expect("what was restored goes");
}

/// The only node's only tree: the directory that holds more than the next one.
fn tree_below(out: &Path) -> PathBuf {
    let mut at = out.to_owned();
    loop {
        let entries: Vec<_> = fs::read_dir(&at).expect("a directory").collect();
        match &entries[..] {
            [Ok(only)] => at = only.path(),
            _ => return at,
        }
    }
}

/// Compares a tree with a list, without what an ordinary user cannot restore.
#[track_caller]
fn assert_is(tree: &Path, expected: &[Value]) {
    let root = rustix::process::geteuid().is_root();
    let visible = |mut line: Value| -> Option<Value> {
        if !root {
            let fields = line.as_object_mut().expect("an object");
            fields.retain(|name, _| name != "uid" && name != "gid" && name != "mode");
            let xattrs = fields.get_mut("xattrs").and_then(Value::as_object_mut);
            xattrs.expect("attributes").retain(|name, _| name.starts_with("user."));
        }
        (root || !matches!(line["type"].as_str(), Some("c" | "b"))).then_some(line)
    };
    let found: Vec<Value> = list(tree).into_iter().filter_map(visible).collect();
    let expected: Vec<Value> = expected.iter().cloned().filter_map(visible).collect();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

/// A line per path, sorted; independent of the file system.
fn list(tree: &Path) -> Vec<Value> {
    snapshot(tree).iter().map(|(path, entry)| line(path, entry)).collect()
}

fn line(path: &Path, entry: &Entry) -> Value {
    let xattrs: serde_json::Map<String, Value> = (entry.xattrs.iter())
        .map(|(name, value)| {
            (String::from_utf8_lossy(name).into_owned(), hex::encode(value).into())
        })
        .collect();
    json!({
        "path": name(path.as_os_str()),
        "type": entry.kind,
        "mode": format!("{:04o}", entry.mode),
        "uid": entry.uid,
        "gid": entry.gid,
        "names": if entry.kind == 'd' { 1 } else { entry.nlink },
        "size": entry.size,
        "mtime_ns": entry.mtime.0 * 1_000_000_000 + entry.mtime.1,
        "rdev": entry.rdev,
        "target": entry.target.as_ref().map(|target| name(target.as_os_str())),
        "xattrs": xattrs,
        "sha256": entry.digest.as_ref().map(hex::encode),
        "sparse": entry.size > 0 && entry.data.is_some(),
    })
}

fn name(name: &OsStr) -> Value {
    match name.to_str() {
        Some(text) => json!({ "text": text }),
        None => json!({ "bytes": STANDARD.encode(name.as_bytes()) }),
    }
}

fn text(as_of_ns: i64, list: &[Value]) -> String {
    let head = json!({ "as_of_ns": as_of_ns });
    std::iter::once(&head).chain(list).map(|line| format!("{line}\n")).collect()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a list");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_nanos()).expect("before 2262")
}

fn copy(from: &Path, to: &Path) {
    let mut cp = std::process::Command::new("cp");
    assert!(cp.arg("-r").args([from, to]).status().expect("cp").success());
}

/// Something of every kind that a store can hold.
fn first_tree(tree: &Path) {
    let at = |name: &str| tree.join(name);
    fs::create_dir_all(at("projects/2024/empty")).expect("directories");
    fs::write(at("projects/2024/report.txt"), prose(1, 20_000)).expect("text");
    fs::write(at("projects/2024/photo.raw"), noise(2, 20_000)).expect("noise");
    fs::write(at("projects/2024/photo (copy).raw"), noise(2, 20_000)).expect("the same again");
    fs::write(at("projects/film.mkv"), noise(3, 1000).repeat(300)).expect("several chunks");
    let rows: String = (0..40_000).map(|row| format!("({})\n", row % 1000)).collect();
    fs::write(at("projects/dump.sql"), rows).expect("a dump");
    fs::write(at("empty"), b"").expect("an empty file");
    fs::write(at("with\nnewline"), b"x").expect("an odd name");
    fs::write(tree.join(OsStr::from_bytes(b"not-\xff-utf8")), b"y").expect("an odd name");
    let image = fs::File::create(at("disk.img")).expect("a file");
    image.set_len(8 << 20).expect("its size");
    image.write_all_at(&prose(4, 5000), 1 << 20).expect("data in the middle");
    fs::File::create(at("hole.img")).expect("a file").set_len(1 << 20).expect("its size");
    fs::write(at("one name"), noise(5, 500)).expect("a file");
    fs::hard_link(at("one name"), at("projects/other name")).expect("a hard link");
    symlink("projects/2024", at("latest")).expect("a symlink");
    symlink("/nowhere/at all", at("dangling")).expect("a dangling symlink");
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), fifo, mode, 0).expect("a fifo");
    for (name, mode) in [("projects/film.mkv", 0o444), ("empty", 0o4755), ("projects", 0o2750)] {
        fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).expect("chmod");
    }
    xattr::set(at("one name"), "user.comment", b"kept\0as it is").expect("an attribute");
    xattr::set(at("projects/2024"), "user.project", b"24").expect("an attribute");
    if rustix::process::geteuid().is_root() {
        of_root(tree);
    }
}

fn of_root(tree: &Path) {
    let at = |name: &str| tree.join(name);
    let char = rustix::fs::FileType::CharacterDevice;
    let (mode, null) = (rustix::fs::Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3));
    rustix::fs::mknodat(rustix::fs::CWD, at("null"), char, mode, null).expect("a device");
    fs::write(at("owned"), b"by somebody").expect("a file");
    std::os::unix::fs::chown(at("owned"), Some(1234), Some(2345)).expect("chown");
    // cap_net_raw=ep, and an ACL of user 1234: version 2, then tag, permissions, id.
    let capability = [1u8, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(at("owned"), "security.capability", &capability).expect("a capability");
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (1u16, 6u16, u32::MAX),
        (2, 6, 1234),
        (4, 4, u32::MAX),
        (16, 6, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()));
        acl.extend(id.to_le_bytes());
    }
    xattr::set(at("projects/2024/report.txt"), "system.posix_acl_access", &acl).expect("an ACL");
}

/// What happens to a tree between two runs.
fn change(sandbox: &Sandbox) {
    let at = |name: &str| sandbox.tree().join(name);
    sandbox.on("recall", &[], &["projects/2024/report.txt"]).succeeds();
    sandbox.write("projects/2024/report.txt", &prose(6, 25_000));
    fs::remove_file(at("projects/2024/photo (copy).raw")).expect("deleted");
    fs::rename(at("projects/dump.sql"), at("projects/2024/dump.sql")).expect("moved");
    fs::set_permissions(at("with\nnewline"), PermissionsExt::from_mode(0o600)).expect("chmod");
    sandbox.write("new", b"came later");
}
