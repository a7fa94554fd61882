//! A run that stands still at a named point, so that a test can change the
//! world at exactly that moment, without sleeping and hoping.
//!
//! `HSM_FAULT_HOLD=POINT:FIFO` makes `hsm` read the FIFO to its end at the
//! point. Opening it for writing succeeds only once the reader is there;
//! closing it lets the run go on.

use super::{Ran, Sandbox};
use rustix::fs::{FileType, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A run that has reached its point.
pub struct Held {
    what: String,
    child: Child,
    gate: OwnedFd,
}

impl Held {
    /// Starts `hsm` with these arguments and returns when it stands at `point`.
    /// Panics when it ends before.
    pub fn at(sandbox: &Sandbox, point: &str, args: &[&str]) -> Self {
        let fifo = sandbox.path("home/gate");
        let _ = std::fs::remove_file(&fifo);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
        let mut command = sandbox.command(args);
        command.env("HSM_FAULT_HOLD", format!("{point}:{}", fifo.display()));
        Self::spawn(&mut command, point, &fifo)
    }

    fn spawn(command: &mut Command, point: &str, fifo: &std::path::Path) -> Self {
        let what = format!("{command:?} held at {point}");
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("hsm starts");
        loop {
            // ENXIO until the other side has come.
            match rustix::fs::open(fifo, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
                Ok(gate) => return Self { what, child, gate },
                Err(rustix::io::Errno::NXIO) => {}
                Err(errno) => panic!("{}: {errno}", fifo.display()),
            }
            if child.try_wait().expect("a child").is_some() {
                let output = child.wait_with_output().expect("its output");
                panic!("{what}: never reached\n{}", String::from_utf8_lossy(&output.stderr));
            }
            // Only the pace of asking; what is waited for is the reader.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the run is alive");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it go on and waits for its end.
    pub fn finish(self) -> Ran {
        let Self { what, child, gate } = self;
        drop(gate);
        Ran { what, output: child.wait_with_output().expect("its output") }
    }
}
