//! Who may have a file recalled: looks at the programs that wait, before anything
//! is fetched for them.
//!
//! A program that the policy denies, or whose budget is spent, is answered here
//! and causes no recall; it is not kept from a file that somebody else's recall
//! made whole meanwhile. A process that ended needs no answer.

use super::admission::{Admission, Verdict};
use super::inodes::{Inode, Inodes};
use super::recorder::{Record, Records};
use super::waiter::{Program, Waiter};
use super::watched::Watched;
use super::worker::waited_ms;
use crate::clock::Clock;
use crate::os::processes::ProcessFacts;
use crate::state::RootId;
use crossbeam_channel::{Receiver, Sender};
use std::sync::{Arc, Mutex};

/// The porter's thread.
pub struct Porter {
    pub inodes: Arc<Inodes>,
    pub watched: Arc<Watched>,
    pub admission: Arc<Mutex<Admission>>,
    pub jobs: Sender<Inode>,
    pub records: Records,
    pub clock: Clock,
}

impl Porter {
    /// Works until nobody can call any more.
    pub fn run(&self, calls: &Receiver<Inode>) {
        while let Ok(inode) = calls.recv() {
            let mut admitted: Vec<Waiter> = vec![];
            let mut paid = self.inodes.is_paid(inode);
            for waiter in self.inodes.unvetted(inode) {
                let waiter = self.vet(waiter, paid);
                paid |= waiter.is_some();
                admitted.extend(waiter);
            }
            if self.inodes.vetted(inode, admitted) {
                // Workers live as long as the guard.
                let _ = self.jobs.send(inode);
            }
        }
    }

    /// One recall is paid for once, however many wait for it.
    fn vet(&self, mut waiter: Waiter, paid: bool) -> Option<Waiter> {
        let program = look(&waiter)?;
        let file = waiter.pending.file();
        // The guard before may have let it wait before it asked whether it may; what it
        // had admitted is not lost to a budget now.
        let paid = paid || file.is_none();
        let bytes = file.and_then(|file| file.metadata().ok()).map_or(0, |found| found.len());
        let now_ns = self.clock.now_ns();
        let verdict = {
            let mut admission = self.admission.lock().expect("no holder panics");
            match paid {
                true => admission.permit(&program.as_who()),
                false => admission.decide(&program.as_who(), bytes, now_ns),
            }
        };
        match verdict {
            Verdict::Recall => {
                waiter.vetted = true;
                waiter.pending.forget_process();
                waiter.who = Some(program);
                waiter.spent_bytes = if paid { 0 } else { bytes };
                Some(waiter)
            }
            Verdict::Deny { errno, why } => {
                let name = waiter.name();
                let latency_ms = waited_ms(&self.inodes, std::slice::from_ref(&waiter));
                waiter.who = Some(program);
                let roots = self.roots_of(&waiter);
                let record = Record::denied(&waiter, roots, errno, &why, latency_ms, now_ns);
                waiter.pending.deny(errno);
                tracing::info!(path = %name.display(), "denied: {why}");
                if let Some(record) = record {
                    self.records.send(record);
                }
                None
            }
        }
    }
}

impl Porter {
    fn roots_of(&self, waiter: &Waiter) -> Vec<RootId> {
        let inode = waiter.pending.file().and_then(|file| Inode::of(file).ok());
        inode.map_or(vec![], |inode| self.watched.roots_on(inode.dev))
    }
}

/// `None` if its process is gone: the drop answers nobody. A process that
/// cannot be looked at for another reason is one that nothing is known of.
fn look(waiter: &Waiter) -> Option<Program> {
    let pid = waiter.pending.pid();
    let facts = match waiter.pending.pidfd() {
        Some(pidfd) => ProcessFacts::of(pid, pidfd),
        // Its number is its own for as long as it waits.
        None if pid > 0 => ProcessFacts::by_number(pid),
        None => return Some(unknown(pid)),
    };
    match facts {
        Ok(facts) => Some(Program { pid, uid: facts.uid, exe: facts.exe, cgroup: facts.cgroup }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => Some(unknown(pid)),
    }
}

fn unknown(pid: i32) -> Program {
    Program { pid, uid: u32::MAX, exe: None, cgroup: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fanotify::{Group, Pending};
    use std::fs::File;
    use std::process::Command;

    /// As a guard finds it that takes over: a number of an event and of a process.
    fn inherited(pid: i32) -> Waiter {
        let file = File::open("/dev/null").expect("open");
        let group = Arc::new(Group::from_fd(file.into()));
        Waiter::new(Pending::inherited(&group, 1, pid), 0)
    }

    #[test]
    fn a_program_that_waited_for_the_guard_before_is_known_by_its_number() {
        let own = std::process::id().cast_signed();
        let found = look(&inherited(own)).expect("it lives");
        assert_eq!((found.pid, found.exe), (own, std::env::current_exe().ok()));
        let mut child = Command::new("true").spawn().expect("started");
        let ended = child.id().cast_signed();
        child.wait().expect("ended");
        assert!(look(&inherited(ended)).is_none(), "nobody to be answered");
        assert_eq!(
            look(&inherited(0)),
            Some(unknown(0)),
            "of a container, or a thread of the kernel"
        );
    }
}
