//! How a failure is told: the error, its causes, and the command to run next.
//!
//! Exit code and hint of every kind of error are decided here and nowhere
//! else, so that two commands never disagree about one failure.

use super::error::Error;
use super::exit::Exit;
use super::output::escaped;
use super::underneath;
use crate::site::selection::Error as Selection;
use crate::site::{GuardError, log, logs, nodes, snapshots};
use crate::{backup, export, gc, manifest, rebuild, recall, restore, state, store, tier};
use std::error::Error as StdError;
use std::io;

/// The exit code of an error.
pub fn exit(error: &Error) -> Exit {
    match error {
        Error::Usage(_) => Exit::Usage,
        Error::NotInitialised(_) | Error::StateLost(_) => Exit::NotInitialised,
        Error::Locked { .. } => Exit::Locked,
        Error::Interrupted => Exit::Interrupted,
        Error::State(state::Error::Missing { .. }) => Exit::NotInitialised,
        error if was_stopped(error) => Exit::Interrupted,
        Error::Output(source) | Error::Export(export::Error::Write { source })
            if source.kind() == io::ErrorKind::BrokenPipe =>
        {
            Exit::Done
        }
        _ => Exit::Failed,
    }
}

fn was_stopped(error: &Error) -> bool {
    matches!(underneath::logs(error), Some(logs::Error::Stopped))
        || underneath::store(error).is_some_and(|error| error.kind() == store::ErrorKind::Stopped)
}

/// The lines for stderr; empty for an end that needs no words.
pub fn lines(error: &Error) -> Vec<String> {
    if exit(error) == Exit::Done {
        return Vec::new();
    }
    let mut lines = vec![format!("error: {}", printable(&error.to_string()))];
    lines.extend(causes(error).iter().map(|cause| format!("  caused by: {}", printable(cause))));
    lines.extend(hint(error).map(|hint| format!("  try: {hint}")));
    lines
}

/// The same for the summary of a `--json` run.
pub fn json(error: &Error) -> serde_json::Value {
    serde_json::json!({
        "message": error.to_string(), "causes": causes(error), "hint": hint(error),
    })
}

/// An error with its causes in one line, for findings and tables.
pub fn one_line(error: &Error) -> String {
    let mut parts = vec![error.to_string()];
    parts.extend(causes(error));
    parts.join(": ")
}

/// What each source says, without repeating what its parent already said.
pub fn causes(error: &dyn StdError) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !said.contains(&text) {
            causes.push(text.clone());
        }
        said = text;
        next = source.source();
    }
    causes
}

/// The local copy of the catalog is damaged, and nothing else.
pub fn is_damaged_copy(error: &Error) -> bool {
    match error {
        Error::LocalCatalog(error)
        | Error::Selection(Selection::Catalog(error))
        | Error::Logs(logs::Error::Local(error))
        | Error::Restore(restore::Error::Catalog(logs::Error::Local(error)))
        | Error::Tier(tier::Error::Catalog(logs::Error::Local(error))) => error.is_damage(),
        _ => false,
    }
}

/// The command or step that helps, where there is one.
pub fn hint(error: &Error) -> Option<String> {
    // A log's object that is not there is damage to the log, and has hints of its own.
    let damage = underneath::logs(error).is_some_and(logs::Error::is_damage);
    if let Some(error) = underneath::store(error).filter(|_| !damage) {
        return store_hint(error.kind());
    }
    if let Some(error) = underneath::state(error) {
        return state_hint(error);
    }
    Some(match error {
        error if is_damaged_copy(error) => {
            "the same command again: the copy is made anew from the store".into()
        }
        Error::Refused { hint, .. } => hint.clone(),
        Error::NotInitialised(_) => "hsm init [--store URL] ROOT".into(),
        Error::StateLost(_) => {
            "hsm rebuild, which makes it anew from the store and the stubs; hsm init, if there never \
             was one"
                .into()
        }
        Error::Locked { .. } => "wait for it to end; a lock never outlives its process".into(),
        Error::Interrupted => "the same command again: it continues where it stopped".into(),
        Error::Policy(_) => "hsm policy check FILE, until it is silent".into(),
        Error::Config(_) => "mend the file at the lines named".into(),
        Error::Manifest(manifest::Error::KeyUnused { .. }) => {
            "hsm-store.json was replaced, or the key belongs to another store: find out who wrote it \
             before anything is sent there or restored from it"
                .into()
        }
        Error::Manifest(manifest::Error::KeyMissing { .. } | manifest::Error::WrongKey { .. }) => {
            "the key file that was made with this store (--key-file FILE, or key_file in the \
             configuration)"
                .into()
        }
        Error::Manifest(_) => "another store URL; this one is not, or not yet, readable".into(),
        Error::Logs(error) if error.is_damage() => {
            "--as-of TIME, with a time before the segment that is named, up to which the log is good; \
             on the server that wrote it: hsm rebuild --force"
                .into()
        }
        Error::Selection(error) => return selection_hint(error),
        Error::Rebuild(error) => return rebuild_hint(error),
        Error::Snapshot(error) => return snapshot_hint(error),
        Error::Nodes(error) => return nodes_hint(error),
        Error::Collect(error) => return collection_hint(error),
        Error::Backup(backup::Error::Mistake { .. }) => {
            "the manifest as hsm manifest wrote it, from another backup".into()
        }
        Error::Backup(backup::Error::OtherStore { .. }) => {
            "--store with the url that the manifest's first line names".into()
        }
        Error::Tier(tier::Error::Guard(_)) | Error::Recall(recall::Error::Guard(_)) => {
            "the same command again when the recall guard runs; where it is at work nobody else \
             may change a stub"
                .into()
        }
        Error::Restore(restore::Error::NoSpace { .. } | restore::Error::Full { .. }) => {
            "make room there, then the same command: it goes on where it stopped; or --stubs, \
             which need none"
                .into()
        }
        Error::Restore(restore::Error::Target { .. } | restore::Error::TargetName { .. }) => {
            "--to with a directory that you may write to".into()
        }
        Error::Recall(recall::Error::NoSpace { .. }) => {
            "free some space, or recall fewer files at once".into()
        }
        Error::Guard(GuardError::Unreachable(_)) => {
            "hsm recall-guard in the foreground, to see why it does not start; its log says more"
                .into()
        }
        Error::NotWhole { .. } => "hsm verify --data, to see what the store really holds".into(),
        Error::Keeper(_) => "hsm doctor".into(),
        Error::Admission(_) => "mend [guard] in the configuration".into(),
        Error::Tier(error) => return tier_hint(error),
        Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "run it as the owner of these files, usually root".into()
        }
        _ => return None,
    })
}

/// Of an object of a log.
const PUT_BACK: &str = "put the object that is named back, from a backup of the store or an older \
                        version of the object; nothing is deleted meanwhile";

fn tier_hint(error: &tier::Error) -> Option<String> {
    use tier::Error as Tier;
    if let Tier::Catalog(damage) = error
        && damage.is_damage()
    {
        let until = damage.good_until().map(|seq| format!(" --until-segment {seq}"));
        let until = until.unwrap_or_default();
        return Some(format!("{PUT_BACK}; where there is none: hsm rebuild --force{until}"));
    }
    Some(
        match error {
            Tier::OpenRoot { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as the owner of these files, usually root"
            }
            Tier::OpenRoot { .. } | Tier::OtherFileSystem { .. } => {
                "mount the file system that belongs there, then hsm doctor"
            }
            Tier::RootLooksEmpty { .. } => {
                "mount the file system that belongs there, then hsm doctor; if it really was \
                 emptied, put a file there"
            }
            Tier::Unguarded { .. } => {
                "start a recall guard for this root, or set unguarded = true in the policy, which \
                 accepts that a program that opens a stub before hsm recall reads zeros"
            }
            Tier::Log(log::Error::Fenced { .. })
            | Tier::OtherHost { .. }
            | Tier::Retired { .. } => {
                "hsm nodes renew, which makes this server a node of its own in the store"
            }
            Tier::TooManyFailures { .. } => "mend what the failures name, then the same command",
            Tier::NotScanned { .. } => "hsm scan",
            Tier::PlanMistakes(_) => "mend these lines and nothing is lost: none was done yet",
            Tier::ForeignPlan { .. } => "hsm plan -o FILE, here and now",
            _ => return None,
        }
        .into(),
    )
}

fn snapshot_hint(error: &snapshots::Error) -> Option<String> {
    use snapshots::Error as Snapshot;
    let hint = match error {
        Snapshot::BadName { .. } | Snapshot::Taken { .. } => "another name",
        Snapshot::Empty => "hsm tier",
        Snapshot::Unknown { .. } => "hsm snapshot list",
        Snapshot::Sealed { .. } => "a time that is not before that one",
        Snapshot::Past { .. } => "a later time",
        Snapshot::Lost { .. } => "hsm verify, to see which packs are missing",
        Snapshot::HalfLocked { .. } => "the same command again",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn rebuild_hint(error: &rebuild::Error) -> Option<String> {
    use rebuild::Error as Rebuild;
    Some(match error {
        Rebuild::Logs(error) => match error.good_until() {
            Some(seq) => format!(
                "a backup of the store, if it has the object; else hsm rebuild --until-segment {seq}, \
                 which uses what comes before it, and the state DB that there is"
            ),
            None => "hsm rebuild --until-segment with the last good segment".into(),
        },
        Rebuild::NoNode(_) => "hsm init, for a server that has never uploaded anything".into(),
        Rebuild::SeveralNodes(_) => "--node with the one that this server was".into(),
        Rebuild::OtherHost(node) => format!(
            "--node {}, if this server has taken that one's place",
            node.node
        ),
        Rebuild::RootLooksEmpty { .. } => {
            "mount the file system that belongs there; if it is lost, hsm restore brings its files back"
                .into()
        }
        _ => return None,
    })
}

fn nodes_hint(error: &nodes::Error) -> Option<String> {
    use nodes::Error as Nodes;
    let hint = match error {
        Nodes::Own(_) => "hsm nodes renew, to make this server another node",
        Nodes::Unknown(_) | Nodes::Retired(_) => "hsm nodes, to see which there are",
        Nodes::Alive { .. } => "--force, if it is lost all the same",
        Nodes::NoFence(_) => "--force, when that server is known to be off for good",
        Nodes::NotDamaged { .. } => "hsm nodes, which names what is damaged",
        Nodes::AtWork(_) => "hsm nodes, to see what it is doing",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn collection_hint(error: &gc::Error) -> Option<String> {
    let hint = match error {
        gc::Error::Root { doubt, .. } => match doubt {
            gc::Doubt::Open(_) | gc::Doubt::OtherFileSystem { .. } | gc::Doubt::Empty { .. } => {
                "mount the file system that belongs there, then hsm scan"
            }
            gc::Doubt::NeverScanned | gc::Doubt::Broken(_) | gc::Doubt::Old(_) => {
                "hsm scan, until it ends without an error"
            }
        },
        gc::Error::TooMuch { share, .. } => {
            let pct = share.pct().ceil();
            return Some(format!(
                "hsm gc --dry-run, to see what would go; if that is right: hsm gc --confirm {pct}%"
            ));
        }
        gc::Error::NoConditions => {
            "only_here = true in [gc], if no other server ever runs hsm gc on this store"
        }
        gc::Error::ListsLate => "hsm doctor, which tries the store out again",
        gc::Error::Clocks { .. } => "set the clock that is wrong",
        gc::Error::Logs(error) if error.is_damage() => PUT_BACK,
        gc::Error::OtherEnd { .. } => {
            "hsm upload; if that says that another host wrote this log: hsm nodes renew"
        }
        gc::Error::Behind { .. } => "the same command again",
        gc::Error::Log(log::Error::Fenced { .. }) => {
            "hsm nodes renew, which makes this server a node of its own in the store"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

fn selection_hint(error: &Selection) -> Option<String> {
    let hint = match error {
        Selection::SeveralNodes(_) | Selection::UnknownNode { .. } => {
            "--node with a host name, or with the beginning of an id"
        }
        Selection::TooEarly { .. } => "a later time",
        Selection::NoSnapshot { .. } => "hsm snapshot list",
        Selection::Nothing { .. } | Selection::NoVersion { .. } => {
            "hsm history PATH, to see what there was when"
        }
        Selection::VersionOfMany => "--as-of TIME for several paths",
        Selection::Outside { .. } => "a path as it was on that server",
        Selection::NoNode => "hsm upload on the server that has the files",
        Selection::Catalog(_) => return None,
    };
    Some(hint.to_owned())
}

fn state_hint(error: &state::Error) -> Option<String> {
    match error {
        state::Error::Newer { .. } => {
            Some("the newer hsm that wrote this state DB, or a newer one".into())
        }
        state::Error::Corrupted { .. } => Some(
            "hsm rebuild, which makes it anew from the store and the stubs; no file is lost, and hsm \
             recall needs only stubs and store"
                .into(),
        ),
        state::Error::Full { .. } => {
            Some("make room on the file system that holds the state directory".into())
        }
        state::Error::Busy { .. } => {
            Some("the same command again, when the other run has ended".into())
        }
        state::Error::Open { .. } => {
            Some("run it as the owner of the state directory, usually root".into())
        }
        _ => None,
    }
}

fn store_hint(kind: store::ErrorKind) -> Option<String> {
    use store::ErrorKind as Kind;
    Some(
        match kind {
            Kind::Denied => "check the store's credentials and permissions, then hsm doctor",
            Kind::Throttled | Kind::Transient | Kind::Stopped => {
                "the same command again; nothing already durable is sent twice"
            }
            Kind::Unreachable => "check endpoint, network or mount of the store, then hsm doctor",
            Kind::Archived => {
                "hsm recall --wait PATH, which asks the archive for the copy and waits for it"
            }
            Kind::Full => "make room in the store; local files are untouched",
            Kind::ReadOnly => "make the store writable, then hsm doctor",
            Kind::Integrity => "hsm verify --data, to see what the store really holds",
            Kind::NotFound => "hsm verify, to see which objects are missing",
            _ => return None,
        }
        .into(),
    )
}

/// Escapes each line of a message, so that a name in it cannot forge output.
fn printable(text: &str) -> String {
    text.lines()
        .map(|line| escaped(line.as_bytes()).replace("\\\\", "\\"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn an_error_is_told_with_cause_and_next_step() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Error::io("read", Path::new("/srv/a\nb"))(denied);
        assert_eq!(
            lines(&error),
            [
                "error: cannot read /srv/a\\nb",
                "  caused by: permission denied",
                "  try: run it as the owner of these files, usually root",
            ]
        );
        assert_eq!(exit(&error), Exit::Failed);
    }

    #[test]
    fn a_closed_pipe_ends_quietly_but_a_full_disk_does_not() {
        let gone = Error::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((exit(&gone), lines(&gone).len()), (Exit::Done, 0));
        let full = Error::Output(io::ErrorKind::StorageFull.into());
        assert_eq!(exit(&full), Exit::Failed);
        assert_eq!(lines(&full)[0], "error: cannot write to standard output");
    }

    #[test]
    fn each_special_end_has_its_own_code() {
        assert_eq!(exit(&Error::Usage("x".into())), Exit::Usage);
        assert_eq!(exit(&Error::NotInitialised("x".into())), Exit::NotInitialised);
        assert_eq!(exit(&Error::Locked { by: "pid 1".into() }), Exit::Locked);
        assert_eq!(exit(&Error::Interrupted), Exit::Interrupted);
    }

    #[test]
    fn a_cause_already_in_the_message_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open: {0}")]
        struct Outer(#[source] io::Error);
        assert!(causes(&Outer(io::Error::other("no such thing"))).is_empty());
    }
}
