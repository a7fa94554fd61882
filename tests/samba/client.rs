//! A client that keeps files open between its steps: `client.py`, one step a line.

use super::super::support::running::{PATIENCE, Running};
use super::super::support::skip;
use super::server::{PASSWORD, SHARE, USER};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

pub struct Client {
    input: std::process::ChildStdin,
    answers: Receiver<String>,
    _running: Running,
}

/// The interpreter that has smbprotocol.
fn python() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/smb/bin/python");
    std::env::var_os("HSM_TEST_SMB_PYTHON").map_or_else(default, PathBuf::from)
}

impl Client {
    pub fn start(test: &str, port: u16) -> Option<Self> {
        let python = python();
        if !python.exists() {
            skip(test, "needs smbprotocol for Python, see HSM_TEST_SMB_PYTHON");
            return None;
        }
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samba/client.py"));
        command.args([&port.to_string(), SHARE, USER, PASSWORD]);
        let mut running = Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let input = running.child.stdin.take().expect("a pipe");
        let output = running.child.stdout.take().expect("a pipe");
        let (answer, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if answer.send(line).is_err() {
                    break;
                }
            }
        });
        let mut client = Self { input, answers, _running: running };
        assert_eq!(client.answer()["ready"], true);
        Some(client)
    }

    #[track_caller]
    fn answer(&mut self) -> Value {
        let line = self.answers.recv_timeout(PATIENCE).expect("the client answers");
        serde_json::from_str(&line).expect("an object")
    }

    /// The answer may be an error.
    #[track_caller]
    fn try_step(&mut self, step: &Value) -> Value {
        writeln!(self.input, "{step}").expect("the client listens");
        self.answer()
    }

    #[track_caller]
    pub fn step(&mut self, step: Value) -> Value {
        let answer = self.try_step(&step);
        let what = [&step["do"], &step["handle"], &step["name"]];
        assert!(answer.get("error").is_none(), "{what:?}: {answer}");
        answer
    }

    /// Opens an existing file for reading, or for writing and all else.
    #[track_caller]
    pub fn open(&mut self, handle: &str, name: &str, access: &str, oplock: &str) -> Value {
        let (how, share) = ("open", "rwd");
        self.step(json!({ "do": "open", "handle": handle, "name": name, "access": access,
            "how": how, "oplock": oplock, "share": share }))
    }

    #[track_caller]
    pub fn create(&mut self, handle: &str, name: &str, how: &str) -> Value {
        self.step(json!({ "do": "open", "handle": handle, "name": name, "access": "write",
            "how": how, "oplock": "batch" }))
    }

    #[track_caller]
    pub fn write(&mut self, handle: &str, offset: u64, bytes: &[u8]) {
        let answer = self.try_write(handle, offset, bytes);
        assert_eq!(answer["bytes"], bytes.len(), "{answer}");
    }

    #[track_caller]
    pub fn try_write(&mut self, handle: &str, offset: u64, bytes: &[u8]) -> Value {
        let data = BASE64_STANDARD.encode(bytes);
        self.try_step(&json!({ "do": "write", "handle": handle, "offset": offset, "data": data,
            "through": false }))
    }

    /// All of the file reads as these bytes.
    #[track_caller]
    pub fn reads(&mut self, handle: &str, bytes: &[u8]) {
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let length = bytes.len();
        let found = self.step(json!({ "do": "read", "handle": handle, "length": length }));
        assert_eq!(found, json!({ "bytes": length, "sha256": hex::encode(sum) }));
    }

    #[track_caller]
    pub fn rename(&mut self, handle: &str, to: &str, replace: bool) {
        self.step(json!({ "do": "rename", "handle": handle, "to": to, "replace": replace }));
    }

    #[track_caller]
    pub fn close(&mut self, handle: &str) {
        self.step(json!({ "do": "close", "handle": handle }));
    }

    #[track_caller]
    pub fn delete(&mut self, name: &str) {
        self.step(json!({ "do": "open", "handle": "gone", "name": name, "access": "delete",
            "delete": true }));
        self.close("gone");
    }
}
