//! Bad input, single files: odd names, everything that is no regular file,
//! flags that forbid writing, files in use, files that change under our hands,
//! stubs that somebody wrote to or copied. Each is left alone with a reason
//! that has a name, and all else is done.

mod support;

#[path = "support/loopfs.rs"]
mod loopfs;

use base64::Engine as _;
use loopfs::{FsKind, LoopFs};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::held::Held;
use support::snapshot::{allocated, assert_same, is_stub, snapshot};
use support::trees::{noise, root_traps, traps};
use support::{Sandbox, needs_root};

/// What `explain` answers for one condition: `Some(true)`, `Some(false)`, or
/// `None` for "only known when it is tried"; with the detail.
fn condition(sandbox: &Sandbox, name: &str, condition: &str) -> (Option<bool>, String) {
    let ran = sandbox.on("explain", &["--json"], &[name]).succeeds();
    let text = ran.stdout();
    let first = text.lines().next().expect("an explanation");
    let explained: serde_json::Value = serde_json::from_str(first).expect("an object");
    let found = explained["conditions"].as_array().expect("a list");
    let found = found.iter().find(|finding| finding["condition"] == condition);
    let found = found.unwrap_or_else(|| panic!("no {condition} in {text}"));
    (found["holds"].as_bool(), found["detail"].as_str().expect("a text").to_owned())
}

/// How many files a run of `tier` left alone for this reason.
fn refused(ran: &support::Ran, condition: &str) -> u64 {
    let text = ran.stdout();
    let root = text.lines().find(|line| line.contains("\"type\":\"root\"")).expect("a root record");
    let root: serde_json::Value = serde_json::from_str(root).expect("an object");
    root["refused"][condition].as_u64().unwrap_or(0)
}

fn odd_names() -> Vec<Vec<u8>> {
    vec![
        b"plain".to_vec(),
        b"with\nnewline".to_vec(),
        b"not-\xff\xfe-utf8".to_vec(),
        vec![b'n'; 255],
        b"tab\tand \x1b[31mcolour\x1b[0m".to_vec(),
        b" leading and trailing ".to_vec(),
        b"-rf".to_vec(),
        b"*?[a]{b,c}\\".to_vec(),
        "nai\u{308}ve \u{202e}desrever".as_bytes().to_vec(),
    ]
}

#[test]
fn any_name_survives_every_command() {
    let sandbox = Sandbox::new();
    let dir = sandbox.tree().join(OsStr::from_bytes(b"odd\xfe\ndir"));
    fs::create_dir(&dir).unwrap();
    let paths: Vec<PathBuf> =
        odd_names().iter().map(|name| dir.join(OsStr::from_bytes(name))).collect();
    for (seed, path) in paths.iter().enumerate() {
        fs::write(path, noise(seed as u64, 70_000)).unwrap();
    }
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();

    let mut listed = sandbox.hsm(["find", "--state", "stub", "-0"]).succeeds().output.stdout;
    assert_eq!(listed.pop(), Some(0));
    let mut listed: Vec<&[u8]> = listed.split(|byte| *byte == 0).collect();
    let mut wanted: Vec<&[u8]> = paths.iter().map(|path| path.as_os_str().as_bytes()).collect();
    listed.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(listed, wanted);

    let records = sandbox.hsm(["ls", "-r", "--json"]).succeeds().stdout();
    let mut named: Vec<Vec<u8>> =
        records.lines().filter_map(|line| name_in(line, "file")).collect();
    named.sort_unstable();
    assert_eq!(named, wanted);
    for path in &paths {
        assert!(is_stub(path), "{}", path.display());
        let explained = sandbox.hsm([OsStr::new("explain"), "--json".as_ref(), path.as_ref()]);
        let text = explained.succeeds().stdout();
        let name = name_in(text.lines().next().unwrap(), "").expect("a name");
        assert_eq!(name, path.as_os_str().as_bytes());
    }
    // One run names them all; the list comes as it went out.
    let list = sandbox.path("home/list");
    let joined: Vec<u8> =
        paths.iter().flat_map(|p| [p.as_os_str().as_bytes(), b"\0"].concat()).collect();
    fs::write(&list, joined).unwrap();
    let list = list.to_str().unwrap();
    sandbox.hsm(["recall", "-0", "--files-from", list]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
}

/// The raw name in a record; `kind` narrows it to records of that kind.
fn name_in(line: &str, kind: &str) -> Option<Vec<u8>> {
    let record: serde_json::Value = serde_json::from_str(line).expect("an object");
    if !kind.is_empty() && record["kind"] != kind {
        return None;
    }
    let name = record.get("path")?;
    match (name["text"].as_str(), name["bytes"].as_str()) {
        (Some(text), None) => Some(text.as_bytes().to_vec()),
        (None, Some(bytes)) => base64::engine::general_purpose::STANDARD.decode(bytes).ok(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_with_an_odd_name_forges_no_line() {
    let sandbox = Sandbox::new();
    let name = "x\nerror: all is lost\n\x1b[2Jy";
    symlink("nowhere", sandbox.tree().join(name)).unwrap();
    let ran = sandbox.on("recall", &[], &[name]).exits(3);
    let text = ran.stderr();
    assert!(text.contains("x\\nerror: all is lost\\n\\x1b[2Jy"), "{text:?}");
    assert!(
        !text.contains('\x1b') && !text.lines().any(|line| line.starts_with("error:")),
        "{text}"
    );
}

#[test]
fn what_is_no_regular_file_is_never_opened_nor_followed() {
    let sandbox = Sandbox::empty();
    let outside = sandbox.path("outside");
    fs::write(&outside, noise(1, 100_000)).unwrap();
    symlink(&outside, sandbox.tree().join("link out")).unwrap();
    symlink("..", sandbox.tree().join("link up")).unwrap();
    symlink("loop", sandbox.tree().join("loop")).unwrap();
    let fifo = sandbox.tree().join("fifo");
    let kind = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    let socket = UnixListener::bind(sandbox.tree().join("socket")).unwrap();
    socket.set_nonblocking(true).unwrap();
    if rustix::process::geteuid().is_root() {
        root_traps(&sandbox.tree());
    }
    sandbox.write("file", &noise(2, 100_000));
    let before = snapshot(&sandbox.tree());
    sandbox.init();
    // An open of the FIFO for writing would succeed while somebody reads it:
    // `hsm` would be that reader. It hangs on nothing and meets nobody.
    let runs: &[&[&str]] = &[&["tier"], &["verify", "--data"], &["recall", "-r"]];
    for args in runs {
        let mut args: Vec<PathBuf> = args.iter().map(PathBuf::from).collect();
        args.extend((args[0].as_os_str() == "recall").then(|| sandbox.tree()));
        sandbox.hsm(args).succeeds();
    }
    assert!(socket.accept().is_err(), "somebody connected to the socket");
    for name in ["fifo", "socket", "link out", "link up", "loop"] {
        let ran = sandbox.on("recall", &[], &[name]).exits(3);
        ran.complains(&["cannot recall", name, "not a regular file but a"]);
        sandbox.on("upload", &[], &[name]).succeeds();
        sandbox.on("stub", &[], &[name]).succeeds();
    }
    assert!(!is_stub(&outside));
    assert_same(&before, &snapshot(&sandbox.tree()));
}

#[test]
fn a_fifo_put_in_a_files_place_hangs_nobody() {
    let sandbox = Sandbox::new();
    sandbox.write("file", &noise(1, 100_000));
    sandbox.write("other", &noise(2, 100_000));
    let at = sandbox.tree().join("file");
    for point in ["tier.scanned", "tier.uploaded"] {
        let held = Held::at(&sandbox, point, &["tier"]);
        fs::rename(&at, sandbox.path("kept")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(rustix::fs::CWD, &at, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        held.finish().exits(3).complains(&["tree/file", "not a regular file but a fifo"]);
        assert!(is_stub(&sandbox.tree().join("other")));
        fs::remove_file(&at).unwrap();
        fs::rename(sandbox.path("kept"), &at).unwrap();
    }
    sandbox.hsm(["tier"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_eq!(sandbox.read("file"), noise(1, 100_000));
}

#[test]
fn immutable_and_append_only_files_are_uploaded_and_stay() {
    let test = "immutable_and_append_only_files_are_uploaded_and_stay";
    let Some(mount) = LoopFs::new(test, FsKind::Ext4) else { return };
    let sandbox = Sandbox::below(mount.path());
    sandbox.init();
    for (name, flag) in [("frozen", "+i"), ("log", "+a")] {
        sandbox.write(name, &noise(1, 100_000));
        chattr(flag, &sandbox.tree().join(name));
    }
    sandbox.write("ordinary", &noise(2, 100_000));
    let before = snapshot(&sandbox.tree());
    let ran = sandbox.hsm(["tier", "--json"]);
    let findings = ["frozen", "log"].map(|name| condition(&sandbox, name, "mutable"));
    let human = sandbox.on("explain", &[], &["frozen"]).succeeds().stdout();
    let recalled = sandbox.on("recall", &["-r"], &[""]);
    let after = snapshot(&sandbox.tree());
    for (name, flag) in [("frozen", "-i"), ("log", "-a")] {
        chattr(flag, &sandbox.tree().join(name));
    }
    let ran = ran.succeeds();
    assert_eq!((refused(&ran, "mutable"), &ran.summary()["uploaded_files"]), (2, &3.into()));
    assert_eq!(findings[0], (Some(false), "it is immutable (chattr +i)".to_owned()));
    assert_eq!(findings[1], (Some(false), "it is append-only (chattr +a)".to_owned()));
    assert!(human.contains("NO  mutable"), "{human}");
    recalled.succeeds();
    assert_same(&before, &after);
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("frozen")), "as soon as the flag is gone");
}

#[test]
fn a_stub_that_was_made_immutable_says_so_when_it_is_recalled() {
    let test = "a_stub_that_was_made_immutable_says_so_when_it_is_recalled";
    let Some(mount) = LoopFs::new(test, FsKind::Ext4) else { return };
    let sandbox = Sandbox::below(mount.path());
    sandbox.init();
    sandbox.write("file", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    chattr("+i", &sandbox.tree().join("file"));
    let ran = sandbox.on("recall", &[], &["file"]);
    chattr("-i", &sandbox.tree().join("file"));
    ran.exits(3).complains(&["cannot recall", "tree/file", "Operation not permitted"]);
    sandbox.on("recall", &[], &["file"]).succeeds();
    assert_eq!(sandbox.read("file"), noise(1, 100_000));
}

fn chattr(flag: &str, path: &Path) {
    assert!(Command::new("chattr").arg(flag).arg(path).status().unwrap().success());
}

#[test]
fn a_file_that_somebody_has_open_is_not_stubbed() {
    let sandbox = Sandbox::new();
    for name in ["read", "written", "mapped", "free"] {
        sandbox.write(name, &noise(1, 100_000));
    }
    let at = |name: &str| sandbox.tree().join(name);
    let reader = File::open(at("read")).unwrap();
    let writer = File::options().append(true).open(at("written")).unwrap();
    let mapping = Mapping::of(&at("mapped"));
    let ran = sandbox.hsm(["tier", "--json"]).succeeds();
    assert_eq!(refused(&ran, "not-open"), 3, "{}", ran.stdout());
    for name in ["read", "written", "mapped"] {
        assert!(!is_stub(&at(name)), "{name}");
        let (holds, detail) = condition(&sandbox, name, "not-open");
        assert_eq!((holds, detail.as_str()), (Some(false), "a program has it open or mapped"));
    }
    assert!(is_stub(&at("free")));
    let human = sandbox.hsm(["tier"]).succeeds().stdout();
    assert!(
        human.contains("3 files left: not-open") || human.contains("3 left: not-open"),
        "{human}"
    );
    drop((reader, writer, mapping));
    sandbox.hsm(["tier"]).succeeds();
    for name in ["read", "written", "mapped"] {
        assert!(is_stub(&at(name)), "{name} is free now");
    }
}

/// A file mapped into memory, its descriptor closed, by a program of its own.
struct Mapping(std::process::Child);

impl Mapping {
    fn of(path: &Path) -> Self {
        use std::io::{BufRead, BufReader};
        let program = "import mmap, sys\n\
             f = open(sys.argv[1], 'rb')\n\
             m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n\
             f.close()\n\
             print('mapped', flush=True)\n\
             sys.stdin.read()\n";
        let mut child = Command::new("python3")
            .args(["-c", program])
            .arg(path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "mapped\n");
        Self(child)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Each way in which a file can change between the scan and its copy.
#[test]
fn a_file_that_changed_since_the_scan_is_not_uploaded_as_something_else() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("grown", |path| append(path, b"more")),
        ("shrunk", |path| File::options().write(true).open(path).unwrap().set_len(50_000).unwrap()),
        ("emptied", |path| File::options().write(true).open(path).unwrap().set_len(0).unwrap()),
        ("rewritten", |path| write_at(path, 0, b"another beginning")),
        ("replaced", |path| {
            let beside = path.with_extension("new");
            fs::write(&beside, noise(99, 100_000)).unwrap();
            fs::rename(beside, path).unwrap();
        }),
        ("deleted", |path| fs::remove_file(path).unwrap()),
    ];
    let sandbox = Sandbox::new();
    for (name, _) in changes {
        sandbox.write(name, &noise(1, 100_000));
    }
    sandbox.write("steady", &noise(2, 100_000));
    let held = Held::at(&sandbox, "tier.scanned", &["tier"]);
    changes.iter().for_each(|(name, change)| change(&sandbox.tree().join(name)));
    let after = snapshot(&sandbox.tree());
    let ran = held.finish().succeeds();
    for name in ["grown", "shrunk", "emptied", "rewritten", "replaced"] {
        let line = ran.stderr();
        let line = line.lines().find(|line| line.contains(&format!("tree/{name}")));
        let line = line.unwrap_or_else(|| panic!("{name}: {}", ran.stderr()));
        assert!(line.contains("it is no longer the file that was scanned"), "{line}");
        assert!(!is_stub(&sandbox.tree().join(name)), "{name}");
    }
    assert!(is_stub(&sandbox.tree().join("steady")));
    comes_home_as(&sandbox, &after);
}

/// The same while its bytes are being read.
#[test]
fn a_file_that_changes_while_it_is_read_is_not_uploaded() {
    let big = noise(3, 9 << 20);
    for (point, small) in [("upload.file-stamped", true), ("upload.range-read", false)] {
        for (what, change) in [
            ("grows", (|path| append(path, b"more")) as fn(&Path)),
            ("shrinks", |path| {
                File::options().write(true).open(path).unwrap().set_len(10).unwrap()
            }),
            ("is written to", |path| write_at(path, 5, b"!")),
        ] {
            let sandbox = Sandbox::new();
            sandbox.write("file", if small { &big[..100_000] } else { &big });
            let held = Held::at(&sandbox, point, &["tier"]);
            change(&sandbox.tree().join("file"));
            let after = snapshot(&sandbox.tree());
            let ran = held.finish();
            assert!(!is_stub(&sandbox.tree().join("file")), "{point}, it {what}");
            assert_same(&after, &snapshot(&sandbox.tree()));
            let said = format!("{}{}", ran.stdout(), ran.stderr());
            assert!(said.contains("changed"), "{point}, it {what}: {said}");
            comes_home_as(&sandbox, &after);
        }
    }
}

/// And between its copy and the moment when its blocks would be freed.
#[test]
fn a_file_that_changed_since_its_upload_keeps_its_bytes() {
    let sandbox = Sandbox::new();
    for name in ["grown", "rewritten", "replaced", "same size and time", "steady"] {
        sandbox.write(name, &noise(1, 100_000));
    }
    let held = Held::at(&sandbox, "tier.uploaded", &["tier", "--json"]);
    let at = |name: &str| sandbox.tree().join(name);
    append(&at("grown"), b"more");
    write_at(&at("rewritten"), 7, b"!");
    fs::write(at("new"), noise(9, 100_000)).unwrap();
    fs::rename(at("new"), at("replaced")).unwrap();
    let mtime = fs::metadata(at("same size and time")).unwrap().modified().unwrap();
    write_at(&at("same size and time"), 50_000, b"!");
    File::options()
        .write(true)
        .open(at("same size and time"))
        .unwrap()
        .set_modified(mtime)
        .unwrap();
    let after = snapshot(&sandbox.tree());
    let ran = held.finish().succeeds();
    assert_eq!(refused(&ran, "unchanged"), 4, "{}", ran.stdout());
    assert!(is_stub(&at("steady")));
    let kept: Vec<&str> = vec!["grown", "rewritten", "replaced", "same size and time"];
    assert!(kept.iter().all(|name| !is_stub(&at(name))));
    comes_home_as(&sandbox, &after);
}

/// Markers are set, nothing is freed yet: whoever opens a file now is waited
/// for and finds all of it.
#[test]
fn a_file_that_is_opened_while_its_batch_is_flushed_keeps_its_bytes() {
    let sandbox = Sandbox::new();
    sandbox.write("opened", &noise(1, 100_000));
    sandbox.write("left alone", &noise(2, 100_000));
    let held = Held::at(&sandbox, "stub.markers-flushed", &["tier", "--json"]);
    let path = sandbox.tree().join("opened");
    let mut no_wait = File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(no_wait.read(true), libc::O_NONBLOCK);
    let refused_open = no_wait.open(&path).expect_err("a lease stands in the way");
    assert_eq!(refused_open.kind(), std::io::ErrorKind::WouldBlock);
    let ran = held.finish().succeeds();
    assert_eq!(refused(&ran, "not-open"), 1, "{}", ran.stdout());
    assert!(!is_stub(&path) && is_stub(&sandbox.tree().join("left alone")));
    assert_eq!(sandbox.read("opened"), noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&path));
}

/// Another `tier`, everything recalled: the tree is what it was.
#[track_caller]
fn comes_home_as(sandbox: &Sandbox, wanted: &support::snapshot::Snapshot) {
    sandbox.hsm(["tier"]).succeeds();
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(wanted, &snapshot(&sandbox.tree()));
    sandbox.hsm(["verify", "--data"]).succeeds();
}

fn append(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    File::options().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

#[test]
fn sparse_empty_and_attributed_files_come_back_as_they_were() {
    let sandbox = Sandbox::empty();
    traps(&sandbox.tree());
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        root_traps(&sandbox.tree());
    }
    let before = snapshot(&sandbox.tree());
    sandbox.init();
    sandbox.hsm(["tier"]).succeeds();
    let at = |name: &str| sandbox.tree().join(name);
    assert!(is_stub(&at("traps/sparse")) && is_stub(&at("traps/attributed")));
    assert_eq!(allocated(&at("traps/empty")), 0);
    assert!(!is_stub(&at("traps/empty")), "an empty file has nothing to free");
    if is_root {
        // What a stub is to others must not change either.
        for name in ["roots/capable", "roots/setuid", "roots/listed"] {
            assert!(is_stub(&at(name)), "{name}");
        }
        let entry = &before[Path::new("roots/capable")];
        assert!(entry.xattrs.contains_key(&b"security.capability"[..]));
        let while_stub = snapshot(&sandbox.tree());
        for name in ["roots/capable", "roots/setuid", "roots/listed", "roots/owned"] {
            let (was, is) = (&before[Path::new(name)], &while_stub[Path::new(name)]);
            assert_eq!((&was.xattrs, was.mode, was.uid), (&is.xattrs, is.mode, is.uid), "{name}");
        }
    }
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
}

#[test]
fn hard_links_are_left_alone_and_explained() {
    let sandbox = Sandbox::new();
    sandbox.write("first", &noise(1, 100_000));
    fs::hard_link(sandbox.tree().join("first"), sandbox.tree().join("second")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    for name in ["first", "second"] {
        assert!(!is_stub(&sandbox.tree().join(name)));
        let (holds, detail) = condition(&sandbox, name, "one-name");
        assert_eq!(holds, Some(false));
        assert!(detail.contains("2 names") && detail.contains("nlink_max"), "{detail}");
    }
    // A second name given to a stub is the same file, and comes home with it.
    fs::remove_file(sandbox.tree().join("second")).unwrap();
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("first")));
    fs::hard_link(sandbox.tree().join("first"), sandbox.tree().join("third")).unwrap();
    sandbox.on("recall", &[], &["third"]).succeeds();
    assert_eq!(sandbox.read("first"), noise(1, 100_000));
    assert_eq!(fs::metadata(sandbox.tree().join("first")).unwrap().nlink(), 2);
}

#[test]
fn a_stub_that_was_written_to_is_refused_until_somebody_decides() {
    let sandbox = Sandbox::new();
    let bytes = noise(1, 1 << 20);
    for name in ["patched", "cut", "grown"] {
        sandbox.write(name, &bytes);
    }
    sandbox.hsm(["tier"]).succeeds();
    let at = |name: &str| sandbox.tree().join(name);
    write_at(&at("patched"), 300_000, b"written by somebody who saw no guard");
    File::options().write(true).open(at("cut")).unwrap().set_len(1000).unwrap();
    append(&at("grown"), b"a line at the end");
    let written = snapshot(&sandbox.tree());
    for name in ["patched", "cut", "grown"] {
        let ran = sandbox.on("recall", &[], &[name]).exits(3);
        ran.complains(&[name, "it was written to while it was a stub", "--discard-local"]);
    }
    // Neither does a run take the rest for the file, nor throw it away.
    let ran = sandbox.hsm(["tier", "--json"]);
    assert_eq!(ran.summary()["uploaded_files"], 0, "{}", ran.stdout());
    assert_same(&written, &snapshot(&sandbox.tree()));
    sandbox.on("recall", &["--discard-local"], &["patched", "cut", "grown"]).succeeds();
    for name in ["patched", "cut", "grown"] {
        assert!(sandbox.read(name) == bytes, "{name}");
    }
    sandbox.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn a_stub_is_never_uploaded_as_a_file_even_if_the_state_db_is_lost() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/film", &noise(1, 3 << 20));
    sandbox.write("dir/song", &noise(2, 70_000));
    let before = snapshot(&sandbox.tree());
    sandbox.hsm(["tier"]).succeeds();
    fs::remove_dir_all(sandbox.state_dir()).unwrap();
    sandbox.hsm(["tier"]).exits(10).complains(&["there is no state DB", "try: hsm rebuild"]);
    let tree = sandbox.tree();
    sandbox.hsm(["init", tree.to_str().unwrap()]).succeeds();
    let ran = sandbox.hsm(["tier", "--json"]).exits(3);
    let ran = ran.complains(&["film", "song", "it carries a stub's marker", "run hsm recall"]);
    assert_eq!(ran.summary()["uploaded_files"], 0, "{}", ran.stdout());
    assert!(is_stub(&sandbox.tree().join("dir/film")));
    let plan = sandbox.on("recall", &["-r", "--dry-run"], &[""]).succeeds().stdout();
    assert!(plan.contains("dir/film") && plan.contains("2 files to recall (3.1 MiB)"), "{plan}");
    sandbox.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&before, &snapshot(&sandbox.tree()));
    sandbox.hsm(["tier"]).succeeds();
    assert!(is_stub(&sandbox.tree().join("dir/film")));
}

/// Whoever may write a file of an ordinary user's tree may also set its marker.
#[test]
fn a_forged_marker_brings_nobody_elses_bytes() {
    let sandbox = Sandbox::empty();
    sandbox.write("secret", &noise(1, 100_000));
    sandbox.write("mine", &noise(2, 100_000));
    let hsm = support::as_nobody(&sandbox);
    let tree = sandbox.tree();
    let (tree, state) = (tree.to_str().unwrap(), sandbox.state_dir());
    let (state, store) = (state.to_str().unwrap(), sandbox.store_url());
    hsm(&["init", "--state-dir", state, "--store", &store, tree]).succeeds();
    sandbox.policy(support::EAGER_POLICY);
    hsm(&["tier"]).succeeds();
    let at = |name: &str| sandbox.tree().join(name);
    let attribute = |name: &str| xattr::get(at(name), "user.hsm").unwrap().unwrap();
    let marker = |name: &str| hsm::stub::Marker::decode(&attribute(name)).unwrap();
    let honest = attribute("mine");
    let forged = hsm::stub::Marker { content: marker("secret").content, ..marker("mine") };
    let mine = at("mine");
    let mine = mine.to_str().unwrap();
    for db in ["known", "lost"] {
        xattr::set(at("mine"), "user.hsm", &forged.encode()).unwrap();
        hsm(&["recall", mine]).exits(3).complains(&["mine", "not what hsm recorded of it"]);
        assert_eq!(sandbox.read("mine"), vec![0; 100_000], "state DB {db}");
        if db == "known" {
            fs::remove_dir_all(sandbox.state_dir()).unwrap();
            hsm(&["init", tree]).succeeds();
        }
    }
    xattr::set(at("mine"), "user.hsm", &honest).unwrap();
    hsm(&["recall", "-r", tree]).succeeds();
    assert_eq!(sandbox.read("mine"), noise(2, 100_000));
    assert_eq!(sandbox.read("secret"), noise(1, 100_000));
}

#[test]
fn a_copied_stub_is_called_what_it_is() {
    let test = "a_copied_stub_is_called_what_it_is";
    if !needs_root(test) {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("original", &noise(1, 100_000));
    sandbox.hsm(["tier"]).succeeds();
    let mut copy = Command::new("cp");
    copy.args(["-a", "--sparse=always"]);
    copy.args([sandbox.tree().join("original"), sandbox.tree().join("copy")]);
    assert!(copy.status().unwrap().success());
    // The zeros under a foreign marker are nobody's content.
    let ran = sandbox.hsm(["tier", "--json"]).exits(3);
    let ran = ran.complains(&["tree/copy", "it carries a stub's marker"]);
    assert_eq!(ran.summary()["uploaded_files"], 0);
    let ran = sandbox.on("recall", &[], &["copy"]).exits(3);
    ran.complains(&["a copy of a stub without its data", "recall the original"]);
    sandbox.on("recall", &[], &["original"]).succeeds();
    assert_eq!(sandbox.read("original"), noise(1, 100_000));
}
