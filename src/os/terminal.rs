//! A terminal as a screen with keys: for the live view of `hsm status`.
//!
//! Keys come one by one and are not echoed; Ctrl-C stays a signal. The settings
//! that were there come back when the value is dropped (termios(3)).

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use rustix::termios::{tcgetattr, tcgetwinsize, tcsetattr};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Keys without a newline, while it lives.
#[derive(Debug)]
pub struct Keys<F: AsFd> {
    terminal: F,
    before: Termios,
}

/// Characters that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

impl<F: AsFd> Keys<F> {
    /// `ENOTTY` if it is no terminal.
    pub fn take(terminal: F) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }

    /// The next key, if there is one within this time. A signal ends the wait.
    /// `UnexpectedEof` where the terminal is gone.
    pub fn next_within(&self, limit: Duration) -> io::Result<Option<u8>> {
        let mut fds = [PollFd::new(&self.terminal, PollFlags::IN)];
        let limit = Timespec::try_from(limit).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut fds, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut key = [0];
        match rustix::io::read(&self.terminal, &mut key) {
            Ok(1) => Ok(Some(key[0])),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(Errno::INTR | Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl<F: AsFd> Drop for Keys<F> {
    fn drop(&mut self) {
        // A terminal that is gone has no settings.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// How much the terminal shows now; 80 by 24 where it does not say.
pub fn size(terminal: impl AsFd) -> Size {
    let size = tcgetwinsize(terminal).ok();
    let or = |cells: u16, usual: usize| if cells == 0 { usual } else { usize::from(cells) };
    Size {
        columns: or(size.map_or(0, |size| size.ws_col), 80),
        rows: or(size.map_or(0, |size| size.ws_row), 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_terminal_gives_no_keys() {
        let file = tempfile::tempfile().expect("a file");
        let error = Keys::take(&file).expect_err("no terminal");
        assert_eq!(error.raw_os_error(), Some(Errno::NOTTY.raw_os_error()));
        assert_eq!(size(&file), Size { columns: 80, rows: 24 });
    }
}
