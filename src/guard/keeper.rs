//! The keeper: the process that holds the group, so that a guard may die.
//!
//! When the last descriptor of the group is closed the kernel lets every waiting
//! program in, to read zeros. So the process that answers events, and may crash
//! over any of them, is a child; its parent holds the group, the table of what
//! the child has in hand and the socket, starts the next child when one dies,
//! and does nothing else: no store, no database, no thread.
//!
//! Under systemd the group and the table are also given to the service manager
//! (`FDSTORE=1`, systemd.service(5)), so that they outlive even the keeper and a
//! restart of the service loses nobody. Then SIGTERM ends both processes at once
//! and programs wait for the next ones. Anywhere else the keeper stays as long
//! as stubs would read as zeros.

use super::serve::{Inheritance, serve, tell};
use super::slots::Slots;
use crate::clock::{Clock, Stopwatch};
use crate::config::GuardSection;
use crate::os::child::{self, ChildProcess, Fork};
use crate::os::fanotify::Group;
use crate::os::service_manager;
use crate::os::wait::{self, SignalFd};
use crate::state::RootRow;
use rustix::mount::UnmountFlags;
use rustix::process::Signal;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The names under which the service manager holds group and table.
pub(super) const GROUP: &str = "hsm-group";
pub(super) const SLOTS: &str = "hsm-slots";
/// A guard that shows no sign of work for so long is replaced.
const SILENCE: Duration = Duration::from_secs(60);
/// How often the keeper looks, when nothing calls it.
const TICK: Duration = Duration::from_secs(1);
/// Between the deaths of guards that never became ready, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How a keeper ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is watched any more.
    Stopped,
    /// The service manager holds what waits for the next keeper.
    HandedOver,
}

/// Why a guard could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}")]
    Io { doing: &'static str, source: io::Error },
    #[error("mark the file system of {}", path.display())]
    Mark { path: PathBuf, source: io::Error },
    #[error("the guard did not start: {0}")]
    Unproven(String),
}

impl Error {
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// What is kept.
pub struct Keeper {
    pub group: Arc<Group>,
    pub slots: Slots,
    pub listener: UnixListener,
    pub roots: Vec<RootRow>,
    pub section: GuardSection,
    pub clock: Clock,
    /// The group was kept by the service manager from a keeper before this one.
    pub inherited: bool,
    /// What was mounted for this guard.
    pub attached: Attached,
}

/// Runs guards until one of them ends on purpose. `access` makes what each guard
/// opens state DB and store with; it is called in the guard's process.
pub fn keep(
    keeper: &Keeper,
    access: &dyn Fn() -> Box<dyn super::access::Access>,
) -> Result<Ended, Error> {
    let signals = wait::signal_fd(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP])
        .map_err(Error::io("watch for signals"))?;
    let deposited = keeper.deposit();
    let mut ready_once = false;
    let mut pause = Duration::ZERO;
    loop {
        let mut shift = match Shift::begin(keeper, access, !ready_once, deposited) {
            Ok(shift) => shift,
            // Whoever waits goes on waiting: a keeper that gave up would let
            // them in.
            Err(error) => {
                tracing::error!(%error, "cannot fork a guard; trying again");
                pause = longer(pause);
                std::thread::sleep(pause);
                continue;
            }
        };
        match shift.watch(&signals) {
            End::OnPurpose => {
                keeper.withdraw();
                return Ok(Ended::Stopped);
            }
            End::HandedOver => return Ok(Ended::HandedOver),
            End::Failed(why) if !ready_once && !keeper.inherited => {
                keeper.attached.detach();
                return Err(Error::Unproven(why));
            }
            End::Failed(why) => tracing::error!("the guard did not start: {why}"),
            End::Died => tracing::error!("the guard died; another one takes over"),
        }
        pause = if shift.ready { Duration::ZERO } else { longer(pause) };
        ready_once |= shift.ready;
        std::thread::sleep(pause);
    }
}

/// File systems that were mounted for the guard. If it cannot begin they are
/// unmounted again, before the group is closed: nobody may see their stubs.
#[derive(Debug, Default)]
pub struct Attached(pub Vec<PathBuf>);

impl Attached {
    pub fn detach(&self) {
        for target in &self.0 {
            let detached = rustix::mount::unmount(target, UnmountFlags::DETACH);
            if let Err(error) = detached {
                tracing::error!(target = %target.display(), %error, "stays mounted, and unwatched");
            }
        }
    }
}

/// A service manager that does not listen changes nothing for the programs, and
/// is complained about once.
fn told(notified: io::Result<()>) {
    static COMPLAINED: AtomicBool = AtomicBool::new(false);
    if let Err(error) = notified
        && !COMPLAINED.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(%error, "the service manager was not told");
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(Duration::from_millis(50), LONGEST_PAUSE)
}

impl Keeper {
    fn inheritance(&self, access: Box<dyn super::access::Access>) -> Inheritance {
        let listener = self.listener.try_clone();
        let Ok(listener) = listener else { child::exit_now(1) };
        Inheritance {
            group: Arc::clone(&self.group),
            slots: self.slots.clone(),
            listener,
            roots: self.roots.clone(),
            section: self.section.clone(),
            access,
            clock: self.clock,
            inherited: self.inherited,
        }
    }

    /// The service manager no longer has to hold anything.
    fn withdraw(&self) {
        told(service_manager::notify_stopping());
        for name in [GROUP, SLOTS] {
            told(service_manager::forget(name));
        }
    }

    /// Lets the service manager hold what must outlive the keeper: both, also where
    /// it does not say that it keeps them. Whether it says so.
    fn deposit(&self) -> bool {
        let mut taken = true;
        for (name, fd) in [(GROUP, self.group.as_fd()), (SLOTS, self.slots.0.fd())] {
            if let Err(error) = service_manager::store(name, &[fd]) {
                tracing::warn!(%error, name, "the service manager does not keep a descriptor");
                taken = false;
            }
        }
        taken && service_manager::keeps_descriptors()
    }
}

/// The life of one guard.
struct Shift {
    process: ChildProcess,
    talk: UnixStream,
    /// Since its last sign of work.
    heard: Stopwatch,
    ready: bool,
    /// The service manager holds group and table.
    deposited: bool,
}

enum End {
    OnPurpose,
    HandedOver,
    /// It said why it could not start.
    Failed(String),
    Died,
}

impl Shift {
    fn begin(
        keeper: &Keeper,
        access: &dyn Fn() -> Box<dyn super::access::Access>,
        prove: bool,
        deposited: bool,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        match child::fork()? {
            Fork::Child => {
                drop(ours);
                serve(keeper.inheritance(access()), theirs, prove)
            }
            Fork::Parent(process) => {
                let heard = Stopwatch::start();
                Ok(Self { process, talk: ours, heard, ready: false, deposited })
            }
        }
    }

    /// Until this guard ends; it is ended where it cannot be watched.
    fn watch(&mut self, signals: &SignalFd) -> End {
        self.try_watch(signals).unwrap_or_else(|error| {
            tracing::error!(%error, "the guard cannot be watched and is replaced");
            self.end_now();
            End::Died
        })
    }

    fn try_watch(&mut self, signals: &SignalFd) -> io::Result<End> {
        loop {
            let called = [self.talk.as_fd(), signals.as_fd(), self.process.as_fd()];
            let called = wait::readable(&called, Some(TICK))?;
            if called[0]
                && let Some(end) = self.listen()
            {
                return Ok(end);
            }
            if called[1] && signals.next()?.is_some() {
                if self.deposited {
                    self.end_now();
                    return Ok(End::HandedOver);
                }
                // The guard decides: it knows whether there are stubs.
                let _ = self.talk.write_all(&[tell::STOP_ASKED]);
            }
            if called[2] {
                // What it said before it died counts.
                let said = self.listen();
                let _ = self.process.wait();
                return Ok(said.unwrap_or(End::Died));
            }
            if self.heard.elapsed() > SILENCE {
                tracing::error!("the guard shows no sign of work and is replaced");
                self.end_now();
                return Ok(End::Died);
            }
        }
    }

    fn end_now(&mut self) {
        let _ = self.process.kill(Signal::KILL);
        let _ = self.process.wait();
    }

    /// What the guard says; `Some` if it ends or has ended.
    fn listen(&mut self) -> Option<End> {
        let mut bytes = [0; 4096];
        let length = self.talk.read(&mut bytes).ok()?;
        for (at, byte) in bytes[..length].iter().enumerate() {
            match *byte {
                tell::READY => {
                    self.ready = true;
                    tracing::info!("ready");
                    told(service_manager::notify_ready("watching"));
                    self.heard = Stopwatch::start();
                }
                tell::ALIVE => {
                    self.heard = Stopwatch::start();
                    told(service_manager::notify_watchdog());
                }
                tell::ENDING => {
                    let _ = self.process.wait();
                    return Some(End::OnPurpose);
                }
                tell::FAILED => {
                    let why = String::from_utf8_lossy(&bytes[at + 1..length]).into_owned();
                    let _ = self.process.wait();
                    return Some(End::Failed(why));
                }
                _ => {}
            }
        }
        // Nothing said: its end of the pair is closed, it is about to end.
        None
    }
}
