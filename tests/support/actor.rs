//! A process of the test's own: this test binary once more, running the test
//! that is called `actor`, which plays the part it was ordered.
//!
//! The part runs in a process so that it can be killed when it waits for a
//! guard that never answers, and so that no descriptor of it is copied into the
//! children that other tests are just starting. Order and parameters go in by
//! the environment; on the actor's stdout a line that begins with `@` is for
//! the test, everything else is libtest's.

use super::running::{Running, drain};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PREFIX: &str = "HSM_ACTOR_";

pub struct Actor {
    running: Running,
    stdin: ChildStdin,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Actor {
    /// Starts an actor with these parameters, which [`order`] returns to it.
    pub fn start<V: AsRef<OsStr>>(orders: &[(&str, V)]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("the test's own program"));
        command.args(["actor", "--exact", "--nocapture", "--test-threads=1"]);
        for (name, value) in orders {
            command.env(format!("{PREFIX}{name}"), value);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::start(&mut command);
        let (stdin, stdout) = (running.child.stdin.take(), running.child.stdout.take());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let stdout = BufReader::new(stdout.expect("a pipe"));
            let said = stdout.lines().map_while(Result::ok);
            for line in said.filter_map(|line| line.split_once('@').map(|(_, at)| at.to_owned())) {
                let _ = sender.send(line);
            }
        });
        let stderr = running.child.stderr.take().map(drain);
        Self { running, stdin: stdin.expect("a pipe"), lines, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// The next line for the test.
    #[track_caller]
    pub fn says(&mut self, limit: Duration) -> String {
        match self.lines.recv_timeout(limit) {
            Ok(line) => line,
            Err(error) => panic!("the actor says nothing ({error}): {}", self.last_words()),
        }
    }

    /// What it has said until now.
    pub fn heard(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Lets it go on from [`wait_for_word`].
    pub fn go_on(&mut self) {
        self.tell("go");
    }

    pub fn tell(&mut self, word: &str) {
        // Whoever is dead is noticed at the end.
        let _ = writeln!(self.stdin, "{word}");
    }

    pub fn is_alive(&mut self) -> bool {
        self.running.ends_within(Duration::ZERO).is_none()
    }

    /// Waits until it has played its part; the error is what it complained of.
    pub fn ends(mut self, limit: Duration) -> Result<Vec<String>, String> {
        match self.running.ends_within(limit) {
            Some(status) if status.success() => Ok(self.lines.iter().collect()),
            Some(status) => Err(format!("{status}: {}", self.last_words())),
            None => Err(format!("still at it after {limit:?}: {}", self.last_words())),
        }
    }

    /// Kills it and returns its stderr.
    pub fn last_words(&mut self) -> String {
        self.running.kill();
        let stderr = self.stderr.take().map(|pipe| pipe.join().expect("a reader"));
        String::from_utf8_lossy(&stderr.unwrap_or_default()).trim().to_owned()
    }
}

/// For the actor: a parameter; `None` when this is no actor.
pub fn order(name: &str) -> Option<String> {
    std::env::var(format!("{PREFIX}{name}")).ok()
}

/// For the actor: a line to the test.
pub fn report(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "@{line}");
    let _ = out.flush();
}

/// For the actor: waits for the test's next word.
pub fn wait_for_word() -> String {
    let mut word = String::new();
    let _ = std::io::stdin().read_line(&mut word);
    word.trim().to_owned()
}

/// For the actor: the end of its part.
pub fn leave(outcome: Result<(), String>) -> ! {
    if let Err(error) = &outcome {
        eprintln!("{error}");
    }
    std::process::exit(i32::from(outcome.is_err()))
}

/// Something that a process waits for, seen from outside.
pub fn waits_for_the_guard(pid: u32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.flatten().any(|task| {
        let stack = std::fs::read_to_string(task.path().join("stack"));
        stack.is_ok_and(|stack| stack.contains("fanotify_handle_event"))
    })
}

/// Waits until [`waits_for_the_guard`].
#[track_caller]
pub fn blocked(pid: u32, limit: Duration) {
    let begun = Instant::now();
    let seen = super::running::until(limit, || waits_for_the_guard(pid).then_some(()));
    assert!(seen.is_some(), "process {pid} does not wait for the guard ({:?})", begun.elapsed());
}
