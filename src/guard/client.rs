//! The guard as another `hsm` process sees it: a connection.
//!
//! A run that finds a guard at work gets, with its greeting, a descriptor of the
//! guard's own mount of each root and looks at its trees through that
//! ([`RootDir::pass_through`]): so neither a scan nor an upload raises events,
//! and no look at a stub recalls it.
//!
//! Whether there is a guard is told by a lock that the keeper holds, not by the
//! socket: while a guard that died is being replaced the socket is silent, but
//! nobody may think that the stubs are unwatched.

use super::protocol::{Reply, Request, SOCKET, Status, VERSION, WatchedRoot, receive, send};
use crate::os::local_socket;
use crate::os::lock::{LockError, RunLock};
use crate::os::tree::RootDir;
use crate::site::guard::{Recalled, Stubbed, ToRecall, ToStub};
use crate::site::{Guard, GuardError};
use crate::state::{RootId, RootRow};
use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The lock's name beside the locks of the roots.
pub const LOCK: &str = "guard.lock";
/// A guard that died has a successor within this time.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// A connection to the guard.
pub struct Client {
    run_dir: PathBuf,
    by: String,
    from: BufReader<UnixStream>,
    to: UnixStream,
    roots: Vec<WatchedRoot>,
}

/// Whether a keeper holds the guard's lock; who it is.
pub fn holder(locks_dir: &Path) -> io::Result<Option<String>> {
    if !locks_dir.join(LOCK).try_exists()? {
        return Ok(None);
    }
    match RunLock::look(&locks_dir.join(LOCK)) {
        Ok(()) => Ok(None),
        Err(LockError::Held { by }) => Ok(Some(by)),
        Err(LockError::Io { source, .. }) => Err(source),
    }
}

impl Client {
    /// Connects to a guard that exists; waits for one that is being replaced. What
    /// it does for us is noted as done `by` this command.
    pub fn connect(run_dir: &Path, by: &str) -> Result<Self, GuardError> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            match Self::greet(run_dir, by) {
                Ok(client) => return Ok(client),
                Err(GuardError::Unreachable(error)) => last = error,
                Err(refused) => return Err(refused),
            }
        }
        Err(GuardError::Unreachable(last))
    }

    /// Whether a guard answers now.
    pub fn is_ready(run_dir: &Path) -> bool {
        Self::greet(run_dir, "hsm").is_ok()
    }

    fn greet(run_dir: &Path, by: &str) -> Result<Self, GuardError> {
        let stream = local_socket::connect(run_dir, SOCKET).map_err(GuardError::Unreachable)?;
        let from = BufReader::new(stream.try_clone().map_err(GuardError::Unreachable)?);
        let (run_dir, by) = (run_dir.to_owned(), by.to_owned());
        let mut client = Self { run_dir, by, from, to: stream, roots: vec![] };
        match client.ask(&Request::Hello { version: VERSION, by: client.by.clone() })? {
            Reply::Hello { roots, .. } => client.roots = roots,
            other => return Err(unexpected(&other)),
        }
        client.take_passages().map_err(GuardError::Unreachable)?;
        Ok(client)
    }

    fn take_passages(&mut self) -> io::Result<()> {
        send(&mut self.to, &Request::Passages)?;
        for root in &self.roots {
            let mut byte = [0];
            let (_, fds) = local_socket::recv_with_fds(&self.to, &mut byte)?;
            let fd = fds.into_iter().next().ok_or(io::ErrorKind::UnexpectedEof)?;
            RootDir::pass_through(&root.path.to_path(), fd);
        }
        Ok(())
    }

    /// One request and its reply. A connection that broke is not mended here:
    /// what the dead guard had done of the request is not known.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, GuardError> {
        let asked = send(&mut self.to, request).and_then(|()| receive(&mut self.from));
        match asked {
            Ok(Some(Reply::Failed(why))) => Err(GuardError::Failed(why)),
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(GuardError::Unreachable(io::ErrorKind::ConnectionReset.into())),
            Err(error) => Err(GuardError::Unreachable(error)),
        }
    }

    /// As [`Client::ask`], for work that can be asked for again: with a new
    /// connection if the guard died over it.
    fn ask_again(&mut self, request: &Request) -> Result<Reply, GuardError> {
        match self.ask(request) {
            Err(GuardError::Unreachable(_)) => {
                *self = Self::connect(&self.run_dir, &self.by)?;
                self.ask(request)
            }
            answered => answered,
        }
    }

    pub fn status(&mut self) -> Result<Status, GuardError> {
        match self.ask_again(&Request::Status)? {
            Reply::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    pub fn roots(&self) -> &[WatchedRoot] {
        &self.roots
    }
}

impl Guard for Client {
    fn watches(&mut self, root: &RootRow) -> Result<(), String> {
        let watched = self.roots.iter().find(|watched| watched.id == root.id);
        match watched {
            Some(watched) if watched.identity == root.identity && watched.trusted => Ok(()),
            Some(watched) if watched.identity == root.identity => {
                Err("the guard could not prove itself on this root: its log says why".to_owned())
            }
            Some(_) => Err("the guard watches another file system at this path".to_owned()),
            None => Err("the guard that runs does not watch this root: restart it".to_owned()),
        }
    }

    /// A guard that dies over a batch leaves each file whole or a stub; the
    /// files are looked at again by the recovery, so the batch is not repeated.
    fn stub(&mut self, root: RootId, files: &[ToStub]) -> Result<Stubbed, GuardError> {
        let request = Request::Stub { root, files: files.to_vec() };
        match self.ask(&request) {
            Ok(Reply::Stubbed(stubbed)) => Ok(stubbed),
            Ok(other) => Err(unexpected(&other)),
            Err(GuardError::Unreachable(_)) => {
                *self = Self::connect(&self.run_dir, &self.by)?;
                self.recover(root)?;
                Ok(Stubbed::default())
            }
            Err(error) => Err(error),
        }
    }

    fn recall(&mut self, root: RootId, work: &ToRecall) -> Result<Recalled, GuardError> {
        match self.ask_again(&Request::Recall { root, work: work.clone() })? {
            Reply::Recalled(recalled) => Ok(recalled),
            other => Err(unexpected(&other)),
        }
    }

    fn recover(&mut self, root: RootId) -> Result<u64, GuardError> {
        match self.ask_again(&Request::Recover { root })? {
            Reply::Recovered(files) => Ok(files),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(reply: &Reply) -> GuardError {
    let mut text = format!("{reply:?}");
    text.truncate(text.floor_char_boundary(100));
    GuardError::Failed(format!("it answered with something else: {text}"))
}
