//! Ctrl-C and SIGTERM (stand-in).

use crate::monitor::Stop;
use std::io;

pub struct StopSignal;

impl StopSignal {
    pub fn install(stop: &Stop) -> io::Result<Self> {
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, stop.flag())?;
        }
        Ok(Self)
    }
}
