//! What the guard tells of its work: the log of a file, the recalls, metrics.

use super::exposition::{self, Samples};
use crate::guard::Guarded;
use crate::loopfs::FsKind;
use crate::support::running::{PATIENCE, until};
use crate::support::{Ran, trees::noise};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

/// A guard on ext4 that tells its metrics at `at`.
fn telling(test: &str, at: &str) -> Option<Guarded> {
    let mut guarded = Guarded::idle(test, FsKind::Ext4)?;
    guarded.configure(&format!("[guard]\nmetrics = {at:?}"));
    guarded.start();
    Some(guarded)
}

fn ask(mut stream: impl Read + Write) -> Samples {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: hsm\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    exposition::read(body).unwrap_or_else(|why| panic!("{why}\n{body}"))
}

fn ask_at(socket: &Path) -> Samples {
    ask(UnixStream::connect(socket).expect("somebody listens"))
}

fn cat(path: &Path) {
    let mut cat = Command::new("cat");
    Ran::within(PATIENCE, cat.arg(path)).succeeds();
}

fn events(guarded: &Guarded, name: &str) -> Vec<Value> {
    let text = guarded.on_names("log", &["--json"], &[name]).succeeds().stdout();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    records.filter(|record| record["type"] == "event").collect()
}

#[test]
fn a_guard_counts_what_it_does_and_every_file_remembers_it() {
    let test = "a_guard_counts_what_it_does_and_every_file_remembers_it";
    let Some(sockets) = tempfile::tempdir().ok() else { panic!("a directory") };
    let socket = sockets.path().join("metrics.sock");
    let at = format!("unix:{}", socket.display());
    let Some(guarded) = telling(test, &at) else { return };
    let before = ask_at(&socket);
    exposition::are_in_the_manual(&before);
    assert_eq!(before["hsm_guard_recalls_total"], 0.0);
    let root = format!("{{root={:?}}}", guarded.root().to_str().expect("UTF-8"));
    assert_eq!(before[&format!("hsm_guard_root_watched{root}")], 1.0);
    assert_eq!(before[&format!("hsm_guard_root_trusted{root}")], 1.0);

    let film = guarded.write("film", &noise(1, 300_000));
    guarded.write("other", &noise(2, 300_000));
    guarded.stub(&["film", "other"]);
    // Who holds the one connection that is served keeps nobody from a file.
    let silent = UnixStream::connect(&socket).expect("somebody listens");
    cat(&film);
    let after = ask_at(&socket);
    drop(silent);
    assert_eq!(after["hsm_guard_recalls_total"], 1.0);
    assert_eq!(after["hsm_guard_recalled_bytes_total"], 300_000.0);
    assert_eq!(after["hsm_guard_waiting_programs"], 0.0);
    assert_eq!(after["hsm_guard_generation"], before["hsm_guard_generation"]);
    assert_eq!(after[r#"hsm_guard_denied_total{errno="EIO"}"#], 0.0);

    // The record is written after the program was let in.
    let told = until(PATIENCE, || Some(events(&guarded, "film")).filter(|told| told.len() == 3));
    let told = told.expect("three events");
    let what: Vec<_> = told.iter().map(|event| event["what"].as_str().expect("text")).collect();
    assert_eq!(what, ["uploaded", "stubbed", "recalled"]);
    assert_eq!(told[1]["actor"], "stub", "the guard did it for that command");
    let exe = told[2]["program"]["exe"].as_str().expect("text");
    assert!(exe.ends_with("cat") || exe.contains("coreutils"), "{exe}");
    // What is recalled by hand, though the guard does it, is known by its command.
    guarded.on_names("recall", &[], &["other"]).succeeds();
    let told = events(&guarded, "other");
    assert_eq!((&told[2]["what"], &told[2]["actor"]), (&"recalled".into(), &"recall".into()));

    let text = guarded.sandbox.hsm(["recalls"]).succeeds().stdout();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("293 KiB") && text.contains("/film"), "{text}");
    let by = guarded.sandbox.hsm(["recalls", "--by", "exe", "--json"]).succeeds().stdout();
    assert!(by.lines().next().expect("a recaller").contains(exe), "{by}");

    // A guard that takes over begins to count anew, at the same place.
    guarded.kill_guard();
    let again = until(PATIENCE, || {
        let stream = UnixStream::connect(&socket).ok()?;
        Some(ask(stream)).filter(|samples| samples["hsm_guard_generation"] == 2.0)
    });
    assert_eq!(again.expect("another guard")["hsm_guard_recalls_total"], 0.0);
}

#[test]
fn metrics_on_the_loopback_and_none_where_there_is_no_place() {
    let test = "metrics_on_the_loopback_and_none_where_there_is_no_place";
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let Some(mut guarded) = telling(test, &address.to_string()) else { return };
    let samples = ask(TcpStream::connect(address).expect("somebody listens"));
    assert_eq!(samples["hsm_guard_recalls_total"], 0.0);
    guarded.stop(&[]).succeeds();
    guarded.stop_by_force();
    // Somebody else has the port: the guard guards all the same.
    let taken = TcpListener::bind(address).expect("the port is free again");
    guarded.start();
    let film = guarded.write("film", &noise(1, 300_000));
    guarded.stub(&["film"]);
    cat(&film);
    assert_eq!(fs::read(&film).expect("whole"), noise(1, 300_000));
    assert!(guarded.said().contains("no metrics at"), "{}", guarded.said());
    drop(taken);
}
