//! `hsm status --watch` on a pseudo terminal.

use crate::support::Sandbox;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

const MIB: usize = 1 << 20;

#[test]
fn the_live_view_wants_a_terminal() {
    let sandbox = Sandbox::new();
    sandbox.hsm(["status", "--watch"]).exits(2).complains(&["--watch needs a terminal"]);
    sandbox.hsm(["status", "--watch", "--json"]).exits(2);
}

/// `hsm status --watch` on a pseudo terminal of script(1), which `timeout` ends should
/// it never show what it is to show.
struct Live {
    child: Child,
    seen: Vec<u8>,
}

impl Live {
    fn start(sandbox: &Sandbox, rows: u32, columns: u32) -> Self {
        let plain = sandbox.command(["status", "--watch"]);
        let mut command = Command::new("timeout");
        command.args(["60", "script"]);
        let hsm = env!("CARGO_BIN_EXE_hsm");
        let hsm = format!("stty rows {rows} cols {columns}; exec {hsm} status --watch");
        command.args(["-q", "-e", "-c", &hsm, "/dev/null"]).env_clear().env("SHELL", "/bin/sh");
        for (name, value) in plain.get_envs() {
            command.env(name, value.expect("only set variables"));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Self { child: command.spawn().expect("script starts"), seen: vec![] }
    }

    /// Reads what is drawn until it holds this.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let stdout = self.child.stdout.as_mut().expect("a pipe");
        let mut bytes = [0; 4096];
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let read = stdout.read(&mut bytes).expect("read");
            assert!(read > 0, "it ended: {}", String::from_utf8_lossy(&self.seen));
            self.seen.extend_from_slice(&bytes[..read]);
        }
    }

    /// Presses keys.
    fn types(&mut self, keys: &[u8]) {
        self.child.stdin.as_mut().expect("a pipe").write_all(keys).expect("written");
    }

    /// Presses a key that ends it; all that was drawn, and the exit code.
    fn press(mut self, key: &[u8]) -> (String, Option<i32>) {
        let mut stdin = self.child.stdin.take().expect("a pipe");
        stdin.write_all(key).expect("written");
        let mut stdout = self.child.stdout.take().expect("a pipe");
        stdout.read_to_end(&mut self.seen).expect("read");
        let code = self.child.wait().expect("it ends").code();
        (String::from_utf8_lossy(&self.seen).into_owned(), code)
    }
}

#[test]
fn the_live_view_is_drawn_over_itself_and_leaves_the_terminal_as_it_was() {
    let sandbox = Sandbox::new();
    sandbox.write("a", &vec![1; MIB]);
    sandbox.hsm(["tier"]).succeeds();
    for (key, code) in [(&b"q"[..], 0), (b"\x03", 130)] {
        let mut live = Live::start(&sandbox, 12, 70);
        live.shows("q quits");
        live.shows("stub        1 files, 1 MiB");
        live.shows("more lines");
        let (seen, ended) = live.press(key);
        assert_eq!(ended, Some(code), "{seen}");
        assert!(seen.starts_with("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[Hhsm status  "), "{seen:?}");
        assert!(seen.trim_end().ends_with("\x1b[?7h\x1b[?25h\x1b[?1049l"), "{seen:?}");
        assert!(!seen.contains("\x1b[2J"), "the screen is never cleared: that flickers");
        let frames: Vec<&str> = seen.split("\x1b[H").skip(1).collect();
        for frame in &frames {
            assert!(frame.matches("\r\n").count() < 12, "{frame:?}");
        }
    }
}

/// The lines of each drawing, without what is no text.
fn frames(seen: &str) -> Vec<Vec<String>> {
    let plain = |line: &str| {
        let mut text = String::new();
        let mut rest = line;
        while let Some((before, behind)) = rest.split_once("\x1b[") {
            text.push_str(before);
            let end = behind.find(|letter: char| letter.is_ascii_alphabetic()).expect("ended");
            rest = &behind[end + 1..];
        }
        // The terminal's own return comes on top of ours.
        (text + rest).trim_end_matches('\r').to_owned()
    };
    let drawn = seen.split("\x1b[H").skip(1);
    drawn.map(|frame| frame.split("\r\n").map(plain).collect()).collect()
}

#[test]
fn a_narrow_screen_shows_every_word_and_keys_reach_what_is_below() {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("TERM", "xterm");
    sandbox.write("a", &vec![1; MIB]);
    sandbox.hsm(["tier"]).succeeds();
    let whole = sandbox.hsm(["status"]).succeeds().stdout();
    let mut live = Live::start(&sandbox, 14, 38);
    live.shows("more lines: j or down");
    live.types(b"\x1b[B");
    live.shows("more lines\x1b[K");
    live.types(b"G");
    live.shows("the end: k or up");
    let (seen, ended) = live.press(b"q");
    assert_eq!(ended, Some(0), "{seen}");
    assert!(seen.contains("\x1b[1mlatest runs\x1b[0m"), "a title is bold: {seen:?}");
    let frames = frames(&seen);
    for frame in &frames {
        assert!(frame.len() <= 14, "{frame:#?}");
        // A full last column would lose its letter.
        assert!(frame.iter().all(|line| line.chars().count() < 38), "{frame:#?}");
    }
    // Broken, not cut: what the command prints is in the drawings, word by word.
    let words: Vec<&str> = frames.iter().flatten().flat_map(|line| line.split(' ')).collect();
    let run = whole.split_once("latest runs").expect("a run").1;
    for word in run.split_whitespace().filter(|word| word.len() < 30 && !word.contains('/')) {
        assert!(words.contains(&word), "{word:?} is not in {words:?}");
    }
}

#[test]
fn who_wants_no_colour_gets_none() {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("TERM", "xterm");
    sandbox.set_env("NO_COLOR", "1");
    let mut live = Live::start(&sandbox, 24, 100);
    live.shows("store  file://");
    let (seen, ended) = live.press(b"q");
    assert_eq!(ended, Some(0), "{seen}");
    assert!(!seen.contains("\x1b[1m") && !seen.contains("\x1b[3"), "{seen:?}");
}
