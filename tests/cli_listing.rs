//! `ls`, `find`, `du` and `status` over a scanned tree.

#[path = "support/cli.rs"]
mod support;

use hsm::monitor::{Silent, Stop};
use hsm::os::RootDir;
use hsm::scan::{self, DirBatch, Sink, SinkError};
use hsm::state::{Part, ScanWriter, SeenEntry, StateDb};
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, UNIX_EPOCH};
use support::Server;

const NOW_S: u64 = 1_769_868_000;
const NOW_NS: i64 = NOW_S as i64 * 1_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

struct Writer<'w>(ScanWriter<'w>);

impl Sink for Writer<'_> {
    fn directory(&mut self, dir: DirBatch) -> Result<(), SinkError> {
        let seen: Vec<SeenEntry<'_>> = dir
            .entries
            .iter()
            .map(|seen| SeenEntry { name: &seen.name, stat: &seen.stat })
            .collect();
        let part = Part { first: dir.first, last: dir.last };
        self.0.directory(&dir.path, &dir.stat, &seen, part).map_err(SinkError::from)
    }
}

/// A server with a small tree of known sizes and ages, scanned.
fn scanned() -> Server {
    let server = Server::initialised();
    let file = |name: &OsStr, bytes: usize, days: u32| {
        let path = server.path("tree").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(NOW_S) - DAY * days;
        let times = FileTimes::new().set_modified(time);
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    };
    file(OsStr::new("big.mkv"), 3 << 20, 400);
    file(OsStr::new("a/one.txt"), 10_000, 5);
    file(OsStr::new("a/deep/two.txt"), 20_000, 100);
    file(OsStr::from_bytes(b"a/\xff\n"), 1, 1);
    fs::hard_link(server.path("tree/big.mkv"), server.path("tree/a/same.mkv")).unwrap();
    std::os::unix::fs::symlink("one.txt", server.path("tree/a/link")).unwrap();
    let mut state = StateDb::open(&server.path("state/state.db")).unwrap();
    let row = state.roots().unwrap().remove(0);
    let root = RootDir::open(&row.path).unwrap();
    let mut writer = Writer(state.begin_scan(row.id, None, NOW_NS).unwrap());
    let options = scan::Options::default();
    let stats = scan::run(&root, &options, &Silent, &Stop::new(), &mut writer).unwrap();
    assert!(stats.complete);
    writer.0.finish(stats.complete, NOW_NS).unwrap();
    server
}

#[test]
fn ls_shows_one_directory_and_recursively_everything() {
    let server = scanned();
    let top = server.run(["ls", &server.text("tree")]).ok().text();
    assert_eq!(top.lines().count(), 2, "{top}");
    assert!(top.lines().any(|line| line.ends_with("  a/")), "{top}");
    assert!(top.contains("resident") && top.contains("big.mkv"), "{top}");
    let one = server.run(["ls", &server.text("tree/a/one.txt")]).ok().text();
    assert!(one.ends_with("/tree/a/one.txt\n"), "{one}");
    let inner = server.run(["ls", "--json", &server.text("tree/a")]).ok().records();
    assert_eq!(inner.len(), 6, "five entries and the summary");
    assert!(inner.iter().any(|record| record["path"]["bytes"].is_string()));
    let all = server.run(["ls", "-r", "--json"]).ok().records();
    assert_eq!(all.last().unwrap()["entries"], 8);
    let ran = server.run(["ls", &server.text("tree/nothing")]).code(1);
    assert!(ran.stderr.contains("no scan has seen"), "{}", ran.stderr);
}

#[test]
fn find_asks_every_condition() {
    let server = scanned();
    let find = |args: &[&str]| -> Vec<String> {
        let args = ["find", "--type", "file"].iter().chain(args);
        let text = server.run(args).ok().text();
        text.lines().filter_map(|line| Some(line.rsplit_once('/')?.1.to_owned())).collect()
    };
    assert_eq!(find(&["--larger", "1MiB"]), ["big.mkv", "same.mkv"]);
    assert_eq!(find(&["--name", "*.txt"]), ["one.txt", "two.txt"]);
    assert_eq!(find(&["--older", "30d", "--smaller", "1MiB"]), ["two.txt"]);
    assert_eq!(find(&["--newer", "2026-01-20", "--name", "*.txt"]), ["one.txt"]);
    assert_eq!(find(&["--state", "stub"]), [""; 0]);
    assert_eq!(find(&["--owner", "4294967290"]), [""; 0]);
    assert_eq!(find(&["--state", "resident", &server.text("tree/a/deep")]), ["two.txt"]);
    let nul = server.run(["find", "-0", "--smaller", "2", "--type", "file"]).ok().stdout;
    assert!(nul.ends_with(b"/tree/a/\xff\n\0"));
}

#[test]
fn du_counts_hard_links_once_and_adds_up() {
    let server = scanned();
    let records = server.run(["du", "--json"]).ok().records();
    let summary = records.last().unwrap();
    assert_eq!(summary["size_bytes"], (3 << 20) + 10_000 + 20_000 + 1);
    assert_eq!(summary["files"], 4);
    assert_eq!(summary["remote_bytes"], 0);
    let dirs: Vec<&str> =
        records.iter().filter_map(|record| record["path"]["text"].as_str()).collect();
    assert_eq!(dirs, [server.text("tree"), server.text("tree/a")]);
    let deeper = server.run(["du", "-d", "2"]).ok().text();
    assert!(deeper.contains("/tree/a/deep"), "{deeper}");
}

#[test]
fn status_counts_states_and_tells_when_it_looked() {
    let server = scanned();
    let records = server.run(["status", "--json"]).ok().records();
    assert_eq!(records[0]["states"]["resident"]["files"], 5, "by name");
    assert_eq!(records[0]["last_complete_scan_ns"], NOW_NS);
    let text = server.run(["status"]).ok().text();
    assert!(text.contains("scanned     2026-01-31T14:00:00Z"), "{text}");
}

#[test]
fn a_reader_that_went_away_ends_a_listing_quietly() {
    let server = scanned();
    let mut command = server.command(["find"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}
