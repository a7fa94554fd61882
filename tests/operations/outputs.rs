//! Files that commands write: what may have their names before.

use crate::support::Sandbox;
use crate::support::held::Held;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Command;

/// Every option that names a file to write.
fn writers<'a>(to: &'a OsStr, beside: &'a OsStr) -> [Vec<&'a OsStr>; 5] {
    let args = |words: &[&'a str]| words.iter().map(|word| OsStr::new(*word)).collect::<Vec<_>>();
    let with = |words: &[&'a str]| [args(words), vec![to]].concat();
    let mut excludes = args(&["manifest", "--exclude-for", "restic", "-o"]);
    excludes.extend([beside, OsStr::new("--exclude-to"), to]);
    [
        with(&["plan", "-o"]),
        with(&["manifest", "-o"]),
        excludes,
        with(&["report", "--html"]),
        with(&["status", "--metrics"]),
    ]
}

/// As root a rename over /dev/null takes it from the whole machine.
#[test]
fn what_is_no_file_is_never_replaced_by_one() {
    let sandbox = Sandbox::new();
    sandbox.write("a", b"1");
    sandbox.hsm(["scan"]).succeeds();
    let dir = sandbox.path("home/out");
    fs::create_dir(&dir).expect("a directory");
    let [pipe, to_pipe, out, below] =
        ["pipe", "to-pipe", "out", "below"].map(|name| dir.join(name));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    symlink(&pipe, &to_pipe).expect("a link");
    // As /dev/stdout is.
    symlink("/proc/self/fd/1", &out).expect("a link");
    fs::create_dir(&below).expect("a directory");
    let beside = dir.join("beside");
    let table: [(&Path, &str); 4] = [
        (&pipe, "is a pipe"),
        (&to_pipe, "is a pipe"),
        (&out, "is a link to a descriptor"),
        (&below, "is a directory"),
    ];
    for (place, what) in table {
        for args in writers(place.as_os_str(), beside.as_os_str()) {
            sandbox.hsm(&args).exits(1).complains(&[what, "or - for standard output"]);
        }
    }
    assert!(pipe.symlink_metadata().expect("there").file_type().is_fifo());
    assert!(to_pipe.is_symlink() && out.is_symlink() && below.is_dir());
    assert_eq!(fs::read_dir(&dir).expect("readable").count(), 4, "nothing is left beside them");
    // What is missing, or a file, is written.
    let file = dir.join("file");
    for args in writers(file.as_os_str(), beside.as_os_str()) {
        sandbox.hsm(&args).succeeds();
        assert!(file.metadata().expect("there").is_file());
    }
}

/// The list would take the manifest's place, and with it all that says what was left out.
#[test]
fn a_manifest_and_its_list_are_two_files_however_they_are_named() {
    let sandbox = Sandbox::new();
    sandbox.hsm(["scan"]).succeeds();
    let dir = sandbox.path("home/out");
    fs::create_dir(&dir).expect("a directory");
    symlink(&dir, sandbox.path("home/way")).expect("a link");
    let one = dir.join("list");
    for other in [one.clone(), dir.join("./list"), sandbox.path("home/way/list")] {
        let mut args = ["manifest", "--exclude-for", "restic", "-o"].map(OsStr::new).to_vec();
        args.extend([one.as_os_str(), OsStr::new("--exclude-to"), other.as_os_str()]);
        sandbox.hsm(&args).exits(2).complains(&["are one file"]);
    }
    assert!(!one.exists());
}

#[test]
fn metrics_and_records_do_not_share_standard_output() {
    let sandbox = Sandbox::new();
    let ran = sandbox.hsm(["status", "--metrics", "-", "--json"]);
    ran.exits(2).complains(&["both want standard output"]);
}

/// A tree of millions is read for minutes, and a part of an answer is none.
#[test]
fn what_only_reads_ends_at_the_first_ctrl_c_and_names_no_half_file() {
    let sandbox = Sandbox::new();
    sandbox.write("a", b"1");
    sandbox.hsm(["scan"]).succeeds();
    let dir = sandbox.path("home/out");
    fs::create_dir(&dir).expect("a directory");
    let (plan, part) = (sandbox.path("plan"), dir.join("part"));
    let [plan, part] = [&plan, &part].map(|path| path.to_str().expect("UTF-8"));
    sandbox.hsm(["plan", "-o", plan]).succeeds();
    let table: [(&str, &[&str]); 6] = [
        ("plan.begun", &["plan"]),
        ("plan.begun", &["plan", "-o", part]),
        ("plan.begun", &["tier", "--dry-run"]),
        ("plan.checked", &["apply", "--dry-run", plan]),
        ("standing.begun", &["status"]),
        ("standing.begun", &["status", "--metrics", part]),
    ];
    for (point, args) in table {
        let held = Held::at(&sandbox, point, args);
        held.signal(rustix::process::Signal::INT);
        let ran = held.finish().exits(130);
        assert_eq!(ran.stdout(), "", "{args:?}");
        assert_eq!(fs::read_dir(&dir).expect("readable").count(), 0, "{args:?}");
    }
}
