//! Ctrl-C and SIGTERM ask long work to end between two files.
//!
//! The first signal sets the [`Stop`] that every long operation reads; a second
//! Ctrl-C ends the process at once with code 130, which is safe (every order of
//! effects survives a crash) but leaves its traces to the next run.
//!
//! `SIGPIPE` is ignored by Rust's runtime before `main`, so a closed pipe comes
//! as an error of the write, which the command line turns into a quiet exit.

use crate::monitor::Stop;
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;

/// The exit code of a run that was interrupted: 128 + SIGINT, as shells have it.
pub const INTERRUPTED_EXIT_CODE: i32 = 130;

/// Installed handlers; dropping it removes them (the process then ignores the
/// signals, see signal-hook's `unregister`).
#[derive(Debug)]
pub struct StopSignal(Vec<SigId>);

impl StopSignal {
    /// From now on SIGINT and SIGTERM request `stop`.
    pub fn install(stop: &Stop) -> io::Result<Self> {
        let mut installed = Self(Vec::new());
        // Order matters: the shutdown looks at the flag before this signal sets it.
        let second = signal_hook::flag::register_conditional_shutdown(
            SIGINT,
            INTERRUPTED_EXIT_CODE,
            stop.flag(),
        )?;
        installed.0.push(second);
        for signal in [SIGINT, SIGTERM] {
            installed.0.push(signal_hook::flag::register(signal, stop.flag())?);
        }
        Ok(installed)
    }
}

impl Drop for StopSignal {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_requests_the_stop() {
        let stop = Stop::new();
        let _installed = StopSignal::install(&stop).expect("install");
        assert!(!stop.requested());
        signal_hook::low_level::raise(SIGTERM).expect("raise");
        assert!(stop.requested());
    }
}
