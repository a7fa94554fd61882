//! How a failure is told: the error, its causes, and the command to run next.
//!
//! Exit code and hint of every kind of error are decided here and nowhere
//! else, so that two commands never disagree about one failure.

use super::error::Error;
use super::exit::Exit;
use super::output::escaped;
use crate::site::{GuardError, log};
use crate::{adopt, manifest, recall, state, store, tier, verify};
use std::error::Error as StdError;
use std::io;

/// The exit code of an error.
pub fn exit(error: &Error) -> Exit {
    match error {
        Error::Usage(_) => Exit::Usage,
        Error::NotInitialised(_) => Exit::NotInitialised,
        Error::Locked { .. } => Exit::Locked,
        Error::Interrupted => Exit::Interrupted,
        Error::State(state::Error::Missing { .. }) => Exit::NotInitialised,
        Error::Store(error)
        | Error::Tier(tier::Error::Store(error))
        | Error::Recall(recall::Error::Store(error))
        | Error::Adopt(adopt::Error::Store(error))
        | Error::Verify(verify::Error::Store(error))
            if error.kind() == store::ErrorKind::Stopped =>
        {
            Exit::Interrupted
        }
        Error::Output(source) if source.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        _ => Exit::Failed,
    }
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

/// The command or step that helps, where there is one.
pub fn hint(error: &Error) -> Option<String> {
    Some(match error {
        Error::Refused { hint, .. } => hint.clone(),
        Error::NotInitialised(_) => "hsm init [--store URL] ROOT".into(),
        Error::Locked { .. } => "wait for it to end; a lock never outlives its process".into(),
        Error::Interrupted => "the same command again: it continues where it stopped".into(),
        Error::Policy(_) => "hsm policy check FILE, until it is silent".into(),
        Error::Config(_) => "mend the file at the lines named".into(),
        Error::Manifest(manifest::Error::KeyMissing { .. } | manifest::Error::WrongKey { .. }) => {
            "the key file that was made with this store (--key-file FILE, or key_file in the \
             configuration)"
                .into()
        }
        Error::Manifest(_) => "another store URL; this one is not, or not yet, readable".into(),
        Error::State(error) => return state_hint(error),
        Error::Store(error)
        | Error::Tier(tier::Error::Store(error))
        | Error::Recall(recall::Error::Store(error))
        | Error::Adopt(adopt::Error::Store(error))
        | Error::Verify(verify::Error::Store(error)) => return store_hint(error.kind()),
        Error::Tier(tier::Error::State(error))
        | Error::Recall(recall::Error::State(error))
        | Error::Adopt(adopt::Error::State(error))
        | Error::Verify(verify::Error::State(error)) => return state_hint(error),
        Error::Tier(tier::Error::Guard(_)) | Error::Recall(recall::Error::Guard(_)) => {
            "the same command again when the recall guard runs; where it is at work nobody else \
             may change a stub"
                .into()
        }
        Error::Recall(recall::Error::NoSpace { .. }) => {
            "free some space, or recall fewer files at once".into()
        }
        Error::Guard(GuardError::Unreachable(_)) => {
            "hsm recall-guard in the foreground, to see why it does not start; its log says more"
                .into()
        }
        Error::Keeper(_) => "hsm doctor".into(),
        Error::Admission(_) => "mend [guard] in the configuration".into(),
        Error::Tier(error) => return tier_hint(error),
        Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            "run it as the owner of these files, usually root".into()
        }
        _ => return None,
    })
}

fn tier_hint(error: &tier::Error) -> Option<String> {
    use tier::Error as Tier;
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

fn state_hint(error: &state::Error) -> Option<String> {
    match error {
        state::Error::Newer { .. } => {
            Some("the newer hsm that wrote this state DB, or a newer one".into())
        }
        state::Error::Corrupted { .. } => Some(
            "move state.db, state.db-wal and state.db-shm in the state directory aside, then \
                 hsm init with the same store and roots; no file is lost, and hsm recall needs \
                 only stubs and store"
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
            Kind::Archived => "ask the store to restore the object from its archive class first",
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
