//! `hsm recall-guard`: hold every program that opens a stub until it is whole.

use super::Outcome;
use super::recall_guard_mounts::{Asked, wanted};
use crate::cli::accounts::Accounts;
use crate::cli::context::{self, Context};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::opened;
use crate::cli::output::escaped_path;
use crate::cli::second;
use crate::config::{ColdSection, Config, OfflineBit};
use crate::guard::access::{Access, OpenStore, Trouble};
use crate::guard::admission::{Admission, AdmissionError};
use crate::guard::client::{self, Client};
use crate::guard::keeper::{self, Ended};
use crate::guard::places::{self, Surroundings};
use crate::guard::prepare::{self, NewMount, Task};
use crate::guard::protocol::{Exposed, Reply, Request};
use crate::monitor::Stop;
use crate::os::process;
use crate::state::{RootRow, StateDb};
use crate::tier::rescan::open_root;
use crate::units::format_size;
use clap::Args;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  hsm recall-guard
  hsm recall-guard --mount /srv/media --mount /srv/projects    # as in /etc/fstab
  hsm recall-guard --mount /dev/vg0/media /srv/media --options noatime
  hsm recall-guard --stop";

/// Recall stubs when programs open them
///
/// Watches the file systems of all roots: a program that opens a stub waits
/// until the file is whole, durable and verified, and then reads it as if it had
/// never been away. If that cannot be, the program gets an error, never zeros.
/// It runs until it is stopped; give it to systemd (hsm-recall-guard.service).
///
/// While it runs, `hsm tier` and `hsm stub` free blocks through it. It refuses to
/// stop as long as a mounted file system holds stubs: unmount it, recall them,
/// or use --force.
///
/// The file system that holds the system, hsm's own state, store or program is
/// not watched unless --allow-system-fs says so.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RecallGuardArgs {
    /// Mount SOURCE at TARGET, watched before any program can see it; TARGET alone
    /// is looked up in /etc/fstab, where its line should say noauto. May be given
    /// several times; what is mounted already is left as it is
    #[arg(long, num_args = 1..=2, value_name = "[SOURCE] TARGET")]
    pub mount: Vec<PathBuf>,

    /// The type of the file system to mount [default: as in fstab or found on SOURCE]
    #[arg(long = "type", value_name = "TYPE", requires = "mount")]
    pub fs_type: Option<String>,

    /// Options of the mount, as in fstab and after those of fstab
    #[arg(short, long, value_name = "OPTIONS", default_value = "", requires = "mount")]
    pub options: String,

    /// Watch also file systems that the system or hsm itself needs
    #[arg(long)]
    pub allow_system_fs: bool,

    /// Ask the guard that runs to stop; says what would read as zeros
    #[arg(long, conflicts_with_all = ["mount", "allow_system_fs"])]
    pub stop: bool,

    /// With --stop: even if stubs read as zeros from then on
    #[arg(long, requires = "stop")]
    pub force: bool,
}

pub fn run(context: &Context, args: &RecallGuardArgs) -> Result<Outcome, Error> {
    let config = context.config()?;
    if args.stop {
        return stop(context, &config, args.force);
    }
    if !process::can_use_trusted_xattrs() {
        return Err(Error::refused(
            "only root can hold other programs back",
            "sudo hsm recall-guard, or hsm recall for your own trees",
        ));
    }
    let roots = context.state_read_only(&config)?.roots()?;
    if roots.is_empty() {
        return Err(Error::NotInitialised("no root is registered".into()));
    }
    admission(&config)?;
    let mounts = wanted(&Asked {
        values: &args.mount,
        fs_type: args.fs_type.as_deref(),
        options: &args.options,
    })?;
    require_fit(&config, &roots, &mounts, args.allow_system_fs)?;
    let guard_lock = config.state_dir.join("locks").join(client::LOCK);
    // No run may be at work: it would not know of the guard. Where programs are
    // waiting already they are served first (see `Access::runs_ended`).
    let runs = match context.lock(&config, &roots) {
        Err(Error::Locked { .. }) if prepare::is_expected() => vec![],
        runs => runs?,
    };
    let _guard = context::acquire_soon(&guard_lock)?;
    let task =
        Task { roots: roots.clone(), mounts, section: config.guard.clone(), clock: context.clock };
    let keeper = prepare::prepare(task)?;
    drop(runs);
    let access = || -> Box<dyn Access> {
        let lock_files = context::root_locks(&config, &roots);
        // A stop of its own: a signal to the keeper ends no recall.
        Box::new(FromConfig { config: config.clone(), stop: Stop::new(), lock_files })
    };
    let ended = keeper::keep(&keeper, &access)?;
    if ended == Ended::HandedOver {
        context.out.remark("programs wait for the next guard")?;
    }
    Ok(Outcome::done().with("handed_over", ended == Ended::HandedOver))
}

/// Every root's file system can be watched, and may be.
fn require_fit(
    config: &Config,
    roots: &[RootRow],
    mounts: &[NewMount],
    allow_system_fs: bool,
) -> Result<(), Error> {
    let mut facts = places::gather(&config.roots, Surroundings::of(config))
        .map_err(Error::io("look at the mounts below", Path::new("/")))?;
    // What is mounted now at a place where the guard will mount is not watched.
    let comes = |path: &Path| mounts.iter().any(|mount| path.starts_with(&mount.target));
    facts.roots.retain(|place| !comes(&place.path));
    facts.unseen.retain(|(path, _)| !comes(path));
    let absent = |row: &&RootRow| !comes(&row.path) && open_root(row).is_err();
    let absent: Vec<&PathBuf> = roots.iter().filter(absent).map(|row| &row.path).collect();
    if absent.len() < roots.len() {
        // The others are watched meanwhile, and these as soon as they are there.
        facts.roots.retain(|place| !absent.contains(&&place.path));
        facts.unseen.retain(|(path, _)| !absent.contains(&path));
    }
    let mut refusals = places::judge(&facts, allow_system_fs).refusals.into_iter();
    match refusals.next() {
        None => Ok(()),
        Some(refusal) => {
            let what = format!("{}: {}", escaped_path(&refusal.root), refusal.reason);
            Err(Error::refused(what, refusal.instead))
        }
    }
}

fn admission(config: &Config) -> Result<Admission, AdmissionError> {
    Accounts::read().with_names(|names| Admission::new(&config.guard, names.uid))
}

fn stop(context: &Context, config: &Config, force: bool) -> Result<Outcome, Error> {
    let locks = config.state_dir.join("locks");
    if client::holder(&locks).map_err(Error::io("look at", &locks))?.is_none() {
        context.out.remark("no guard runs")?;
        return Ok(Outcome::done());
    }
    let mut client = Client::connect(&config.guard.run_dir, &context.actor())?;
    match client.ask(&Request::Stop { force })? {
        Reply::StopRefused(exposed) => {
            for Exposed { path, files, bytes } in &exposed {
                let (path, bytes) = (escaped_path(&path.to_path()), format_size(*bytes));
                let text = format!("{path}: {files} stubs ({bytes}) would read as zeros");
                context.progress.warn(&text);
            }
            Err(Error::refused(
                "the guard stays: programs would read zeros",
                "umount the file system, hsm recall -r, or --stop --force",
            ))
        }
        _ => {
            context.out.remark("the guard has stopped")?;
            Ok(Outcome::new(Exit::Done))
        }
    }
}

/// What the guard's process opens, by the configuration that it was started
/// with.
struct FromConfig {
    config: Config,
    stop: Stop,
    lock_files: Vec<PathBuf>,
}

impl Access for FromConfig {
    fn state(&self) -> Result<StateDb, Trouble> {
        Ok(StateDb::open(&self.state_path())?)
    }

    fn state_read_only(&self) -> Result<StateDb, Trouble> {
        Ok(StateDb::open_read_only(&self.state_path())?)
    }

    fn state_path(&self) -> PathBuf {
        context::state_file(&self.config.state_dir)
    }

    fn store(&self) -> Result<OpenStore, Trouble> {
        let state = self.state_read_only()?;
        let second = second::open(&self.config, &state, &self.stop)?;
        let first = || -> Result<_, Error> {
            let store = context::open_store(&self.config.store, Some(&state), &self.stop)?;
            let descriptor = opened::descriptor(&*store)?;
            opened::require_first(&*store, &descriptor)?;
            Ok((store, descriptor))
        };
        let (mut is_makeshift, first) = (false, first());
        let (store, descriptor) = match first {
            Ok(first) => first,
            Err(error) => {
                is_makeshift = true;
                let stand_in = second::stand_in_quietly(&self.config, second.as_ref(), &error);
                let Some(stand_in) = stand_in else { return Err(error.into()) };
                tracing::warn!("only the second store is read: {error}");
                stand_in
            }
        };
        let expected = state.store_id();
        let protection = opened::protection(&self.config, &*store, &descriptor, expected)?;
        let second = second.map(|second| second.open);
        is_makeshift |= second.as_ref().is_some_and(|second| second.away.is_some());
        let capabilities = context::capabilities(&state)?.unwrap_or_default();
        let (store_id, node_id) = (state.store_id(), state.node_id());
        Ok(OpenStore { store, second, is_makeshift, protection, capabilities, store_id, node_id })
    }

    fn admission(&self) -> Result<Admission, Trouble> {
        Ok(admission(&self.config)?)
    }

    fn cold(&self) -> ColdSection {
        self.config.cold
    }

    fn runs_ended(&self) -> bool {
        let locks: Result<Vec<_>, _> =
            self.lock_files.iter().map(|path| context::acquire(path)).collect();
        locks.is_ok()
    }

    fn workers(&self) -> usize {
        self.config.upload.threads.unwrap_or_else(process::available_cores).max(1)
    }

    fn offline(&self) -> OfflineBit {
        self.config.samba.offline
    }

    fn connections(&self) -> usize {
        self.config.store.concurrency.unwrap_or(4).max(1)
    }
}
