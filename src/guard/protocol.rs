//! What goes over the guard's socket: one JSON object per line, a request and
//! its reply, in turn.
//!
//! The first request is [`Request::Hello`]; its reply says which roots are
//! watched. [`Request::Passages`] is answered otherwise than all others: by one
//! message of one byte per root, each with a descriptor of the guard's own way
//! into that root (SCM_RIGHTS, unix(7)). A version that differs is refused:
//! guard and command line come from one package.

use crate::site::guard::{Recalled, Stubbed, ToRecall, ToStub};
use crate::state::RootId;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

/// Of requests and replies; any change of one is a new version.
pub const VERSION: u32 = 3;
/// The socket's name in the run directory.
pub const SOCKET: &str = "guard.sock";
/// A line longer than this is no message of ours.
const LONGEST_LINE: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// `by` is the command that asks, for the log of what happened to files.
    Hello {
        version: u32,
        #[serde(default)]
        by: String,
    },
    Passages,
    Stub {
        root: RootId,
        files: Vec<ToStub>,
    },
    Recall {
        root: RootId,
        work: ToRecall,
    },
    Recover {
        root: RootId,
    },
    Status,
    Stop {
        force: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Hello {
        version: u32,
        roots: Vec<WatchedRoot>,
    },
    Stubbed(Stubbed),
    Recalled(Recalled),
    Recovered(u64),
    Status(Status),
    /// Nothing would read as zeros, or it was forced: the guard ends now.
    Stopping,
    /// What would read as zeros.
    StopRefused(Vec<Exposed>),
    /// The request could not be done at all.
    Failed(String),
}

/// A root in the guard's eyes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedRoot {
    pub id: RootId,
    /// The bytes of its path.
    pub path: PathBytes,
    /// As in the state DB.
    pub identity: String,
    /// Also reads of files that are open are seen, not only opens.
    pub reads_seen: bool,
    /// The guard has proven itself there: stubs may be made.
    pub trusted: bool,
}

/// A path as JSON carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathBytes(Vec<u8>);

impl From<&std::path::Path> for PathBytes {
    fn from(path: &std::path::Path) -> Self {
        Self(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec())
    }
}

impl PathBytes {
    pub fn to_path(&self) -> PathBuf {
        PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(
            self.0.clone(),
        ))
    }
}

/// How the guard stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub pid: u32,
    pub keeper_pid: u32,
    /// 1, and one more for each death.
    pub generation: u32,
    pub waiting: u64,
    /// Events that the kernel denied by itself.
    pub refused_by_kernel: u64,
    pub misread: u64,
}

/// Stubs of a root that nobody would watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {
    pub path: PathBytes,
    pub files: u64,
    pub bytes: u64,
}

/// Writes one message.
pub fn send(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}

/// Reads one message; `None` at the end.
pub fn receive<T: for<'d> Deserialize<'d>>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = vec![];
    let read = io::Read::take(&mut *from, LONGEST_LINE).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_back_one_by_one() {
        let mut wire = vec![];
        let first = Request::Hello { version: 7, by: "tier".into() };
        send(&mut wire, &first).expect("write");
        send(&mut wire, &Request::Stop { force: true }).expect("write");
        let mut from = &wire[..];
        assert_eq!(receive(&mut from).expect("read"), Some(first));
        assert_eq!(receive(&mut from).expect("read"), Some(Request::Stop { force: true }));
        assert_eq!(receive::<Request>(&mut from).expect("read"), None);
    }

    #[test]
    fn the_greeting_of_an_earlier_version_is_understood_well_enough_to_be_refused() {
        let mut from = &b"{\"Hello\":{\"version\":1}}\n"[..];
        let greeting: Request = receive(&mut from).expect("read").expect("a message");
        assert_eq!(greeting, Request::Hello { version: 1, by: String::new() });
    }

    #[test]
    fn half_a_message_and_no_message_are_errors() {
        assert!(receive::<Request>(&mut &b"\"Status\""[..]).is_err());
        assert!(receive::<Request>(&mut &b"{}\n"[..]).is_err());
    }
}
