//! The guard's socket: other `hsm` processes ask it to free, fill and mend files.
//!
//! Only root may ask, by the kernel's word (`SO_PEERCRED`), not by the socket's
//! mode alone. Each connection has a thread and a state DB of its own; what two
//! of them do with one inode is kept apart by the table, and requests for one
//! root are done in turn: the run that asked may have died over its request, and
//! the next one must not mend what is still being done. The work is done by the
//! very operations that run without a guard, with the table as their custody.

use super::access::Trouble;
use super::custody::Custodian;
use super::job::Job;
use super::protocol::{Exposed, Reply, Request, VERSION, WatchedRoot, receive, send};
use super::serve::{Guarding, or_die};
use super::watched::Root;
use crate::monitor::{Monitor, Phase};
use crate::os::local_socket;
use crate::os::tree::RootDir;
use crate::policy::FileState;
use crate::site::guard::causes;
use crate::site::{Ground, Site};
use crate::state::{RootId, StateDb};
use crate::tier::recover::recover_files;
use crate::{recall, tier};
use std::error::Error;
use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

/// Accepts until the process ends.
pub fn run(guarding: &Arc<Guarding>, listener: &UnixListener) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let guarding = Arc::clone(guarding);
                let serve = move || {
                    if let Err(error) = Connection::serve(&guarding, stream) {
                        tracing::info!(%error, "a connection ended");
                    }
                };
                if let Err(error) = std::thread::Builder::new().spawn(|| or_die(serve)) {
                    tracing::warn!(%error, "cannot serve a connection");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
    }
}

struct Connection<'g> {
    guarding: &'g Guarding,
    /// Opened at the first request that needs it.
    state: Option<StateDb>,
    job: Arc<Job>,
    /// The command that asks.
    by: String,
    /// The roots that were named in the greeting.
    greeted: Vec<Arc<Root>>,
}

impl<'g> Connection<'g> {
    fn serve(guarding: &'g Guarding, stream: UnixStream) -> io::Result<()> {
        let peer = local_socket::peer(&stream)?;
        if peer.uid != 0 {
            let mut stream = stream;
            return send(&mut stream, &Reply::Failed("only root may ask the guard".to_owned()));
        }
        let mut from = BufReader::new(stream.try_clone()?);
        let mut to = stream;
        let job = Arc::new(Job::new(guarding.inodes.clock));
        let mut connection =
            Self { guarding, state: None, job, by: String::new(), greeted: vec![] };
        while let Some(request) = receive(&mut from)? {
            tracing::debug!(pid = peer.pid, ?request, "asked");
            if request == Request::Passages {
                connection.pass(&to)?;
                continue;
            }
            let reply = connection
                .answer(request)
                .unwrap_or_else(|error| Reply::Failed(causes(&*error).join(": ")));
            send(&mut to, &reply)?;
            if reply == Reply::Stopping {
                guarding.end();
            }
        }
        Ok(())
    }

    fn greet(&mut self, version: u32, by: String) -> Reply {
        self.by = by;
        if version != VERSION {
            let what = format!("this guard speaks version {VERSION}, not {version}: restart it");
            return Reply::Failed(what);
        }
        self.greeted = self.guarding.watched.roots();
        let roots = self.greeted.iter().map(|root| WatchedRoot {
            id: root.row.id,
            path: root.row.path.as_path().into(),
            identity: root.row.identity.clone(),
            reads_seen: root.watches_reads(),
            trusted: root.is_trusted(),
        });
        Reply::Hello { version: VERSION, roots: roots.collect() }
    }

    fn pass(&self, to: &UnixStream) -> io::Result<()> {
        for root in &self.greeted {
            local_socket::send_with_fds(to, b".", &[root.dir().as_fd()])?;
        }
        Ok(())
    }

    fn answer(&mut self, request: Request) -> Result<Reply, Trouble> {
        Ok(match request {
            Request::Hello { version, by } => self.greet(version, by),
            Request::Passages => unreachable!("it was answered by descriptors"),
            Request::Stub { root, files } => {
                Reply::Stubbed(self.with_site(root, |site, dir| {
                    Ok(tier::stubbing::stub_requested(site, root, dir, &files)?)
                })?)
            }
            Request::Recall { root, work } => {
                Reply::Recalled(self.with_site(root, |site, dir| {
                    Ok(recall::recall_requested(site, root, dir, &work)?)
                })?)
            }
            Request::Recover { root } => Reply::Recovered(self.recover(root)?),
            Request::Status => Reply::Status(self.guarding.status()),
            Request::Stop { force } => self.stop(force)?,
        })
    }

    fn root_dir(&self, root: RootId) -> Result<RootDir, Trouble> {
        let watched =
            self.guarding.watched.root(root).ok_or("the guard does not watch this root")?;
        Ok(RootDir::open(&watched.row.path)?)
    }

    fn take_state(&mut self) -> Result<StateDb, Trouble> {
        let taken = self.state.take().map_or_else(|| self.guarding.shared.access.state(), Ok);
        let mut state = taken?;
        state.act_as(&self.by, self.guarding.clock);
        Ok(state)
    }

    fn with_site<T>(
        &mut self,
        root: RootId,
        work: impl FnOnce(&mut Site<'_>, &RootDir) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let turn = self.guarding.turn(root);
        let _turn = turn.lock().expect("no holder panics");
        let dir = self.root_dir(root)?;
        let store = self.guarding.shared.store()?;
        let custodian = Custodian { inodes: &self.guarding.inodes, job: Arc::clone(&self.job) };
        let job = Arc::clone(&self.job);
        self.job.begin();
        let (state, clock) = (self.take_state()?, self.guarding.clock);
        let stop = self.guarding.stop.clone();
        let mut site = self.guarding.shared.site(&store, state, &job, stop, &custodian, clock);
        let done = work(&mut site, &dir);
        self.state = Some(site.state);
        done
    }

    fn recover(&mut self, root: RootId) -> Result<u64, Trouble> {
        let turn = self.guarding.turn(root);
        let _turn = turn.lock().expect("no holder panics");
        let dir = self.root_dir(root)?;
        let custodian = Custodian { inodes: &self.guarding.inodes, job: Arc::clone(&self.job) };
        let mut state = self.take_state()?;
        let mut ground = Ground {
            state: &mut state,
            monitor: &Logged,
            stop: &self.guarding.stop,
            clock: self.guarding.clock,
            custody: &custodian,
            guard: None,
        };
        let recovered = recover_files(&mut ground, root, &dir)?;
        self.state = Some(state);
        Ok(recovered.files)
    }

    /// No request is under way while it is counted, and none comes after.
    fn stop(&mut self, force: bool) -> Result<Reply, Trouble> {
        let roots = self.guarding.watched.rows().iter();
        let turns: Vec<_> = roots.map(|row| self.guarding.turn(row.id)).collect();
        let held: Vec<_> =
            turns.iter().map(|turn| turn.lock().expect("no holder panics")).collect();
        let exposed = exposed(self.guarding)?;
        if !exposed.is_empty() && !force {
            return Ok(Reply::StopRefused(exposed));
        }
        // The process ends with it: nobody gets a turn any more.
        std::mem::forget(held);
        Ok(Reply::Stopping)
    }
}

/// Stubs that would read as zeros without the guard: those of every root whose
/// file system is still mounted somewhere.
pub fn exposed(guarding: &Guarding) -> Result<Vec<Exposed>, Trouble> {
    let state = guarding.shared.access.state_read_only()?;
    let mut exposed = vec![];
    for row in guarding.watched.rows() {
        if !guarding.watched.is_visible(row) {
            continue;
        }
        let counts = state.counts(row.id)?.states;
        let (mut files, mut bytes) = (0, 0);
        for (found, more_files, more_bytes) in counts {
            if FileState::NOT_ALL_HERE.contains(&found) {
                files += more_files;
                bytes += more_bytes;
            }
        }
        if files > 0 {
            exposed.push(Exposed { path: row.path.as_path().into(), files, bytes });
        }
    }
    Ok(exposed)
}

/// Failures of single files go to the log.
struct Logged;

impl Monitor for Logged {
    fn begin(&self, _: Phase, _: u64, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
    fn end(&self) {}

    fn file_failed(&self, path: &Path, doing: &str, error: &dyn Error) {
        tracing::warn!(path = %path.display(), doing, %error, "failed");
    }

    fn notice(&self, text: &str) {
        tracing::info!("{text}");
    }
}
