//! Asks the archive for what programs opened and could not have.
//!
//! A program is denied at once; what its file needs is asked for here, by one thread
//! that nobody waits for. The same file is looked at again only after a while,
//! however often it is opened: each look asks the store about every pack of it. That
//! look is also how a later open finds the copy that the archive has brought.

use super::access::{Shared, Trouble};
use super::job::Job;
use super::waiter::Program;
use super::watched::Watched;
use crate::clock::{Clock, Stopwatch};
use crate::ids::FileIdent;
use crate::monitor::Stop;
use crate::os::relpath::RelPath;
use crate::recall::{self, Wanted};
use crate::site::Leases;
use crate::site::archive::Archive;
use crate::site::guard::causes;
use crate::state::{RootId, StateDb};
use crossbeam_channel::{Receiver, Sender};
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at one file, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// And so many times as long as the look itself took.
const PAUSE_FACTOR: u32 = 20;
/// Files whose last look is remembered.
const MOST_FILES: usize = 100_000;

/// A file that a program was denied.
#[derive(Debug, Clone)]
pub struct Asking {
    pub wanted: Wanted,
    /// The roots of its file system.
    pub roots: Vec<RootId>,
    /// As the program sees it.
    pub name: PathBuf,
    pub who: Option<Program>,
}

/// Where they go; never waits.
#[derive(Debug, Clone)]
pub struct Asker(Sender<Asking>);

impl Asker {
    /// With the end that [`Desk::run`] reads.
    pub fn new() -> (Self, Receiver<Asking>) {
        let (to, from) = crossbeam_channel::unbounded();
        (Self(to), from)
    }

    pub fn send(&self, asking: Asking) {
        // Without a desk the guard is ending.
        let _ = self.0.send(asking);
    }
}

/// What the thread works with.
pub struct Desk {
    pub shared: Arc<Shared>,
    pub watched: Arc<Watched>,
    pub clock: Clock,
    /// Since the guard's process started.
    pub since: Stopwatch,
}

impl Desk {
    /// Works until nobody can ask any more.
    pub fn run(&self, orders: &Receiver<Asking>) {
        let mut rests: HashMap<(Vec<RootId>, FileIdent), Duration> = HashMap::new();
        while let Ok(asking) = orders.recv() {
            let now = self.since.elapsed();
            let key = (asking.roots.clone(), asking.wanted.ident);
            if rests.get(&key).is_some_and(|until| now < *until) {
                continue;
            }
            if rests.len() >= MOST_FILES {
                rests.retain(|_, until| now < *until);
            }
            let path = asking.name.display().to_string();
            match self.ask(asking) {
                Ok(true) => tracing::info!(%path, "the archive is asked for it"),
                Ok(false) => tracing::info!(%path, "the archive has brought it"),
                Err(error) => {
                    let why = causes(&*error).join(": ");
                    tracing::warn!(%path, "cannot ask the archive for it: {why}");
                }
            }
            let done = self.since.elapsed();
            rests.insert(key, done + PAUSE.max((done - now) * PAUSE_FACTOR));
        }
    }

    fn ask(&self, asking: Asking) -> Result<bool, Trouble> {
        let mut state = self.shared.access.state()?;
        state.act_as(&actor(asking.who.as_ref()), self.clock);
        let (root, path) = self.place(&state, &asking)?.ok_or("it is in no root")?;
        let store = self.shared.store()?;
        let job = Job::new(self.since);
        let (stop, clock) = (Stop::new(), self.clock);
        let mut site = self.shared.site(&store, state, &job, stop, &Leases, clock);
        let mut archive = Archive::new(self.shared.access.cold().thaw);
        Ok(recall::request(&mut site, &mut archive, root, &path, &asking.wanted)?)
    }

    /// Where the state DB has it; else where the program found it.
    fn place(
        &self,
        state: &StateDb,
        asking: &Asking,
    ) -> Result<Option<(RootId, RelPath)>, Trouble> {
        if let Some(row) = state.managed_anywhere(&asking.roots, asking.wanted.ident)? {
            return Ok(Some((row.root, row.path)));
        }
        let mut rows = self.watched.rows().iter();
        Ok(rows.find_map(|row| {
            let known = asking.roots.contains(&row.id);
            let inside = asking.name.strip_prefix(&row.path).ok().filter(|_| known)?;
            Some((row.id, RelPath::new(inside.as_os_str().as_bytes()).ok()?))
        }))
    }
}

fn actor(who: Option<&Program>) -> String {
    let Some(who) = who else { return "guard".to_owned() };
    let exe = who.exe.as_deref().map_or("a program".into(), |exe| exe.to_string_lossy());
    format!("guard: {exe} (uid {})", who.uid)
}
